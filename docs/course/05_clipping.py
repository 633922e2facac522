# %% [markdown]
# # Gradient clipping
#
# In deep and recurrent networks gradients vanish (梯度消失) or explode (梯度爆炸): backpropagation
# multiplies one Jacobian for each layer or time step, and the product shrinks or grows
# exponentially. One step along an exploded gradient throws the parameters far from the optimum.
# Gradient clipping (梯度截断) bounds it.
#
# | clipping | formula | gradkit |
# |---|---|---|
# | by value (按值截断) | $g \leftarrow \max(\min(g, b), a)$ | [`clip(b, a)`](../../gradkit/transforms/clip.py#clip) |
# | by norm (按模截断) | $g \leftarrow b\, g / \lVert g \rVert$ where $\lVert g \rVert > b$ | [`clip_by_global_norm(b)`](../../gradkit/transforms/clip.py#clip_by_global_norm), over all parameters |
# | by the norm of each leaf | the same, for each array | [`clip_by_block_norm(b)`](../../gradkit/transforms/clip.py#clip_by_block_norm) |
# | adaptive | the norm relative to that of the weights, for each unit | [`adaptive_grad_clip(b)`](../../gradkit/transforms/clip.py#adaptive_grad_clip) |
#
# A clip stands before the optimizer in a [`chain`](../../gradkit/_chain.py#chain).

# %% Imports
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    contours,
    picture,
    quick,
    trajectory,
    walk,
)

import gradkit as gk

# %% [markdown]
# ## Why they explode
#
# In a linear recurrent network $h_t = W h_{t-1}$ the gradient with respect to $h_0$ is
# $(W^\top)^T \nabla_{h_T}$. With W equal to ρ times an orthogonal matrix its norm is exactly
# $\rho^T$ times as large. tanh makes it smaller, because its slope is at most 1.

# %%
LENGTHS, WIDTH = 60, 16
orthogonal = gk.initializers.orthogonal()(jax.random.key(0), (WIDTH, WIDTH))


@jax.jit
def backwards(rho):
    """The norm of the gradient with respect to the state 0, 1, … steps before the end."""

    def norms(activation):
        h0 = jax.random.normal(jax.random.key(1), (WIDTH,))

        def states(shifts):
            step = lambda h, shift: (activation(rho * orthogonal @ h) + shift,) * 2
            return jax.lax.scan(step, h0, shifts)[0].sum()

        gradients = jax.grad(states)(jnp.zeros((LENGTHS, WIDTH)))
        return jnp.linalg.norm(gradients, axis=1)[::-1]

    return norms(lambda z: z), norms(jnp.tanh)


RHOS = {0.8: BLUE, 1.0: GREEN, 1.2: RED}
norms = {rho: [np.asarray(n) for n in backwards(rho)] for rho in RHOS}
for rho, (linear, saturated) in norms.items():
    np.testing.assert_allclose(linear, 4 * rho ** np.arange(LENGTHS), rtol=1e-3)
    assert (saturated <= linear * 1.001).all()


# %% Draw the norms
@picture("05_norms")
def draw_norms(plt):
    figure, axis = plt.subplots(figsize=(5.4, 2.7))
    for rho, (linear, saturated) in norms.items():
        axis.plot(linear, color=RHOS[rho], label=f"linear, ρ = {rho}")
        axis.plot(saturated, color=RHOS[rho], ls="--", lw=1.3)
    axis.plot([], [], color=INK, ls="--", lw=1.3, label="with tanh")
    axis.set(yscale="log", xlabel="steps back", ylabel="norm of the gradient", ylim=(1e-7, 1e6))
    axis.legend(ncols=2, loc="lower left", borderpad=0)
    return figure


# %% [markdown]
# ![The gradient in a recurrent network grows or shrinks exponentially with the distance in
# time.](../assets/course/05_norms.svg)
#
# ## A cliff
#
# The smallest recurrent network has one unit, $h_t = w\, \sigma(h_{t-1}) + b$. Run for 50 steps, its
# loss $(\sigma(h_{50}) - 0.7)^2$ has a cliff, where the long-time behaviour of the recurrence
# changes (Pascanu et al. 2013). On the cliff the gradient is a thousand times as large as nearby.


