# %% [markdown]
# # Bias and variance (偏差与方差)
#
# Why does a model fail: because it cannot represent the answer, or because it follows the accidents of
# its training set? This page derives the decomposition of the error, measures it, and turns the two
# numbers into the next thing to do.
#
# ## Risk (风险)
#
# A model is a function $f(x; \theta)$, and a **loss function** (损失函数) $\mathcal L(y, f(x; \theta))$ says how
# wrong it is.
#
# | risk | formula | |
# |---|---|---|
# | expected risk (期望风险) | $\mathcal R^\text{exp}(\theta) = \mathbb E_{(x, y) \sim p_r}[\mathcal L(y, f(x; \theta))]$ | what we want; $p_r$ is unknown |
# | empirical risk (经验风险) | $\mathcal R^\text{emp}_{\mathcal D}(\theta) = \frac1N \sum_n \mathcal L(y^{(n)}, f(x^{(n)}; \theta))$ | what we can compute; tends to the expected risk as $N \to \infty$ |
# | structural risk (结构风险) | $\mathcal R^\text{stru}_{\mathcal D}(\theta) = \mathcal R^\text{emp}_{\mathcal D}(\theta) + \lambda\, \ell_p(\theta)$ | what is minimized: the penalty limits the model |
#
# Empirical risk minimization (经验风险最小化) alone **overfits** (过拟合): of two models with the same training error
# Occam's razor prefers the simpler one, and $\lambda$ says by how much. The losses of the lectures are
# [`gk.losses`](../../gradkit/losses/__init__.py): the squared loss [`gk.losses.squared_error`](../../gradkit/losses/regression.py#squared_error), the cross entropy
# [`gk.losses.softmax_cross_entropy`](../../gradkit/losses/cross_entropy.py#softmax_cross_entropy), the hinge loss [`gk.losses.hinge_loss`](../../gradkit/losses/margin.py#hinge_loss); the 0–1 loss, which has no useful
# gradient, is one minus [`gk.metrics.accuracy`](../../gradkit/metrics/classification.py#accuracy). The penalties are on the
# [page on penalties](11_penalties.md).
#
# ## The decomposition (偏差-方差分解)
#
# For the squared loss the best possible model is $f^*(x) = \mathbb E[y \mid x]$; its error
# $\varepsilon = \mathbb E[(y - f^*(x))^2]$ is noise that no model removes. A training set $\mathcal D$ gives the
# model $f_{\mathcal D}$, another set another model. On average over training sets
#
# $$
# \mathcal R(f) = \mathbb E\bigl[(f_{\mathcal D}(x) - f^*(x))^2\bigr] + \varepsilon
# = (\text{bias})^2 + \text{variance} + \varepsilon
# $$
#
# $$
# (\text{bias})^2 = \mathbb E_x\Bigl[\bigl(\mathbb E_{\mathcal D}[f_{\mathcal D}(x)] - f^*(x)\bigr)^2\Bigr]
# \qquad
# \text{variance} = \mathbb E_x\Bigl[\mathbb E_{\mathcal D}\bigl[(f_{\mathcal D}(x) - \mathbb E_{\mathcal D}[f_{\mathcal D}(x)])^2\bigr]\Bigr]
# $$
#
# With data that we make ourselves all of this can be measured. Two hundred training sets of 25 points are
# drawn from one curve with noise, and a polynomial of degree 9 with an L2 penalty is fitted to each, for 34
# values of $\lambda$. Training sets and penalties are the axes of one `vmap`.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import style
from sklearn.datasets import load_digits
from style import BLUE, FAINT, GREEN, INK, RED, picture, quick

import gradkit as gk

SETS, POINTS, NOISE = quick(200, 20), 25, 0.3
grid = jnp.linspace(-1, 1, 101)


def best_model(x):
    """f*, which only the one who made the data knows."""
    return jnp.sin(4 * x) + x


def training_set(key):
    place, noise = jax.random.split(key)
    x = jax.random.uniform(place, (POINTS,), minval=-1.0, maxval=1.0)
    return x, best_model(x) + NOISE * jax.random.normal(noise, (POINTS,))


