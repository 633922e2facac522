"""φ and ψ, the averages, and the stores of their memory."""

from gradkit.averages.averages import ema as ema
from gradkit.averages.averages import fading_peak as fading_peak
from gradkit.averages.averages import latest as latest
from gradkit.averages.averages import peak as peak
from gradkit.averages.averages import total as total
from gradkit.averages.averages import trace as trace
from gradkit.averages.averages import variance as variance
from gradkit.averages.stores import Store as Store
from gradkit.averages.stores import store_in as store_in