# %%
def cliff(point):
    """The squared error of one recurrent unit after 50 steps."""
    w, b = point
    step = lambda h, _: (w * jax.nn.sigmoid(h) + b, None)
    h, _ = jax.lax.scan(step, jnp.asarray(0.5, point.dtype), length=50)
    return (jax.nn.sigmoid(h) - 0.7) ** 2


start = jnp.array([5.5, -2.2])
CLIFFS = {
    "no clipping": (gk.chain(gk.clip_by_global_norm(jnp.inf), gk.sgd(0.5)), RED),
    "norm at most 0.1": (gk.chain(gk.clip_by_global_norm(0.1), gk.sgd(0.5)), GREEN),
}
run = jax.jit(lambda tx: trajectory(tx, cliff, start, 80))
descents = {name: [np.asarray(x) for x in run(tx)] for name, (tx, _) in CLIFFS.items()}
jumps = {
    name: np.linalg.norm(np.diff(points, axis=0), axis=1).max()
    for name, (points, _) in descents.items()
}
assert jumps["no clipping"] > 1
assert jumps["norm at most 0.1"] <= 0.05 * 1.001
assert descents["norm at most 0.1"][1][-1] < 0.001
assert descents["no clipping"][1][-1] > 0.05


# %% Draw the cliff
@picture("05_cliff")
def draw_cliff(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.0), width_ratios=(1.4, 1))
    levels = [0.001, 0.01, 0.02, 0.04, 0.06, 0.08, 0.15, 0.25, 0.35, 0.4, 0.43]
    contours(left, cliff, (3.6, 7.0, -3.3, 2.8), levels, points=160)
    for name, (points, _) in descents.items():
        walk(left, points, CLIFFS[name][1], name)
    left.plot(*start, "o", color=INK, ms=5)
    left.set(xlabel="w", ylabel="b")
    left.legend(loc="upper left")
    for name, (_, values) in descents.items():
        right.plot(values, color=CLIFFS[name][1])
    right.set(yscale="log", xlabel="step", title="loss")
    return figure


# %% [markdown]
# ![Gradient descent at a cliff. Without clipping, one step on it leads far
# away.](../assets/course/05_cliff.svg)
#
# ## By value or by norm
#
# Clipping by norm keeps the direction of the gradient; clipping by value turns it toward a
# diagonal, because it cuts only the large elements.

# %%
angles = np.linspace(0, 2 * np.pi, quick(25, 13))[:-1]
gradients = jnp.asarray(np.stack([2 * np.cos(angles), 2 * np.sin(angles)], 1), jnp.float32)
CLIPS = {"by value, ±1": gk.clip(1.0), "by norm, at most 1": gk.clip_by_global_norm(1.0)}
clipped = {
    name: np.asarray(jax.vmap(lambda g, tx=tx: tx.update(g, tx.init(g), g)[0])(gradients))
    for name, tx in CLIPS.items()
}


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


np.testing.assert_allclose(cosines(clipped["by norm, at most 1"], gradients), 1, rtol=1e-5)
np.testing.assert_allclose(np.linalg.norm(clipped["by norm, at most 1"], axis=1), 1, rtol=1e-5)
assert cosines(clipped["by value, ±1"], np.asarray(gradients)).min() < 0.99
assert np.abs(clipped["by value, ±1"]).max() <= 1


# %% Draw the clips
@picture("05_value_norm")
def draw_clips(plt):
    figure, axes = plt.subplots(1, 2, figsize=(5.2, 2.6))
    for axis, (name, after) in zip(axes, clipped.items(), strict=True):
        for g, c in zip(np.asarray(gradients), after, strict=True):
            axis.plot([0, g[0]], [0, g[1]], color=FAINT, lw=0.8)
            axis.plot([0, c[0]], [0, c[1]], color=PURPLE, lw=1.6)
            axis.plot([g[0], c[0]], [g[1], c[1]], color=ORANGE, lw=0.8, ls=":")
        axis.plot(*after.T, "o", color=PURPLE, ms=3.5)
        axis.set(aspect="equal", title=name, xticks=[-2, -1, 0, 1, 2], yticks=[-2, -1, 0, 1, 2])
    return figure


