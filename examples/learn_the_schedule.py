"""Learn the schedule: hypergradients tune learning rates by step and by layer.

    python examples/learn_the_schedule.py            # about a minute on two cores
    python examples/learn_the_schedule.py --quick    # a few seconds, to see that it runs

A small network is trained on scikit-learn's digits with momentum, for 100 steps. A grid search
tries 64 constant learning rates. The alternative descends: the validation loss after training is
differentiated with respect to the learning rates of all steps, or of all layers, and Adam changes
them. All are judged by test digits, from initial weights and batches that no search has seen.
"""

# %% The data: 800 digits for training, 500 for validation, the rest for testing.

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from sklearn.datasets import load_digits

import gradkit as gk

STEPS, BATCH, KNOTS = 100, 32, 20
START = 0.1  # the rate from which learning begins


def load():
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels = jnp.asarray(images[order] / 16, jnp.float32)
    digits = jnp.asarray(labels[order], jnp.int32)
    parts = slice(800), slice(800, 1300), slice(1300, None)
    return [(pixels[part], digits[part]) for part in parts]


# %% The network and its loss.


def init(key):
    first, second = jax.random.split(key)
    he = gk.initializers.he()
    return {
        "hidden": {"kernel": he(first, (64, 32)), "bias": jnp.zeros(32)},
        "output": {"kernel": he(second, (32, 10)), "bias": jnp.zeros(10)},
    }


def logits_fn(params, x):
    hidden = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"][None])
    return hidden @ params["output"]["kernel"] + params["output"]["bias"][None]


def loss_fn(params, x, y):
    return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(logits_fn(params, x), y))


# %% The optimizers. Each is a function of the logarithms of its learning rates, an array.


@gk.schedule
def through(values: jax.Array):
    """A schedule of one's own: lines through values at equal distances."""
    at = jnp.linspace(0.0, STEPS - 1.0, values.shape[0])
    return lambda step: jnp.interp(jnp.asarray(step, values.dtype), at, values)


def constant(log_rate):
    return gk.momentum(jnp.exp(log_rate), 0.9)


def by_step(log_rates):
    return gk.momentum(through(jnp.exp(log_rates)), 0.9)


GROUPS = ("hidden.kernel", "hidden.bias", "output.kernel", "output.bias")


def by_layer(log_rates):
    groups = {name: constant(log_rates[i]) for i, name in enumerate(GROUPS)}
    return gk.partition(groups, {name: gk.by_path(name) for name in GROUPS})


def by_both(log_rates):
    groups = {name: by_step(log_rates[i]) for i, name in enumerate(GROUPS)}
    return gk.partition(groups, {name: gk.by_path(name) for name in GROUPS})


# What to learn: an optimizer, and the shape of its logarithms.
LEARNED = {
    "by step": (by_step, (KNOTS,)),
    "by layer": (by_layer, (len(GROUPS),)),
    "by layer and step": (by_both, (len(GROUPS), KNOTS)),
}

# %% Training runs: the initial weights and the batches of each, and the means over the weights
# after them, as functions of the optimizer.


@jax.jit
def prepare(data, keys):
    """Initial weights and the batches of all steps, with a leading axis of runs."""

    def one(key):
        start, order = jax.random.split(key)
        epochs = gk.data.epochs(len(data[0]), BATCH, key=order)
        return init(start), jax.vmap(lambda step: epochs.take(data, step))(jnp.arange(STEPS))

    return jax.vmap(one)(keys)


def judge(tx, runs, held_out):
    """The loss and the accuracy on held-out digits after training, as means over the runs."""

    def one(start, batches):
        params = gk.unroll(loss_fn, tx, start, batches).params
        x, y = held_out
        accuracy = jnp.mean(jnp.argmax(logits_fn(params, x), axis=1) == y)
        return loss_fn(params, x, y), accuracy

    losses, accuracies = jax.vmap(one)(*runs)
    return jnp.mean(losses), jnp.mean(accuracies)


# %% Learning: Adam on the logarithms, along the gradient of the validation loss, with other runs in
# every round.


def learn(make, shape, data, validation, rounds, key, advance):
    """The learned logarithms."""

    def validation_loss(logs, runs):
        return judge(make(logs), runs, validation)[0]

    tx = gk.chain(gk.clip_by_global_norm(1.0), gk.adam(gk.cosine_decay_schedule(0.2, rounds)))
    step = gk.make_step(validation_loss, tx)
    logs = jnp.full(shape, jnp.log(START))
    state = tx.init(logs)
    for i in range(rounds):
        runs = prepare(data, jax.random.split(jax.random.fold_in(key, i), 4))
        logs, state, _ = step(logs, state, runs)
        advance()
    return logs


