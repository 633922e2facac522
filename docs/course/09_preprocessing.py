# %% [markdown]
# # Preprocessing and whitening (数据预处理)
#
# Features come in different units. A gradient step has one learning rate for all of them, so it is too large
# for one weight or too small for another. Preprocessing gives the features a common scale, and whitening takes
# their correlation away too.
#
# | step | formula | in gradkit |
# |---|---|---|
# | min–max normalization (最小最大值归一化) | $x_i \leftarrow \frac{x_i - \min x_i}{\max x_i - \min x_i}$ | [`gk.data.min_max`](../../gradkit/data/preprocessing/scaling.py#min_max) |
# | pixels (简单缩放) | $x \leftarrow x / 255$ | [`gk.data.rescale`](../../gradkit/data/preprocessing/scaling.py#rescale) |
# | mean removal of each sample (逐样本均值消减) | $x^{(n)} \leftarrow x^{(n)} - \frac1d \sum_i x_i^{(n)}$ | [`gk.data.center_samples`](../../gradkit/data/preprocessing/per_sample.py#center_samples) |
# | mean removal of each feature (零均值化) | $\mu = \frac1m \sum_n x^{(n)}$, $x \leftarrow x - \mu$ | [`gk.data.center`](../../gradkit/data/preprocessing/scaling.py#center) |
# | standardization (特征标准化) | $x_i \leftarrow \frac{x_i - \mu_i}{\sigma_i}$ | [`gk.data.standardize`](../../gradkit/data/preprocessing/scaling.py#standardize) |
# | PCA (主成分分析) | $V (x - \mu)$, $V$ the eigenvectors of the covariance $\Sigma = V^\top \Lambda V$ | [`gk.data.pca`](../../gradkit/data/preprocessing/linear.py#pca) |
# | PCA whitening (PCA 白化) | $(\Lambda + \epsilon)^{-1/2}\, V (x - \mu)$ | [`gk.data.whiten`](../../gradkit/data/preprocessing/linear.py#whiten) with `method="pca"` |
# | ZCA whitening (ZCA 白化) | $V^\top (\Lambda + \epsilon)^{-1/2}\, V (x - \mu)$ | [`gk.data.whiten`](../../gradkit/data/preprocessing/linear.py#whiten) |
#
# Some lecture notes divide by $\sigma^2$; it is the standard deviation $\sigma$ that gives variance 1. A step is
# fitted to the training samples, and the fit is a pytree that transforms, inverts and jits;
# [`gk.data.pipeline`](../../gradkit/data/preprocessing/pipeline.py#pipeline) joins several.
#
# ## One data set, six ways
#
# Two measurements of 178 wines. Standardization makes the axes comparable, PCA turns the cloud so that its
# directions are uncorrelated, whitening makes it round. ZCA turns it back: of all whitened data it is nearest
# to the original.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import style
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from style import BLUE, FAINT, INK, ORANGE, PURPLE, RED, picture, quick

import gradkit as gk

wine = load_wine()
features = jnp.asarray(wine.data, jnp.float32)
two = features[:, [wine.feature_names.index(name) for name in ("flavanoids", "total_phenols")]]
two = two * jnp.array([1.0, 3.0])[None]  # in another unit
steps = {
    "min–max": gk.data.min_max(),
    "mean removed": gk.data.center(),
    "standardized": gk.data.standardize(),
    "PCA": gk.data.pca(),
    "PCA-whitened": gk.data.whiten("pca"),
    "ZCA-whitened": gk.data.whiten("zca"),
}
fits = {name: step.fit(two) for name, step in steps.items()}
clouds = {name: np.asarray(fitted.transform(two)) for name, fitted in fits.items()}

np.testing.assert_allclose(clouds["standardized"], StandardScaler().fit_transform(two), atol=1e-4)
whitened = PCA(whiten=True).fit_transform(np.asarray(two))
np.testing.assert_allclose(np.abs(clouds["PCA-whitened"]), np.abs(whitened), atol=1e-3)
for name in ("PCA-whitened", "ZCA-whitened"):
    np.testing.assert_allclose(np.cov(clouds[name].T), np.eye(2), atol=1e-3)
