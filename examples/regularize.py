"""Regularization: the lectures' demonstrations on one small network, and what each does to the held-out loss.

    python examples/regularize.py

A network of 32 hidden ReLU units, Adam at 0.03, 1000 epochs on 150 of scikit-learn's digits: few enough to be learned by heart. Then the same with L2
penalties, dropout, and batch or layer normalization; and each stopped early, at the epoch that a validation set likes best, or not at all. All runs
(settings × seeds) are one vmapped, compiled program.
"""

# %% The data: 150 digits to learn from, 300 to decide when to stop, the rest to judge by.

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import gradkit as gk
from gradkit.nn import functional as F  # noqa: N812

options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
options.add_argument("--epochs", type=int, default=1000)
options.add_argument("--seeds", type=int, default=5)
options.add_argument("--out", type=Path, default=Path("out"))
options = options.parse_args()

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
pixels, digits = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, validation, test = (
    (pixels[part], digits[part]) for part in (slice(150), slice(150, 450), slice(450, None))
)

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
l2s, rates, kinds = (jnp.asarray([run[column] for run in RUNS]) for column in (2, 3, 4))


# %% The network. Its three forms are computed and one is chosen, for what normalizes is a number too.


def start(key):
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
    shape = {"scale": hidden["scale"], "bias": hidden["bias"]}
    if key is None:
        by_batch = F.apply_statistics(h, *running, **shape)
    else:
        by_batch, moments = F.batch_norm(h, **shape)
        running = F.running(*running, moments, 0.9)
    h = jnp.stack([h + hidden["bias"][None], by_batch, F.layer_norm(h, **shape)])[kind]
    h = F.dropout(jax.nn.relu(h), rate, key, deterministic=key is None)
    return h @ params["output"]["kernel"] + params["output"]["bias"][None], running


def cross_entropy(logits, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1))


def loss_fn(params, running, l2, kind, rate, key):
    logits, running = logits_fn(params, running, train[0], kind, rate, key)
    penalty = sum(jnp.sum(layer["kernel"] ** 2) for layer in params.values())
    return cross_entropy(logits, train[1]) + l2 * penalty, running


# %% One run: an epoch is one step on all 150 digits; the best parameters by validation loss are kept beside the last.

tx = gk.adam(0.03)


def run(l2, rate, kind, key):
    params, running = start(key)

    def epoch(carry, key):
        params, opt_state, running, best = carry
        (_, running), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            params, running, l2, kind, rate, key
        )
        params, opt_state = tx.apply(params, opt_state, grads)
        losses = {
            name: cross_entropy(logits_fn(params, running, x, kind)[0], y)
            for name, (x, y) in {"train": train, "validation": validation}.items()
        }
        better = losses["validation"] < best[0]
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (losses["validation"], (params, running)),
            best,
        )
        return (params, opt_state, running, best), losses

    carry = (params, tx.init(params), running, (jnp.inf, (params, running)))
    (params, _, running, (_, best)), losses = jax.lax.scan(
        epoch, carry, jax.random.split(key, options.epochs)
    )

    def judged(params, running):
        logits, _ = logits_fn(params, running, test[0], kind)
        return {
            "loss": cross_entropy(logits, test[1]),
            "accuracy": jnp.mean(jnp.argmax(logits, axis=1) == test[1]),
        }

    return losses, {"last": judged(params, running), "stopped": judged(*best)}


# %% All runs at once: settings × seeds. Every setting sees the same seeds.

keys = jax.random.split(jax.random.key(0), options.seeds)
everything = jax.jit(jax.vmap(jax.vmap(run, (None, None, None, 0)), (0, 0, 0, None)))
began = time.perf_counter()
losses, judged = jax.device_get(everything(l2s, rates, kinds, keys))
took = time.perf_counter() - began

# %% The table: means over the seeds. Early stopping against none is in every row.

best_epoch = losses["validation"].argmin(-1)
table = Table(
    title=f"{len(RUNS)} settings × {options.seeds} seeds, {options.epochs} epochs: one program, {took:.0f} s with compilation"
)
for column in (
    "",
    "setting",
    "train loss",
    "val loss, last",
    "val loss, best",
    "best epoch",
    "test acc, last",
    "test acc, stopped",
):
    table.add_column(column, justify="left" if column in {"", "setting"} else "right")
for i, (sweep, name, *_) in enumerate(RUNS):
    numbers = [
        losses["train"][i, :, -1].mean(),
        losses["validation"][i, :, -1].mean(),
        losses["validation"][i].min(-1).mean(),
    ]
    accuracies = [f"{judged[when]['accuracy'][i].mean():.1%}" for when in ("last", "stopped")]
    table.add_row(
        sweep,
        name,
        *(f"{number:.4f}" for number in numbers),
        f"{np.median(best_epoch[i]) + 1:.0f}",
        *accuracies,
        end_section=sweep != (*RUNS, RUNS[0])[i + 1][0],
    )
Console(width=120).print(table)

# %% The figure: a panel per sweep, and one for early stopping.

mpl.use("agg")
import matplotlib.pyplot as plt

figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), sharex=True, layout="constrained")
epochs = np.arange(1, options.epochs + 1)
for axis, (sweep, settings) in zip(axes.flat, SWEEPS.items(), strict=False):
    for color, setting in enumerate(settings):
        i = RUNS.index((sweep, *setting))
        for which, style in {"train": ":", "validation": "-"}.items():
            axis.plot(
                epochs,
                losses[which][i].mean(0),
                style,
                color=f"C{color}",
                label=setting[0] if which == "validation" else None,
            )
    axis.set(title=sweep, yscale="log", xscale="log", ylabel="loss (dotted: training)")
    axis.legend(title=sweep)
last = axes.flat[3]
curve, seed = losses["validation"][0], 0
last.plot(epochs, losses["train"][0, seed], "C0:", label="training")
last.plot(epochs, curve[seed], "C0", label="validation")
last.axvline(best_epoch[0, seed] + 1, color="C3", linewidth=1)
note = f"stop here: epoch {best_epoch[0, seed] + 1}, loss {curve[seed].min():.3f}\nnever: loss {curve[seed, -1]:.3f}"
last.annotate(
    note,
    (best_epoch[0, seed] + 1, curve[seed].min()),
    xytext=(0.05, 0.15),
    textcoords="axes fraction",
    color="C3",
)
last.set(
    title="early stopping (no other regularization, one seed)",
    yscale="log",
    xscale="log",
    ylabel="loss",
)
last.legend()
for axis in axes[1]:
    axis.set_xlabel("epoch")
options.out.mkdir(parents=True, exist_ok=True)
figure.savefig(options.out / "regularize.png", dpi=120)
print(f"figure: {options.out / 'regularize.png'}")
