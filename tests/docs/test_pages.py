"""Nothing public is missing from the pages."""

import re
from pathlib import Path

import gradkit as gk

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"^::: (?P<path>\S+)\n(?P<options>(?:    .*\n?)*)", re.MULTILINE)

# What the rooms share among themselves: importable, not offered.
INTERNAL = {"explained", "hint", "labels", "resolve", "selected", "called", "question"} | {
    *("IDENTITY", "MEANS", "as_store", "averages", "encoded", "factored_axes", "scope_of")
}


def shown() -> dict[str, set[str] | None]:
    """What the API and method pages show: a module's path -> its members named, or None for all."""
    found: dict[str, set[str] | None] = {}
    docs = ROOT / "docs"
    for page in [*(docs / "api").glob("*.md"), *(docs / "methods").glob("*.md")]:
        for match in DIRECTIVE.finditer(page.read_text(encoding="utf-8")):
            members = re.search(r"members: \[(.*?)\]", match["options"])
            found[match["path"]] = (
                {name.strip() for name in members[1].split(",")} - {""} if members else None
            )
    return found


def public() -> dict[str, object]:
    """Every public function and class, at the top level and in the namespaces."""
    spaces = (
        gk,
        gk.averages,
        gk.data,
        gk.initializers,
        gk.inspect,
        gk.losses,
        gk.masks,
        gk.metrics,
        gk.privacy,
        gk.projections,
        gk.schedules,
        gk.search,
        gk.stores,
        gk.tree,
    )
    return {
        name: value
        for space in spaces
        for name, value in vars(space).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith("gradkit")
        and name not in INTERNAL
    }


def test_every_public_name_has_its_place_in_the_api_pages():
    pages, missing = shown(), []
    for name, value in public().items():
        module = value.__module__
        whole = [path for path, members in pages.items() if members is None]
        if not any(
            module == path or module.startswith(f"{path}.") for path in whole
        ) and name not in (pages.get(module) or ()):
            missing.append(f"{name} of {module}")
    assert not missing


def test_what_the_api_pages_name_exists():
    for path, members in shown().items():
        module = (
            __import__(path, fromlist=["x"])
            if not path.endswith(".Call")
            else __import__("gradkit._call", fromlist=["Call"]).Call
        )
        for member in members or ():
            assert hasattr(module, member), f"{path}.{member}"


def test_every_page_is_in_the_navigation():
    nav = (
        (ROOT / "mkdocs.yml")
        .read_text(encoding="utf-8")
        .partition("nav:")[2]
        .partition("exclude_docs")[0]
    )
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in nav, page
