# %% [markdown]
# # Second-order methods
#
# The Hessian H, the matrix of second derivatives (Hessian 矩阵), says how the gradient changes.
#
# | method | direction | cost of a step | gradkit |
# |---|---|---|---|
# | Newton's method (牛顿法) | $H^{-1} g$ | n products with H, n³ | [`newton`](../../gradkit/optimizers/newton.py#newton) |
# | quasi-Newton methods (拟牛顿法): BFGS | a positive definite matrix in place of $H^{-1}$, from differences of gradients | n² | [`bfgs`](../../gradkit/optimizers/bfgs.py#bfgs), [`dfp`](../../gradkit/optimizers/bfgs.py#dfp) |
# | L-BFGS | the same from the last m differences | m n | [`lbfgs`](../../gradkit/optimizers/lbfgs.py#lbfgs) |
# | conjugate gradients (共轭梯度法) | $g + \beta d'$, conjugate to the last direction | n | [`nonlinear_cg`](../../gradkit/optimizers/nonlinear_cg.py#nonlinear_cg) |
# | Newton–CG | $H^{-1} g$ by conjugate gradients | some products with H | [`newton_cg`](../../gradkit/optimizers/newton_cg.py#newton_cg) |
# | Gauss–Newton, Levenberg–Marquardt | $(J^\top J + \lambda D^2)^{-1} g$ for ½‖r‖² | the Jacobian J | [`levenberg_marquardt`](../../gradkit/optimizers/levenberg_marquardt.py#levenberg_marquardt) |
# | Shampoo | $L^{-1/4}\, G\, R^{-1/4}$ for a matrix of weights | two small matrices | [`shampoo`](../../gradkit/optimizers/shampoo.py#shampoo) |
#
# [`minimize`](../../gradkit/_minimize.py#minimize) runs any of them, with a line search that chooses
# the length of the step. [Minimizing a function](../minimize.md) has the details.

# %% Imports
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    contours,
    cross,
    picture,
    quick,
    table,
    walk,
)

import gradkit as gk

# %% [markdown]
# ## The rate of convergence
#
# Rosenbrock's valley in float64. Let $e_t$ be the distance from the minimum. Gradient descent
# converges linearly, $e_{t+1} \approx c\, e_t$ with c close to 1; quasi-Newton methods superlinearly,
# $e_{t+1} / e_t \to 0$; Newton's method quadratically, $e_{t+1} \approx C e_t^2$: the number of correct
# digits doubles in every step.


# %%
def rosenbrock(x):
    """A curved valley; the minimum is at (1, 1)."""
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


METHODS = {
    "gradient descent": (gk.chain(gk.sgd(1.0), gk.scale_by_zoom_linesearch(20)), INK),
    "conjugate gradients": (gk.nonlinear_cg(), SKY),
    "L-BFGS": (gk.lbfgs(), ORANGE),
    "BFGS": (gk.bfgs(), GREEN),
    "Newton–CG": (gk.newton_cg(), PURPLE),
    "Newton": (gk.newton(), RED),
}
START, results = (-1.2, 1.0), {}
with jax.enable_x64(True):
    for name in quick(list(METHODS), ["BFGS", "Newton"]):
        result = gk.minimize(
            rosenbrock, jnp.array(START), METHODS[name][0], tol=1e-10, max_steps=100, trace=True
        )
        points, evaluations = np.asarray(result.trace.x), int(result.evaluations)
        results[name] = (points, np.linalg.norm(points - 1, axis=1), evaluations, result.reason)
errors = {name: result[1] for name, result in results.items()}
late = errors["Newton"][(errors["Newton"] < 0.1) & (errors["Newton"] > 1e-11)]
for before, after in pairwise(late):
    assert after < 20 * before**2  # quadratic
assert errors["Newton"][-1] < 1e-12
assert errors["BFGS"][-1] / errors["BFGS"][-2] < 0.02  # superlinear: the last factor is small
assert len(errors["Newton"]) < len(errors["BFGS"])
if "gradient descent" in errors:
    factors = errors["gradient descent"][-20:] / errors["gradient descent"][-21:-1]
    assert np.median(factors) > 0.95  # linear, and slow
table(
    "08_methods",
    ("method", "steps", "evaluations", "error at the end", "reason"),
    [(name, len(r[1]) - 1, r[2], f"{r[1][-1]:.0e}", r[3]) for name, r in results.items()],
)


# %% Draw the convergence
@picture("08_convergence")
def draw_convergence(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.2), width_ratios=(1, 1, 1.45))
    for axis, names in zip(axes, (("gradient descent", "Newton"), ("BFGS", "conjugate gradients"))):
        contours(axis, rosenbrock, (-1.7, 1.5, -0.8, 1.9), np.geomspace(0.3, 900, 10), points=120)
        for name in names:
            walk(axis, results[name][0][:80], METHODS[name][1], name)
        cross(axis, (1, 1))
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), handlelength=1.4)
    for name, error in errors.items():
        axes[2].plot(np.maximum(error, 1e-16), color=METHODS[name][1], lw=1.6, label=name)
    axes[2].set(yscale="log", xlabel="step", title="distance from the minimum", xlim=(0, 115),
                ylim=(1e-14, 10))  # fmt: skip
    axes[2].legend(loc="lower right", fontsize=8, borderpad=0, labelspacing=0.3, handlelength=1.2)
    return figure