for name, fitted in fits.items():
    np.testing.assert_allclose(fitted.inverse_transform(clouds[name]), two, atol=1e-2)


def distance(name):
    """The mean squared distance of the whitened data from the centred data."""
    return float(np.mean((clouds[name] - clouds["mean removed"]) ** 2))


assert distance("ZCA-whitened") < distance("PCA-whitened")


# %% Draw the clouds
@picture("09_clouds")
def draw_clouds(plt):
    figure, axes = plt.subplots(2, 3, figsize=(7.6, 4.9))
    for axis, (name, cloud) in zip(axes.flat, clouds.items(), strict=True):
        for c, color in enumerate((BLUE, ORANGE, PURPLE)):
            axis.plot(*cloud[wine.target == c][::2].T, "o", color=color, ms=3, mew=0, alpha=0.75)
        values, vectors = np.linalg.eigh(np.cov(cloud.T))
        angle = np.linspace(0, 2 * np.pi, 80)
        circle = np.stack([np.cos(angle), np.sin(angle)])
        ring = vectors @ (2 * np.sqrt(np.maximum(values, 1e-12))[:, None] * circle)
        axis.plot(*(ring + cloud.mean(0)[:, None]), color=INK, lw=1.2)
        reach = 1.1 * max(np.abs(cloud - cloud.mean(0)).max(), 0.3)
        if name != "min–max":
            axis.axhline(0, color=FAINT, lw=0.6)
            axis.axvline(0, color=FAINT, lw=0.6)
        centre = cloud.mean(0)
        axis.set(
            xlim=(centre[0] - reach, centre[0] + reach), ylim=(centre[1] - reach, centre[1] + reach)
        )
        axis.set(title=name, aspect="equal")
        axis.locator_params(nbins=5)
    return figure


# %% [markdown]
# ![Two features of the wines after six kinds of preprocessing, with the ellipse of two standard
# deviations](../assets/course/09_clouds.svg)
#
# ## What it does to gradient descent
#
# A linear model with the squared loss has the Hessian $H = \frac1N X^\top X$. Gradient descent with its best
# rate shrinks the error by $\frac{\kappa - 1}{\kappa + 1}$ per step, $\kappa$ the ratio of the largest to the
# smallest eigenvalue ([page 1](01_descent.md)). Preprocessing changes $X$, hence $\kappa$. The target is the
# alcohol of a wine, from its malic acid and the alcalinity of its ash.

# %%
names = ("malic_acid", "alcalinity_of_ash")
pair = features[:, [wine.feature_names.index(name) for name in names]]
alcohol = features[:, 0] - features[:, 0].mean()
inputs = {
    "raw": pair,
    "mean removed": gk.data.center().fit(pair).transform(pair),
    "standardized": gk.data.standardize().fit(pair).transform(pair),
    "whitened": gk.data.whiten().fit(pair).transform(pair),
}


def squared_loss(w, x):
    return jnp.mean((x @ w - alcohol) ** 2) / 2


def curvature(x):
    """The eigenvalues of the Hessian, ascending."""
    return np.linalg.eigvalsh(np.asarray(x, np.float64).T @ np.asarray(x, np.float64) / len(x))


@jax.jit
def descend(x, rate, w):
    tx = gk.sgd(rate)

    def step(carry, _):
        w, state = carry
        w, state = tx.apply(w, state, jax.grad(squared_loss)(w, x))
        return (w, state), w

    points = jax.lax.scan(step, (w, tx.init(w)), length=25)[1]
    return jnp.concatenate([w[None], points])


