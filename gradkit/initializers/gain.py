"""The gain of an activation: the factor by which weights make up for what it takes from signals."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check

METHODS = ("second_moment", "slope", "gradient")

_LINEAR = ("linear", "identity")
_LOGISTIC = ("logistic", "sigmoid")
_OF_JAX = (
    *("tanh", "relu", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "swish", "mish"),
    *("softplus", "soft_sign", "relu6", "hard_tanh", "hard_sigmoid", "hard_silu", "log_sigmoid"),
    "squareplus",
)
NAMES = (*_LINEAR, *_LOGISTIC, *_OF_JAX)


def gain(
    activation: str | Callable[[jax.Array], jax.Array],
    *,
    method: str = "second_moment",
    negative_slope: float = 0.01,
) -> float:
    """Compute the gain of an activation function, for the variance of initial weights.

    **Value** "second_moment": 1 / √E f(z)² with z ~ N(0, 1): weights of variance gain² / fan_in
    keep the variance of the inputs of f through any depth (√2 for ReLU). "slope": 1 / |f′(0)|, for
    signals in the linear range (4 for the logistic function, 1 for tanh). "gradient":
    1 / √E f′(z)²: weights of variance gain² / fan_out keep the variance of the gradients.

    Args:
      activation: a name ("linear", "logistic", "tanh", "relu", "leaky_relu", or another function of
        ``jax.nn`` such as "gelu") or a function of an array, elementwise. Expectations of functions
        are computed by quadrature in float64, exact to 1e-12 for functions that are smooth but for
        kinks at integers.
      method: one of the three.
      negative_slope: the slope of "leaky_relu" below zero.

    Returns:
      the gain > 0.

    Raises:
      ValueError: an unknown name or method; a function whose slope at 0 is zero or whose
        expectation is zero or not finite.
      TypeError: neither a name nor a function.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> gain = gk.initializers.gain
      >>> round(gain("tanh"), 3), round(gain(lambda z: jnp.maximum(z, 0)), 6)
      (1.593, 1.414214)
      >>> assert gain("logistic", method="slope") == 4.0

    **Differs from PyTorch**: ``calculate_gain`` has 5/3 for tanh and 1 for the logistic function.

    Reference: He et al. 2015, https://arxiv.org/abs/1502.01852; Glorot and Bengio 2010,
    https://proceedings.mlr.press/v9/glorot10a.html.
    """
    with check.inside("gain"):
        check.one_of(METHODS, method=method)
        check.finite(negative_slope=negative_slope)
        if isinstance(activation, str):
            if activation not in NAMES:
                problem = f"activation={activation!r} is not known"
                check.refuse(problem, fix=check.nearest(activation, NAMES))
            if (known := _closed_form(activation, method, float(negative_slope))) is not None:
                return known
            name = "sigmoid" if activation in _LOGISTIC else activation
            function = getattr(jax.nn, name)
        else:
            check.function(activation=activation)
            function = activation
        with _float64():
            size = _slope(function) if method == "slope" else _root(function, method == "gradient")
        if not (math.isfinite(size) and size > 0):
            what = "slope at 0" if method == "slope" else "second moment"
            problem = f"activation={check.shown(activation)} has the {what} {size:.6g}"
            fix = "Use method='second_moment'" if method == "slope" else ""
            check.refuse(problem, expected="a positive number", fix=fix)
        return 1 / size


def _closed_form(name: str, method: str, negative_slope: float) -> float | None:
    if name in _LINEAR:
        return 1.0
    if method == "slope":
        return 4.0 if name in _LOGISTIC else 1.0 if name == "tanh" else None
    if name == "relu":
        return math.sqrt(2)
    if name == "leaky_relu":
        return math.sqrt(2 / (1 + negative_slope**2))
    return None


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    """Concrete values in float64, also while a function is traced."""
    standard = jax.numpy_dtype_promotion("standard")
    with jax.ensure_compile_time_eval(), jax.enable_x64(True), standard:
        yield


def _derivative(function: Any, z: np.ndarray) -> np.ndarray:
    points = jnp.asarray(z)
    return np.asarray(jax.jvp(function, (points,), (jnp.ones_like(points),))[1])


def _slope(function: Any) -> float:
    return abs(float(_derivative(function, np.zeros(1))[0]))


def _root(function: Any, of_derivative: bool) -> float:
    """√E f(z)² or √E f′(z)²: Gauss–Legendre on unit intervals, as kinks are at integers."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    starts = np.arange(-12, 12)[:, None]
    z = (starts + (nodes + 1) / 2).ravel()
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * np.tile(weights / 2, len(starts))
    values = _derivative(function, z) if of_derivative else np.asarray(function(jnp.asarray(z)))
    if values.shape != z.shape:
        problem = f"the activation returns {check.shape_dtype(values)} for float64{list(z.shape)}"
        check.refuse(problem, expected="an elementwise function", error=TypeError)
    return math.sqrt(float(np.sum(density * values**2)))
