"""Draw docs/assets/paths/*.svg, the path of every optimizer on two landscapes.

    python docs/pictures/paths.py [name ...]

The landscapes are a rotated ravine (a quadratic whose curvatures are 1 and 30) and Rosenbrock's
valley. For each the learning rate is the best of a logarithmic grid: the one with the lowest mean
of log f along the path. The dashed path is plain gradient descent, its rate chosen in the same way.
The whole grid is one vmap over the transform.

The colours are CSS variables with a default: an SVG inside a page takes the page's, a linked one
the default, which is readable on white and on black.
"""

import sys
from pathlib import Path

import contourpy
import jax
import jax.numpy as jnp
import numpy as np

DOCS = Path(__file__).parents[1]
sys.path.insert(0, str(DOCS))
from formulas import FAMILIES, Method  # noqa: E402  beside this script

from gradkit._entry import extras_taken  # noqa: E402

WIDTH, HEIGHT, GAP = 350, 250, 20
TURN = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]], np.float32)


def ravine(x):
    """Half of a quadratic form with the curvatures 1 and 30, rotated."""
    along, across = TURN.T @ x
    return 0.5 * (along**2 + 30.0 * across**2)


def rosenbrock(x):
    """Rosenbrock's function with the factor 10."""
    return (1.0 - x[0]) ** 2 + 10.0 * (x[1] - x[0] ** 2) ** 2


# The residuals r of each function, which is ½‖r‖².
RESIDUALS = {
    ravine: lambda x: jnp.array([1.0, 30.0]) ** 0.5 * (TURN.T @ x),
    rosenbrock: lambda x: 2**0.5 * jnp.stack([1.0 - x[0], 10**0.5 * (x[1] - x[0] ** 2)]),
}

# name -> function, start, minimum, steps, window (left, right, bottom, top), levels
LANDSCAPES = {
    "A ravine, curvatures 1 and 30": (
        ravine,
        (-1.7, -0.2),
        (0.0, 0.0),
        60,
        (-2.1, 2.1, -1.5, 1.5),
        np.geomspace(0.05, 40, 9),
    ),
    "Rosenbrock's valley": (
        rosenbrock,
        (-1.2, 0.9),
        (1.0, 1.0),
        150,
        (-1.6, 1.6, -0.65, 1.64),
        np.geomspace(0.05, 60, 9),
    ),
}


def path(method: Method, name: str, function, start, steps: int, rate):
    """The points of a run, and the values of the function at them."""
    tx = method.transform(name, rate)
    first = jnp.asarray(start, jnp.float32)
    if method.matrix:
        first, point = jnp.diag(first), function

        def function(x):
            return point(jnp.diag(x))

    def step(carry, _):
        x, state = carry
        value, grad = jax.value_and_grad(function)(x)
        given = jnp.stack([grad] * 8) if method.examples else grad
        extras = {"value": value, "grad": grad, "value_fn": function}
        if "residual_fn" in extras_taken(tx):
            extras["residual_fn"] = RESIDUALS[function]
        updates, state = tx.update(given, state, x, **extras)
        return (x + updates, state), (x, value)

    (last, _), (points, values) = jax.lax.scan(step, (first, tx.init(first)), length=steps)
    points = jnp.concatenate([points, last[None]])
    if method.matrix:
        points = jnp.diagonal(points, axis1=1, axis2=2)
    return points, jnp.append(values, function(last))


def best(method: Method, name: str, landscape: str):
    """The best rate of the grid and its path; a path that leaves the window counts as worse."""
    function, start, _, steps, (left, right, bottom, top), _ = LANDSCAPES[landscape]
    low, high = np.log10(method.rates)
    rates = np.array([1.0]) if method.fixed else np.logspace(low, high, int(12 * (high - low)) + 1)
    points, values = jax.jit(
        jax.vmap(lambda rate: path(method, name, function, start, steps, rate))
    )(rates.astype(np.float32))
    points, values = np.asarray(points, np.float64), np.asarray(values, np.float64)
    score = np.log10(values + 1e-4).mean(axis=1)
    x, y = points[..., 0], points[..., 1]
    outside = ((x < left) | (x > right) | (y < bottom) | (y > top)).any(axis=1)
    chosen = int(np.argmin(np.where(np.isfinite(score), score + 2 * outside, np.inf)))
    return float(rates[chosen]), points[chosen]


def place(points, window) -> list[tuple[float, float]]:
    """Coordinates of the panel."""
    left, right, bottom, top = window
    points = np.clip(np.nan_to_num(points), -50, 50)
    x = (points[:, 0] - left) / (right - left) * WIDTH
    y = (top - points[:, 1]) / (top - bottom) * HEIGHT
    return [(round(float(a), 1), round(float(b), 1)) for a, b in zip(x, y)]


