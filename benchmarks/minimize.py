"""Minimize to a tolerance, gradkit against SciPy and optax: ``python -m benchmarks.minimize``.

The problem is a logistic regression of scikit-learn's digits: 1797 images of 64 pixels, 10 classes,
650 parameters, an L2 penalty. Every contender starts at zero and ends where no element of the
gradient is larger than the tolerance; they take turns in one process, so that what slows the
machine slows them all. gradkit and optax run as one compiled loop, SciPy calls a compiled function.

| column | is |
|---|---|
| steps, evaluations | of the method, and of the loss with its gradient |
| loss, gradient | at the end, the gradient's largest element |
| compile | seconds until the first solve can begin |
| time | median seconds of a solve, over turns |
| of scipy | that time over SciPy's, the median over turns: below 1 is faster |
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import gradkit as gk

MOST = 2000


class Solution(NamedTuple):
    """Where a contender ended, and what it took."""

    steps: int
    evaluations: int
    loss: float
    gradient: float


def logistic_regression(penalty: float = 1e-4) -> tuple[Callable[[Any], Any], Any]:
    """The mean loss of the digits with a penalty, and the start."""
    images, digits = load_digits(return_X_y=True)
    x, labels = jnp.asarray(images / 16, float), jnp.asarray(np.eye(10)[digits], float)

    def loss(params: Any) -> Any:
        logits = x @ params["weights"] + params["bias"]
        likelihood = jnp.sum(labels * jax.nn.log_softmax(logits), axis=1)
        return penalty / 2 * jnp.sum(params["weights"] ** 2) - jnp.mean(likelihood)

    return loss, {"weights": jnp.zeros((64, 10)), "bias": jnp.zeros(10)}


def largest(tree: Any) -> Any:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))


def in_one_loop(library: Any, loss: Any, start: Any, tolerance: float) -> Callable[[], Solution]:
    """L-BFGS of gradkit or of optax as one compiled loop: the two have the same calls."""
    tx, value_and_grad = library.lbfgs(), library.value_and_grad_from_state(loss)

    def unfinished(carry: Any) -> Any:
        _, _, grad, steps, _ = carry
        return (largest(grad) > tolerance) & (steps < MOST)

    def step(carry: Any) -> Any:
        params, state, _, steps, evaluations = carry
        value, grad = value_and_grad(params, state=state)
        extras = {"value": value, "grad": grad, "value_fn": loss}
        updates, state = tx.update(grad, state, params, **extras)
        params = library.apply_updates(params, updates)
        trials = library.tree.get(state, "num_linesearch_steps").astype(jnp.int32)
        return params, state, library.tree.get(state, "grad"), steps + 1, evaluations + trials

    def solve(params: Any) -> Any:
        first = (params, tx.init(params), jax.grad(loss)(params), jnp.int32(0), jnp.int32(1))
        params, _, grad, steps, evaluations = jax.lax.while_loop(unfinished, step, first)
        return steps, evaluations, loss(params), largest(grad)

    compiled = jax.jit(solve).lower(start).compile()

    def run() -> Solution:
        steps, evaluations, value, gradient = jax.device_get(compiled(start))
        return Solution(int(steps), int(evaluations), float(value), float(gradient))

    return run


def by_scipy(loss: Any, start: Any, tolerance: float) -> Callable[[], Solution]:
    """SciPy's L-BFGS-B with as many pairs, without its test of the decrease."""
    flat, unravel = jax.flatten_util.ravel_pytree(start)
    both = jax.jit(jax.value_and_grad(lambda x: loss(unravel(x)))).lower(flat).compile()
    options = {"gtol": tolerance, "ftol": 0.0, "maxiter": MOST, "maxfun": 2 * MOST, "maxcor": 10}

    def run() -> Solution:
        def evaluate(x: Any) -> Any:
            value, grad = jax.device_get(both(np.asarray(x, flat.dtype)))
            return float(value), np.asarray(grad, float)

        found = scipy.optimize.minimize(
            evaluate, np.asarray(flat, float), jac=True, method="L-BFGS-B", options=options
        )
        return Solution(found.nit, found.nfev, float(found.fun), float(abs(found.jac).max()))

    return run


def measure(tolerance: float, turns: int) -> dict[str, dict[str, Any]]:
    """Every contender's solution and times."""
    loss, start = logistic_regression()
    makers: dict[str, Callable[[], Callable[[], Solution]]] = {
        "scipy": lambda: by_scipy(loss, start, tolerance),
        "optax": lambda: in_one_loop(optax, loss, start, tolerance),
        "gradkit": lambda: in_one_loop(gk, loss, start, tolerance),
    }
    runs, rows = {}, {}
    for name, make in makers.items():
        begin = time.perf_counter()
        runs[name] = make()
        rows[name] = {"compile": time.perf_counter() - begin, "times": []}
        rows[name] |= runs[name]()._asdict()
    for _ in range(turns):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            rows[name]["times"].append(time.perf_counter() - begin)
    for row in rows.values():
        pairs = zip(row["times"], rows["scipy"]["times"], strict=True)
        row["of scipy"] = statistics.median(own / theirs for own, theirs in pairs)
        row["time"] = statistics.median(row["times"])
    return rows


def table(rows: dict[str, dict[str, Any]], title: str) -> Table:
    columns = ("steps", "evaluations", "loss", "gradient", "compile", "time", "of scipy")
    found = Table("", *columns, title=title)
    for name, row in rows.items():
        cells = [row[c] for c in columns]
        found.add_row(name, *(str(c) if isinstance(c, int) else f"{c:.4g}" for c in cells))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tolerance", type=float, default=None, help="1e-6; in float32 1e-4")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--float32", action="store_true", help="and not float64")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", not options.float32)
    tolerance = options.tolerance or (1e-4 if options.float32 else 1e-6)
    rows = measure(tolerance, options.turns)
    dtype = "float32" if options.float32 else "float64"
    Console(width=110).print(
        table(rows, f"logistic regression of digits, {dtype}, to {tolerance:g}")
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
