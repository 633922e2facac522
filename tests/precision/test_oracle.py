"""Rounding errors against a float64 oracle from the formulas, in NumPy: no larger than optax's."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gradkit as gk

STEPS, SIZE, SEEDS = 200, 64, 3
RATE = 0.01


# ---- the oracle: gradients (steps, size) -> updates (steps, size) --------------------------------


def _sgd(gs):
    return [-RATE * g for g in gs]


def _momentum(gs, rho=0.9, nesterov=False):
    out, m = [], 0.0
    for g in gs:
        m = g + rho * m
        out.append(-RATE * (g + rho * m if nesterov else m))
    return out


def _adam(gs, b1=0.9, b2=0.999, eps=1e-8, peak=False, ahead=False):
    out, m, v, top = [], 0.0, 0.0, 0.0
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if ahead:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        if peak:
            top = v_hat = np.maximum(top, v_hat)
        out.append(-RATE * m_hat / (np.sqrt(v_hat) + eps))
    return out


def _adamax(gs, b1=0.9, b2=0.999, eps=1e-8):
    out, m, u = [], 0.0, 0.0
    for t, g in enumerate(gs, 1):
        m, u = b1 * m + (1 - b1) * g, np.maximum(b2 * u, np.abs(g) + eps)
        out.append(-RATE * m / (1 - b1**t) / u)
    return out


def _rmsprop(gs, decay=0.9, eps=1e-3, inside=True, centered=False):
    out, v, m = [], 0.0, 0.0
    for g in gs:
        v, m = decay * v + (1 - decay) * g * g, decay * m + (1 - decay) * g
        spread = v - m * m if centered else v
        out.append(-RATE * g / (np.sqrt(spread + eps) if inside else np.sqrt(spread) + eps))
    return out


def _adagrad(gs, start=0.1, eps=1e-7):
    out, total = [], start
    for g in gs:
        total = total + g * g
        out.append(-RATE * g / np.sqrt(total + eps))
    return out


def _adadelta(gs, rho=0.9, eps=1e-6):
    out, v, d = [], 0.0, 0.0
    for g in gs:
        v = rho * v + (1 - rho) * g * g
        delta = np.sqrt(d + eps) / np.sqrt(v + eps) * g
        d = rho * d + (1 - rho) * delta * delta
        out.append(-delta)
    return out


METHODS = {
    "sgd": (lambda k: k.sgd(RATE), _sgd),
    "momentum": (lambda k: k.sgd(RATE, momentum=0.9), _momentum),
    "nesterov": (
        lambda k: k.sgd(RATE, momentum=0.9, nesterov=True),
        lambda gs: _momentum(gs, nesterov=True),
    ),
    "adam": (lambda k: k.adam(RATE), _adam),
    "amsgrad": (lambda k: k.amsgrad(RATE), lambda gs: _adam(gs, peak=True)),
    "nadam": (lambda k: k.nadam(RATE), lambda gs: _adam(gs, ahead=True)),
    "adamax": (lambda k: k.adamax(RATE), _adamax),
    "rmsprop eps inside": (lambda k: k.rmsprop(RATE, eps=1e-3), _rmsprop),
    "rmsprop eps outside": (
        lambda k: k.rmsprop(RATE, eps=1e-3, eps_in_sqrt=False),
        lambda gs: _rmsprop(gs, inside=False),
    ),
    "rmsprop centered": (
        lambda k: k.rmsprop(RATE, eps=1e-3, centered=True),
        lambda gs: _rmsprop(gs, centered=True),
    ),
    "adagrad": (lambda k: k.adagrad(RATE), _adagrad),
    "adadelta": (lambda k: k.adadelta(1.0), _adadelta),
}


def gradients(seed):
    """Noise around a slope, its size drifting by an order of magnitude."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(STEPS, SIZE)) + 0.3) * np.exp(np.sin(np.arange(STEPS) / 15))[:, None]


def errors(make, oracle, library, dtype):
    """Root mean square error of the updates relative to theirs, over some seeds.

    The oracle gets the same rounded gradients.
    """
    tx = make(library)

    def body(state, g):
        updates, state = tx.update(g, state, jnp.ones(SIZE, dtype))
        return state, updates

    run = jax.jit(lambda gs: lax.scan(body, tx.init(jnp.ones(SIZE, dtype)), gs)[1])
    away = size = 0.0
    for seed in range(SEEDS):
        gs = jnp.asarray(gradients(seed), dtype)
        truth = np.stack(oracle(np.asarray(gs).astype(np.float64)))
        away += np.sum((np.asarray(run(gs)).astype(np.float64) - truth) ** 2)
        size += np.sum(truth**2)
    return float(np.sqrt(away / size))


def optax_errors(make, oracle, dtype):
    optax = pytest.importorskip("optax")
    with (
        warnings.catch_warnings(),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        warnings.simplefilter("ignore")
        return errors(make, oracle, optax, dtype)


@pytest.mark.parametrize("method", METHODS)
def test_float32_error_is_no_larger_than_optax_has(method):
    make, oracle = METHODS[method]
    ours, theirs = errors(make, oracle, gk, jnp.float32), optax_errors(make, oracle, jnp.float32)
    # One unit in the last place: below it the order of the operations decides, for either side.
    assert ours <= max(1.1 * theirs, 2.0**-23), (ours, theirs)
    assert ours < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_error_is_one_rounding(method):
    make, oracle = METHODS[method]
    ours, theirs = errors(make, oracle, gk, jnp.bfloat16), optax_errors(make, oracle, jnp.bfloat16)
    assert ours <= 1.05 * theirs, (ours, theirs)
    # Rounding to nearest once is an error of at most half a unit, and 0.3 of one on average.
    assert ours < 0.5 * 2.0**-7, ours


def test_adamw_decays_like_the_oracle():
    g, p, truth = 0.25, 3.0, 3.0
    tx = gk.adamw(RATE, weight_decay=0.1)
    params, state = jnp.float32(p), tx.init(jnp.float32(p))
    step = jax.jit(tx.apply)
    direction = _adam([np.float64(g)] * STEPS)
    for t in range(STEPS):
        params, state = step(params, state, jnp.float32(g))
        truth = truth + direction[t] - RATE * 0.1 * truth
    assert abs(float(params) - truth) < STEPS * 2.0**-24 * 3
