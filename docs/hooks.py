"""An mkdocs hook: pages from Python files.

A link to a Python file of the repository leads to a page that shows the file; with ``#name``, to
the line that defines the name. These pages are made at build time under source/, and only for the
files that are linked; search leaves them out.

The scripts docs/course/NN_*.py become pages: their Markdown cells as text, their code cells as
code, folded where the cell has a title. Their SVGs are put into the page, so that they take the
page's colours.
"""

import ast
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "docs" / "course"
LINK = re.compile(
    r"\]\((?P<up>(?:\.\./)+)(?P<path>(?:gradkit|tests|examples|docs|benchmarks)/[\w/.-]+\.py)"
    r"(?:#(?P<name>[\w.]+))?\)"
)
CELL = re.compile(r"^# %%(?P<title>.*)$", re.MULTILINE)
IMAGE = re.compile(
    r'<img alt="(?P<alt>[^"]*)" src="[^"]*assets/course/(?P<name>\w+)\.(?P<kind>svg|png)"[^>]*>'
)
PAGE_WIDTH = 7.6  # inches of a picture that fills the page
PAGE = """---
search:
  exclude: true
hide: [toc, navigation]
---

# {path}

```python linenums="1"
{code}
```
"""


def course_page(script: Path) -> str:
    """The Markdown of a script in percent format."""
    _, *parts = CELL.split(script.read_text(encoding="utf-8"))
    found = []
    for title, cell in zip(map(str.strip, parts[::2]), (part.strip("\n") for part in parts[1::2])):
        if title == "[markdown]":
            found.append(re.sub(r"^# ?", "", cell, flags=re.MULTILINE))
        elif title:
            code = "\n".join(f"    {line}".rstrip() for line in cell.splitlines())
            found.append(f'??? code "{title}"\n\n    ```python\n{code}\n    ```')
        else:
            found.append(f"```python\n{cell}\n```")
    path = script.relative_to(ROOT).as_posix()
    end = f"This page is the script [{path}](../../{path}), which draws its pictures."
    return "\n\n".join([*found, "---", end]) + "\n"


def line_of(path: str, name: str) -> int:
    """The line of a file that defines a function, class or variable."""
    body, line = ast.parse((ROOT / path).read_text(encoding="utf-8")).body, 0
    for part in name.split("."):
        for node in body:
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            names = {getattr(node, "name", None), *(getattr(t, "id", None) for t in targets)}
            if part in names:
                body, line = getattr(node, "body", []), node.lineno
                break
        else:
            raise ValueError(f"{path} does not define {name}")
    return line


def on_files(files, config):
    """Add a page for each script of the course and for each Python file that a page links to."""
    for script in sorted(COURSE.glob("[0-9]*.py")):
        name = f"course/{script.stem}.md"
        files.append(File.generated(config, name, content=course_page(script)))
    wanted = set()
    for file in list(files):
        if file.is_documentation_page():
            wanted |= {match["path"] for match in LINK.finditer(file.content_string)}
    for path in sorted(wanted):
        code = (ROOT / path).read_text(encoding="utf-8")
        text = PAGE.format(path=path, code=code.rstrip().replace("```", "`\u200b``"))
        files.append(File.generated(config, f"source/{path}.md", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point the links at those pages."""
    folder = posixpath.dirname(page.file.src_uri)

    def replace(match):
        name, path = match["name"], match["path"]
        anchor = f"#__codelineno-0-{line_of(path, name)}" if name else ""
        return f"]({posixpath.relpath('source/' + path + '.md', folder or '.')}{anchor})"

    return LINK.sub(replace, markdown)


def on_post_page(output, page, config):
    """Put the pictures of the course into its pages, with their text below them."""

    def replace(match):
        alt, name, kind = match.group("alt", "name", "kind")
        shown = match[0]
        if kind == "svg":
            shown = (ROOT / "docs" / "assets" / "course" / f"{name}.svg").read_text("utf-8")
            width = float(re.search(r'width="([\d.]+)pt"', shown)[1]) / 72 / PAGE_WIDTH
            label = f'aria-label="{alt}"' if alt else 'aria-hidden="true"'
            attributes = f'role="img" {label} style="max-width: {min(width, 1):.0%}"'
            shown = shown.replace("<svg ", f"<svg {attributes} ", 1)
        if not alt:  # within a link of the overview
            return shown
        return f'<figure class="course">{shown}<figcaption>{alt}</figcaption></figure>'

    return IMAGE.sub(replace, output) if page.file.src_uri.startswith("course/") else output
