"""What both sides of a comparison are fed: a loss, or gradients, and extra arguments."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check


@dataclasses.dataclass(frozen=True)
class Feed:
    """A loss, or gradients with the steps in front; and the extras, steps in front."""

    loss: Callable[[Any], Any] | None
    gradients: Any
    extras: dict[str, Any]


def _extras_of(extras: Any, step: int) -> dict[str, Any]:
    found = extras(step) if callable(extras) else (extras or {})
    if not isinstance(found, dict):
        problem = f"extras are {check.shown(found)}"
        expected = "a dict by name, or a function of the step that returns one"
        check.refuse(problem, expected=expected, path="extras", error=TypeError)
    return dict(found)


def feed_of(given: Any, params: Any, steps: int, extras: Any) -> Feed:
    if callable(extras):
        check.arity(1, "the step", extras=extras)
    every = [_extras_of(extras, step) for step in range(steps)]
    stacked = _stack(every)
    if callable(given):
        out = _on_params(given, params)
        if getattr(out, "shape", None) == ():
            return Feed(given, None, stacked)
        given = _every_step(given, params, steps, out)
        if given is None:
            found = check.shape_dtype(out) if hasattr(out, "shape") else f"a {type(out).__name__}"
            check.refuse(
                f"the function returns {found}",
                expected="a loss that returns one number, or gradients(step) like params",
                fix="Reduce the loss, as with jnp.mean, and return nothing beside it",
                path="gradients_or_loss",
                error=TypeError,
            )
    if not isinstance(given, Sequence) or len(given) < steps:
        check.refuse(
            f"gradients for {len(given)} steps are too few"
            if isinstance(given, Sequence)
            else f"{type(given).__name__} is neither a loss nor gradients",
            expected=f"a loss, or gradients for {steps} steps",
            fix="Pass loss(params), gradients(step), or a list of trees",
            path="gradients_or_loss",
        )
    check.match(given[0], params)
    for step, gradients in enumerate(given[1:steps], 1):
        with check.inside(f"gradients_or_loss[{step}]"):
            check.match(gradients, params)
    return Feed(None, _stack(list(given[:steps])), stacked)


def _on_params(function: Callable[[Any], Any], params: Any) -> Any:
    """What a function returns for parameters, as shapes: a scalar if it is a loss.

    Or the error: a function of the step may fail on parameters in any way.
    """
    try:
        return jax.eval_shape(function, params)
    except Exception as error:
        return error


def _every_step(
    function: Callable[[int], Any], params: Any, steps: int, on_params: Any
) -> list[Any] | None:
    """The gradients of a function of the step; None if it is a function of the parameters."""
    try:
        first = function(0)
        if hasattr(on_params, "shape"):
            # An array: gradients where params is one too, else a loss that was not reduced.
            check.match(first, params)
    except Exception as error:
        if isinstance(on_params, Exception):
            check.refuse(
                f"the function fails on parameters ({_one_line(on_params)}) "
                f"and on step 0 ({_one_line(error)})",
                expected="a function of the parameters or of the step",
                path="gradients_or_loss",
                error=TypeError,
            )
        return None
    return [first, *[function(step) for step in range(1, steps)]]


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def as_numpy(tree: Any, dtype: Any) -> Any:
    """The tree on the host, its floats rounded to ``dtype``."""

    def leaf(x: Any) -> np.ndarray:
        x = np.asarray(x)
        if dtype is None or not jnp.issubdtype(x.dtype, jnp.inexact):
            return x
        if np.iscomplexobj(x):
            return x.astype(np.complex128 if jnp.dtype(dtype) == np.float64 else np.complex64)
        return x.astype(dtype)

    return jax.tree.map(leaf, tree)


def in_dtype(feed: Feed, dtype: Any) -> Feed:
    return dataclasses.replace(
        feed, gradients=as_numpy(feed.gradients, dtype), extras=as_numpy(feed.extras, dtype)
    )


def widened(tree: Any) -> Any:
    if isinstance(tree, Feed):
        return in_dtype(tree, np.float64)
    return as_numpy(tree, np.float64)
