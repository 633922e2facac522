"""``python -m gradkit.parity``: verdicts and exit codes."""

import dataclasses
import json

import pytest

from gradkit.parity import __main__ as cli
from gradkit.parity import table


@pytest.fixture(autouse=True)
def _optax():
    pytest.importorskip("optax")


def test_rows_that_pass_exit_with_zero(capsys):
    assert cli.main(["scale", "clip", "--against", "optax", "--steps", "5"]) == 0
    out = capsys.readouterr().out
    assert "clip, two bounds" in out
    assert "3 of 3 rows pass over 5 steps in float64" in out


def test_a_row_that_fails_exits_with_one_and_says_where(capsys, monkeypatch, tmp_path):
    row = next(row for row in table.TABLE if row.name == "optax scale")
    wrong = dataclasses.replace(row, make=lambda k: k.scale(-0.3), reference=lambda o: o.scale(-0.31))
    broken = dataclasses.replace(row, case="broken", make=lambda k: k.no_such_thing())
    monkeypatch.setattr(cli, "TABLE", (wrong, broken, row))
    assert cli.main(["scale", "--steps", "5", "--json", str(tmp_path / "report.json")]) == 1
    caught = capsys.readouterr()
    assert "1 of 3 rows pass" in caught.out
    assert "first beyond the tolerance: step 0, updates.layer.matrix" in caught.err
    assert "no_such_thing" in caught.err
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [found["verdict"] for found in rows] == ["differs", "error", "agrees"]


def test_an_unknown_name_exits_with_two_and_lists_the_known(capsys):
    assert cli.main(["adamm"]) == 2
    assert "adamw" in capsys.readouterr().err


def test_a_missing_peer_is_named(capsys, monkeypatch):
    monkeypatch.setattr(cli, "installed", lambda peer: False)
    assert cli.main([]) == 2
    assert "pip install 'gradkit[parity]'" in capsys.readouterr().err


def test_plain_text_without_rich(capsys, monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name, find=cli.importlib.util.find_spec: None if name == "rich" else find(name))
    assert cli.main(["scale", "--against", "optax", "--steps", "3", "--dtype", "float32"]) == 0
    head, row, _ = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "part"
    assert row.split()[:4] == ["scale", "optax", "as", "exact"]


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--dtype", "float16"], ["--against", "keras"]])
def test_bad_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err
