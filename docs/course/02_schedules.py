# %% [markdown]
# # Learning rates and schedules
#
# The learning rate (学习率) is the first hyperparameter to tune. Too large, and training does not
# converge; too small, and it takes too long. During training it should be large at first, to come
# near a minimum quickly, and small at the end, so that the noise of the batches does not keep the
# parameters moving around it. A schedule makes it a function of the step t.

# %% Imports
import math

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from style import BLUE, COLORS, FAINT, GREEN, INK, ORANGE, PURPLE, RED, picture, quick

import gradkit as gk

# %% [markdown]
# ## Decay
#
# | decay | $\alpha_t$ | gradkit |
# |---|---|---|
# | piecewise constant (分段常数衰减) | $\alpha_0$ times $\beta_1, \dots, \beta_m$ after the steps $T_1, \dots, T_m$ | [`piecewise_constant_schedule`](../../gradkit/schedules/constant.py#piecewise_constant_schedule) |
# | inverse time (逆时衰减) | $\alpha_0 / (1 + \beta t)$ | [`inverse_time_decay`](../../gradkit/schedules/decay.py#inverse_time_decay) |
# | exponential (指数衰减) | $\alpha_0 \beta^t$ | [`exponential_decay`](../../gradkit/schedules/decay.py#exponential_decay) |
# | natural exponential (自然指数衰减) | $\alpha_0 e^{-\beta t}$ | [`natural_exponential_decay`](../../gradkit/schedules/decay.py#natural_exponential_decay) |
# | cosine (余弦衰减) | $\tfrac12 \alpha_0 (1 + \cos(\pi t / T))$ | [`cosine_decay_schedule`](../../gradkit/schedules/decay.py#cosine_decay_schedule) |
# | inverse square root | $k \alpha_0 / \sqrt{t}$ | [`inverse_sqrt_schedule`](../../gradkit/schedules/decay.py#inverse_sqrt_schedule) |
#
# [`per_epoch`](../../gradkit/schedules/epochs.py#per_epoch) turns each of them into a schedule of
# the epoch (回合).
#
# Warmup (学习率预热) raises the rate linearly from 0 in the first T′ steps, while the randomly
# initialized network has large gradients: $\alpha_t = t / T' \cdot \alpha_0$,
# [`linear_warmup`](../../gradkit/schedules/warmup.py#linear_warmup). Any decay may follow.
#
# Periodic schedules raise the rate again and again, to leave saddle points and sharp minima. The
# triangular cyclic learning rate (三角循环学习率),
# [`triangular_schedule`](../../gradkit/schedules/cycles.py#triangular_schedule), goes linearly up
# and down between bounds that shrink from cycle to cycle,
#
# $$ \alpha_t = \alpha_{\min}^m + (\alpha_{\max}^m - \alpha_{\min}^m) \max(0, 1 - b), \qquad
# b = \left| \frac{t}{\Delta T} - 2m + 1 \right|, \qquad
# m = \left\lfloor 1 + \frac{t}{2 \Delta T} \right\rfloor. $$
#
# Stochastic gradient descent with warm restarts (带热重启的随机梯度下降, SGDR) follows a cosine in
# each period, and the periods grow, $T_m = \kappa\, T_{m-1}$:
# [`warm_restarts_schedule`](../../gradkit/schedules/cycles.py#warm_restarts_schedule).

