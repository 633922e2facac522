# %% [markdown]
# # Adaptive methods
#
# The methods of this page give each parameter a step of its own. All have one form,
#
# $$ \Delta\theta_t = -\frac{\alpha_t}{\sqrt{G_t + \varepsilon}} \odot M_t, \qquad
# M_t = \varphi(g_1, \dots, g_t), \qquad G_t = \psi(g_1^2, \dots, g_t^2), $$
#
# where φ estimates the direction and ψ the size of the gradient of each parameter. $g^2$ is
# elementwise, ⊙ the elementwise product.
#
# | method | $M_t$ | $G_t$ | gradkit |
# |---|---|---|---|
# | AdaGrad | $g_t$ | $\sum_\tau g_\tau^2$ | [`adagrad`](../../gradkit/optimizers/adagrad.py#adagrad) |
# | RMSprop | $g_t$ | $\beta G_{t-1} + (1-\beta) g_t^2$ | [`rmsprop`](../../gradkit/optimizers/rmsprop.py#rmsprop) |
# | AdaDelta | $g_t$ | as RMSprop; α is $\sqrt{X_{t-1}^2 + \varepsilon}$ | [`adadelta`](../../gradkit/optimizers/adadelta.py#adadelta) |
# | Adam | $\hat M_t = M_t / (1 - \beta_1^t)$, $M_t = \beta_1 M_{t-1} + (1-\beta_1) g_t$ | $\hat G_t = G_t / (1 - \beta_2^t)$ | [`adam`](../../gradkit/optimizers/adam.py#adam) |
# | Nadam | $\beta_1 \hat M_{t+1} + (1 - \beta_1) g_t / (1 - \beta_1^t)$ | as Adam | [`nadam`](../../gradkit/optimizers/nadam.py#nadam) |
# | AMSGrad | as Adam | the largest $\hat G$ so far | [`amsgrad`](../../gradkit/optimizers/amsgrad.py#amsgrad) |
# | AdamW | as Adam, then $-\alpha \lambda \theta$ | as Adam | [`adamw`](../../gradkit/optimizers/adamw.py#adamw) |
#
# In AdaDelta $X^2$ is the average of the squared updates, so that the update has the unit of the
# parameter. The lectures have ε under the root, gradkit's `eps_root`; the papers have it outside,
# `eps`. [The idea](../idea.md) compares each with the formula.

# %% Imports
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
    animate,
    contours,
    cross,
    picture,
    quick,
    trajectory,
)

import gradkit as gk

# %% [markdown]
# ## Three landscapes
#
# A ravine along an axis, with the condition number (条件数) 100; a saddle point (鞍点), where the
# gradient is nearly zero and the way out is to the side; and Beale's function, flat around its
# minimum and steep at the walls. A method has one learning rate for all three.


# %%
def ravine(x):
    """Curvatures 1 and 100, along the axes."""
    return 0.5 * (x[0] ** 2 + 100 * x[1] ** 2)


def saddle(x):
    """A saddle at (0, 0) between two minima at (0, ±1.5)."""
    return 0.5 * x[0] ** 2 - 0.5 * x[1] ** 2 + x[1] ** 4 / 9


def beale(x):
    """Steep walls around a flat bottom; the minimum is at (3, 0.5)."""
    powers = jnp.stack([x[1], x[1] ** 2, x[1] ** 3])
    return jnp.sum((jnp.array([1.5, 2.25, 2.625]) - x[0] * (1 - powers)) ** 2)


# function, start, minima, window
LANDSCAPES = {
    "ravine": (ravine, (-1.8, 0.35), [(0, 0)], (-2.1, 0.7, -0.5, 0.5)),
    "saddle": (saddle, (1.6, 0.02), [(0, 1.5), (0, -1.5)], (-0.9, 1.9, -1.2, 1.9)),
    "Beale's function": (beale, (1.0, 1.2), [(3, 0.5)], (0.2, 3.6, -0.2, 1.5)),
}
METHODS = {
    "gradient descent": (gk.sgd(0.01), INK),
    "momentum": (gk.sgd(0.005, momentum=0.9), BLUE),
    "AdaGrad": (gk.adagrad(0.4, 0.0, 1e-8), GREEN),
    "RMSprop": (gk.rmsprop(0.03, 0.9), ORANGE),
    "AdaDelta": (gk.adadelta(1.0, 0.9, 1e-3), SKY),
    "Adam": (gk.adam(0.1), RED),
    "Nadam": (gk.nadam(0.1), PURPLE),
    "AMSGrad": (gk.amsgrad(0.1), PURPLE),
}
STEPS = 200
starts = jnp.array([start for _, start, _, _ in LANDSCAPES.values()])