def basis(x, degree=9):
    """Chebyshev polynomials, the features of a linear model."""
    return jnp.cos(jnp.arange(degree + 1, dtype=x.dtype)[None] * jnp.arccos(x)[:, None])


def fit_curve(key, l2):
    """Structural risk minimization, exactly: the ridge solution of one training set."""
    x, y = training_set(key)
    features = basis(x)
    penalty = l2 * POINTS * jnp.eye(features.shape[1])
    weights = jnp.linalg.solve(features.T @ features + penalty, features.T @ y)
    return basis(grid) @ weights


keys = jax.random.split(jax.random.key(0), SETS)
penalties = jnp.logspace(-4.5, 1, quick(34, 5))
curves = jax.jit(jax.vmap(jax.vmap(fit_curve, (0, None)), (None, 0)))(keys, penalties)

truth = best_model(grid)
bias2 = jnp.mean((jnp.mean(curves, axis=1) - truth[None]) ** 2, axis=1)
variance = jnp.mean(jnp.var(curves, axis=1), axis=1)
distance = jnp.mean((curves - truth[None, None]) ** 2, axis=(1, 2))
noise = NOISE**2

np.testing.assert_allclose(distance, bias2 + variance, rtol=1e-4)  # the decomposition
assert (jnp.diff(bias2) > -quick(5e-3, 1.0)).all()  # more penalty, more bias
assert variance[0] > variance[-1]  # and less variance
best = int(jnp.argmin(distance))
crossing = int(jnp.argmin(jnp.abs(bias2 - variance)))
print(f"best λ = {penalties[best]:.1g}: bias² {bias2[best]:.3f}, variance {variance[best]:.3f}")
print(f"bias² = variance near λ = {penalties[crossing]:.1g}, which is not the best one")


# %% A picture: twenty of the models for three penalties, and the decomposition
@picture("15_decomposition")
def draw_decomposition(plt):
    figure, axes = plt.subplot_mosaic("abc;ddd", figsize=(7.6, 5.8), height_ratios=[1, 1.35])
    for name, l2, title in (
        ("a", 1e-4, "λ too small, 10⁻⁴"),
        ("b", float(penalties[best]), f"the best λ, {penalties[best]:.1g}"),
        ("c", 10.0, "λ too large, 10"),
    ):
        i = int(jnp.argmin(jnp.abs(jnp.log(penalties) - jnp.log(l2))))
        axis = axes[name]
        axis.plot(grid[::2], curves[i, :20, ::2].T, color=BLUE, alpha=0.18, lw=0.8)
        axis.plot(grid, truth, color=INK, lw=1.8, label="f*")
        axis.plot(grid, curves[i].mean(0), "--", color=RED, lw=1.8, label="mean of the models")
        axis.set(title=title, ylim=(-2.6, 2.6), xticks=[], yticks=[])
    axes["a"].legend(loc="upper left", fontsize=8)
    axis = axes["d"]
    axis.plot(penalties, bias2, color=BLUE)
    axis.plot(penalties, variance, color=GREEN)
    axis.plot(penalties, distance + noise, color=RED)
    axis.axhline(noise, color=FAINT, ls=":")
    axis.text(4.0, 0.6, "bias²", color=BLUE)
    axis.text(1.6e-4, 0.5, "variance", color=GREEN, ha="right")
    axis.text(4e-5, noise + 0.015, "noise ε", color=FAINT)
    axis.text(0.32, 0.62, "error = bias² + variance + ε", color=RED, ha="right")
    axis.plot(penalties[best], distance[best] + noise, "o", color=RED)
    axis.annotate(
        "the smallest error",
        (penalties[best], distance[best] + noise),
        xytext=(0, 10),
        textcoords="offset points",
        ha="center",
        color=RED,
        fontsize=8.5,
    )
    axis.set(xscale="log", xlabel="λ  (← a more complex model, a simpler model →)", ylim=(0, 0.9))
    axis.set(title="200 training sets of 25 points: what their errors consist of")
    return figure


