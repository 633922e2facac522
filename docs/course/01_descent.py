# %% [markdown]
# # Gradient descent and batch size
#
# Training a network is a minimization: find the parameters θ with the smallest empirical risk
# (经验风险), the mean loss over the N training examples,
#
# $$ L(\theta) = \frac{1}{N} \sum_{n=1}^{N} \ell\bigl(f(x^{(n)}; \theta), y^{(n)}\bigr). $$
#
# Gradient descent (梯度下降) steps against the gradient, with the learning rate (学习率) α:
#
# $$ \theta_t = \theta_{t-1} - \alpha\, g_t, \qquad g_t = \nabla L(\theta_{t-1}). $$
#
# In gradkit this is [`sgd(α)`](../../gradkit/optimizers/sgd.py#sgd). The three kinds of gradient
# descent differ only in the examples from which $g_t$ is computed:
#
# | kind | examples in one step | steps in one epoch (回合) |
# |---|---|---|
# | batch gradient descent (批量梯度下降) | all N | 1 |
# | stochastic gradient descent (随机梯度下降) | 1 | N |
# | mini-batch gradient descent (小批量梯度下降) | B | ⌈N / B⌉ |

# %% Imports
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_diabetes, load_digits
from style import BLUE, GREEN, INK, ORANGE, RED, contours, cross, picture, quick, walk

import gradkit as gk

# %% [markdown]
# ## Why the negative gradient
#
# To first order, $L(\theta + d) \approx L(\theta) + g^\top d$. Among all directions of one length,
# $d = -\alpha g$ makes the second term smallest, and it is $-\alpha \lVert g \rVert^2$. The second
# order decides how large α may be. Along an eigenvector of the Hessian with eigenvalue λ, the error
# is multiplied by $1 - \alpha\lambda$ in each step. All errors shrink when
# $0 < \alpha < 2/\lambda_{\max}$, and the slowest by the factor $\max_i |1 - \alpha\lambda_i|$.
# With the best rate, $\alpha = 2 / (\lambda_{\min} + \lambda_{\max})$, that factor is
# $(\kappa - 1) / (\kappa + 1)$, where $\kappa = \lambda_{\max} / \lambda_{\min}$ is the condition
# number (条件数).
#
# The data are 442 patients (scikit-learn's diabetes data set). Two measurements of their blood, the
# HDL cholesterol and its share of the total, predict the progress of the disease. So the loss has
# two parameters and can be drawn; κ is 6.6.

# %%
data = load_diabetes(scaled=False)
columns = [data.feature_names.index(name) for name in ("s3", "s4")]
x = data.data[:, columns]
x = jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32)
y = jnp.asarray((data.target - data.target.mean()) / data.target.std(), jnp.float32)
N = len(y)


def loss(w, rows):
    """Half the mean squared error over some examples."""
    return jnp.mean(gk.l2_loss(x[rows] @ w, y[rows]))


ALL = jnp.arange(N)
hessian = np.asarray(x.T @ x / N, np.float64)
low, high = np.linalg.eigvalsh(hessian)
assert abs(high / low - 6.6) < 0.1
optimum = np.linalg.solve(hessian, np.asarray(x.T @ y / N, np.float64))


@jax.jit
def descend(tx, w, batches):
    """One step for each row of example numbers; every point on the way."""

    def step(carry, rows):
        w, state = carry
        w, state = tx.apply(w, state, jax.grad(loss)(w, rows))
        return (w, state), w

    (_, _), points = jax.lax.scan(step, (w, tx.init(w)), batches)
    return jnp.concatenate([w[None], points])


start = jnp.array([0.9, 0.35])
rates = {
    "too small": 0.1,
    "best": 2 / (low + high),
    "large": 1.95 / high,
    "diverges": 2.05 / high,
}
whole = jnp.broadcast_to(ALL, (20, N))
paths = {name: np.asarray(descend(gk.sgd(rate), start, whole)) for name, rate in rates.items()}

# The error shrinks by the predicted factor in each step.
for name, rate in rates.items():
    errors = np.linalg.norm(paths[name] - optimum, axis=1)
    predicted = max(abs(1 - rate * low), abs(1 - rate * high))
    np.testing.assert_allclose(errors[-1] / errors[-2], predicted, rtol=0.03)
assert loss(paths["diverges"][-1], ALL) > loss(start, ALL)


# %% Draw the paths
@picture("01_rates")
def draw_rates(plt):
    figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.2))
    for axis, (name, points) in zip(axes, paths.items(), strict=True):
        contours(axis, lambda w: loss(w, ALL), (-0.95, 1.05, -0.6, 1.2), 10)
        walk(axis, points, RED if name == "diverges" else BLUE)
        cross(axis, optimum)
        axis.set_title(f"{name}: α = {rates[name]:.2f}")
    return figure


