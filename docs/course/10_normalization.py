# %% [markdown]
# # Normalization inside the network (逐层归一化)
#
# Preprocessing normalizes the inputs of the first layer. The inputs of the others move as the weights before
# them move (internal covariate shift, 内部协变量偏移). Normalizing them too keeps activations and gradients in a
# good range and makes the landscape smoother: larger learning rates work, and the initialization matters less.
#
# All methods subtract a mean $\mu$, divide by a deviation and give the layer its freedom back by a scale
# $\gamma$ and a shift $\beta$ that are learned. They differ in what $\mu$ and $\sigma^2$ are taken over:
#
# $$
# y = \gamma \odot \frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad
# \mu_{\mathcal B} = \frac1K \sum_{k=1}^K z^{(k)}, \qquad
# \sigma_{\mathcal B}^2 = \frac1K \sum_{k=1}^K (z^{(k)} - \mu_{\mathcal B})^2
# $$
#
# | method | $\mu$, $\sigma^2$ over | in gradkit |
# |---|---|---|
# | batch normalization (批量归一化) | the samples of the batch (and positions), for each channel | [`gnn.BatchNorm`](../../gradkit/nn/nnx/batch_norm.py#BatchNorm), [`F.batch_norm`](../../gradkit/nn/functional/batch_norm.py#batch_norm) |
# | layer normalization (层归一化) | $\mu^{(l)} = \frac{1}{M_l}\sum_i z_i^{(l)}$: the units of the layer, for each sample | [`gnn.LayerNorm`](../../gradkit/nn/nnx/norm.py#LayerNorm), [`F.layer_norm`](../../gradkit/nn/functional/norm.py#layer_norm) |
# | RMS normalization | the same without $\mu$: $z / \sqrt{\operatorname{mean} z^2 + \epsilon}$ | [`gnn.RMSNorm`](../../gradkit/nn/nnx/norm.py#RMSNorm), [`F.rms_norm`](../../gradkit/nn/functional/norm.py#rms_norm) |
# | instance normalization (实例归一化) | the positions, for each sample and channel | [`gnn.InstanceNorm`](../../gradkit/nn/nnx/norm.py#InstanceNorm), [`F.instance_norm`](../../gradkit/nn/functional/norm.py#instance_norm) |
# | group normalization (组归一化) | positions and a group of channels, for each sample | [`gnn.GroupNorm`](../../gradkit/nn/nnx/norm.py#GroupNorm), [`F.group_norm`](../../gradkit/nn/functional/norm.py#group_norm) |
# | weight normalization (权重归一化) | no activations: $w = \gamma\, v / \lVert v \rVert$ | [`gnn.WeightNorm`](../../gradkit/nn/nnx/weights.py#WeightNorm), [`F.weight_norm`](../../gradkit/nn/functional/weights.py#weight_norm) |
#
# Which elements share their moments can be asked of the functions themselves: an output depends on exactly
# the inputs that it is normalized with. The derivative of one output draws the picture.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import style
from sklearn.datasets import load_digits
from style import BLUE, FAINT, GREEN, INK, ORANGE, RED, picture, quick

import gradkit as gk
from gradkit.nn import functional as F  # noqa: N812

METHODS = {
    "batch": lambda x: F.batch_norm(x)[0],
    "layer": partial(F.layer_norm, reduction_axes=(1, 2), feature_axes=(1, 2)),
    "instance": F.instance_norm,
    "group": partial(F.group_norm, num_groups=2),
}
SAMPLES, POSITIONS, CHANNELS = 4, 4, 6
z = jax.random.normal(jax.random.key(0), (SAMPLES, POSITIONS, CHANNELS))
place = (0, 0, 0)  # one output: sample 0, position 0, channel 0


def shared(method):
    """Which inputs one output depends on."""
    return jax.grad(lambda z: method(z)[place] ** 2)(z) != 0


support = {name: np.asarray(shared(method)) for name, method in METHODS.items()}
counts = {name: int(where.sum()) for name, where in support.items()}
assert counts == {
    "batch": SAMPLES * POSITIONS,
    "layer": POSITIONS * CHANNELS,
    "instance": POSITIONS,
    "group": POSITIONS * CHANNELS // 2,
}
for name, method in METHODS.items():  # mean 0 and deviation 1 over just these
    chosen = np.asarray(method(z))[support[name]]
    np.testing.assert_allclose([chosen.mean(), chosen.std()], [0, 1], atol=1e-4)


