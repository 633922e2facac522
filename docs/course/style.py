"""What the pages of the course share: the look of the pictures, and runs of an optimizer.

A page draws inside a function that is decorated with ``@picture("NN_name")``; the function returns
a matplotlib figure, which is written to docs/assets/course/NN_name.svg. The colours of an SVG are
CSS variables with a default, so that a picture follows the palette of the site, light or dark.
``raster=True`` writes a PNG on white, for pictures that would be large as SVG.

With the environment variable ``GRADKIT_COURSE_QUICK`` set, as in the tests, ``quick(full, short)``
is ``short`` and no picture is drawn.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit._entry import extras_taken

ASSETS = Path(__file__).parents[1] / "assets" / "course"
QUICK = bool(os.environ.get("GRADKIT_COURSE_QUICK"))

# Okabe and Ito's palette, which people with every kind of colour vision can tell apart, without its
# yellow and black. docs/stylesheets/extra.css has a lighter value of each for the dark palette.
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY = "#b5539c", "#56b4e9"
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
INK, FAINT, PAPER = "#4b5263", "#9aa1b1", "#fefefe"
VARIABLES = {
    BLUE: "--gk-blue",
    ORANGE: "--gk-orange",
    GREEN: "--gk-green",
    RED: "--gk-red",
    PURPLE: "--gk-purple",
    SKY: "--gk-sky",
    INK: "--gk-ink",
    FAINT: "--gk-contour",
    PAPER: "--md-default-bg-color",
}
SEQUENCE = "viridis"  # of ordered curves; take 0.05 to 0.85 of it
SETTINGS = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "figure.constrained_layout.use": True,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 9.5,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "gradkit",
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


def quick(full, short):
    """``short`` in the tests, ``full`` elsewhere: numbers of steps, sizes, lists of cases."""
    return short if QUICK else full


# ------------------------------------------------------------------------------------- pictures


def picture(name: str, *, raster: bool = False) -> Callable[[Callable[[Any], Any]], Any]:
    """Draw the decorated function now and write it to docs/assets/course.

    The function takes matplotlib's pyplot and returns the figure. About 7.6 inches fill the page.
    """

    def draw(function):
        if QUICK:
            return function
        import matplotlib as mpl  # noqa: PLC0415

        mpl.use("agg")
        from cycler import cycler  # noqa: PLC0415
        from matplotlib import pyplot as plt  # noqa: PLC0415

        settings = {**SETTINGS, "axes.prop_cycle": cycler(color=COLORS)}
        if raster:
            settings |= {"figure.facecolor": "white"}
        with mpl.rc_context(settings):
            figure = function(plt)
            ASSETS.mkdir(parents=True, exist_ok=True)
            if raster:
                _write_png(figure, ASSETS / f"{name}.png")
            else:
                _write_svg(figure, ASSETS / f"{name}.svg")
            plt.close(figure)
        return function

    return draw


def table(name: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a table of results to docs/assets/course/NAME.txt, in Markdown.

    The page includes it with ``--8<-- "docs/assets/course/NAME.txt"`` on a line of its own.
    """
    if QUICK:
        return
    lines = [header, ("---",) * len(header), *rows]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    ASSETS.mkdir(parents=True, exist_ok=True)
    (ASSETS / f"{name}.txt").write_text(text + "\n", encoding="utf-8")


def _write_png(figure, path: Path) -> None:
    """Sixty-four colours and no metadata: a small file."""
    from PIL import Image  # noqa: PLC0415

    figure.set_dpi(130)
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(64)
    image.save(path, optimize=True)


def _write_svg(figure, path: Path) -> None:
    """Matplotlib's SVG with fewer digits, the site's font, and colours that follow its palette."""
    figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="none")
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*_\d+">', "<g>", text)
    prefix = path.stem  # several pictures stand on one page: their names do not meet
    text = re.sub(r'id="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", text)
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0]), text)
    text = re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1system-ui, sans-serif", text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", text)
    for color, variable in VARIABLES.items():
        text = re.sub(color, f"var({variable}, {color})", text, flags=re.IGNORECASE)
    runs = getattr(figure, "gk_runs", None)
    if runs:
        text = text.replace("</svg>", _animation(figure, prefix, *runs) + "</svg>")
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def animate(ax, runs: Mapping[str, tuple[Any, str]], *, seconds: float = 8.0) -> None:
    """Let points walk along their paths in an axes: ``{name: (points, color)}``.

    All runs advance one step at a time, together. A reader who asked for less motion, or who prints
    the page, sees the whole paths.
    """
    figure = ax.figure
    if not hasattr(figure, "gk_runs"):
        figure.gk_runs = ([], seconds)
    figure.gk_runs[0].append((ax, runs))
    for name, (_, color) in runs.items():
        ax.plot([], [], color=color, label=name)


