"""A griffe extension for the API pages: sections, typeset rules, only what a package exports."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from griffe import ExprName, Extension, Module, Object

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
import typeset  # noqa: E402  beside this file

RULE = re.compile(
    r"^(?P<head>\*\*(?:Update rule|Value|Rule)\*\*)(?P<text>.*?)(?=\n[ \t]*\n|\Z)", re.M | re.S
)
ROOMS = ("gradkit.optimizers.", "gradkit.schedules.", "gradkit.wrappers.")
MADE = {"transform": "Transform", "schedule": "Schedule", "predicate": "Predicate"}


class Docstrings(Extension):
    """Prepare gradkit's modules for Google style and for the reader."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Name the section as Google style does, and typeset the rule."""
        if not obj.docstring:
            return
        page = DOCS / "methods" / f"{obj.name}.md"
        if obj.is_module and obj.path.startswith(ROOMS) and page.exists():
            obj.docstring = None  # docs/methods.py writes it into the page
            return
        text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
        text = RULE.sub(
            lambda match: f"{match['head']}{typeset.formula(match['text'])}\n{{: .rule }}", text
        )
        obj.docstring.value = typeset.prose(text)

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Drop what no package exports, and let a factory return what its decorator makes."""
        if pkg.path != "gradkit":
            return
        classes = {
            member.name: module
            for module in modules(pkg)
            for member in module.members.values()
            if not member.is_alias and member.is_class and member.name in MADE.values()
        }
        offered = {
            alias.target_path
            for module in modules(pkg)
            for alias in module.members.values()
            if module.is_init_module and alias.is_alias
        }
        for module in modules(pkg):
            for name, member in list(module.members.items()):
                if member.is_alias or not (member.is_function or member.is_class):
                    continue
                for decorator in getattr(member, "decorators", ()):
                    made = MADE.get(str(decorator.value))
                    if made and member.is_function:
                        member.returns = ExprName(made, parent=classes[made])
                # A module hides the alias of a function of its name.
                hidden = member.path not in offered and name != module.name
                if hidden and not module.name.startswith("_"):
                    del module.members[name]


def modules(module: Module) -> Iterator[Module]:
    """A module and all below it."""
    yield module
    for member in list(module.members.values()):
        if not member.is_alias and member.is_module:
            yield from modules(member)
