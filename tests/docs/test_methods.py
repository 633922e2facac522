"""The pages of the methods are what docs/methods.py writes, and their pictures exist."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AGAIN = "Run python docs/methods.py"


@pytest.fixture(scope="module")
def script():
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("methods_page", DOCS / "methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.fixture(scope="module")
def pages(script):
    return script.pages()


def without_tests(text: str) -> str:
    """The page without the names of the tests: a new test makes no page wrong."""
    return re.sub(r"^- test: .*\n", "", text, flags=re.MULTILINE)


def test_every_optimizer_and_every_family_of_schedules_has_a_page(script):
    methods = {
        name: method.room for each in script.FAMILIES.values() for name, method in each.items()
    }
    listed = {name for name, room in methods.items() if room == "optimizers"}
    optimizers = {path.stem for path in (ROOT / "gradkit" / "optimizers").glob("[a-z]*.py")}
    assert listed == optimizers, "put it into FAMILIES of docs/formulas.py"
    schedules = {path.stem for path in (ROOT / "gradkit" / "schedules").glob("[a-z]*.py")}
    assert set(script.SCHEDULES) == schedules - {"plot"}, "put it into SCHEDULES"
    pages = {path.stem for path in (DOCS / "methods").glob("*.md")}
    assert pages == set(methods) | set(script.SCHEDULES)


def test_the_pages_are_what_the_script_writes(pages):
    stale = [
        str(path.relative_to(ROOT))
        for path, text in pages.items()
        if without_tests(path.read_text(encoding="utf-8")) != without_tests(text)
    ]
    assert not stale, AGAIN


def test_every_link_to_a_file_has_a_file(pages):
    for path in pages:
        for target in re.findall(r"\]\(((?:\.\./)+[\w/.]+\.py)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}. {AGAIN}"


def test_every_method_is_tested_where_its_page_says(script):
    for family in script.FAMILIES.values():
        for name in family:
            assert any("records" in path.parts for path in script.tests(name)), name


def test_every_picture_exists_and_is_small(pages):
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for picture in re.findall(r"docs/assets/[\w/]+\.svg", text):
            assert 500 < (ROOT / picture).stat().st_size < 30_000, picture
        for picture in re.findall(r"(?<=\]\()assets/[\w/]+\.png", text):
            assert (DOCS / picture).stat().st_size < 100_000, picture


def test_every_example_has_its_picture_in_the_gallery():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").glob("*.py"):
        assert f"assets/gallery/{path.stem}.png" in text, "Run python docs/pictures/gallery.py"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("m_{t−1}", "m<sub>t−1</sub>"),
        ("1 − b1^(t+1)", "1 − b1<sup>t+1</sup>"),
        ("γ^(m−1) α_min", "γ<sup>m−1</sup> α<sub>min</sub>"),
        ("r^⌊t/T⌋ ``staircase_x``", "r<sup>⌊t/T⌋</sup> ``staircase_x``"),
        ("f − f* and `a_b`", r"f − f\* and `a_b`"),
    ],
)
def test_indices_are_lowered_and_powers_raised(script, text, html):
    assert script.typeset.formula(text) == html


def test_only_greek_letters_have_an_index_in_prose(script):
    text = "ε_root ≥ 0 and min_dim_size; ``ε_root``\n>>> ε_root = 1"
    assert script.typeset.prose(text) == text.replace("ε_root ≥", "ε<sub>root</sub> ≥")
