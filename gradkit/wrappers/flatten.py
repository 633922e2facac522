"""All leaves as one vector, for a transform inside."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._part import Part, View
from gradkit._rule import Context, Rule
from gradkit._transform import Transform, transform
from gradkit.typing import PyTree


@transform
def flatten(inner: Transform) -> Rule:
    """Apply a transform to all leaves joined in one vector, in the order of the tree.

    **Update rule** u ← split(inner(join g)). A rule for each leaf, such as ``clip_by_block_rms``,
    becomes a rule for the whole model. A model of very many small leaves needs fewer operations;
    one of large leaves takes longer, because the vector is a copy.

    **State** that of ``inner``, for one vector. Parameters by path and by rank are not to be told
    apart inside.

    Args:
      inner: a transform.

    Raises:
      TypeError: ``inner`` is not a transform; real and complex leaves in one tree.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.flatten(gk.clip_by_block_rms(1.0))
      >>> grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
      >>> updates, _ = tx.update(grads, tx.init(grads))
      >>> assert jnp.allclose(updates["b"], 4 / 12.5**0.5)  # 1 without flatten

    **Differs from optax**: extra arguments that are trees like the updates are joined as well; a
    leaf keeps its dtype where leaves differ in it.
    """
    part = Part("", inner, view=_view)
    return Rule(part.init, part.update, parts=(part,))


def _view(context: Context) -> View:
    def extra(name: str, value: Any, updates: PyTree) -> Any:
        like: Any = jax.tree.structure(updates)
        if jax.tree.structure(value) != like or not jax.tree.leaves(value):
            return value
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(updates)]
        return _join(value) if list(map(jnp.shape, jax.tree.leaves(value))) == shapes else value

    return View(_join, _split, extra, splits=True)


def _join(tree: PyTree) -> Any:
    leaves = jax.tree.leaves(tree)
    kinds = [jax.dtypes.result_type(leaf) for leaf in leaves]
    if len({jnp.issubdtype(kind, jnp.complexfloating) for kind in kinds}) > 1:
        fix = "Put split_real_and_imaginary around flatten"
        problem = "the tree has real and complex leaves"
        check.refuse(problem, expected="leaves of one kind", fix=fix, error=TypeError)
    with jax.numpy_dtype_promotion("standard"):
        kind = functools.reduce(jnp.promote_types, kinds) if kinds else jnp.dtype("float32")
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        return jax.ShapeDtypeStruct((sum(math.prod(leaf.shape) for leaf in leaves),), kind)
    flat = [jnp.ravel(numerics.cast(leaf, kind)) for leaf in leaves]
    return jnp.concatenate(flat) if flat else jnp.zeros(0, kind)


def _split(vector: Any, tree: PyTree) -> PyTree:
    leaves, structure = jax.tree.flatten(tree)
    ends = [0]
    for leaf in leaves:
        ends.append(ends[-1] + math.prod(jnp.shape(leaf)))
    return jax.tree.unflatten(
        structure,
        [
            numerics.cast(vector[start:end].reshape(jnp.shape(leaf)), jax.dtypes.result_type(leaf))
            for leaf, start, end in zip(leaves, ends, ends[1:], strict=False)
        ],
    )
