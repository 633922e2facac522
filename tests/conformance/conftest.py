"""Packages that take an optax transform, each in a small real job, run with optax and with gradkit.

    pip install -e ".[test,conformance]"
    python -m pytest tests/conformance                          # prints the table
    python -m pytest tests/conformance --conformance-out t.json  # and writes it

The room is outside the default test run: its packages are heavy, and each may break with a new JAX
by itself. A package that is absent or broken is skipped, with its reason in the table.
"""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax
import pytest

import gradkit as gk
from tests.conformance.side_by_side import as_optax, difference

UNCHANGED, CONVERTED = "unchanged", "`as_optax`"


def pytest_addoption(parser):
    parser.addoption(
        "--conformance-out",
        type=Path,
        default=None,
        help="write the conformance table to this file, as JSON",
    )


@pytest.fixture(autouse=True)
def the_packages_own_promotion():
    """Let the packages promote dtypes and ranks; the strict rules are for gradkit's own code."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(autouse=True)
def a_row_of_its_own(request):
    """Name the job before it runs: one that raises is a row too."""
    request.node.user_properties.append(
        ("conformance", {**describe(request.node), "how": "", "difference": None})
    )


@pytest.fixture
def same(request) -> Callable[..., tuple[Any, Any]]:
    """Run a job with optax's transform and with gradkit's, and compare the results."""

    def run(
        job: Callable[[Any], Any],
        make: Callable[[Any], Any],
        *,
        convert: bool = False,
        rtol: float = 2e-5,
    ) -> tuple[Any, Any]:
        """Compare ``job(make(optax))`` with ``job(make(gradkit))``, through `as_optax` if asked."""
        theirs = job(make(optax))
        tx = make(gk)
        ours = job(as_optax(tx) if convert else tx)
        found = difference(ours, theirs)
        record(request.node, found, CONVERTED if convert else UNCHANGED)
        assert found <= rtol, f"the results differ by {found:.1e}, more than {rtol:.0e}"
        return ours, theirs

    return run


def record(item, found: float, how: str) -> None:
    """Keep a comparison with the test's report, which also pytest-xdist hands on."""
    row = dict(item.user_properties)["conformance"]
    row.update(how=how, difference=max(found, row["difference"] or 0.0))


def describe(item) -> dict[str, Any]:
    package = item.module.PACKAGE
    job = (item.function.__doc__ or item.name).strip().partition("\n")[0].rstrip(".")
    case = item.callspec.id if hasattr(item, "callspec") else ""
    return {"package": package, "version": version(package), "job": job, "case": case}


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def rows(terminalreporter) -> list[dict[str, Any]]:
    """A row for each test, and one for each file that was skipped as a whole."""
    found = []
    for outcome, result in (("passed", "the same"), ("failed", "FAILS"), ("error", "FAILS")):
        for report in terminalreporter.stats.get(outcome, []):
            row = dict(getattr(report, "user_properties", ())).get("conformance")
            if row is not None:
                found.append({**row, "result": result})
    for report in terminalreporter.stats.get("skipped", []):
        if "tests/conformance/" in report.nodeid:
            reason = (
                report.longrepr[2].removeprefix("Skipped: ")
                if isinstance(report.longrepr, tuple)
                else str(report.longrepr)
            )
            package = Path(report.nodeid.partition("::")[0]).stem.removeprefix("test_")
            found.append(
                {
                    "package": package,
                    "version": "",
                    "job": "",
                    "case": "",
                    "how": "",
                    "difference": None,
                    "result": f"skipped: {reason}",
                }
            )
    return sorted(found, key=lambda row: (row["package"], row["job"], row["case"]))


def pytest_terminal_summary(terminalreporter, config):
    found = rows(terminalreporter)
    if not found:
        return
    title = f"gradkit {gk.__version__} in the place of optax {optax.__version__}"
    terminalreporter.section(f"conformance: {title}, jax {jax.__version__}")
    cells = [("package", "version", "job", "how", "result", "largest difference")]
    for row in found:
        job = f"{row['job']}: {row['case']}" if row["case"] else row["job"]
        cells.append(
            (
                row["package"],
                row["version"],
                job,
                row["how"],
                row["result"],
                "" if row["difference"] is None else f"{row['difference']:.0e}",
            )
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]) - 2)]
    for line in cells:
        terminalreporter.write_line(
            "  ".join(
                [*(cell.ljust(width) for cell, width in zip(line, widths)), *line[-2:]]
            ).rstrip()
        )
    if config.getoption("--conformance-out") is not None:
        versions = {"gradkit": gk.__version__, "jax": jax.__version__, "optax": optax.__version__}
        config.getoption("--conformance-out").write_text(
            json.dumps({"versions": versions, "rows": found}, indent=1)
        )
