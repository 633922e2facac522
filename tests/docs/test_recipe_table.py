"""The table of optimizers in the README and in docs/recipes.md is what the code says."""

import importlib.util
from pathlib import Path

import pytest

import gradkit as gk
from gradkit import optimizers

ROOT = Path(__file__).parents[2]
WRAPPERS = {"dpsgd", "grokfast", "optimistic_adam_v2"}  # in no row: a wrapper, a filter, an alias


@pytest.fixture(scope="module")
def script():
    path = ROOT / "docs" / "recipe_table.py"
    spec = importlib.util.spec_from_file_location("recipe_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_that_the_script_writes(script):
    for page, text in script.pages().items():
        assert page.read_text(encoding="utf-8") == text, "run python docs/recipe_table.py"


def test_every_optimizer_has_a_row(script):
    rows = {tx.factory.__name__ for tx in script.ROWS.values()}
    names = {
        name
        for name, value in vars(optimizers).items()
        if getattr(value, "makes", None) and not name.startswith("scale_by_")
    }
    assert len(names) > 40
    assert names - rows == WRAPPERS
    assert {label.partition("(")[0] for label in script.ROWS} == rows


def test_every_rule_described_by_hand_is_in_a_row(script):
    members = {member.name for tx in script.ROWS.values() for member in tx.members}
    assert set(script.OWN) <= members


def test_a_changed_average_changes_its_row(script):
    assert script.row("adam", gk.adam(0.1))[1:4] == ["`ema`", "`ema` of g²", "M/√G"]
    changed = gk.precondition(gk.averages.latest(), gk.averages.running_sum())
    assert script.row("adam", changed)[1:4] == ["`latest`", "`running_sum` of g²", "M/√G"]
