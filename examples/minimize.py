"""Second-order methods: seven of them on three landscapes, with steps and evaluations.

    python examples/minimize.py

Every method starts at the same point and ends when the gradient is small. Gradient descent with the
same line search is shown for comparison.
"""

# %% Three functions of two variables: a narrow valley, a bowl of four powers, a saddle on the way.

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import gradkit as gk


def rosenbrock(x):
    """A curved valley: its minimum is at (1, 1)."""
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def beale(x):
    """Steep walls around a flat bottom: its minimum is at (3, 0.5)."""
    powers = jnp.stack([x[1], x[1] ** 2, x[1] ** 3])
    return jnp.sum((jnp.array([1.5, 2.25, 2.625]) - x[0] * (1 - powers)) ** 2)


def saddle(x):
    """A saddle at (0, 0) between two minima at (0, ±1): Newton's equation leads to the saddle."""
    return x[0] ** 2 + (x[1] ** 2 - 1) ** 2


# name -> function, start, minima, window (left, right, bottom, top)
LANDSCAPES = {
    "Rosenbrock's valley": (rosenbrock, (-1.2, 1.0), [(1, 1)], (-1.7, 1.7, -0.9, 2.0)),
    "Beale's function": (beale, (1.0, 1.0), [(3, 0.5)], (0.0, 4.2, -1.2, 1.4)),
    "A saddle": (saddle, (1.2, 0.2), [(0, 1), (0, -1)], (-1.0, 1.6, -1.4, 1.4)),
}

# %% A method is a chain of a direction and a line search.

SEARCH = gk.scale_by_zoom_linesearch(20)
METHODS = {
    "gradient descent": gk.chain(gk.sgd(1.0), SEARCH),
    "conjugate gradients": gk.nonlinear_cg(),
    "L-BFGS": gk.lbfgs(),
    "BFGS": gk.bfgs(),
    "DFP": gk.dfp(),
    "Newton-CG": gk.newton_cg(),
    "Newton, trust region": gk.newton_cg(trust_radius=0.5),
    "Newton": gk.newton(),
}


# %% Solve, and print steps and evaluations. The landscape is an argument: one compilation a method.


def landscape(x, number):
    """One of the three functions."""
    return jax.lax.switch(number, [function for function, *_ in LANDSCAPES.values()], x)


def solve(names: list[str], most: int) -> dict[str, dict[str, gk.Result]]:
    """Every method on every landscape, with every point."""
    found = {}
    for name in names:
        tx = METHODS[name]
        found[name] = {
            title: gk.minimize(function, jnp.array(start), tx, tol=1e-3, max_steps=most, trace=True)
            for title, (function, start, _, _) in LANDSCAPES.items()
        }
        cells = [
            f"{int(r.steps):5d} steps {int(r.evaluations):5d} evaluations {r.reason:10s}"
            for r in found[name].values()
        ]
        print(f"{name:22s}" + " | ".join(cells), flush=True)
    return found


# %% The paths in one picture: four methods beside each other, the landscapes below.


def draw(found: dict[str, dict[str, gk.Result]], path: Path) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    names, many = list(found), len(LANDSCAPES)
    columns, blocks = min(len(names), 4), -(-len(names) // 4)
    size = (2.3 * columns, (1.75 * many + 0.2) * blocks)
    figure, axes = plt.subplots(many * blocks, columns, figsize=size, layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (title, (function, start, minima, window)) in enumerate(LANDSCAPES.items()):
        left, right, bottom, top = window
        grid = np.meshgrid(np.linspace(left, right, 80), np.linspace(bottom, top, 80))
        points = jnp.asarray(np.stack(grid), jnp.float32)
        heights = np.log1p(jax.vmap(jax.vmap(function, 1), 1)(points))
        for i, name in enumerate(names):
            axis, result = axes[row + many * (i // 4)][i % 4], found[name][title]
            axis.set_axis_on()
            axis.contour(
                *grid, heights, levels=6, colors="#c3c9d4", linewidths=0.6, antialiased=False
            )
            axis.plot(*np.asarray(result.trace.x).T, "-o", color="#e4572e", lw=1.1, ms=2.4)
            axis.plot(*start, "o", color="#222831", ms=4)
            axis.plot(*np.array(minima).T, "+", color="#1b6ca8", ms=9, mew=2)
            axis.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
            said = f"{int(result.steps)} steps, {int(result.evaluations)} evaluations"
            axis.set_xlabel(said, fontsize=8)
            if row == 0:
                axis.set_title(name, fontsize=10)
            if i % 4 == 0:
                axis.set_ylabel(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description="Second-order methods on three landscapes.")
    parser.add_argument("--steps", type=int, default=500, help="the most steps (default: 500)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/minimize.png"),
        help="path of the picture (default: out/minimize.png)",
    )
    options = parser.parse_args(arguments)
    draw(solve(options.methods, options.steps), options.out)
    print(f"The paths: {options.out}")


if __name__ == "__main__":
    main()
