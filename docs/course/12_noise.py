# %% [markdown]
# # Regularization II: noise and more data
#
# A network cannot memorize what changes at every step. This page puts noise into the units, the weights, the
# inputs and the labels, and ends with what the noise tells about the certainty of a prediction.
#
# | method | in training | at inference | in gradkit |
# |---|---|---|---|
# | dropout (丢弃法), inverted | $h \odot m / (1 - p)$, $m_i \sim \text{Bernoulli}(1 - p)$ | $h$ | [`gnn.Dropout`](../../gradkit/nn/nnx/dropout.py#Dropout), [`F.dropout`](../../gradkit/nn/functional/dropout.py#dropout) |
# | dropout, as first published | $h \odot m$ | $(1 - p)\, h$ | `F.dropout(..., classic=True)` |
# | DropConnect | $(W \odot M)\, h / (1 - p)$ | $W h$ | [`gnn.DropConnect`](../../gradkit/nn/nnx/dropout.py#DropConnect) |
# | stochastic pooling (随机池化) | $a_i$ with probability $a_i / \sum_j a_j$ | $\sum_i a_i^2 / \sum_j a_j$ | [`gnn.StochasticPool`](../../gradkit/nn/nnx/pooling.py#StochasticPool), [`F.stochastic_pool`](../../gradkit/nn/functional/pooling.py#stochastic_pool) |
# | Gaussian noise (高斯噪声) | $x + \sigma \epsilon$ | $x$ | [`gnn.GaussianNoise`](../../gradkit/nn/nnx/dropout.py#GaussianNoise), [`F.gaussian_noise`](../../gradkit/nn/functional/dropout.py#gaussian_noise) |
# | augmentation (数据增强) | turned, shifted, flipped, zoomed, noisy images | the image | [`gk.data.augment`](../../gradkit/data/augmentation.py#augment) |
# | mixup | $\lambda x + (1 - \lambda) x'$, the labels alike | $x$ | [`gk.data.mixup`](../../gradkit/data/mixing.py#mixup) |
# | label smoothing (标签平滑) | $(1 - \alpha)\, y + \alpha / C$ | | [`gk.smooth_labels`](../../gradkit/losses/cross_entropy.py#smooth_labels) |
# | Monte Carlo dropout | | $\frac1M \sum_m f(x; \theta_m)$ | [`gnn.mc_predict`](../../gradkit/nn/nnx/mc_predict.py#mc_predict) |
#
# ## Dropout
#
# At every step each unit is dropped with probability $p$, so no unit can rely on a particular other one.
# Dividing by $1 - p$ in training keeps the mean of every unit, and inference needs no change.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import style
from sklearn.datasets import load_digits, make_moons
from style import BLUE, FAINT, GREEN, INK, RED, picture, quick

import gradkit as gk
import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812

h = jnp.arange(1.0, 9.0)
keys = jax.random.split(jax.random.key(0), quick(20_000, 500))
inverted = jax.vmap(lambda key: F.dropout(h, 0.4, key))(keys)
classic = jax.vmap(lambda key: F.dropout(h, 0.4, key, classic=True))(keys)
tolerance = {"rtol": quick(0.03, 0.3)}
np.testing.assert_allclose(inverted.mean(0), h, **tolerance)  # as at inference
np.testing.assert_allclose(
    classic.mean(0), F.dropout(h, 0.4, deterministic=True, classic=True), **tolerance
)


# %% Draw three networks
@picture("12_dropout")
def draw_dropout(plt):
    layers = [np.linspace(-1, 1, n) for n in (4, 6, 6, 2)]
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.4))
    for axis, key, title in zip(
        axes, (1, 4, None), ("one step: p = 0.4", "the next step", "at inference"), strict=True
    ):
        kept = [np.ones(4), np.ones(6), np.ones(6), np.ones(2)]
        if key is not None:
            for place in (1, 2):
                mask = F.dropout(jnp.ones(6), 0.4, jax.random.fold_in(jax.random.key(key), place))
                kept[place] = np.asarray(mask) > 0
        for i in range(3):
            for a, first in enumerate(layers[i]):
                for b, second in enumerate(layers[i + 1]):
                    if kept[i][a] and kept[i + 1][b]:
                        axis.plot([i, i + 1], [first, second], color=BLUE, lw=0.7, alpha=0.6)
        for i, layer in enumerate(layers):
            for a, y in enumerate(layer):
                color = BLUE if kept[i][a] else style.PAPER
                edge = BLUE if kept[i][a] else FAINT
                axis.plot(i, y, "o", color=color, ms=10, mec=edge, mew=1.4, zorder=3)
                if not kept[i][a]:
                    axis.plot(i, y, "x", color=FAINT, ms=7, mew=1.4, zorder=4)
        axis.set(title=title, xticks=[], yticks=[], xlim=(-0.3, 3.3), ylim=(-1.2, 1.2))
        axis.spines[:].set_visible(False)
    return figure


