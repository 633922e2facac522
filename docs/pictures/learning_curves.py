"""Draw docs/assets/learning_curves.png: ``python docs/pictures/learning_curves.py``.

The learning curves of a model that underfits and of one that overfits, and a run of gradient
descent that early stopping ends.
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

NOISE = 0.3
SIZES = [6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]


def draw_samples(key, count):
    x_key, y_key = jax.random.split(key)
    x = jax.random.uniform(x_key, (count,), minval=-1.0, maxval=1.0)
    return x, jnp.sin(4 * x) + NOISE * jax.random.normal(y_key, (count,))


def features(x, degree):
    """Legendre polynomials, which are orthogonal."""
    columns = [jnp.ones_like(x), x]
    for n in range(1, degree):
        columns.append(((2 * n + 1) * x * columns[-1] - n * columns[-2]) / (n + 1))
    return jnp.stack(columns[: degree + 1], 1)


def errors(degree):
    """Train and dev error of a polynomial, fitted by least squares with a small penalty."""

    def train_and_score(train, dev):
        (x, y), where = train
        a = jnp.where(where[:, None], features(x, degree), 0.0)
        gram = a.T @ a + 0.05 * jnp.eye(degree + 1)
        w = jnp.linalg.solve(gram, a.T @ jnp.where(where, y, 0.0))
        return tuple(
            jnp.mean((features(s.data[0], degree) @ w - s.data[1]) ** 2, where=s.where)
            for s in (train, dev)
        )

    return train_and_score


def stopped_run():
    """Gradient descent on 20 samples with 15 features."""
    train, dev = draw_samples(jax.random.key(5), 20), draw_samples(jax.random.key(1), 500)

    def loss_fn(w, x, y):
        return jnp.mean((features(x, 14) @ w - y) ** 2)

    step = gk.make_step(loss_fn, gk.momentum(0.3, 0.95))
    judge = lambda w: {"train": loss_fn(w, *train), "dev": loss_fn(w, *dev)}
    options = {"steps": 250, "monitor": "dev"}
    run = gk.fit(step, jnp.zeros(15), lambda t: train, judge, stop=gk.early_stopping(40), **options)
    whole = gk.fit(step, jnp.zeros(15), lambda t: train, judge, **options)
    return run, whole


def draw(path: Path) -> None:
    """Two learning curves and a run that is stopped."""
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.7), layout="constrained")
    train, dev = draw_samples(jax.random.key(0), 1000), draw_samples(jax.random.key(1), 500)
    titles = {
        1: "high bias: a line\nthe errors meet above the target",
        12: "high variance: degree 12\na gap, which more data close",
    }
    for ax, (degree, title) in zip(axes[:2], titles.items(), strict=True):
        curve = gk.metrics.learning_curve(errors(degree), train, dev, SIZES, key=2, repeats=100)
        gk.metrics.plot_learning_curve(curve, target=NOISE**2, ax=ax, ylabel="mean squared error")
        ax.set_title(title, fontsize=9.5, loc="left")
        ax.set_ylim(0.0, 0.8)
        ax.legend(frameon=False, fontsize=8)
    run, whole = jax.device_get(stopped_run())
    last, stop = axes[2], int(run.steps)
    for i, (name, label) in enumerate({"train": "training", "dev": "development"}.items()):
        curve = whole.scores[name]
        last.plot(whole.eval_steps, curve, ":", color=f"C{i}", lw=1.2)
        last.plot(whole.eval_steps[:stop], curve[:stop], color=f"C{i}", label=label)
    best = int(run.best_step)
    last.axvline(stop, color="0.5", lw=1, ls="--", label=f"stopped after {stop} steps")
    label = f"best weights, of step {best}"
    last.plot(best, run.best_score, "o", color="C3", ms=6, label=label, zorder=5)
    title = "early stopping, patience 40\n15 weights, 20 examples"
    last.set_title(title, fontsize=9.5, loc="left")
    last.set(xlabel="step", ylabel="mean squared error", ylim=(0.0, 0.8), xlim=(0, 250))
    last.legend(frameon=False, fontsize=8)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    figure.set_dpi(100)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(128)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "assets" / "learning_curves.png")