kappa, runs, optimum = {}, {}, {}
for name, x in inputs.items():
    low, *_, high = curvature(x)
    kappa[name] = high / low
    best = np.linalg.lstsq(np.asarray(x), np.asarray(alcohol), rcond=None)[0]
    optimum[name] = best
    # Start as far away in the loss in each case, off the axes of the ellipses.
    values, vectors = np.linalg.eigh(np.asarray(x.T @ x / len(x)))
    start = best + vectors @ (np.array([0.6, 0.6]) / np.sqrt(values))
    runs[name] = np.asarray(descend(x, 2 / (low + high), jnp.asarray(start, jnp.float32)))
print("condition numbers:", {name: f"{value:.1f}" for name, value in kappa.items()})
assert kappa["raw"] > kappa["mean removed"] > kappa["standardized"] > kappa["whitened"]
np.testing.assert_allclose(kappa["whitened"], 1, rtol=1e-3)
np.testing.assert_allclose(runs["whitened"][1], optimum["whitened"], atol=1e-3)  # one step


# %% Draw the paths
@picture("09_paths")
def draw_paths(plt):
    figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.5))
    for axis, (name, x) in zip(axes, inputs.items(), strict=True):
        points = runs[name]
        reach = 1.25 * np.abs(points - optimum[name]).max()
        window = np.stack([optimum[name] - reach, optimum[name] + reach], 1).ravel()
        style.contours(axis, partial(squared_loss, x=x), window, 8)
        style.walk(axis, points, BLUE)
        style.cross(axis, optimum[name])
        axis.set_aspect("equal")
        axis.set_title(f"{name}\nκ = {kappa[name]:.{0 if kappa[name] > 20 else 1}f}")
    return figure


# %% [markdown]
# ![Gradient descent on raw, centred, standardized and whitened features, each with its best
# rate](../assets/course/09_paths.svg)
#
# The zigzag shows where the descent spends its steps. With all 13 features the difference is larger still: the wines' proline is in the hundreds.

# %%
three = jax.nn.one_hot(wine.target, 3)
both_steps = gk.data.pipeline(gk.data.standardize(), gk.data.whiten())  # float32 needs both
preprocessed = {
    "raw": features,
    "min–max": gk.data.min_max().fit(features).transform(features),
    "standardized": gk.data.standardize().fit(features).transform(features),
    "ZCA-whitened": both_steps.fit(features).transform(features),
}
condition, curves = {}, {}
STEPS = quick(300, 10)


@jax.jit
def training(x, rate):
    """The loss above its minimum during gradient descent on the squared loss of the classes."""
    loss = lambda w: jnp.mean(jnp.sum((x @ w - three) ** 2, 1)) / 2
    tx = gk.sgd(rate)

    def step(carry, _):
        w, state = carry
        value, grads = jax.value_and_grad(loss)(w)
        return tx.apply(w, state, grads), value

    w = jnp.zeros((x.shape[1], 3))
    return jax.lax.scan(step, (w, tx.init(w)), length=STEPS)[1]


for name, x in preprocessed.items():
    shifted = jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1)  # with a bias
    low, *_, high = curvature(shifted)
    condition[name] = high / low
    double = np.asarray(shifted, np.float64)
    solution = np.linalg.lstsq(double, np.asarray(three), rcond=None)[0]
    least = ((double @ solution - np.asarray(three)) ** 2).sum(1).mean() / 2
    curves[name] = np.asarray(training(shifted, 2 / (low + high))) - least
for name, value in condition.items():
    print(f"{name:13s} κ = {value:10.3g}, loss above the minimum at the end {curves[name][-1]:.1e}")
assert condition["raw"] > 1e4 * condition["standardized"]
assert condition["ZCA-whitened"] < 1.1
assert curves["ZCA-whitened"][5] < 1e-5 < curves["raw"][-1]