# %%
T = 1000
FAMILIES = {
    "Decay": {
        "piecewise constant": gk.piecewise_constant_schedule(1.0, {300: 0.5, 600: 0.4, 800: 0.5}),
        "inverse time": gk.schedules.inverse_time_decay(1.0, 1, 0.01),
        "exponential": gk.exponential_decay(1.0, 1, 0.997),
        "natural exponential": gk.schedules.natural_exponential_decay(1.0, 1, 0.006),
        "cosine": gk.cosine_decay_schedule(1.0, T),
    },
    "Warmup, then decay": {
        "constant": gk.schedules.linear_warmup(0.8, 150),
        "cosine": gk.warmup_cosine_decay_schedule(0.0, 1.0, 150, T),
        "inverse square root": gk.schedules.inverse_sqrt_schedule(0.9, 150),
        "constant, linear decay": gk.warmup_stable_decay_schedule(0.0, 0.6, 150, 500, 350),
    },
    "Cycles and restarts": {
        "triangular, shrinking": gk.schedules.triangular_schedule(0.1, 0.8, 125, decay_rate=0.8),
        "warm restarts, κ = 2": gk.schedules.warm_restarts_schedule(1.0, 143, t_mul=2, m_mul=0.8),
    },
}

# The formulas, at a few steps.
t = 430
values = jax.jit(lambda t: {family: {name: schedule(t) for name, schedule in schedules.items()}
                            for family, schedules in FAMILIES.items()})(t)  # fmt: skip
decay, cycles = values["Decay"], values["Cycles and restarts"]
assert math.isclose(decay["piecewise constant"], 0.5)
assert math.isclose(decay["inverse time"], 1 / (1 + 0.01 * t), rel_tol=1e-5)
assert math.isclose(decay["exponential"], 0.997**t, rel_tol=1e-4)
assert math.isclose(decay["natural exponential"], math.exp(-0.006 * t), rel_tol=1e-4)
assert math.isclose(decay["cosine"], (1 + math.cos(math.pi * t / T)) / 2, rel_tol=1e-5)
m = math.floor(1 + t / 250)
triangle = 0.8 ** (m - 1) * (0.1 + 0.7 * max(0, 1 - abs(t / 125 - 2 * m + 1)))
assert math.isclose(cycles["triangular, shrinking"], triangle, rel_tol=1e-5)
restarts = 0.8**2 * (1 + math.cos(math.pi * (t - 429) / 572)) / 2  # the third period: 143 · 4
assert math.isclose(cycles["warm restarts, κ = 2"], restarts, rel_tol=1e-5)


# %% Draw the families
@picture("02_families")
def draw_families(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.0), sharey=True)
    for axis, (title, schedules) in zip(axes, FAMILIES.items(), strict=True):
        for (name, schedule), color in zip(schedules.items(), COLORS):
            steps = np.arange(0, T + 1, 5)
            values = np.asarray(jax.vmap(schedule)(jnp.asarray(steps)))
            axis.plot(steps, values, color=color, lw=1.6, label=name)
        axis.set(title=title, xlabel="step", ylim=(0, 1.65), yticks=[0, 0.5, 1], xticks=[0, 500, T])
        axis.legend(loc="upper right", borderpad=0, labelspacing=0.25)
    axes[0].set_ylabel("learning rate")
    return figure


# %% [markdown]
# ![Schedules of the learning rate.](../assets/course/02_families.svg)
#
# ## The noise floor
#
# Why decay at all? On the loss $\tfrac12 \lambda \theta^2$ with noisy gradients of variance σ², a
# constant rate converges only to a stationary spread, $\operatorname{E}[\theta^2] = \alpha
# \sigma^2 / (\lambda (2 - \alpha\lambda))$, in proportion to α. With $\alpha_t \propto 1/t$ the
# error goes on falling as $1/t$.

# %%
STEPS, SEEDS = quick(3000, 1500), quick(1000, 400)


@jax.jit
def mean_squares(tx, key):
    """E[θ²] at each step over many runs, with gradients θ + noise."""

    def step(carry, key):
        theta, state = carry
        grads = theta + jax.random.normal(key, theta.shape)
        theta, state = tx.apply(theta, state, grads)
        return (theta, state), jnp.mean(theta**2)

    theta = jnp.full(SEEDS, 5.0)
    return jax.lax.scan(step, (theta, tx.init(theta)), jax.random.split(key, STEPS))[1]


