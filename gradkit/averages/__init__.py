"""φ and ψ, the averages, and the stores of their memory."""

from gradkit.averages.averages import ema, fading_peak, latest, peak, total, trace, variance
from gradkit.averages.stores import Store, store_in
