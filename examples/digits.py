"""Handwritten digits: compare twelve optimizers on one network.

    python examples/digits.py                    # scikit-learn's digits; no download; one minute
    python examples/digits.py --dataset mnist    # MNIST, downloaded from OpenML

All optimizers start from the same weights and see the same batches of 128 images.
"""

# %% The optimizers. A transform prints as the call that made it, which labels the result table.

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from flax import nnx
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from sklearn.datasets import fetch_openml, load_digits
from sklearn.model_selection import train_test_split

import gradkit as gk

FAMILIES = {
    "gradient and momentum": {
        "sgd": gk.sgd(0.1),
        "momentum": gk.momentum(1.0, decay=0.9),  # v = 0.9 v + 0.1 g
        "nesterov": gk.nesterov(0.1, momentum=0.9),  # its gradient is taken at the look-ahead point
    },
    "divided by √G, an average of g²": {
        "adagrad": gk.adagrad(0.1),
        "rmsprop": gk.rmsprop(0.003),
        "rmsprop + momentum": gk.rmsprop(0.001, momentum=0.9),
        "adadelta": gk.adadelta(1.0),
    },
    "both: Adam and its variants": {
        "adam": gk.adam(0.003),
        "adamw": gk.adamw(0.003, weight_decay=0.01),
        "nadam": gk.nadam(0.003),
        "adamax": gk.adamax(0.005),
        "amsgrad": gk.amsgrad(0.003),
    },
}
BATCH = 128


# %% The data, as float32 images in [0, 1], one row each.


def load(dataset: str) -> tuple[np.ndarray, ...]:
    """Return training and test images and labels."""
    if dataset == "digits":
        images, labels = load_digits(return_X_y=True)
        images = images / 16
    else:
        try:
            images, labels = fetch_openml(
                "mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff"
            )
        except OSError as error:
            raise SystemExit(
                f"openml.org, the source of MNIST, did not answer ({error}). "
                "Without a network use --dataset digits."
            ) from error
        images = images / 255
    test_size = 10_000 if dataset == "mnist" else 360
    x, x_test, y, y_test = train_test_split(
        images.astype(np.float32),
        labels.astype(np.int32),
        test_size=test_size,
        random_state=0,
        stratify=labels,
    )
    return x, y, x_test, y_test


# %% The network, in Flax NNX. `nnx.split` divides it into its structure and its parameters.


class Network(nnx.Module):
    def __init__(self, inputs: int, *, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(inputs, 128, rngs=rngs)
        self.out = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


def cross_entropy(logits, labels):
    return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(logits, labels))


# %% Training. `make_step` compiles loss, gradient and update into one step that works in place.


def train(tx, graph, start, data, epochs, advance):
    """Final losses and accuracies, the training loss of every epoch, and steps per second.

    The time excludes compilation and evaluation.
    """
    x, y, x_test, y_test = data
    step = gk.make_step(lambda params, x, y: cross_entropy(nnx.merge(graph, params)(x), y), tx)

    def fresh():  # a step donates its inputs, so each run gets a copy of the initial parameters
        params = jax.tree.map(jnp.copy, start)
        return params, tx.init(params)

    jax.block_until_ready(step(*fresh(), x[:BATCH], y[:BATCH]))  # compiles
    batches = gk.data.epochs(len(x), BATCH, key=0)
    steps = np.arange(batches.steps_per_epoch)
    (params, state), seconds, curve = fresh(), 0.0, [evaluate(graph, start, x, y)[0]]
    for epoch in range(epochs):
        ready = jax.block_until_ready([batches.take((x, y), epoch * len(steps) + i) for i in steps])
        began = time.perf_counter()
        for images, labels in ready:
            params, state, _ = step(params, state, images, labels)
        jax.block_until_ready(params)
        seconds += time.perf_counter() - began
        curve.append(evaluate(graph, params, x, y)[0])
        advance()
    (loss, accuracy), (test_loss, test_accuracy) = (
        evaluate(graph, params, x, y),
        evaluate(graph, params, x_test, y_test),
    )
    return {
        "train loss": loss,
        "test loss": test_loss,
        "train accuracy": accuracy,
        "test accuracy": test_accuracy,
        "steps/s": int(state.step) / seconds,
        "curve": curve,
    }


@nnx.jit(static_argnums=0)
def scores(graph, params, x, y):
    logits = nnx.merge(graph, params)(x)
    return cross_entropy(logits, y), jnp.mean(jnp.argmax(logits, axis=1) == y)


def evaluate(graph, params, x, y) -> tuple[float, float]:
    loss, accuracy = scores(graph, params, x, y)
    return float(loss), float(accuracy)


# %% The results: a table, and one panel of curves per family, with the others in grey.


def table(results) -> Table:
    result = Table(
        "optimizer", title=f"Batch size {BATCH}; the same initial weights and batches for all"
    )
    for column in ("train loss", "test loss", "train acc.", "test acc.", "steps/s"):
        result.add_column(column, justify="right")
    for transforms in FAMILIES.values():
        for name, tx in transforms.items():
            row = results[name]
            losses = [f"{row['train loss']:.4f}", f"{row['test loss']:.4f}"]
            accuracies = [f"{row['train accuracy']:.1%}", f"{row['test accuracy']:.1%}"]
            result.add_row(
                repr(tx),
                *losses,
                *accuracies,
                f"{row['steps/s']:,.0f}",
                end_section=name == list(transforms)[-1],
            )
    return result


def draw(results, dataset: str, path: Path) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(
        1, len(FAMILIES), figsize=(11, 3.6), sharey=True, layout="constrained"
    )
    for axis, (family, transforms) in zip(axes, FAMILIES.items(), strict=True):
        for name, row in results.items():
            if name not in transforms:
                axis.plot(row["curve"], color="0.88", linewidth=1, zorder=1)
        for name in transforms:
            axis.plot(results[name]["curve"], linewidth=1.8, label=name)
        axis.set(title=family, xlabel="epoch", yscale="log")
        axis.title.set_size(10)
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(f"training loss, {dataset}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


# %% The program.


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description="Twelve optimizers on handwritten digits.")
    parser.add_argument("--dataset", choices=("digits", "mnist"), default="digits")
    parser.add_argument(
        "--epochs", type=int, help="passes over the data (default: 30 for digits, 5 for mnist)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/digits.png"),
        help="path of the picture (default: out/digits.png)",
    )
    options = parser.parse_args(arguments)
    epochs = options.epochs or {"digits": 30, "mnist": 5}[options.dataset]
    console = Console(width=None if Console().is_terminal else 120)

    data = tuple(jnp.asarray(part) for part in load(options.dataset))
    graph, start = nnx.split(Network(data[0].shape[1], rngs=nnx.Rngs(0)))
    every = {name: tx for transforms in FAMILIES.values() for name, tx in transforms.items()}
    results = {}
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console
    ) as progress:
        task = progress.add_task("epochs", total=epochs * len(every))
        for name, tx in every.items():
            progress.update(task, description=f"{name:>18}")
            results[name] = train(tx, graph, start, data, epochs, lambda: progress.advance(task))

    console.print(table(results))
    draw(results, options.dataset, options.out)
    console.print(f"Loss curves: {options.out}")


if __name__ == "__main__":
    main()
