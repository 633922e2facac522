"""Optuna: suggestions, vmapped batches by ask and tell, storage that survives a crash."""

import re
import sys

import jax
import numpy as np
import pytest

import gradkit as gk
from gradkit import search
from gradkit.search import studies

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)

RATE = search.log_uniform(1e-3, 1.0)
SPACE = {
    "tx": search.choice(
        gk.sgd(RATE), gk.adam(RATE, b1=search.log_uniform(0.5, 0.999, complement=True))
    ),
    "layers": search.integers(1, 64, log=True),
}
ADAM = {"layers": 3, "tx": "adam", "tx.adam.learning_rate": 0.1, "1 - tx.adam.b1": 0.1}
X = {"x": search.uniform(-1.0, 1.0)}


def study(**settings):
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), **settings)


def test_a_trial_suggests_a_filled_space():
    fixed = optuna.trial.FixedTrial(ADAM)
    assert search.suggest(SPACE, fixed) == {"layers": 3, "tx": gk.adam(0.1, b1=0.9)}
    laws = fixed.distributions
    assert laws["1 - tx.adam.b1"].log
    assert laws["tx.adam.learning_rate"].log
    assert laws["layers"] == optuna.distributions.IntDistribution(1, 64, log=True)
    assert laws["tx"].choices == ("sgd", "adam")


def test_an_optuna_loop_of_its_own_becomes_trials():
    found = study()

    def objective(trial):
        config = search.suggest(SPACE, trial)
        trial.report(2.0, 1)
        if trial.number == 1:
            raise optuna.TrialPruned
        return config["tx"].learning_rate

    found.optimize(objective, n_trials=4)
    trials = search.from_study(found, SPACE)
    assert [status == "stopped" for status in trials.status] == [False, True, False, False]
    assert trials.best(None).score == found.best_value
    assert trials.transform(0)["tx"].learning_rate == trials.scores[0]
    assert trials.curves[0].tolist() == [2.0]
    assert {"tx.adam.b1"} <= set(trials.paths) <= set(search.distributions(SPACE))


def test_a_batch_is_one_program_and_a_study_ends_at_its_number_of_trials():
    found, traced = study(), []

    def objective(config, key):
        traced.append(1)
        return config["x"] ** 2 + 0.1 * jax.random.normal(key)

    run = lambda n: search.run_study(
        objective, X, found, trials=n, batch=3, seeds=2, progress=False
    )
    assert len(run(6)) == len(found.trials) == 6
    assert len(traced) <= 2  # what is traced does not depend on the batches
    trials = run(7)
    assert len(trials) == 7
    assert trials.repeats.tolist() == [2] * 7
    assert (trials.errors > 0).all()
    assert trials.curves == (None,) * 7
    diverged = search.run_study(
        lambda config, key: config["x"] * np.inf, X, study(), trials=2, batch=2, progress=False
    )
    assert diverged.status == ("failed", "failed")


def test_a_search_that_ends_in_a_batch_goes_on_from_its_storage(tmp_path, monkeypatch):
    whole, batches, die = studies.evaluated, [], True

    def evaluated(*args):
        batches.append(1)
        if die and len(batches) == 3:
            raise KeyboardInterrupt  # while the third batch is trained
        return whole(*args)

    def run():  # as a process that is started again
        file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
        storage = optuna.storages.JournalStorage(file)
        found = study(storage=storage, study_name="s", load_if_exists=True)
        objective = lambda config, key: config["x"] ** 2
        return search.run_study(objective, X, found, trials=8, batch=2, progress=False), found

    monkeypatch.setattr(studies, "evaluated", evaluated)
    with pytest.raises(KeyboardInterrupt):
        run()
    die = False
    batches.clear()
    trials, found = run()
    # Four were finished, two in flight; four more are run.
    assert len(batches) == 2
    assert len(trials) == 8
    states = [trial.state.name for trial in found.trials]
    assert states == ["COMPLETE"] * 4 + ["RUNNING"] * 2 + ["COMPLETE"] * 4


REFUSED = [
    (lambda: search.suggest(SPACE, 3), "suggest: trial=3 is not a trial"),
    (lambda: search.run_study(min, X, study(), trials=0), "run_study: trials=0 is out of range"),
    (lambda: search.run_study(min, X, study(), batch=0), "run_study: batch=0 is out of range"),
    (lambda: search.run_study(min, X, "study"), "study='study' is not a study"),
    (
        lambda: search.from_study(study(direction="maximize"), X),
        "from_study: the study does not minimize one value. Create it with direction='minimize'",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_bad_input_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()


def test_a_study_of_another_space_is_refused():
    found = study()
    found.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=1)
    with pytest.raises(ValueError, match=r"trial 0 has the parameters \{'y'"):
        search.from_study(found, X)


def test_without_optuna_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match="pip install 'gradkit\\[search\\]'"):
        search.suggest(SPACE, optuna.trial.FixedTrial(ADAM))