@jax.jit
def run(tx):
    """The path on each landscape."""
    functions = [function for function, *_ in LANDSCAPES.values()]

    def one(number, start):
        return trajectory(tx, lambda x: jax.lax.switch(number, functions, x), start, STEPS)

    return jax.vmap(one)(jnp.arange(len(functions)), starts)


shown = quick(list(METHODS), ["gradient descent", "AdaGrad", "Adam"])
paths = {name: np.asarray(run(METHODS[name][0])[0]) for name in shown}
distance = {
    name: {
        title: min(np.linalg.norm(path[-1] - np.array(m)) for m in minima)
        for path, (title, (_, _, minima, _)) in zip(points, LANDSCAPES.items(), strict=True)
    }
    for name, points in paths.items()
}
# After 200 steps: gradient descent is still in the ravine and near the saddle; Adam has arrived.
assert distance["gradient descent"]["ravine"] > 0.2 > 20 * distance["Adam"]["ravine"]
assert distance["gradient descent"]["saddle"] > 1 > 20 * distance["Adam"]["saddle"]
assert distance["Adam"]["Beale's function"] < 0.3
# The first step of Adam has the length α in each parameter, whatever the gradient is.
np.testing.assert_allclose(np.abs(paths["Adam"][:, 1] - paths["Adam"][:, 0]), 0.1, rtol=1e-4)


