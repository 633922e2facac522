"""Wrappers that show their inner transform another tree: complex leaves as pairs, frozen leaves not at all."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._link import Rule, nothing
from gradkit._transform import Transform, chain, transform
from gradkit.transforms import masks
from gradkit.transforms.route import freeze, masked
from gradkit.transforms.shape import set_to_zero


class _Parts(NamedTuple):
    """A complex leaf taken apart."""

    real: Any
    imaginary: Any


def _split(tree: Any) -> Any:
    def leaf(x: Any) -> Any:
        kind = jax.dtypes.result_type(x)
        if not jnp.issubdtype(kind, jnp.complexfloating):
            return x
        if isinstance(x, jax.ShapeDtypeStruct):
            part = jax.ShapeDtypeStruct(x.shape, numerics.real(kind))
            return _Parts(part, part)
        return _Parts(jnp.real(x), jnp.imag(x))

    return jax.tree.map(leaf, tree)


def _join(tree: Any) -> Any:
    def paired(x: Any) -> bool:
        return isinstance(x, _Parts)

    return jax.tree.map(lambda x: lax.complex(x.real, x.imaginary) if paired(x) else x, tree, is_leaf=paired)


@transform
def split_real_and_imaginary(inner: Any) -> Rule:
    """Let an inner transform see a complex leaf as two real ones.

    **Rule** u ← join(inner(split g)), split z = (Re z, Im z); real leaves pass as they are.

    **Remembers** what ``inner`` remembers, for the real and the imaginary part of each complex leaf.

    Args:
      inner: a transform, such as one that needs numbers with an order.

    Raises:
      TypeError: ``inner`` is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.split_real_and_imaginary(gk.clip(1.0))
      >>> assert tx.update(jnp.array([3.0 - 0.5j]), tx.init(jnp.zeros(1, complex)))[0][0] == 1.0 - 0.5j

    **Differs** from optax: extra arguments that are trees like the updates are split as well.
    """
    if not isinstance(inner, Transform):
        check.fail("needs a transform", repr(inner), path="inner", error=TypeError)
    rule = inner.rule

    def update(updates: Any, memory: Any, params: Any, **extras: Any) -> Any:
        like: Any = jax.tree.structure(updates)
        extras = {name: _split(value) if jax.tree.structure(value) == like and _all_arrays(value) else value for name, value in extras.items()}
        made, memory = rule.update(_split(updates), memory, None if params is None else _split(params), **extras)
        return _join(made), memory

    def evaluate(memory: Any, params: Any) -> Any:
        assert rule.evaluate is not None
        return _join(rule.evaluate(memory, _split(params)))

    init = nothing if rule.init is nothing else lambda params, *, leaves: rule.init(_split(params), leaves=_split(leaves))
    return Rule(init, update, evaluate=evaluate if rule.evaluate else None)


def _all_arrays(tree: Any) -> bool:
    return all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(tree))


@transform
def selective_transform(optimizer: Any, *, freeze_mask: Any) -> Transform:
    """Optimize some leaves, freeze the others, and remember nothing for those.

    **Rule** u_leaf ← 0 on the leaves of the mask, optimizer(g)_leaf elsewhere.

    **Remembers** what ``optimizer`` remembers, for the leaves it trains.

    Args:
      optimizer: a transform.
      freeze_mask: which leaves to freeze, as in ``masked``; True for all, False for none.

    Raises:
      ValueError: a tree or predicate that freezes no leaf, or every leaf.
      TypeError: ``optimizer`` is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> params = {"a": jnp.ones(1), "b": jnp.ones(1)}
      >>> tx = gk.selective_transform(gk.sgd(1.0), freeze_mask={"a": True, "b": False})
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["a"][0] == 0.0 and updates["b"][0] == -1.0
    """
    if not isinstance(optimizer, Transform):
        check.fail("needs a transform", repr(optimizer), path="optimizer", error=TypeError)
    if isinstance(freeze_mask, bool):
        return set_to_zero() if freeze_mask else optimizer
    return chain(masked(optimizer, _without(freeze_mask)), freeze(freeze_mask))


def _without(mask: Any) -> Any:
    """The mask of the other leaves."""
    if isinstance(mask, masks.Predicate):
        return ~mask
    if callable(mask) and jax.tree_util.all_leaves([mask]):
        return lambda params: jax.tree.map(lambda on: not on, masks.resolve(mask, params))
    return jax.tree.map(lambda on: not on, mask)
