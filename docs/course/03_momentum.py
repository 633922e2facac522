# %% [markdown]
# # Momentum and Nesterov's method
#
# In a ravine, a loss with one steep and one flat direction, the gradient points across the valley
# and hardly along it. Gradient descent zigzags. Momentum (动量法) keeps a velocity, a sum of past
# gradients with falling weights, in which the alternating components cancel and the constant ones
# add up. ρ is the momentum coefficient (动量因子), 0.9 as a rule:
#
# $$ \Delta\theta_t = \rho\, \Delta\theta_{t-1} - \alpha\, g_t
#    = -\alpha \sum_{\tau=1}^{t} \rho^{\,t-\tau} g_\tau. $$
#
# Nesterov's accelerated gradient (Nesterov 加速梯度法) takes the gradient where the velocity alone
# would lead, so that it brakes earlier:
#
# $$ \Delta\theta_t = \rho\, \Delta\theta_{t-1} - \alpha\, g(\theta_{t-1} + \rho\, \Delta\theta_{t-1}). $$
#
# | method | gradkit |
# |---|---|
# | momentum | [`sgd(α, momentum=ρ)`](../../gradkit/optimizers/sgd.py#sgd) |
# | momentum, averaged | [`momentum(α, β)`](../../gradkit/optimizers/momentum.py#momentum) |
# | Nesterov | [`nesterov(α, ρ)`](../../gradkit/optimizers/nesterov.py#nesterov), or `sgd(α, ρ, nesterov=True)` |
# | exponentially weighted average | [`ema(β)`](../../gradkit/averages/ema.py#ema) |

# %% Imports
import jax
import jax.numpy as jnp
import numpy as np
from style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    animate,
    contours,
    cross,
    picture,
    quick,
    trajectory,
    walk,
)

import gradkit as gk

# %% [markdown]
# ## On a ravine
#
# The loss is $\tfrac12 (\theta_1^2 + \kappa\, \theta_2^2)$, rotated; its condition number (条件数)
# is κ = 40. With the best constants of each method the error shrinks in each step by
#
# | method | α | ρ | factor | κ = 40 |
# |---|---|---|---|---|
# | gradient descent | $2 / (1 + \kappa)$ | | $(\kappa - 1) / (\kappa + 1)$ | 0.951 |
# | momentum | $4 / (1 + \sqrt\kappa)^2$ | $\left(\frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}\right)^2$ | $(\sqrt\kappa - 1) / (\sqrt\kappa + 1)$ | 0.727 |
# | Nesterov | $1 / \kappa$ | $(\sqrt\kappa - 1) / (\sqrt\kappa + 1)$ | $1 - 1 / \sqrt\kappa$ | 0.842 |
#
# To reduce the error by a factor of 1000, gradient descent needs 138 steps, momentum about 22 and
# Nesterov's method about 40. The root of κ is the whole gain.

# %%
KAPPA = 40.0
TURN = np.array([[np.cos(0.35), -np.sin(0.35)], [np.sin(0.35), np.cos(0.35)]], np.float32)
root = KAPPA**0.5


def ravine(x):
    """Curvature 1 along the valley, κ across it."""
    along, across = TURN.T @ x
    return 0.5 * (along**2 + KAPPA * across**2)


METHODS = {
    "gradient descent": (gk.sgd(2 / (1 + KAPPA)), (KAPPA - 1) / (KAPPA + 1), BLUE),
    "momentum": (
        gk.sgd(4 / (1 + root) ** 2, momentum=((root - 1) / (root + 1)) ** 2),
        (root - 1) / (root + 1),
        RED,
    ),
    "Nesterov": (gk.nesterov(1 / KAPPA, (root - 1) / (root + 1)), 1 - 1 / root, GREEN),
}
STEPS, start = 80, (-2.0, -0.35)
run = jax.jit(lambda tx: trajectory(tx, ravine, start, STEPS))
runs = {name: jax.tree.map(np.asarray, run(tx)) for name, (tx, _, _) in METHODS.items()}
for name, (_, factor, _) in METHODS.items():
    errors = np.linalg.norm(runs[name][0], axis=1)
    # Over 40 steps; the errors of momentum have a factor t besides, as a double root has.
    measured = (errors[50] / errors[10]) ** (1 / 40)
    np.testing.assert_allclose(measured, factor, rtol=0.06)