decaying = gk.schedules.inverse_time_decay  # with the decay 0 it is a constant
FLOORS = {
    "constant, α = 0.4": (gk.sgd(decaying(0.4, 1, 0.0)), RED),
    "constant, α = 0.04": (gk.sgd(decaying(0.04, 1, 0.0)), ORANGE),
    "1 / t": (gk.sgd(decaying(0.4, 1, 0.4)), GREEN),
}
floors = {name: np.asarray(mean_squares(tx, jax.random.key(0))) for name, (tx, _) in FLOORS.items()}
for rate in (0.4, 0.04):
    late = floors[f"constant, α = {rate}"][STEPS // 2 :].mean()
    np.testing.assert_allclose(late, rate / (2 - rate), rtol=0.05)
assert floors["1 / t"][-1] < 0.1 * floors["constant, α = 0.04"][-1]
assert math.isclose(floors["1 / t"][-1] * STEPS, 1.0, rel_tol=0.3)


# %% Draw the floors
@picture("02_floor")
def draw_floor(plt):
    figure, axis = plt.subplots(figsize=(5.2, 2.9))
    steps = np.unique(np.geomspace(1, STEPS, 300).astype(int))
    for name, values in floors.items():
        axis.plot(steps, values[steps - 1], color=FLOORS[name][1], lw=1.4, label=name)
    for rate in (0.4, 0.04):
        axis.axhline(rate / (2 - rate), color=FAINT, lw=0.8, ls=":")
    axis.set(xscale="log", yscale="log", xlabel="step", ylabel="mean of θ²", xlim=(1, STEPS))
    axis.legend(loc="lower left", title="learning rate", alignment="left", borderpad=0)
    return figure


# %% [markdown]
# ![With noisy gradients, a constant rate ends at a floor (dotted: the formula), a decaying one goes
# on.](../assets/course/02_floor.svg)
#
# ## The range test
#
# To find the right size of the learning rate, train once with a rate that grows exponentially, and
# plot the loss against the rate. Good rates are those at which the loss falls steeply, well below
# the one at which it blows up. The network has 64 inputs, 32 hidden units and 10 classes (the
# digits), and batches of 32.

# %%
digits = load_digits()
images = jnp.asarray(digits.data / 16, jnp.float32)
labels = jnp.asarray(digits.target)


def network(params, x):
    """One hidden layer."""
    return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]


def loss_fn(params, rows):
    """Cross entropy over some images."""
    logits = network(params, images[rows])
    return gk.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()


def new_params(key, hidden=32):
    """He's initialization."""
    he, (k1, k2) = gk.initializers.he(), jax.random.split(key)
    return {
        "w1": he(k1, (64, hidden)), "b1": jnp.zeros(hidden),
        "w2": he(k2, (hidden, 10)), "b2": jnp.zeros(10),
    }  # fmt: skip


def batches(size, steps):
    """The numbers of the examples in each batch, one row for each step."""
    return jax.jit(gk.data.epochs(len(labels), size, 0))(jnp.arange(steps))


@jax.jit
def train(tx, params, rows):
    """The loss before each step."""

    def step(carry, row):
        params, state = carry
        value, grads = jax.value_and_grad(loss_fn)(params, row)
        return tx.apply(params, state, grads), value

    return jax.lax.scan(step, (params, tx.init(params)), rows)[1]


