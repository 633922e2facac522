"""Draw docs/assets/initializers.png: ``python docs/pictures/initializers.py``.

Ten layers of 256 units under eight initializations: the histograms of the activations of each layer
and of the gradients of the loss with respect to its outputs.
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

init = gk.initializers
DEPTH, WIDTH, EXAMPLES = 10, 256, 512
LOGISTIC, RELU = jax.nn.sigmoid, jax.nn.relu
COLUMNS = {
    "tanh\ngaussian(0, 0.01)": (jnp.tanh, init.gaussian(0.0, 0.01)),
    "tanh\ngaussian(0, 1)": (jnp.tanh, init.gaussian(0.0, 1.0)),
    "tanh\nxavier()": (jnp.tanh, init.xavier()),
    "tanh\northogonal()": (jnp.tanh, init.orthogonal()),
    'logistic\nxavier("linear")': (LOGISTIC, init.xavier("linear")),
    'logistic\nxavier("logistic")': (LOGISTIC, init.xavier("logistic")),
    'relu\nxavier("linear")': (RELU, init.xavier("linear")),
    "relu\nhe()": (RELU, init.he()),
    "relu\nlsuv()": (RELU, None),
}


def signals(activation, initializer):
    """The activations of every layer, and the gradients with respect to them."""
    key = jax.random.key(0)
    x = jax.random.normal(key, (EXAMPLES, WIDTH))
    target = jax.random.normal(jax.random.fold_in(key, 1), (EXAMPLES, WIDTH))

    def layers(weights, shifts):
        a, found = x, {}
        for i, w in enumerate(weights):
            z = a @ w
            a = activation(z) + shifts[i]
            found[str(i)] = (z, a)
        return found

    zeros = [jnp.zeros((EXAMPLES, WIDTH))] * DEPTH
    if initializer is None:
        start = [jnp.zeros((WIDTH, WIDTH))] * DEPTH
        outputs = lambda weights: {i: z for i, (z, _) in layers(weights, zeros).items()}
        weights = init.lsuv(outputs, start, key=2)
    else:
        keys = jax.random.split(jax.random.fold_in(key, 2), DEPTH)
        weights = [initializer(k, (WIDTH, WIDTH)) for k in keys]

    def loss(shifts):
        found = [a for _, a in layers(weights, shifts).values()]
        return jnp.sum(found[-1] * target), found

    return jax.grad(loss, has_aux=True)(zeros)


def ridges(ax, samples, limit, colors) -> None:
    """One histogram for each layer, the first on top; all of the same height."""
    edges = np.linspace(-limit, limit, 82)
    middle = (edges[1:] + edges[:-1]) / 2
    for i, (sample, color) in enumerate(zip(samples, colors)):
        counts, _ = np.histogram(np.clip(np.ravel(sample), -limit, limit), edges)
        height = 1.55 * np.sqrt(counts / counts.max())  # the root shows the tails
        base = DEPTH - 1 - i
        ax.fill_between(middle, base, base + height, color=color, lw=0, alpha=0.85, zorder=i)
        ax.plot(middle, base + height, color="white", lw=0.6, zorder=i)
    ax.set_xlim(-limit, limit)
    ax.set_ylim(-0.2, DEPTH + 0.9)
    ax.set_yticks([])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(labelsize=6.5, length=2)


def draw(path: Path) -> None:
    """Nine columns of initializations; activations above, gradients below."""
    colors = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, DEPTH))
    figure, axes = pyplot.subplots(
        2, len(COLUMNS), figsize=(13.5, 6.4), layout="constrained", sharey=True
    )
    for (title, network), (above, below) in zip(COLUMNS.items(), axes.T, strict=True):
        gradients, activations = jax.device_get(signals(*network))
        limit = 2.5 if title.startswith("relu") else 1.05
        ridges(above, activations, limit, colors)
        # Gradients by their logarithm: what vanishes or explodes does so by orders of magnitude.
        sizes = [np.std(g) for g in gradients]
        below.plot(np.log10(sizes), DEPTH - 0.5 - np.arange(DEPTH), color="0.35", lw=1, zorder=20)
        for i, (g, color) in enumerate(zip(gradients, colors)):
            logs = np.log10(np.abs(np.ravel(g)) + 1e-30)
            edges = np.linspace(-13, 7, 121)
            counts, _ = np.histogram(logs[logs > -29], edges)
            base, height = DEPTH - 1 - i, 1.55 * np.sqrt(counts / max(counts.max(), 1))
            middle = (edges[1:] + edges[:-1]) / 2
            below.fill_between(middle, base, base + height, color=color, lw=0, alpha=0.85, zorder=i)
            below.plot(middle, base + height, color="white", lw=0.6, zorder=i)
        below.plot(
            np.log10(sizes), DEPTH - 0.5 - np.arange(DEPTH), "o", color="0.15", ms=2.5, zorder=21
        )
        below.set_xlim(-13, 7)
        below.set_xticks([-12, -6, 0, 6], ["$10^{-12}$", "$10^{-6}$", "1", "$10^6$"])
        below.tick_params(labelsize=6.5, length=2)
        below.spines[["top", "right", "left"]].set_visible(False)
        name, _, call = title.partition("\n")
        above.set_title(f"{name}\n{call}", fontsize=8.5)
    for ax, label in zip(axes[:, 0], ("activations", "gradients: magnitude")):
        ax.set_ylabel(label, fontsize=10)
        ax.set_yticks([0.2, DEPTH - 0.8], ["layer 10", "layer 1"], fontsize=7)
        ax.tick_params(axis="y", length=0)
    path.parent.mkdir(exist_ok=True)
    figure.set_dpi(110)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(64)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "assets" / "initializers.png")
