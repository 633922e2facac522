"""The page of optax's names accounts for every public name of the installed optax, and is what its script writes."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("optax")
DOCS = Path(__file__).parents[2] / "docs"


def script():
    spec = importlib.util.spec_from_file_location("optax_names", DOCS / "optax_names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_name_of_optax_is_accounted_for():
    module = script()
    unanswered = []
    for name, value in module.names().items():
        try:
            module.answer(name, value)
        except KeyError:
            unanswered.append(name)
    assert not unanswered


def test_the_page_holds_every_name_of_optax():
    written = set(re.findall(r"`(\w+)`", (DOCS / "optax_names.md").read_text()))
    assert not set(script().names()) - written, "run python docs/optax_names.py"


def test_no_answer_names_what_gradkit_lacks():
    import gradkit as gk

    module = script()
    outside = {"None", "jax", "State", "MultiSteps", "Any"}
    said = {name for text in module.INSTEAD.values() for name in re.findall(r"`(\w+)", text)} - outside
    assert not {name for name in said if not hasattr(gk, name) and name not in ("tx", "update", *module.INSTEAD)}