# %% [markdown]
# ![Gradient descent with four learning rates. The third is 2.5% below 2/λmax, the fourth 2.5% above
# it.](../assets/course/01_rates.svg)
#
# ## The gradient of a batch
#
# The gradient of B examples, drawn at random without replacement, has the right mean for every B:
# the batch size does not change the expectation of the gradient, only its variance,
#
# $$ \operatorname{E}[g_B] = \nabla L, \qquad
# \operatorname{tr}\operatorname{Cov}[g_B] = \frac{\sigma^2}{B} \cdot \frac{N - B}{N - 1},
# \qquad \sigma^2 = \frac1N \sum_n \lVert \nabla \ell_n - \nabla L \rVert^2. $$
#
# The second factor is 1 for small batches and 0 for the whole data. A batch four times as large
# halves the standard deviation; beyond some size, more examples buy little.

# %%
per_example = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))
each = np.asarray(per_example(start, ALL[:, None]))
mean = each.mean(0)
sigma2 = np.sum((each - mean) ** 2) / N
sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
draws = quick(4000, 1000)
orders = np.random.default_rng(0).permuted(np.tile(np.arange(N), (draws, 1)), axis=1)
sums = np.cumsum(each[orders], axis=1)  # of the first 1, 2, … examples of each order
measured = []
for size in sizes:
    gradients = sums[:, size - 1] / size
    measured.append(np.mean(np.sum((gradients - mean) ** 2, 1)))
    assert np.linalg.norm(gradients.mean(0) - mean) < 5 * (measured[-1] / draws) ** 0.5
predicted = [sigma2 / size * (N - size) / (N - 1) for size in sizes]
np.testing.assert_allclose(measured, predicted, rtol=0.15)


# %% Draw the noise
@picture("01_noise")
def draw_noise(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.9), width_ratios=(1, 1.1))
    for size, color in ((4, ORANGE), (32, GREEN), (256, BLUE)):
        cloud = np.asarray(sums[:250, size - 1] / size)
        left.plot(*cloud.T, ".", color=color, ms=2.5, mew=0, label=f"B = {size}")
    left.plot(*mean, "x", color=INK, ms=8, mew=2, label="all examples")
    left.set(xlabel="gradient, first parameter", ylabel="second parameter")
    left.legend(markerscale=2.5, handletextpad=0.2, loc="lower left", borderpad=0)
    left.set_title("Gradients of 250 batches")
    sizes_ = np.geomspace(1, N - 1, 100)
    right.plot(sizes_, (sigma2 / sizes_ * (N - sizes_) / (N - 1)) ** 0.5, color=INK, lw=1.2,
               label="formula")  # fmt: skip
    right.plot(sizes, np.sqrt(measured), "o", color=RED, ms=5, label=f"measured, {draws} batches")
    right.set(xscale="log", yscale="log", xlabel="batch size B", ylim=(0.05, 3))
    right.set_title("Standard deviation of the gradient")
    right.legend()
    return figure


# %% [markdown]
# ![The gradients of batches around the gradient of all examples, and their
# spread.](../assets/course/01_noise.svg)
#
# ## Batch, mini-batch, stochastic
#
# An iteration (迭代) is one step, an epoch one pass over the data. Each epoch shuffles the examples
# anew: [`epochs`](../../gradkit/data/batches.py#epochs) gives the numbers of the examples of a batch
# as a function of the step.
#
# The paths below cost the same: four epochs. Batch gradient descent takes 4 smooth steps;
# stochastic gradient descent takes 1768 and then wanders around the minimum, in a region whose size
# grows with α; mini-batches are between them. Near the minimum the noise no longer averages out,
# which is why the learning rate should fall: see [Learning rates and schedules](02_schedules.md).


# %%
def batches(count, size, epochs):
    """The numbers of the examples in each batch, one row for each step."""
    order = gk.data.epochs(count, size, 0, num_epochs=epochs)
    return jax.jit(order)(jnp.arange(len(order)))


