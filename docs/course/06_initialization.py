# %% [markdown]
# # Initialization
#
# Gradient descent must start somewhere. Biases start at zero; weights cannot, and the size of random
# weights decides whether a deep network learns.
#
# | initialization | variance of a weight | gradkit |
# |---|---|---|
# | constant (固定值初始化) | 0 | for biases |
# | Gaussian with a fixed variance (高斯分布初始化) | σ² | [`gaussian(0, σ)`](../../gradkit/initializers/draws.py#gaussian) |
# | uniform in [−r, r] (均匀分布初始化) | r² / 3 | [`symmetric_uniform(r)`](../../gradkit/initializers/draws.py#symmetric_uniform) |
# | LeCun | $1 / n_{in}$ | [`lecun()`](../../gradkit/initializers/scaling.py#lecun) |
# | Xavier, for tanh | $2 / (n_{in} + n_{out})$ | [`xavier()`](../../gradkit/initializers/scaling.py#xavier) |
# | Xavier, for the logistic function | $16 \cdot 2 / (n_{in} + n_{out})$ | `xavier("logistic")` |
# | He, for ReLU | $2 / n_{in}$ | [`he()`](../../gradkit/initializers/scaling.py#he) |
# | orthogonal (正交初始化) | $1 / n$ | [`orthogonal()`](../../gradkit/initializers/draws.py#orthogonal) |
# | from the data, layer by layer | so that outputs have the variance 1 | [`lsuv(...)`](../../gradkit/initializers/lsuv.py#lsuv) |
# | pre-trained weights (预训练初始化) | | [`warm_start(...)`](../../gradkit/initializers/warm_start.py#warm_start) |
#
# A uniform draw of the same variance is in [−r, r] with $r = \sqrt{3 \operatorname{Var}}$, such as
# $\sqrt{6 / (n_{in} + n_{out})}$ for Xavier.

# %% Imports
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from style import BLUE, GREEN, ORANGE, PURPLE, RED, SKY, picture, quick

import gradkit as gk

init = gk.initializers

# %% [markdown]
# ## Symmetry
#
# If all weights of a layer start with the same value, all its units compute the same output and
# receive the same gradient, so that they stay equal: the layer has one unit in effect
# (对称权重问题). If they are zero, the hidden layers get no gradient at all, and only the bias of the
# last layer learns. The digits of scikit-learn, one hidden layer of 32 tanh units:

# %%
digits = load_digits()
images = jnp.asarray(digits.data / 16, jnp.float32)[: quick(None, 300)]
labels = jnp.asarray(digits.target)[: quick(None, 300)]
HIDDEN, STEPS = 32, quick(300, 60)


def loss_fn(params):
    """Cross entropy over all images."""
    logits = jnp.tanh(images @ params["w1"]) @ params["w2"] + params["b2"]
    return gk.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@jax.jit
def train(params):
    """The last parameters and the loss at each step."""
    tx = gk.sgd(0.5, momentum=0.9)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss_fn)(params)
        return tx.apply(params, state, grads), value

    (params, _), values = jax.lax.scan(step, (params, tx.init(params)), length=STEPS)
    return params, values


STARTS = {
    "zero": (init.gaussian(0.0, 0.0), RED),
    "constant 0.1": (lambda key, shape: jnp.full(shape, 0.1), ORANGE),
    "Xavier": (init.xavier(), GREEN),
}
trained = {}
for name, (draw, _) in STARTS.items():
    k1, k2 = jax.random.split(jax.random.key(0))
    weights = {"w1": draw(k1, (64, HIDDEN)), "w2": draw(k2, (HIDDEN, 10)), "b2": jnp.zeros(10)}
    trained[name] = jax.tree.map(np.asarray, train(weights))
ranks = {name: np.linalg.matrix_rank(p["w1"], tol=1e-2) for name, (p, _) in trained.items()}
assert ranks == {"zero": 0, "constant 0.1": 1, "Xavier": HIDDEN}
ends = {name: values[-1] for name, (_, values) in trained.items()}
assert ends["zero"] > 2.29  # ln 10 is 2.303: guessing
assert ends["Xavier"] < 0.3 * ends["constant 0.1"]


