"""Trials per second of a search, and what halving saves: ``python -m benchmarks.search``.

The first table trains a small network (2 inputs, ``--width`` hidden units) with Adam on batches of
a regression, with random learning rates and decays, in one process and in turns:

| contender | is |
|---|---|
| population | ``gk.search.run``: sampling, one vmapped program, the table of trials |
| loop | a Python loop over the same configurations: make the optimizer, call the jitted trial |
| optuna | ``study.optimize`` with Optuna's random sampler, calling the same jitted trial |
| optuna, TPE | the same with its default sampler |

A trial is one jitted function that takes the optimizer as an argument: nothing compiles in any
turn. Times are medians over the turns; a CPU that is busy stretches all of them.

The second table searches the learning rate of a network for scikit-learn's digits: a full grid, and
successive halving with a fifth of the grid's updates. It compiles a program for each rung, the grid
one: ``first`` has this time in it, ``again`` is the same search once more.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optuna
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import gradkit as gk
from gradkit import search


def small_task(width: int, batch: int, steps: int) -> search.Task:
    """A network of one hidden layer on a function of the plane."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps, batch, 2)).astype(np.float32)
    y = np.sin(2 * x[..., :1]) * x[..., 1:]

    def init(key: Any) -> Any:
        first, second = jax.random.split(key)
        return {
            "hidden": jax.random.normal(first, (2, width)),
            "bias": jnp.zeros(width),
            "output": jax.random.normal(second, (width, 1)) / width**0.5,
        }

    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        hidden = jnp.tanh(x @ params["hidden"] + params["bias"])
        return jnp.mean((hidden @ params["output"] - y) ** 2)

    return search.training(loss, init, (x, y))


def digits_task(width: int = 32, batch: int = 64) -> search.Task:
    """A network of one hidden layer on the digits, judged on images that it was not trained on."""
    images, labels = load_digits(return_X_y=True)
    x, y = jnp.asarray(images / 8 - 1, jnp.float32), jnp.asarray(labels)

    def init(key: Any) -> Any:
        return {
            "hidden": jax.random.normal(key, (64, width)) / 8,
            "bias": jnp.zeros(width),
            "output": jnp.zeros((width, 10)),
        }

    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        logits = jnp.tanh(x @ params["hidden"] + params["bias"]) @ params["output"]
        return gk.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def batch_of(step: Any) -> Any:
        rows = (step * batch + jnp.arange(batch)) % 1400
        return x[rows], y[rows]

    return search.training(
        loss, init, batch_of, evaluate=lambda params: loss(params, (x[1400:], y[1400:]))
    )


def throughput(trials: int, steps: int, width: int, batch: int, turns: int) -> dict[str, Any]:
    """Seconds of every contender by turn."""
    objective = small_task(width, batch, steps).objective(steps)
    space = gk.adam(search.log_uniform(1e-4, 1e-1), b1=search.uniform(0.5, 0.99))
    trial = jax.jit(lambda tx, key: objective(tx, key)[-1])
    key = jax.random.key(0)
    configs = search.sample(space, 0, trials).values

    def population() -> Any:
        return search.run(objective, space, 0, trials=trials, progress=False).scores

    def loop() -> Any:
        return [float(trial(gk.adam(c["learning_rate"], b1=c["b1"]), key)) for c in configs]

    def with_optuna(sampler: Callable[[], Any]) -> Callable[[], Any]:
        def one(suggest: Any) -> float:
            rate = suggest.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
            return float(trial(gk.adam(rate, b1=suggest.suggest_float("b1", 0.5, 0.99)), key))

        def run() -> Any:
            study = optuna.create_study(sampler=sampler())
            study.optimize(one, n_trials=trials)
            return study.best_value

        return run

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    contenders: dict[str, Callable[[], Any]] = {
        "population": population,
        "loop": loop,
        "optuna": with_optuna(lambda: optuna.samplers.RandomSampler(seed=0)),
        "optuna, TPE": with_optuna(lambda: optuna.samplers.TPESampler(seed=0)),
    }
    for contender in contenders.values():
        contender()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            begin = time.perf_counter()
            contender()
            times[name].append(time.perf_counter() - begin)
    return {
        name: {
            "seconds": statistics.median(own),
            "trials per second": trials / statistics.median(own),
            "of population": statistics.median(
                a / b for a, b in zip(own, times["population"], strict=True)
            ),
        }
        for name, own in times.items()
    }


def halving(side: int, steps: int) -> dict[str, Any]:
    """The best loss, its configuration and the updates, of a grid and of halving."""
    task = digits_task()
    configs = search.grid(gk.sgd(search.log_uniform(1e-3, 10.0), momentum=0.9), side)
    total = len(configs) * steps

    def in_full() -> Any:
        return search.run(task.objective(steps), configs, 0, progress=False)

    def halved() -> Any:
        return search.successive_halving(task, configs, 0, budget=total // 5, progress=False)

    rows: dict[str, Any] = {}
    for name, contender in (("grid", in_full), ("halving", halved)):
        times = []
        for _ in range(2):
            begin = time.perf_counter()
            found = contender()
            times.append(time.perf_counter() - begin)
        best = found.best()
        cost = total if name == "grid" else int(found.budgets.sum())
        rows[name] = {"loss": best.score, "learning rate": best.config["learning_rate"]}
        rows[name] |= {"updates": cost, "first": times[0], "again": times[1]}
    return rows


def table(rows: dict[str, dict[str, Any]], title: str) -> Table:
    found = Table("", *next(iter(rows.values())), title=title)
    for name, row in rows.items():
        found.add_row(name, *(str(c) if isinstance(c, int) else f"{c:.4g}" for c in row.values()))
    return found


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--trials", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, help="a file for the rows as JSON")
    options = parser.parse_args(arguments)
    trials, turns = (8, 1) if options.quick else (options.trials, options.turns)
    rows = {
        "throughput": throughput(trials, options.steps, options.width, options.batch, turns),
        "halving": halving(4, 40) if options.quick else halving(32, 500),
    }
    console = Console()
    console.print(table(rows["throughput"], f"{trials} trials of {options.steps} updates"))
    console.print(table(rows["halving"], "Halving at a fifth of the grid's cost"))
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main()
