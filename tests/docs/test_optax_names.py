"""The page of optax's names has every public name of optax, and is what its script writes."""

import importlib.util
import re
import types
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
    assert not module.unanswered(), (
        "put it in gradkit, or in a table of gradkit/interop/names.py with what to use instead"
    )
    assert not module.stale(), "take it out of its table in gradkit/interop/names.py"


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("optax", lambda: None),
        ("optax.contrib", lambda learning_rate: None),
        ("optax.schedules", lambda: None),
        ("optax", type("BrandNewState", (), {})),
    ],
    ids=["optax", "contrib", "schedules", "type"],
)
def test_a_new_name_of_optax_is_not_accounted_for(monkeypatch, where, value):
    value.__module__ = "optax._src.alias"  # where the losses once were looked for
    monkeypatch.setattr(importlib.import_module(where), "brand_new_state", value, raising=False)
    monkeypatch.setattr(importlib.import_module(where), "BrandNewState", value, raising=False)
    assert script().unanswered() == ["brand_new_state", "BrandNewState"]


def test_a_new_sub_module_of_optax_is_not_accounted_for(monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("optax"),
        "brand_new",
        types.ModuleType("optax.brand_new"),
        raising=False,
    )
    assert script().unanswered() == ["optax.brand_new"]


@pytest.mark.parametrize("name", ["lion", "adamw", "cosine_decay_schedule", "momo", "masked"])
def test_a_name_that_gradkit_loses_is_not_accounted_for(monkeypatch, name):
    import gradkit as gk

    monkeypatch.delattr(gk, name)
    assert script().unanswered() == [name]
    with pytest.raises(KeyError, match=f"{name} of optax is neither in gradkit nor in the tables"):
        script().answer(name)


def test_a_name_in_a_list_is_not_in_gradkit_and_is_in_optax(monkeypatch):
    module = script()
    monkeypatch.setitem(module.ANSWERS, "lion", ("Another way", "by hand"))
    monkeypatch.setitem(module.ANSWERS, "tiger", ("Another way", "by hand"))
    assert module.stale() == ["lion", "tiger"]


def test_the_page_holds_every_name_of_optax():
    written = set(re.findall(r"`([\w.]+)`", (DOCS / "optax_names.md").read_text()))
    assert not set(script().names()) - written, "run python docs/optax_names.py"


def test_no_answer_names_what_gradkit_lacks():
    import gradkit as gk

    module = script()
    outside = {"None", "jax", "state", "optax", "apply", "gradkit", "State", "sqrt"}
    texts = [text for _, text in module.ANSWERS.values()] + list(module.SUBMODULES.values())
    said = {name for text in texts for name in re.findall(r"`(\w+)", text)} - outside
    assert not {name for name in said if name not in vars(gk) and name not in ("tree_norm",)}


def test_every_entry_of_a_state_that_is_named_has_a_factory():
    import gradkit as gk
    from gradkit.interop.names import STATES

    assert not {link for link in STATES.values() if not hasattr(gk, link)}
