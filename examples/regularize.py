"""Regularization: L2, dropout, normalization and early stopping on one small network.

    python examples/regularize.py

A network of 32 hidden ReLU units is trained with Adam at 0.03 for 1000 epochs on 150 of
scikit-learn's digits, which are few enough to be memorized. The same network is trained with L2
penalties, dropout, and batch or layer normalization. Each run is judged by its last weights and by
those of the epoch with the lowest validation loss (early stopping). All runs (settings × seeds) are
one vmapped, compiled program.
"""

# %% The data: 150 digits for training, 300 for validation, the rest for testing.

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import gradkit as gk
from gradkit.nn import functional as F  # noqa: N812


class Data(NamedTuple):
    train: tuple[jax.Array, jax.Array]
    validation: tuple[jax.Array, jax.Array]
    test: tuple[jax.Array, jax.Array]


def load():
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels = jnp.asarray(images[order] / 16, jnp.float32)
    digits = jnp.asarray(labels[order])
    parts = (slice(150), slice(150, 450), slice(450, None))
    return Data(*((pixels[part], digits[part]) for part in parts))


# %% The sweeps. A setting is three numbers, so a run is a row of arrays and a sweep is a vmap.

PLAIN, BATCH, LAYER = range(3)
SWEEPS = {
    "L2": [(f"{l2:g}", l2, 0.0, PLAIN) for l2 in (0.0, 1e-4, 1e-3, 5e-3)],
    "dropout": [(f"{rate:g}", 0.0, rate, PLAIN) for rate in (0.0, 0.1, 0.5, 0.9)],
    "normalization": [
        ("none", 0.0, 0.0, PLAIN),
        ("batch", 0.0, 0.0, BATCH),
        ("layer", 0.0, 0.0, LAYER),
    ],
}
RUNS = [(sweep, *setting) for sweep, settings in SWEEPS.items() for setting in settings]


# %% The network. All three normalizations are computed and one is selected by its number.


def init(key):
    first, second = jax.random.split(key)
    he = jax.nn.initializers.he_normal()
    params = {
        "hidden": {"kernel": he(first, (64, 32)), "bias": jnp.zeros(32), "scale": jnp.ones(32)},
        "output": {"kernel": he(second, (32, 10)), "bias": jnp.zeros(10)},
    }
    return params, (jnp.zeros(32), jnp.ones(32))


def logits_fn(params, running, x, kind, rate=0.0, key=None):
    """Logits, and the running statistics after this batch; without a key, inference."""
    hidden = params["hidden"]
    h = x @ hidden["kernel"]
    affine = {"scale": hidden["scale"], "bias": hidden["bias"]}
    if key is None:
        by_batch = F.apply_statistics(h, *running, **affine)
    else:
        by_batch, moments = F.batch_norm(h, **affine)
        running = F.running(*running, moments, 0.9)
    h = jnp.stack([h + hidden["bias"][None], by_batch, F.layer_norm(h, **affine)])[kind]
    h = F.dropout(jax.nn.relu(h), rate, key, deterministic=key is None)
    return h @ params["output"]["kernel"] + params["output"]["bias"][None], running


def cross_entropy(logits, y):
    return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(logits, y))


def loss_fn(params, running, batch, l2, kind, rate, key):
    x, y = batch
    logits, running = logits_fn(params, running, x, kind, rate, key)
    penalty = sum(jnp.sum(layer["kernel"] ** 2) for layer in params.values())
    return cross_entropy(logits, y) + l2 * penalty, running


# %% One run. An epoch is one step on all 150 digits. The best parameters are kept beside the last.
# Without a patience no run stops, so that the curves go to the end.

tx = gk.adam(0.03)
stopping = gk.early_stopping(patience=None)


def run(data, epochs, l2, rate, kind, key):
    params, running = init(key)
    held_out = {"train": data.train, "validation": data.validation}

    def epoch(carry, key):
        params, opt_state, running, best = carry
        gradient = jax.value_and_grad(loss_fn, has_aux=True)
        (_, running), grads = gradient(params, running, data.train, l2, kind, rate, key)
        params, opt_state = tx.apply(params, opt_state, grads)
        losses = {
            name: cross_entropy(logits_fn(params, running, x, kind)[0], y)
            for name, (x, y) in held_out.items()
        }
        best = stopping.update(best, losses["validation"], (params, running))
        return (params, opt_state, running, best), losses

    carry = (params, tx.init(params), running, stopping.init((params, running)))
    carry, losses = jax.lax.scan(epoch, carry, jax.random.split(key, epochs))
    params, _, running, best = carry

    def evaluate(params, running):
        x, y = data.test
        logits, _ = logits_fn(params, running, x, kind)
        accuracy = jnp.mean(jnp.argmax(logits, axis=1) == y)
        return {"loss": cross_entropy(logits, y), "accuracy": accuracy}

    return losses, {"last": evaluate(params, running), "stopped": evaluate(*best.best_params)}