# %% [markdown]
# ![A network in two steps of training with dropped units, and at inference](../assets/course/12_dropout.svg)
#
# ### An ensemble of $2^M$ networks
#
# $M$ units give $2^M$ networks that share their weights; every step trains one of them, and inference
# approximates all of them at once. For one hidden layer below a softmax it is no approximation: the
# network at inference is exactly the normalized geometric mean of the $2^M$ networks ($p = ½$).

# %%
M = 8
generator = np.random.default_rng(0)
hidden = jnp.asarray(np.abs(generator.normal(size=M)), jnp.float32)
output = jnp.asarray(generator.normal(size=(M, 3)), jnp.float32)
masks = jnp.asarray(np.array(np.meshgrid(*[[0.0, 1.0]] * M)).reshape(M, -1).T, jnp.float32)
assert len(masks) == 2**M

members = jax.nn.log_softmax((hidden[None] * masks / 0.5) @ output, axis=1)
geometric = jax.nn.softmax(members.mean(0))
inference = jax.nn.softmax(F.dropout(hidden, 0.5, deterministic=True) @ output)
np.testing.assert_allclose(inference, geometric, rtol=1e-4)


# %% [markdown]
# ### The rate
#
# The network of [the last page](11_penalties.md) (32 ReLU units, 60 points, Adam at 0.03, 1000 steps) with
# four rates. A rate may be traced, so all rates and eight draws of the points are one compiled program.
# The pictures show one draw, the numbers are means over all.

# %%
UNITS = 32
draws = [make_moons(quick(60, 10), noise=0.35, random_state=r) for r in range(quick(8, 2))]
points = jnp.asarray(np.stack([xy for xy, _ in draws]), jnp.float32)
classes = jnp.asarray(np.stack([label for _, label in draws]))


def network(params, x, rate=0.0, key=None):
    hidden = jax.nn.relu(x @ params["in"] + params["a"][None])
    hidden = F.dropout(hidden, rate, key, deterministic=key is None)
    return hidden @ params["out"] + params["b"]


def learn(rate, points, classes):
    first, second, third = jax.random.split(jax.random.key(4), 3)
    params = {
        "in": gk.initializers.he_normal()(first, (2, UNITS)),
        "a": jnp.zeros(UNITS),
        "out": jax.random.normal(second, (UNITS,)) / 4,
        "b": jnp.zeros(()),
    }
    tx = gk.adam(0.03)

    def loss(params, key):
        logits = network(params, points, rate, key)
        return jnp.mean(gk.sigmoid_binary_cross_entropy(logits, classes.astype(logits.dtype)))

    def step(carry, key):
        params, state = carry
        return tx.apply(params, state, jax.grad(loss)(params, key)), None

    keys = jax.random.split(third, quick(1000, 5))
    return jax.lax.scan(step, (params, tx.init(params)), keys)[0][0]


rates = jnp.array([0.0, 0.1, 0.5, 0.9])
of_each_draw = jax.vmap(learn, (None, 0, 0))
trained = jax.jit(jax.vmap(of_each_draw, (0, None, None)))(rates, points, classes)
fresh, answers = make_moons(2000, noise=0.35, random_state=99)
fresh, answers = jnp.asarray(fresh, jnp.float32), jnp.asarray(answers)


@jax.jit
def accuracies(trained):
    right = lambda params, x, y: jnp.mean((network(params, x) > 0) == (y > 0))
    seen = jax.vmap(jax.vmap(right), (0, None, None))(trained, points, classes)
    unseen = jax.vmap(jax.vmap(right, (0, None, None)), (0, None, None))(trained, fresh, answers)
    return seen.mean(1), unseen.mean(1)


