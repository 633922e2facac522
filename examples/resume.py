"""Save and resume: a Flax NNX run with accumulation, a guard and averaged weights.

    python examples/resume.py
    python examples/resume.py --directory out/run  # kill it, start it again, and it goes on

A network with batch normalization learns scikit-learn's handwritten digits (no download). Orbax
saves the run every few steps. It crashes halfway, between two saves, and goes on from the newest
checkpoint; an uninterrupted run must end with the same weights.
"""

# %% The data: images in [0, 1], one row each.

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import orbax.checkpoint as ocp
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
    key: Any  # the data of the key that draws the noise


def start(tx) -> tuple[Any, Run]:
    """Return the structure of a new network, and the beginning of its training."""
    graph, params, statistics = nnx.split(Network(rngs=nnx.Rngs(0)), nnx.Param, ...)
    return graph, Run(params, statistics, tx.init(params), jax.random.key_data(jax.random.key(1)))


# %% Checkpoints, by Orbax: written beside the training, complete or not there at all.


def checkpoints(directory: Path, every: int, keep: int, asynchronous: bool = True):
    options = ocp.CheckpointManagerOptions(
        save_interval_steps=every,
        max_to_keep=keep,
        enable_async_checkpointing=asynchronous,
        cleanup_tmp_directories=True,  # of a save that a crash cut short
    )
    return ocp.CheckpointManager(directory.absolute(), options=options)


def save(manager, step: int, run: Run, rows: list[dict[str, float]]) -> None:
    """Begin to write a checkpoint; an asynchronous save copies the arrays and returns."""
    parts = {"run": ocp.args.StandardSave(run), "rows": ocp.args.JsonSave(rows)}
    manager.save(step, args=ocp.args.Composite(**parts))


def newest(manager, run: Run) -> tuple[int, Run, list[dict[str, float]]]:
    """Return the newest complete checkpoint, or the beginning."""
    step = manager.latest_step()
    if step is None:
        return 0, run, []
    like = jax.tree.map(ocp.utils.to_shape_dtype_struct, run)
    parts = {"run": ocp.args.StandardRestore(like), "rows": ocp.args.JsonRestore()}
    found = manager.restore(step, args=ocp.args.Composite(**parts))
    return step, found.run, found.rows


# %% Training. The statistics go into the loss as an argument and come out as `aux`.


def make_step(graph, tx):
    def loss_fn(params, statistics, key, x, y):
        model = nnx.merge(graph, params, statistics, copy=True)
        loss = cross_entropy(model(x + 0.1 * jax.random.normal(key, x.shape)), y)
        return loss, nnx.split(model, nnx.Param, ...)[2]

    return gk.make_step(loss_fn, tx, has_aux=True)


@jax.jit
def split(key):
    key, now = jax.random.split(jax.random.wrap_key_data(key))
    return jax.random.key_data(key), now


@nnx.jit(static_argnums=0)
def evaluate(graph, params, statistics, x, y):
    """Return the loss and the accuracy."""
    model = nnx.merge(graph, params, statistics)
    model.eval()
    logits = model(x)
    return cross_entropy(logits, y), jnp.mean(jnp.argmax(logits, axis=1) == y)


def row(graph, tx, run: Run, epoch: int, x, y, x_test, y_test) -> dict[str, float]:
    """What the table says of an epoch."""
    logged, rates = gk.logged_values(run.state), gk.hyperparameters(tx, run.state)
    averaged = gk.eval_params(tx, run.state, run.params)
    return {
        "epoch": epoch,
        "updates": int(run.state.inner["MultiSteps"]["opt"].step),
        "loss": float(evaluate(graph, run.params, run.statistics, x, y)[0]),
        "gradient norm": float(next(v for name, v in logged.items() if name.endswith(".norm"))),
        "learning rate": float(
            next(value for name, value in rates.items() if name.endswith("learning_rate"))
        ),
        "test acc.": float(evaluate(graph, run.params, run.statistics, x_test, y_test)[1]),
        "averaged": float(evaluate(graph, averaged, run.statistics, x_test, y_test)[1]),
    }


def train(tx, data, epochs: int, manager=None, crash: int | None = None, advance=lambda step: None):
    """Train from the newest checkpoint to the end, or to a crash.

    The order of the images is a function of the step, and so is no part of a checkpoint.
    """
    x, y, *_ = data
    batches = gk.data.epochs(len(x), MICRO_BATCH, key=2, num_epochs=epochs)
    graph, run = start(tx)
    done, run, rows = (0, run, []) if manager is None else newest(manager, run)
    step = make_step(graph, tx)
    advance(done)
    for t in range(done, len(batches)):
        if t == crash:
            break
        key, now = split(run.key)
        params, state, _, statistics = step(
            run.params, run.state, run.statistics, now, *batches.take((x, y), t)
        )
        run = Run(params, statistics, state, key)
        if (t + 1) % batches.steps_per_epoch == 0:
            epoch = (t + 1) // batches.steps_per_epoch
            rows = [*rows, row(graph, tx, run, epoch, *data)]
        if manager is not None and manager.should_save(t + 1):
            save(manager, t + 1, run, rows)
        advance(t + 1)
    return done, run, rows


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


def draw(rows, saved: float, path: Path) -> None:
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
        axis.axvline(saved, color="0.7", linestyle="--")
        axis.spines[["top", "right"]].set_visible(False)
    left.annotate(
        "resumed",
        (saved, 0.95),
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
    parser.add_argument("--every", type=int, default=20, help="steps between saves (default: 20)")
    parser.add_argument("--keep", type=int, default=3, help="checkpoints to keep (default: 3)")
    parser.add_argument("--synchronous", action="store_true", help="wait for every save")
    parser.add_argument(
        "--directory", type=Path, help="train once, from the newest checkpoint in this directory"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/resume.png"),
        help="path of the picture (default: out/resume.png)",
    )
    options = parser.parse_args(arguments)
    console = Console(width=None if Console().is_terminal else 120)
    data, epochs, tx = load(), options.epochs, optimizer(options.epochs)
    steps = epochs * UPDATES_PER_EPOCH * ACCUMULATED
    settings = options.every, options.keep, not options.synchronous
    bars = *Progress.get_default_columns(), MofNCompleteColumn()
    with Progress(*bars, console=console) as progress, tempfile.TemporaryDirectory() as scratch:

        def bar(name):
            task = progress.add_task(name, total=steps)
            return lambda step: progress.update(task, completed=step)

        directory = options.directory or Path(scratch)
        if options.directory is None:
            with checkpoints(directory, *settings) as manager:
                train(tx, data, epochs, manager, steps // 2 + options.every // 2, bar("to a crash"))
        with checkpoints(directory, *settings) as manager:
            done, run, rows = train(tx, data, epochs, manager, advance=bar("resumed"))
        if options.directory is None:
            _, whole, _ = train(tx, data, epochs, advance=bar("uninterrupted"))

    saved = done * epochs / steps
    console.print(table(rows, round(saved)))
    console.print(f"The run went on from step {done} of {steps}.")
    if options.directory is None:
        pairs = zip(jax.tree.leaves(run), jax.tree.leaves(whole), strict=True)
        same = all(np.array_equal(a, b) for a, b in pairs)
        console.print(f"The resumed run ends with the same weights as an uninterrupted run: {same}")
    draw(rows, saved, options.out)
    console.print(f"Curves: {options.out}")


if __name__ == "__main__":
    main()
