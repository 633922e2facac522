"""reduce_on_plateau against optax for positive values, against an oracle for the others."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk

VALUES = (
    np.abs(np.random.default_rng(0).normal(size=150)) * 0.3 + np.exp(-np.arange(150) / 20) + 0.1
)


def oracle(values, factor, patience, rtol=1e-4, atol=0.0, cooldown=0, size=1, least=0.0, sign=1):
    """The scale after each value, written from the words of the docstring."""
    scale, best, bad, cooling, seen, out = 1.0, np.inf, 0, 0, [], []
    for value in values:
        seen.append(sign * value)
        if len(seen) == size:
            mean, seen = np.mean(seen), []
            better = mean < best - (rtol * abs(best) + atol if np.isfinite(best) else 0.0)
            best = mean if better else best
            bad = 0 if better or cooling else bad + 1
            cooling = max(cooling - 1, 0)
            if bad >= patience:
                scale, bad, cooling = max(scale * factor, least), 0, cooldown
        out.append(scale)
    return out


def scales(tx, values, dtype=jnp.float64):
    def step(state, value):
        updates, state = tx.update(jnp.ones((), dtype), state, value=value)
        return state, updates

    return jax.jit(lambda values: jax.lax.scan(step, tx.init(jnp.ones((), dtype)), values))(
        jnp.asarray(values, dtype)
    )[1]


CONFIGURATIONS = [
    {"factor": 0.5, "patience": 3},
    {"factor": 0.7, "patience": 1, "rtol": 0.0, "atol": 0.05, "cooldown": 4},
    {
        "factor": 0.2,
        "patience": 2,
        "rtol": 0.2,
        "accumulation_size": 5,
        "min_scale": 0.01,
        "cooldown": 1,
    },
]


@pytest.mark.parametrize("how", CONFIGURATIONS, ids=repr)
def test_positive_values_agree_with_optax(how):
    with jax.enable_x64(True):
        ours = scales(gk.reduce_on_plateau(**how), VALUES)
        with jax.numpy_dtype_promotion("standard"):
            np.testing.assert_allclose(
                ours, scales(optax.contrib.reduce_on_plateau(**how), VALUES), 1e-10
            )
        assert len(set(ours.tolist())) > 2


@pytest.mark.parametrize("shift", [0.0, -5.0, -0.7])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("how", CONFIGURATIONS, ids=repr)
def test_values_of_any_sign_follow_the_rule_in_both_modes_optax_1767(how, mode, shift):
    sign = 1 if mode == "min" else -1
    values = sign * (VALUES + shift)
    names = {"accumulation_size": "size", "min_scale": "least"}
    with jax.enable_x64(True):
        expected = oracle(
            values, **{names.get(name, name): value for name, value in how.items()}, sign=sign
        )
        np.testing.assert_allclose(
            scales(gk.reduce_on_plateau(**how, mode=mode), values), expected, 1e-10
        )


def test_a_flat_negative_loss_is_a_plateau_optax_1767():
    values = np.full(6, -2.0)
    np.testing.assert_allclose(
        scales(gk.reduce_on_plateau(0.5, patience=2), values, jnp.float32),
        [1, 1, 0.5, 0.5, 0.25, 0.25],
    )
    with jax.numpy_dtype_promotion("standard"):
        np.testing.assert_allclose(
            scales(optax.contrib.reduce_on_plateau(0.5, patience=2), values, jnp.float32),
            np.ones(6),
        )


def test_the_scale_stays_when_values_get_better_again():
    values = [1.0, 1.0, 1.0, 0.5, 0.4, 0.3]
    np.testing.assert_allclose(
        scales(gk.reduce_on_plateau(0.5, patience=2), values, jnp.float32),
        [1, 1, 0.5, 0.5, 0.5, 0.5],
    )


def test_a_nan_value_is_no_progress_and_does_not_stay():
    values = [1.0, np.nan, np.nan, 0.5, 0.25, 0.25, 0.25]
    np.testing.assert_allclose(
        scales(gk.reduce_on_plateau(0.5, patience=2), values, jnp.float32),
        [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25],
    )


def test_the_scale_is_wide_for_narrow_parameters():
    tx = gk.reduce_on_plateau()
    memory = tx.init(jnp.ones(2, jnp.bfloat16)).inner["reduce_on_plateau"]
    assert memory["scale"].dtype == memory["best_value"].dtype == jnp.float32
    updates, _ = tx.update(
        jnp.ones(2, jnp.bfloat16), tx.init(jnp.ones(2, jnp.bfloat16)), value=jnp.bfloat16(1.0)
    )
    assert updates.dtype == jnp.bfloat16


def test_make_step_passes_the_value():
    tx = gk.chain(gk.sgd(0.0), gk.reduce_on_plateau(0.5, patience=1))
    step, w = gk.make_step(lambda w: jnp.sum(w) - 3.0, tx), jnp.zeros(1)
    state = tx.init(w)
    for _ in range(3):
        w, state, _ = step(w, state)
    assert state.inner["reduce_on_plateau"]["scale"] == 0.25


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: gk.reduce_on_plateau(factor=1.0),
            ValueError,
            r"reduce_on_plateau: factor=1\.0 is out of range\. Expected 0 < factor < 1\.",
        ),
        (
            lambda: gk.reduce_on_plateau(factor=0.0),
            ValueError,
            r"factor=0\.0 is out of range\. Expected 0 < factor < 1\.",
        ),
        (
            lambda: gk.reduce_on_plateau(patience=0),
            ValueError,
            r"patience=0 is out of range",
        ),
        (
            lambda: gk.reduce_on_plateau(accumulation_size=0),
            ValueError,
            r"accumulation_size=.* is (?:out of range|not an integer)",
        ),
        (
            lambda: gk.reduce_on_plateau(cooldown=-1),
            ValueError,
            r"cooldown=.* is (?:out of range|not an integer)",
        ),
        (lambda: gk.reduce_on_plateau(rtol=1.5), ValueError, r"rtol=.* is out of range"),
        (lambda: gk.reduce_on_plateau(atol=-1.0), ValueError, r"atol=.* is out of range"),
        (
            lambda: gk.reduce_on_plateau(rtol=0.0),
            ValueError,
            r"rtol=0 and atol=0 are no tolerance\. Expected one of them above 0\.",
        ),
        (
            lambda: gk.reduce_on_plateau(min_scale=-0.1),
            ValueError,
            r"min_scale=.* is out of range",
        ),
        (
            lambda: gk.reduce_on_plateau(mode="down"),
            ValueError,
            r"mode=.* is not an option; got 'down'",
        ),
    ],
)
def test_bad_input_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_the_value_is_required_and_one_real_number():
    tx = gk.chain(gk.sgd(0.1), gk.reduce_on_plateau())
    state = tx.init(jnp.ones(1))
    with pytest.raises(
        TypeError, match=r"reduce_on_plateau: the extra argument 'value' is missing"
    ):
        tx.update(jnp.ones(1), state)
    with pytest.raises(
        ValueError, match=r"value=float32\[2\] is not a scalar\. Take the mean over the batch\."
    ):
        tx.update(jnp.ones(1), state, value=jnp.ones(2))
    for value in ("low", None, True, 1j):
        with pytest.raises(TypeError, match=r"reduce_on_plateau: value=.* is not a number"):
            tx.update(jnp.ones(1), state, value=value)
