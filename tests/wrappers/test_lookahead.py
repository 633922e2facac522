"""lookahead against optax, and its own memory of the slow weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk


def loss(w):
    return jnp.sum(jnp.sqrt(1 + (w["a"] - 3.0) ** 2)) + jnp.sum((w["b"] + 1.0) ** 2)


def start():
    return {"a": jnp.linspace(-1.0, 1.0, 4), "b": jnp.ones(())}


@pytest.mark.parametrize(("k", "alpha"), [(1, 0.5), (3, 0.8), (5, 0.25), (4, 1.0)])
@pytest.mark.parametrize("reset", [False, True])
def test_it_is_optax_lookahead_with_the_slow_weights_in_the_state(k, alpha, reset):
    with jax.enable_x64(True):
        tx, reference = (
            gk.lookahead(gk.adam(0.05), k, alpha, reset),
            optax.lookahead(optax.adam(0.05), k, alpha, reset),
        )
        w, pair = start(), optax.LookaheadParams.init_synced(start())
        state, other = tx.init(w), reference.init(pair)

        @jax.jit
        def both(w, state, pair, other):
            w, state = tx.apply(w, state, jax.grad(loss)(w))
            with jax.numpy_dtype_promotion("standard"):
                updates, other = reference.update(jax.grad(loss)(pair.fast), other, pair)
                return w, state, optax.apply_updates(pair, updates), other

        for _ in range(100):
            w, state, pair, other = both(w, state, pair, other)
        for name, leaf in w.items():
            np.testing.assert_allclose(leaf, pair.fast[name], 1e-10)
            np.testing.assert_allclose(gk.eval_params(tx, state, w)[name], pair.slow[name], 1e-10)


def test_evaluation_weights_are_the_parameters_before_the_first_step_and_the_first_ones_after_it():
    tx, w = gk.lookahead(gk.sgd(0.1), 5, 0.5), start()
    state = tx.init(w)
    np.testing.assert_array_equal(gk.eval_params(tx, state, w)["a"], w["a"])
    moved, state = tx.apply(w, state, w)
    np.testing.assert_array_equal(gk.eval_params(tx, state, moved)["a"], w["a"])


def test_reset_forgets_the_memory_and_not_the_clock():
    tx = gk.lookahead(
        gk.sgd(gk.linear_schedule(1.0, 0.0, 10), momentum=0.5), 2, 1.0, reset_state=True
    )
    w, state, seen = jnp.zeros(1), tx.init(jnp.zeros(1)), []
    for _ in range(4):
        update, state = tx.update(jnp.ones(1), state, w)
        seen.append(float(update[0]))
    np.testing.assert_allclose(seen, [-1.0, -0.9 * 1.5, -0.8, -0.7 * 1.5], 1e-6)


def test_slow_weights_of_narrow_parameters_are_wide():
    tx, w = gk.lookahead(gk.sgd(0.1), 2, 0.5), jnp.ones(2, jnp.bfloat16)
    state = tx.init(w)
    assert state.inner["lookahead"]["slow"].dtype == jnp.float32
    assert gk.eval_params(tx, state, w).dtype == jnp.bfloat16


def test_an_optax_optimizer_runs_inside():
    with jax.numpy_dtype_promotion("standard"):
        tx, same = (
            gk.lookahead(optax.adam(0.1), 2, 0.5, True),
            gk.lookahead(gk.adam(0.1), 2, 0.5, True),
        )
        w = v = start()
        state, other = tx.init(w), same.init(v)
        for _ in range(5):
            w, state = tx.apply(w, state, jax.grad(loss)(w))
            v, other = same.apply(v, other, jax.grad(loss)(v))
        np.testing.assert_allclose(w["a"], v["a"], 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: gk.lookahead(gk.sgd(0.1), 0, 0.5),
            ValueError,
            r"lookahead: sync_period=0 is out of range",
        ),
        (
            lambda: gk.lookahead(gk.sgd(0.1), 2, 1.5),
            ValueError,
            r"slow_step_size=1.5 is out of range",
        ),
        (
            lambda: gk.lookahead(gk.chain(gk.sgd(0.1), gk.weight_ema(0.9)), 2, 0.5),
            ValueError,
            r"fast_optimizer: needs an inner transform without evaluation",
        ),
        (
            lambda: gk.lookahead(0.1, 2, 0.5),
            TypeError,
            "lookahead: fast_optimizer=0.1 is not a transform",
        ),
    ],
)
def test_bad_input_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_parameters_are_needed():
    tx = gk.lookahead(gk.sgd(0.1), 2, 0.5)
    with pytest.raises(
        ValueError, match=r"lookahead: params=None, but this transform needs the parameters"
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
