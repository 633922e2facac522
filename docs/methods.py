"""Write docs/methods/*.md, the table of docs/api/optimizers.md, and the navigation of both.

    python docs/methods.py

A page for each file of gradkit/optimizers and gradkit/schedules: the formula (docs/formulas.py), the
picture of its path (docs/pictures/paths.py), the docstrings (mkdocstrings, at build time), the state
as jax.eval_shape measures it, and links to the code, the record and the tests.
tests/docs/test_methods.py holds the pages against this script.
"""

import inspect
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

import gradkit as gk

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))
from formulas import FAMILIES, SCHEDULES, Method  # noqa: E402  beside this script

PARAMS = {"w": jax.ShapeDtypeStruct((200, 500), jnp.float32)}
HEAD = "<!-- Written by python docs/methods.py. -->\n\n"
TITLES = {
    "constant": "Constant schedules",
    "decay": "Decay",
    "warmup": "Warmup",
    "cycles": "Cycles and restarts",
    "onecycle": "One cycle",
    "join": "Joining schedules",
    "epochs": "Schedules of the epoch",
}
OPTIONS = "    options: {show_root_heading: false, heading_level: 2, show_source: true}\n"


def factories(module: str) -> list[str]:
    """The public names of a module that its package exports, in the order of the source."""
    package = sys.modules[module.rpartition(".")[0]]
    inside = vars(sys.modules[module])
    offered = {name for name in vars(package) if not name.startswith("_")}
    return [
        name
        for name, value in inside.items()
        if name in offered
        and callable(value)
        and inspect.unwrap(value).__module__ == module
    ]


def summary(name: str, module: str) -> str:
    """The first line of a docstring."""
    value = vars(sys.modules[module])[name]
    return inspect.getdoc(value).partition("\n")[0]


def leaf_name(path: tuple) -> str:
    """A state's path without the leaf of the parameters: ``scale_by_adam.moment.average``."""
    keys = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
    return ".".join(key for key in keys if key not in ("inner", "w"))


def state(method: Method, name: str) -> tuple[str, str]:
    """Bytes per parameter, and the table of a method's state for one matrix in float32."""
    shapes = jax.eval_shape(method.transform(name, 0.1).init, PARAMS)
    rows, total = [], 0
    size = PARAMS["w"].size
    for path, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]:
        bytes_ = leaf.size * jnp.dtype(leaf.dtype).itemsize
        total += bytes_
        shape = " × ".join(map(str, leaf.shape)) or "scalar"
        rows.append(f"| `{leaf_name(path)}` | {shape} | {leaf.dtype} | {amount(bytes_, size)} |")
    table = "\n".join(
        ["| entry | shape | dtype | bytes per parameter |", "|---|---|---|---|", *rows]
    )
    return amount(total, size), table


def amount(bytes_: int, size: int) -> str:
    """Bytes per parameter, in two digits after the point where it is not a whole number."""
    share = bytes_ / size
    return f"{share:.2f}".rstrip("0").rstrip(".") if share >= 0.005 else "0"


def tests(name: str, factory: str = "gk") -> list[Path]:
    """The files that test a name: its record and whatever calls it."""
    called = re.compile(rf'\b{factory}\.{name}\(|"{name}"')
    rooms = ("records", "optimizers", "schedules", "precision", "wrappers")
    found = [
        path
        for room in rooms
        for path in sorted((ROOT / "tests" / room).glob("*.py"))
        if called.search(path.read_text(encoding="utf-8"))
    ]
    rows = sorted((ROOT / "gradkit" / "parity").glob("rows_*.py"))
    return found + [path for path in rows if f'"{name}"' in path.read_text(encoding="utf-8")]


def link(path: Path) -> str:
    """A link from docs/methods to a file of the repository; docs/hooks.py shows the file as a page."""
    inside = path.relative_to(ROOT).as_posix()
    return f"[{inside}](../../{inside})"


def links(path: Path, names: list[str]) -> str:
    """The paragraph of links."""
    found = list(dict.fromkeys(found for name in names for found in tests(name)))
    code = f"Code: {link(path)}."
    return f"{code}\n\nTests: {', '.join(map(link, found))}." if found else code