def line(places) -> str:
    """A polyline as path data, each point relative to the one before: short."""
    data, (px, py) = f"M{places[0][0]:g} {places[0][1]:g}l", places[0]
    for x, y in places[1:]:
        data += f"{x - px:.1f} {y - py:.1f} ".replace(".0 ", " ").replace(" 0.", " .")
        px, py = x, y
    return data.rstrip()


def contours(landscape: str) -> str:
    """The lines of equal height, as one path."""
    function, _, _, _, window, levels = LANDSCAPES[landscape]
    left, right, bottom, top = window
    x, y = np.linspace(left, right, 85), np.linspace(bottom, top, 61)
    grid = np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)
    heights = np.asarray(jax.vmap(jax.vmap(function))(grid))
    generator = contourpy.contour_generator(x, y, heights)
    found = [piece for level in levels for piece in generator.lines(float(level))]
    kept = [piece[sorted({*range(0, len(piece), 2), len(piece) - 1})] for piece in found]
    return "".join(line(place(piece, window)) for piece in kept if len(piece) > 2)


def dots(places) -> str:
    """A dot for each step: lines of no length with round ends."""
    return "".join(f"M{x:g} {y:g}h0" for x, y in places)


def panel(landscape: str, own, plain, shift: int, caption: str) -> str:
    """One landscape with both paths."""
    _, start, minimum, _, window, _ = LANDSCAPES[landscape]
    (sx, sy), (mx, my) = place(np.array([start, minimum]), window)
    places = place(own, window)
    cross = f"M{mx - 5:g} {my:g}h10M{mx:g} {my - 5:g}v10"
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f"""<svg x="{shift}" y="22" {size} viewBox="0 0 {WIDTH} {HEIGHT}">
<path class="c" d="{contours(landscape)}"/>
<path class="s" d="{line(place(plain, window))}"/>
<path class="p" d="{line(places)}"/>
<path class="d" d="{dots(places)}"/>
<circle class="o" cx="{sx:g}" cy="{sy:g}" r="5"/><path class="m" d="{cross}"/>
</svg>
<rect class="f" x="{shift}" y="22" {size} rx="6"/>
<text x="{shift}" y="14">{landscape}</text>
<text x="{shift + WIDTH}" y="14" text-anchor="end">{caption}</text>
"""


STYLE = """.gk-path path,.gk-path circle,.gk-path rect{fill:none}
.gk-path path{stroke-linecap:round;stroke-linejoin:round}
.gk-path .c{stroke:var(--gk-contour,#8b93a7);stroke-width:.9;opacity:.6}
.gk-path .s{stroke:var(--gk-plain,#8b93a7);stroke-width:1.4;stroke-dasharray:4 3}
.gk-path .p{stroke:var(--gk-accent,#f0602d);stroke-width:1.4}
.gk-path .d{stroke:var(--gk-accent,#f0602d);stroke-width:4}
.gk-path .o{stroke:var(--gk-accent,#f0602d);stroke-width:2}
.gk-path .m{stroke:var(--gk-ink,#7a8296);stroke-width:2}
.gk-path .f{stroke:var(--gk-contour,#8b93a7);opacity:.4}
.gk-path text{fill:var(--gk-ink,#7a8296);font:12px system-ui,sans-serif}"""


def picture(name: str, method: Method, plain: dict) -> str:
    """The SVG of a method. No line is empty: the pages include it as HTML."""
    panels = ""
    for index, landscape in enumerate(LANDSCAPES):
        rate, own = best(method, name, landscape)
        caption = "" if method.fixed else f"learning rate {rate:.2g}"
        panels += panel(landscape, own, plain[landscape][1], index * (WIDTH + GAP), caption)
    width, height = 2 * WIDTH + GAP, HEIGHT + 23
    box = f'viewBox="-1 0 {width + 2} {height}" role="img"'
    return f"""<svg class="gk-path" xmlns="http://www.w3.org/2000/svg" {box}>
<title>The steps of {name} on a ravine and in Rosenbrock's valley</title>
<style>{STYLE}</style>
{panels}</svg>
"""


def draw(names: set[str]) -> None:
    """The pictures of these methods, or of all."""
    folder = DOCS / "assets" / "paths"
    folder.mkdir(parents=True, exist_ok=True)
    sgd = Method("", lambda rate: __import__("gradkit").sgd(rate))
    plain = {landscape: best(sgd, "sgd", landscape) for landscape in LANDSCAPES}
    for methods in FAMILIES.values():
        for name, method in methods.items():
            if not names or name in names:
                (folder / f"{name}.svg").write_text(picture(name, method, plain), encoding="utf-8")
                print(name, flush=True)


if __name__ == "__main__":
    draw(set(sys.argv[1:]))
