"""Rounding of narrow parameters: unbiased, or exact against a float32 sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("value", [1.0, -1.0, 3.7, -0.013, 0.0, 1e-7])
def test_stochastic_rounding_is_unbiased_between_two_neighbours(kind, value):
    tx, n = gk.chain(gk.scale(1.0), gk.stochastic_rounding(0)), 40_000
    w = jnp.full(n, value, kind)
    exact = w[0].astype(jnp.float32) + jnp.float32(0.0031 * (abs(value) or 1.0))
    new, _ = jax.jit(tx.apply)(w, tx.init(w), exact - w.astype(jnp.float32))
    found = np.unique(np.asarray(new, np.float64))
    assert new.dtype == kind
    assert len(found) <= 2
    assert found[0] <= float(exact) <= found[-1]
    gap = found[-1] - found[0]
    assert (
        abs(np.asarray(new, np.float64).mean() - float(exact)) <= 5 * gap / 2 / np.sqrt(n) + 1e-12
    )


def test_what_can_be_held_is_not_rounded():
    tx = gk.stochastic_rounding(0)
    w = jnp.arange(8, dtype=jnp.bfloat16)
    new, _ = tx.apply(w, tx.init(w), jnp.full(8, 1.0, jnp.bfloat16))
    np.testing.assert_array_equal(new.astype(jnp.float32), np.arange(8) + 1)
    w = jnp.arange(8.0)
    new, _ = tx.apply(w, tx.init(w), jnp.full(8, 0.1))
    np.testing.assert_array_equal(new, w + 0.1)


def test_steps_and_leaves_draw_apart_and_a_run_draws_the_same_again():
    tx, w = (
        gk.stochastic_rounding(jax.random.key(3)),
        {"a": jnp.ones(64, jnp.bfloat16), "b": jnp.ones(64, jnp.bfloat16)},
    )
    g = jax.tree.map(lambda x: jnp.full(64, 2.0**-9), w)
    first, state = tx.apply(w, tx.init(w), g)
    second, _ = tx.apply(w, state, g)
    again, _ = tx.apply(w, tx.init(w), g)
    assert (first["a"] != first["b"]).any()
    assert (first["a"] != second["a"]).any()
    assert (first["a"] == again["a"]).all()


def test_small_steps_arrive_on_average():
    tx = gk.stochastic_rounding(1)
    w = jnp.ones(256, jnp.bfloat16)

    def step(carry, _):
        return tx.apply(*carry, jnp.full(256, 1e-4)), None

    (w, _), _ = jax.jit(lambda w, state: jax.lax.scan(step, (w, state), None, 1000))(w, tx.init(w))
    assert abs(float(w.astype(jnp.float32).mean()) - 1.1) < 0.01


def test_numbers_at_the_ends_stay_what_they_are():
    x = jnp.array([jnp.inf, -jnp.inf, jnp.nan, 0.0])
    r = gk.apply_updates(
        jnp.ones_like(x, jnp.bfloat16), x - 1, rounding="stochastic", key=jax.random.key(0)
    )
    np.testing.assert_array_equal(np.asarray(r, np.float32), x)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_kahan_is_the_float32_sum_rounded_once(kind):
    steps = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32) * 1e-4 + np.float32(
        3e-5
    )
    tx = gk.chain(gk.scale(1.0), gk.compensated())
    w = jnp.linspace(0.5, 2.0, 16).astype(kind)
    start = np.asarray(w, np.float64)

    def step(carry, u):
        return tx.apply(*carry, u), None

    (w, state), _ = jax.jit(lambda w, state, steps: jax.lax.scan(step, (w, state), steps))(
        w, tx.init(w), jnp.asarray(steps)
    )
    residue = state.inner["compensated"]["residue"]
    assert residue.dtype == w.dtype == kind
    exact = start + steps.astype(np.float64).sum(0)
    held = np.asarray(w, np.float64) + np.asarray(residue, np.float64)
    ulp = float(jnp.finfo(kind).eps)
    np.testing.assert_allclose(
        held, exact, atol=500 * 2 * ulp * ulp
    )  # the residue itself is rounded to its last place
    np.testing.assert_array_less(
        np.abs(np.asarray(w, np.float64) - exact),
        0.51 * ulp * np.maximum(1, np.abs(exact)) + 1e-3 * ulp,
    )
    assert (np.abs(start - exact) > ulp).any()


def test_kahan_of_wide_parameters_is_the_plain_sum():
    tx, w = gk.compensated(), jnp.array([1.0, 2.0])
    new, state = tx.apply(w, tx.init(w), jnp.array([1e-3, 0.5]))
    np.testing.assert_allclose(new, [1.001, 2.5], 1e-6)
    assert state.inner["compensated"]["residue"].dtype == jnp.float32


def test_mixed_trees_keep_their_dtypes():
    w = {"a": jnp.ones(4, jnp.bfloat16), "b": jnp.ones(4), "c": jnp.ones(4, jnp.float16)}
    g = jax.tree.map(lambda x: jnp.full(4, 0.01), w)
    for tx in (gk.stochastic_rounding(0), gk.compensated()):
        new, _ = tx.apply(w, tx.init(w), g)
        assert jax.tree.map(lambda x: x.dtype.name, new) == jax.tree.map(lambda x: x.dtype.name, w)
        np.testing.assert_allclose(new["b"], 1.01, 1e-6)


@pytest.mark.parametrize("tx", [gk.stochastic_rounding(0), gk.compensated()], ids=repr)
def test_parameters_are_needed(tx):
    with pytest.raises(ValueError, match=r"params=None, but this transform needs the parameters"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))


def test_apply_updates_rounds_as_it_is_told():
    params = {"w": jnp.ones(20_000, jnp.bfloat16), "kept": jnp.ones(2, jnp.bfloat16)}
    updates = {"w": jnp.full(20_000, 2.0**-9), "kept": None}
    assert (gk.apply_updates(params, updates)["w"] == 1).all()
    new = gk.apply_updates(params, updates, rounding="stochastic", key=3)
    assert set(new["w"].tolist()) == {1.0, 1.0078125}
    assert abs(float((new["w"] > 1).mean()) - 0.25) < 4 * (0.25 * 0.75 / 20_000) ** 0.5
    assert (new["kept"] == 1).all()
    with pytest.raises(TypeError, match=r"apply_updates: key is None\. Expected a seed"):
        gk.apply_updates(params, updates, rounding="stochastic")
    with pytest.raises(ValueError, match="apply_updates: rounding=.* is not an option; got 'up'"):
        gk.apply_updates(params, updates, rounding="up")