# %% All runs at once: settings × seeds. Every setting uses the same seeds.


def train(data, epochs, seeds):
    """Losses [settings, seeds, epochs] and test results [settings, seeds], as NumPy arrays."""
    l2s, rates, kinds = (jnp.asarray([run[column] for run in RUNS]) for column in (2, 3, 4))
    keys = jax.random.split(jax.random.key(0), seeds)
    one = lambda l2, rate, kind, key: run(data, epochs, l2, rate, kind, key)
    program = jax.jit(jax.vmap(jax.vmap(one, (None, None, None, 0)), (0, 0, 0, None)))
    return jax.device_get(program(l2s, rates, kinds, keys))


# %% The table: means over the seeds, with early stopping and without it in every row.


def show(losses, results, title):
    best_epoch = losses["validation"].argmin(-1)
    table = Table(title=title)
    columns = ["", "setting", "train loss", "val loss, last", "val loss, best", "best epoch"]
    for column in (*columns, "test acc, last", "test acc, stopped"):
        table.add_column(column, justify="left" if column in {"", "setting"} else "right")
    for i, (sweep, name, *_) in enumerate(RUNS):
        validation = losses["validation"][i]
        last, best = validation[:, -1].mean(), validation.min(-1).mean()
        means = [losses["train"][i, :, -1].mean(), last, best]
        accuracies = [results[when]["accuracy"][i].mean() for when in ("last", "stopped")]
        table.add_row(
            sweep,
            name,
            *(f"{mean:.4f}" for mean in means),
            f"{np.median(best_epoch[i]) + 1:.0f}",
            *(f"{accuracy:.1%}" for accuracy in accuracies),
            end_section=sweep != (*RUNS, RUNS[0])[i + 1][0],
        )
    Console(width=120).print(table)


# %% The figure: a panel per sweep, and one for early stopping.


def plot(losses, path):
    mpl.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), sharex=True, layout="constrained")
    epochs = np.arange(1, losses["train"].shape[-1] + 1)
    styles = {"train": ":", "validation": "-"}
    for axis, (sweep, settings) in zip(axes.flat, SWEEPS.items(), strict=False):
        for color, setting in enumerate(settings):
            i = RUNS.index((sweep, *setting))
            for which, style in styles.items():
                label = setting[0] if which == "validation" else None
                mean = losses[which][i].mean(0)
                axis.plot(epochs, mean, style, color=f"C{color}", label=label)
        axis.set(title=sweep, yscale="log", xscale="log", ylabel="loss (dotted: training)")
        axis.legend(title=sweep)
    last, curve = axes.flat[3], losses["validation"][0, 0]
    best = int(curve.argmin())
    last.plot(epochs, losses["train"][0, 0], "C0:", label="training")
    last.plot(epochs, curve, "C0", label="validation")
    last.axvline(best + 1, color="C3", linewidth=1)
    note = f"stopped: epoch {best + 1}, loss {curve[best]:.3f}\nnot stopped: loss {curve[-1]:.3f}"
    place = {"xytext": (0.05, 0.15), "textcoords": "axes fraction"}
    last.annotate(note, (best + 1, curve[best]), color="C3", **place)
    last.set(title="early stopping (no other regularization, one seed)", ylabel="loss")
    last.set(yscale="log", xscale="log")
    last.legend()
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


# %% The command line.


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    losses, results = train(load(), options.epochs, options.seeds)
    seconds = time.perf_counter() - start
    size = f"{len(RUNS)} settings × {options.seeds} seeds, {options.epochs} epochs"
    show(losses, results, f"{size}: one program, {seconds:.0f} s with compilation")
    plot(losses, options.out / "regularize.png")
    print(f"figure: {options.out / 'regularize.png'}")
    return losses, results


if __name__ == "__main__":
    main()