# %% Draw the ravine
@picture("03_ravine")
def draw_ravine(plt):
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.4), width_ratios=(1.6, 1))
    left, right = axes
    contours(left, ravine, (-2.5, 1.25, -1.7, 1.1), np.geomspace(0.02, 60, 10), points=130)
    cross(left, (0, 0))
    animate(left, {n: (runs[n][0][:46], color) for n, (_, _, color) in METHODS.items()}, seconds=12)
    left.legend(loc="upper left", borderpad=0.2)
    for name, (_, factor, color) in METHODS.items():
        right.plot(np.linalg.norm(runs[name][0], axis=1), color=color, lw=1.6)
        ideal = 3 * factor ** np.arange(STEPS)
        right.plot(ideal, color=color, lw=0.9, ls=":")
    right.set(yscale="log", ylim=(1e-5, 10), xlabel="step", title="distance from the minimum")
    return figure


@picture("03_still")
def draw_still(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.1))
    for axis, (name, (_, _, color)) in zip(axes, METHODS.items(), strict=True):
        contours(axis, ravine, (-2.5, 1.1, -1.7, 1.1), np.geomspace(0.02, 60, 8), points=90)
        walk(axis, runs[name][0][:31], color)
        cross(axis, (0, 0))
        axis.set_title(f"{name}, 30 steps")
    return figure


# %% [markdown]
# ![Three methods in a ravine, step by step. On the right: the distance from the minimum, and dotted
# the predicted rate.](../assets/course/03_ravine.svg)
#
# ![The first 30 steps of each of the three methods.](../assets/course/03_still.svg)
#
# ## The exponentially weighted average
#
# The velocity is an exponentially weighted average (指数加权平均). On its own, in the form of the
# lectures, it starts at zero:
#
# $$ v_0 = 0, \qquad v_t = \beta\, v_{t-1} + (1 - \beta)\, x_t. $$
#
# It averages over about $1 / (1 - \beta)$ values, and the variance of the noise falls by the factor
# $(1 - \beta) / (1 + \beta)$. The first values are too small, because $v_0$ is 0; bias correction
# (偏差修正) divides by $1 - \beta^t$. In gradkit `ema(β)` corrects, `ema(β, debias=False)` does not.

# %%
DAYS = 365
rng = np.random.default_rng(0)
day = np.arange(DAYS)
noise = 3 * rng.standard_normal(DAYS).astype(np.float32)
temperature = (12 - 9 * np.cos(2 * np.pi * day / DAYS)).astype(np.float32) + noise + 10


@jax.jit
def averages(tx, values):
    """The average after each value."""
    return jax.lax.scan(lambda state, x: tx.update(x, state)[::-1], tx.init(values[0]), values)[1]


smoothed = {
    (beta, debias): np.asarray(averages(gk.ema(beta, debias=debias), jnp.asarray(temperature)))
    for beta, debias in ((0.9, True), (0.98, True), (0.98, False))
}
# By hand.
v, by_hand = 0.0, []
for x in temperature:
    v = 0.98 * v + 0.02 * x
    by_hand.append(v)
np.testing.assert_allclose(smoothed[0.98, False], by_hand, rtol=1e-5)
corrected = np.array(by_hand) / (1 - 0.98 ** np.arange(1, DAYS + 1))
np.testing.assert_allclose(smoothed[0.98, True], corrected, rtol=1e-4)
# The variance of the averaged noise, over a long series.
long = jnp.asarray(rng.standard_normal(quick(100_000, 20_000)), jnp.float32)
measured = float(jnp.var(averages(gk.ema(0.9), long)[100:]))
np.testing.assert_allclose(measured, 0.1 / 1.9, rtol=0.1)