# %% [markdown]
# ![Models of twenty training sets for three penalties, and bias, variance and error over the penalty](../assets/course/15_decomposition.svg)
#
# A larger $\lambda$ makes the model simpler: the variance falls, the bias rises, and the sum has a minimum
# in between. That minimum need not be where the two curves cross. More data lower the variance at every
# $\lambda$, so that a more complex model becomes affordable.
#
# The four combinations of high and low, as targets: every dot is the model of another training set, its
# place is how far it is from $f^*$ at two points $x_1$ and $x_2$, and the centre is $f^*$.


# %%
def shot(key, points, degree, l2):
    """The error of one training set's model at two places."""
    place, noise = jax.random.split(key)
    x = jax.random.uniform(place, (points,), minval=-1.0, maxval=1.0)
    y = best_model(x) + NOISE * jax.random.normal(noise, (points,))
    features = basis(x, degree)
    penalty = l2 * points * jnp.eye(degree + 1)
    weights = jnp.linalg.solve(features.T @ features + penalty, features.T @ y)
    two = jnp.array([-0.4, 0.4])
    return basis(two, degree) @ weights - best_model(two)


targets = {  # points, degree, λ
    "(a) low bias, low variance": (400, 9, 1e-4),
    "(b) high bias, low variance": (400, 9, 1.0),
    "(c) low bias, high variance": (14, 7, 1e-4),
    "(d) high bias, high variance": (4, 1, 1e-2),
}
shots = {
    name: np.asarray(jax.vmap(lambda key, s=setting: shot(key, *s))(keys))
    for name, setting in targets.items()
}
centre = {name: float(np.linalg.norm(each.mean(0))) for name, each in shots.items()}
spread = {name: float(each.std(0).mean()) for name, each in shots.items()}
names = list(targets)
assert max(centre[names[0]], centre[names[2]]) < min(centre[names[1]], centre[names[3]])
assert max(spread[names[0]], spread[names[1]]) < min(spread[names[2]], spread[names[3]])


# %% A picture: the four targets
@picture("15_targets")
def draw_targets(plt):
    figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.35))
    powers = {1e-4: "10⁻⁴", 1e-2: "10⁻²", 1.0: "1"}
    for axis, (name, each) in zip(axes, shots.items(), strict=True):
        for radius in (0.5, 1.0, 1.5):
            axis.add_patch(plt.Circle((0, 0), radius, fill=False, color=FAINT, lw=0.8, alpha=0.7))
        axis.plot(*each[:80].T, "o", color=BLUE, ms=3, mew=0, alpha=0.55)
        axis.plot(*each.mean(0), "P", color=RED, ms=8, mec="none")
        axis.plot(0, 0, "+", color=INK, ms=12, mew=1.4)
        points, degree, l2 = targets[name]
        axis.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", xticks=[], yticks=[])
        axis.set_title(name.replace(", ", ",\n"), fontsize=9.5)
        axis.set_xlabel(f"{points} points, degree {degree}, λ = {powers[l2]}", fontsize=8)
        axis.spines[:].set_visible(False)
    return figure


# %% [markdown]
# ![Four targets: low and high bias, low and high variance](../assets/course/15_targets.svg)
#
# ## Reading real data
#
# With real data neither $f^*$ nor other training sets are at hand, but two errors are enough to act on:
#
# | training error | development error | reading |
# |---|---|---|
# | far above the target | close to the training error | **high bias** (高偏差), underfitting (欠拟合) |
# | close to the target | far above the training error | **high variance** (高方差), overfitting (过拟合) |
# | far above the target | far above the training error | both |
# | close to the target | close to the training error | neither |
#
# The target is the error that can be reached, such as that of people; it is 0 only if perfection is possible.
# [`gk.metrics.bias_variance`](../../gradkit/metrics/diagnosis.py#bias_variance) reads errors or whole learning curves in this way, and says on which numbers.
# The runs below train one network on the digits: hidden units, samples and penalty are numbers of a run (units
# and samples beyond them are masked out), so the whole study is one compiled `vmap`;
# [`gk.metrics.learning_curve`](../../gradkit/metrics/learning.py#learning_curve) runs the sizes of any one model in this way.

