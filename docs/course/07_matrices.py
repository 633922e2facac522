# %% [markdown]
# # The network in matrix form, and checking its gradient
#
# A feedforward network (前馈神经网络) with two hidden layers, ReLU, softmax and cross entropy, for a
# batch of m examples at once. The examples are the rows of X. The shapes must fit; most errors show
# there.
#
# | forward (前向传播) | shape | backward (反向传播) | shape |
# |---|---|---|---|
# | $Z_1 = X W_1^\top + b_1$ | $m \times d_1$ | $\partial_Z L = (Y - Y^*) / m$ | $m \times C$ |
# | $H_1 = \operatorname{ReLU}(Z_1)$ | $m \times d_1$ | $\partial_W L = (\partial_Z L)^\top H_2$ | $C \times d_2$ |
# | $Z_2 = H_1 W_2^\top + b_2$ | $m \times d_2$ | $\partial_b L$ = the column sums of $\partial_Z L$ | $C$ |
# | $H_2 = \operatorname{ReLU}(Z_2)$ | $m \times d_2$ | $\partial_{H_2} L = \partial_Z L \; W$ | $m \times d_2$ |
# | $Z = H_2 W^\top + b$ | $m \times C$ | $\partial_{Z_2} L = \partial_{H_2} L \odot [Z_2 > 0]$ | $m \times d_2$ |
# | $Y = \operatorname{softmax}(Z)$ | $m \times C$ | and so on, with $W_2, H_1$, then $W_1, X$ | |
# | $L = -\frac1m \sum Y^* \odot \log Y$ | | | |
#
# The rules are two. The derivative of a number with respect to a matrix has the shape of the matrix:
# $\partial (a^\top X b) / \partial X = a b^\top$. And for $Z = H W^\top + b$ the chain rule needs the
# transposes that make the shapes fit: $\partial_H L = \partial_Z L\, W$ and
# $\partial_W L = (\partial_Z L)^\top H$.

# %% Imports
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, picture, quick, table

import gradkit as gk

# %% [markdown]
# ## Forward and backward by hand
#
# In NumPy and float64, for the digits of scikit-learn: d = 64, d₁ = 32, d₂ = 16, C = 10.

# %%
digits = load_digits()
X, labels = digits.data / 16, digits.target
D, D1, D2, C = 64, 32, 16, 10
he, keys = gk.initializers.he(in_axis=-1, out_axis=-2), jax.random.split(jax.random.key(0), 3)
params = {
    "W1": he(keys[0], (D1, D)), "b1": jnp.zeros(D1),
    "W2": he(keys[1], (D2, D1)), "b2": jnp.full(D2, 0.1),
    "W": he(keys[2], (C, D2)), "b": jnp.zeros(C),
}  # fmt: skip
params = {name: np.asarray(value, np.float64) for name, value in params.items()}


def forward(p, x):
    """Every matrix on the way."""
    z1 = x @ p["W1"].T + p["b1"]
    h1 = np.maximum(z1, 0)
    z2 = h1 @ p["W2"].T + p["b2"]
    h2 = np.maximum(z2, 0)
    z = h2 @ p["W"].T + p["b"]
    e = np.exp(z - z.max(1, keepdims=True))  # the largest logit becomes 0: no overflow
    return z1, h1, z2, h2, e / e.sum(1, keepdims=True)


def loss_by_hand(p, x, labels):
    y = forward(p, x)[-1]
    return -np.log(y[np.arange(len(x)), labels]).mean()


def backward(p, x, labels):
    """The gradient of the loss, from the last matrix to the first."""
    z1, h1, z2, h2, y = forward(p, x)
    dz = (y - np.eye(C)[labels]) / len(x)
    dz2 = (dz @ p["W"]) * (z2 > 0)
    dz1 = (dz2 @ p["W2"]) * (z1 > 0)
    return {
        "W": dz.T @ h2, "b": dz.sum(0),
        "W2": dz2.T @ h1, "b2": dz2.sum(0),
        "W1": dz1.T @ x, "b1": dz1.sum(0),
    }  # fmt: skip


