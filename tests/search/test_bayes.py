"""Bayesian optimization: what is asked for next, and how a search goes on after a crash."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import search
from gradkit.search import Trials
from gradkit.search._cube import Cube

RATE = search.log_uniform(1e-3, 10.0)
CALLS = []


def objective(tx, key):
    """One step on x² from 1: a rate of 0.5 is best."""
    jax.debug.callback(lambda rate: CALLS.append(float(rate)), tx.learning_rate)
    start = jnp.float32(1)
    return tx.apply(start, tx.init(start), 2 * start)[0] ** 2 + 0.0 * jax.random.uniform(key)


def test_a_search_finds_the_best_rate_and_goes_on_after_a_crash(tmp_path):
    space, path = gk.sgd(RATE), tmp_path / "trials.jsonl"
    settings = {"rounds": 3, "batch": 4, "progress": False}
    trials = search.bayesian(objective, space, path=path, **settings)
    assert len(trials) == 12
    assert abs(np.log10(trials.best().config["learning_rate"] / 0.5)) < 0.1
    # The first batch has a point in each quarter of the range.
    u = search.to_unit(space, trials[:4])[:, 0]
    assert sorted(np.floor(4 * u)) == [0, 1, 2, 3]
    # A crash in the middle of the second batch's lines: rounds that are whole are not run again.
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:9]) + lines[9][:30])
    jax.effects_barrier()
    CALLS.clear()
    again = search.bayesian(objective, space, path=path, **settings)
    jax.effects_barrier()
    assert len(CALLS) == 4
    assert again == trials == Trials.load(path, space)


def test_a_crash_within_a_round_does_not_lose_the_trials_of_the_round(tmp_path):
    space, path = gk.sgd(RATE), tmp_path / "trials.jsonl"
    settings = {"rounds": 2, "batch": 4, "progress": False}
    trials = search.bayesian(objective, space, path=path, **settings)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))  # three trials
    assert search.bayesian(objective, space, path=path, **settings) == trials


def test_a_random_search_runs_what_is_not_in_its_file(tmp_path):
    space, path = gk.sgd(RATE), tmp_path / "trials.jsonl"
    settings = {"trials": 6, "seeds": 2, "batch": 2, "progress": False}
    trials = search.run(objective, space, 1, path=path, **settings)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:9])
    jax.effects_barrier()
    CALLS.clear()
    assert search.run(objective, space, 1, path=path, **settings) == trials
    jax.effects_barrier()
    assert sorted(set(CALLS)) == sorted(
        np.float32(trials.configs[i]["learning_rate"]) for i in (4, 5)
    )
    assert search.run(objective, space, 1, **settings) == trials


def test_hyperband_runs_the_brackets_that_are_not_in_its_file(tmp_path, monkeypatch):
    from gradkit.search import halving

    task = search.training(lambda w, b: (w * b - 1) ** 2, lambda key: jnp.float32(0), jnp.ones(1))
    path, space = tmp_path / "trials.jsonl", gk.sgd(RATE)
    run = lambda: search.hyperband(task, space, budget=4, factor=2, path=path, progress=False)
    whole, races = halving._race, []
    monkeypatch.setattr(halving, "_race", lambda *args: races.append(1) or whole(*args))
    trials = run()
    assert len(races) == 3
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]))  # within the last bracket
    assert run() == trials
    assert len(races) == 4
    assert run() == trials
    assert len(races) == 4


def test_a_batch_is_spread_out_and_repeats_with_its_key():
    space = {"x": RATE}
    x = np.geomspace(1e-3, 10.0, 8)
    scores = np.append(np.log10(x / 0.3)[:-1] ** 2, np.inf)
    trials = Trials(space, [{"x": float(v)} for v in x], scores, errors=[0.01] * 8)
    asked = search.ask(space, trials, 0, 4)
    places = np.sort(search.to_unit(space, asked)[:, 0])
    assert np.diff(places).min() > 0.019
    assert np.abs(places - RATE.cdf(0.3)).min() < 0.1
    assert search.ask(space, trials, 0, 4).values == asked.values
    # Trials that were stopped say nothing about a full budget: none is left here.
    trials = Trials(space, trials.configs, scores, status=["stopped"] * 8)
    assert len(search.ask(space, trials, 0, 3)) == 3


def test_options_and_what_is_inside_them_are_coordinates_of_their_own():
    momentum = search.uniform(0.0, 0.9)
    space = {
        "tx": search.choice(gk.sgd(RATE, momentum=momentum), gk.adam(RATE), gk.lion(RATE)),
        "n": search.integers(1, 4),
        "flag": search.choice(False, True),
    }
    cube, u = Cube(space), np.full((3, 7), 0.9)
    paths = list(search.distributions(space))
    u[:, paths.index("tx")] = [0.1, 0.5, 0.9]
    u[:, paths.index("tx.sgd.momentum")] = 0.2
    features = np.asarray(cube.features(jnp.asarray(u)))
    names = []
    for path in paths:
        names += ["is sgd", "is adam", "is lion"] if path == "tx" else [path]
    assert features.shape == (3, len(names)) == (3, 9)
    seen = {name: features[:, i].round(3).tolist() for i, name in enumerate(names)}
    assert seen["flag"] == [0.75] * 3
    assert seen["n"] == [0.875] * 3
    assert seen["is adam"] == [0, 1, 0]
    assert seen["tx.sgd.momentum"] == pytest.approx([0.2, 0.5, 0.5])
    assert seen["tx.lion.learning_rate"] == pytest.approx([0.5, 0.5, 0.9])
    assert hash(cube) == hash(Cube(space))
    assert cube == Cube(space)


SPACE = gk.sgd(RATE)
NONE = Trials(SPACE, [], [])
REFUSED = [
    (lambda: search.ask(SPACE, NONE, 0, 0), "ask: n=0 is out of range"),
    (lambda: search.ask(gk.sgd(0.1), None, 0), "has no distribution"),
    (lambda: search.ask(gk.adam(RATE), Trials({"x": RATE}, [], []), 0), "are of another space"),
    (lambda: search.ask(SPACE, [0.1], 0), "trials=[0.1] is not a Trials"),
    (lambda: search.ask(SPACE, NONE, 0, acquisition="ei"), "acquisition='ei' is not an option"),
    (lambda: search.ask(SPACE, NONE, 0, kernel="linear"), "kernel='linear' is not an option"),
    (lambda: search.bayesian(objective, SPACE, rounds=0), "bayesian: rounds=0 is out of range"),
    (lambda: search.bayesian(objective, SPACE, batch=0), "bayesian: batch=0 is out of range"),
    (lambda: search.bayesian(0.1, SPACE), "objective=0.1 is not a function"),
    (lambda: search.bayesian(objective, SPACE, path=3), "path=3 is not a path"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_bad_input_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()
