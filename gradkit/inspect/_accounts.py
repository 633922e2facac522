"""Whose bytes the leaves of a step are: by transform, by group of parameters, by device."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradkit import _checks as check
from gradkit._flax import without_value
from gradkit._transform import Transform
from gradkit._walk import walk
from gradkit.inspect.planned import PlanDevice, PlanRow

_ONLY = "params"  # the group of a tree that is one array
STEP = "step"


def leaves_of(tree: Any) -> list[tuple[tuple[str, ...], Any]]:
    """The leaves of a tree, with their paths as names."""
    return [
        (tuple(check.keystr((key,)) for key in without_value(path)), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def nbytes(leaf: Any, shape: tuple[int, ...] | None = None) -> int:
    """The bytes of an array, or of a shard of it."""
    return math.prod(leaf.shape if shape is None else shape) * int(leaf.dtype.itemsize)


class Owners:
    """Which parameter a leaf of the state belongs to."""

    def __init__(self, params: Any):
        self.params = dict(leaves_of(params))

    def parameter(self, path: tuple[str, ...], leaf: Any) -> tuple[str, ...] | None:
        """The path of the parameter that a leaf of the state belongs to; None for none of them."""
        if () in self.params:
            return () if leaf.shape == self.params[()].shape else None
        found = [
            (leaf.shape == self.params[part].shape, len(part), start, part)
            for start in range(len(path))
            for end in range(start + 1, len(path) + 1)
            if (part := path[start:end]) in self.params
        ]
        return max(found)[-1] if found else None


def rows_of(tx: Transform, params: Any, state: Any) -> Iterator[PlanRow]:
    """The bytes of parameters, gradients and state."""
    groups: dict[str, int] = {}
    for path, leaf in leaves_of(params):
        name = path[0] if path else _ONLY
        groups[name] = groups.get(name, 0) + nbytes(leaf)
    for what in ("parameters", "gradients"):
        for group, size in groups.items():
            yield PlanRow(what, "", group, size)
    leaves, treedef = jax.tree.flatten(state)
    marked = jax.tree.unflatten(treedef, [_Mark(leaf) for leaf in leaves])
    for node in walk(tx, marked):
        if node.rule is not None:
            for mark in jax.tree.leaves(node.state):
                mark.owner = node.path or tx.factory.__name__
    owners = Owners(params)
    found: dict[tuple[str, str], int] = {}
    for path, mark in leaves_of(marked):
        parameter = owners.parameter(path, mark.leaf)
        group = "" if parameter is None else parameter[0] if parameter else _ONLY
        key = mark.owner, group
        found[key] = found.get(key, 0) + nbytes(mark.leaf)
    for (owner, group), size in found.items():
        yield PlanRow("state", owner, group, size)


class _Mark:
    """A leaf of the state, and the innermost transform that keeps it."""

    def __init__(self, leaf: Any):
        self.leaf, self.owner = leaf, STEP


def place_state(params: Any, state: Any, mesh: Mesh | None) -> Any:
    """Give each leaf of the state the sharding of its parameter, if it has its shape."""
    if mesh is None:
        return state
    owners = Owners(params)
    leaves, treedef = jax.tree.flatten(state)
    placed = []
    for (path, _), leaf in zip(leaves_of(state), leaves, strict=True):
        parameter = owners.parameter(path, leaf)
        own = getattr(leaf, "sharding", None)
        if isinstance(own, NamedSharding):  # of the type, on a mesh with explicit axes
            sharding = NamedSharding(mesh, own.spec)
        elif parameter is not None and owners.params[parameter].shape == leaf.shape:
            sharding = owners.params[parameter].sharding
        else:
            sharding = NamedSharding(mesh, PartitionSpec())
        placed.append(with_sharding(leaf, sharding))
    return jax.tree.unflatten(treedef, placed)


def devices_of(params: Any, state: Any) -> tuple[PlanDevice, ...]:
    """What each device of the mesh holds."""
    held: dict[Any, list[int]] = {}
    for which, tree in ((0, params), (2, state)):
        for leaf in jax.tree.leaves(tree):
            size = nbytes(leaf, leaf.sharding.shard_shape(leaf.shape))
            for device in leaf.sharding.device_set:
                held.setdefault(device, [0, 0, 0])[which] += size
    for sizes in held.values():
        sizes[1] = sizes[0]  # a gradient is placed as its parameter is
    ordered = sorted(held, key=lambda device: device.id)
    return tuple(PlanDevice(str(device), *held[device]) for device in ordered)


def as_shape(leaf: Any, mesh: Mesh | None) -> Any:
    """The shape, dtype and sharding of an array; on the mesh, replicated where it has none."""
    own = getattr(leaf, "sharding", None)
    sharding = own if isinstance(own, NamedSharding) else None
    if sharding is None and mesh is not None:
        sharding = NamedSharding(mesh, PartitionSpec())
    dtype = getattr(leaf, "dtype", None)
    extended = dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.extended)
    kind = dtype if extended else jax.dtypes.canonicalize_dtype(check.dtype_of(leaf))
    weak = bool(getattr(leaf, "weak_type", isinstance(leaf, (int, float, complex))))
    return jax.ShapeDtypeStruct(np.shape(leaf), kind, sharding=sharding, weak_type=weak)


def with_sharding(leaf: Any, sharding: Any) -> Any:
    """A shape with another sharding."""
    return jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=sharding, weak_type=bool(leaf.weak_type)
    )
