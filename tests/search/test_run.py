"""Populations, successive halving and Hyperband: results, compilations, meshes, refusals."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import search
from tests.eight_devices import facts_of

STEPS = 12
X = np.random.default_rng(0).normal(size=(4, 8, 3)).astype(np.float32)
Y = X @ np.float32([1.0, -2.0, 0.5])
TRACES = []


def loss(w, batch):
    x, y = batch
    TRACES.append("loss")
    return jnp.mean((x @ w - y) ** 2)


def init(key):
    return 0.1 * jax.random.normal(key, (3,))


TASK = search.training(loss, init, (X, Y))
OBJECTIVE = TASK.objective(STEPS)
# Above a rate of about 0.8 it diverges.
SPACE = gk.sgd(search.log_uniform(1e-3, 50.0), momentum=search.uniform(0.0, 0.5))


def alone(config, start, steps=STEPS):
    """The losses of one trial, in NumPy."""
    w, velocity, losses = np.asarray(start, np.float64), 0.0, []
    for step in range(steps):
        x, residual = X[step % 4], X[step % 4] @ w - Y[step % 4]
        losses.append(np.mean(residual**2))
        velocity = 2 * x.T @ residual / len(x) + config["momentum"] * velocity
        w = w - config["learning_rate"] * velocity
    return losses


def keys_of(seeds):
    """The keys of the seeds in a search with the key 0."""
    return jax.random.split(jax.random.split(jax.random.key(0))[1], seeds)


@pytest.fixture(scope="module")
def trials():
    return search.run(OBJECTIVE, SPACE, 0, trials=6, seeds=2, progress=False)


def test_a_population_has_the_losses_of_each_trial_by_itself(trials):
    starts = [init(key) for key in keys_of(2)]
    for i in np.argsort(trials.scores)[:3]:
        curves = np.array([alone(trials.configs[i], start) for start in starts])
        np.testing.assert_allclose(trials.curves[i], curves.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(trials.scores[i], curves[:, -1].mean(), rtol=1e-4)
        error = curves[:, -1].std(ddof=1) / np.sqrt(2)
        np.testing.assert_allclose(trials.errors[i], error, rtol=1e-3)
    assert set(trials.repeats) == {2}


def test_trials_in_batches_of_any_width_are_the_same_and_compile_once(trials):
    configs = search.Configs(SPACE, trials.configs)
    TRACES.clear()
    found = search.population.evaluated(OBJECTIVE, configs, keys_of(2), batch=4)
    assert len(TRACES) == 1  # of the width 4, which serves the last two as well
    scores, _ = search.population.means(found.values)
    np.testing.assert_allclose(scores, trials.scores, rtol=1e-5)
    search.run(
        OBJECTIVE,
        SPACE.replace(momentum=search.uniform(0, 0.1)),
        5,
        trials=4,
        seeds=2,
        progress=False,
    )
    assert len(TRACES) == 1


def test_a_diverged_trial_fails_and_never_wins():
    configs = search.grid(SPACE, {"learning_rate": [0.1, 1e30], "momentum": [0.0, 0.1]})
    trials = search.run(OBJECTIVE, configs, 0, seeds=2, progress=False)
    assert trials.status == ("complete", "complete", "failed", "failed")
    assert trials.scores[2:].tolist() == [np.inf, np.inf]
    assert trials.best().index < 2


def test_structures_are_programs_of_their_own_and_their_trials_keep_their_places():
    space = {
        "optimizer": search.choice(gk.sgd(search.uniform(0.1, 0.3)), gk.sign_sgd(0.1)),
        "power": search.integers(1, 2),
        "offset": search.uniform(0.0, 1.0),
    }

    def objective(config, key):
        kind = config["optimizer"].factory.__name__
        assert type(config["power"]) is int
        return config["offset"] ** config["power"] + (10.0 if kind == "sign_sgd" else 0.0)

    trials = search.run(objective, space, 0, trials=16, progress=False)
    for config, score in zip(trials.configs, trials.scores, strict=True):
        offset = 10.0 if config["optimizer"] == "sign_sgd" else 0.0
        assert score == pytest.approx(config["offset"] ** config["power"] + offset, rel=1e-6)
    only = search.run(
        lambda c, key: jnp.float32(c["a"]),
        {"a": search.choice(1, 2, 3)},
        0,
        trials=8,
        progress=False,
    )
    assert only.scores.tolist() == [float(c["a"]) for c in only.configs]


def test_the_progress_bar_names_the_best_score_and_is_silent_when_told(capsys):
    pytest.importorskip("rich")
    configs = search.grid({"a": search.choice(3, 2)})
    search.run(lambda c, key: jnp.float32(c["a"]), configs, 0)
    told = capsys.readouterr().out
    assert "trials" in told
    assert "2/2" in told
    assert "best 2" in told
    search.run(lambda c, key: jnp.float32(c["a"]), configs, 0, progress=False)
    assert capsys.readouterr().out == ""


def test_halving_trains_survivors_on_from_their_state_with_one_program_for_each_rung():
    configs = search.grid(SPACE, {"learning_rate": list(np.geomspace(1e-3, 0.3, 8)), "momentum": 1})
    TRACES.clear()
    trials = search.successive_halving(TASK, configs, 0, budget=24 * 4, progress=False)
    assert len(TRACES) == 3  # rungs of 8, 4 and 2 trials
    assert sorted(trials.budgets) == [4] * 4 + [12] * 2 + [28] * 2
    assert trials.budgets.sum() == 96
    assert trials.status.count("complete") == 2
    again = search.successive_halving(TASK, configs, 0, budget=104, progress=False)
    assert len(TRACES) == 3  # another number of steps is the same program
    assert sorted(again.budgets) == [4] * 4 + [12] * 2 + [29] * 2
    # A survivor's curve is that of training without a stop.
    best = trials.best()
    curve = alone(best.config, init(keys_of(1)[0]), 28)
    np.testing.assert_allclose(best.curve, curve, rtol=1e-3, atol=1e-9)
    assert best.score == best.curve[-1]
    # Those stopped are the worse half of their rung.
    first = [c[3] for c in trials.curves]
    stopped = [s for s, b in zip(first, trials.budgets, strict=True) if b == 4]
    assert min(stopped) >= max(s for s, b in zip(first, trials.budgets, strict=True) if b > 4)


def test_halving_finds_a_rate_within_a_tenth_of_the_grid_at_a_fifth_of_its_cost():
    features = np.random.default_rng(1).normal(size=(256, 6)).astype(np.float32)
    labels = features @ np.arange(6) + 2 * np.random.default_rng(2).normal(size=256) > 0
    x, y = jnp.asarray(features), jnp.asarray(labels, jnp.float32)

    def logistic(w, batch):
        x, y = batch
        return gk.losses.sigmoid_binary_cross_entropy(x @ w, y).mean()

    def batches(step):
        rows = (step * 16 + jnp.arange(16)) % 192
        return x[rows], y[rows]

    task = search.training(
        logistic,
        lambda key: jnp.zeros(6),
        batches,
        evaluate=lambda w: logistic(w, (x[192:], y[192:])),
    )
    configs = search.grid(gk.sgd(search.log_uniform(1e-4, 100.0)), 16)
    grid = search.run(task.objective(100), configs, 0, progress=False)
    budget = 16 * 100 // 5
    halved = search.successive_halving(task, configs, 0, budget=budget, factor=4, progress=False)
    assert halved.budgets.sum() <= budget
    rate = halved.best().config["learning_rate"]
    trained = dict(zip([c["learning_rate"] for c in grid.configs], grid.scores, strict=True))
    assert trained[rate] <= 1.1 * grid.best().score
    assert halved.best().score <= 1.1 * grid.best().score
    assert np.median(grid.scores) > 1.5 * grid.best().score  # so that it is not by chance


def decaying(config, x):
    TRACES.append(config.get("kind"))
    return x * config["decay"], x


DECAY = search.Task(lambda config, key: jnp.float32(1.0), decaying)
RANGE = {"decay": search.uniform(0.1, 0.9)}


def test_survivors_of_several_structures_share_the_widths_of_the_rungs():
    space = RANGE | {"kind": search.choice("a", "b")}
    TRACES.clear()
    trials = search.successive_halving(
        DECAY, space, 1, trials=9, factor=3, seeds=2, budget=9 * 2 * 2, progress=False
    )
    assert len(TRACES) <= 4  # two widths for each of two structures
    assert sorted(trials.budgets) == [2] * 6 + [8] * 3
    for config, score, budget in zip(trials.configs, trials.scores, trials.budgets, strict=True):
        assert score == pytest.approx(config["decay"] ** (budget - 1), rel=1e-4)
    assert trials.best().config["decay"] == min(c["decay"] for c in trials.configs)
    diverging = search.grid(RANGE, {"decay": [1e28, 1e30, 0.5]})
    some = search.successive_halving(DECAY, diverging, 0, budget=60, progress=False)
    assert some.status == ("failed", "failed", "complete")
    none = search.successive_halving(
        DECAY, search.grid(RANGE, {"decay": [1e28, 1e30]}), 0, budget=40, progress=False
    )
    assert none.status == ("failed", "failed")


def test_hyperband_runs_the_brackets_of_the_paper():
    trials = search.hyperband(DECAY, RANGE, 0, budget=9, progress=False)
    # (9 trials, 1 step), (3, 3), (1, 9); then (5, 3), (1, 9); then (3, 9)
    assert trials.budgets[:9].tolist().count(1) == 6
    assert sorted(trials.budgets[:9]) == [1] * 6 + [3] * 2 + [9]
    assert sorted(trials.budgets[9:14]) == [3] * 4 + [9]
    assert trials.budgets[14:].tolist() == [9] * 3
    assert trials.status.count("complete") == 5


def test_trials_spread_over_eight_devices_are_those_of_one():
    facts = facts_of(Path(__file__).with_name("mesh.py"))
    assert facts["run"]["difference"] < 1e-6
    assert facts["halving"]["difference"] < 1e-6
    assert facts["halving"]["budgets"] == [4] * 9 + [20] * 3


REFUSALS = {
    "an objective of two numbers in rows": (
        lambda: search.run(lambda c, key: jnp.ones((2, 2)), SPACE, 0, progress=False),
        r"run: objective=<lambda> returned float32\[2, 2\]\. "
        r"Expected one real number, the loss, or a vector of them, its curve\.",
    ),
    "an objective of an integer": (
        lambda: search.run(lambda c, key: jnp.int32(3), SPACE, 0, progress=False),
        r"run: objective=<lambda> returned int32\[\]\. .*",
    ),
    "an objective of a config alone": (
        lambda: search.run(lambda c: 1.0, SPACE, 0, progress=False),
        r"run: objective=<lambda> cannot be called with 2 positional arguments\. "
        r"Expected a function of \(config, key\)\.",
    ),
    "no seeds": (
        lambda: search.run(OBJECTIVE, SPACE, 0, seeds=0),
        r"run: seeds=0 is out of range\. Expected an integer >= 1\.",
    ),
    "an empty batch": (
        lambda: search.run(OBJECTIVE, SPACE, 0, batch=0),
        r"run: batch=0 is out of range\. Expected an integer >= 1\.",
    ),
    "a mesh that is none": (
        lambda: search.run(OBJECTIVE, SPACE, 0, mesh=8),
        r"run: mesh=8 is no mesh\. "
        r"Expected a jax\.sharding\.Mesh, whose first axis has the trials\.",
    ),
    "a transform without distributions": (
        lambda: search.run(OBJECTIVE, gk.sgd(0.1), 0),
        r"run\.sample: space=sgd\(0\.1\) has no distribution\. Write one in place of a number, "
        r"such as search\.log_uniform\(1e-5, 1e-1\)\.",
    ),
    "a budget smaller than the rungs": (
        lambda: search.successive_halving(TASK, SPACE, 0, budget=383),
        r"successive_halving: budget=383 is too small: 64 trials in 6 rungs\. "
        r"Expected budget >= 384, a step for each trial\.",
    ),
    "one trial": (
        lambda: search.successive_halving(TASK, SPACE, 0, budget=9, trials=1),
        r"successive_halving: trials=1 is out of range\. Expected an integer >= 2\.",
    ),
    "an objective for a task": (
        lambda: search.successive_halving(OBJECTIVE, SPACE, 0, budget=9),
        r"successive_halving: task=Objective.* is not a Task\. "
        r"Make one of a loss: search\.training\(loss_fn, init_params, batches\)\.",
    ),
    "a budget without rungs": (
        lambda: search.hyperband(TASK, SPACE, 0, budget=2),
        r"hyperband: budget=2 is too small for rungs with factor=3\. Expected budget >= 3\.",
    ),
    "batches of no arrays": (
        lambda: search.training(loss, init, (jnp.ones(3), jnp.ones(()))),
        r"training: batches=.* has no axis of batches\. "
        r"Expected a function of the step, or arrays with one leading axis\.",
    ),
    "a configuration that is no transform": (
        lambda: search.run(OBJECTIVE, {"optimizer": SPACE}, 0, progress=False),
        r"run\.training: the configuration is a dict, not a transform\. "
        r'Pass optimizer=lambda config: config\["optimizer"\]\.',
    ),
    "no steps": (
        lambda: TASK.objective(0),
        r"Task\.objective: steps=0 is out of range\. Expected an integer >= 1\.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_searches_are_refused(case):
    call, message = REFUSALS[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert re.fullmatch(message, str(caught.value)), str(caught.value)