cases = {"batch": (N, 1.0), "mini-batch, B = 32": (32, 0.25), "stochastic, B = 1": (1, 0.05)}
runs = {
    name: np.asarray(descend(gk.sgd(rate), start, batches(N, size, 4)))
    for name, (size, rate) in cases.items()
}
assert {name: len(points) - 1 for name, points in runs.items()} == {
    "batch": 4,
    "mini-batch, B = 32": 4 * 13,
    "stochastic, B = 1": 4 * 442,
}
spread = {name: np.std(points[len(points) // 2 :], axis=0).max() for name, points in runs.items()}
assert spread["stochastic, B = 1"] > 2 * spread["mini-batch, B = 32"]


# %% Draw the three kinds
@picture("01_kinds")
def draw_kinds(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.7))
    for axis, (name, points), color in zip(axes, runs.items(), (BLUE, GREEN, RED), strict=True):
        contours(axis, lambda w: loss(w, ALL), (-0.75, 1.05, -0.45, 1.0), 10)
        if len(points) > 1000:
            axis.plot(*points[::2].T, color=color, lw=0.4)
        else:
            walk(axis, points, color)
        cross(axis, optimum)
        axis.set_title(f"{name}: {len(points) - 1} steps")
    return figure


# %% [markdown]
# ![Four epochs with batches of three sizes.](../assets/course/01_kinds.svg)
#
# ## By iteration and by epoch
#
# The digits of scikit-learn (1797 images of 8 × 8 pixels) and a linear classifier. Per iteration,
# larger batches go down more smoothly. Per epoch, smaller batches are ahead, because they take more
# steps for the same number of examples. All runs here have one learning rate.
#
# The linear scaling rule (线性缩放规则) says: with a batch m times as large, take a learning rate m
# times as large, [`linear_scaling_rule`](../../gradkit/schedules/epochs.py#linear_scaling_rule).
# Then the runs agree per epoch, as long as the rate stays well below the limit above.

# %%
digits = load_digits()
images = jnp.asarray(digits.data / 16, jnp.float32)
labels = jnp.asarray(digits.target)


def cross_entropy(w, rows):
    """Softmax regression: the mean cross entropy over some examples."""
    logits = images[rows] @ w
    return gk.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()


@jax.jit
def train(tx, batches):
    """The loss on each batch before its step, and on all examples after every step."""

    def step(carry, rows):
        w, state = carry
        value, grad = jax.value_and_grad(cross_entropy)(w, rows)
        w, state = tx.apply(w, state, grad)
        return (w, state), (value, cross_entropy(w, slice(None)))

    w = jnp.zeros((64, 10))
    return jax.lax.scan(step, (w, tx.init(w)), batches)[1]


COUNT, EPOCHS = len(labels), quick(6, 2)
by_size, scaled = {}, {}
for size in quick((16, 64, 256, 1024), (64, 256)):
    rows = batches(COUNT, size, EPOCHS)
    by_size[size] = np.asarray(train(gk.sgd(0.1), rows))
    rate = gk.schedules.linear_scaling_rule(0.1, size, 64)
    scaled[size] = np.asarray(train(gk.sgd(rate), rows))
last = {size: full[-1] for size, (_, full) in by_size.items()}
assert list(last.values()) == sorted(last.values())  # smaller batches are ahead per epoch
# With the scaled rate the difference nearly vanishes.
assert abs(scaled[256][1][-1] - last[64]) < 0.1 * abs(last[256] - last[64])


# %% Draw the losses
@picture("01_batch_size")
def draw_batch_size(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.8), sharey=True)
    for color, (size, (noisy, full)) in zip((RED, ORANGE, GREEN, BLUE), by_size.items()):
        axes[0].plot(np.arange(len(noisy[:100])), noisy[:100], color=color, lw=1.2,
                     label=f"B = {size}")  # fmt: skip
        epochs = np.linspace(0, EPOCHS, len(full) + 1)
        for axis, values in ((axes[1], full), (axes[2], scaled[size][1])):
            axis.plot(epochs, [np.log(10), *values], color=color, lw=1.5)
    axes[0].set(xlabel="iteration", ylabel="cross entropy", ylim=(0, 2.6))
    axes[0].set_title("By iteration, α = 0.1")
    axes[0].legend(loc="lower left", borderpad=0)
    axes[1].set(xlabel="epoch", title="By epoch, α = 0.1")
    axes[2].set(xlabel="epoch", title="By epoch, α = 0.1 · B / 64")
    return figure


# %% [markdown]
# ![The loss of the batch by iteration, the loss of all examples by epoch, and the same with
# learning rates in proportion to the batch.](../assets/course/01_batch_size.svg)
#
# ## An exercise
#
# The lectures ask: 100,000 training examples, batches of 100, 30,000 iterations. How many epochs
# are these, and how are the examples divided? And with batches of 128?

# %%
for size, per_epoch, remainder, epochs in ((100, 1000, 0, 30), (128, 782, 32, 38)):
    order = gk.data.epochs(100_000, size, 0, drop_remainder=False)
    assert order.steps_per_epoch == per_epoch
    assert 100_000 % size == remainder
    assert 30_000 // per_epoch == epochs

# %% [markdown]
# With 100, an epoch has 1000 iterations, and there are 30 epochs. With 128, an epoch has 781 full
# batches and one of 32 examples, 782 iterations; 30,000 iterations are 38 epochs and 284 iterations
# of the next.
#
# ## What batch size to take
#
# The lectures advise: all examples at once for up to about 2000; otherwise powers of two from 64 to
# 512, as memory permits. Small batches tend to find flat minima (平坦最小值) and large ones sharp
# minima (尖锐最小值), which generalize worse. A training step for any batch size:
# [`make_step`](../../gradkit/_step.py#make_step).