seen, unseen = (np.asarray(part) for part in accuracies(trained))
for rate, a, b in zip(rates, seen, unseen, strict=True):
    print(f"dropout {rate:.1f}: training {a:.0%}, new points {b:.1%}")
if not style.QUICK:
    assert seen[0] > seen[2] > seen[3]  # the more noise, the less is memorized
    assert unseen[2] > unseen[0] + 0.01


# %% Draw the boundaries
@picture("12_boundaries", raster=True)
def draw_boundaries(plt):
    figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.2))
    grid = np.meshgrid(np.linspace(-2, 3, 150), np.linspace(-1.6, 2.1, 110))
    flat = jnp.asarray(np.stack([g.ravel() for g in grid], 1), jnp.float32)
    one = jax.tree.map(lambda leaf: leaf[:, 2], trained)
    surface = np.asarray(jax.vmap(lambda p: jax.nn.sigmoid(network(p, flat)))(one))
    shades = plt.matplotlib.colors.LinearSegmentedColormap.from_list("two", [BLUE, "#ffffff", RED])
    for i, axis in enumerate(axes):
        heights = surface[i].reshape(grid[0].shape)
        options = {"extent": (-2, 3, -1.6, 2.1), "origin": "lower", "vmin": 0, "vmax": 1}
        axis.imshow(heights, cmap=shades, alpha=0.45, **options)
        axis.contour(*grid, heights, levels=[0.5], colors=INK, linewidths=1.2)
        for value, color in ((0, BLUE), (1, RED)):
            chosen = points[2][classes[2] == value]
            axis.plot(*chosen.T, "o", color=color, ms=4, mec="white", mew=0.5)
        axis.set(xticks=[], yticks=[], aspect="auto", title=f"dropout {rates[i]:.1f}")
        axis.set_xlabel(f"training {seen[i]:.0%}, new {unseen[i]:.1%}", fontsize=8.5)
        axis.spines[:].set_visible(False)
    return figure


# %% [markdown]
# ![Decision boundaries of a network trained with dropout 0, 0.1, 0.5 and 0.9](../assets/course/12_boundaries.png)
#
# Wide layers take a larger rate, the input layer little or none. With dropout the cost is a random function:
# to see whether the code is right, train without it first and watch the loss fall.
#
# ## Stochastic pooling
#
# Max pooling keeps the largest activation of a window. Stochastic pooling draws one in proportion to its
# size; at inference it takes the mean of that draw, so large activations count more than in average pooling.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
pictures = jnp.asarray(images[order].reshape(-1, 8, 8, 1) / 16, jnp.float32)
labels = jnp.asarray(labels[order])

digit = pictures[2:3]
pool = partial(F.stochastic_pool, window_shape=(2, 2), strides=(2, 2))
drawn = jax.vmap(lambda key: pool(digit, key=key))(
    jax.random.split(jax.random.key(1), quick(3000, 100))
)
at_inference = pool(digit, deterministic=True)
np.testing.assert_allclose(drawn.mean(0), at_inference, atol=quick(0.03, 0.3))
window = jnp.array([1.6, 0.0, 0.4, 2.0]).reshape(1, 2, 2, 1)
assert np.isclose(float(pool(window, deterministic=True).item()), (1.6**2 + 0.4**2 + 2.0**2) / 4.0)


# %% Draw the pools
@picture("12_pooling")
def draw_pooling(plt):
    figure, axes = plt.subplots(1, 7, figsize=(7.6, 1.6))
    blocks = np.asarray(digit[0, :, :, 0]).reshape(4, 2, 4, 2)
    shown = {
        "8 × 8": np.asarray(digit[0, :, :, 0]),
        "max": blocks.max((1, 3)),
        "average": blocks.mean((1, 3)),
        "drawn": np.asarray(drawn[0, 0, :, :, 0]),
        "drawn again": np.asarray(drawn[1, 0, :, :, 0]),
        "and again": np.asarray(drawn[2, 0, :, :, 0]),
        "at inference": np.asarray(at_inference[0, :, :, 0]),
    }
    for axis, (name, image) in zip(axes, shown.items(), strict=True):
        axis.imshow(image, cmap="Blues", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=9, color=RED if "drawn" in name or "again" in name else INK)
        axis.spines[:].set_visible(False)
    return figure


