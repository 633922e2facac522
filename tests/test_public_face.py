"""What a reader sees: types that say something, return types that are true, plain words.

Every test lists its offenders by file.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import gradkit as gk
from tests.cases import CASES, factories

ROOT = Path(gk.__file__).parent
ROOMS = (
    "averages",
    "curvature",
    "data",
    "initializers",
    "inspect",
    "linalg",
    "losses",
    "masks",
    "metrics",
    "privacy",
    "projections",
    "schedules",
    "search",
    "stores",
)
MOST_ANY = 0.15


def public() -> dict[str, Any]:
    """Every public function and class, of the top and of the public rooms."""
    found = {}
    for space in (gk, *(getattr(gk, room) for room in ROOMS if hasattr(gk, room))):
        for name, value in vars(space).items():
            made_here = (getattr(value, "__module__", None) or "").startswith("gradkit")
            if (
                made_here
                and not name.startswith("_")
                and (inspect.isfunction(value) or inspect.isclass(value))
            ):
                found.setdefault(name, value)
    return found


def parameters(value: Any) -> list[inspect.Parameter]:
    """The parameters that a caller gives, without ``self``."""
    try:
        found = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in found if p.name != "self"]


def is_any(annotation: Any) -> bool:
    return annotation in (inspect.Parameter.empty, Any, "Any", "typing.Any")


def where(value: Any) -> str:
    return value.__module__.replace(".", "/")


def test_few_public_parameters_are_any():
    total, loose = 0, {}
    for name, value in public().items():
        for parameter in parameters(value):
            total += 1
            if is_any(parameter.annotation):
                loose.setdefault(where(value), []).append(f"{name}({parameter.name})")
    count = sum(map(len, loose.values()))
    lines = [f"{file}: {', '.join(found)}" for file, found in sorted(loose.items())]
    said = f"{count} of {total} public parameters ({count / total:.0%}) are Any"
    print(said)
    assert count <= MOST_ANY * total, "\n".join([said, *lines])


def test_every_public_signature_says_what_it_returns():
    silent = [
        f"{where(value)}: {name}"
        for name, value in public().items()
        if inspect.isfunction(value)
        and inspect.signature(value).return_annotation is inspect.Signature.empty
    ]
    assert not silent, "\n".join(silent)


def test_a_factory_returns_what_its_signature_says():
    wrong = []
    for case in CASES:
        said, made = inspect.signature(factories()[case.name]).return_annotation, case.make()
        if not inspect.isclass(said) or not isinstance(made, said) or said is object:
            wrong.append(f"{where(factories()[case.name])}: {case.name} says {said}: {type(made)}")
    assert not wrong, "\n".join(wrong)


# Words that a reader has to translate, and what to write.
BANNED = {
    # The verb; the means of rows and columns are averages.
    r"(?:``|\b(?:it|this|that|which|None|True|False|mask|pattern|predicate)) means\b": "selects",
    r"\basks? for\b": "takes, requires",
    r"\bremembers?\b|\bremembered\b": "keeps in its state",
    r"\bfor ?ever\b": "say how long",
    r"\bthe lectures?\b": "cite the paper or the textbook",
    r"\bwhat (?:came|comes|was given)\b": "the value, the updates",
    # What a machine has is memory, what a transform keeps is state.
    r"(?<!GPU )(?<!device )(?<!host )(?<!in )(?<!to )(?<!over )(?<!less )(?<!half the )(?<!of )"
    r"\bmemory\b(?! bandwidth|-efficient)": "state",
    r"\bdoors?\b": "function, entry",
    r"\broads?\b": "way, branch",
    r"\bmends?\b": "fixes",
}


def texts(path: Path) -> list[tuple[int, str]]:
    """What a user reads of a file: docstrings of public things, and messages; with their lines."""
    found = []

    def docstring(node: Any) -> None:
        if ast.get_docstring(node) is not None:
            found.append((node.body[0].lineno, ast.get_docstring(node)))

    def visit(node: Any, seen: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                named = not child.name.startswith("_")
                if seen and named:
                    docstring(child)
                visit(child, seen and named)
                continue
            spoken = child.exc if isinstance(child, ast.Raise) else child
            name = ast.unparse(spoken.func) if isinstance(spoken, ast.Call) else ""
            if isinstance(child, ast.Raise) or name.startswith("check."):
                found.extend(
                    (part.lineno, part.value)
                    for part in ast.walk(child)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
            else:
                visit(child, seen)

    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring(tree)
    visit(tree, True)
    return found


def offenders(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT.parent)}:{line}: {match[0]!r} ({instead}): "
        + " ".join(text[max(match.start() - 30, 0) : match.end() + 30].split())
        for line, text in texts(path)
        for pattern, instead in BANNED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


def test_public_text_is_in_plain_words():
    found = [line for path in sorted(ROOT.rglob("*.py")) for line in offenders(path)]
    assert not found, f"{len(found)} words to change\n" + "\n".join(found)


def test_a_banned_word_is_found_in_docstrings_and_messages(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_public_face.ROOT", tmp_path)
    path = tmp_path / "part.py"
    path.write_text(
        '"""Asks for a step: None means all."""\n\ndef f():\n'
        '    """By means of the step, with row means in memory; the memory of f."""\n'
        '    check.refuse("what came is wrong")\n    raise ValueError(f"{f} remembers")\n'
        '\ndef _g():\n    """A door."""\n'
    )
    assert [re.search(r":(\d+): '(\w+)", line).groups() for line in offenders(path)] == [
        ("1", "None"),
        ("1", "Asks"),
        ("4", "memory"),
        ("5", "what"),
        ("6", "remembers"),
    ]
