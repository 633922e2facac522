"""How the functions of this room read a point, a vector and a function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree


def point(params: Any) -> Any:
    """The parameters as wide arrays, which must be real."""
    check.tree_of_arrays(params, "params")
    check.inexact(params, "parameter")
    check.real_leaves(params)
    return tree.widen(params)


def like(vector: Any, params: Any) -> Any:
    """A tangent in the dtypes of the parameters."""
    vector = tree.widen(vector)
    check.match(vector, params)
    return jax.tree.map(lambda v, p: v.astype(p.dtype), vector, params)


def scalar_function(
    fun: Callable[..., Any], params: Any, args: tuple[Any, ...], name: str = "fun"
) -> Callable[[Any], Any]:
    """``fun`` as a function of the parameters alone, after a check that it returns one number."""
    check.function(**{name: fun})
    real_number(jax.eval_shape(lambda p: fun(p, *args), params), name)
    return lambda p: fun(p, *args)


def real_number(value: Any, name: str, fix: str = "") -> None:
    """Refuse what a function returned unless it is one real number."""
    if getattr(value, "shape", None) == () and jnp.issubdtype(value.dtype, jnp.floating):
        return
    problem = f"{name} returned {check.kind_of(value)}"
    check.refuse(problem, expected="one real number", fix=fix, error=TypeError)
