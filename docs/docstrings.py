"""A griffe extension for the API pages: ``Example:`` is a section, and of each module only what a package hands out is shown."""

from collections.abc import Iterator
from typing import Any

from griffe import Extension, Module, Object


class Docstrings(Extension):
    """Prepare gradkit's modules for Google style and for the reader."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Google style knows the section as ``Examples:``; under any other heading its code would be read as Markdown."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Drop the functions and classes that no package re-exports: they are shared between modules, not offered."""
        if pkg.path != "gradkit":
            return
        offered = {
            alias.target_path
            for module in modules(pkg)
            for alias in module.members.values()
            if module.is_init_module and alias.is_alias
        }
        for module in modules(pkg):
            if module.name.startswith("_"):
                continue
            for name, member in list(module.members.items()):
                own = not member.is_alias and (member.is_function or member.is_class)
                if (
                    own and member.path not in offered and name != module.name
                ):  # a module hides the alias of a function of its name
                    del module.members[name]


def modules(module: Module) -> Iterator[Module]:
    """A module and all below it."""
    yield module
    for member in list(module.members.values()):
        if not member.is_alias and member.is_module:
            yield from modules(member)
