"""Predicted and measured step times: ``python -m benchmarks.plan``.

The trees and optimizers of ``benchmarks.step``. Each is planned several times with
``gk.plan(..., measure=True)``, which measures the rates of the machine and the step in turns, so
that what slows the machine slows both. A row shows the medians over these rounds, and the ratio
predicted / measured: its median, lowest and highest. The compiled step is kept on disk between
rounds.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import gradkit as gk
from benchmarks.step import CORE, OPTIMIZERS, SIZES, machine


def measure(size: str, optimizer: str, rounds: int, quick: bool) -> dict[str, Any]:
    """The row of one tree and optimizer."""
    shapes = SIZES[size](quick)
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    tx = OPTIMIZERS[optimizer].gradkit()
    plans = [gk.plan(tx, params, measure=True) for _ in range(rounds)]
    first = plans[0]
    times = [plan.measured_seconds or float("nan") for plan in plans]
    predicted = [plan.predicted_seconds for plan in plans]
    ratios = [a / b for a, b in zip(predicted, times, strict=True)]
    return {
        "size": size,
        "optimizer": optimizer,
        "leaves": len(shapes),
        "parameters": first.count,
        "rounds": rounds,
        "predicted": statistics.median(predicted),
        "measured": statistics.median(times),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "bytes_per_parameter": first.traffic_bytes / first.count,
        "copy_gb_per_s": statistics.median(plan.rates["copy"] for plan in plans) / 1e9,
        "matmul_gflop_per_s": statistics.median(plan.rates["matmul"] for plan in plans) / 1e9,
        "launch_us": statistics.median(plan.rates["launch"] for plan in plans) * 1e6,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    result = Table(title="Predicted and measured time of a step")
    for name in ("size", "optimizer"):
        result.add_column(name, no_wrap=True)
    numbers = ("predicted ms", "measured ms", "ratio", "lowest", "highest", "traffic B/parameter")
    for name in (*numbers, "copy GB/s", "matmul Gflop/s", "µs/launch"):
        result.add_column(name, justify="right")
    for row in rows:
        result.add_row(
            row["size"],
            row["optimizer"],
            f"{1e3 * row['predicted']:.1f}",
            f"{1e3 * row['measured']:.1f}",
            *(f"{row[name]:.2f}" for name in ("ratio", "lowest", "highest")),
            f"{row['bytes_per_parameter']:.1f}",
            f"{row['copy_gb_per_s']:.1f}",
            f"{row['matmul_gflop_per_s']:.0f}",
            f"{row['launch_us']:.1f}",
        )
    return result


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plan",
        description="Predicted and measured step times.",
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(CORE))
    parser.add_argument("--rounds", type=int, default=7, help="plans of each (default 7)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="small trees: to see that it runs")
    options = parser.parse_args(arguments)
    console, rows = Console(width=160), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        for size in options.sizes:
            for optimizer in options.optimizers:
                rows.append(measure(size, optimizer, options.rounds, options.quick))
                console.print(f"{size}, {optimizer}: {rows[-1]['ratio']:.2f}", highlight=False)
                if options.json:  # after every row, so that a run cut short is not lost
                    options.json.parent.mkdir(parents=True, exist_ok=True)
                    about = {"machine": machine(), "quick": options.quick, "rows": rows}
                    options.json.write_text(json.dumps(about, indent=1) + "\n")
    console.print(table(rows))
    return rows


if __name__ == "__main__":
    main()
