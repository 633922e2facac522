"""Write docs/methods/*.md, docs/api/optimizers.md, docs/gallery.md and their part of mkdocs.yml.

    python docs/methods.py

A page for each file of gradkit/optimizers and gradkit/schedules, and for the methods among the
wrappers: the formula (docs/formulas.py),
the picture of its path (docs/pictures/paths.py), the docstrings (mkdocstrings, at build time), the
state as jax.eval_shape measures it, and links to the code, the record and the tests.
tests/docs/test_methods.py holds the pages against this script.
"""

import ast
import inspect
import re
import sys
from html import escape
from pathlib import Path

import jax
import jax.numpy as jnp

import gradkit as gk

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))
import typeset  # noqa: E402  beside this script
from formulas import FAMILIES, SCHEDULES, Method  # noqa: E402

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


def factories(module: str) -> list[str]:
    """The public names of a module that its package exports, in the order of the source."""
    package = sys.modules[module.rpartition(".")[0]]
    inside = vars(sys.modules[module])
    offered = {name for name in (*vars(package), *vars(gk)) if not name.startswith("_")}
    return [
        name
        for name, value in inside.items()
        if name in offered and callable(value) and inspect.unwrap(value).__module__ == module
    ]


def summary(name: str, module: str) -> str:
    """The first line of a docstring."""
    value = vars(sys.modules[module])[name]
    return inspect.getdoc(value).partition("\n")[0]


def leaf_name(path: tuple) -> str:
    """A state's path without the leaf of the parameters: ``scale_by_adam.moment.average``."""
    keys = [
        str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path
    ]
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


def tests(name: str) -> list[Path]:
    """The files that test a name: its record, what calls it in the rooms of methods, its parity."""
    called = re.compile(rf"\bgk\.(?:schedules\.)?{name}\(")
    recorded = re.compile(rf'"{name}"')
    found = []
    for folder, files, pattern in (
        ("tests/records", "*.py", recorded),
        ("tests/optimizers", "test_*.py", called),
        ("tests/wrappers", f"test_{name}.py", called),
        ("tests/schedules", "test_*.py", called),
        ("tests/precision", "test_*.py", called),
        ("gradkit/parity", "**/*.py", recorded),
    ):
        paths = sorted((ROOT / folder).glob(files))
        found += [path for path in paths if pattern.search(path.read_text(encoding="utf-8"))]
    return found


def link(path: Path) -> str:
    """A link from docs/methods to a file of the repository, which docs/hooks.py shows as a page."""
    inside = path.relative_to(ROOT).as_posix()
    return f"[{inside}](../../{inside})"


def links(path: Path, names: list[str]) -> str:
    """The section of links."""
    found = list(dict.fromkeys(found for name in names for found in tests(name)))
    rows = [f"- code: {link(path)}", *(f"- test: {link(path)}" for path in found)]
    return "\n".join(["## Code and tests", "", *rows, ""])


def directive(module: str, names: list[str]) -> str:
    """The docstrings of a module's public factories."""
    return (
        f"::: {module}\n    options: {{show_root_heading: false,"
        f" heading_level: 2, members: [{', '.join(names)}]}}\n"
    )