# %% Draw the axes
@picture("10_axes")
def draw_axes(plt):
    figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.5))
    right, up, back = np.array([0.9, -0.18]), np.array([0.0, 0.95]), np.array([0.42, 0.36])

    def face(axis, corner, one, two, first, second, inside, shade):
        """Cells of one side of the block."""
        for i in range(first):
            for j in range(second):
                at = corner + i * one + j * two
                cell = np.array([at, at + one, at + one + two, at + two])
                color = RED if inside(i, j) else BLUE
                axis.fill(*cell.T, color=color, alpha=shade if color == RED else 0.16, lw=0)
                axis.plot(*np.vstack([cell, cell[:1]]).T, color=INK, lw=0.6, alpha=0.7)

    for axis, (name, where) in zip(axes, support.items(), strict=True):
        # Channels go to the right, positions up, samples back; sample 0 is in front.
        top = up * POSITIONS
        side = right * CHANNELS
        front = lambda c, p, w=where: w[0, p, c]
        lid = lambda c, n, w=where: w[n, POSITIONS - 1, c]
        end = lambda n, p, w=where: w[n, p, CHANNELS - 1]
        face(axis, np.zeros(2), right, up, CHANNELS, POSITIONS, front, 0.95)
        face(axis, top, right, back, CHANNELS, SAMPLES, lid, 0.75)
        face(axis, side, back, up, SAMPLES, POSITIONS, end, 0.6)
        axis.set(aspect="equal", xticks=[], yticks=[])
        axis.set_title(f"{name}: {counts[name]} values", fontsize=10, pad=14)
        axis.spines[:].set_visible(False)
    first = axes[0]
    first.text(*(side / 2 - [0.3, 1.0]), "channels", ha="center", fontsize=8.5, rotation=-9)
    first.text(-0.55, 1.9, "positions", va="center", ha="center", fontsize=8.5, rotation=90)
    first.text(*(top + back * 2 + [-1.0, 0.15]), "samples", ha="center", fontsize=8.5, rotation=38)
    return figure


# %% [markdown]
# ![A block of activations: samples, positions and channels. Red: the values that share a mean and a
# deviation under batch, layer, instance and group normalization.](../assets/course/10_axes.svg)
#
# With one position per channel (a dense layer) batch normalization works on the columns of the matrix
# [samples, units], layer normalization on its rows. The lectures write a sample as a column, so there the words
# are exchanged.
#
# ## Small facts worth knowing

# %%
x = 3 + 2 * jax.random.normal(jax.random.key(1), (64, 8))
y, moments = F.batch_norm(x)

# With γ = √(σ² + ε) and β = μ the layer is the identity: nothing is lost.
identity, _ = F.batch_norm(x, jnp.sqrt(moments.var + 1e-5), moments.mean)
np.testing.assert_allclose(identity, x, rtol=1e-4)

# A bias before it has no effect: β takes its place. Nor has the scale of the weights before it.
np.testing.assert_allclose(F.batch_norm(x + 5.0)[0], y, atol=1e-4)
np.testing.assert_allclose(F.batch_norm(x * 10.0)[0], y, atol=1e-3)

# Scaled weights therefore get smaller gradients: w → c w gives g → g / c, at right angles to w.
w = jax.random.normal(jax.random.key(2), (8, 3))
loss = lambda w: jnp.sum(F.batch_norm(x @ w)[0] ** 3)
small, large = jax.grad(loss)(w), jax.grad(loss)(10 * w)
np.testing.assert_allclose(large, small / 10, rtol=1e-2, atol=1e-4)
np.testing.assert_allclose(jnp.sum(small * w, 0), 0, atol=0.05 * float(jnp.abs(small).max()))

# Weight normalization sets the length of the weights of each unit to γ.
weights = F.weight_norm(w, jnp.array([1.0, 2.0, 3.0]))
np.testing.assert_allclose(jnp.linalg.norm(weights, axis=0), [1, 2, 3], rtol=1e-5)