def _animation(figure, prefix: str, panels, seconds: float) -> str:
    """CSS keyframes: the dash of a path and the place of its point at each step."""
    height = figure.bbox.height
    frames, shapes = [], []
    for panel, (ax, runs) in enumerate(panels):
        box = ax.bbox
        clip = f"{prefix}-clip{panel}"
        shapes.append(
            f'<clipPath id="{clip}"><rect x="{box.x0:.1f}" y="{height - box.y1:.1f}" '
            f'width="{box.width:.1f}" height="{box.height:.1f}"/></clipPath>'
        )
        for number, (points, color) in enumerate(runs.values()):
            xy = ax.transData.transform(np.clip(np.asarray(points, np.float64), -1e3, 1e3))
            xy[:, 1] = height - xy[:, 1]
            passed = np.concatenate([[0], np.hypot(*np.diff(xy, axis=0).T).cumsum()])
            left = passed[-1] - passed
            # The last tenth of the time shows the finished path.
            shares = np.linspace(0, 90, len(xy))
            name = f"run-{prefix}-{panel}-{number}"  # a name in CSS does not begin with a digit
            line = "".join(
                f"{s:.4g}%{{stroke-dashoffset:{d:.1f}}}" for s, d in zip(shares, left, strict=True)
            )
            dot = "".join(
                f"{s:.4g}%{{cx:{x:.1f}px;cy:{y:.1f}px}}"
                for s, (x, y) in zip(shares, xy, strict=True)
            )
            frames.append(f"@keyframes {name}l{{{line}}}\n@keyframes {name}d{{{dot}}}")
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in xy)
            ink = f"var({VARIABLES[color]}, {color})" if color in VARIABLES else color
            timing = f"{seconds}s linear infinite"
            end = f"cx:{xy[-1, 0]:.1f}px;cy:{xy[-1, 1]:.1f}px"
            shapes.append(
                f'<g clip-path="url(#{clip})"><path class="gk-run" d="{path}" '
                f'style="fill:none;stroke:{ink};stroke-width:1.8;stroke-linejoin:round;'
                f'stroke-dasharray:{passed[-1] + 1:.1f};animation:{name}l {timing}"/>'
                f'<circle class="gk-run" r="4" style="fill:{ink};{end};'
                f'animation:{name}d {timing}"/></g>'
            )
    still = (
        "@media (prefers-reduced-motion: reduce){.gk-run{animation:none!important}}\n"
        "@media print{.gk-run{animation:none!important}}"
    )
    return "<style>\n" + "\n".join(frames) + f"\n{still}\n</style>\n" + "\n".join(shapes)


# ----------------------------------------------------------------------------------- landscapes


def contours(ax, function, window, levels=9, *, points: int = 90) -> None:
    """Contour lines of a function of two variables in (left, right, bottom, top)."""
    left, right, bottom, top = window
    grid = np.meshgrid(np.linspace(left, right, points), np.linspace(bottom, top, points))
    heights = jax.vmap(jax.vmap(function, 1), 1)(jnp.asarray(np.stack(grid), jnp.float32))
    if isinstance(levels, int):
        low, high = np.quantile(np.asarray(heights), [0.01, 0.97])
        floor = np.asarray(heights).min()
        levels = floor + np.geomspace(max(low - floor, 1e-3 * (high - floor)), high - floor, levels)
    heights, look = np.asarray(heights), {"linewidths": 0.7, "linestyles": "solid", "alpha": 0.7}
    ax.contour(*grid, heights, levels=levels, colors=FAINT, **look)
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_alpha(0.5)


def cross(ax, *places) -> None:
    """Mark minima."""
    ax.plot(*np.array(places, float).T, "x", color=INK, ms=7, mew=1.8, zorder=5)


def walk(ax, points, color, label=None, *, size: float = 2.6) -> None:
    """The path of an optimizer, with a dot at each step."""
    points = np.asarray(points)
    ax.plot(*points.T, "-o", color=color, lw=1.3, ms=size, mew=0, label=label)


def end_label(ax, x, y, text, color, **more) -> None:
    """The name of a curve beside its last point."""
    place = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", **more}
    ax.annotate(text, (x, y), color=color, fontsize=8.5, annotation_clip=False, **place)


# ----------------------------------------------------------------------------------------- runs


def trajectory(tx, function, start, steps: int):
    """The points of a run, the start first, and the values at them. Works under jit and vmap."""
    first = jnp.asarray(start, jnp.result_type(float))
    takes = extras_taken(tx)

    def step(carry, _):
        x, state = carry
        value, grad = jax.value_and_grad(function)(x)
        extras = {"value": value, "grad": grad, "value_fn": function}
        given = {name: extra for name, extra in extras.items() if name in takes}
        updates, state = tx.update(grad, state, x, **given)
        return (x + updates, state), (x, value)

    (last, _), (points, values) = jax.lax.scan(step, (first, tx.init(first)), length=steps)
    return jnp.concatenate([points, last[None]]), jnp.append(values, function(last))
