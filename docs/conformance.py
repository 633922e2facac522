"""Write docs/conformance.md: packages that take an optax transform, run with gradkit in its place.

    pip install -e ".[test,conformance]"
    python docs/conformance.py

The script runs tests/conformance and writes what it found. tests/docs/test_conformance.py compares
the rows of the page with the tests of that room: a job without a row, or a row without a job, is an
error. That test needs none of the packages.
"""

import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "tests" / "conformance"
HEAD = "| package | version | job | gradkit | result | largest difference |"
TEXT = """# Conformance

Written by `python docs/conformance.py`; a test keeps the rows complete.

Each job runs twice on the same data and with the same random keys: once with optax's transform,
once with gradkit's in the same place. *Unchanged* means that the gradkit transform was passed as
it is. `as_optax` means that `gk.as_optax(tx)` was passed, an instance of
`optax.GradientTransformationExtraArgs` for code that checks the class. The largest difference is
relative to the largest element of each compared array. The arithmetic is float32; the 7e-06 that
many jobs share is optax's bias correction, whose 1 − 0.999 has a relative error of 1.3e-05 in the
first step.

Run it:

```bash
pip install -e ".[test,conformance]"
python -m pytest tests/conformance
```

A package that is not installed, or that cannot be imported with the installed JAX, is skipped, and
the table that the run prints gives the reason. The packages are no dependency of gradkit, and the
default test run leaves this room out.
"""


def jobs() -> set[tuple[str, str]]:
    """Package and description of every test in the room, read from its source."""
    found = set()
    for path in sorted(ROOM.glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = next(
            node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and node.targets[0].id == "PACKAGE"
        )
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(
                    (package, (ast.get_docstring(node) or node.name).partition("\n")[0].rstrip("."))
                )
    return found


def run() -> dict:
    """The versions and rows of a run of the room."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "table.json"
        subprocess.run(
            [sys.executable, "-m", "pytest", str(ROOM), f"--conformance-out={out}"],
            cwd=ROOT,
            check=False,
        )
        return json.loads(out.read_text(encoding="utf-8"))


def page(versions: dict[str, str], rows: list[dict]) -> str:
    """The page, as Markdown: one row for each test function, with its cases."""
    jobs: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        jobs.setdefault((row["package"], row["job"]), []).append(row)
    lines = [
        TEXT,
        "gradkit {gradkit}, jax {jax}, optax {optax}:".format(**versions),
        "",
        HEAD,
        "|---|---|---|---|---|---|",
    ]
    for (package, job), same in jobs.items():
        cases = ", ".join(row["case"] for row in same if row["case"])
        how, result = (
            ", ".join(dict.fromkeys(row[key] for row in same)) for key in ("how", "result")
        )
        found = [row["difference"] for row in same if row["difference"] is not None]
        largest = f"{max(found):.0e}" if found else ""
        text = f"{job} ({cases})" if cases else job
        lines.append(
            f"| {package} | {same[0]['version']} | {text} | {how} | {result} | {largest} |"
        )
    return "\n".join([*lines, ""])


def shown() -> dict[tuple[str, str], str]:
    """The results on the page, by package and description (and cases) of the job."""
    text = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text[text.index(HEAD) :].splitlines()[2:]
    ]
    return {(row[0], row[2]): row[4] for row in cells}


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(**run()), encoding="utf-8")
