"""Which room may import which, how long a file may grow, and what every public name documents.

A test collects all offenders and names them by file.
"""

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gradkit as gk
from tests.cases import CASES, factories

ROOT = Path(gk.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Lowest floor first; a file imports from its own floor or from below. What is imported for type
# checkers only does not count: typing names the types of masks and stores.
FLOORS = [
    (
        "typing",
        "_version",
        "_shards",
        "_xla",
        "_flax",
        "_checks",
        "_explain",
        "_numerics",
        "_tree",
        "_flat",
        "_plot",
    ),
    ("_stored",),
    ("_arguments", "_code", "_differentiable", "_paths", "_call", "_schedule", "_rate"),
    ("_rule", "_restore", "_kept", "_member", "_part"),
    ("_splice", "_entry", "_transform", "_chain", "_updates", "_walk", "_layout", "_stack"),
    ("curvature", "data", "initializers", "linalg", "losses", "masks", "metrics", "projections"),
    ("schedules", "stores"),
    ("averages",),
    ("transforms",),
    ("wrappers",),
    ("optimizers", "privacy"),
    (
        "_gradient_check",
        "_sharding",
        "_step",
        "_minimize",
        "_result",
        "_solve",
        "inspect",
        "tree",
        "interop",
    ),
    ("_early_stopping", "_fit", "_unroll"),
    ("search",),
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
    "rich": {"parity", "search"},
    "matplotlib": {"_plot", "search"},
    "optuna": {"search"},
    "scipy": {"search"},
    "tqdm": {"_minimize"},
}  # and who inside a function


def room(path):
    """``averages`` for gradkit/averages/ema.py, ``_tree`` for gradkit/_tree.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def floor(name):
    """The number of the floor a room is on; nn is next to the ground floor, __init__ above all."""
    if name == "nn":
        return 1
    return next((i for i, rooms in enumerate(FLOORS) if name in rooms), len(FLOORS))


def imports(path):
    """Pairs (dotted module, whether it is imported when the file is); without those for types."""
    found = []

    def visit(node, eager):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                for other in child.orelse:
                    visit(other, eager)
            elif isinstance(child, ast.Import):
                found.extend((alias.name, eager) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                dots = "." * child.level
                found.extend((f"{dots}{child.module}.{alias.name}", eager) for alias in child.names)
            else:
                lazy = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                visit(child, eager and not lazy)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def short(path):
    return str(path.relative_to(ROOT.parent))


def test_imports_are_absolute_and_go_down_only():
    rooms = {name for names in FLOORS for name in names} | {"nn"}
    wrong = []
    for path in FILES:
        mine = room(path)
        for module, _ in imports(path):
            parts = module.split(".")
            if module.startswith("."):
                wrong.append(f"{short(path)} imports {module}: imports are absolute")
            if parts[0] != "gradkit" or mine in ("__init__", "__main__"):
                continue
            theirs = parts[1] if len(parts) > 1 else ""
            if theirs == mine:
                continue
            if theirs not in rooms:  # the whole package, which only its top floor may see
                if mine != "parity":
                    wrong.append(f"{short(path)} imports {module} from the top")
            elif floor(theirs) > floor(mine):
                wrong.append(f"{short(path)} imports {module}, which is above it")
            elif mine == "nn" and floor(theirs) > 1:
                wrong.append(f"{short(path)} imports {module}: nn is on the ground floor")
    assert not wrong, "\n".join(wrong)


def test_only_the_rooms_named_import_what_is_not_jax():
    wrong = []
    for path in FILES:
        for module, eager in imports(path):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in GROUND or top == "gradkit":
                continue
            allowed = OUTSIDE.get(top, set())
            if not eager:
                allowed = allowed | LAZY.get(top, set())
            if room(path) not in allowed:
                wrong.append(f"{short(path)} imports {module}")
            elif eager and top in ("optax", "torch", "matplotlib"):
                wrong.append(f"{short(path)} imports {module} before anything is called")
    assert not wrong, "\n".join(wrong)


def code_lines(path):
    """How many lines are neither blank, nor comment, nor docstring."""
    source = path.read_text(encoding="utf-8")
    words = set()
    for node in ast.walk(ast.parse(source)):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            words |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and i not in words
        for i, line in enumerate(source.splitlines(), 1)
    )


MOST = 260


def test_no_file_is_long():
    files = [path for path in FILES if path != ROOT / "__init__.py"]  # a list of names
    long = {short(path): n for path in files if (n := code_lines(path)) > MOST}
    assert not long, f"more lines of code than {MOST}: {long}"


def test_every_file_says_what_it_holds():
    silent = [
        short(path)
        for path in FILES
        if (text := path.read_text(encoding="utf-8")).strip()
        and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent


def test_every_factory_has_a_record_and_every_record_a_factory():
    records = [case.name for case in CASES]
    assert len(set(records)) == len(records)
    assert set(factories()) == set(records)


PUBLIC = {
    name: value
    for name, value in vars(gk).items()
    if not name.startswith("_") and not inspect.ismodule(value)
}
# What computes nothing of its own has no state to speak of.
NO_STATE = ("identity", "GradientTransformation", "freeze")


def test_every_public_name_is_documented():
    wrong = []
    for name, value in PUBLIC.items():
        words = inspect.getdoc(value) or ""
        if not words.partition("\n")[0].endswith((".", ":")):
            wrong.append(f"{name}: the first line is a sentence")
        if name in factories() and not re.search(r"\*\*(Update rule|Value|Condition)\*\*", words):
            wrong.append(f"{name} does not say its update rule")
        keeps = name in factories(gk.Transform) and name not in NO_STATE
        if keeps and not re.search(r"\*\*State\*\*", words):
            wrong.append(f"{name} does not say what its state is")
    assert not wrong, "\n".join(wrong)


def test_every_example_ends_in_an_assertion():
    wrong = []
    for name, value in PUBLIC.items():
        if inspect.isfunction(value):
            examples = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
            if not examples:
                wrong.append(f"{name} has no example")
            elif "assert " not in examples[-1].source and not examples[-1].want:
                wrong.append(f"{name}: the last line of its example asserts nothing")
    assert not wrong, "\n".join(wrong)


def test_the_top_re_exports_and_does_nothing_else():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    assert all(
        isinstance(node, ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in tree.body
    )


def test_importing_gradkit_imports_no_framework_and_starts_no_device():
    code = (
        "import sys, gradkit; names = ('optax', 'flax', 'torch', 'matplotlib', 'rich'); "
        "from jax._src import xla_bridge; started = xla_bridge.backends_are_initialized(); "
        "print([name for name in names if name in sys.modules] + ['device'] * started)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.xdist_group("grouped")
def test_workers_keep_the_tests_of_a_group_together(request):
    """Without groups each worker compiles the programs of all records."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@grouped")
