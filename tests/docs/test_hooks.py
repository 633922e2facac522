"""A link to a Python file of the repository leads to a page that shows it."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("methods/a.md", "[a](../../gradkit/a.py)", "[a](../source/gradkit/a.py.md)"),
        ("gallery.md", "[a](../examples/a.py)", "[a](source/examples/a.py.md)"),
        ("gallery.md", "[a](../README.md), [b](a.py)", "[a](../README.md), [b](a.py)"),
    ],
)
def test_links_to_code_are_pointed_at_its_page(hooks, page, text, expected):
    page = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert hooks.on_page_markdown(text, page, None, None) == expected


def test_a_linked_file_becomes_a_page_once(hooks):
    from mkdocs.structure.files import File, Files

    plugins = SimpleNamespace(_current_plugin="test")  # as within a build
    config = SimpleNamespace(site_dir="/nowhere", use_directory_urls=True, plugins=plugins)
    link = "[a](../gradkit/_version.py)"
    pages = [File.generated(config, f"{name}.md", content=link) for name in ("a", "b")]
    files = hooks.on_files(Files(pages), config)
    name = "source/gradkit/_version.py.md"  # the course links to more
    (made,) = [file for file in files if file.src_uri == name]
    assert "__version__" in made.content_string
    assert "exclude: true" in made.content_string
