"""The pages of the course run, hold what they assert, and have their pictures and links."""

import ast
import importlib.util
import re
import runpy
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[2]
COURSE = ROOT / "docs" / "course"
ASSETS = ROOT / "docs" / "assets" / "course"
SCRIPTS = sorted(COURSE.glob("[0-9]*.py"))
IMAGE = re.compile(r"!\[([^\]]*)\]\(\.\./assets/course/([\w.]+)\)")
SNIPPET = re.compile(r'--8<-- "docs/assets/course/([\w.]+)"')
DRAWN = re.compile(r'(picture|table)\(\s*"(\w+)"(, raster=True)?')
CODE = re.compile(r"\]\((?:\.\./)+((?:gradkit|docs|examples|tests)/[\w/.-]+\.py)(?:#([\w.]+))?\)")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_page_holds_what_it_asserts(script, monkeypatch):
    monkeypatch.setenv("GRADKIT_COURSE_QUICK", "1")
    monkeypatch.syspath_prepend(str(COURSE))
    before = jax.config.jax_enable_x64
    # As a reader runs it, with JAX's own settings.
    standard = (jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"))
    with standard[0], standard[1]:
        runpy.run_path(str(script), run_name="__main__")
    assert jax.config.jax_enable_x64 == before
    sys.modules.pop("style")  # the next reader may want the pictures


def text_of(script: Path) -> str:
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_page_is_whole(script):
    text = text_of(script)
    assert re.match(r"# %% \[markdown\]\n# # \w", text), "a page begins with its title"
    assert re.search("[\u4e00-\u9fff]", text), "the Chinese terms stand beside the English ones"
    assert len(re.findall(r"^ *(?:assert |np\.testing\.assert)", text, re.MULTILINE)) >= 3
    assert CODE.search(text), "a page links to the code"
    shown = {name for _, name in IMAGE.findall(text)} | set(SNIPPET.findall(text))
    drawn = {
        f"{name}.txt" if kind == "table" else f"{name}.png" if raster else f"{name}.svg"
        for kind, name, raster in DRAWN.findall(text)
    }
    assert shown == drawn, "a page shows what it draws"
    assert all(name.startswith(script.stem[:3]) and (ASSETS / name).exists() for name in shown)
    assert all(len(text) > 20 for text, _ in IMAGE.findall(text)), "a picture has a text"
    in_text = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for target in re.findall(r"\]\(([^)#:]+\.(?:py|md))", in_text):
        path = (COURSE / target).resolve()
        assert path.exists() or (COURSE / f"{path.stem}.py").exists(), target


def test_every_picture_has_its_script_and_is_small():
    pages = "".join(map(text_of, SCRIPTS))
    for file in ASSETS.iterdir():
        assert f'"{file.stem}"' in pages, file
        most = {".svg": 150_000, ".png": 120_000, ".txt": 4_000}[file.suffix]
        if "animate(" in pages and "@keyframes" in file.read_bytes().decode("latin-1"):
            most = 600_000
        assert file.stat().st_size < most, file


def test_every_animation_has_its_keyframes():
    moving = [text for text in map(text_of, ASSETS.glob("*.svg")) if "@keyframes" in text]
    assert moving
    for text in moving:
        used = set(re.findall(r"animation:(?!none)(\S+)", text))
        assert used == set(re.findall(r"@keyframes ([a-z][\w-]*)\{", text))


def test_every_page_is_in_the_index_and_the_navigation():
    nav, index = text_of(ROOT / "mkdocs.yml"), text_of(COURSE / "index.md")
    for script in SCRIPTS:
        assert f"course/{script.stem}.md" in nav
        assert f"]({script.stem}.md)" in index


def defined(path: str, name: str) -> bool:
    """Whether a file defines a name at its top level."""
    tree = ast.parse(text_of(ROOT / path))
    names = {getattr(node, "name", None) for node in tree.body}
    names |= {
        getattr(target, "id", None)
        for node in tree.body
        for target in getattr(node, "targets", [getattr(node, "target", None)])
    }
    return name.partition(".")[0] in names


@pytest.mark.parametrize(
    "page", [*SCRIPTS, COURSE / "index.md", ROOT / "docs" / "idea.md"], ids=lambda page: page.stem
)
def test_every_link_to_code_leads_to_a_definition(page):
    links = CODE.findall(text_of(page))
    assert links
    for path, name in links:
        assert (ROOT / path).exists(), path
        assert not name or defined(path, name), f"{path}#{name}"


def test_every_formula_of_the_lectures_links_to_its_code():
    text = text_of(ROOT / "docs" / "idea.md").partition("## Textbook formulas")[2]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    rows = [row for row in rows if not row.startswith(("| method |", "|---"))]
    assert len(rows) > 75
    for row in rows:
        assert re.search(r"\]\([\w/.]+(\.py#\w+|\.md(#[\w-]+)?)\)", row), row


def test_the_cells_of_a_script_become_a_page(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    script = tmp_path / "01_a.py"
    script.write_text("# %% [markdown]\n# # A\n#\n# b\n\n# %%\nx = 1\n\n\n# %% Draw\ny = 2\n")
    page = hooks.course_page(script)
    assert page.startswith("# A\n\nb\n\n```python\nx = 1\n```\n\n")
    assert '??? code "Draw"\n\n    ```python\n    y = 2\n    ```' in page
    assert hooks.line_of("01_a.py", "y") == 11
    with pytest.raises(ValueError, match="does not define z"):
        hooks.line_of("01_a.py", "z")
