"""Every Python block of the README and the docs runs, and prints what it says it prints.

The blocks of a page share one namespace and run in order. A statement that ends in ``# → text``
must have that value, decimal fractions to the digits written; one that ends in ``# raises Type:
message`` must raise that. ``…`` in either stands for anything.

A block that imports an optional package (OPTIONAL) which is not installed is left out. The test
then ends as skipped, with the reason, after the other blocks have run.
"""

import ast
import contextlib
import importlib.util
import io
import re
import textwrap
from pathlib import Path

import jax
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<indent> *)```python[^\n]*\n(?P<code>.*?)^ *```", re.MULTILINE | re.DOTALL)
CLAIM = re.compile(r"# (?P<kind>→|raises) (?P<text>.+)$")
OPTIONAL = {
    "blackjax",
    "diffrax",
    "dm_pix",
    "equinox",
    "flowjax",
    "gpjax",
    "haiku",
    "jaxopt",
    "numpyro",
    "optuna",
    "optimistix",
    "orbax",
}
PROMOTING = {"optax", "equinox", "haiku"}  # code of others that promotes dtypes and ranks
FRACTION = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")


def blocks(page: Path) -> list[tuple[int, str]]:
    """The page's Python blocks, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start("code")) + 1, textwrap.dedent(match["code"]))
        for match in BLOCK.finditer(text)
    ]


def imports(code: str) -> set[str]:
    """The packages that a block imports at its top level."""
    found = set()
    for node in ast.parse(code).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def missing(code: str) -> set[str]:
    """The optional packages that a block needs and that are not installed."""
    return {
        package for package in imports(code) & OPTIONAL if importlib.util.find_spec(package) is None
    }


def run(code: str, namespace: dict, name: str) -> None:
    """Run statement by statement, so that what a line claims is held against what it did."""
    lines = code.splitlines()
    for node in ast.parse(code, name).body:
        claim = CLAIM.search(lines[node.end_lineno - 1])
        if claim is None:
            exec(compile(ast.Module([node], []), name, "exec"), namespace)
        elif claim["kind"] == "raises":
            kind, _, message = claim["text"].partition(": ")
            with pytest.raises(eval(kind, namespace), match=pattern(message)):
                exec(compile(ast.Module([node], []), name, "exec"), namespace)
        else:
            assert isinstance(node, ast.Expr), (
                f"{name}: only an expression has a value: {lines[node.end_lineno - 1]}"
            )
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                value = eval(compile(ast.Expression(node.value), name, "eval"), namespace)
            shown = printed.getvalue().rstrip("\n") or repr(value)
            assert fits(claim["text"], shown), (
                f"{name}: {lines[node.end_lineno - 1].strip()} gave {shown}"
            )


def fits(claim: str, shown: str) -> bool:
    """Whether a value is shown as claimed."""
    claimed, found = FRACTION.findall(claim), FRACTION.findall(shown)
    if "…" in claim or not claimed or len(claimed) != len(found):
        return re.fullmatch(pattern(claim), shown, re.DOTALL) is not None
    agree = (
        float(a) == (float(b) if "e" in a else round(float(b), len(a.partition(".")[2])))
        for a, b in zip(claimed, found)
    )
    return all(agree) and FRACTION.sub("#", claim) == FRACTION.sub("#", shown)


def pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("…")))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_shows_is_what_happens(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    foreign = any(imports(code) & PROMOTING for _, code in blocks(page))
    left_out = []
    with (
        jax.numpy_dtype_promotion("standard" if foreign else "strict"),
        jax.numpy_rank_promotion("allow" if foreign else "raise"),
    ):
        for line, code in blocks(page):
            if missing(code):
                left_out.append(f"line {line} ({', '.join(sorted(missing(code)))})")
                continue
            # Blank lines in front, so that a traceback names the line of the page.
            run("\n" * (line - 1) + code, namespace, str(page))
    if left_out:
        pytest.skip(f"not installed, and left out: {'; '.join(left_out)}")


def test_a_block_with_an_absent_package_is_known(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert missing("import equinox as eqx\nfrom haiku.nets import MLP\nimport jax") == {
        "equinox",
        "haiku",
    }
    assert missing("import jax\nfrom flax import nnx") == set()


WRONG = [
    "1 + 1  # → 3",
    "0.14  # → 0.15",
    "[0.1]  # → 0.1",
    "1 + 1  # raises ValueError: no",
    "int('x')  # raises ValueError: something else",
]


@pytest.mark.parametrize("bad", WRONG)
def test_a_wrong_claim_is_found(bad):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(bad, {}, "page")


def test_every_link_of_the_readme_leads_to_a_file():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