# %% [markdown]
# ![Paths in Rosenbrock's valley, and the distance from the minimum by
# step.](../assets/course/08_convergence.svg)
#
# --8<-- "docs/assets/course/08_methods.txt"
#
# ## On a quadratic function
#
# Newton's method needs one step. Conjugate gradients with an exact line search need n steps at most,
# and only as many as there are different eigenvalues: 3 below, though n is 30 and the condition
# number (条件数) is 1000. Gradient descent depends on the condition number alone. And Newton's method does not depend on the
# coordinates: after a linear change of variables its iterates are the same points.

# %%
rng = np.random.default_rng(0)
basis = np.linalg.qr(rng.standard_normal((30, 30)))[0]
spectrum = np.repeat([1.0, 30.0, 1000.0], 10)
A, b = basis @ np.diag(spectrum) @ basis.T, rng.standard_normal(30)


def quadratic(x, a, b):
    """½ xᵀ a x − bᵀ x."""
    return 0.5 * x @ a @ x - b @ x


with jax.enable_x64(True):
    start, args = jnp.ones(30), (jnp.asarray(A), jnp.asarray(b))
    exact = gk.scale_by_zoom_linesearch(
        60, slope_rtol=1e-8, curv_rtol=1e-7, stepsize_precision=1e-14
    )
    conjugate = gk.nonlinear_cg(linesearch=exact)
    cg = gk.minimize(quadratic, start, conjugate, args=args, tol=1e-6, max_steps=30)
    one = gk.minimize(quadratic, start, gk.newton(), args=args, tol=1e-6, max_steps=30)
    M = jnp.asarray(rng.standard_normal((2, 2)) + 2 * np.eye(2))
    turned = gk.minimize(
        lambda y: rosenbrock(M @ y), jnp.linalg.solve(M, jnp.array(START)), gk.newton(),
        tol=1e-10, max_steps=100, trace=True,
    )  # fmt: skip
    same = np.asarray(turned.trace.x) @ np.asarray(M).T
assert int(one.steps) == 1
assert int(cg.steps) == 3
np.testing.assert_allclose(same[:8], results["Newton"][0][:8], atol=1e-6)

# %% [markdown]
# ## Saddle points
#
# Newton's equation $H d = -g$ leads to the nearest point with zero gradient, be it a minimum or a
# saddle point (鞍点), where H has eigenvalues of both signs. gradkit's `newton` takes the absolute
# values of the eigenvalues, so that it leaves saddles; `modify=False` is the bare equation.


# %%
def saddle(x):
    """A saddle at (0, 0) between two minima at (0, ±1)."""
    return x[0] ** 2 + (x[1] ** 2 - 1) ** 2


TO = {
    "bare": (gk.newton(1.0, linesearch=None, modify=False), ORANGE),
    "absolute eigenvalues": (gk.newton(), RED),
}
from_saddle = {}
for name, (tx, _) in TO.items():
    found = gk.minimize(saddle, jnp.array([1.2, 0.2]), tx, tol=1e-3, max_steps=20, trace=True)
    from_saddle[name] = np.asarray(found.trace.x)
np.testing.assert_allclose(from_saddle["bare"][-1], [0, 0], atol=1e-2)
np.testing.assert_allclose(from_saddle["absolute eigenvalues"][-1], [0, 1], atol=1e-2)


# %% Draw the saddle
@picture("08_saddle")
def draw_saddle(plt):
    figure, axis = plt.subplots(figsize=(3.6, 3.0))
    levels = [0.05, 0.2, 0.5, 0.8, 1.0, 1.3, 1.8, 2.5]
    contours(axis, saddle, (-0.7, 1.5, -1.4, 1.4), levels)
    for name, points in from_saddle.items():
        walk(axis, points, TO[name][1], name, size=4)
    cross(axis, (0, 1), (0, -1))
    axis.legend(loc="lower right", borderpad=0.2)
    return figure


# %% [markdown]
# ![Newton's equation leads to the saddle; with absolute eigenvalues the path leads to a
# minimum.](../assets/course/08_saddle.svg)
#
# ## Least squares
#
# For a sum of squares ½‖r(θ)‖² the product $J^\top J$ of the Jacobian is a good Hessian without
# second derivatives. The data are the population of the United States in the censuses from 1790 to
# 1990, in millions; the model is logistic growth, $K / (1 + e^{-r (t - t_0)})$.