# %% [markdown]
# ![A digit under max, average and stochastic pooling](../assets/course/12_pooling.svg)
#
# ## More data from the same data
#
# Augmentation changes an image in ways that do not change its label. Which ways these are depends on the
# task: a mirrored 3 is no digit. The functions take a key and a batch and belong into the training step, so
# every epoch sees other images; [`gk.data.augment`](../../gradkit/data/augmentation.py#augment) applies several in turn, and [`gk.data.per_image`](../../gradkit/data/augmentation.py#per_image) makes one
# of a function of a single image, such as the zoom below.


# %%
def zoom(key, image):
    """Scale an image about its centre by a factor between 0.75 and 1.25."""
    scale = jax.random.uniform(key, (), minval=0.75, maxval=1.25)
    both = jnp.stack([scale, scale])
    method = jax.image.ResizeMethod.LINEAR
    moved = 3.5 * (1 - both) + 0.5 * (scale - 1) * -1.0
    return jax.image.scale_and_translate(image, image.shape, (0, 1), both, moved, method)


functions = {
    "rotation": partial(gk.data.random_rotation, max_degrees=25),
    "shift": partial(gk.data.random_shift, max_shift=1),
    "zoom": gk.data.per_image(zoom),
    "flip": partial(gk.data.random_flip, probability=1.0),
    "noise": partial(gk.data.gaussian_noise, stddev=0.15),
    "cutout": partial(gk.data.cutout, size=3),
}
batch = pictures[: quick(10, 2)]
sheet = {name: np.asarray(change(jax.random.key(5), batch)) for name, change in functions.items()}
mixed, soft = gk.data.mixup(jax.random.key(6), batch, jax.nn.one_hot(labels[: len(batch)], 10), 1.0)
for image in sheet.values():
    assert image.shape == batch.shape
np.testing.assert_allclose(soft.sum(1), 1.0, rtol=1e-5)  # labels are mixed as the images are
np.testing.assert_array_equal(sheet["flip"], batch[:, :, ::-1])


# %% Draw the sheet
@picture("12_augmentation")
def draw_sheet(plt):
    rows = {"original": np.asarray(batch), **sheet, "mixup": np.asarray(mixed)}
    figure, axes = plt.subplots(len(rows), 10, figsize=(7.6, 6.2))
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, row, strict=True):
            axis.imshow(image[:, :, 0], cmap="Blues", vmin=-0.1, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        color = RED if name == "flip" else INK
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", color=color)
    return figure


# %% [markdown]
# ![Ten digits, rotated, shifted, zoomed, flipped, with noise, with a hole, and mixed](../assets/course/12_augmentation.svg)
#
# ## All of them on wrong labels
#
# One network (64 ReLU units, Adam at 0.01) learns 300 digits, a quarter of them with a wrong label. Without
# noise it memorizes these too. Every kind of noise is a number of a run, so nine settings × four seeds are
# one compiled program. Label smoothing takes the target $(1 - \alpha) y + \alpha / C$: the network no longer
# drives its logits apart without end, which changes its confidence ([calibration](14_evaluation.md#are-the-probabilities-true-calibration)).

# %%
TRAIN, TEST = quick(300, 20), 1200
generator = np.random.default_rng(3)
wrong = generator.random(TRAIN) < 0.25
given = np.where(wrong, generator.integers(0, 10, TRAIN), labels[:TRAIN])
settings = {  # dropout, DropConnect, noise, shift, rotation, mixup, smoothing
    "nothing": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "dropout 0.3": (0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "DropConnect 0.3": (0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0),
    "Gaussian noise": (0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0),
    "label smoothing": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1),
    "mixup": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "rotation": (0.0, 0.0, 0.0, 0.0, 15.0, 0.0, 0.0),
    "shift": (0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0),
    "shift, rotation, dropout": (0.3, 0.0, 0.0, 0.5, 15.0, 0.0, 0.0),
}


def logits_of(params, x, setting=None, key=None):
    x = x.reshape(len(x), 64)
    if key is None:
        return jax.nn.relu(x @ params["in"]) @ params["out"]
    units, weights = jax.random.split(key)
    hidden = jax.nn.relu(x @ F.dropout(params["in"], setting[1], weights))
    return F.dropout(hidden, setting[0], units) @ params["out"]


def noisy_batch(setting, key):
    """The training images and their labels as one step sees them."""
    x, y = pictures[:TRAIN], jax.nn.one_hot(given, 10)
    turn, shift, whether, noise, mix = jax.random.split(key, 5)
    x = gk.data.random_rotation(turn, x, setting[4])
    shifted = jax.random.bernoulli(whether, setting[3], (len(x), 1, 1, 1))
    x = jnp.where(shifted, gk.data.random_shift(shift, x, 1), x)
    x = gk.data.gaussian_noise(noise, x, setting[2])
    mixed, soft = gk.data.mixup(mix, x, y, 0.4)
    x, y = jnp.where(setting[5] > 0, mixed, x), jnp.where(setting[5] > 0, soft, y)
    return x, gk.smooth_labels(y, setting[6])


def train(setting, key):
    first, second, key = jax.random.split(key, 3)
    he = gk.initializers.he_normal()
    params = {"in": he(first, (64, 64)), "out": he(second, (64, 10))}
    tx = gk.adam(0.01)

    def loss(params, key):
        data, model = jax.random.split(key)
        x, y = noisy_batch(setting, data)
        return jnp.mean(gk.softmax_cross_entropy(logits_of(params, x, setting, model), y))

    def step(carry, key):
        params, state = carry
        return tx.apply(params, state, jax.grad(loss)(params, key)), None

    keys = jax.random.split(key, quick(300, 3))
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), keys)
    return logits_of(params, pictures[-TEST:])