# %% Draw the symmetry
@picture("06_symmetry")
def draw_symmetry(plt):
    figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.4), width_ratios=(1.5, 1, 1, 1))
    for name, (_, values) in trained.items():
        axes[0].plot(values, color=STARTS[name][1], label=name)
    axes[0].set(xlabel="step", title="cross entropy", ylim=(0, 4.2), yticks=[0, 1, 2])
    axes[0].legend(loc="upper right", borderpad=0)
    for axis, (name, (params, _)) in zip(axes[1:], trained.items(), strict=True):
        # The weights of twelve units, as images beside each other.
        units = params["w1"].T.reshape(-1, 8, 8)[:12]
        tiles = np.full((4 * 9 - 1, 3 * 9 - 1), np.nan)
        for i, unit in enumerate(units):
            tiles[i // 3 * 9 : i // 3 * 9 + 8, i % 3 * 9 : i % 3 * 9 + 8] = unit
        axis.imshow(tiles, cmap="coolwarm", vmin=-0.8, vmax=0.8, interpolation="nearest")
        axis.set(title=name)
        axis.set_axis_off()
    return figure


# %% [markdown]
# ![The loss, and the weights of twelve hidden units after
# training.](../assets/course/06_symmetry.svg)
#
# ## Variance through depth
#
# Let a unit have $n$ inputs that are independent, with mean zero, $z = \sum_i w_i a_i$. Then
# $\operatorname{Var} z = n \operatorname{Var} w \operatorname{Var} a$. If the activation is nearly the
# identity, as tanh is for small inputs, the variance is kept when $\operatorname{Var} w = 1/n_{in}$.
# The same argument backwards gives $1/n_{out}$ for the gradients; Xavier is the compromise. ReLU sets
# half of its inputs to zero, which halves the second moment, so He doubles the variance. The logistic
# function has the slope ¼ at 0, hence Xavier's factor 16.
#
# Ten layers of 256 units show what happens otherwise: with σ = 0.01 the signal vanishes, with σ = 1
# tanh saturates and the gradients explode.

# %%
DEPTH, WIDTH, EXAMPLES = 10, quick(256, 128), quick(512, 64)
NETWORKS = {
    "tanh, σ = 0.01": (jnp.tanh, init.gaussian(0.0, 0.01), RED),
    "tanh, σ = 1": (jnp.tanh, init.gaussian(0.0, 1.0), ORANGE),
    "tanh, Xavier": (jnp.tanh, init.xavier(), GREEN),
    "tanh, orthogonal": (jnp.tanh, init.orthogonal(), SKY),
    "ReLU, Xavier": (jax.nn.relu, init.xavier("linear"), PURPLE),
    "ReLU, He": (jax.nn.relu, init.he(), BLUE),
}


keys = jax.random.split(jax.random.key(1), DEPTH + 2)
x, target = (jax.random.normal(key, (EXAMPLES, WIDTH)) for key in keys[:2])


@partial(jax.jit, static_argnums=0)
def sizes(activation, weights):
    """The size of the activations of every layer, that of the gradients, and who is saturated."""

    def run(shifts):
        def layer(a, inputs):
            w, shift = inputs
            a = activation(a @ w) + shift
            return a, a

        last, activations = jax.lax.scan(layer, x, (weights, shifts))
        return jnp.sum(last * target), activations

    gradients, activations = jax.grad(run, has_aux=True)(jnp.zeros((DEPTH, EXAMPLES, WIDTH)))
    rms = lambda a: jnp.sqrt(jnp.mean(a**2, (1, 2)))
    return rms(activations), rms(gradients), jnp.mean(jnp.abs(activations) > 0.99, (1, 2))


measured = {
    name: jax.device_get(sizes(activation, jnp.stack([draw(k, (WIDTH, WIDTH)) for k in keys[2:]])))
    for name, (activation, draw, _) in NETWORKS.items()
    if name in quick(list(NETWORKS), ["tanh, σ = 0.01", "tanh, σ = 1", "ReLU, Xavier", "ReLU, He"])
}
activations = {name: values[0] for name, values in measured.items()}
gradients = {name: values[1] for name, values in measured.items()}
assert activations["tanh, σ = 0.01"][-1] < 1e-6  # multiplied by 0.01 √n in each layer
assert measured["tanh, σ = 1"][2].min() > 0.5  # saturated
assert gradients["tanh, σ = 1"][0] > 100 * gradients["tanh, σ = 1"][-1]
np.testing.assert_allclose(activations["ReLU, Xavier"][-1], 2 ** (-DEPTH / 2), rtol=0.5)
np.testing.assert_allclose(activations["ReLU, He"], 1, rtol=0.4)
np.testing.assert_allclose(gradients["ReLU, He"], 1, rtol=0.4)


# %% Draw the sizes
@picture("06_depth")
def draw_depth(plt):
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.2))
    for name, values in measured.items():
        for axis, sizes in zip(axes, values):
            axis.plot(np.arange(1, DEPTH + 1), sizes, "-o", ms=3.5, color=NETWORKS[name][2],
                      label=name)  # fmt: skip
    for axis, title in zip(axes, ("size of the activations", "size of the gradients")):
        axis.set(yscale="log", xlabel="layer", title=title, xticks=[1, 4, 7, 10])
    axes[0].legend(loc="lower left", borderpad=0)
    return figure