# %% [markdown]
# ## Training and inference differ
#
# In training the moments are those of the mini-batch, so the output of a sample depends on its companions:
# noise that regularizes a little, and that is too much for small batches. Of two samples one becomes 1 and the
# other −1, whatever they are; a single one has no deviation at all. Layer normalization does not look at other
# samples, which is why recurrent networks and transformers use it. At inference batch normalization uses averages of the moments that were collected in
# training ([`F.running`](../../gradkit/nn/functional/moments.py#running)): $\mu \leftarrow m \mu + (1 - m)\, \mu_{\mathcal B}$, and [`F.apply_statistics`](../../gradkit/nn/functional/batch_norm.py#apply_statistics).

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
pixels, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
hidden = pixels @ (jax.random.normal(jax.random.key(3), (64, 1)) / 8)
batch_sizes = quick((2, 4, 8, 16, 32, 64, 128, 256), (4, 16))


def output_of_the_first(key, size):
    """The normalized value of sample 0 in a random batch."""
    others = jax.random.choice(key, len(hidden) - 1, (size - 1,), replace=False) + 1
    return F.batch_norm(jnp.concatenate([hidden[:1], hidden[others]]))[0][0, 0]


draws = jax.random.split(jax.random.key(4), quick(300, 20))
outputs = {
    size: np.asarray(jax.jit(jax.vmap(partial(output_of_the_first, size=size)))(draws))
    for size in batch_sizes
}
exact = F.apply_statistics(hidden[:1], jnp.mean(hidden, 0), jnp.var(hidden, 0)).item()
spread = [float(values.std()) for values in outputs.values()]
assert spread[0] > 2 * spread[-1]
assert style.QUICK or (np.abs(np.abs(outputs[2]) - 1) < 0.2).mean() > 0.9  # of two samples: ±1

mean, var, kept = jnp.zeros(1), jnp.ones(1), []
for key in jax.random.split(jax.random.key(5), quick(120, 5)):
    batch = hidden[jax.random.choice(key, len(hidden), (32,))]
    mean, var = F.running(mean, var, F.batch_norm(batch)[1], 0.95)
    kept.append((mean.item(), var.item()))
if not style.QUICK:
    np.testing.assert_allclose(kept[-1][1], jnp.var(hidden), rtol=0.25)


# %% Draw the batches
@picture("10_inference")
def draw_inference(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.0), width_ratios=[1.4, 1])
    for i, values in enumerate(outputs.values()):
        jitter = np.random.default_rng(i).uniform(-0.28, 0.28, 80)
        left.plot(i + jitter, values[:80], "o", color=BLUE, ms=2, mew=0, alpha=0.35)
        low, high = np.quantile(values, [0.05, 0.95])
        left.plot([i, i], [low, high], color=INK, lw=1.4)
    left.axhline(exact, color=RED, lw=1.4)
    left.text(
        len(batch_sizes) - 0.5,
        exact + 1.5,
        "red: at inference",
        color=RED,
        ha="right",
        fontsize=8.5,
    )
    left.set_xticks(range(len(batch_sizes)), batch_sizes)
    left.set(xlabel="batch size K", ylabel="normalized value", ylim=(exact - 2.6, exact + 1.8))
    left.set_title("One sample among 300 random batches")
    means, variances = zip(*kept, strict=True)
    for values, target, color, name in (
        (means, jnp.mean(hidden), BLUE, "mean"),
        (variances, jnp.var(hidden), GREEN, "variance"),
    ):
        right.plot(values, color=color)
        right.axhline(float(target), color=color, ls=":", lw=1.2)
        right.text(len(kept), float(target) + 0.05, name, color=color, ha="right", fontsize=8.5)
    right.set(xlabel="step", title="Running statistics (m = 0.95)")
    return figure


# %% [markdown]
# ![The output of one sample in random batches of different sizes, and running statistics](../assets/course/10_inference.svg)
#
# ## What it does to training
#
# A network of seven hidden layers of 32 tanh units learns the digits, from weights that are too small
# (Gaussian, $\sigma = 0.1$, half of what [Xavier's rule](06_initialization.md) asks for here), for 13 learning rates.
# Without normalization the signal dies out and little works. All normalizations widen the range of rates
# that work, batch normalization most.

