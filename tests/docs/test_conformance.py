"""The conformance page has a row for every job of tests/conformance, and no other."""

import importlib.util
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("conformance_page", ROOT / "docs" / "conformance.py")
page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(page)


def test_every_job_has_its_row_and_every_row_its_job():
    shown = set(page.shown())
    without_cases = {
        (package, job)
        for package, text in shown
        for job in {text, re.sub(r" \([^()]*(\([^()]*\)[^()]*)*\)$", "", text)}
    }
    assert page.jobs() <= without_cases, "Run python docs/conformance.py"
    assert len(shown) == len(page.jobs()), "Run python docs/conformance.py"


def test_every_job_ends_with_the_numbers_of_optax():
    assert {key: result for key, result in page.shown().items() if result != "the same"} == {}


def test_the_extra_installs_the_packages_of_the_room():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    packages = {package for package, _ in page.jobs()}
    assert packages - {"optax", "flax"} == {
        re.split(r"[<>=\[]", requirement)[0] for requirement in extras["conformance"]
    }
    assert not {re.split(r"[<>=\[]", requirement)[0] for requirement in extras["test"]} & set(
        extras["conformance"]
    )