# %% Draw the landscapes
def race(plt, names, draw_one):
    """Three landscapes beside each other."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.0))
    for number, (axis, (title, (function, start, minima, window))) in enumerate(
        zip(axes, LANDSCAPES.items(), strict=True)
    ):
        contours(axis, function, window, 11, points=100)
        cross(axis, *minima)
        axis.plot(*start, "o", color=INK, ms=4)
        axis.set_title(title)
        draw_one(axis, {name: (paths[name][number], METHODS[name][1]) for name in names})
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


SIX = ("gradient descent", "momentum", "AdaGrad", "RMSprop", "AdaDelta", "Adam")


@picture("04_race")
def draw_race(plt):
    return race(plt, SIX, lambda axis, runs: animate(axis, {
        name: (points[:121], color) for name, (points, color) in runs.items()
    }, seconds=14))  # fmt: skip


@picture("04_still")
def draw_still(plt):
    def draw(axis, runs):
        for name, (points, color) in runs.items():
            axis.plot(*points[:121].T, color=color, lw=1.5, label=name)

    return race(plt, ("momentum", "Adam", "Nadam"), draw)


# %% [markdown]
# ![Six methods, 120 steps. The circle is the start, the crosses are the
# minima.](../assets/course/04_race.svg)
#
# ![The paths of momentum, Adam and Nadam.](../assets/course/04_still.svg)
#
# In the ravine the adaptive methods go straight, because each coordinate is scaled by its own
# gradients. At the saddle gradient descent and momentum are slow, as the gradient along the way out
# is tiny; the adaptive methods divide by its size and leave at once.
#
# ## The learning rate that each parameter gets
#
# AdaGrad's $G$ only grows, so its rate falls like $1/\sqrt{t}$ even if the gradients stay the same,
# and on long runs it stops too early. RMSprop forgets: its $G$ is an exponential average. Adam's bias
# correction (偏差修正) matters in the first $1 / (1 - \beta_2)$ steps; without it the steps are far
# too large, because $G$ starts at zero with a slower average than $M$.

# %%
LONG = 400


@jax.jit
def effective(tx):
    """|Δθ| / |g| at each step: the gradient is 1, and 0.1 after step 200."""

    def step(state, t):
        g = jnp.where(t < 200, 1.0, 0.1)
        update, state = tx.update(g, state, jnp.zeros(()))
        return state, -update / g

    return jax.lax.scan(step, tx.init(jnp.zeros(())), jnp.arange(LONG))[1]


uncorrected = gk.precondition(gk.ema(0.9, debias=False), gk.ema(0.999, debias=False), eps=1e-8)
RATES = {
    "AdaGrad": (gk.adagrad(1.0, 0.0, 1e-8), GREEN),
    "RMSprop, β = 0.9": (gk.rmsprop(1.0, 0.9), ORANGE),
    "Adam, β₂ = 0.99": (gk.adam(1.0, b2=0.99), RED),
    "Adam, uncorrected": (gk.chain(uncorrected, gk.scale(-1.0)), PURPLE),
}
rates = {name: np.asarray(effective(tx)) for name, (tx, _) in RATES.items()}
np.testing.assert_allclose(rates["AdaGrad"][:200], np.arange(1, 201) ** -0.5, rtol=1e-3)
np.testing.assert_allclose(rates["RMSprop, β = 0.9"][[150, -1]], [1, 10], rtol=0.01)
np.testing.assert_allclose(rates["Adam, β₂ = 0.99"][:200], 1.0, rtol=1e-3)
assert rates["Adam, uncorrected"].max() > 5


# %% Draw the rates
@picture("04_rates")
def draw_rates(plt):
    figure, axis = plt.subplots(figsize=(6.4, 2.9))
    for name, values in rates.items():
        axis.plot(values, color=RATES[name][1], lw=1.6, label=name)
    axis.axvline(200, color=INK, lw=0.8, ls=":")
    axis.text(204, 0.0025, "the gradient falls to a tenth", fontsize=8.5, va="bottom")
    axis.set(yscale="log", xlabel="step", ylabel="step / (α · gradient)", xlim=(0, LONG))
    axis.set_ylim(0.002, 60)
    axis.legend(loc="lower left", borderpad=0.2)
    return figure


# %% [markdown]
# ![The rate that a parameter gets while its gradient is 1, then
# 0.1.](../assets/course/04_rates.svg)
#
# ## Where Adam fails
#
# Reddi, Kale and Kumar (2018) found a convex problem on which Adam goes the wrong way. θ is in
# [−1, 1]; the gradients are 4, −1, −1, 4, −1, −1, … Their sum is positive, so the optimum is θ = −1.
# With $\beta_1 = 0$ and $\beta_2 = 1/17$ Adam divides the 4 by almost 4 and the −1 by almost 1:
# the rare large gradient counts less than the two small ones. AMSGrad keeps the largest $\hat G$ so
# far and divides all by the same.

# %%
PERIODS = 60


@jax.jit
def online(tx):
    """θ before each step, starting at 0 and clipped to [−1, 1]."""

    def step(carry, t):
        theta, state = carry
        g = jnp.where(t % 3 == 0, 4.0, -1.0)
        theta, state = tx.apply(theta, state, g)
        return (jnp.clip(theta, -1.0, 1.0), state), theta

    theta = jnp.zeros(())
    _, points = jax.lax.scan(step, (theta, tx.init(theta)), jnp.arange(3 * PERIODS))
    return points


RIVALS = {
    "Adam": (gk.adam(0.05, 0.0, 1 / 17), RED),
    "AMSGrad": (gk.amsgrad(0.05, 0.0, 1 / 17), PURPLE),
}
online_paths = {name: np.asarray(online(tx)) for name, (tx, _) in RIVALS.items()}
assert online_paths["Adam"][-3:].mean() > 0.9
assert online_paths["AMSGrad"][-3:].mean() < -0.9


# %% Draw the counterexample
@picture("04_amsgrad")
def draw_amsgrad(plt):
    figure, axis = plt.subplots(figsize=(6.4, 2.3))
    for name, points in online_paths.items():
        axis.plot(points, color=RIVALS[name][1], lw=1.4, label=name)
    axis.axhline(-1, color=INK, lw=0.8, ls=":")
    axis.text(0, -0.96, "optimum", fontsize=8.5, va="bottom")
    axis.set(xlabel="step", ylabel="θ", ylim=(-1.1, 1.1))
    axis.legend(loc="center right")
    return figure


# %% [markdown]
# ![Adam goes to the worst point, AMSGrad to the best.](../assets/course/04_amsgrad.svg)
#
# ## On digits
#
# The lectures compare the methods on images of digits, with the learning rate 0.001 and batches of
# 128. Here are scikit-learn's digits and a network with one hidden layer. At the rate 0.001 plain
# gradient descent hardly moves; the comparison is fair only if each method has its own best rate,
# from a grid of factors of 3 (below, trained in one vmap over the rates).

# %%
digits = load_digits()
images = jnp.asarray(digits.data / 16, jnp.float32)
labels = jnp.asarray(digits.target)


def loss_fn(params, rows):
    """Cross entropy with one hidden layer of 64 ReLUs."""
    logits = jax.nn.relu(images[rows] @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
    return gk.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()


he, (k1, k2) = gk.initializers.he(), jax.random.split(jax.random.key(0))
params = {"w1": he(k1, (64, 64)), "b1": jnp.zeros(64), "w2": he(k2, (64, 10)), "b2": jnp.zeros(10)}
EPOCHS = quick(12, 2)
rows = jax.jit(gk.data.epochs(len(labels), 128, 0))(jnp.arange(14 * EPOCHS))


@jax.jit
def train(tx, rows):
    """The loss before each step."""

    def step(carry, row):
        params, state = carry
        value, grads = jax.value_and_grad(loss_fn)(params, row)
        return tx.apply(params, state, grads), value

    return jax.lax.scan(step, (params, tx.init(params)), rows)[1]


MAKERS = {
    "gradient descent": (gk.sgd, INK),
    "momentum": (lambda rate: gk.sgd(rate, momentum=0.9), BLUE),
    "AdaGrad": (lambda rate: gk.adagrad(rate, 0.0, 1e-8), GREEN),
    "RMSprop": (gk.rmsprop, ORANGE),
    "Adam": (gk.adam, RED),
    "Nadam": (gk.nadam, PURPLE),
}
GRID = np.array(quick([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0], [0.001, 0.01, 0.3]))
curves = {}
for name in quick(list(MAKERS), ["gradient descent", "Adam"]):
    maker = MAKERS[name][0]
    grid = jax.vmap(maker)(jnp.asarray(GRID, jnp.float32))
    curves[name] = np.asarray(jax.vmap(train, (0, None))(grid, rows))
ends = {name: values[:, -14:].mean(1) for name, values in curves.items()}
best = {name: int(np.nanargmin(values)) for name, values in ends.items()}
assert ends["gradient descent"][0] > quick(4, 1.05) * ends["Adam"][0]  # at the rate 0.001
assert GRID[best["gradient descent"]] > 9 * GRID[best["Adam"]]


# %% Draw the comparison
@picture("04_digits")
def draw_digits(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.0), sharey=True)
    at = np.arange(len(rows)) / 14
    for name, values in curves.items():
        color = MAKERS[name][1]
        smooth = np.apply_along_axis(lambda v: np.convolve(v, np.ones(5) / 5, "valid"), 1, values)
        left.plot(at[2:-2], smooth[0], color=color, lw=1.4, label=name)
        chosen = best[name]
        right.plot(at[2:-2], smooth[chosen], color=color, lw=1.4, label=f"{name}, {GRID[chosen]:g}")
    left.set(yscale="log", xlabel="epoch", ylabel="cross entropy", ylim=(5e-4, 4))
    left.set_title("All at the rate 0.001")
    right.set(xlabel="epoch", title="Each at its best rate")
    left.legend(loc="lower left", borderpad=0)
    right.legend(loc="lower left", borderpad=0)
    return figure


# %% [markdown]
# ![Six methods on digits, at one rate and at the best rate of
# each.](../assets/course/04_digits.svg)
#
# Adaptive methods need less tuning of the rate: the default of Adam, 0.001, is usable on most
# networks. With a tuned rate, momentum is as fast here.
#
# ## Weight decay
#
# In plain gradient descent an L2 penalty and weight decay (权值衰减) are the same. In Adam they are
# not: the gradient of a penalty is divided by $\sqrt{G}$ like every other gradient, so that parameters
# with large gradients are penalized less. AdamW decays all parameters alike.

# %%
w, g = jnp.array([1.0, 1.0]), jnp.array([10.0, 0.1])


def pulled(tx, alpha=0.01, steps=50):
    """How much the penalty or decay moves two parameters with a large and a small gradient."""

    def last(tx):
        step = lambda carry, _: (tx.apply(*carry, g * jnp.sin(_ * 1.0)), None)
        return jax.lax.scan(step, (w, tx.init(w)), jnp.arange(steps))[0][0]

    return np.asarray(last(gk.adam(alpha)) - last(tx))


by_penalty = pulled(gk.chain(gk.add_l2_penalty(0.1), gk.adam(0.01)))
by_decay = pulled(gk.adamw(0.01, weight_decay=0.1))
assert by_penalty[1] > 10 * by_penalty[0]  # 0.1 beside a gradient of 10, and of 0.1
np.testing.assert_allclose(by_decay[0], by_decay[1], rtol=0.05)

# %% [markdown]
# [Regularization](../idea.md#clipping-and-regularization) has the formulas, and the
# [list of optimizers](../api/optimizers.md) many more methods.