# %%
WIDTH, MOST, STEPS = quick(48, 8), quick(480, 40), quick(150, 10)
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
pixels, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
dev_x, dev_y = pixels[MOST : MOST + 500], labels[MOST : MOST + 500]


def outputs(params, x, width):
    units = (jnp.arange(WIDTH) < width).astype(x.dtype)
    hidden = jnp.tanh(x @ params["in"] + params["bias"][None]) * units[None]
    return hidden @ params["out"]


def study(width, samples, l2, key):
    """Training and development error of one network."""
    first, second = jax.random.split(key)
    xavier = gk.initializers.xavier_normal()
    params = {
        "in": xavier(first, (64, WIDTH)),
        "bias": jnp.zeros(WIDTH),
        "out": xavier(second, (WIDTH, 10)),
    }
    seen = jnp.arange(MOST) < samples
    tx = gk.chain(gk.add_l2_penalty(l2, mask=gk.by_rank(2)), gk.adam(0.02))

    def loss_fn(params):
        logits = outputs(params, pixels[:MOST], width)
        each = gk.softmax_cross_entropy_with_integer_labels(logits, labels[:MOST])
        return jnp.mean(each, where=seen)

    def step(carry, _):
        params, state = carry
        return tx.apply(params, state, jax.grad(loss_fn)(params)), None

    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=STEPS)
    wrong = jnp.argmax(outputs(params, pixels[:MOST], width), axis=1) != labels[:MOST]
    dev_wrong = jnp.argmax(outputs(params, dev_x, width), axis=1) != dev_y
    return jnp.mean(wrong, where=seen), jnp.mean(dev_wrong)


sizes = quick((20, 40, 80, 160, 320, 480), (20, 40))
widths = quick((1, 2, 3, 4, 6, 8, 16, 32, 48), (2, 8))
narrow, wide = widths[quick(2, 0)], widths[-1]
plan = [  # what is done after each reading
    ("a narrow network, 80 samples", (narrow, sizes[quick(2, 0)], 0.0)),
    ("more units", (wide, sizes[quick(2, 0)], 0.0)),
    ("more data", (wide, MOST, 0.0)),
    ("an L2 penalty", (wide, MOST, 3e-3)),
]
settings = [(narrow, n, 0.0) for n in sizes] + [(wide, n, 0.0) for n in sizes]
settings += [(w, MOST, 0.0) for w in widths] + [setting for _, setting in plan]
columns = [jnp.asarray(column) for column in zip(*settings, strict=True)]
seeds = jax.random.split(jax.random.key(2), quick(3, 1))
of_each_seed = jax.vmap(study, (None, None, None, 0))
errors = jax.jit(jax.vmap(of_each_seed, (0, 0, 0, None)))(*columns, seeds)
train_error, dev_error = (np.asarray(error).mean(1) for error in errors)

TARGET, TOLERANCE = 0.02, 0.05  # people read nearly all of these digits
parts = np.cumsum([0, len(sizes), len(sizes), len(widths), len(plan)])
by_size = [slice(*parts[i : i + 2]) for i in (0, 1)]
by_width, steps = slice(*parts[2:4]), slice(*parts[3:5])
for name, part in zip((narrow, wide), by_size, strict=True):
    reading = gk.metrics.bias_variance(
        train_error[part], dev_error[part], TARGET, tolerance=TOLERANCE
    )
    print(f"{name} units: {reading}")
readings = [
    gk.metrics.bias_variance(train, dev, TARGET, tolerance=TOLERANCE)
    for train, dev in zip(train_error[steps], dev_error[steps], strict=True)
]
for (name, _), reading in zip(plan, readings, strict=True):
    print(f"{name:30s} {str(reading).partition(':')[0]}")

