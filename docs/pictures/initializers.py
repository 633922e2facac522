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


def ridges(ax, samples, low, high, colors) -> None:
    """One histogram for each layer, the first on top; all of the same height."""
    edges = np.linspace(low, high, 101)
    middle = (edges[1:] + edges[:-1]) / 2
    for i, (sample, color) in enumerate(zip(samples, colors)):
        counts, _ = np.histogram(np.ravel(sample), edges)
        base = DEPTH - 1 - i
        height = 1.55 * np.sqrt(counts / max(counts.max(), 1))  # the root shows the tails
        ax.fill_between(middle, base, base + height, color=color, lw=0, alpha=0.85, zorder=i)
        ax.plot(middle, base + height, color="white", lw=0.6, zorder=i)
    ax.set_xlim(low, high)
    ax.set_ylim(-0.2, DEPTH + 0.9)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(labelsize=6.5, length=2)
    ax.tick_params(axis="y", length=0)


def draw(path: Path) -> None:
    """Nine columns of initializations; activations above, gradients below."""
    colors = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, DEPTH))
    figure, axes = pyplot.subplots(
        2, len(COLUMNS), figsize=(13.5, 6.4), layout="constrained", sharey=True
    )
    ranges = {"tanh": (-1.05, 1.05), "logistic": (-0.02, 1.02), "relu": (0.0, 3.0)}
    for (title, network), (above, below) in zip(COLUMNS.items(), axes.T, strict=True):
        gradients, activations = jax.device_get(signals(*network))
        name = title.partition("\n")[0]
        if name == "relu":
            activations = [a[a > 0] for a in activations]  # half of them are exactly zero
        ridges(above, activations, *ranges[name], colors)
        above.set_title(title, fontsize=8.5)
        # Gradients by their logarithm: they vanish or explode by orders of magnitude.
        ridges(below, [np.log10(np.abs(g[g != 0])) for g in gradients], -13, 7, colors)
        rms = [np.log10(np.sqrt(np.mean(g**2))) for g in gradients]
        heights = DEPTH - 0.5 - np.arange(DEPTH)
        below.plot(rms, heights, "o-", color="0.15", lw=0.8, ms=2.5, zorder=20)
        below.set_xticks([-12, -6, 0, 6], ["$10^{-12}$", "$10^{-6}$", "1", "$10^6$"])
    for ax, label in zip(axes[:, 0], ("activations", "gradients (magnitude)")):
        ax.set_ylabel(label, fontsize=10)
        ax.set_yticks([0.2, DEPTH - 0.8], ["layer 10", "layer 1"], fontsize=7)
    path.parent.mkdir(exist_ok=True)
    figure.set_dpi(110)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(64)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "assets" / "initializers.png")
