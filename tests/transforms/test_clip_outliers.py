"""Clips by the history of norms, against NumPy's percentiles and moments of the last window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

NORMS = np.exp(np.random.default_rng(0).normal(size=120))


def clipped(tx, norms, dtype=jnp.float64):
    """The norms of the updates, for gradients (0.6 n, 0.8 n)."""

    def step(state, norm):
        updates, state = tx.update({"a": 0.6 * norm, "b": 0.8 * norm}, state)
        return state, jnp.hypot(updates["a"], updates["b"])

    zero = jnp.zeros((), dtype)
    return jax.jit(lambda norms: jax.lax.scan(step, tx.init({"a": zero, "b": zero}), norms))(
        jnp.asarray(norms, dtype)
    )


@pytest.mark.parametrize(
    ("p", "window"), [(10.0, 1000), (50.0, 7), (90.0, 16), (0.0, 5), (100.0, 5), (37.5, 1)]
)
def test_percentile_is_numpys_of_the_window(p, window):
    with jax.enable_x64(True):
        expected = [
            min(norm, np.percentile(NORMS[max(0, t + 1 - window) : t + 1], p))
            for t, norm in enumerate(NORMS)
        ]
        np.testing.assert_allclose(
            clipped(gk.clip_by_percentile(p, window), NORMS)[1], expected, 1e-10
        )


@pytest.mark.parametrize(
    ("z", "window", "patience", "eps"), [(1.0, 10, 3, 0.0), (2.5, 100, 25, 0.01), (0.5, 4, 4, 0.2)]
)
def test_zscore_is_that_of_the_clipped_norms_of_the_window(z, window, patience, eps):
    history, expected = [], []
    for one in NORMS:
        norm, recent = one, history[-window:]
        if len(recent) >= patience:
            norm = min(norm, np.mean(recent) + z * max(np.std(recent), eps * np.mean(recent)))
        history.append(norm)
        expected.append(norm)
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            clipped(gk.clip_by_zscore(z, window, patience, eps), NORMS)[1], expected, 1e-10
        )
    assert (np.array(expected) < NORMS).any()


def test_one_spike_does_not_raise_the_zscore_bound_and_a_lasting_rise_does():
    tx = gk.clip_by_zscore(2.0, window=10, patience=5)
    norms = np.array([1.0, 1.1] * 5 + [1e6] + [1e6] + [5.0] * 80)
    _, out = clipped(tx, norms, jnp.float32)
    assert out[10] < 1.3
    assert out[11] < 1.5
    np.testing.assert_allclose(out[-1], 5.0, 1e-5)


def test_equal_norms_do_not_make_a_bound_that_never_rises():
    _, out = clipped(
        gk.clip_by_zscore(2.0, window=10, patience=5),
        np.array([1.0] * 20 + [2.0] * 80),
        jnp.float32,
    )
    np.testing.assert_allclose(out[-1], 2.0, 1e-5)


@pytest.mark.parametrize(
    "tx", [gk.clip_by_percentile(50.0, 5), gk.clip_by_zscore(1.0, 5, 2)], ids=repr
)
def test_norms_that_are_not_finite_stay_out_of_the_history(tx):
    state, out = clipped(tx, np.array([1.0, np.nan, 2.0, np.inf, 1.5]), jnp.float32)
    memory = next(iter(state.inner.values()))
    np.testing.assert_allclose(
        memory["norms"],
        [1, -1, 2 if tx.factory is gk.clip_by_percentile else memory["norms"][2], -1, out[4]],
        1e-6,
    )
    assert np.isnan(out[1])
    np.testing.assert_allclose(out[0], 1.0, 1e-6)
    assert np.isfinite(out[4])


@pytest.mark.parametrize(
    "tx", [gk.clip_by_percentile(50.0, 5), gk.clip_by_zscore(1.0, 5, 1)], ids=repr
)
def test_zero_gradients_are_finite_with_their_derivatives(tx):
    def total(x):
        state, _ = clipped(tx, x * jnp.ones(4), jnp.float32)
        return jnp.sum(next(iter(state.inner.values()))["norms"])

    assert (clipped(tx, np.zeros(4), jnp.float32)[1] == 0).all()
    assert jnp.isfinite(jax.grad(total)(0.0))


@pytest.mark.parametrize("make", [gk.clip_by_percentile, gk.clip_by_zscore])
def test_logged_values_are_kept_with_report(make):
    tx = (
        make(50.0, 4, report=True)
        if make is gk.clip_by_percentile
        else make(1.0, 4, 2, report=True)
    )
    state, _ = clipped(tx, np.array([1.0, 3.0, 100.0]), jnp.float32)
    found = {name.split(".")[1]: float(value) for name, value in gk.logged_values(state).items()}
    np.testing.assert_allclose(
        [found["norm"], found["bound"], found["clipped"]],
        [100.0, 3.0, 2 / 3 if make is gk.clip_by_percentile else 1 / 3],
        1e-5,
    )
    assert not gk.logged_values(tx.replace(report=False).init(jnp.ones(1)))


def test_norms_of_narrow_gradients_are_wide():
    tx = gk.clip_by_percentile(50.0, 3)
    updates, state = tx.update(jnp.full(4, 300.0, jnp.float16), tx.init(jnp.zeros(4, jnp.float16)))
    assert state.inner["clip_by_percentile"]["norms"][0] == 600.0
    assert (updates == 300.0).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: gk.clip_by_percentile(101.0),
            r"clip_by_percentile: percentile=101\.0 is out of range\. Expected 0 <= percent",
        ),
        (lambda: gk.clip_by_percentile(float("nan")), r"percentile=.* is out of range"),
        (lambda: gk.clip_by_percentile(window=0), r"window=0 is out of range"),
        (lambda: gk.clip_by_zscore(0.0), r"clip_by_zscore: z_score=0.0 is out of range"),
        (
            lambda: gk.clip_by_zscore(window=5),
            r"patience=25 is out of range\. Expected patience <= window=5\. Make the",
        ),
        (lambda: gk.clip_by_zscore(patience=0), r"patience=.* is (?:out of range|not an integer)"),
        (lambda: gk.clip_by_zscore(eps=-0.1), r"eps=.* is out of range"),
    ],
)
def test_bad_input_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