# %% [markdown]
# ![The root mean square of activations and gradients in each of ten
# layers.](../assets/course/06_depth.svg)
#
# The same as histograms, for more activations, is drawn by
# [docs/pictures/initializers.py](../../docs/pictures/initializers.py):
#
# ![Histograms of the activations and the gradients of ten layers, the first on
# top.](../assets/initializers.png)
#
# ## The variances of the table
#
# The gain (增益) of an activation is the factor by which weights have to be larger than for the
# identity. [`gain`](../../gradkit/initializers/gain.py#gain) knows the lectures' factors by name and
# computes others.

# %%
SHAPE, key = (400, 100), jax.random.key(2)
VARIANCES = {
    "gaussian": (init.gaussian(0.0, 0.3), 0.3**2),
    "uniform": (init.symmetric_uniform(0.3), 0.3**2 / 3),
    "lecun": (init.lecun(), 1 / 400),
    "xavier": (init.xavier(), 2 / 500),
    "xavier, logistic": (init.xavier("logistic"), 16 * 2 / 500),
    "xavier, uniform": (init.xavier(distribution="uniform"), 2 / 500),
    "he": (init.he(), 2 / 400),
}
for name, (draw, variance) in VARIANCES.items():
    np.testing.assert_allclose(np.var(draw(key, SHAPE)), variance, rtol=0.03, err_msg=name)
assert np.abs(init.xavier(distribution="uniform")(key, SHAPE)).max() <= (6 / 500) ** 0.5
q = init.orthogonal()(key, (64, 64))
np.testing.assert_allclose(q.T @ q, np.eye(64), atol=1e-4)
assert init.gain("logistic", method="slope") == 4
assert init.gain("relu") == 2**0.5

# %% [markdown]
# ## From the data
#
# LSUV (layer-sequential unit-variance) begins with orthogonal weights and divides the weights of each
# layer by the standard deviation of its outputs on a batch. It needs no theory about the activation.


# %%
def outputs(weights, x):
    """The output of each layer before its activation, by the name of its weight."""
    found = {}
    for name, w in weights.items():
        found[name] = x @ w
        x = jax.nn.gelu(found[name])
    return found


blank = {f"layer{i}": jnp.zeros((64, 64)) for i in range(quick(6, 3))}
weights = init.lsuv(outputs, blank, images[:256], key=0)
for z in outputs(weights, images[:256]).values():
    np.testing.assert_allclose(np.var(z), 1, rtol=0.02)

# %% [markdown]
# What else keeps signals at their size: normalization inside the network, which makes training much
# less sensitive to initialization, and residual connections. Pre-training (预训练) starts from the
# weights of another task: `warm_start(params, pretrained)` takes those whose names and shapes agree
# and reports which.
