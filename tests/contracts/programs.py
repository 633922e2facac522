"""What a transform's program says before it is compiled: its equations, read from the jaxpr."""

import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

# What a transformation of JAX treats by rules of its own: a program without any of these is mapped
# and scanned equation by equation, which is for JAX to test.
CONTROL = {"cond", "while", "scan", "custom_vmap_call", "pure_callback", "io_callback"}

# What moves numbers, or chooses among them, without arithmetic.
MOVES = {
    "broadcast_in_dim",
    "concatenate",
    "convert_element_type",
    "copy",
    "gather",
    "nextafter",
    "optimization_barrier",
    "reshape",
    "select_n",
    "slice",
    "squeeze",
    "transpose",
}


def inner(equation: JaxprEqn) -> list[Jaxpr]:
    """The programs that an equation calls, its branches and bodies."""
    found = jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda x: isinstance(x, (Jaxpr, ClosedJaxpr))
    )
    return [getattr(x, "jaxpr", x) for x in found if isinstance(x, (Jaxpr, ClosedJaxpr))]


def equations(jaxpr: Any) -> Iterator[JaxprEqn]:
    """Every equation, those of inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for called in inner(equation):
            yield from equations(called)


def text(jaxpr: Any) -> str:
    """The program as text, without the addresses of the functions that it names."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(jaxpr))


def controls(jaxpr: Any) -> set[str]:
    """The control flow in a program."""
    return {equation.primitive.name for equation in equations(jaxpr)} & CONTROL


def rounds_narrowly(jaxpr: Any) -> list[str]:
    """The equations that compute in bfloat16 or float16, without those that only move numbers."""
    return [
        str(equation)
        for equation in equations(jaxpr)
        if equation.primitive.name not in MOVES
        and not inner(equation)
        and any(
            getattr(out.aval, "dtype", None) in (jnp.bfloat16, jnp.float16)
            for out in equation.outvars
        )
    ]
