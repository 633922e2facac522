"""Marks on results that refuse derivatives which would be wrong, or cannot be computed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from gradkit import _checks as check


def no_derivative(tree: Any, refuse: Callable[[], Any]) -> Any:
    """The tree; ``refuse`` is called when it is differentiated, in either mode."""

    @jax.custom_jvp
    def mark(tree: Any) -> Any:
        return tree

    @mark.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        return refuse()

    return mark(tree)


def forward_only(tree: Any, refuse: Callable[[], Any]) -> Any:
    """The tree; ``refuse`` is called when it is differentiated in reverse mode."""

    @jax.custom_jvp
    def mark(tree: Any) -> Any:
        return tree

    @mark.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        def leaf(x: Any) -> Any:
            real = x.dtype != jax.dtypes.float0
            return _tangent.bind(x, refuse=refuse) if real else x

        return primals[0], jax.tree.map(leaf, tangents[0])

    return mark(tree)


# The identity of a tangent, which no public function of JAX can tell from its transpose.
_tangent = Primitive("gradkit_tangent")
_tangent.def_impl(lambda x, refuse: x)
_tangent.def_abstract_eval(lambda x, refuse: x)
ad.deflinear2(_tangent, lambda cotangent, x, refuse: refuse())
batching.defvectorized(_tangent)
mlir.register_lowering(_tangent, lambda context, x, refuse: [x])


def is_transposable(function: Callable[[Any], Any], operand: Any) -> bool:
    """Whether the derivatives of a function of a tree exist in reverse mode; nothing is computed.

    A ``while_loop`` whose operands are differentiated has none.
    """

    def back(operand: Any) -> Any:
        leaves: list[Any]
        structure: Any
        leaves, structure = jax.tree.flatten(operand)
        at = [i for i, x in enumerate(leaves) if check.is_inexact(x)]

        def part(values: list[Any]) -> Any:
            whole = list(leaves)
            for i, value in zip(at, values, strict=True):
                whole[i] = value
            found = jax.tree.leaves(function(structure.unflatten(whole)))
            return [x for x in found if check.is_inexact(x)]

        result, pullback = jax.vjp(part, [leaves[i] for i in at])
        return pullback([jnp.ones_like(x) for x in result])

    try:
        jax.eval_shape(back, operand)
    except ValueError as error:
        if "Reverse-mode differentiation" not in str(error):
            raise
        return False
    return True
