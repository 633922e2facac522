"""Save and resume: a Flax NNX run with accumulation, a guard and averaged weights.

    python examples/resume.py

A network with batch normalization learns scikit-learn's handwritten digits (no download). The run
is saved halfway and resumed; an uninterrupted run must end with the same weights.
"""

# %% The data: images in [0, 1], one row each.

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from flax import nnx
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gradkit as gk

MICRO_BATCH, ACCUMULATED = 32, 4  # an update sees 128 images
UPDATES_PER_EPOCH = 11


def load() -> tuple[np.ndarray, ...]:
    """Return training and test images and labels."""
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    x, x_test, y, y_test = train_test_split(
        images, labels, train_size=1408, random_state=0, stratify=labels
    )
    return x, y, x_test, y_test


# %% The network. `nnx.split` divides it into its structure, its parameters, and its statistics.


class Network(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 128, rngs=rngs)
        self.norm = nnx.BatchNorm(128, rngs=rngs)
        self.out = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.hidden(x))))


def cross_entropy(logits, labels):
    return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(logits, labels))


# %% The optimizer: accumulation around a guard around a clip and AdamW, and averaged weights.


def optimizer(epochs: int):
    steps = epochs * UPDATES_PER_EPOCH
    schedule = gk.warmup_cosine_decay_schedule(0.0, 6e-3, warmup_steps=10, decay_steps=steps)
    update = gk.chain(
        gk.clip_by_global_norm(1.0, report=True),
        gk.adamw(schedule, weight_decay=0.01, mask=gk.by_rank(2)),
    )
    return gk.chain(
        gk.MultiSteps(gk.guard(update, max_consecutive_skips=10), ACCUMULATED),
        gk.weight_ema(0.98),
    )


# %% A run: everything that a checkpoint must hold.


class Run(NamedTuple):
    params: Any
    statistics: Any
    state: Any


def start(tx) -> tuple[Any, Run]:
    """Return the structure of a new network, and the beginning of its training."""
    graph, params, statistics = nnx.split(Network(rngs=nnx.Rngs(0)), nnx.Param, ...)
    return graph, Run(params, statistics, tx.init(params))


def save(path: Path, run: Run) -> None:
    """Write the arrays of a run in the order of its pytree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, *jax.tree.leaves(run))


def restore(path: Path, like: Run) -> Run:
    """Read a run into the structure of a new one."""
    with np.load(path) as file:
        leaves = [jnp.asarray(file[name]) for name in file.files]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


# %% Training. The statistics go into the loss as an argument and come out as `aux`.


def make_step(graph, tx):
    def loss_fn(params, statistics, x, y):
        model = nnx.merge(graph, params, statistics, copy=True)
        loss = cross_entropy(model(x), y)
        return loss, nnx.split(model, nnx.Param, ...)[2]

    return gk.make_step(loss_fn, tx, has_aux=True)


@nnx.jit(static_argnums=0)
def accuracy(graph, params, statistics, x, y):
    model = nnx.merge(graph, params, statistics)
    model.eval()
    return jnp.mean(jnp.argmax(model(x), axis=1) == y)


def train(graph, tx, run: Run, data, epochs: range, advance) -> tuple[Run, list[dict[str, float]]]:
    """Train for some epochs. The batches are a function of the step, the same when resumed."""
    x, y, x_test, y_test = data
    step, rows = make_step(graph, tx), []
    batches = gk.data.epochs(len(x), MICRO_BATCH, key=0)
    for epoch in epochs:
        params, statistics, state = run
        losses = []
        for i in range(batches.steps_per_epoch):
            batch = batches.take((x, y), epoch * batches.steps_per_epoch + i)
            params, state, loss, statistics = step(params, state, statistics, *batch)
            losses.append(loss)
        run = Run(params, statistics, state)
        logged = gk.logged_values(state)
        norm = next(value for name, value in logged.items() if name.endswith(".norm"))
        rates = gk.hyperparameters(tx, state)
        rate = next(value for name, value in rates.items() if name.endswith("learning_rate"))
        averaged = gk.eval_params(tx, state, params)
        rows.append(
            {
                "epoch": epoch + 1,
                "updates": int(state.inner["MultiSteps"]["opt"].step),
                "loss": float(np.mean(losses)),
                "gradient norm": float(norm),
                "learning rate": float(rate),
                "test acc.": float(accuracy(graph, params, statistics, x_test, y_test)),
                "averaged": float(accuracy(graph, averaged, statistics, x_test, y_test)),
            }
        )
        advance()
    return run, rows


# %% The results: a table, and curves with the epoch of the checkpoint.


def table(rows, saved: int) -> Table:
    result = Table(title=f"{ACCUMULATED} micro-batches of {MICRO_BATCH} images per update")
    for column in rows[0]:
        result.add_column(column, justify="right")
    for row in rows:
        numbers = [f"{row['loss']:.4f}", f"{row['gradient norm']:.3f}"]
        shares = [f"{row['test acc.']:.1%}", f"{row['averaged']:.1%}"]
        cells = [str(row["epoch"]), str(row["updates"]), *numbers, f"{row['learning rate']:.5f}"]
        result.add_row(*cells, *shares, end_section=row["epoch"] == saved)
    return result


def draw(rows, saved: int, path: Path) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], marker=".")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    for name, label in (("test acc.", "weights"), ("averaged", "averaged weights")):
        right.plot(epochs, [row[name] for row in rows], marker=".", label=label)
    right.set(xlabel="epoch", ylabel="test accuracy")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.axvline(saved + 0.5, color="0.7", linestyle="--")
        axis.spines[["top", "right"]].set_visible(False)
    left.annotate(
        "saved, resumed",
        (saved + 0.5, 0.95),
        (4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color="0.4",
        fontsize=8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


# %% The program.


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description="Save a training run and resume it.")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the data (default: 12)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/resume.png"),
        help="path of the picture (default: out/resume.png)",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("out/resume.npz"),
        help="path of the checkpoint (default: out/resume.npz)",
    )
    options = parser.parse_args(arguments)
    console = Console(width=None if Console().is_terminal else 120)
    data, epochs, saved = load(), options.epochs, options.epochs // 2
    tx = optimizer(epochs)
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console
    ) as progress:
        task = progress.add_task("epochs", total=2 * epochs)

        def advance():
            progress.advance(task)

        progress.update(task, description="first half")
        graph, run = start(tx)
        run, rows = train(graph, tx, run, data, range(saved), advance)
        save(options.checkpoint, run)

        progress.update(task, description="resumed")
        graph, fresh = start(tx)  # as a new process would
        run = restore(options.checkpoint, fresh)
        run, more = train(graph, tx, run, data, range(saved, epochs), advance)

        progress.update(task, description="uninterrupted")
        graph, whole = start(tx)
        whole, _ = train(graph, tx, whole, data, range(epochs), advance)

    rows += more
    console.print(table(rows, saved))
    same = all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(run), jax.tree.leaves(whole), strict=True)
    )
    console.print(f"The resumed run ends with the same weights as an uninterrupted run: {same}")
    draw(rows, saved, options.out)
    console.print(f"Checkpoint: {options.checkpoint}. Curves: {options.out}")


if __name__ == "__main__":
    main()