table = jnp.asarray(list(settings.values()))
seeds = jax.random.split(jax.random.key(7), quick(4, 1))
several = jax.jit(jax.vmap(jax.vmap(train, (None, 0)), (0, None)))
results = np.asarray(several(table, seeds))  # [settings, seeds, test, classes]
true = np.asarray(labels[-TEST:])
hits = (results.argmax(-1) == true).mean(-1)


def calibration(logits):
    probabilities = jax.nn.softmax(logits, axis=-1)
    right = jnp.argmax(logits, axis=-1) == jnp.asarray(true)
    return gk.metrics.calibration_error(right, jnp.max(probabilities, axis=-1), n_bins=10)


gaps = np.asarray(jax.vmap(calibration)(jnp.asarray(results.reshape(-1, TEST, 10))))
gaps = gaps.reshape(len(settings), -1)
for name, hit, gap in zip(settings, hits, gaps, strict=True):
    print(f"{name:25s} test accuracy {hit.mean():.1%} ± {hit.std():.1%}, ECE {gap.mean():.1%}")
if not style.QUICK:
    mean = dict(zip(settings, hits.mean(1), strict=True))
    assert min(mean["dropout 0.3"], mean["mixup"]) > mean["nothing"] + 0.03
    assert min(mean["DropConnect 0.3"], mean["Gaussian noise"]) > mean["nothing"] + 0.08
    assert mean["shift, rotation, dropout"] > mean["nothing"] + 0.1


# %% Draw the comparison
@picture("12_comparison")
def draw_comparison(plt):
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7.6, 3.3), sharey=True, width_ratios=[1.5, 1]
    )
    place = -np.arange(len(settings))
    for axis, values, color in ((left, hits, BLUE), (right, gaps, GREEN)):
        axis.barh(place, 100 * values.mean(1), 0.62, color=color, alpha=0.35)
        for i, row in zip(place, values, strict=True):
            axis.plot(100 * row, np.full(len(row), i), "o", color=color, ms=4, mew=0)
        axis.axvline(100 * values[0].mean(), color=FAINT, ls=":")
    left.set_yticks(place, list(settings))
    left.tick_params(axis="y", length=0)
    left.set(xlim=(60, 95), xlabel="%, four seeds", title="Test accuracy")
    right.set(xlabel="%", title="Calibration error")
    return figure