# %% Draw the training curves
@picture("09_training")
def draw_training(plt):
    figure, axis = plt.subplots(figsize=(6.6, 3.0))
    for (name, curve), color in zip(curves.items(), (INK, ORANGE, RED, BLUE), strict=True):
        shown = np.maximum(curve, 1e-6)
        axis.plot(np.arange(len(shown)) + 1, shown, color=color)
        kappa_of = {"raw": "5·10⁸", "ZCA-whitened": "1"}.get(name, f"{condition[name]:.0f}")
        place = {"ZCA-whitened": (2.4, 3e-5), "standardized": (110, 3e-5)}
        if name in place:
            axis.text(*place[name], f"{name}, κ = {kappa_of}", color=color, fontsize=8.5)
        else:
            style.end_label(axis, len(shown), shown[-1], f"{name}, κ = {kappa_of}", color)
    axis.set(
        yscale="log", xscale="log", xlabel="step", ylabel="loss above its minimum", ylim=(2e-6, 2)
    )
    axis.set_title("178 wines, 13 features, gradient descent with the best rate")
    return figure


# %% [markdown]
# ![Loss of gradient descent on raw, min-max, standardized and whitened features](../assets/course/09_training.svg)
#
# ## Images
#
# Neighbouring pixels are alike, so most of the variance of images lies in a few smooth directions. Whitening
# raises the others to the same variance: edges and single strokes become visible, and noise too. $\epsilon$
# bounds by how much; without it directions that never vary, such as the corner pixels of the digits, would be
# divided by zero, which is refused.

# %%
images, labels = load_digits(return_X_y=True)
pixels = gk.data.rescale(1 / 16).fit().transform(jnp.asarray(images, jnp.float32))
views = {
    "original": gk.data.rescale(1.0).fit(),
    "mean of each\nimage removed": gk.data.center_samples().fit(),
    "standardized": gk.data.standardize(constant="keep").fit(pixels),
    "PCA-whitened": gk.data.whiten("pca", eps=1e-2).fit(pixels),
    "ZCA-whitened\nε = 10⁻²": gk.data.whiten("zca", eps=1e-2).fit(pixels),
    "ZCA-whitened\nε = 10⁻⁴": gk.data.whiten("zca", eps=1e-4).fit(pixels),
}
shown = {name: np.asarray(fitted.transform(pixels)) for name, fitted in views.items()}
np.testing.assert_allclose(shown["mean of each\nimage removed"].mean(1), 0, atol=1e-5)
spectrum = np.asarray(views["PCA-whitened"].variance)
assert (
    spectrum[:20].sum() > 0.85 * spectrum.sum()
)  # most of the variance in a third of the directions
try:
    gk.data.whiten("zca").fit(pixels)
    refused = ""
except ValueError as error:
    refused = str(error)
print(refused)
assert "eps" in refused


# %% Draw the digits
@picture("09_digits")
def draw_digits(plt):
    figure, axes = plt.subplots(6, 11, figsize=(7.6, 4.6), width_ratios=[1] * 10 + [1.35])
    for line, (name, x) in zip(axes, shown.items(), strict=True):
        limit = 1.0 if name == "original" else np.quantile(np.abs(x), 0.99)
        for axis, image in zip(line[:10], x[:10], strict=True):
            low = 0 if name == "original" else -limit
            axis.imshow(
                image.reshape(8, 8), cmap="Blues" if low == 0 else "RdBu_r", vmin=low, vmax=limit
            )
        covariance = np.cov(x.T)
        line[10].imshow(np.abs(covariance), cmap="Purples", vmin=0, vmax=np.abs(covariance).max())
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8.5)
    axes[0, 10].set_title("covariance", fontsize=8.5)
    return figure


# %% [markdown]
# ![Ten digits after six kinds of preprocessing, and the covariance of their pixels](../assets/course/09_digits.svg)
#
# What is common for which data (the lectures' advice):
#
# | data | first | then |
# |---|---|---|
# | natural grey images (自然灰度图像) | mean removal | PCA or ZCA whitening |
# | colour images (彩色图像) | simple scaling | PCA or ZCA whitening |
# | sound (音频: MFCC, spectrograms) | standardization | PCA or ZCA whitening |
# | MNIST digits | simple scaling or mean removal of each sample | (PCA or ZCA whitening) |
#
# ## The leak
#
# Everything that is fitted, preprocessing included, is fitted to the training part alone. What has seen the test
# samples gives a score that new samples will not reach. The fits take the split and use its training part;
# [`gk.data.check_held_out`](../../gradkit/data/preprocessing/held_out.py#check_held_out) refuses to judge on samples that a fit has seen.

