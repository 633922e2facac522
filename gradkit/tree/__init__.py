"""Arithmetic on pytrees, and values of a state by name, as in ``optax.tree``.

| | |
|---|---|
| ``add sub mul div scale add_scale where clip`` | element by element |
| ``norm vdot sum max min size allclose`` | one number for the tree |
| ``zeros_like ones_like full_like random_like split_key_like batch_shape`` | new trees |
| ``cast cast_like dtype conj real unwrap_random_key_data`` | kinds of numbers |
| ``update_moment update_moment_per_elem_norm update_infinity_moment bias_correction`` | averages |
| ``split merge`` | a tree taken apart by a mask |
| ``get get_all_with_path set map_params`` | values of a state |

Reductions add in float32 or wider, whatever the dtype of the leaves. ``None`` is a tree without
leaves.
"""

from gradkit.tree.arithmetic import add as add
from gradkit.tree.arithmetic import add_scale as add_scale
from gradkit.tree.arithmetic import clip as clip
from gradkit.tree.arithmetic import conj as conj
from gradkit.tree.arithmetic import div as div
from gradkit.tree.arithmetic import mul as mul
from gradkit.tree.arithmetic import real as real
from gradkit.tree.arithmetic import scale as scale
from gradkit.tree.arithmetic import sub as sub
from gradkit.tree.arithmetic import where as where
from gradkit.tree.creation import batch_shape as batch_shape
from gradkit.tree.creation import full_like as full_like
from gradkit.tree.creation import ones_like as ones_like
from gradkit.tree.creation import random_like as random_like
from gradkit.tree.creation import split_key_like as split_key_like
from gradkit.tree.creation import zeros_like as zeros_like
from gradkit.tree.dtypes import cast as cast
from gradkit.tree.dtypes import cast_like as cast_like
from gradkit.tree.dtypes import dtype as dtype
from gradkit.tree.dtypes import unwrap_random_key_data as unwrap_random_key_data
from gradkit.tree.moments import bias_correction as bias_correction
from gradkit.tree.moments import update_infinity_moment as update_infinity_moment
from gradkit.tree.moments import update_moment as update_moment
from gradkit.tree.moments import update_moment_per_elem_norm as update_moment_per_elem_norm
from gradkit.tree.reductions import allclose as allclose
from gradkit.tree.reductions import max as max
from gradkit.tree.reductions import min as min
from gradkit.tree.reductions import norm as norm
from gradkit.tree.reductions import size as size
from gradkit.tree.reductions import sum as sum
from gradkit.tree.reductions import vdot as vdot
from gradkit.tree.selection import merge as merge
from gradkit.tree.selection import split as split
from gradkit.tree.states import NamedTupleKey as NamedTupleKey
from gradkit.tree.states import get as get
from gradkit.tree.states import get_all_with_path as get_all_with_path
from gradkit.tree.states import map_params as map_params
from gradkit.tree.states import set as set
