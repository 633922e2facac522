"""Complex parameters for transforms of real numbers."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _numerics as numerics
from gradkit._part import Part, View
from gradkit._rule import Context, Rule
from gradkit._transform import Transform, transform


@transform
def split_real_and_imaginary(inner: Transform) -> Rule:
    """Apply a transform to the real and the imaginary parts of complex leaves.

    **Update rule** u ← join(inner(split g)), split z = (Re z, Im z); real leaves are left as they
    are.

    **State** that of ``inner``, for the real and the imaginary part of each complex leaf.

    Args:
      inner: a transform, such as one that needs an order of the numbers.

    Raises:
      TypeError: ``inner`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.split_real_and_imaginary(gk.clip(1.0))
      >>> updates, _ = tx.update(jnp.array([3.0 - 0.5j]), tx.init(jnp.zeros(1, complex)))
      >>> assert updates[0] == 1.0 - 0.5j

    **Differs from optax**: extra arguments that are trees like the updates are split as well, and
    functions of the loss are given the complex parameters.
    """
    part = Part("", inner, view=_split_view)
    return Rule(part.init, part.update, parts=(part,), sharded=True)


class _Complex(NamedTuple):
    """A complex leaf taken apart."""

    real: Any
    imaginary: Any


def _split_view(context: Context) -> View:
    def extra(name: str, value: Any, updates: Any) -> Any:
        if name in ("value_fn", "loss_fn", "obj_fn", "residual_fn") and callable(value):

            @functools.wraps(value)  # with the names of its arguments
            def joined(parts: Any, *args: Any, **kwargs: Any) -> Any:
                return value(join(parts), *args, **kwargs)

            return joined
        like: Any = jax.tree.structure(updates)
        is_like = jax.tree.structure(value) == like
        arrays = all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(value))
        return split(value) if is_like and arrays else value

    return View(split, lambda new, old: join(new), extra, splits=True)


def split(tree: Any) -> Any:
    def leaf(x: Any) -> Any:
        kind = jax.dtypes.result_type(x)
        if not jnp.issubdtype(kind, jnp.complexfloating):
            return x
        if isinstance(x, jax.ShapeDtypeStruct):
            part = jax.ShapeDtypeStruct(x.shape, numerics.real(kind))
            return _Complex(part, part)
        return _Complex(jnp.real(x), jnp.imag(x))

    return jax.tree.map(leaf, tree)


def join(tree: Any) -> Any:
    def is_split(x: Any) -> bool:
        return isinstance(x, _Complex)

    def leaf(x: Any) -> Any:
        return lax.complex(x.real, x.imaginary) if is_split(x) else x

    return jax.tree.map(leaf, tree, is_leaf=is_split)