LOW, HIGH, TEST = 1e-3, 30.0, quick(300, 100)
params = new_params(jax.random.key(0))
growing = gk.exponential_decay(LOW, TEST, HIGH / LOW)  # a factor above 1: the rate grows
rates = LOW * (HIGH / LOW) ** (np.arange(TEST) / TEST)
losses = np.asarray(train(gk.sgd(growing), params, batches(32, TEST)))
kernel = np.hanning(quick(15, 9))
smooth = np.convolve(np.pad(losses, len(kernel) // 2, mode="edge"), kernel / kernel.sum(), "valid")
# The best rate found: where the smoothed loss is lowest, divided by 3.
lowest = rates[np.argmin(smooth)]
chosen = lowest / 3
fixed = {
    name: np.asarray(
        train(gk.sgd(gk.exponential_decay(rate, TEST, 1.0)), params, batches(32, TEST))
    )
    for name, rate in (
        ("chosen / 30", chosen / 30),
        ("chosen", chosen),
        ("chosen · 30", 30 * chosen),
    )
}
ends = {name: values[-20:].mean() for name, values in fixed.items()}
assert ends["chosen"] < 0.5 * ends["chosen / 30"]
assert not ends["chosen · 30"] < 2 * ends["chosen"]  # or it is not a number


# %% Draw the range test
@picture("02_range_test")
def draw_range(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.9), sharey=True)
    left.plot(rates, losses, color=FAINT, lw=0.7)
    left.plot(rates, smooth, color=BLUE)
    left.axvline(chosen, color=GREEN, lw=1.2, ls="--")
    left.annotate(f"chosen: {chosen:.2f}", (chosen, 3.2), xytext=(-5, 0), color=GREEN, ha="right",
                  textcoords="offset points")  # fmt: skip
    left.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, 3.5))
    left.set_title("Range test, one run")
    for (name, values), color in zip(fixed.items(), (ORANGE, GREEN, RED)):
        right.plot(np.convolve(values, np.ones(5) / 5, "valid"), color=color, lw=1.3, label=name)
    right.set(xlabel="step", title="Training at three rates")
    right.legend(borderpad=0)
    return figure


# %% [markdown]
# ![The range test, and training at the chosen rate, at a thirtieth and at thirty times
# it.](../assets/course/02_range_test.svg)
#
# ## Warmup
#
# With large batches one wants a large learning rate (see the
# [linear scaling rule](01_descent.md#by-iteration-and-by-epoch)), but at the start it throws the
# parameters far away, because the gradients of the new network are large. A network with five
# hidden layers, initialized with weights twice as large as they should be, in batches of 128, with
# α = 0.15: at the full rate from the first step the loss explodes, and the network does not recover.
# With a warmup of 40 steps the same network learns.

# %%
DEPTH, WARM = 5, 120


def deep_loss(layers, rows):
    """Cross entropy of a network with five hidden layers."""
    first, inner, last = layers
    h, _ = jax.lax.scan(
        lambda h, w: (jax.nn.relu(h @ w), None), jax.nn.relu(images[rows] @ first), inner
    )
    return gk.softmax_cross_entropy_with_integer_labels(h @ last, labels[rows]).mean()


@jax.jit
def train_deep(tx, layers, rows):
    """The loss before each step, and the norm of each gradient."""

    def step(carry, row):
        layers, state = carry
        value, grads = jax.value_and_grad(deep_loss)(layers, row)
        return tx.apply(layers, state, grads), (value, gk.global_norm(grads))

    return jax.lax.scan(step, (layers, tx.init(layers)), rows)[1]


keys, he = jax.random.split(jax.random.key(1), DEPTH + 1), gk.initializers.he()
inner = jnp.stack([he(key, (32, 32)) for key in keys[2:]])
layers = (2 * he(keys[0], (64, 32)), 2 * inner, 2 * he(keys[1], (32, 10)))
PEAK = 0.15
WARMUPS = {
    "no warmup": (gk.sgd(gk.schedules.linear_warmup(PEAK, 1)), RED),
    "40 steps of warmup": (gk.sgd(gk.schedules.linear_warmup(PEAK, 40)), GREEN),
}
rows = batches(128, WARM)
warm = {name: np.asarray(train_deep(tx, layers, rows)) for name, (tx, _) in WARMUPS.items()}
peaks = {name: np.nanmax(values[0]) for name, values in warm.items()}
end = {name: values[0][-10:].mean() for name, values in warm.items()}
assert peaks["40 steps of warmup"] < 100 and not peaks["no warmup"] < 1000
assert end["40 steps of warmup"] < 1 and not end["no warmup"] < 2.2