def method_page(name: str, method: Method) -> str:
    """The page of an optimizer."""
    module = f"gradkit.optimizers.{name}"
    lead = inspect.getdoc(sys.modules[module]).partition("\n")[0].partition(": Δθ")[0]
    count, table = state(method, name)
    rate = "Its step size is set by the method itself: the picture shows the defaults" if (
        method.fixed
    ) else "The learning rate of each panel is the best of a grid"
    call = repr(method.transform(name, 0.1))
    needs = f" It takes {method.extras}." if method.extras else ""
    own = "" if table.count("\n") == 1 else f"\n{table}\n"
    lines = f"""{HEAD}# {name}

{lead.rstrip(".")}.

$$
{method.tex}
$$

<figure class="path">
--8<-- "docs/assets/paths/{name}.svg"
<figcaption>Each dot is a step of <code>{name}</code>. Dashed: plain gradient descent. The ring is
the start, the cross the minimum. {rate}.</figcaption>
</figure>

**{count} bytes of state per parameter**, measured for one float32 matrix of 200 × 500 with
`{call}`.{needs}
{own}
{links(Path(sys.modules[module].__file__), factories(module))}

::: {module}
{OPTIONS}"""
    return lines


def schedule_page(family: str, formulas: dict[str, str]) -> str:
    """The page of a family of schedules."""
    module = f"gradkit.schedules.{family}"
    names = factories(module)
    missing = set(names) ^ set(formulas)
    if missing:
        raise KeyError(f"docs/formulas.py and {module} differ in {sorted(missing)}")
    rows = "\n".join(f"| `{name}` | $\\displaystyle {tex}$ |" for name, tex in formulas.items())
    figure = f"""
<figure class="path">
--8<-- "docs/assets/schedules/{family}.svg"
</figure>
"""
    return f"""{HEAD}# {TITLES[family]}

| schedule | value |
|---|---|
{rows}
{figure}
{links(Path(sys.modules[module].__file__), names)}

::: {module}
{OPTIONS}"""


def index() -> str:
    """The overview of the optimizers, in teaching order."""
    parts = [
        HEAD + "# Optimizers\n\nOne page for each method, in teaching order: its formula, its path on"
        " two landscapes, its state, its arguments. The bytes are those of the state per float32"
        " parameter, measured for a matrix of 200 × 500.\n\nEvery `scale_by_*` is its method without"
        " the learning rate.\n"
    ]
    for family, methods in FAMILIES.items():
        rows = []
        for name, method in methods.items():
            module = f"gradkit.optimizers.{name}"
            count, _ = state(method, name)
            for factory in factories(module):
                # The name of the file is first in the table, and has the numbers.
                first = factory == name
                rows.append((not first, f"| [`{factory}`](../methods/{name}.md) |"
                             f" {summary(factory, module)} | {count if first else ''} |"))
        parts.append(
            f"## {family}\n\n| | | bytes |\n|---|---|---|\n" + "\n".join(row for _, row in rows) + "\n"
        )
    return "\n".join(parts)


def navigation() -> str:
    """The lines of mkdocs.yml between its two marks."""
    lines = ["  - Optimizers:", "      - Overview: api/optimizers.md"]
    for family, methods in FAMILIES.items():
        lines.append(f'      - "{family}":')
        lines += [f"          - {name}: methods/{name}.md" for name in methods]
    lines += ["  - Schedules:", "      - Overview: api/schedules.md"]
    lines += [f"      - {TITLES[name]}: methods/{name}.md" for name in SCHEDULES]
    return "\n".join(lines)


MARKS = re.compile(r"(  # Written by docs/methods\.py:.*?\n).*?(  # End of what docs/methods\.py writes\.)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every file that this script writes, with its text."""
    found = {DOCS / "api" / "optimizers.md": index()}
    for methods in FAMILIES.values():
        for name, method in methods.items():
            found[DOCS / "methods" / f"{name}.md"] = method_page(name, method)
    for family, formulas in SCHEDULES.items():
        found[DOCS / "methods" / f"{family}.md"] = schedule_page(family, formulas)
    config = ROOT / "mkdocs.yml"
    text = config.read_text(encoding="utf-8")
    found[config] = MARKS.sub(lambda match: f"{match[1]}{navigation()}\n{match[2]}", text)
    return found


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