# %%
parts = gk.data.split(len(features), 0, (0.7, 0.3))
train_rows, test_rows = parts[0], parts[1]
right = gk.data.standardize().fit(features, parts)  # the training part of the split
gk.data.check_held_out(right, features[test_rows])
try:
    gk.data.check_held_out(gk.data.standardize().fit(features), features[test_rows])
    leak = ""
except ValueError as error:
    leak = str(error)
print(leak)
assert leak

# %% [markdown]
# For means and deviations the damage is small. It is large where the step looks at the labels. Here the
# data are *pure noise*: 100 samples of 500 random features, and random labels, so no model can be right more
# than half of the time. A step keeps the ten features that correlate most with the labels, and a nearest-mean
# classifier is cross-validated on them.


# %%
def keep_ten(x, y, where):
    """The ten features that correlate most with the labels."""
    sign = jnp.where(where, 2.0 * y.astype(x.dtype) - 1, 0.0)
    return jnp.argsort(-jnp.abs(sign @ x))[:10]


def nearest_mean(train, dev, chosen=None):
    """The accuracy of a nearest-mean classifier; it chooses its features unless they are given."""
    x, y = train.data
    chosen = keep_ten(x, y, train.where) if chosen is None else chosen
    first, second = (
        jnp.mean(x[:, chosen], axis=0, where=(train.where & (y == c))[:, None]) for c in (0, 1)
    )
    x, y = dev.data
    closer = jnp.sum((x[:, chosen] - first[None]) ** 2, 1) > jnp.sum(
        (x[:, chosen] - second[None]) ** 2, 1
    )
    return jnp.mean(closer == (y > 0), where=dev.where)


folds = gk.metrics.k_fold(100, 5)


@jax.jit
@jax.vmap
def both(key):
    one, two = jax.random.split(key)
    x = jax.random.normal(one, (100, 500))
    y = jax.random.bernoulli(two, shape=(100,)).astype(jnp.int32)
    seen = keep_ten(x, y, jnp.ones(100, bool))  # of all samples: the error
    leaking = gk.metrics.cross_validate(partial(nearest_mean, chosen=seen), (x, y), folds)
    return leaking.mean, gk.metrics.cross_validate(nearest_mean, (x, y), folds).mean


leaking, honest = (
    np.asarray(part) for part in both(jax.random.split(jax.random.key(1), quick(200, 8)))
)
print(f"accuracy on noise: {leaking.mean():.0%} with the leak, {honest.mean():.0%} without")
assert leaking.mean() > 0.7
assert abs(honest.mean() - 0.5) < quick(0.02, 0.15)


# %% Draw the leak
@picture("09_leak")
def draw_leak(plt):
    figure, axis = plt.subplots(figsize=(6.6, 2.7))
    edges = np.arange(0.2, 1.0, 0.025)
    axis.hist(honest, edges, color=BLUE, alpha=0.7)
    axis.hist(leaking, edges, color=RED, alpha=0.7)
    axis.axvline(0.5, color=INK, ls=":", lw=1.2)
    top = axis.get_ylim()[1]
    axis.text(
        honest.mean() - 0.1, top, "chosen inside\neach fold", color=BLUE, ha="right", va="top"
    )
    axis.text(
        leaking.mean() + 0.1,
        top,
        "chosen on all data,\nthen cross-validated",
        color=RED,
        ha="left",
        va="top",
    )
    axis.set(
        xlabel="cross-validated accuracy on random labels",
        ylabel="of 200 data sets",
        xlim=(0.2, 1.1),
    )
    return figure


# %% [markdown]
# ![Cross-validated accuracies on pure noise, with the leak and without](../assets/course/09_leak.svg)
#
# The same holds for augmentation before the split, for duplicates in both parts, and for settings chosen on the
# test set ([evaluation](14_evaluation.md)).
