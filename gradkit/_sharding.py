"""Where the state of a transform is kept on a mesh."""

from math import prod
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._rule import State
from gradkit._transform import Transform
from gradkit.typing import Params

_RULES = ("next", "replicate", "refuse")


def state_sharding(
    tx: Transform,
    params: Params,
    mesh: Mesh | AbstractMesh | None = None,
    *,
    axis: str | tuple[str, ...] | None = None,
    indivisible: str = "next",
    min_size: int = 128,
) -> State:
    """Return the sharding of each array of a state: that of its parameter, or ZeRO-1.

    Without ``axis`` an array of the state has the sharding of the parameter that it belongs to, on
    the dimensions that it has of it; scalars are replicated. With ``axis`` the state is also spread
    over that axis of the mesh (ZeRO-1), so that each of its n devices keeps 1/n of the state and
    computes 1/n of the update. Parameters and gradients stay as they are.

    Nothing is computed or allocated.

    Args:
      tx: the transform.
      params: arrays or ``ShapeDtypeStruct``, with a ``NamedSharding`` on the mesh; a parameter
        without one is replicated.
      mesh: the mesh; None takes that of ``jax.set_mesh``. Any number of devices will do, also one.
      axis: the axis of the mesh to spread the state over, or several.
      indivisible: what becomes of an array whose first dimension n does not divide. ``"next"``: the
        first dimension that n divides is spread, and an array without one is replicated.
        ``"replicate"``: it is replicated. ``"refuse"``: as ``"next"``, but an array that would be
        replicated is an error. A dimension that is sharded over other axes counts with them.
      min_size: arrays of fewer elements are replicated.

    Returns:
      a `State` with a ``NamedSharding`` for each array. It is what ``in_shardings`` and
      ``out_shardings`` of ``jax.jit`` and `make_step` take, and ``jax.device_put``;
      ``jax.jit(tx.init, out_shardings=...)`` makes a state that is never in one place.

    Raises:
      ValueError: no mesh, an axis that is not of the mesh, parameters on another mesh, an array
        that cannot be spread with ``indivisible="refuse"``.
      TypeError: not a transform, not a mesh.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
      >>> params = {"w": jnp.zeros((64, 8)), "b": jnp.zeros(8)}
      >>> shardings = gk.state_sharding(gk.adam(1e-3), params, mesh, axis="data")
      >>> state = jax.jit(gk.adam(1e-3).init, out_shardings=shardings)(params)
      >>> moment = shardings.inner["scale_by_adam"]["moment"]["average"]
      >>> assert moment["w"].spec == jax.P("data") and moment["b"].spec == jax.P()

    Reference: Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054 (ZeRO, stage 1).
    """
    with check.inside("state_sharding"):
        check.part(tx=tx)
        check.tree_of_arrays(params, "params")
        check.one_of(_RULES, indivisible=indivisible)
        check.integer(0, min_size=min_size)
        mesh = _mesh(mesh)
        axes = () if axis is None else _axes(axis, mesh)
        typed: Any = mesh.abstract_mesh.update(
            axis_types=(AxisType.Explicit,) * len(mesh.axis_names)
        )
        leaves = jax.tree_util.tree_map_with_path(
            lambda path, leaf: _typed(check.keystr(path), leaf, mesh, typed),
            tree.arrays_only(params),
        )
    # Where shardings are types, each operation of `init` says where its result is.
    with jax.sharding.use_abstract_mesh(typed):
        state = jax.eval_shape(tx.init, leaves)

    def place(path: Any, leaf: Any) -> NamedSharding:
        given = () if leaf.sharding is None else leaf.sharding.spec
        spec = [*given, *[None] * (leaf.ndim - len(given))]
        if axes and leaf.ndim and leaf.size >= min_size:
            with check.inside("state_sharding"):
                spec = _spread(check.keystr(path), leaf, spec, mesh, axes, indivisible)
        while spec and spec[-1] is None:
            spec.pop()
        return NamedSharding(mesh, PartitionSpec(*spec))

    placed: State = jax.tree_util.tree_map_with_path(place, state)
    return placed


