"""A step of Shampoo, SOAP, PSGD and GaLore beside AdamW's and Muon's.

    python -m benchmarks.kronecker

All take the same gradients of the transformer tree of ``benchmarks.step`` in one process and take
turns. A turn has a whole period of ten steps, of which one computes the roots, eigenvectors or
singular vectors.

On CPU the decompositions are those of SciPy's OpenBLAS, whose threads compete with XLA's: on a
busy machine an eigenvalue problem may take a hundred times as long. Set ``OPENBLAS_NUM_THREADS=1``.

| column | is |
|---|---|
| compile | seconds to trace, lower and compile |
| step | mean time of a step over whole periods, the median over turns |
| of AdamW | that time over AdamW's in the same turn, the median over turns |
| state | bytes of state per parameter |
| peak | bytes per parameter of what the step holds at most: arguments, results, temporaries |
"""

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import gradkit as gk
from benchmarks.step import alternate, machine, median_ratio, prepare, transformer

PERIOD = 10


def optimizers(side: int) -> dict[str, gk.Transform]:
    """Longer axes than ``side`` are split into blocks, or keep the identity."""
    return {
        "adamw": gk.adamw(1e-3),
        "muon": gk.muon(1e-3),
        "shampoo": gk.shampoo(1e-3, block_size=side, precondition_frequency=PERIOD),
        "shampoo, newton": gk.shampoo(
            1e-3, block_size=side, precondition_frequency=PERIOD, root_method="newton"
        ),
        "soap": gk.soap(1e-3, precondition_frequency=PERIOD, max_precond_dim=side),
        "soap, one_sided": gk.soap(
            1e-3, precondition_frequency=PERIOD, max_precond_dim=side, one_sided=True
        ),
        "psgd_kron": gk.psgd_kron(
            1e-3, preconditioner_update_probability=1 / PERIOD, max_size_triangular=side
        ),
        "galore": gk.galore(1e-3, rank=side // 8, update_proj_gap=PERIOD),
    }


def contender(tx: gk.Transform, params: Any, grads: Any) -> dict[str, Any]:
    """A compiled step and what is known before it runs."""
    carried = [jax.tree.map(jnp.array, params), tx.init(params)]
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(carried[1]))
    compiled, preparation = prepare(tx.apply, (*carried, grads), 1)
    memory = compiled.memory_analysis()
    peak = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )

    def run(steps: int) -> None:
        for _ in range(steps):
            carried[:] = compiled(*carried, grads)
        jax.block_until_ready(carried)

    return {"run": run, "compile": sum(preparation.values()), "state": state, "peak": peak}


def measure(names: list[str], repeats: int, quick: bool, side: int) -> list[dict[str, Any]]:
    """One row for each optimizer."""
    rng, shapes = np.random.default_rng(0), transformer(quick)

    def draw(spread: float) -> dict[str, Any]:
        return {
            name: jnp.asarray(spread * rng.standard_normal(shape, np.float32))
            for name, shape in shapes.items()
        }

    params, grads = draw(0.02), draw(0.01)
    count = sum(leaf.size for leaf in params.values())
    rivals = {name: contender(optimizers(side)[name], params, grads) for name in names}
    runs: list[Callable[[int], None]] = [rival["run"] for rival in rivals.values()]
    times = alternate(runs, repeats, 0.01, PERIOD)
    return [
        {
            "optimizer": name,
            "parameters": count,
            "compile": rival["compile"],
            "step": statistics.median(values),
            "of_adamw": median_ratio(values, times[0]),
            "state": rival["state"] / count,
            "peak": rival["peak"] / count,
        }
        for (name, rival), values in zip(rivals.items(), times, strict=True)
    ]


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kronecker", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", type=int, default=None, help="of a block or a factor at most")
    parser.add_argument("--optimizers", nargs="*", default=list(optimizers(8)))
    parser.add_argument("--output", help="a file for the rows as JSON")
    options = parser.parse_args(arguments)
    names = ["adamw", *(name for name in options.optimizers if name != "adamw")]
    side = options.side or (32 if options.quick else 256)
    rows = measure(names, 1 if options.quick else options.repeats, options.quick, side)
    about = machine()
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump({"machine": about, "side": side, "rows": rows}, file, indent=1)
    table = Table(title=f"{about['device']}, {rows[0]['parameters']:,} parameters, side {side}")
    for column in ("optimizer", "compile s", "step ms", "of AdamW", "state B", "peak B"):
        table.add_column(column, justify="left" if column == "optimizer" else "right")
    for row in rows:
        table.add_row(
            row["optimizer"],
            f"{row['compile']:.1f}",
            f"{1e3 * row['step']:.1f}",
            f"{row['of_adamw']:.1f}",
            f"{row['state']:.1f}",
            f"{row['peak']:.1f}",
        )
    Console().print(table)
    return rows


if __name__ == "__main__":
    main()
