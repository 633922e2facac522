"""The example of regularization: importable, and its settings do what they say."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_regularize_trains_every_setting_in_one_program(tmp_path, capsys):
    pytest.importorskip("flax")
    spec = importlib.util.spec_from_file_location("regularize", ROOT / "examples/regularize.py")
    regularize = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(regularize)
    arguments = ["--epochs", "40", "--seeds", "1", "--out", str(tmp_path)]
    losses, results = regularize.main(arguments)
    names = [f"{sweep} {name}" for sweep, name, *_ in regularize.RUNS]
    last = dict(zip(names, losses["train"][:, 0, -1], strict=True))
    assert losses["train"].shape == (len(names), 1, 40)
    assert last["L2 0"] == last["dropout 0"] == last["normalization none"] < 0.2
    assert last["L2 0.005"] > last["L2 0"]
    assert last["dropout 0.9"] > last["dropout 0"]
    assert (results["stopped"]["accuracy"] > 0.7).sum() >= len(names) - 2
    assert (tmp_path / "regularize.png").read_bytes().startswith(b"\x89PNG")
    assert "one program" in capsys.readouterr().out