if not style.QUICK:
    assert readings[0].high_bias
    assert not readings[1].high_bias
    assert readings[1].high_variance
    assert readings[2].variance < readings[1].variance
    assert not readings[-1].high_variance


# %% A picture: learning curves and capacity
@picture("15_learning_curves")
def draw_learning_curves(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.0), sharey=True)
    for axis, name, part in zip(axes, (narrow, wide), by_size, strict=False):
        axis.plot(sizes, 100 * dev_error[part], "-o", color=RED, ms=4)
        axis.plot(sizes, 100 * train_error[part], "-o", color=BLUE, ms=4)
        axis.set(xscale="log", xlabel="training samples")
        axis.set_xticks(sizes[::2], sizes[::2])
        axis.minorticks_off()
        title = "high bias" if name == narrow else "high variance, falling with data"
        axis.set_title(f"{name} hidden units:\n{title}")
    axes[0].set_ylabel("error, %")
    axes[2].plot(widths, 100 * dev_error[by_width], "-o", color=RED, ms=4)
    axes[2].plot(widths, 100 * train_error[by_width], "-o", color=BLUE, ms=4)
    axes[2].set(xscale="log", xlabel="hidden units", title=f"Capacity,\n{MOST} samples")
    axes[2].set_xticks(widths[::2], widths[::2])
    axes[2].minorticks_off()
    for axis in axes:
        axis.axhline(100 * TARGET, color=FAINT, ls=":")
        axis.set_ylim(-2, 82)
    axes[1].text(sizes[-1], 30, "development error", color=RED, fontsize=8.5, ha="right")
    axes[1].text(sizes[-1], 24, "training error", color=BLUE, fontsize=8.5, ha="right")
    axes[1].text(sizes[-1], 18, "target", color=FAINT, fontsize=8.5, ha="right")
    return figure


# %% [markdown]
# ![Learning curves of a narrow and a wide network, and the errors over the number of units](../assets/course/15_learning_curves.svg)
#
# On the left the curves approach each other far above the target: more data will not make this model good. In the middle the
# curves are far apart and the gap closes with data. On the right the error of the narrow networks is bias,
# and what remains for the wide ones is variance.
#
# ## What to do next
#
# - **High bias**: a larger network (更大的网络), longer training (训练更长时间), a better architecture or optimizer;
# - **high variance**: more data (更多数据), [penalties](11_penalties.md), [noise and augmentation](12_noise.md),
#   a better architecture.
#
# Bias first, then variance, and measure after every step:


# %% A picture: four readings, and what was done after each
@picture("15_next")
def draw_next(plt):
    figure, axis = plt.subplots(figsize=(7.6, 3.0))
    for i, reading in enumerate(readings):
        left = 0.0
        for width, colour in (
            (min(reading.target, reading.train_error), FAINT),
            (max(reading.bias, 0.0), BLUE),
            (reading.variance, GREEN),
        ):
            axis.barh(-i, 100 * width, 0.6, left=100 * left, color=colour)
            left += width
        words = str(reading).partition(":")[0]
        axis.text(100 * left + 0.6, -i, f"{100 * reading.dev_error:.0f} %  {words}", va="center")
    axis.set_yticks(range(0, -len(plan), -1), [name for name, _ in plan])
    axis.tick_params(axis="y", length=0)
    for place, name, colour in (
        (0.52, "target", FAINT),
        (0.66, "bias", BLUE),
        (0.76, "variance", GREEN),
    ):
        axis.text(place, 0.08, name, color=colour, transform=axis.transAxes, fontweight="bold")
    axis.set(xlabel="development error, % = target + bias + variance", xlim=(0, 62))
    return figure


# %% [markdown]
# ![Four steps from high bias and high variance to neither](../assets/course/15_next.svg)
#
# The two gaps are estimates from finite samples, not the terms of the decomposition above; with 500
# development samples an error of 10 % is known to within about 1.3 percentage points (one standard error
# $\sqrt{p (1 - p) / n}$), so smaller differences mean nothing.