def method_page(name: str, method: Method) -> str:
    """The page of an optimizer."""
    module = f"gradkit.{method.room}.{name}"
    text = inspect.getdoc(sys.modules[module])
    title = text.partition("\n")[0].partition(": Δθ")[0].rstrip(".")
    names = sorted(factories(module), key=lambda factory: factory != name)
    count, table = state(method, name)
    rate = "The learning rate α of each panel is the best of a grid."
    if method.fixed:
        rate = "The method sets its own step size."
    if method.matrix:
        rate = f"The point is the diagonal of a 2 × 2 matrix. {rate}"
    call = repr(method.transform(name, 0.12345)).replace("0.12345", "α")
    needs = f" It takes {method.extras}." if method.extras else ""
    parts = [
        f"{HEAD}# {name}",
        f"{title}.",
        f"$$\n{method.tex}\n$$",
        typeset.explanation(text),
        f"""<figure class="path">
--8<-- "docs/assets/paths/{name}.svg"
<figcaption>Each dot is a step of <code>{escape(call)}</code>. Dashed: plain gradient descent.
Ring: start. Cross: minimum. {rate}</figcaption>
</figure>""",
        f"**{count} bytes of state per parameter**, measured for one float32 matrix of 200 × 500."
        f"{needs}",
        table,
        directive(module, names),
        links(Path(sys.modules[module].__file__), names),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def schedule_page(family: str, formulas: dict[str, str]) -> str:
    """The page of a family of schedules."""
    module = f"gradkit.schedules.{family}"
    names = factories(module)
    said = typeset.explanation(inspect.getdoc(sys.modules[module]))
    missing = set(names) ^ set(formulas)
    if missing:
        raise KeyError(f"docs/formulas.py and {module} differ in {sorted(missing)}")
    rows = [
        f"| [`{name}`][{module}.{name}] | $\\displaystyle {tex}$ |"
        for name, tex in formulas.items()
    ]
    parts = [
        f"{HEAD}# {TITLES[family]}",
        *(block for block in said.split("\n\n") if not block.startswith("|")),
        "\n".join(["| | value |", "|---|---|", *rows]),
        f'<figure class="path">\n--8<-- "docs/assets/schedules/{family}.svg"\n</figure>',
        directive(module, list(formulas)),
        links(Path(sys.modules[module].__file__), names),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def index() -> str:
    """The overview of the optimizers, in teaching order."""
    parts = [
        HEAD
        + "# Optimizers\n\nOne page for each method, in teaching order: its formula, its path on"
        " two landscapes, its state, its arguments. The bytes are those of the state per float32"
        " parameter, measured for a matrix of 200 × 500.\n\nEvery `scale_by_*` is its method"
        " without the learning rate.\n"
    ]
    for family, methods in FAMILIES.items():
        rows = [f'## {family}\n\n<div class="overview" markdown>\n\n| | | bytes |\n|---|---|---|']
        for name, method in methods.items():
            module = f"gradkit.{method.room}.{name}"
            count, _ = state(method, name)
            first, *others = sorted(factories(module), key=lambda factory: factory != name)
            also = ", ".join(f"[`{other}`][{module}.{other}]" for other in others)
            text = summary(first, module) + (f"<br>Also {also}." if also else "")
            rows.append(f"| [`{first}`](../methods/{name}.md) | {text} | {count} |")
        parts.append("\n".join([*rows, "\n</div>\n"]))
    return "\n".join(parts)


def example(path: Path) -> str:
    """An example's picture, its title and what its first lines say."""
    code = path.read_text(encoding="utf-8")
    if code.startswith("# %%"):  # a notebook in the percent format
        said = "\n".join(line[2:] for line in code.splitlines()[1:] if line.startswith("#"))
        title = said.partition("\n")[0].lstrip("# ")
    else:
        said = inspect.cleandoc(ast.get_docstring(ast.parse(code)))
        title = said.partition("\n")[0].rstrip(".")
    inside = path.relative_to(ROOT).as_posix()
    head, _, rest = title.partition(": ")
    more = f"{rest[:1].upper()}{rest[1:]}.\n\n" if rest else ""
    return (
        f"## {head}\n\n{more}![{title}](assets/gallery/{path.stem}.png)\n\n"
        f"`python {inside}`: [{inside}](../{inside})\n"
    )


def gallery() -> str:
    """Every example's picture, and the paths of all optimizers."""
    parts = [HEAD + "# Gallery\n\nEvery picture comes from a script of the repository.\n"]
    parts += [example(path) for path in sorted((ROOT / "examples").glob("*.py"))]
    parts.append(
        "## The path of every optimizer\n\nOn a ravine and in Rosenbrock's valley; a picture leads"
        ' to the page of its method.\n\n<div class="gallery">'
    )
    for methods in FAMILIES.values():
        parts += [
            f'<a href="../methods/{name}/">{name}<img loading="lazy" alt="The path of {name}"'
            f' src="../assets/paths/{name}.svg"></a>'
            for name in methods
        ]
    return "\n".join([*parts, "</div>", ""])


def navigation() -> str:
    """The lines of mkdocs.yml between its two marks."""
    lines = ["  - Optimizers:", "      - Overview: api/optimizers.md"]
    for family, methods in FAMILIES.items():
        lines.append(f'      - "{family}":')
        lines += [f"          - {name}: methods/{name}.md" for name in methods]
    lines += ["  - Schedules:", "      - Overview: api/schedules.md"]
    lines += [f"      - {TITLES[name]}: methods/{name}.md" for name in SCHEDULES]
    return "\n".join(lines)


MARKS = re.compile(
    r"(  # Written by docs/methods\.py:.*?\n).*?(  # End of what docs/methods\.py writes\.)",
    re.DOTALL,
)


def pages() -> dict[Path, str]:
    """Every file that this script writes, with its text."""
    found = {DOCS / "api" / "optimizers.md": index(), DOCS / "gallery.md": gallery()}
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