# %%
YEARS = np.arange(1790, 1991, 10)
MILLIONS = np.array(
    [3.93, 5.31, 7.24, 9.64, 12.87, 17.07, 23.19, 31.44, 39.82, 50.16, 62.95, 75.99, 91.97, 105.71,
     122.78, 131.67, 151.33, 179.32, 203.21, 226.5, 248.71]
)  # fmt: skip


def model(theta, years):
    """Logistic growth: its limit, its rate and the year of the half."""
    limit, rate, half = theta
    return limit / (1 + jnp.exp(-rate * (years - half)))


def residuals(theta):
    return model(theta, jnp.asarray(YEARS, theta.dtype)) - jnp.asarray(MILLIONS, theta.dtype)


with jax.enable_x64(True):
    guess = jnp.array([200.0, 0.02, 1900.0])
    fit = gk.least_squares(residuals, guess, tol=1e-2, trace=True)
    assert fit.converged
    values = np.asarray(fit.trace.value)
    if not quick(False, True):
        slow = METHODS["gradient descent"][0]
        descent = gk.least_squares(residuals, guess, slow, max_steps=300, trace=True)
        by_descent = np.asarray(descent.trace.value)
        # The parameters differ in scale by 100,000.
        assert by_descent[-1] > 1.1 * values[-1]
    limit, rate, half = np.asarray(fit.x)
assert len(values) < 20
assert 350 < limit < 430
assert 1960 < half < 1990


# %% Draw the fit
@picture("08_fit")
def draw_fit(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.8))
    t = np.linspace(1790, 2050, 100)
    left.plot(t, np.asarray(model(np.asarray(guess, np.float32), t)), color=INK, lw=1.2, ls=":",
              label="start")  # fmt: skip
    left.plot(t, limit / (1 + np.exp(-rate * (t - half))), color=RED, label="fit")
    left.plot(YEARS, MILLIONS, "o", color=BLUE, ms=4, label="census")
    left.set(xlabel="year", title="population, millions", ylim=(0, 400))
    left.legend(loc="upper left", borderpad=0)
    right.plot(np.arange(1, len(by_descent) + 1), by_descent, color=INK, label="gradient descent")
    right.plot(np.arange(1, len(values) + 1), values, "-o", ms=3, color=RED,
               label="Levenberg–Marquardt")  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="step", title="half the sum of squares")
    right.legend(loc="lower left", borderpad=0)
    return figure


# %% [markdown]
# ![Logistic growth fitted to census data; both methods have the same
# start.](../assets/course/08_fit.svg)
#
# ## In networks
#
# A network with n parameters has an n × n Hessian, too large from some thousand on, and mini-batches
# make its estimates noisy. Methods such as K-FAC and Shampoo keep two small matrices for each matrix
# of weights, one for its rows and one for its columns. L-BFGS works with large batches or, as here,
# with all data: 1000 digits, a hidden layer of 32 units, every method with its own rate.

# %%
COUNT, digits = quick(1000, 200), load_digits()
images = jnp.asarray(digits.data[:COUNT] / 16, jnp.float32)
labels = jnp.asarray(digits.target[:COUNT])


def loss_fn(params):
    """Cross entropy over all images."""
    logits = jnp.tanh(images @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
    return gk.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


xavier, (k1, k2) = gk.initializers.xavier(), jax.random.split(jax.random.key(0))
params = {"w1": xavier(k1, (64, 32)), "b1": jnp.zeros(32), "w2": xavier(k2, (32, 10)),
          "b2": jnp.zeros(10)}  # fmt: skip
STEPS = quick(100, 30)
NETWORK = {
    "gradient descent": (gk.sgd(1.0), INK),
    "Adam": (gk.adam(0.03), BLUE),
    "Shampoo": (gk.shampoo(0.03, precondition_frequency=1), PURPLE),
    "L-BFGS": (gk.lbfgs(), ORANGE),
    "Newton–CG": (gk.newton_cg(damping=1e-3), RED),
}
curves = {}
for name in quick(list(NETWORK), ["gradient descent", "Adam"]):
    result = gk.minimize(loss_fn, params, NETWORK[name][0], tol=1e-6, max_steps=STEPS, trace=True)
    curves[name] = np.asarray(result.trace.value), np.asarray(result.trace.evaluations)
for name, (values, _) in curves.items():
    assert name == "gradient descent" or values[-1] < 0.8 * curves["gradient descent"][0][-1]


# %% Draw the network
@picture("08_network")
def draw_network(plt):
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.9), sharey=True)
    for name, (values, evaluations) in curves.items():
        axes[0].plot(values, color=NETWORK[name][1], label=name)
        axes[1].plot(evaluations, values, color=NETWORK[name][1], label=name)
    axes[0].set(yscale="log", xlabel="step", ylabel="cross entropy", ylim=(1e-4, 3))
    axes[1].set(xscale="log", xlabel="evaluations of the loss and its gradient")
    axes[1].legend(loc="lower left", borderpad=0)
    return figure


# %% [markdown]
# ![A network on all data, by step and by evaluation. The products with the Hessian of Newton–CG are
# not counted.](../assets/course/08_network.svg)
