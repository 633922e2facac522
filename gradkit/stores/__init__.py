"""Stores: how an average keeps its state, as a pair of functions on one leaf.

| store | keeps | bytes per parameter |
|---|---|---|
| None | the leaf, float32 or wider | 4 |
| a dtype, or ``store_in(dtype)`` | the leaf, rounded to nearest | that of the dtype |
| ``bfloat16_stochastic()`` | the leaf in bfloat16, rounded at random | 2 |
| ``int8()`` | 8-bit codes by blocks | 1 + 4 / block |
| ``float8()`` | float8_e4m3fn by blocks | 1 + 4 / block |
| ``int4()`` | 4-bit codes by blocks | 0.5 + 4 / block |
| ``host(store)`` | what another store keeps, in host memory | 0 on the device |
| ``factored()`` | the means along the two largest axes (Adafactor) | (m + n) / mn of 4 |
| ``sm3_cover()`` | a bound for every slice along every axis (SM3) | (m + n) / mn of 4 |
| ``blockwise_mean(axis)`` | one mean for each block of elements (Adam-mini) | 4 / block |
"""

from gradkit.stores.blocks import float8 as float8
from gradkit.stores.blocks import int4 as int4
from gradkit.stores.blocks import int8 as int8
from gradkit.stores.half import bfloat16_stochastic as bfloat16_stochastic
from gradkit.stores.host import host as host
from gradkit.stores.means import MEANS as MEANS
from gradkit.stores.means import blockwise_mean as blockwise_mean
from gradkit.stores.means import factored as factored
from gradkit.stores.means import factored_axes as factored_axes
from gradkit.stores.means import sm3_cover as sm3_cover
from gradkit.stores.store import IDENTITY as IDENTITY
from gradkit.stores.store import Store as Store
from gradkit.stores.store import as_store as as_store
from gradkit.stores.store import averages as averages
from gradkit.stores.store import encoded as encoded
from gradkit.stores.store import scope_of as scope_of
from gradkit.stores.store import store_in as store_in
