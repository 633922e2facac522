"""The test problems of Moré, Garbow and Hillstrom, written from their formulas.

Each is a sum of squares f(x) = Σ r_i(x)², with its standard start and the least value known. The
numbers are those of the paper: Testing Unconstrained Optimization Software, ACM TOMS 7 (1981),
17–41, https://doi.org/10.1145/355934.355936.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Problem(NamedTuple):
    """A problem.

    Attributes:
      number: its number in the paper.
      name: its name there.
      residuals: the residuals r(x).
      start: the standard start.
      minima: the values of f at the known minima, the least first.
    """

    number: int
    name: str
    residuals: Callable[[jax.Array], jax.Array]
    start: np.ndarray
    minima: tuple[float, ...]

    def value(self, x: jax.Array) -> jax.Array:
        """F(x) = Σ r²."""
        return jnp.sum(self.residuals(x) ** 2)

    def solved(self, value: float) -> bool:
        """Whether a value is that of a known minimum, to 10⁻⁴ of it or 10⁻⁶."""
        return any(abs(value - least) <= max(1e-4 * abs(least), 1e-6) for least in self.minima)


PROBLEMS: list[Problem] = []


def problem(number: int, name: str, start: object, *minima: float) -> Callable[..., None]:
    """Put a function of residuals among the problems."""

    def put(residuals: Callable[[jax.Array], jax.Array]) -> None:
        PROBLEMS.append(
            Problem(number, name, residuals, np.asarray(start, float), minima or (0.0,))
        )

    return put


@problem(1, "Rosenbrock", [-1.2, 1.0])
def _(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


@problem(2, "Freudenstein and Roth", [0.5, -2.0], 0.0, 48.98425)
def _(x):
    a, b = x
    return jnp.stack([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


@problem(3, "Powell badly scaled", [0.0, 1.0])
def _(x):
    return jnp.stack([1e4 * x[0] * x[1] - 1, jnp.exp(-x[0]) + jnp.exp(-x[1]) - 1.0001])


@problem(4, "Brown badly scaled", [1.0, 1.0])
def _(x):
    return jnp.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


@problem(5, "Beale", [1.0, 1.0])
def _(x):
    powers = jnp.stack([x[1], x[1] ** 2, x[1] ** 3])
    return jnp.array([1.5, 2.25, 2.625]) - x[0] * (1 - powers)


@problem(6, "Jennrich and Sampson", [0.3, 0.4], 124.362)
def _(x):
    i = jnp.arange(1.0, 11.0)
    return 2 + 2 * i - (jnp.exp(i * x[0]) + jnp.exp(i * x[1]))


@problem(7, "Helical valley", [-1.0, 0.0, 0.0])
def _(x):
    angle = jnp.arctan(x[1] / x[0]) / (2 * math.pi) + jnp.where(x[0] < 0, 0.5, 0.0)
    return jnp.stack([10 * (x[2] - 10 * angle), 10 * (jnp.hypot(x[0], x[1]) - 1), x[2]])


BARD = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.1, 4.39]


@problem(8, "Bard", [1.0, 1.0, 1.0], 8.21487e-3, 17.4286)
def _(x):
    u = jnp.arange(1.0, 16.0)
    v = 16 - u
    return jnp.array(BARD) - (x[0] + u / (v * x[1] + jnp.minimum(u, v) * x[2]))


GAUSS = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989]


@problem(9, "Gaussian", [0.4, 1.0, 0.0], 1.12793e-8)
def _(x):
    t = (8 - jnp.arange(1.0, 16.0)) / 2
    return x[0] * jnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - jnp.array(GAUSS + GAUSS[-2::-1])


MEYER = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744]
MEYER += [8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]


@problem(10, "Meyer", [0.02, 4000.0, 250.0], 87.9458)
def _(x):
    t = 45 + 5 * jnp.arange(1.0, 17.0)
    return x[0] * jnp.exp(x[1] / (t + x[2])) - jnp.array(MEYER, float)


@problem(11, "Gulf research and development", [5.0, 2.5, 0.15])
def _(x):
    t = jnp.arange(1.0, 100.0) / 100
    y = 25 + (-50 * jnp.log(t)) ** (2 / 3)
    return jnp.exp(-(jnp.abs(y - x[1]) ** x[2]) / x[0]) - t


@problem(12, "Box three-dimensional", [0.0, 10.0, 20.0])
def _(x):
    t = 0.1 * jnp.arange(1.0, 11.0)
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (jnp.exp(-t) - jnp.exp(-10 * t))


@problem(13, "Powell singular", [3.0, -1.0, 0.0, 1.0])
def _(x):
    a, b, c, d = x
    rest = [math.sqrt(5) * (c - d), (b - 2 * c) ** 2, math.sqrt(10) * (a - d) ** 2]
    return jnp.stack([a + 10 * b, *rest])


@problem(14, "Wood", [-3.0, -1.0, -3.0, -1.0])
def _(x):
    a, b, c, d = x
    pairs = [10 * (b - a**2), 1 - a, math.sqrt(90) * (d - c**2), 1 - c]
    return jnp.stack([*pairs, math.sqrt(10) * (b + d - 2), (b - d) / math.sqrt(10)])


KOWALIK = [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]


@problem(15, "Kowalik and Osborne", [0.25, 0.39, 0.415, 0.39], 3.07505e-4, 1.02734e-3)
def _(x):
    u = jnp.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    return jnp.array(KOWALIK) - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


@problem(16, "Brown and Dennis", [25.0, 5.0, -5.0, -1.0], 85822.2)
def _(x):
    t = jnp.arange(1.0, 21.0) / 5
    first = (x[0] + t * x[1] - jnp.exp(t)) ** 2
    return first + (x[2] + x[3] * jnp.sin(t) - jnp.cos(t)) ** 2


OSBORNE_1 = [0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751]
OSBORNE_1 += [0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490]
OSBORNE_1 += [0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406]


@problem(17, "Osborne 1", [0.5, 1.5, -1.0, 0.01, 0.02], 5.46489e-5)
def _(x):
    t = 10 * jnp.arange(33.0)
    model = x[0] + x[1] * jnp.exp(-t * x[3]) + x[2] * jnp.exp(-t * x[4])
    return jnp.array(OSBORNE_1) - model


@problem(18, "Biggs EXP6", [1.0, 2.0, 1.0, 1.0, 1.0, 1.0], 0.0, 5.65565e-3)
def _(x):
    t = 0.1 * jnp.arange(1.0, 14.0)
    y = jnp.exp(-t) - 5 * jnp.exp(-10 * t) + 3 * jnp.exp(-4 * t)
    model = x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4])
    return model - y


@problem(20, "Watson, 6 variables", np.zeros(6), 2.28767e-3)
def _(x):
    t = jnp.arange(1.0, 30.0)[:, None] / 29
    j = jnp.arange(float(x.size))
    slope = jnp.sum(j[1:] * x[1:] * t ** (j[1:] - 1), 1)
    return jnp.concatenate(
        [slope - jnp.sum(x * t**j, 1) ** 2 - 1, jnp.stack([x[0], x[1] - x[0] ** 2 - 1])]
    )


@problem(21, "Extended Rosenbrock, 10 variables", np.tile([-1.2, 1.0], 5))
def _(x):
    a, b = x[::2], x[1::2]
    return jnp.concatenate([10 * (b - a**2), 1 - a])


@problem(22, "Extended Powell singular, 12 variables", np.tile([3.0, -1.0, 0.0, 1.0], 3))
def _(x):
    a, b, c, d = x.reshape(-1, 4).T
    rest = [math.sqrt(5) * (c - d), (b - 2 * c) ** 2, math.sqrt(10) * (a - d) ** 2]
    return jnp.concatenate([a + 10 * b, *rest])


@problem(23, "Penalty I, 10 variables", np.arange(1.0, 11.0), 7.08765e-5)
def _(x):
    return jnp.append(math.sqrt(1e-5) * (x - 1), jnp.sum(x**2) - 0.25)


@problem(24, "Penalty II, 4 variables", np.full(4, 0.5), 9.37629e-6)
def _(x):
    n, a = x.size, math.sqrt(1e-5)
    i = jnp.arange(1.0, n)
    y = jnp.exp((i + 1) / 10) + jnp.exp(i / 10)
    middle = a * (jnp.exp(x[1:] / 10) + jnp.exp(x[:-1] / 10) - y)
    last = a * (jnp.exp(x[1:] / 10) - math.exp(-1 / 10))
    weighted = jnp.sum((n - jnp.arange(float(n))) * x**2) - 1
    return jnp.concatenate([x[:1] - 0.2, middle, last, weighted[None]])


@problem(25, "Variably dimensioned, 10 variables", 1 - np.arange(1.0, 11.0) / 10)
def _(x):
    moment = jnp.sum(jnp.arange(1.0, x.size + 1) * (x - 1))
    return jnp.concatenate([x - 1, jnp.stack([moment, moment**2])])


@problem(26, "Trigonometric, 10 variables", np.full(10, 0.1), 0.0, 2.79506e-5)
def _(x):
    i = jnp.arange(1.0, x.size + 1)
    return x.size - jnp.sum(jnp.cos(x)) + i * (1 - jnp.cos(x)) - jnp.sin(x)


@problem(27, "Brown almost-linear, 10 variables", np.full(10, 0.5), 0.0, 1.0)
def _(x):
    return jnp.append(x[:-1] + jnp.sum(x) - (x.size + 1), jnp.prod(x) - 1)


def _grid(n):
    return np.arange(1.0, n + 1) / (n + 1)


@problem(28, "Discrete boundary value, 10 variables", _grid(10) * (_grid(10) - 1))
def _(x):
    t, h = jnp.array(_grid(x.size)), 1 / (x.size + 1)
    around = jnp.pad(x, 1)
    return 2 * x - around[:-2] - around[2:] + h**2 * (x + t + 1) ** 3 / 2


@problem(29, "Discrete integral equation, 10 variables", _grid(10) * (_grid(10) - 1))
def _(x):
    t, h = jnp.array(_grid(x.size)), 1 / (x.size + 1)
    cubes = (x + t + 1) ** 3
    before = jnp.cumsum(t * cubes)
    after = jnp.sum((1 - t) * cubes) - jnp.cumsum((1 - t) * cubes)
    return x + h * ((1 - t) * before + t * after) / 2


@problem(30, "Broyden tridiagonal, 10 variables", -np.ones(10))
def _(x):
    around = jnp.pad(x, 1)
    return (3 - 2 * x) * x - around[:-2] - 2 * around[2:] + 1


@problem(31, "Broyden banded, 10 variables", -np.ones(10))
def _(x):
    i = np.arange(x.size)
    gap = i[None, :] - i[:, None]
    near = jnp.array((gap >= -5) & (gap <= 1) & (gap != 0), x.dtype)
    return x * (2 + 5 * x**2) + 1 - near @ (x * (1 + x))


@problem(32, "Linear, full rank, 10 variables", np.ones(10), 10.0)
def _(x):
    total = 2 * jnp.sum(x) / 20
    return jnp.concatenate([x - total - 1, jnp.full(10, -1.0) * total - 1])


@problem(33, "Linear, rank 1, 10 variables", np.ones(10), 20 * 19 / (2 * 41))
def _(x):
    return jnp.arange(1.0, 21.0) * jnp.sum(jnp.arange(1.0, x.size + 1) * x) - 1


@problem(35, "Chebyquad, 8 variables", _grid(8), 3.51687e-3)
def _(x):
    last, now, means = jnp.ones_like(x), 2 * x - 1, []
    for i in range(1, x.size + 1):
        exact = -1 / (i * i - 1) if i % 2 == 0 else 0.0
        means.append(jnp.mean(now) - exact)
        last, now = now, 2 * (2 * x - 1) * now - last
    return jnp.stack(means)