# %% [markdown]
# ![Gradients of the norm 2 and what the two kinds of clipping make of
# them.](../assets/course/05_value_norm.svg)
#
# ## A recurrent network that reads digits
#
# The network reads an image of a digit row by row, eight steps, with 32 ReLU units that begin as the
# identity. The learning rate is 0.3. Without clipping the gradient explodes in the first epoch, and
# the network does not recover; with clipping by value or by norm it learns.

# %%
digits = load_digits()
images = jnp.asarray(digits.data / 16, jnp.float32).reshape(-1, 8, 8)
labels = jnp.asarray(digits.target)
HIDDEN, EPOCHS, RATE = 32, quick(12, 5), 0.3


def loss_fn(params, rows):
    """Cross entropy of the last state's logits."""

    def step(h, x):
        return jax.nn.relu(h @ params["w"] + x @ params["u"] + params["b"]), None

    h, _ = jax.lax.scan(step, jnp.zeros((len(rows), HIDDEN)), images[rows].swapaxes(0, 1))
    logits = h @ params["v"]
    return gk.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()


he, (k1, k2) = gk.initializers.he(), jax.random.split(jax.random.key(0))
params = {
    "w": jnp.eye(HIDDEN),
    "u": he(k1, (8, HIDDEN)),
    "b": jnp.zeros(HIDDEN),
    "v": he(k2, (HIDDEN, 10)),
}
rows = jax.jit(gk.data.epochs(len(labels), 64, 0))(jnp.arange(28 * EPOCHS))


@jax.jit
def train(tx, rows):
    """The loss before each step, and the norm of the gradient before it is clipped."""

    def step(carry, row):
        params, state = carry
        value, grads = jax.value_and_grad(loss_fn)(params, row)
        return tx.apply(params, state, grads), (value, gk.global_norm(grads))

    return jax.lax.scan(step, (params, tx.init(params)), rows)[1]


METHODS = {
    "no clipping": (gk.clip_by_global_norm(jnp.inf), RED),
    "by value, ±0.03": (gk.clip(0.03), ORANGE),
    "by norm, at most 1": (gk.clip_by_global_norm(1.0), GREEN),
}
readers = {
    name: [np.asarray(x) for x in train(gk.chain(tx, gk.sgd(RATE)), rows)]
    for name, (tx, _) in METHODS.items()
    if name != quick("", "by value, ±0.03")
}
losses = {name: values[-28:].mean() for name, (values, _) in readers.items()}
assert not losses["no clipping"] < 2 * losses["by norm, at most 1"]
assert losses["by norm, at most 1"] < quick(0.5, 1)
assert not readers["no clipping"][1].max() < 10 * readers["by norm, at most 1"][1].max()


# %% Draw the training
@picture("05_reader")
def draw_reader(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.8))
    at = np.arange(len(rows)) / 28
    for name, (values, norm) in readers.items():
        left.plot(at, norm, color=METHODS[name][1], lw=0.9, label=name)
        smooth = np.convolve(values, np.ones(9) / 9, "valid")
        right.plot(at[4:-4], smooth, color=METHODS[name][1], lw=1.5, label=name)
    left.set(yscale="log", xlabel="epoch", title="norm of the gradient")
    right.set(xlabel="epoch", title="cross entropy", ylim=(0, 3.2))
    right.legend(loc="upper right", borderpad=0)
    return figure


# %% [markdown]
# ![A recurrent network without and with gradient clipping.](../assets/course/05_reader.svg)
#
# What bound? Watch the norm, as `clip_by_global_norm(b, report=True)` and
# [`watch`](../../gradkit/wrappers/watch.py#watch) do, and set the bound near its usual value.
# Clipping treats explosion, not vanishing; that takes another architecture, normalization or
# [initialization](06_initialization.md). Gradients that are not finite pass through a clip:
# [`skip_not_finite`](../../gradkit/wrappers/accumulate.py#skip_not_finite).