def _spread(
    path: str, leaf: Any, spec: list[Any], mesh: Any, axes: tuple[str, ...], indivisible: str
) -> list[Any]:
    """The spec with the axes added to the first dimension that they divide."""
    used = {name for names in spec for name in _names(names)}
    axes = tuple(axis for axis in axes if axis not in used)
    if not axes:
        return spec
    for i, (size, names) in enumerate(zip(leaf.shape, spec, strict=True)):
        joined = (*_names(names), *axes)
        if size % prod(mesh.shape[name] for name in joined) == 0:
            return [*spec[:i], joined if len(joined) > 1 else joined[0], *spec[i + 1 :]]
        if indivisible == "replicate":
            break
    if indivisible == "refuse":
        count = prod(mesh.shape[name] for name in axes)
        problem = f"no dimension of {check.shape_dtype(leaf)} can be divided by {count} devices"
        check.refuse(problem, fix='Pass indivisible="next" to replicate it', path=path)
    return spec


def _names(entry: Any) -> tuple[str, ...]:
    """The axes of one entry of a ``PartitionSpec``."""
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def _typed(path: str, leaf: Any, mesh: Any, typed: Any) -> jax.ShapeDtypeStruct:
    """The shape of a parameter with its sharding as a part of its type."""
    sharding: Any = getattr(leaf, "sharding", None)
    spec = PartitionSpec()
    named = isinstance(sharding, NamedSharding)
    if named and dict(sharding.mesh.shape) == dict(mesh.shape):
        spec = sharding.spec
    elif sharding is not None and not sharding.is_fully_replicated:
        if named:
            problem = f"the parameter is on a mesh with {_shown(sharding.mesh)}"
            check.refuse(problem, expected=f"the mesh with {_shown(mesh)}", path=path)
        problem = f"the sharding of the parameter is {type(sharding).__name__}"
        check.refuse(problem, expected="a NamedSharding", path=path, error=TypeError)
    dtype = jax.dtypes.result_type(leaf)
    return jax.ShapeDtypeStruct(np.shape(leaf), dtype, sharding=NamedSharding(typed, spec))


def _mesh(mesh: Any) -> Any:
    if mesh is None:
        mesh = jax.sharding.get_abstract_mesh()
        if not mesh.axis_names:
            fix = "Pass mesh=, or call it inside `with jax.set_mesh(mesh)`"
            check.refuse("mesh=None, and no mesh is set", fix=fix)
        concrete = jax.sharding.get_mesh()
        return mesh if concrete.empty else concrete
    if not isinstance(mesh, (Mesh, AbstractMesh)):
        problem = f"mesh={check.shown(mesh)} is not a mesh"
        check.refuse(problem, expected="a mesh, as of jax.make_mesh", error=TypeError)
    return mesh


def _axes(axis: Any, mesh: Any) -> tuple[str, ...]:
    axes = (axis,) if isinstance(axis, str) else axis
    if not isinstance(axes, tuple) or not all(isinstance(name, str) for name in axes) or not axes:
        problem = f"axis={check.shown(axis)} is not the name of an axis"
        check.refuse(problem, expected="a name, or a tuple of names", error=TypeError)
    for name in axes:
        if name not in mesh.axis_names:
            known = f"one of the axes of the mesh: {', '.join(map(repr, mesh.axis_names))}"
            check.refuse(f"axis={name!r} is not an axis of the mesh", expected=known)
    if len(set(axes)) < len(axes):
        check.refuse(f"axis={axis!r} names an axis twice", expected="different axes")
    return axes


def _shown(mesh: Any) -> str:
    return ", ".join(f"{name!r}: {size}" for name, size in dict(mesh.shape).items())