# %%
LAYERS, UNITS, STEPS, BATCH = quick(6, 2), quick(32, 8), quick(120, 3), quick(64, 8)
x_train, y_train = pixels[:512], labels[:512]
KINDS = {
    "none": lambda h, scale: h,
    "batch": lambda h, scale: F.batch_norm(h, scale)[0],
    "layer": lambda h, scale: F.layer_norm(h, scale),
    "RMS": lambda h, scale: F.rms_norm(h, scale),
    "weight": lambda h, scale: h,
}


def logits_of(params, x, kind):
    def layer(h, weights):
        kernel, scale, bias = weights
        if kind == "weight":
            kernel = F.weight_norm(kernel, scale)
        return jnp.tanh(KINDS[kind](h @ kernel, scale) + bias[None]), None

    h = jnp.tanh(x @ params["first"])
    h, _ = jax.lax.scan(layer, h, (params["kernels"], params["scales"], params["biases"]))
    return h @ params["last"]


def train(kind, rate, key):
    """The curve of the training loss."""
    one, two, three, key = jax.random.split(key, 4)
    params = {
        "first": jax.random.normal(one, (64, UNITS)) / 8,
        "kernels": 0.1 * jax.random.normal(two, (LAYERS, UNITS, UNITS)),
        "scales": jnp.ones((LAYERS, UNITS)),
        "biases": jnp.zeros((LAYERS, UNITS)),
        "last": jax.random.normal(three, (UNITS, 10)) / UNITS**0.5,
    }
    tx = gk.sgd(rate, momentum=0.9)

    def loss_fn(params, rows):
        logits = logits_of(params, x_train[rows], kind)
        losses = gk.softmax_cross_entropy_with_integer_labels(logits, y_train[rows])
        return jnp.mean(losses)

    def step(carry, rows):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_fn)(params, rows)
        return tx.apply(params, state, grads), loss

    batches = jax.random.randint(key, (STEPS, BATCH), 0, len(x_train))
    return jax.lax.scan(step, (params, tx.init(params)), batches)[1]


rates = jnp.logspace(-3, 1, quick(13, 2))
curves = {}
for kind in quick(list(KINDS), ["none", "batch"]):
    sweep = jax.jit(jax.vmap(partial(train, kind), (0, None)))
    curves[kind] = np.asarray(sweep(rates, jax.random.key(6)))
final = {kind: curve[:, -10:].mean(1) for kind, curve in curves.items()}
good = {kind: np.asarray(rates)[loss < 0.5] for kind, loss in final.items()}
for kind, range_of in good.items():
    words = f"{range_of.min():.3g} to {range_of.max():.3g}" if len(range_of) else "no rate"
    print(f"{kind:7s} loss below 0.5 with {words}; best {np.nanmin(final[kind]):.3f}")
if not style.QUICK:
    assert len(good["batch"]) > len(good["none"]) + 2
    assert np.nanmin(final["batch"]) < np.nanmin(final["none"])


# %% Draw the training
@picture("10_training")
def draw_training(plt):
    colors = dict(zip(KINDS, (INK, BLUE, RED, ORANGE, GREEN), strict=True))
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3), sharey=True)
    for kind, curve in curves.items():
        best = int(np.nanargmin(final[kind]))
        kernel = np.ones(5) / 5
        left.plot(np.convolve(curve[best], kernel, "valid"), color=colors[kind], lw=1.6, label=kind)
        shown = np.where(np.isfinite(final[kind]), final[kind], np.nan)
        right.plot(
            rates, np.clip(shown, 0, 2.6), "-o", ms=3.5, mew=0, color=colors[kind], label=kind
        )
    left.set(
        xlabel="step", ylabel="training loss", title="Each with its best rate", ylim=(-0.05, 2.6)
    )
    right.set(xscale="log", xlabel="learning rate", title=f"Loss after {STEPS} steps")
    right.axhline(0.5, color=FAINT, ls=":")
    left.legend()
    return figure


# %% [markdown]
# ![Loss curves of five ways of normalization, and the loss over the learning rate](../assets/course/10_training.svg)
#
# [Normalization and dropout](../nn.md) has the layers for Flax, their accuracy and their speed.
