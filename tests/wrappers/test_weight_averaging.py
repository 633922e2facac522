"""Averages of the weights against means taken by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

GRADS = np.random.default_rng(0).normal(size=(40, 3))


def run(average, steps=40, dtype=jnp.float64, wrap=lambda tx: tx):
    """The weights after each step, the evaluation weights then, and the last state."""
    tx = wrap(gk.chain(gk.adam(0.1), average))
    w = jnp.ones(3, dtype)
    state, path, averages = tx.init(w), [], []

    @jax.jit
    def step(w, state, g):
        w, state = tx.apply(w, state, g)
        return w, state, gk.eval_params(tx, state, w)

    for g in GRADS[:steps]:
        w, state, x = step(w, state, jnp.asarray(g, dtype))
        path.append(np.asarray(w, np.float64))
        averages.append(np.asarray(x, np.float64))
    return np.array(path), np.array(averages), state


def test_ema_weighs_by_its_decay():
    with jax.enable_x64(True):
        path, averages, _ = run(gk.weight_ema(0.9))
        for t in range(len(path)):
            weights = 0.9 ** np.arange(t, -1, -1)
            np.testing.assert_allclose(averages[t], weights @ path[: t + 1] / weights.sum(), 1e-10)


def test_ema_without_debias_starts_at_the_first_weights():
    with jax.enable_x64(True):
        path, averages, _ = run(gk.weight_ema(0.9, debias=False))
        expected = np.ones(3)
        for w, average in zip(path, averages, strict=True):
            expected = 0.9 * expected + 0.1 * w
            np.testing.assert_allclose(average, expected, 1e-10)


@pytest.mark.parametrize("debias", [True, False])
def test_a_moving_decay_keeps_exact_weights(debias):
    decay = gk.linear_schedule(0.0, 0.99, 30)
    with jax.enable_x64(True):
        path, averages, _ = run(gk.weight_ema(decay, debias))
        expected = np.ones(3)
        for t, (w, average) in enumerate(zip(path, averages, strict=True)):
            beta = float(decay(t))
            expected = beta * expected + (1 - beta) * w
            np.testing.assert_allclose(
                average, expected, 1e-6
            )  # the first decay is 0: the first weights are forgotten either way


@pytest.mark.parametrize(("start", "every"), [(0, 1), (5, 1), (10, 4), (0, 7), (1, 3)])
def test_swa_is_the_mean_of_its_snapshots(start, every):
    with jax.enable_x64(True):
        path, averages, state = run(gk.swa(start, every))
        taken = []
        for t in range(1, len(path) + 1):
            if t >= start and (t - start) % every == 0:
                taken.append(path[t - 1])
            np.testing.assert_allclose(
                averages[t - 1], np.mean(taken, 0) if taken else path[t - 1], 1e-10
            )
        assert state.inner["swa"]["seen"] == len(taken)


def test_polyak_is_the_mean_from_a_step_on():
    with jax.enable_x64(True):
        path, averages, _ = run(gk.polyak_average(start=11))
        np.testing.assert_allclose(averages[-1], path[10:].mean(0), 1e-10)


@pytest.mark.parametrize("average", [gk.weight_ema(0.5), gk.swa(0)], ids=repr)
def test_the_updates_pass_and_the_average_of_narrow_weights_is_wide(average):
    path, averages, state = run(average, 8, jnp.bfloat16)
    plain, _, _ = run(gk.weight_ema(0.0), 8, jnp.bfloat16)
    np.testing.assert_array_equal(path, plain)
    (memory,) = [kept for kept in state.inner.values() if "average" in kept]
    assert memory["average"].dtype == jnp.float32
    weights = np.full(8, 1.0) if average.factory is gk.swa else 0.5 ** np.arange(7, -1, -1)
    np.testing.assert_allclose(
        averages[-1], weights @ path / weights.sum(), 2**-8
    )  # the rounded weights are averaged, and rounded once


def test_accumulator_dtype_is_the_dtype_of_the_memory():
    for average in (gk.weight_ema(0.9, store="bfloat16"), gk.swa(0, store="bfloat16")):
        path, averages, state = run(average, 5, jnp.float32)
        assert "bfloat16" in {leaf.dtype.name for leaf in jax.tree.leaves(state)}
        np.testing.assert_allclose(averages[-1], path.mean(0), 0.1)


@pytest.mark.parametrize(
    "average",
    [gk.weight_ema(0.5), gk.weight_ema(0.5, debias=False), gk.swa(3), gk.polyak_average(0)],
    ids=repr,
)
def test_evaluation_weights_before_anything_was_seen_are_the_parameters(average):
    tx, w = gk.chain(gk.sgd(0.1), average), jnp.array([1.5, -2.0])
    np.testing.assert_array_equal(gk.eval_params(tx, tx.init(w), w), w)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: gk.guard(tx),
        lambda tx: gk.apply_if_finite(gk.MultiSteps(tx, 1), 2),
        lambda tx: gk.masked(tx, True),
        lambda tx: gk.named_chain(("all", tx)),
        lambda tx: gk.watch(tx, "update_norm"),
    ],
)
def test_evaluation_weights_come_through_any_nesting(wrap):
    path, averages, _ = run(gk.weight_ema(0.5), 4, jnp.float32)
    same, through, _ = run(gk.weight_ema(0.5), 4, jnp.float32, wrap)
    np.testing.assert_allclose(same, path, 1e-6)
    np.testing.assert_allclose(through, averages, 1e-6)


def test_inside_accumulation_the_average_counts_real_steps():
    path, averages, state = run(
        gk.polyak_average(), 8, jnp.float32, lambda tx: gk.MultiSteps(tx, 2)
    )
    assert state.inner["MultiSteps"]["inner"].inner["polyak_average"]["seen"] == 4
    np.testing.assert_allclose(averages[-1], path[1::2].mean(0), 1e-6)


def test_groups_keep_averages_of_their_own():
    tx = gk.partition(
        {"a": gk.chain(gk.sgd(1.0), gk.swa(0)), "b": gk.sgd(1.0)},
        {"a": gk.by_path("a"), "b": gk.by_path("b")},
    )
    w, state = {"a": jnp.zeros(1), "b": jnp.zeros(1)}, None
    state = tx.init(w)
    for _ in range(3):
        w, state = tx.apply(w, state, {"a": -jnp.ones(1), "b": -jnp.ones(1)})
    x = gk.eval_params(tx, state, w)
    assert x["a"][0] == 2.0
    assert x["b"][0] == 3.0


def test_two_averages_in_one_chain_are_refused_when_asked():
    tx = gk.chain(gk.sgd(0.1), gk.weight_ema(0.9), gk.swa(0))
    with pytest.raises(
        ValueError,
        match=r"eval_params: needs one link that keeps evaluation weights; got weight_ema, swa. Keep one average",
    ):
        gk.eval_params(tx, tx.init(jnp.ones(1)), jnp.ones(1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gk.weight_ema(1.0), r"weight_ema: decay=1.0 is out of range"),
        (lambda: gk.swa(-1), r"swa: start=-1 is out of range"),
        (lambda: gk.swa(0, 0), r"swa: every=0 is out of range"),
        (
            lambda: gk.polyak_average(-1),
            r"polyak_average.swa: start=.* is (?:out of range|not an integer)",
        ),
    ],
)
def test_bad_input_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("average", [gk.weight_ema(0.5), gk.swa(3)], ids=repr)
def test_parameters_are_needed(average):
    with pytest.raises(ValueError, match=r"params=None, but this transform needs the parameters"):
        average.update(jnp.ones(1), average.init(jnp.ones(1)))
