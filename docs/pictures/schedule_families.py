"""Draw docs/assets/schedules/*.svg, the curves of each family of schedules.

    python docs/pictures/schedule_families.py

The colours of the text and the axes are CSS variables with a default, as in docs/pictures/paths.py.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

import gradkit as gk

STEPS, WIDTH, HEIGHT = 1000, 480, 240
COLOURS = ("#f0602d", "#3b82f6", "#12a150", "#a855f7", "#d49a06", "#e8488a", "#0ea5a5", "#8b93a7")
COSINE = gk.cosine_decay_schedule(1.0, 600)
FAMILIES = {
    "constant": {
        "constant_schedule(0.9)": gk.constant_schedule(0.9),
        "piecewise_constant_schedule(0.8, {300: 0.5, 600: 0.5})": gk.piecewise_constant_schedule(
            0.8, {300: 0.5, 600: 0.5}
        ),
    },
    "decay": {
        "linear_schedule": gk.linear_schedule(1.0, 0.0, STEPS),
        "polynomial_schedule, power 2": gk.polynomial_schedule(1.0, 0.0, 2, STEPS),
        "cosine_decay_schedule": gk.cosine_decay_schedule(1.0, STEPS),
        "exponential_decay, staircase": gk.exponential_decay(1.0, 200, 0.6, staircase=True),
        "natural_exponential_decay": gk.schedules.natural_exponential_decay(1.0, STEPS, 4.0),
        "inverse_time_decay": gk.schedules.inverse_time_decay(1.0, 100, 1.0),
        "inverse_sqrt_schedule, warmup 50": gk.schedules.inverse_sqrt_schedule(1.0, 50),
        "adafactor_decay_schedule": gk.schedules.adafactor_decay_schedule(0.8),
    },
    "warmup": {
        "linear_warmup of a cosine": gk.schedules.linear_warmup(COSINE, 100),
        "warmup_constant_schedule": gk.warmup_constant_schedule(0.0, 0.95, 150),
        "warmup_cosine_decay_schedule": gk.warmup_cosine_decay_schedule(0.0, 0.9, 200, STEPS),
        "warmup_exponential_decay_schedule": gk.warmup_exponential_decay_schedule(
            0.0, 0.85, 50, 300, 0.5
        ),
        "warmup_stable_decay_schedule": gk.warmup_stable_decay_schedule(0.0, 0.75, 100, 600, 300),
        'warmup_stable_decay_schedule, "1-sqrt"': gk.warmup_stable_decay_schedule(
            0.0, 0.7, 100, 500, 400, cooldown="1-sqrt"
        ),
    },
    "cycles": {
        "triangular_schedule, factor 0.8": gk.schedules.triangular_schedule(0.2, 1.0, 100, 0.8),
        "warm_restarts_schedule, growing": gk.schedules.warm_restarts_schedule(
            0.95, 143, t_mul=2, m_mul=0.8, alpha=0.05
        ),
        "sgdr_schedule": gk.sgdr_schedule(
            [
                {"init_value": 0.0, "peak_value": 0.6, "warmup_steps": 100, "decay_steps": 500},
                {"init_value": 0.0, "peak_value": 0.4, "warmup_steps": 100, "decay_steps": 500},
            ]
        ),
    },
    "onecycle": {
        "linear_onecycle_schedule": gk.linear_onecycle_schedule(STEPS, 0.95),
        "cosine_onecycle_schedule": gk.cosine_onecycle_schedule(STEPS, 1.0),
    },
    "join": {
        "join_schedules: constant, then cosine": gk.join_schedules(
            [gk.constant_schedule(0.9), COSINE], [400]
        ),
        'piecewise_interpolate_schedule, "cosine"': gk.piecewise_interpolate_schedule(
            "cosine", 0.3, {200: 2.0, 500: 0.5, 800: 0.2}
        ),
        'piecewise_interpolate_schedule, "linear"': gk.piecewise_interpolate_schedule(
            "linear", 0.4, {200: 2.0, 500: 0.5, 800: 0.2}
        ),
    },
    "epochs": {
        "per_epoch of a cosine, 100 steps an epoch": gk.schedules.per_epoch(
            gk.cosine_decay_schedule(0.9, 10), 100
        ),
        "the same, fractional": gk.schedules.per_epoch(
            gk.cosine_decay_schedule(0.9, 10), 100, fractional=True
        ),
    },
}

STYLE = """.gk-curves path{fill:none;stroke-width:2;stroke-linejoin:round}
.gk-curves .a{stroke:var(--gk-contour,#8b93a7);stroke-width:1;opacity:.5}
.gk-curves text{fill:var(--gk-ink,#7a8296);font:12px system-ui,sans-serif}"""


def curve(schedule) -> str:
    """The values as path data; points on a straight line are left out."""
    steps = np.arange(STEPS + 1)
    values = np.asarray(schedule(jnp.arange(STEPS + 1)), np.float64)
    x = 30 + steps / STEPS * (WIDTH - 40)
    y = 10 + (1.0 - values) * (HEIGHT - 40)
    kept, start = [0], 0
    for end in range(2, STEPS + 1):
        inner = slice(start + 1, end)
        line = y[start] + (y[end] - y[start]) * (steps[inner] - start) / (end - start)
        if np.abs(line - y[inner]).max() > 0.25:
            start = end - 1
            kept.append(start)
    kept.append(STEPS)
    return "M" + "L".join(f"{x[i]:.1f} {y[i]:.1f}" for i in kept)


def picture(family: str) -> str:
    """The SVG of a family; the legend is below the axes."""
    curves = FAMILIES[family]
    lines = "".join(
        f'<path d="{curve(schedule)}" stroke="{colour}"/>\n'
        for schedule, colour in zip(curves.values(), COLOURS)
    )
    legend = ""
    for index, (name, colour) in enumerate(zip(curves, COLOURS)):
        x, y = 30, HEIGHT + 16 + index * 19
        text = name.replace('"', "&quot;")
        legend += f'<path d="M{x} {y - 4}h22" stroke="{colour}"/>'
        legend += f'<text x="{x + 30}" y="{y}">{text}</text>\n'
    base, height = HEIGHT - 30, HEIGHT + 6 + len(curves) * 19
    axes = f"M30 10V{base}H{WIDTH - 10}M25 10h5M25 {base}h5"
    title = ", ".join(curves).replace('"', "&quot;")
    box = f'viewBox="0 0 {WIDTH} {height}" role="img"'
    end = f'x="{WIDTH - 10}" y="{base + 16}" text-anchor="end"'
    return f"""<svg class="gk-curves" xmlns="http://www.w3.org/2000/svg" {box}>
<title>{title}: the value at each step</title>
<style>{STYLE}</style>
<path class="a" d="{axes}"/>
<text x="22" y="14" text-anchor="end">1</text>
<text x="22" y="{base + 4}" text-anchor="end">0</text>
<text x="30" y="{base + 16}">step 0</text>
<text {end}>{STEPS}</text>
{lines}{legend}</svg>
"""


if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "assets" / "schedules"
    folder.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        (folder / f"{family}.svg").write_text(picture(family), encoding="utf-8")
