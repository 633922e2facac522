"""φ and ψ, the averages, and the stores of their memory."""

from gradkit.averages.averages import ema as ema
from gradkit.averages.averages import fading_peak as fading_peak
from gradkit.averages.averages import latest as latest
from gradkit.averages.averages import peak as peak
from gradkit.averages.averages import total as total
from gradkit.averages.averages import trace as trace
from gradkit.averages.averages import variance as variance
from gradkit.averages.factored import block_mean as block_mean
from gradkit.averages.factored import cover as cover
from gradkit.averages.factored import factored as factored
from gradkit.averages.factored import factored_axes as factored_axes
from gradkit.averages.factored import through as through
from gradkit.averages.stores import Store as Store
from gradkit.averages.stores import store_in as store_in
from gradkit.averages.variants import blend as blend
from gradkit.averages.variants import drift as drift
from gradkit.averages.variants import ema_from_first as ema_from_first
from gradkit.averages.variants import per_leaf as per_leaf
