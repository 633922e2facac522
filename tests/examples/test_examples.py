"""The scripts people run first, in a process of their own, with a smaller budget."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


def run(*command: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_trains_twelve_optimizers_and_draws_their_losses(tmp_path):
    pytest.importorskip("flax")
    told = run("examples/digits.py", "--epochs", 2, "--out", tmp_path / "digits.png")
    rows = re.findall(
        r"│ (\w+)\(.*│\s+([\d.]+) │\s+([\d.]+) │\s+([\d.]+)% │\s+([\d.]+)% │\s+[\d,]+ │", told
    )
    assert [name for name, *_ in rows] == [
        "sgd",
        "momentum",
        "nesterov",
        "adagrad",
        "rmsprop",
        "rmsprop",
        "adadelta",
        "adam",
        "adamw",
        "nadam",
        "adamax",
        "amsgrad",
    ]
    for name, train_loss, test_loss, _, test_accuracy in rows:
        assert float(train_loss) < 2.2, name  # log 10 = 2.3 is a guess
        assert float(test_loss) < 2.2, name
        assert float(test_accuracy) > 25, name
    assert (tmp_path / "digits.png").read_bytes().startswith(PNG)


def test_digits_says_what_to_do_when_mnist_cannot_be_fetched(monkeypatch):
    pytest.importorskip("flax")
    digits = load("digits")

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(digits, "fetch_openml", no_network)
    with pytest.raises(
        SystemExit,
        match=r"openml\.org, .* did not answer \(no route to host\)\. .* --dataset digits",
    ):
        digits.main(["--dataset", "mnist"])


def test_compose_traces_once_for_two_learning_rates_and_finds_the_best_of_a_population(tmp_path):
    told = run("examples/compose.py", "--steps", 40, "--out", tmp_path / "compose.png")
    assert (
        "is the chain\n  clip_by_global_norm(1.0)\n"
        "  precondition(ema(0.9), ema(0.99), eps=1e-08)\n  bold_driver()" in told
    )
    assert "The loss was traced 1 time for 40 steps at two learning rates." in told
    assert float(re.search(r"accuracy ([\d.]+)%", told)[1]) > 90
    assert (tmp_path / "compose.png").read_bytes().startswith(PNG)


def test_minimize_solves_three_landscapes_by_second_order_methods(tmp_path):
    picture, names = tmp_path / "minimize.png", ("gradient descent", "BFGS", "Newton")
    told = run("examples/minimize.py", "--steps", 200, "--methods", *names, "--out", picture)
    rows = {line[:22].strip(): line[22:].split("|") for line in told.splitlines() if "|" in line}
    assert tuple(rows) == names
    assert all("converged" in cell for name in names[1:] for cell in rows[name])
    steps = {name: int(cells[0].split()[0]) for name, cells in rows.items()}
    assert steps["Newton"] < steps["BFGS"] < steps["gradient descent"]
    assert picture.read_bytes().startswith(PNG)


def test_resume_ends_with_the_weights_of_an_uninterrupted_run(tmp_path):
    pytest.importorskip("flax")
    pytest.importorskip("orbax.checkpoint")
    picture = tmp_path / "resume.png"
    told = run("examples/resume.py", "--epochs", 4, "--every", 20, "--out", picture)
    rows = re.findall(r"│\s+(\d+) │\s+(\d+) │\s+([\d.]+) │.*│\s+([\d.]+)% │", told)
    assert [(int(epoch), int(updates)) for epoch, updates, *_ in rows] == [
        (1, 11),
        (2, 22),
        (3, 33),
        (4, 44),
    ]
    assert float(rows[-1][3]) > 80
    assert "The run went on from step 80 of 176." in told
    assert "The resumed run ends with the same weights as an uninterrupted run: True" in told
    assert picture.read_bytes().startswith(PNG)


def test_learn_the_schedule_learns_rates_that_are_better_than_the_one_it_began_with(
    tmp_path, capsys
):
    picture = tmp_path / "learn_the_schedule.png"
    rows, grid = load("learn_the_schedule").main(["--quick", "--out", str(picture)])
    told = capsys.readouterr().out
    names = re.findall(r"│ (.*?)\s+│\s+(\d+) │\s+[\d.]+ │\s+[\d.]+% │\s+[\d.]+ │", told)
    assert names == [
        (f"the best of 4 constants: {grid['best']:.3f}", "1"),
        ("learned by step", "20"),
        ("learned by layer", "4"),
        ("learned by layer and step", "80"),
    ]
    for name, _ in names[1:]:
        assert rows[name]["loss"] < 0.8 * grid["losses"][-1], name
    assert picture.read_bytes().startswith(PNG)


def test_the_benchmark_measures_every_contender_of_every_row(tmp_path):
    pytest.importorskip("optax")
    path = tmp_path / "step.json"
    run(
        "-m",
        "benchmarks.step",
        "--quick",
        "--sizes",
        "transformer",
        "--peers",
        "optax",
        "--json",
        path,
    )
    report = json.loads(path.read_text())
    assert {(row["optimizer"], row["contender"]) for row in report["rows"]} == {
        (optimizer, contender)
        for optimizer in ("adamw", "clip+adamw", "sgd momentum")
        for contender in ("gradkit", "gradkit data", "optax")
    }
    for row in report["rows"]:
        assert all(row[part] > 0 for part in ("trace", "lower", "compile", "step"))
        assert row["gb_per_s"] == pytest.approx(
            row["bytes_per_parameter"] * row["parameters"] / row["step"] / 1e9
        )
        assert row["of_copy"] == pytest.approx(row["gb_per_s"] / row["copy_gb_per_s"])
    assert report["quick"]


def test_language_model_sweeps_trains_and_writes(tmp_path, capsys):
    pytest.importorskip("flax")
    picture = tmp_path / "language_model.png"
    arguments = ["--quick", "--optimizers", "AdamW", "--out", str(picture)]
    load("language_model").main(arguments)
    told = capsys.readouterr().out
    name, rate, losses, loss, steps, _, _ = re.search(
        r"│ (\w+)\s+│\s+([\d.]+) │\s+([\d. ]+) │\s+([\d.]+) │\s+(\d+) │\s+([\d.]+) │\s+(\d+) │",
        told,
    ).groups()
    assert name == "AdamW"
    assert float(rate) == (3e-3, 1e-2, 3e-2)[np.argmin([float(each) for each in losses.split()])]
    assert float(loss) < 4.2  # log 103 = 4.6 is a guess
    assert 0 < int(steps) <= 12
    assert len(told.split("AdamW writes:")[1].strip()) >= 40
    assert picture.read_bytes().startswith(PNG)


def test_distributed_ends_with_the_same_weights_on_any_devices_and_processes(tmp_path):
    def weights(*options):
        out = tmp_path / "distributed.png"
        told = run("examples/distributed.py", "--quick", "--out", out, *options)
        assert out.read_bytes().startswith(PNG)
        return told, float(re.search(r"Norm of the weights: ([\d.]+)", told)[1])

    told, several = weights("--devices", 2, "--processes", 2)
    assert "2 process(es), 4 device(s)" in told
    assert re.search(r"│ 512 │ +5.24 GB │ +10.49 GB │ +0.02 GB │", told.replace("│     ", "│ "))
    told, one = weights("--devices", 1)
    assert "all-gather" not in told
    assert abs(several - one) < 1e-4
