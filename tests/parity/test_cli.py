"""``python -m gradkit.parity``: verdicts and exit codes."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

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
    wrong = dataclasses.replace(
        row, make=lambda k: k.scale(-0.3), reference=lambda o: o.scale(-0.31)
    )
    broken = dataclasses.replace(row, case="broken", make=lambda k: k.no_such_thing())
    monkeypatch.setattr(cli, "TABLE", (wrong, broken, row))
    assert cli.main(["scale", "--steps", "5", "--json", str(tmp_path / "report.json")]) == 1
    caught = capsys.readouterr()
    assert "1 of 3 rows pass" in caught.out
    assert "first beyond the tolerance: step 0, updates.layer.matrix" in caught.err
    assert "no_such_thing" in caught.err
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [found["verdict"] for found in rows] == ["differs", "error", "agrees"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["adm", "--against", "optax"],
            "no row is named adm against optax in float64. Did you mean 'adam'?",
        ),
        (
            ["scale", "adm", "--against", "optax"],
            "no row is named adm against optax in float64. Did you mean 'adam'?",
        ),
        (
            ["qqq*", "--against", "optax"],
            "no row is named qqq* against optax in float64. "
            "Without a name all rows run, and print theirs.",
        ),
        (
            ["normalize", "--against", "torch"],
            "no row is named normalize against torch in float64. "
            "There is one against optax in float64, float32, bfloat16.",
        ),
    ],
)
def test_an_unknown_name_exits_with_two_and_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(cli, "installed", lambda peer: True)
    assert cli.main(arguments) == 2
    caught = capsys.readouterr()
    assert (caught.out, caught.err) == ("", f"gradkit.parity: {message}\n")


@pytest.mark.parametrize(
    ("path", "why"), [("missing/report.json", "No such file or directory"), (".", "Is a directory")]
)
def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    path, why, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_run", lambda *_: pytest.fail("it ran"))
    assert cli.main(["scale", "--against", "optax", "--json", path]) == 2
    assert capsys.readouterr().err == f"gradkit.parity: --json {path} cannot be written ({why}).\n"


def test_the_report_takes_the_place_of_an_older_one(tmp_path):
    (tmp_path / "report.json").write_text("old")
    assert (
        cli.main(
            ["scale", "--against", "optax", "--steps", "3", "--json", str(tmp_path / "report.json")]
        )
        == 0
    )
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["steps"], found["dtype"]) == (3, "float64")
    assert found["rows"][0].keys() == {
        "name",
        "part",
        "case",
        "against",
        "note",
        "passed",
        "verdict",
        "report",
    }


@pytest.mark.parametrize(
    ("there", "run"), [({"optax", "torch"}, {"optax", "torch"}), ({"optax"}, {"optax"})]
)
def test_by_default_every_peer_runs_that_is_there(there, run, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "installed", lambda peer: peer in there)
    monkeypatch.setattr(cli, "_run", lambda row, *_: seen.append(row.against) or {"passed": True})
    monkeypatch.setattr(cli, "_print", lambda *_: None)
    assert cli.main(["sgd"]) == 0
    assert set(seen) == run


def test_the_commands_of_the_page_are_taken():
    page = (Path(__file__).parents[2] / "docs" / "api" / "parity.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m gradkit\.parity(.*)$", page, re.MULTILINE)
    assert len(commands) > 2
    for command in commands:
        options = cli._parser().parse_args(shlex.split(command, comments=True))
        assert all(any(cli._named(row, [name]) for row in table.TABLE) for name in options.names)


def test_the_largest_difference_is_readable_in_low_precision(capsys):
    assert cli.main(["adam", "--against", "optax", "--steps", "30", "--dtype", "bfloat16"]) == 0
    out = capsys.readouterr().out
    assert "inf" not in out
    assert max(float(number) for number in re.findall(r"(\S+) ulp", out)) < 100


def test_a_missing_peer_is_named(capsys, monkeypatch):
    monkeypatch.setattr(cli, "installed", lambda peer: False)
    assert cli.main([]) == 2
    assert "pip install 'gradkit[parity]'" in capsys.readouterr().err


def test_plain_text_without_rich(capsys, monkeypatch):
    monkeypatch.setattr(
        cli.importlib.util,
        "find_spec",
        lambda name, find=cli.importlib.util.find_spec: None if name == "rich" else find(name),
    )
    assert cli.main(["scale", "--against", "optax", "--steps", "3", "--dtype", "float32"]) == 0
    head, row, _ = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "part"
    assert row.split()[:4] == ["scale", "optax", "as", "exact"]


@pytest.mark.parametrize(
    "arguments", [["--steps", "0"], ["--dtype", "float16"], ["--against", "keras"]]
)
def test_bad_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err
