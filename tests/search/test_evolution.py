"""Population-based training: who copies whom, and with which hyperparameters."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import search

RATE = search.log_uniform(1e-3, 4.0)
SPACE = gk.sgd(RATE, momentum=search.uniform(0.0, 0.5))


def loss(w, batch):
    return jnp.sum((w - batch) ** 2)


TASK = search.training(loss, lambda key: jax.random.normal(key, (2,)), jnp.zeros((1, 2)))
SIZES = {"steps": 3, "rounds": 5, "population": 8}


def test_the_worst_go_on_from_the_best_and_the_table_follows_the_ancestors():
    found = search.population_based(TASK, SPACE, 1, **SIZES)
    trials, parents = found.trials, found.parents
    assert parents.shape == (5, 8)
    assert (parents[0] == np.arange(8)).all()  # nothing to copy yet
    assert trials.curves[0].shape == (15,)
    assert trials.budgets.tolist() == [15] * 8
    rate, curves = found.schedules["learning_rate"], np.array(trials.curves).reshape(8, 5, 3)
    assert rate.shape == (8, 5)
    np.testing.assert_array_equal(
        rate[:, -1], [config["learning_rate"] for config in trials.configs]
    )
    np.testing.assert_array_equal(curves[:, -1, -1], trials.scores)
    # In each round two of the eight are replaced, by one of the best two.
    for i in range(1, 5):
        replaced = np.flatnonzero(parents[i] != np.arange(8))
        assert len(replaced) <= 2
        # A member that goes on alone keeps its hyperparameters; one that copies has others.
        alone = [m for m in range(8) if parents[i, m] == m]
        if i == 4:
            np.testing.assert_array_equal(rate[alone, 4], rate[alone, 3])
            assert (rate[replaced, 4] != rate[replaced, 3]).all()
            # It has its parent's history.
            np.testing.assert_array_equal(curves[replaced, :4], curves[parents[4][replaced], :4])
    # Replayed by hand: the schedule and the curve belong together, the optimizer's state included.
    m = trials.ranking()[0]
    keys = jax.random.split(jax.random.split(jax.random.key(1), 3)[1], 8)
    starts = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
    w = starts[np.argmin(np.abs((starts**2).sum(axis=1) - curves[m, 0, 0]))]
    step = jax.jit(lambda tx, w, state: tx.apply(w, state, 2 * w))
    state, losses = None, []
    for i in range(5):
        tx = gk.sgd(float(rate[m, i]), momentum=float(found.schedules["momentum"][m, i]))
        state = tx.init(w) if state is None else state
        for _ in range(3):
            losses.append(float(w @ w))
            w, state = step(tx, w, state)
    np.testing.assert_allclose(losses, trials.curves[m], rtol=1e-4, atol=1e-10)
    np.testing.assert_allclose(found.carries[0][m], w, rtol=1e-3, atol=1e-6)


def test_members_that_diverge_are_replaced_and_equal_spaces_share_the_program():
    traced = []

    def init(tx, key):
        traced.append(1)
        return jnp.float32(1), tx.init(jnp.float32(1))

    def step(tx, carry):
        x, state = carry
        return tx.apply(x, state, 2e3 * x), x**2

    task = search.Task(init, step, lambda tx, carry: carry[0] ** 2)
    run = lambda key: search.population_based(
        task, gk.sgd(search.log_uniform(1e-6, 1.0)), key, steps=8, rounds=6, population=8,
        fraction=0.5, resample=0.0, perturbation=0.0,
    )  # fmt: skip
    found = run(0)
    count = len(traced)
    assert np.isfinite(found.trials.scores).all()  # though most of the first rates diverge
    first = set(found.schedules["learning_rate"][:, 0])
    assert len(first) <= 3
    # Without exploration a copy has the hyperparameters of its parent.
    assert set(found.schedules["learning_rate"][:, -1]) <= first
    run(1)
    assert len(traced) == count
    np.testing.assert_array_equal(run(0).trials.scores, found.trials.scores)


CHOICE = search.choice(gk.sgd(RATE), gk.adam(RATE))
RUN = search.population_based
REFUSED = [
    (
        lambda: RUN(TASK, CHOICE, steps=1),
        "population_based: choice=search.choice(sgd(search.log_uniform",
    ),
    (lambda: RUN(TASK, CHOICE, steps=1), "is structure, which members cannot copy"),
    (lambda: RUN(loss, SPACE, steps=1), "task=loss is not a Task. Make one of a loss: search.t"),
    (lambda: RUN(TASK, SPACE, steps=0), "steps=0 is out of range"),
    (lambda: RUN(TASK, SPACE, steps=1, population=1), "population=1 is out of range"),
    (lambda: RUN(TASK, SPACE, steps=1, fraction=0.7), "fraction=0.7 is out of range"),
    (lambda: RUN(TASK, SPACE, steps=1, resample=2.0), "resample=2.0 is out of range"),
    (lambda: RUN(TASK, gk.sgd(0.1), steps=1), "has no distribution"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_bad_input_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()
