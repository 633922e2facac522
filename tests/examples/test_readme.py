"""The gallery of the examples is whole."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
ENTRY = re.compile(
    r"## \[(?P<title>.+)\]\((?P<script>\w+\.py)\)\n\n(?P<sentence>.+)\n\n"
    r"!\[.+\]\(\.\./(?P<picture>docs/assets/gallery/\w+\.png)\)\n\n"
    r"`(?P<command>.+)`, (?P<time>\d+ (?:seconds|minutes?))\n"
)


def test_every_example_is_in_the_gallery_with_its_sentence_command_time_and_picture():
    found = {entry["script"]: entry for entry in ENTRY.finditer(README)}
    assert list(found) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))
    for script, entry in found.items():
        code = (ROOT / "examples" / script).read_text(encoding="utf-8")
        title, _, sentence = ast.get_docstring(ast.parse(code)).partition("\n")[0].partition(": ")
        assert entry["title"] == title
        assert entry["sentence"].lower() == sentence.lower()
        assert entry["command"] in code
        assert (ROOT / entry["picture"]).exists(), f"python docs/pictures/gallery.py {script[:-3]}"
