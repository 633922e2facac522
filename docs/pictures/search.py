"""Draw the pictures of docs/search.md: ``python docs/pictures/search.py``.

All trials train a small network on two interleaved spirals.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import gradkit as gk

mpl.use("agg")
from matplotlib import pyplot
from PIL import Image

from gradkit import search

OUT = Path(__file__).parents[1] / "assets" / "search"
GRID, RANDOM, DARK = "#e08214", "#1b7837", "0.2"
STEPS = 150


def spirals(key, n, spread=0.02):
    """Points on two interleaved spirals with noise, and which."""
    turn, noise = jax.random.split(key)
    t = jnp.sqrt(jax.random.uniform(turn, (n,))) * 2.2 * jnp.pi
    label = jnp.arange(n) % 2
    angle = t + label * jnp.pi
    x = jnp.stack([t * jnp.cos(angle), t * jnp.sin(angle)], axis=1) / 7.0
    return x + spread * jax.random.normal(noise, x.shape), label


def init_params(key):
    keys = jax.random.split(key, 3)
    sizes = [(2, 24), (24, 24), (24, 2)]
    he = gk.initializers.he()
    return [(he(k, size), jnp.zeros(size[1])) for k, size in zip(keys, sizes)]


def logits_of(params, x):
    for kernel, bias in params[:-1]:
        x = jnp.tanh(x @ kernel + bias)
    return x @ params[-1][0] + params[-1][1]


def loss_fn(params, batch):
    x, labels = batch
    return gk.softmax_cross_entropy_with_integer_labels(logits_of(params, x), labels).mean()


BATCHES = jax.vmap(lambda key: spirals(key, 64))(jax.random.split(jax.random.key(1), STEPS))
DEV = spirals(jax.random.key(2), 256)
TASK = search.training(loss_fn, init_params, BATCHES, evaluate=lambda w: loss_fn(w, DEV))
WIDE = jax.vmap(lambda key: spirals(key, 256, 0.08))(jax.random.split(jax.random.key(3), 320))
CURVES = search.training(loss_fn, init_params, WIDE)
RATE = search.log_uniform(1e-4, 1.0)
SPACE = search.choice(
    gk.sgd(RATE, momentum=search.log_uniform(0.3, 0.99, complement=True)),
    gk.adam(RATE, b1=search.log_uniform(0.3, 0.99, complement=True)),
)


def save(figure, name: str) -> None:
    """Write a figure as a PNG of few colors."""
    figure.set_dpi(110)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(96)
    picture.save(OUT / f"{name}.png", optimize=True)
    pyplot.close(figure)


def tables() -> None:
    """The three plots of a table of trials."""
    space = gk.adam(RATE, b1=search.log_uniform(0.3, 0.999, complement=True),
                    b2=search.log_uniform(0.9, 0.9999, complement=True))  # fmt: skip
    trials = search.run(TASK.objective(STEPS), space, 0, trials=128, seeds=2, method="sobol")
    save(search.plot_slices(trials), "slices")
    trials = search.run(TASK.objective(STEPS), SPACE, 0, trials=64, method="sobol")
    paths = list(search.distributions(SPACE))
    save(search.plot_parallel_coordinates(trials, paths), "parallel_coordinates")
    trials = search.successive_halving(
        CURVES, gk.adam(search.log_uniform(1e-4, 0.1)), 0, trials=32, budget=1600, method="sobol"
    )
    save(search.plot_learning_curves(trials, smoothing=0.8), "learning_curves")


def random_and_grid() -> None:
    """On a space with one idle dimension: what grid and random search see, and what they find."""
    space = gk.adam(RATE, eps=search.log_uniform(1e-12, 1e-7))  # eps makes no difference
    objective = TASK.objective(STEPS)
    widths, shifts = range(2, 9), 32
    u = [np.array([[(i + s) / k, 0.5] for i in range(k)])
         for k in widths for s in (np.arange(shifts) + 0.5) / shifts]  # fmt: skip
    drawn = np.random.default_rng(0).random((1024, 2))
    scores = search.run(objective, search.from_unit(space, np.concatenate([*u, drawn])), 0).scores
    ends = np.cumsum([len(part) for part in u])
    best = np.array([part.min() for part in np.split(scores[: ends[-1]], ends[:-1])])
    grid = best.reshape(len(widths), shifts)
    pool = scores[ends[-1] :]
    picks = np.random.default_rng(1).choice(pool, (4000, 64))
    random = np.minimum.accumulate(picks, axis=1)
    at, losses = drawn[:, 0], pool
    order = np.argsort(at)
    figure = pyplot.figure(figsize=(10.6, 4.1), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1, 1, 1.35])
    lattice = (np.arange(3) + 0.5) / 3
    points = {
        "grid: 9 trials, 3 learning rates": (
            left, np.stack(np.meshgrid(lattice, lattice), -1).reshape(-1, 2), GRID),
        "random: 9 trials, 9 learning rates": (
            middle, np.random.default_rng(5).random((9, 2)), RANDOM),
    }  # fmt: skip
    for title, (part, u, color) in points.items():
        top, ax = part.subplots(2, 1, sharex=True, height_ratios=[1, 2.4])
        top.plot(at[order], losses[order], color=DARK, lw=1.1)
        seen = np.interp(u[:, 0], at[order], losses[order])
        top.plot(u[:, 0], seen, "o", color=color, ms=5, zorder=3)
        ax.plot(u[:, 0], u[:, 1], "o", color=color, ms=6)
        ax.vlines(u[:, 0], u[:, 1], 1.04, color=color, lw=0.9, alpha=0.6)
        top.vlines(u[:, 0], 0, seen, color=color, lw=0.9, alpha=0.6)
        top.set_title(title, fontsize=9.5)
        top.set_ylim(0, 0.85)
        top.set_ylabel("loss" if part is left else "", fontsize=9)
        ax.set_ylim(-0.04, 1.04)
        ax.set_xlim(-0.02, 1.02)
        ax.set_xticks(np.arange(5) / 4, [f"$10^{{{p}}}$" for p in range(-4, 1)])
        ax.set_yticks([0, 0.4, 0.8], ["$10^{-12}$", "$10^{-10}$", "$10^{-8}$"])
        ax.set_xlabel("learning rate", fontsize=9)
        ax.set_ylabel("eps (idle)" if part is left else "", fontsize=9)
        for each in (top, ax):
            each.spines[["top", "right"]].set_visible(False)
            each.tick_params(labelsize=8)
    ax = right.subplots()
    counts = [k * k for k in widths]
    n = np.arange(1, 65)
    ax.fill_between(n, *np.quantile(random, [0.25, 0.75], axis=0), color=RANDOM, alpha=0.15, lw=0)
    ax.plot(n, random.mean(axis=0), color=RANDOM, lw=1.8, label="random")
    ax.fill_between(counts, *np.quantile(grid, [0.25, 0.75], axis=1), color=GRID, alpha=0.15, lw=0)
    ax.plot(counts, grid.mean(axis=1), "o-", color=GRID, ms=4, lw=1.8, label="grid, k × k")
    ax.axhline(scores.min(), color=DARK, lw=0.8, ls=":")
    ax.set_xscale("log", base=2)
    ax.set_xticks([1, 4, 9, 16, 25, 36, 64], ["1", "4", "9", "16", "25", "36", "64"])
    ax.minorticks_off()
    ax.set_yscale("log")
    ax.set_ylim(scores.min() / 1.15, 0.75)
    ax.set_yticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
    ax.set_xlabel("trials", fontsize=9)
    ax.set_ylabel("best loss", fontsize=9)
    ax.legend(fontsize=9, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    save(figure, "random_and_grid")


def improvement() -> None:
    """Bayesian optimization of one learning rate: the posterior and the expected improvement."""
    space = gk.adam(RATE)
    objective = TASK.objective(STEPS)
    fine = np.linspace(0, 1, 201)
    truth = search.run(objective, search.from_unit(space, fine[:, None]), 0).scores
    trials = search.run(objective, search.from_unit(space, [[0.08], [0.45], [0.97]]), 0)
    figure, axes = pyplot.subplots(
        2, 3, figsize=(10.6, 4.3), sharex=True, sharey="row", height_ratios=[2.4, 1],
        layout="constrained",
    )  # fmt: skip
    for i, (above, below) in enumerate(axes.T):
        x = search.to_unit(space, trials)
        process = search.fit_gaussian_process(x, trials.scores)
        mean, std = process.predict(fine[:, None])
        best = process.predict(x)[0].min()
        value = search.expected_improvement(mean, std, best)
        above.plot(fine, truth, color=DARK, lw=0.9, ls="--", label="loss")
        above.fill_between(
            fine,
            mean - 2 * std,
            mean + 2 * std,
            color="#4575b4",
            alpha=0.18,
            lw=0,
            label="± 2 σ(x)",
        )
        above.plot(fine, mean, color="#4575b4", lw=1.6, label="μ(x)")
        above.plot(x[:, 0], trials.scores, "o", color=DARK, ms=5, zorder=4, label="trials")
        below.fill_between(fine, 0, value, color="#d1495b", alpha=0.3, lw=0)
        below.plot(fine, value, color="#d1495b", lw=1.4)
        chosen = float(fine[np.argmax(value)])
        for ax in (above, below):
            ax.axvline(chosen, color="#d1495b", lw=1.0, ls=":")
            ax.spines[["top", "right"]].set_visible(False)
            ax.tick_params(labelsize=8)
        above.set_title(f"after {len(trials)} trials", fontsize=9.5)
        above.set_ylim(-0.35, 1.25)
        below.set_xticks(np.arange(5) / 4, [f"$10^{{{p}}}$" for p in range(-4, 1)])
        below.set_xlabel("learning rate", fontsize=9)
        below.set_yticks([])
        if i < 2:
            for _ in range(1 + i):  # one trial, then two
                config = search.ask(space, trials, jax.random.key(len(trials)))
                trials += search.run(objective, config, 0)
    axes[0, 0].set_ylabel("loss after training", fontsize=9)
    axes[1, 0].set_ylabel("EI(x)", fontsize=9)
    axes[0, 0].legend(fontsize=8, frameon=False, ncols=2, loc="upper right")
    save(figure, "expected_improvement")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True, parents=True)
    tables()
    random_and_grid()
    improvement()