# %% [markdown]
# ![Test accuracy and calibration error of nine ways of training](../assets/course/12_comparison.svg)
#
# Noise in the inputs, the weights and the units all keep the network from memorizing; rotation alone leaves
# enough of an image unchanged to memorize it.
#
# ## What the noise says about certainty
#
# Dropout can be read as Bayesian inference (贝叶斯学习) with the masks as samples of the weights:
#
# $$
# \mathbb E_{q(\theta)}[y] = \int f(x; \theta)\, q(\theta)\, d\theta \approx \frac1M \sum_{m=1}^M f(x; \theta_m)
# $$
#
# [`gnn.mc_predict`](../../gradkit/nn/nnx/mc_predict.py#mc_predict) keeps the noise on at inference and returns mean and variance. Where there are no data the
# masked networks disagree.

# %%
spots = np.random.default_rng(1).uniform(-1, 1, quick(60, 10))
spots = np.where(spots < 0, spots * 0.6 - 0.4, spots * 0.6 + 0.4)  # nothing between −0.4 and 0.4
heights = np.sin(4 * spots) + 0.1 * np.random.default_rng(2).normal(size=spots.shape)
spots, heights = (jnp.asarray(a[:, None], jnp.float32) for a in (spots, heights))


def regression(params, x, key):
    one, two = jax.random.split(key)
    hidden = F.dropout(jax.nn.relu(x @ params["w1"] + params["b1"][None]), 0.1, one)
    hidden = F.dropout(jax.nn.relu(hidden @ params["w2"] + params["b2"][None]), 0.1, two)
    return hidden @ params["w3"]


def fit_regression(key):
    ones, twos, threes, key = jax.random.split(key, 4)
    he = gk.initializers.he_normal()
    params = {"w1": he(ones, (1, 64)), "b1": jax.random.normal(ones, (64,)), "b2": jnp.zeros(64)}
    params |= {"w2": he(twos, (64, 64)), "w3": he(threes, (64, 1))}
    tx = gk.adam(0.005)

    def loss(params, key):
        return jnp.mean((regression(params, spots, key) - heights) ** 2)

    def step(carry, key):
        params, state = carry
        return tx.apply(params, state, jax.grad(loss)(params, key)), None

    keys = jax.random.split(key, quick(2000, 3))
    return jax.lax.scan(step, (params, tx.init(params)), keys)[0][0]


curve = jax.jit(fit_regression)(jax.random.key(8))
line = jnp.linspace(-2, 2, 161)[:, None]
model = partial(regression, curve)
mean, variance = gnn.mc_predict(model, line, samples=quick(300, 5), key=jax.random.key(9))
deviation = np.sqrt(np.asarray(variance[:, 0]))
where = np.asarray(line[:, 0])
inside = (np.abs(where) > 0.5) & (np.abs(where) < 0.9)
assert mean.shape == variance.shape == line.shape
if not style.QUICK:
    assert deviation[np.abs(where) > 1.6].mean() > 2 * deviation[inside].mean()


# %% Draw the uncertainty
@picture("12_uncertainty")
def draw_uncertainty(plt):
    figure, axis = plt.subplots(figsize=(6.8, 3.1))
    centre = np.asarray(mean[:, 0])
    for width, alpha in ((2, 0.15), (1, 0.2)):
        low, high = centre - width * deviation, centre + width * deviation
        axis.fill_between(where, low, high, color=BLUE, alpha=alpha, lw=0)
    axis.plot(where, centre, color=BLUE, label="mean of 300 masks; ± 1 and 2 deviations")
    axis.plot(where, np.sin(4 * where), color=FAINT, ls=":", label="the curve of the data")
    axis.plot(spots, heights, "o", color=RED, ms=3.5, mew=0, label="data")
    axis.set(ylim=(-3.2, 4.6), xlabel="x", ylabel="y", xlim=(-2, 2))
    axis.legend(loc="upper center", ncols=3, fontsize=8.5)
    return figure


# %% [markdown]
# ![Predictions of a network with Monte Carlo dropout: the band widens away from the data](../assets/course/12_uncertainty.svg)
#
# The band is no guarantee: its width depends on the rate, and beyond the data the network may be sure and
# wrong, as at both ends here. [Normalization and dropout](../nn.md) has the layers for Flax.
