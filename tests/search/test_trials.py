"""The table of trials: what is best, how it prints, what is written and read back."""

import json
import re

import numpy as np
import pytest

import gradkit as gk
from gradkit import search
from gradkit.search import Trials

RATE = search.log_uniform(1e-4, 1.0)
SPACE = search.choice(gk.sgd(RATE, momentum=search.uniform(0.0, 0.9)), gk.adam(RATE))
SGD, ADAM = "choice.sgd.learning_rate", "choice.adam.learning_rate"


def made(n=6, **changes):
    configs = [
        {"choice": "sgd", SGD: 0.1 / (i + 1), "choice.sgd.momentum": 0.1 * i}
        if i % 2
        else {"choice": "adam", ADAM: np.float32(0.1 * (i + 1))}
        for i in range(n)
    ]
    columns = {
        "scores": [0.3, 0.28, np.inf, 0.5, 0.1, np.nan][:n],
        "errors": [0.01, 0.06, 0.1, np.nan, 0.02, 0.3][:n],
        "curves": [[1.0, 0.1 + 0.2], None, [np.nan], [0.5], [0.2, 0.1], None][:n],
        "budgets": [100, 100, 10, 50, 20, 100][:n],
        "status": ["complete", "complete", "failed", "complete", "stopped", "failed"][:n],
        "repeats": [8, 8, 8, 1, 8, 8][:n],
    }
    return Trials(SPACE, configs, **(columns | changes))


def test_the_best_has_the_lowest_upper_confidence_bound_of_the_complete_trials():
    trials = made()
    assert trials.best(confidence=None).index == 1
    assert trials.best().index == 0  # 0.28 ± 0.06 is less certain than 0.30 ± 0.01
    bounds = trials.upper_bounds(0.95)
    quantile = 1.894579  # of Student's t with 7 degrees of freedom, from a table
    np.testing.assert_allclose(bounds[:2], [0.3 + 0.01 * quantile, 0.28 + 0.06 * quantile], 1e-6)
    # An error that is not known counts as the largest.
    np.testing.assert_allclose(bounds[3], 0.5 + 0.3 * quantile, 1e-6)
    alone = made(2, repeats=None)  # errors without seeds: the normal distribution
    np.testing.assert_allclose(alone.upper_bounds(0.975)[0], 0.3 + 0.01 * 1.959964, 1e-6)
    assert (made(2, errors=None).upper_bounds() == made(2).scores).all()


def test_rows_and_slices_keep_their_columns():
    trials = made()
    assert len(trials) == 6
    assert trials[0].transform == trials.transform(0) == gk.adam(float(np.float32(0.1)))
    assert trials.config(1) == {"choice": "sgd", SGD: 0.05, "choice.sgd.momentum": 0.1}
    assert trials.scores[5] == np.inf  # NaN
    assert trials[-1].status == "failed"
    part = trials[trials.scores < 0.4]
    assert part.scores.tolist() == [0.3, 0.28, 0.1]
    assert part.curves[0].tolist() == [1.0, 0.1 + 0.2]
    # Complete trials first, then stopped ones, then those that failed.
    assert trials.sorted().scores.tolist()[:4] == [0.28, 0.3, 0.5, 0.1]
    assert [row.index for row in trials] == list(range(6))
    assert trials[:2] + trials[2:] == trials
    assert trials[:2] != trials[2:4]
    assert trials[[1, 0]][0].score == 0.28


def test_it_prints_the_best_first_in_aligned_columns():
    lines = str(made()).splitlines()
    assert lines[0] == "Trials: 6 trials, 1 stopped, 2 failed, best first"
    assert [line.split()[0] for line in lines[2:]] == ["1", "0", "3", "4", "2", "5"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert "0.280 ± 0.060" in lines[2]
    assert made().to_string(2).endswith("… 4 more")
    assert str(Trials(SPACE, [], [])) == "Trials: none"


def test_columns_and_records_hold_plain_values():
    columns = made().to_dict()
    paths = ["choice", SGD, "choice.sgd.momentum", ADAM]
    assert list(columns) == ["score", "error", "repeats", "budget", "status", *paths]
    assert columns[SGD][:2] == [None, 0.05]
    assert made().records()[1]["choice.sgd.momentum"] == 0.1
    assert type(columns[ADAM][0]) is float


def test_a_file_gives_back_the_same_trials(tmp_path):
    path, trials = tmp_path / "trials.jsonl", made()
    trials.save(path)
    assert Trials.load(path, SPACE) == trials
    first, *rows = path.read_text().splitlines()
    assert json.loads(first)["space"][ADAM] == "search.log_uniform(0.0001, 1.0)"
    assert len(rows) == 6
    path.write_text("\n".join([first, *rows])[:-5])  # a crash within the last line
    assert Trials.load(path, SPACE) == trials[:5]
    Trials(SPACE, [], []).save(path)
    assert len(Trials.load(path, SPACE)) == 0


OTHER = gk.sgd(search.log_uniform(1e-4, 2.0))
ONE = [{"choice": "sgd"}]
REFUSED = {
    "curves has the length 1. Expected 6, one curve": lambda: made(curves=[[1.0]]),
    "curves[0] has the shape [1, 1]. Expected a vector": lambda: made(curves=[[[1.0]]] * 6),
    "scores has the shape [2]. Expected [1], one": lambda: Trials(SPACE, ONE, [1.0, 2.0]),
    "scores='low' is not a vector of numbers": lambda: Trials(SPACE, ONE, "low"),
    "errors[0]=-1 is out of range. Expected x >= 0": lambda: Trials(SPACE, ONE, [1.0], [-1.0]),
    "repeats[0]=0 is out of range. Expected x >= 1": lambda: made(repeats=[0] * 6),
    "status has the length 1": lambda: made(status=["failed"]),
    "status[0]='done' is not an option": lambda: Trials(SPACE, ONE, [1.0], status=["done"]),
    "configs[0] has the path 'chioce', which the space lacks. Did you mean 'choice'?": lambda: (
        Trials(SPACE, [{"chioce": "sgd"}], [1.0])
    ),
    "configs[0]=0.1 is not a dict path -> value": lambda: Trials(SPACE, [0.1], [1.0]),
    "Trials.best: of 2 trials (0 complete, 1 stopped, 1 failed) none is complete": lambda: made()[
        4:
    ].best(),
    "Trials.best: of 0 trials (0 complete, 0 stopped, 0 failed) none is": lambda: made()[:0].best(),
    "confidence=1.0 is out of range. Expected 0.5 <= confidence < 1": lambda: made().best(1.0),
    "most=0 is out of range": lambda: made().to_string(0),
    "Trials: the index 6 is out of range for 6 trials": lambda: made()[6],
    "Trials: the trials are of another space: 'learning_rate' was absent and is search": lambda: (
        made() + Trials(OTHER, [], [])
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_input_is_refused(message):
    with pytest.raises((ValueError, TypeError, IndexError), match=re.escape(message)):
        REFUSED[message]()


def test_a_file_of_another_space_or_kind_is_refused(tmp_path):
    path = tmp_path / "trials.jsonl"
    made().save(path)
    with pytest.raises(ValueError, match="of another space: 'learning_rate' was absent"):
        Trials.load(path, OTHER)
    path.write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match="holds no trials"):
        Trials.load(path, SPACE)
    with pytest.raises(FileNotFoundError):
        Trials.load(tmp_path / "none", SPACE)