# %% Draw the averages
@picture("03_average")
def draw_average(plt):
    figure, axis = plt.subplots(figsize=(7.6, 2.7))
    axis.plot(day, temperature, ".", color=FAINT, ms=3.5, mew=0, label="values")
    axis.plot(day, smoothed[0.9, True], color=ORANGE, lw=1.4, label="β = 0.9, about 10 values")
    axis.plot(day, smoothed[0.98, True], color=RED, label="β = 0.98, about 50 values")
    axis.plot(day, smoothed[0.98, False], color=PURPLE, ls="--", lw=1.4,
              label="β = 0.98, without correction")  # fmt: skip
    axis.set(xlabel="day", ylabel="temperature, °C", xlim=(0, DAYS), ylim=(0, 48))
    axis.legend(ncols=2, loc="upper left", borderpad=0.2)
    return figure


# %% [markdown]
# ![Exponentially weighted averages of a noisy series. The uncorrected one begins at
# 0.](../assets/course/03_average.svg)
#
# ## Two ways of writing momentum
#
# Some lectures write momentum with the averaged gradient: $v \leftarrow \beta v + (1 - \beta) g$,
# $\theta \leftarrow \theta - \alpha v$. It takes the same steps as
# $\Delta\theta \leftarrow \beta \Delta\theta - \alpha' g$ with $\alpha' = (1 - \beta)\, \alpha$. And
# Nesterov's method has two forms: one takes the gradient at the point ahead, the other, which
# libraries have, at the parameters themselves; the parameters of the second are the first's points
# ahead.

# %%
averaged = np.asarray(run(gk.momentum(0.4, 0.9))[0])
summed = np.asarray(run(gk.sgd(0.04, momentum=0.9))[0])
np.testing.assert_allclose(averaged, summed, atol=1e-4)

inside = np.asarray(run(gk.sgd(0.02, 0.9, nesterov=True))[0])
theta = ahead = np.array(start)  # by hand: g at θ + ρ Δθ
hessian = TURN @ np.diag([1, KAPPA]) @ TURN.T
step = np.zeros(2)
for t in range(20):
    np.testing.assert_allclose(inside[t], ahead, atol=1e-4)
    step = 0.9 * step - 0.02 * hessian @ ahead
    theta = theta + step
    ahead = theta + 0.9 * step

# %% [markdown]
# ## Out of a local minimum
#
# The velocity also carries the parameter through shallow local minima (局部极小值) and over plateaus
# (平坦区域). It is not a guarantee: with more momentum it would leave the deep minimum too.


# %%
def hills(x):
    """A shallow minimum near −0.6, a deep one near 1.5."""
    return 0.12 * (x - 1.5) ** 2 - 0.3 * jnp.exp(-((x + 0.6) ** 2) / 0.12)


roll = jax.jit(lambda tx: trajectory(tx, hills, -2.4, 150))
ROLLS = {"gradient descent": (0.15, 0.0, BLUE), "momentum 0.9": (0.15, 0.9, RED)}
rolls = {name: np.asarray(roll(gk.sgd(a, rho))[0]) for name, (a, rho, _) in ROLLS.items()}
assert rolls["gradient descent"][-1] < -0.3
assert abs(rolls["momentum 0.9"][-1] - 1.5) < 0.1


# %% Draw the hills
@picture("03_hills")
def draw_hills(plt):
    figure, axis = plt.subplots(figsize=(5.6, 2.6))
    x = np.linspace(-2.7, 3.6, 300)
    axis.plot(x, np.asarray(hills(jnp.asarray(x))), color=INK, lw=1.2)
    animate(axis, {
        name: (np.stack([p, np.asarray(hills(jnp.asarray(p))) + lift], 1)[:100], ROLLS[name][2])
        for (name, p), lift in zip(rolls.items(), (0.03, 0.06))
    }, seconds=9)  # fmt: skip
    axis.set(xlabel="θ", ylabel="loss", ylim=(-0.1, 2.1))
    axis.legend(loc="upper right")
    return figure


# %% [markdown]
# ![Gradient descent stops in the shallow minimum; momentum rolls through
# it.](../assets/course/03_hills.svg)
#
# At first the gradients agree and momentum accelerates; near the minimum they alternate and it
# damps. [Adaptive methods](04_adaptive.md) change the step of each parameter on its own.
