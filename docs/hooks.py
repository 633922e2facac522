"""An mkdocs hook: a link to a Python file of the repository leads to a page that shows the file.

The pages are made at build time under source/, and only for the files that are linked; search
leaves them out.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(
    r"\]\((?P<up>(?:\.\./)+)(?P<path>(?:gradkit|tests|examples|docs|benchmarks)/[\w/.-]+\.py)\)"
)
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


def on_files(files, config):
    """Add a page for each Python file that a page links to."""
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
        return f"]({posixpath.relpath('source/' + match['path'] + '.md', folder or '.')})"

    return LINK.sub(replace, markdown)
