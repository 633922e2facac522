"""A transform whose trees are shards, inside ``shard_map``."""

from typing import Any, NoReturn

import jax
from jax import lax

from gradkit import _checks as check
from gradkit import _shards as shards
from gradkit._member import Member
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._splice import all_members
from gradkit._transform import Transform, transform


@transform
def sharded(inner: Transform, axis_name: str | tuple[str, ...]) -> Rule:
    """Run a transform on shards inside ``shard_map``, with the norms of the whole arrays.

    Inside ``jax.shard_map`` each device sees its own shard of an array, and a transform that
    reduces over it, such as ``clip_by_global_norm``, would use the norm of the shard. ``sharded``
    adds up each of these sums over the devices. Under ``jit`` with shardings that is not needed.

    **Update rule** that of ``inner`` on the whole arrays. A sum over a leaf is added up over those
    axes of ``axis_name`` along which the leaf varies, so sharded and replicated leaves may be in
    one tree. Outside of ``shard_map`` it is ``inner``.

    **State** that of ``inner``, with the same sharding as `state_sharding` gives it; numbers such
    as counts and norms are replicated.

    Args:
      inner: a transform that works element by element, or by sums over leaves and the whole tree:
        all clips by norms, ``lamb``, ``lars``, ``dog``, ``prodigy``, ``guard``, ``MultiSteps``, ...
      axis_name: the mapped axis over which the arrays are sharded, or several.

    Raises:
      ValueError: a transform that needs whole leaves (``muon``, ``adafactor``), an axis that is not
        mapped, ``shard_map(check_vma=False)``.
      TypeError: not a transform, not a name.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
      >>> tx = gk.sharded(gk.clip_by_global_norm(1.0), "model")
      >>> state, spec = tx.init(jnp.zeros(2)), jax.P("model")
      >>> update = jax.shard_map(
      ...     lambda g: tx.update(g, state)[0], mesh=mesh, in_specs=spec, out_specs=spec
      ... )
      >>> assert jnp.allclose(update(jnp.array([3.0, 4.0])), jnp.array([0.6, 0.8]))
    """
    axes = (axis_name,) if isinstance(axis_name, str) else axis_name
    if not isinstance(axes, tuple) or not axes or not all(isinstance(name, str) for name in axes):
        problem = f"axis_name={check.shown(axis_name)} is not the name of an axis"
        check.refuse(problem, expected="a name, or a tuple of names", error=TypeError)
    for member in all_members(inner):
        if not _adds_up(member):
            _refuse(member)
    part = Part("", inner)

    def init(params: Any, *, context: Any) -> Any:
        with shards.over(_mapped(axes)):
            return part.init(params, context=context)

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        with shards.over(_mapped(axes)):
            return part.update(updates, state, params, context=context)

    return Rule(init, update, parts=(part,), sharded=True)


def _adds_up(member: Member) -> bool:
    rule = member.rule
    return not rule.foreign and (rule.scope in ("element", "global") or rule.sharded)


def _refuse(member: Member) -> NoReturn:
    if member.foreign:
        fix = "Use gradkit's transform in place of the one of another library"
    else:
        fix = (
            "Shard the arrays by jit (in_shardings, state_sharding) in place of shard_map. A rule "
            "of your own that takes sums by gk.tree only is Rule(..., sharded=True)"
        )
    problem = f"{member.name} is not known to add up over shards"
    expected = "transforms of elements, or of sums over leaves and trees"
    check.refuse(problem, expected=expected, fix=fix)


def _mapped(axes: tuple[str, ...]) -> tuple[str, ...]:
    """The axes, where they are mapped; none outside of ``shard_map``."""
    mapped = jax.sharding.get_abstract_mesh().manual_axes
    if not mapped:
        return ()
    for axis in axes:
        if axis not in mapped:
            known = ", ".join(map(repr, mapped))
            problem = f"axis_name={axis!r} is not mapped by the shard_map around this call"
            check.refuse(problem, expected=f"one of {known}")
        if axis not in shards.varying(lax.axis_index(axis)):
            problem = "shard_map(check_vma=False) does not say which arrays are shards"
            check.refuse(problem, fix="Call jax.shard_map with check_vma=True, the default")
    return axes
