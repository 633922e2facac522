"""Draw docs/assets/schedules.png: ``python docs/pictures/schedules.py``."""

from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import numpy as np
from matplotlib import pyplot
from PIL import Image

import gradkit as gk

STEPS = 1000
PANELS = {
    "decay": {
        "linear_schedule": gk.linear_schedule(1.0, 0.0, STEPS),
        "polynomial_schedule, power 2": gk.polynomial_schedule(1.0, 0.0, 2, STEPS),
        "cosine_decay_schedule": gk.cosine_decay_schedule(1.0, STEPS),
        "exponential_decay, in stairs": gk.exponential_decay(1.0, 200, 0.6, staircase=True),
        "natural_exponential_decay": gk.natural_exponential_decay(1.0, STEPS, 4.0),
        "inverse_time_decay": gk.inverse_time_decay(1.0, 100, 1.0),
        "inverse_sqrt_schedule": gk.inverse_sqrt_schedule(1.0, warmup_steps=50),
        "piecewise_constant_schedule": gk.piecewise_constant_schedule(0.9, {300: 0.5, 600: 0.5}),
    },
    "warmup, then": {
        "warmup_cosine_decay_schedule": gk.warmup_cosine_decay_schedule(0.0, 1.0, 100, STEPS),
        "warmup_exponential_decay_schedule": gk.warmup_exponential_decay_schedule(
            0.0, 1.0, 100, 300, 0.5
        ),
        "warmup_stable_decay_schedule, linear": gk.warmup_stable_decay_schedule(
            0.0, 0.9, 100, 600, 300
        ),
        "warmup_stable_decay_schedule, 1-sqrt": gk.warmup_stable_decay_schedule(
            0.0, 0.85, 100, 600, 300, cooldown="1-sqrt"
        ),
        "linear_warmup of inverse_time_decay": gk.linear_warmup(
            gk.inverse_time_decay(0.8, 200, 1.0), 100
        ),
    },
    "cycles and restarts": {
        "triangular_schedule, shrinking": gk.triangular_schedule(0.2, 1.0, 100, 0.8),
        "warm_restarts_schedule, growing": gk.warm_restarts_schedule(
            1.0, 143, t_mul=2, m_mul=0.8, alpha=0.05
        ),
    },
    "one cycle": {
        "linear_onecycle_schedule": gk.linear_onecycle_schedule(STEPS, 1.0),
        "cosine_onecycle_schedule": gk.cosine_onecycle_schedule(STEPS, 1.0),
        "piecewise_interpolate_schedule": gk.piecewise_interpolate_schedule(
            "cosine", 0.3, {200: 2.0, 500: 0.5, 800: 0.2}
        ),
    },
}


def draw(path: Path) -> None:
    """Four panels, one file."""
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), layout="constrained", sharex=True)
    for ax, (title, schedules) in zip(axes.flat, PANELS.items(), strict=True):
        gk.plot_schedule(schedules, STEPS, ax=ax)
        ax.set_title(title, loc="left", fontsize="medium")
        ax.set_ylim(
            0.0, 1.45 if title == "warmup, then" else 1.06
        )  # room for the legend above the plateaus
        ax.legend(fontsize="x-small", frameon=False, loc="upper right")
        ax.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    figure.set_dpi(95)
    figure.canvas.draw()
    # Sixty-four colours and no metadata: a small file, and the same code gives the same picture.
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(64)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "assets" / "schedules.png")
