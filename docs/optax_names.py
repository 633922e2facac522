"""Write docs/optax_names.md: every public name of optax, and what becomes of it in gradkit.

    python docs/optax_names.py

The names are derived from the installed optax; what differs is taken from the docstrings'
**Differs**. A name that gradkit does not have needs an entry of its own in
gradkit/interop/names.py: nothing is guessed from its spelling or its module, so a new name of
optax, or one that gradkit loses, fails tests/docs/test_optax_names.py.
"""

import importlib
import inspect
import re
from pathlib import Path

import gradkit as gk
from gradkit.interop.names import ANSWERS, SUBMODULES

MODULES = ("optax", "optax.contrib", "optax.transforms", "optax.schedules")


def names() -> dict[str, object]:
    """Every public name of optax, once, and its sub-modules by their dotted names."""
    found: dict[str, object] = {}
    for module in map(importlib.import_module, MODULES):
        # What a module's __getattr__ makes, such as the old spellings that warn, is in __all__
        # alone.
        values = {
            name: vars(module).get(name)
            for name in {*vars(module), *getattr(module, "__all__", ())}
            if not name.startswith("_")
        }
        found = {
            f"{module.__name__}.{name}" if inspect.ismodule(value) else name: value
            for name, value in values.items()
        } | found
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def answer(name: str) -> tuple[str, str]:
    """The heading a name stands under, and what is said of it."""
    if name in SUBMODULES:
        return "Sub-modules", SUBMODULES[name]
    if inspect.ismodule(vars(gk).get(name.removeprefix("optax."))):
        return "Sub-modules", f"`{name.removeprefix('optax.')}`, with the same functions"
    ours = vars(gk).get(name)
    if ours is not None and not inspect.ismodule(ours):
        differs = re.search(
            r"\*\*Differs(?: from optax)?\*\*:?\s+(.*?)(?:\n\s*\n|\Z)",
            inspect.getdoc(ours) or "",
            re.DOTALL,
        )
        if differs is None:
            return "The same", ""
        text = " ".join(differs.group(1).split()).replace("``", "`").replace("|", r"\|")
        return "The same name, but better or otherwise", text.removeprefix(
            "from optax: "
        ).removeprefix("from optax ")
    if name in ANSWERS:
        return ANSWERS[name]
    raise KeyError(
        f"{name} of optax is neither in gradkit nor in the tables of gradkit/interop/names.py"
    )


def unanswered() -> list[str]:
    """The names of optax that neither gradkit nor a list here has."""
    found = []
    for name in names():
        try:
            answer(name)
        except KeyError:
            found.append(name)
    return found


def stale() -> list[str]:
    """The names in the lists here that gradkit has, or optax has no longer."""
    return sorted(
        name
        for name in [*ANSWERS, *SUBMODULES]
        if name not in names() or (name in ANSWERS and answer(name) != ANSWERS[name])
    )


def page() -> str:
    """The page, as Markdown."""
    headings: dict[str, dict[str, str]] = {}
    for name in names():
        heading, text = answer(name)
        headings.setdefault(heading, {})[name] = text
    lines = [
        "# Every name of optax",
        "",
        "Written by `python docs/optax_names.py` from the installed optax and gradkit's "
        "docstrings; a test keeps it complete.",
        "",
    ]
    order = (
        "The same",
        "The same name, but better or otherwise",
        "Another way",
        "Not an optimizer",
        "Sub-modules",
    )
    for heading in order:
        found = headings.get(heading, {})
        lines += [f"## {heading}", "", f"{len(found)} names.", ""]
        if heading == "The same":
            lines += [", ".join(f"`{name}`" for name in found) + "."]
        else:
            lines += [
                "| optax | gradkit |",
                "|---|---|",
                *(f"| `{name}` | {text} |" for name, text in found.items()),
            ]
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page())