# %% Draw the warmup
@picture("02_warmup")
def draw_warmup(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5))
    for name, (_, color) in WARMUPS.items():
        rate = np.minimum(1, np.arange(WARM) / (40 if "40" in name else 1)) * PEAK
        for axis, values in zip(axes, (rate, *warm[name])):
            axis.plot(values, color=color, lw=1.5, label=name)
    axes[0].set_title("learning rate")
    axes[1].set_title("loss")
    axes[1].set(yscale="log")
    axes[2].set_title("norm of the gradient")
    axes[2].set(yscale="log")
    for axis in axes:
        axis.set_xlabel("step")
    axes[0].legend(loc="lower right", borderpad=0)
    return figure


# %% [markdown]
# ![Training with and without warmup.](../assets/course/02_warmup.svg)
#
# ## Restarts and local minima
#
# Periods of a large rate let the parameter leave a sharp minimum (尖锐最小值), which is narrow,
# while it stays in a flat one (平坦最小值), which is wide. The function below has a sharp minimum
# near −1 and a flat, lower one near 1.2; all runs begin at −1.2 and have noisy gradients. With an
# exponential decay most runs stay where they began; each restart frees more of them. A cosine over
# the whole time frees as many here: what counts is the time spent at a large rate.


# %%
def landscape(x):
    """A sharp minimum on the left, a flat and lower one on the right."""
    return 0.05 * (x - 1.2) ** 2 - 0.35 * jnp.exp(-((x + 1.0) ** 2) / 0.05)


CYCLE = quick(900, 450)
SCHEDULES = {
    "exponential decay": (gk.exponential_decay(0.2, CYCLE, 0.001), ORANGE),
    "cosine decay": (gk.cosine_decay_schedule(0.2, CYCLE), BLUE),
    "warm restarts": (gk.schedules.warm_restarts_schedule(0.2, CYCLE // 3), PURPLE),
}


@jax.jit
def wander(tx, key):
    """The paths of many runs with noisy gradients."""

    def step(carry, key):
        x, state = carry
        grads = jax.vmap(jax.grad(landscape))(x) + 0.8 * jax.random.normal(key, x.shape)
        x, state = tx.apply(x, state, grads)
        return (x, state), x

    x = jnp.full(300, -1.2)
    return jax.lax.scan(step, (x, tx.init(x)), jax.random.split(key, CYCLE))[1]


paths = {
    name: np.asarray(wander(gk.sgd(rate), jax.random.key(1)))
    for name, (rate, _) in SCHEDULES.items()
    if name != quick("", "cosine decay")
}
outside = {name: np.mean(points > -0.3, axis=1) for name, points in paths.items()}
ends = {name: share[-1] for name, share in outside.items()}
assert ends["warm restarts"] > ends["exponential decay"] + 0.2
assert abs(ends["warm restarts"] - ends.get("cosine decay", ends["warm restarts"])) < 0.12


# %% Draw the restarts
@picture("02_restarts")
def draw_restarts(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.6), width_ratios=(1, 1, 1))
    x = np.linspace(-2, 3.2, 300)
    axes[0].plot(x, np.asarray(landscape(jnp.asarray(x))), color=INK, lw=1.4)
    axes[0].set(title="the function", xlabel="θ", yticks=[])
    for name, (schedule, color) in SCHEDULES.items():
        rates = np.asarray(jax.vmap(schedule)(jnp.arange(CYCLE)))
        axes[1].plot(rates, color=color, lw=1.5, label=name)
        axes[2].plot(outside[name], color=color, lw=1.5)
    axes[1].set(title="learning rate", xlabel="step", ylim=(0, 0.32))
    axes[1].legend(loc="upper right", borderpad=0)
    axes[2].set(title="share outside the sharp minimum", xlabel="step", ylim=(0, 1))
    return figure


# %% [markdown]
# ![A sharp and a flat minimum, two schedules, and the share of 300 runs that have left the sharp
# minimum.](../assets/course/02_restarts.svg)
#
# Schedules do not look at the gradient, and they give all parameters one rate.
# The [adaptive methods](04_adaptive.md) change that.
