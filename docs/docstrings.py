"""A griffe extension for the API pages: sections, typeset rules, and only what a package exports."""

import re
from collections.abc import Iterator
from typing import Any

from griffe import Extension, Module, Object

RULE = re.compile(
    r"^(?P<head>\*\*(?:Update rule|Value|Rule)\*\*)(?P<text>.*?)(?=\n[ \t]*\n|\Z)", re.M | re.S
)
FORMULA = re.compile(r"\n\n(?: {4}\S.*(?:\n|\Z))+")
INDEX = re.compile(r"(?<=[^\s`])_(?:\{([^{}]*)\}|([A-Za-z0-9α-ωΑ-Ω∞]+))")
POWER = re.compile(r"\^(?:\{([^{}]*)\}|\(([^()]*)\)|(⌊[^⌊⌋]*⌋|[A-Za-z0-9α-ω]+))")


class Docstrings(Extension):
    """Prepare gradkit's modules for Google style and for the reader."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Name the section as Google style does, and typeset the rule."""
        if not obj.docstring:
            return
        text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
        if obj.is_module and obj.path.startswith("gradkit.optimizers."):
            text = without_formula(text)
        obj.docstring.value = RULE.sub(
            lambda match: f"{match['head']}{typeset(match['text'])}\n{{: .rule }}", text
        )

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Drop functions and classes that no package exports: modules share them."""
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
                # A module hides the alias of a function of its name.
                if own and member.path not in offered and name != module.name:
                    del module.members[name]


def typeset(text: str) -> str:
    """A Unicode formula with its indices and powers raised and lowered; code spans stay."""
    pieces = re.split(r"(``.*?``|`[^`]*`)", text)
    for i in range(0, len(pieces), 2):
        piece = pieces[i].replace("*", r"\*")
        for _ in range(2):  # a power may hold an index
            piece = INDEX.sub(lambda m: f"<sub>{m[1] or m[2]}</sub>", piece)
        pieces[i] = POWER.sub(lambda m: f"<sup>{m[1] or m[2] or m[3]}</sup>", piece)
    return "".join(pieces)


def without_formula(text: str) -> str:
    """An optimizer's module docstring without its title and its formula: the page has both."""
    _, _, rest = text.partition("\n")
    rest = FORMULA.sub("\n\n", "\n" + rest)
    kept = [
        block for block in re.split(r"\n[ \t]*\n", rest)
        if not re.match(r"\s*(Δθ|θ ←|c_t =)", block)
    ]  # fmt: skip
    return "\n\n".join(block.strip("\n") for block in kept).strip()


def modules(module: Module) -> Iterator[Module]:
    """A module and all below it."""
    yield module
    for member in list(module.members.values()):
        if not member.is_alias and member.is_module:
            yield from modules(member)
