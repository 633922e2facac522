"""Complex."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._link import Rule, nothing
from gradkit._transform import Transform, transform


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

    return jax.tree.map(
        lambda x: lax.complex(x.real, x.imaginary) if paired(x) else x, tree, is_leaf=paired
    )


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

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        like: Any = jax.tree.structure(updates)
        extras = {
            name: _split(value)
            if jax.tree.structure(value) == like and _all_arrays(value)
            else value
            for name, value in extras.items()
        }
        made, state = rule.update(
            _split(updates), state, None if params is None else _split(params), **extras
        )
        return _join(made), state

    def evaluate(state: Any, params: Any) -> Any:
        assert rule.evaluate is not None
        return _join(rule.evaluate(state, _split(params)))

    init = (
        nothing
        if rule.init is nothing
        else lambda params, *, leaves: rule.init(_split(params), leaves=_split(leaves))
    )
    return Rule(init, update, evaluate=evaluate if rule.evaluate else None)


def _all_arrays(tree: Any) -> bool:
    return all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(tree))