# %% The table and the picture.


def show(console, rows, title):
    table = Table(title=title)
    for column in ("learning rates", "numbers", "test loss", "test accuracy", "seconds"):
        table.add_column(column, justify="left" if column == "learning rates" else "right")
    for name, row in rows.items():
        loss, accuracy = f"{row['loss']:.4f}", f"{row['accuracy']:.2%}"
        table.add_row(name, str(row["numbers"]), loss, accuracy, f"{row['seconds']:.1f}")
    console.print(table)


def draw(grid, rows, path):
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    search, schedule, layers = axes
    search.plot(grid["rates"], grid["losses"], ".-", color="0.5", label="64 constant rates")
    for i, name in enumerate(LEARNED):
        search.axhline(rows[f"learned {name}"]["loss"], color=f"C{i}", label=f"learned {name}")
    low = min(row["loss"] for row in rows.values())
    search.set(xscale="log", xlabel="learning rate", ylabel="test loss", ylim=(0.9 * low, 4 * low))
    search.legend(frameon=False, fontsize=8)
    steps = np.arange(STEPS)
    for axis, name in ((schedule, "by step"), (layers, "by layer and step")):
        values = np.exp(np.atleast_2d(rows[f"learned {name}"]["logs"]))
        for row, group in zip(values, GROUPS if len(values) > 1 else ("all layers",), strict=True):
            at = np.linspace(0, STEPS - 1, len(row))
            axis.plot(steps, np.interp(steps, at, row), label=group)
        axis.axhline(grid["best"], color="0.6", linestyle=":", label="best constant")
        axis.set(title=f"learned {name}", xlabel="step", ylabel="learning rate", yscale="log")
        axis.legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


# %% The program. The grid's best rate is chosen by the test loss itself, to its advantage.


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="updates of the learning rates")
    parser.add_argument("--quick", action="store_true", help="few rounds, rates and seeds")
    parser.add_argument("--out", type=Path, default=Path("out/learn_the_schedule.png"))
    options = parser.parse_args(arguments)
    rounds, seeds, points = (10, 4, 4) if options.quick else (options.rounds, 16, 64)
    console = Console(width=None if Console().is_terminal else 100)
    data, validation, test = load()
    search, fresh = jax.random.split(jax.random.key(0))
    runs = [prepare(data, keys) for keys in jax.random.split(fresh, (seeds // 4, 4))]
    runs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *runs)
    rows = {}
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console
    ) as progress:
        task = progress.add_task("grid", total=points // 4 + rounds * len(LEARNED))
        advance = lambda: progress.advance(task)
        began = time.perf_counter()
        logs = jnp.linspace(jnp.log(1e-3), jnp.log(START if options.quick else 3.0), points)
        four = jax.jit(jax.vmap(lambda log: judge(constant(log), runs, test)))
        found = []
        for part in logs.reshape(-1, 4):
            found.append(jax.device_get(four(part)))
            advance()
        losses, accuracies = (np.concatenate(column) for column in zip(*found, strict=True))
        best = int(np.nanargmin(losses))
        grid = {"rates": np.exp(logs), "losses": losses, "best": float(np.exp(logs[best]))}
        row = {"loss": losses[best], "accuracy": accuracies[best], "numbers": 1}
        rows[f"the best of {points} constants: {grid['best']:.3f}"] = row
        row["seconds"] = time.perf_counter() - began
        for name, (make, shape) in LEARNED.items():
            progress.update(task, description=name)
            began = time.perf_counter()
            logs = learn(make, shape, data, validation, rounds, search, advance)
            seconds = time.perf_counter() - began
            loss, accuracy = jax.device_get(jax.jit(judge)(make(logs), runs, test))
            row = {"loss": loss, "accuracy": accuracy, "numbers": logs.size, "seconds": seconds}
            rows[f"learned {name}"] = {**row, "logs": np.asarray(logs)}
    show(console, rows, f"Digits, momentum, {STEPS} steps; means over {seeds} new starts")
    draw(grid, rows, options.out)
    console.print(f"Picture: {options.out}")
    return rows, grid


if __name__ == "__main__":
    main()
