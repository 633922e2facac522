"""The house: which floor may import which, which file may grow how long, and what every public name says of itself."""

import ast
import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import gradkit as gk
from tests.cases import CASES, factories

ROOT = Path(gk.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Lowest floor first; a file imports from its own floor or from below.
FLOORS = [
    ("typing", "_checks", "_numerics", "_tree", "_xla"),
    ("_call", "_schedule", "_link", "_transform"),
    ("_states",),
    ("tree",),
    ("masks", "schedules", "stores"),
    ("averages",),
    ("transforms",),
    ("wrappers",),
    ("optimizers",),
    ("_step", "inspect"),
    ("interop",),
    ("parity",),
]
GROUND = {"jax", "numpy", "typing_extensions"}
OUTSIDE = {
    "optax": {"parity"},
    "torch": {"parity"},
    "rich": {"parity"},
    "flax": {"nn"},
    "matplotlib": set(),
}  # who may import it at all at the top of a file
LAZY = {
    "optax": {"parity", "interop"},
    "torch": {"parity"},
    "rich": {"parity"},
    "matplotlib": {"schedules"},
}  # and who inside a function


def room(path):
    """``averages`` for gradkit/averages/stores.py, ``_tree`` for gradkit/_tree.py, ``__init__`` for the top."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def floor(name):
    """The number of the floor a room is on; nn stands on the ground floor's stairs, the top __init__ above all."""
    if name == "nn":
        return 1
    return next((i for i, rooms in enumerate(FLOORS) if name in rooms), len(FLOORS))


def imports(path):
    """Pairs (dotted module, whether it is imported when the file is)."""
    tree = ast.parse(path.read_text())
    found = []

    def visit(node, eager):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, eager) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                found.extend((f"{child.module}.{alias.name}", eager) for alias in child.names)
            else:
                visit(
                    child,
                    eager
                    and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)),
                )

    visit(tree, True)
    return found


each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


@each_file
def test_imports_go_down_only(path):
    mine = room(path)
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "gradkit" or mine in ("__init__", "__main__"):
            continue
        theirs = parts[1] if len(parts) > 1 else ""
        if theirs == mine:
            continue
        public = theirs not in {name for rooms in FLOORS for name in rooms} | {"nn"}
        if (
            public
        ):  # ``from gradkit import something``: the whole house, which only its top floor may see
            assert mine in ("parity",), f"{path.name} imports {module} from the top"
            continue
        assert floor(theirs) <= floor(mine), f"{path.name} reaches up for {module}"
        assert mine != "nn" or floor(theirs) <= 1, f"nn stands on the ground floor, not on {module}"


@each_file
def test_only_the_rooms_named_import_what_is_not_jax(path):
    for module, eager in imports(path):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top in GROUND or top == "gradkit":
            continue
        allowed = (
            OUTSIDE.get(top, set()) if eager else LAZY.get(top, set()) | OUTSIDE.get(top, set())
        )
        assert room(path) in allowed, f"{path.name} imports {module}"
        if top in ("optax", "torch", "matplotlib"):
            assert not eager, (
                f"{path.name} imports {module} when it is imported, not when it is called"
            )


@each_file
def test_no_file_is_long(path):
    tree, source = ast.parse(path.read_text()), path.read_text().splitlines()
    words = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            words |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    code = [
        line
        for i, line in enumerate(source, 1)
        if i not in words and line.strip() and not line.strip().startswith("#")
    ]
    assert len(code) <= 400, f"{path.name} has {len(code)} lines of code"


@each_file
def test_every_file_says_what_it_holds(path):
    if path.read_text().strip():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_every_factory_has_a_record_and_every_record_a_factory():
    records = [case.name for case in CASES]
    assert len(set(records)) == len(records)
    assert set(factories()) == set(records)


PUBLIC = {
    name: value
    for name, value in vars(gk).items()
    if not name.startswith("_") and not inspect.ismodule(value)
}
each_name = pytest.mark.parametrize("name", PUBLIC)


@each_name
def test_every_public_name_is_documented(name):
    value = PUBLIC[name]
    words = inspect.getdoc(value)
    assert words, f"{name} has no docstring"
    first = words.splitlines()[0]
    assert first.endswith((".", ":")), f"{name}: the first line is a sentence"
    if name in factories():
        assert "**Rule**" in words, f"{name} does not say its rule"
        if issubclass(
            inspect.getclosurevars(value).nonlocals["kind"], gk.Transform
        ) and name not in ("identity", "GradientTransformation", "named_chain"):
            assert "**Remembers**" in words, f"{name} does not say what it remembers"


@pytest.mark.parametrize(
    "name", [name for name, value in PUBLIC.items() if inspect.isfunction(value)]
)
def test_every_example_ends_in_an_assertion(name):
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[name]))
    assert examples, f"{name} has no example"
    last = examples[-1]
    assert "assert " in last.source or last.want, (
        f"{name}: the last line of its example asserts nothing"
    )


def test_the_top_re_exports_and_does_nothing_else():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    assert all(
        isinstance(node, ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in tree.body
    )


def test_importing_gradkit_imports_no_framework():
    code = "import sys, gradkit; print([m for m in ('optax', 'flax', 'torch', 'matplotlib', 'rich') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
