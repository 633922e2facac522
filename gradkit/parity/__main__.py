"""``python -m gradkit.parity``: run the table of counterparts and print a verdict for every row."""

import argparse
import importlib.util
import json
import sys
import warnings
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gradkit import _checks as check
from gradkit.parity.report import difference
from gradkit.parity.table import ALL, TABLE, Row, installed

_COLUMNS = ("part", "against", "verdict", "largest difference", "rounding error", "note")


def main(argv: list[str] | None = None) -> int:
    """Run the rows that the arguments name.

    Returns 0 when all pass, 1 when one fails, 2 when nothing could be run.
    """
    options = _parser().parse_args(argv)
    against = options.against or [
        peer for peer in ("optax", "torch") if peer == "optax" or installed(peer)
    ]
    for peer in against:
        if not installed(peer):
            command = "pip install 'gradkit[parity]'" if peer == "optax" else f"pip install {peer}"
            print(
                f"gradkit.parity: {peer} is not installed. "
                f"Install it with {command}, or choose --against the other.",
                file=sys.stderr,
            )
            return 2
    rows = [row for row in TABLE if row.against in against and options.dtype in row.dtypes]
    for name in options.names:
        if not any(_named(row, [name]) for row in rows):
            print(f"gradkit.parity: {_unknown(name, against, options.dtype)}", file=sys.stderr)
            return 2
    rows = [row for row in rows if _named(row, options.names)]
    if not rows:
        print(f"gradkit.parity: no row runs in {options.dtype}.", file=sys.stderr)
        return 2
    if options.json is not None:
        try:
            options.json.open("a").close()  # now, not after the whole run
        except OSError as error:
            print(
                f"gradkit.parity: --json {options.json} cannot be written ({error.strerror}).",
                file=sys.stderr,
            )
            return 2

    results = [_run(row, options.steps, options.dtype) for row in rows]
    failed = [result for result in results if not result["passed"]]
    _print(
        results,
        f"{len(rows) - len(failed)} of {len(rows)} rows pass "
        f"over {options.steps} steps in {options.dtype}",
    )
    for result in failed:
        print(f"\n{result['name']}\n{result['text']}", file=sys.stderr)
    if options.json is not None:
        found = [
            {key: value for key, value in result.items() if key not in ("text", "difference")}
            for result in results
        ]
        options.json.write_text(
            json.dumps({"steps": options.steps, "dtype": options.dtype, "rows": found}, indent=1)
            + "\n",
            encoding="utf-8",
        )
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    text = """Compare gradkit's transforms with their counterparts, step by step. In float64 the
    trajectories agree to 1e-10; in float32 and bfloat16 gradkit's rounding error against the
    float64 trajectory is no larger than the reference's (within a tenth, and two units of float32
    in the last place)."""
    parser = argparse.ArgumentParser("python -m gradkit.parity", description=text)
    parser.add_argument(
        "names", nargs="*", help="parts to run (adamw), or patterns (adam*); all by default"
    )
    parser.add_argument("--steps", type=_steps, default=200, help="how many; 200 by default")
    parser.add_argument("--dtype", choices=ALL, default="float64", help="float64 by default")
    parser.add_argument(
        "--against",
        action="append",
        choices=("optax", "torch"),
        help="by default both: optax, and torch where it is installed",
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the reports to this file too, as JSON"
    )
    return parser


def _steps(text: str) -> int:
    steps = int(text)
    if steps < 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range. Expected a whole number >= 1")
    return steps


def _named(row: Row, names: list[str]) -> bool:
    return not names or any(fnmatch(row.part, name) or fnmatch(row.name, name) for name in names)


def _unknown(name: str, against: list[str], dtype: str) -> str:
    """Why no row has this name: it is elsewhere in the table, or nowhere."""
    needed = f"no row is named {name} against {' or '.join(against)} in {dtype}."
    elsewhere = [row for row in TABLE if _named(row, [name])]
    if elsewhere:
        dtypes = ", ".join(elsewhere[0].dtypes)
        return f"{needed} There is one against {elsewhere[0].against} in {dtypes}."
    near = check.nearest(name, {row.part for row in TABLE})
    # All that is known are some 150 names.
    every = "Without a name all rows run, and print theirs."
    return f"{needed} {near if near.endswith('?') else every}"


def _run(row: Row, steps: int, dtype: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": row.name,
        "part": row.part,
        "case": row.case,
        "against": row.against,
        "note": row.note,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the peers
            report = row.run(steps, dtype)
    except Exception as error:  # a row that cannot run fails; the others go on
        return {
            **found,
            "passed": False,
            "verdict": "error",
            "report": None,
            "difference": "",
            "text": f"{type(error).__name__}: {error}",
        }
    shown = ", ".join(difference(report))
    return {
        **found,
        "passed": report.passed,
        "verdict": report.verdict,
        "report": report.to_json(),
        "difference": shown,
        "text": str(report),
    }


def _cells(result: dict[str, Any]) -> tuple[str, ...]:
    report = result["report"]
    part = result["part"] + (f", {result['case']}" if result["case"] else "")
    if report is None:
        return part, result["against"], result["verdict"], "", "", result["text"].partition("\n")[0]
    errors = (
        ""
        if report["error"] is None
        else f"{float(report['error']):.1e} ({float(report['reference_error']):.1e})"
    )
    return part, result["against"], result["verdict"], result["difference"], errors, result["note"]


def _print(results: list[dict[str, Any]], summary: str) -> None:
    """A row each: a table where rich is installed, aligned text where it is not."""
    rows = [_cells(result) for result in results]
    columns = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows)]
    if importlib.util.find_spec("rich") is None:
        table = [tuple(row[i] for i in columns) for row in [_COLUMNS, *rows]]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        print(
            "\n".join(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(line, widths, strict=True)
                ).rstrip()
                for line in table
            )
        )
        print(summary)
        return
    from rich.console import Console  # noqa: PLC0415  an optional extra
    from rich.table import Table  # noqa: PLC0415

    shown = Table(box=None, header_style="bold")
    for i in columns:
        shown.add_column(
            _COLUMNS[i],
            justify="right" if _COLUMNS[i] in ("largest difference", "rounding error") else "left",
            no_wrap=i < 5,
        )
    for row, result in zip(rows, results, strict=True):
        shown.add_row(*(row[i] for i in columns), style=None if result["passed"] else "red")
    # A pipe has no width of its own: there a row stays on one line.
    console = (
        Console(markup=False, highlight=False)
        if sys.stdout.isatty()
        else Console(markup=False, highlight=False, width=240)
    )
    console.print(shown)
    console.print(summary)


if __name__ == "__main__":
    sys.exit(main())