def loss_fn(p, x, labels):
    """The same loss in JAX."""
    h = jax.nn.relu(x @ p["W1"].T + p["b1"])
    h = jax.nn.relu(h @ p["W2"].T + p["b2"])
    logits = h @ p["W"].T + p["b"]
    return gk.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


x, y = X[:100], labels[:100]
by_hand = backward(params, x, y)
assert {name: g.shape for name, g in by_hand.items()} == {n: w.shape for n, w in params.items()}
with jax.enable_x64(True):
    value, by_jax = jax.jit(jax.value_and_grad(loss_fn))(params, jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(value, loss_by_hand(params, x, y), rtol=1e-12)
    for name in params:
        np.testing.assert_allclose(by_jax[name], by_hand[name], atol=1e-13, err_msg=name)
# ∂(aᵀXb)/∂X = abᵀ
a, b = np.arange(1.0, 4.0), np.arange(2.0, 4.0)
of_form = jax.grad(lambda x: jnp.asarray(a) @ x @ jnp.asarray(b))(jnp.ones((3, 2)))
np.testing.assert_allclose(of_form, np.outer(a, b))


# %% Draw the shapes
@picture("07_shapes")
def draw_shapes(plt):
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    figure, axis = plt.subplots(figsize=(7.6, 3.7))
    size = {"m": 1.5, "d": 1.9, "d₁": 1.25, "d₂": 0.85, "C": 0.6}
    lines = [
        ("Z₁", ("m", "d₁"), "X", ("m", "d"), "W₁ᵀ", ("d", "d₁"), "b₁"),
        ("Z₂", ("m", "d₂"), "H₁", ("m", "d₁"), "W₂ᵀ", ("d₁", "d₂"), "b₂"),
        ("Z", ("m", "C"), "H₂", ("m", "d₂"), "Wᵀ", ("d₂", "C"), "b"),
    ]
    backs = [
        ("∂W₁", ("d₁", "d"), "∂Z₁ᵀ", ("d₁", "m"), "X", ("m", "d")),
        ("∂W₂", ("d₂", "d₁"), "∂Z₂ᵀ", ("d₂", "m"), "H₁", ("m", "d₁")),
        ("∂W", ("C", "d₂"), "∂Zᵀ", ("C", "m"), "H₂", ("m", "d₂")),
    ]

    def block(x, y, name, shape, color):
        high, wide = size[shape[0]], size[shape[1]]
        axis.add_patch(Rectangle((x, y - high / 2), wide, high, fc=color, ec=color, alpha=0.25))
        axis.add_patch(Rectangle((x, y - high / 2), wide, high, fill=False, ec=color, lw=1.2))
        axis.text(x + wide / 2, y, name, ha="center", va="center", fontsize=9.5)
        axis.text(x - 0.06, y, shape[0], ha="right", va="center", fontsize=7.5, color=color)
        axis.text(x + wide / 2, y + high / 2 + 0.06, shape[1], ha="center", va="bottom",
                  fontsize=7.5, color=color)  # fmt: skip
        return x + wide

    def sign(x, y, text):
        axis.text(x + 0.3, y, text, ha="center", va="center", fontsize=12)
        return x + 1.0

    for i, (line, back) in enumerate(zip(lines, backs, strict=True)):
        y = -2.35 * i
        x = sign(block(0, y, line[0], line[1], BLUE), y, "=")
        x = sign(block(x, y, line[2], line[3], GREEN), y, "·")
        x = sign(block(x, y, line[4], line[5], ORANGE), y, "+")
        axis.text(x - 0.4, y, line[6], va="center", fontsize=9.5)
        x = sign(block(9.2, y, back[0], back[1], ORANGE), y, "=")
        x = sign(block(x, y, back[2], back[3], RED), y, "·")
        block(x, y, back[4], back[5], GREEN)
    axis.text(0, 1.5, "forward", fontsize=10.5)
    axis.text(9.2, 1.5, "backward", fontsize=10.5)
    axis.set(xlim=(-0.4, 17.0), ylim=(-5.9, 1.9), aspect="equal")
    axis.set_axis_off()
    return figure


# %% [markdown]
# ![The matrices of the forward and the backward pass. A gradient has the shape of its
# weights.](../assets/course/07_shapes.svg)
#
# ## Why a hidden layer
#
# The lectures' example: exclusive or (异或) cannot be computed by a linear model, but by two ReLU
# units without biases, $h = \operatorname{ReLU}(x_1 - x_2,\, x_2 - x_1)$ and
# $y = \tfrac12 h_1 + \tfrac12 h_2$.

# %%
corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
hidden = np.maximum(corners @ np.array([[1, -1], [-1, 1]]), 0)
np.testing.assert_array_equal(hidden, [[0, 0], [0, 1], [1, 0], [0, 0]])
np.testing.assert_array_equal(hidden @ [0.5, 0.5], [0, 0.5, 0.5, 0])
best_line = np.linalg.lstsq(np.c_[corners, np.ones(4)], [0, 0.5, 0.5, 0], rcond=None)[0]
np.testing.assert_allclose(best_line, [0, 0, 0.25], atol=1e-12)  # the same value everywhere

# %% [markdown]
# ## Gradient checking
#
# A gradient written by hand should be checked (梯度检验) against two-sided difference quotients, of
# each parameter $\theta_i$:
#
# $$ d_i = \frac{L(\theta + h e_i) - L(\theta - h e_i)}{2h}, \qquad
# \text{relative error} = \frac{\lVert d - g \rVert_2}{\lVert d \rVert_2 + \lVert g \rVert_2}. $$
#
# It should be below about $10^{-7}$. The step h matters. The error of the two-sided quotient is
# proportional to $h^2$, that of the one-sided to $h$; below some h the rounding error, proportional to
# $1/h$, takes over. In float32 no h is good enough, so that a check needs float64.

# %%
GAPS = np.logspace(-11, -1, 41)
direction = {name: np.cos(np.arange(w.size)).reshape(w.shape) for name, w in params.items()}


def moved(h, dtype):
    """The loss at θ + h · direction, computed in one precision."""
    p = {name: (w + h * direction[name]).astype(dtype) for name, w in params.items()}
    return float(loss_by_hand(p, x[:10].astype(dtype), y[:10]))


slope = sum((backward(params, x[:10], y[:10])[name] * direction[name]).sum() for name in params)
QUOTIENTS = {
    "one-sided, float64": (lambda h: (moved(h, np.float64) - moved(0, np.float64)) / h, ORANGE),
    "two-sided, float64": (lambda h: (moved(h, np.float64) - moved(-h, np.float64)) / 2 / h, GREEN),
    "two-sided, float32": (lambda h: (moved(h, np.float32) - moved(-h, np.float32)) / 2 / h, RED),
}
errors = {
    name: np.array([abs(q(h) - slope) / (abs(q(h)) + abs(slope)) for h in GAPS])
    for name, (q, _) in QUOTIENTS.items()
}
assert errors["two-sided, float64"].min() < 1e-9
assert 1e-9 < errors["one-sided, float64"].min() < 1e-6
assert errors["two-sided, float32"].min() > 1e-6


# %% Draw the errors
@picture("07_steps")
def draw_steps(plt):
    figure, axis = plt.subplots(figsize=(5.6, 2.9))
    for name, values in errors.items():
        axis.plot(GAPS, values + 1e-13, "-o", ms=2.5, lw=1.2, color=QUOTIENTS[name][1], label=name)
    axis.axhline(1e-7, color=INK, lw=0.8, ls=":")
    axis.axvline(1e-5, color=FAINT, lw=0.8, ls=":")
    axis.set(xscale="log", yscale="log", xlabel="step h", ylabel="relative error", ylim=(1e-12, 3))
    axis.legend(loc="lower left", borderpad=0)
    return figure


# %% [markdown]
# ![The error of difference quotients. Dotted: the bound 1e-7, and the step of
# check_gradient.](../assets/course/07_steps.svg)
#
# [`check_gradient`](../../gradkit/_gradient_check/check_gradient.py#check_gradient) does all this in
# float64, names the leaves and elements that are wrong, and recognizes kinks (折点): at 0 ReLU has no
# derivative, the two-sided quotient is ½, and the gradient 0 is right nevertheless.

# %%
report = gk.check_gradient(loss_fn, params, x[:20], y[:20], samples=quick(16, 4))
assert report
assert max(row.relative_error for row in report.rows) < 1e-7


def wrong(p, x, labels):
    """An error that is easily made: the derivative of the first ReLU is forgotten."""
    *_, z2, _, y = forward(p, x)
    dz = (y - np.eye(C)[labels]) / len(x)
    dz1 = ((dz @ p["W"]) * (z2 > 0)) @ p["W2"]
    return {**backward(p, x, labels), "W1": dz1.T @ x, "b1": dz1.sum(0)}


planted = wrong(params, x[:20], y[:20])
found = gk.check_gradient(
    loss_fn,
    params,
    x[:20],
    y[:20],
    samples=quick(16, 4),
    directions=0,
    grad_fn=lambda p, x, y: jax.tree.map(jnp.asarray, planted),
)
assert {row.path for row in found.rows if not row.passed} == {"W1", "b1"}

kink = gk.check_gradient(lambda z: jax.nn.relu(z).sum(), jnp.array([-1.0, 0.0, 2.0]))
assert kink
assert kink.rows[0].verdict == "kink"

# %% [markdown]
# The report on the planted error:
#
# --8<-- "docs/assets/course/07_report.txt"
#
# Check at random parameters near the initialization, where few units are saturated. Include every
# term of the loss, such as the regularization. Switch dropout off, or fix its key. Use checks for
# debugging and in tests, not in training: they evaluate the loss thousands of times.

# %% Write the report
table(
    "07_report",
    ("leaf", "shape", "checked", "relative error", "verdict"),
    [
        (f"`{row.path}`", "×".join(map(str, row.shape)), f"{row.checked} of {row.size}",
         f"{row.relative_error:.0e}", row.verdict)
        for row in found.rows
    ],
)  # fmt: skip

# %% [markdown]
# ## Training with it
#
# With the gradient by hand, gradient descent is three lines; JAX's gradient and gradkit's
# [`make_step`](../../gradkit/_step.py#make_step) take the same steps.

# %%
STEPS = quick(200, 20)
step = gk.make_step(loss_fn, gk.sgd(0.2))
p, q, by_step = dict(params), jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), params), []
state = step.tx.init(q)
batch = jnp.asarray(X, jnp.float32), jnp.asarray(labels)
for _ in range(STEPS):
    by_step.append(loss_by_hand(p, X, labels))
    gradient = backward(p, X, labels)
    p = {name: w - 0.2 * gradient[name] for name, w in p.items()}
    q, state, loss = step(q, state, *batch)
    assert abs(float(loss) - by_step[-1]) < 1e-3 or len(by_step) > 20  # float32 drifts away
assert by_step[-1] < quick(0.4, 2.0)


# %% Draw the training
@picture("07_training")
def draw_training(plt):
    figure, axis = plt.subplots(figsize=(5.0, 2.4))
    axis.plot(by_step, color=PURPLE)
    axis.set(xlabel="step", ylabel="cross entropy", yscale="log")
    return figure


# %% [markdown]
# ![Training with the gradient by hand.](../assets/course/07_training.svg)
