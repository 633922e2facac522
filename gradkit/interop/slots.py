"""The places of a new state, filled from a saved one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._rule import State
from gradkit._stored import Stored
from gradkit._transform import Transform
from gradkit.interop.places import Found, is_stored, labelled, places
from gradkit.interop.report import Row
from gradkit.stores import IDENTITY

MISSING = "not in the saved state"


class Slot(NamedTuple):
    """The place of one leaf of a parameter's state in the new state.

    Attributes:
      path: its path.
      paths: those of the arrays that a store keeps of it, or the path alone.
      leaves: these arrays, as ``init`` makes them.
      clock: the path of its clock.
      label: its store; None for a leaf that no store keeps.
    """

    path: str
    paths: tuple[str, ...]
    leaves: tuple[Any, ...]
    clock: str
    label: Stored | None


def slots_of(tx: Transform, params: Any, template: State) -> list[Slot]:
    """The places of the new state, in the order of ``jax.tree.leaves``."""
    leaves = iter(places(template))
    slots = []
    for place in places(labelled(tx, params), is_stored):
        is_label = isinstance(place.leaf, Stored)
        count = len(jax.tree.leaves(place.leaf)) if is_label else 1
        mine = [next(leaves) for _ in range(count)]
        paths, arrays = tuple(p.path for p in mine), tuple(p.leaf for p in mine)
        label = place.leaf if is_label else None
        slots.append(Slot(place.path, paths, arrays, mine[0].clock if mine else "", label))
    return slots


def unflattened(template: State, leaves: list[Any]) -> State:
    treedef: Any = jax.tree.structure(template)
    new: State = treedef.unflatten(leaves)
    return State(new.step, {name: new.inner[name] for name in template.inner})


def fill(
    slots: list[Slot], found: dict[str, Found], decoded: dict[str, tuple[Found, list[str]]]
) -> tuple[list[Any], list[tuple[Row, Any]]]:
    """The leaves of the new state, and a row for each slot with the step of what it took.

    What was used is removed from ``found``.
    """
    leaves: list[Any] = []
    filled = []
    for slot in slots:
        row, new, step = _filled(slot, found, decoded)
        leaves += new
        filled.append((row, step))
    return leaves, filled


def _filled(
    slot: Slot, found: dict[str, Found], decoded: dict[str, tuple[Found, list[str]]]
) -> tuple[Row, list[Any], Any]:
    label = slot.label
    saved, used = decoded.get(slot.path, (None, [slot.path]))
    if saved is not None and label is not None and saved.store == label.store:
        saved, used = None, [slot.path]  # kept alike
    raw = [found.get(path) for path in slot.paths]
    whole = [one for one in raw if one is not None]
    alike = len(whole) == len(raw) > 0 and all(map(_fits, whole, slot.leaves))
    if alike and (saved is None or used == [slot.path]):
        new, notes = zip(*map(_placed, whole, slot.leaves), strict=True)
        note, lossless = max(notes, key=lambda one: (not one[1], one[0]))
        for path in slot.paths:
            del found[path]
        source = whole[0].source if len(whole) == 1 else slot.path
        kind = "converted" if note else "taken"
        return Row(kind, slot.path, source, note, lossless), list(new), whole[0].step
    one = saved if saved is not None else found.get(slot.path)
    if label is None and slot.paths == (slot.path,):  # an array as it is
        (leaf,) = slot.leaves
        label = Stored(leaf, IDENTITY, leaf.shape, leaf.dtype)
    if one is not None and label is not None and _fits(one, label):
        wide = jnp.asarray(np.asarray(one.value)).astype(label.dtype)
        kept = jax.tree.leaves(label.store.encode(wide))
        new = tuple(_placed(one._replace(value=x), leaf)[0] for x, leaf in zip(kept, slot.leaves))
        for path in used:
            found.pop(path, None)
        before = _name(one.store, one.value)
        note = f"{before} to {_name(label.store, wide)}"
        whole_leaf = len(kept) == 1 and (kept[0].shape, kept[0].dtype) == (wide.shape, wide.dtype)
        lossless = label.store == IDENTITY or whole_leaf
        return Row("converted", slot.path, one.source, note, lossless), list(new), one.step
    one = found.get(slot.path)
    if one is not None:
        like = slot.leaves[0] if label is None else label
        expected = f"{jnp.dtype(like.dtype)}{list(like.shape)}" if label else _kind(like)
        note = f"{expected}, saved {_kind(one.value)}"
    elif any(path.startswith(f"{slot.path}.") for path in found):
        note = "saved by another store: pass saved_tx="
    else:
        note = MISSING
    logged = "logged" in slot.path.split(".")
    return Row("fresh", slot.path, "", note, logged), list(slot.leaves), None


def _kind(leaf: Any) -> str:
    return check.shape_dtype(leaf)


def _name(store: Any, leaf: Any) -> str:
    return str(leaf.dtype) if store is None or store == IDENTITY else repr(store)


def _fits(one: Found, leaf: Any) -> bool:
    """Whether a saved array has the shape of a leaf, and is the same kind of number."""
    value = one.value
    if numerics.is_key(leaf) and not numerics.is_key(value):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    have = value.dtype if hasattr(value, "dtype") else check.dtype_of(value)
    want = leaf.dtype
    kinds = (jnp.complexfloating, jnp.floating, jnp.integer, jnp.bool_, jax.dtypes.prng_key)
    return (
        have is not None
        and np.shape(value) == tuple(leaf.shape)
        and all(jnp.issubdtype(have, kind) == jnp.issubdtype(want, kind) for kind in kinds)
    )


def _holds(wide: Any, narrow: Any) -> bool:
    """Whether a dtype has every value of another."""
    a, b = jnp.finfo(wide), jnp.finfo(narrow)
    return bool(a.nmant >= b.nmant and a.maxexp >= b.maxexp and a.minexp <= b.minexp)


def _placed(one: Found, leaf: Any) -> tuple[Any, tuple[str, bool]]:
    """A saved array in the dtype and on the devices of a leaf; how it was changed, and if exactly.

    It shares no buffer with the saved one.
    """
    value = one.value
    if numerics.is_key(leaf):
        data = jax.random.key_data(value) if numerics.is_key(value) else jnp.asarray(value)
        return jax.random.wrap_key_data(data.copy(), impl=jax.random.key_impl(leaf)), ("", True)
    notes, lossless = [], True
    have, want = value.dtype if hasattr(value, "dtype") else leaf.dtype, leaf.dtype
    if have != want:
        notes.append(f"{have} to {want}")
        floating = jnp.issubdtype(want, jnp.inexact)
        lossless = not floating or _holds(want, have)
    devices = [len(x.sharding.device_set) if isinstance(x, jax.Array) else 1 for x in (value, leaf)]
    if devices[0] != devices[1] and isinstance(value, jax.Array):
        notes.append(f"{devices[0]} device{'s' * (devices[0] > 1)} to {devices[1]}")
    apart = isinstance(value, jax.Array) and value.sharding.device_set != leaf.sharding.device_set
    if leaf.committed and isinstance(value, jax.Array):
        value = jax.device_put(value.astype(want), leaf.sharding, may_alias=False)
    else:
        array = np.asarray(value) if apart or not isinstance(value, jax.Array) else value
        value = jnp.array(array.astype(want), copy=True)
        value = jax.device_put(value, leaf.sharding) if leaf.committed else value
    return value, (", ".join(notes), lossless)
