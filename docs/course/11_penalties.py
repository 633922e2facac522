# %% [markdown]
# # Regularization I: penalties, constraints, early stopping
#
# A network with enough parameters fits its training set whatever is in it (overfitting, 过拟合).
# Regularization (正则化) prefers simple models: here by the size of the weights, and by the time they
# are trained; on [the next page](12_noise.md) by noise.
#
# $$
# L'(\theta) = L(\theta) + \lambda\, \ell_p(\theta), \qquad
# \lVert x \rVert_p = \Bigl(\sum_i |x_i|^p\Bigr)^{1/p}
# $$
#
# | method | formula | in gradkit |
# |---|---|---|
# | L2 regularization (L2 正则化) | $L + \frac{\lambda}{2} \lVert\theta\rVert_2^2$, adds $\lambda\theta$ to the gradient | [`gk.add_l2_penalty`](../../gradkit/transforms/weight_decay.py#add_l2_penalty) |
# | of $m$ samples, of matrices (Frobenius norm, 弗罗贝尼乌斯范数) | $L + \frac{\lambda}{2m} \sum_l \lVert W^{[l]}\rVert_F^2$ | `add_l2_penalty(λ / m, mask=gk.by_rank(2))` |
# | L1 regularization (L1 正则化) | $L + \lambda \lVert\theta\rVert_1$, adds $\lambda \operatorname{sgn}\theta$ | [`gk.add_l1_penalty`](../../gradkit/transforms/weight_decay.py#add_l1_penalty) |
# | smoothed L1 | $\sqrt{\theta^2 + \varepsilon}$ in place of $\lvert\theta\rvert$ | [`gk.add_smoothed_l1_penalty`](../../gradkit/transforms/weight_decay.py#add_smoothed_l1_penalty) |
# | elastic net (弹性网络) | $L + \lambda_1\lVert\theta\rVert_1 + \frac{\lambda_2}{2}\lVert\theta\rVert_2^2$ | [`gk.add_elastic_net_penalty`](../../gradkit/transforms/weight_decay.py#add_elastic_net_penalty) |
# | weight decay (权重衰减) | $\theta \leftarrow (1 - \alpha\lambda)\,\theta - \alpha g$ | [`gk.add_decayed_weights`](../../gradkit/transforms/weight_decay.py#add_decayed_weights), [`gk.adamw`](../../gradkit/optimizers/adamw.py#adamw) |
# | norm constraint (范数约束) | $\min L$ with $\lVert\theta\rVert_p \le t$ | [`gk.project`](../../gradkit/transforms/project.py#project), [`gk.projections.projection_l1_ball`](../../gradkit/projections/norms.py#projection_l1_ball), [`gk.projections.projection_l2_ball`](../../gradkit/projections/norms.py#projection_l2_ball) |
# | max-norm constraint (最大范数约束) | $\lVert w_j \rVert_2 \le c$ for every unit $j$ | [`gk.max_norm`](../../gradkit/transforms/project.py#max_norm) |
# | early stopping (提前停止) | keep the weights of the best validation score | [`gk.early_stopping`](../../gradkit/_early_stopping.py#early_stopping), [`gk.fit`](../../gradkit/_fit.py#fit) |
#
# The $L_\infty$ norm $\max_i |x_i|$ has its ball too ([`gk.projections.projection_linf_ball`](../../gradkit/projections/bounds.py#projection_linf_ball)); the $L_0$
# "norm" counts elements that are not 0, and L1 is the convex function nearest to it. Biases are left out of
# a penalty: `mask=gk.by_rank(2)` selects the matrices.
#
# ## Why L1 gives zeros
#
# A penalty and a constraint are two forms of one problem: for every $\lambda$ there is a radius $t$ with
# the same solution. The solution is where the contours of the loss first touch the ball. The L1 ball has
# its corners on the axes, and a contour often touches a corner first: the other weight is exactly zero.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import style
from sklearn.datasets import load_diabetes, load_digits, make_moons
from sklearn.linear_model import lasso_path
from style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, picture, quick

import gradkit as gk

hessian = jnp.array([[1.0, 0.6], [0.6, 0.8]])
centre = jnp.array([0.2, 1.3])


def bowl(w):
    return (w - centre) @ hessian @ (w - centre) / 2


def descend(tx, w, loss, steps):
    """The weights after some steps of gradient descent."""

    def step(carry, _):
        w, state = carry
        return tx.apply(w, state, jax.grad(loss)(w)), None

    return jax.lax.scan(step, (w, tx.init(w)), length=steps)[0][0]


def constrained(ball, radius):
    tx = gk.chain(gk.sgd(0.5), gk.project(ball, scale=radius))
    return descend(tx, jnp.zeros(2), bowl, quick(300, 20))


radii = jnp.linspace(0.01, 1.6, quick(60, 4))
l1_points = jax.jit(jax.vmap(partial(constrained, gk.projections.projection_l1_ball)))(radii)
l2_points = jax.jit(jax.vmap(partial(constrained, gk.projections.projection_l2_ball)))(radii)

assert (l1_points[radii < 0.8, 0] == 0).all()  # exactly zero, not small
assert (jnp.abs(l2_points[1:, 0]) > 1e-4).all()


# %% Draw the balls
@picture("11_balls")
def draw_balls(plt):
    angle = np.linspace(0, 2 * np.pi, 400)
    around = np.stack([np.cos(angle), np.sin(angle)])
    mixture = np.abs(around).sum(0)  # of the elastic net: a |w|₁ + (1 − a) |w|₂² = 1, a = ½
    shapes = {
        "L1": around / mixture,
        "elastic net": around * (np.sqrt(mixture**2 / 4 + 2) - mixture / 2),
        "L2": around,
    }
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.75))
    for axis, (name, shape) in zip(axes, shapes.items(), strict=True):
        ball = 0.7 * shape / np.abs(shape).max()
        axis.fill(*ball, color=BLUE, alpha=0.2, lw=0)
        axis.plot(*ball, color=BLUE, lw=1.4)
        values = [float(bowl(jnp.asarray(point, jnp.float32))) for point in ball.T]
        touch = ball[:, int(np.argmin(values))]
        levels = np.array([0.03, 0.12, 0.27])
        grid = np.meshgrid(np.linspace(-1.1, 1.9, 80), np.linspace(-0.9, 2.1, 80))
        heights = jax.vmap(jax.vmap(bowl, 1), 1)(jnp.asarray(np.stack(grid), jnp.float32))
        axis.contour(*grid, heights, levels=levels, colors=FAINT, linewidths=0.8)
        axis.contour(*grid, heights, levels=[min(values)], colors=RED, linewidths=1.4)
        path = {"L1": l1_points, "L2": l2_points}.get(name)
        if path is not None:
            axis.plot(*np.asarray(path).T, color=GREEN, lw=1.4)
        axis.plot(*touch, "o", color=RED)
        style.cross(axis, np.asarray(centre))
        axis.axhline(0, color=FAINT, lw=0.6)
        axis.axvline(0, color=FAINT, lw=0.6)
        axis.set(
            title=name, xlim=(-1.0, 1.7), ylim=(-0.85, 1.85), aspect="equal", xticks=[], yticks=[]
        )
        axis.set(xlabel="w₁", ylabel="w₂")
    return figure


# %% [markdown]
# ![The contour of a loss touches the L1 ball at a corner, the elastic net's near it, the L2 ball's
# beside it. Green: the solutions as the ball grows.](../assets/course/11_balls.svg)
#
# ## The path of the weights
#
# Ten measurements of 442 patients predict the progress of their diabetes. As $\lambda$ grows, L2 shrinks all
# weights together, and L1 (the lasso) removes one measurement after the other: it selects features.
# The points on the right are scikit-learn's coordinate descent; the lines are gradient descent in gradkit,
# projected onto L1 balls, for all radii in one `vmap`.

# %%
data = load_diabetes()
x = (data.data - data.data.mean(0)) / data.data.std(0)
y = (data.target - data.target.mean()) / data.target.std()
alphas, lasso, _ = lasso_path(x, y, alphas=np.geomspace(0.6, 1e-3, quick(40, 4)))
x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
smooth = float(jnp.linalg.eigvalsh(x.T @ x / len(y)).max())


def squares(w):
    return jnp.mean(gk.l2_loss(x @ w, y))


def lasso_fit(radius):
    """Projected descent with Nesterov's momentum."""
    ball = gk.projections.projection_l1_ball
    tx = gk.chain(gk.sgd(0.5 / smooth, momentum=0.9, nesterov=True), gk.project(ball, scale=radius))
    return descend(tx, jnp.zeros(10), squares, quick(3000, 300))


def ridge_fit(l2):
    tx = gk.chain(gk.add_l2_penalty(l2), gk.sgd(0.5 / (smooth + l2), momentum=0.9, nesterov=True))
    return descend(tx, jnp.zeros(10), squares, quick(3000, 300))


found = np.asarray(jax.jit(jax.vmap(lasso_fit))(jnp.abs(jnp.asarray(lasso, jnp.float32)).sum(0))).T
ridge = np.asarray(jax.jit(jax.vmap(ridge_fit))(jnp.asarray(100 * alphas, jnp.float32))).T
gram, moment = np.asarray(x.T @ x / len(y), float), np.asarray(x.T @ y / len(y), float)
exact = np.stack([np.linalg.solve(gram + 100 * a * np.eye(10), moment) for a in alphas], 1)

np.testing.assert_allclose(found, lasso, atol=quick(0.01, 0.2))  # gradkit, scikit-learn
np.testing.assert_allclose(ridge, exact, atol=quick(0.002, 0.2))  # the ridge in closed form
assert ((np.abs(found) < 1e-6) == (lasso == 0)).mean() > quick(0.95, 0.8)  # the same zeros
assert (np.abs(ridge[:, 0]) > 1e-6).all()  # a ridge removes nothing


# %% Draw the paths
@picture("11_paths")
def draw_paths(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3), sharey=True)
    names = dict(zip(range(10), data.feature_names, strict=True))
    shown = {2: BLUE, 8: RED, 4: GREEN, 3: PURPLE, 6: ORANGE}
    for j in range(10):
        color, width = shown.get(j, FAINT), 1.8 if j in shown else 1.0
        left.plot(100 * alphas, ridge[j], color=color, lw=width)
        right.plot(alphas, found[j], color=color, lw=width)
        right.plot(alphas[::3], lasso[j, ::3], "o", color=color, ms=3, mew=0)
        if j in shown:
            style.end_label(
                right, alphas[-1] * 0.92, lasso[j, -1], names[j], color, ha="right", xytext=(-4, 0)
            )
    for axis, title in (
        (left, "L2: all weights shrink"),
        (right, "L1: weights become zero, one by one"),
    ):
        axis.set(xscale="log", xlabel="λ", title=title)
        axis.axhline(0, color=INK, lw=0.6)
    left.set_ylabel("weight of a measurement")
    right.set_xlim(right.get_xlim()[0] * 0.55, None)
    return figure


# %% [markdown]
# ![Weights over the penalty, L2 and L1](../assets/course/11_paths.svg)
#
# The plain L1 penalty in a gradient step adds $\lambda\operatorname{sgn}\theta$, which pulls with the same
# force however small a weight is. A weight then does not stay at zero: it jumps over it by up to
# $\alpha\lambda$ in every step. Exact zeros need a projection, as above, or a decaying rate.
#
# ## Weight decay is not L2 regularization in Adam
#
# For gradient descent the two are one update:
# $\theta - \alpha(g + \lambda\theta) = (1 - \alpha\lambda)\theta - \alpha g$. Adam divides $g + \lambda\theta$
# by the gradients' size, so L2 hardly holds back the weights with large gradients. AdamW decays all weights
# alike. Below every weight starts at 1, and its gradient is noise of another standard deviation $s$: nothing
# but the penalty should move it.

# %%
sizes = jnp.logspace(-4, 2, quick(25, 4))
RATE, DECAY, STEPS = 1e-2, 0.1, quick(1000, 10)
noise = jax.random.normal(jax.random.key(0), (STEPS, 200, len(sizes))) * sizes[None, None]
optimizers = {
    "SGD, L2": (gk.chain(gk.add_l2_penalty(DECAY), gk.sgd(RATE)), 1e-9),
    "SGD, decay": (gk.chain(gk.add_decayed_weights(DECAY), gk.sgd(RATE)), 1e-9),
    "Adam, L2": (gk.chain(gk.add_l2_penalty(DECAY), gk.adam(RATE)), 1.0),
    "AdamW": (gk.adamw(RATE, weight_decay=DECAY), 1.0),
}


def drift(tx, noise):
    """The mean of 200 weights at the end."""
    w = jnp.ones((200, len(sizes)))
    (w, _), _ = jax.lax.scan(lambda c, g: (tx.apply(*c, g), None), (w, tx.init(w)), noise)
    return w.mean(0)


left_over = {
    name: np.asarray(jax.jit(drift)(tx, scale * noise)) for name, (tx, scale) in optimizers.items()
}
decayed = (1 - RATE * DECAY) ** STEPS
np.testing.assert_allclose(left_over["SGD, L2"], decayed, rtol=1e-3)
np.testing.assert_allclose(left_over["SGD, decay"], decayed, rtol=1e-3)
if not style.QUICK:
    np.testing.assert_allclose(left_over["AdamW"], decayed, atol=0.12)
    assert left_over["Adam, L2"][0] < 0.05  # small gradients: gone
    assert left_over["Adam, L2"][-1] > 0.85  # large gradients: as if there were no penalty


# %% Draw what the penalty leaves
@picture("11_decay")
def draw_decay(plt):
    figure, axis = plt.subplots(figsize=(6.4, 3.0))
    axis.axhline(decayed, color=FAINT, ls=":")
    axis.text(sizes[0], decayed + 0.03, "(1 − αλ)ᵗ: SGD, both ways", color=INK, fontsize=8.5)
    for name, color in (("Adam, L2", RED), ("AdamW", BLUE)):
        axis.plot(sizes, left_over[name], color=color)
        style.end_label(axis, sizes[-1], left_over[name][-1], name, color)
    axis.set(xscale="log", xlabel="standard deviation of a weight's gradient", ylim=(-0.1, 1.1))
    axis.set(ylabel="mean weight, from 1", title=f"After {STEPS} steps with α = 0.01, λ = 0.1")
    return figure


# %% [markdown]
# ![What is left of a weight by L2 in Adam and by AdamW, over the size of its gradient](../assets/course/11_decay.svg)
#
# ## A network that memorizes
#
# A network of ReLU units learns 60 points of two classes with Adam (rate 0.03, 1000 steps). The number of
# hidden units and the penalty are data of a run, so eight networks for each of eight draws of the points are
# one compiled program. More units bend the boundary more; L2 straightens it, and too much of it makes the
# network too simple. The pictures show one draw, the numbers are means over all of them.

# %%
draws = [make_moons(quick(60, 10), noise=0.35, random_state=r) for r in range(quick(8, 3))]
points = jnp.asarray(np.stack([xy for xy, _ in draws]), jnp.float32)
classes = jnp.asarray(np.stack([label for _, label in draws]))
UNITS = 32


def network(params, x, units):
    shown = (jnp.arange(UNITS) < units).astype(x.dtype)
    hidden = jax.nn.relu(x @ params["in"] + params["a"][None]) * shown[None]
    return hidden @ params["out"] + params["b"]


def learn(units, l2, points, classes):
    first, second = jax.random.split(jax.random.key(4))
    params = {
        "in": gk.initializers.he_normal()(first, (2, UNITS)),
        "a": jnp.zeros(UNITS),
        "out": jax.random.normal(second, (UNITS,)) / 4,
        "b": jnp.zeros(()),
    }
    tx = gk.chain(gk.add_l2_penalty(2 * l2, mask=gk.by_path("in", "out")), gk.adam(0.03))

    def loss(params):
        logits = network(params, points, units)
        return jnp.mean(gk.sigmoid_binary_cross_entropy(logits, classes.astype(logits.dtype)))

    return descend(tx, params, loss, quick(1000, 5))


runs = [(1, 0.0), (3, 0.0), (10, 0.0), (32, 0.0), (32, 1e-4), (32, 1e-3), (32, 5e-3), (32, 5e-2)]
units, penalties = (jnp.asarray(column) for column in zip(*runs, strict=True))
of_each_draw = jax.vmap(learn, (None, None, 0, 0))
trained = jax.jit(jax.vmap(of_each_draw, (0, 0, None, None)))(units, penalties, points, classes)
fresh, answers = make_moons(2000, noise=0.35, random_state=99)
fresh = jnp.asarray(fresh, jnp.float32)


def right(params, units, x, y):
    return jnp.mean((network(params, x, units) > 0) == (y > 0))


on_draws = jax.vmap(right, (0, None, 0, 0))
seen = jax.jit(jax.vmap(on_draws, (0, 0, None, None)))(trained, units, points, classes)
on_fresh = jax.vmap(right, (0, None, None, None))
answers = jnp.asarray(answers)
unseen = jax.jit(jax.vmap(on_fresh, (0, 0, None, None)))(trained, units, fresh, answers)
seen, unseen = np.asarray(seen).mean(1), np.asarray(unseen).mean(1)
norms = np.asarray(jnp.sum(trained["in"] ** 2, (1, 2, 3)) + jnp.sum(trained["out"] ** 2, (1, 2)))
for run, a, b in zip(runs, seen, unseen, strict=True):
    print(f"{run[0]:2d} units, λ = {run[1]:<6g} training {a:.0%}, new points {b:.1%}")
assert (np.diff(norms[3:]) < 0).all()  # more penalty, smaller weights
if not style.QUICK:
    assert seen[3] > 0.94  # memorized, some labels apart
    assert unseen[5] > unseen[3] + 0.02  # a penalty helps
    assert unseen[7] < unseen[5]  # too much of it does not


# %% Draw the boundaries
@picture("11_boundaries", raster=True)
def draw_boundaries(plt):
    figure, axes = plt.subplots(2, 4, figsize=(7.6, 4.1))
    grid = np.meshgrid(np.linspace(-2, 3, 150), np.linspace(-1.6, 2.1, 110))
    flat = jnp.asarray(np.stack([g.ravel() for g in grid], 1), jnp.float32)
    one = jax.tree.map(lambda leaf: leaf[:, 2], trained)
    surface = np.asarray(jax.vmap(lambda p, u: jax.nn.sigmoid(network(p, flat, u)))(one, units))
    shades = plt.matplotlib.colors.LinearSegmentedColormap.from_list("two", [BLUE, "#ffffff", RED])
    for i, axis in enumerate(axes.flat):
        heights = surface[i].reshape(grid[0].shape)
        axis.imshow(
            heights,
            extent=(-2, 3, -1.6, 2.1),
            origin="lower",
            cmap=shades,
            alpha=0.45,
            vmin=0,
            vmax=1,
        )
        axis.contour(*grid, heights, levels=[0.5], colors=INK, linewidths=1.2)
        for value, color in ((0, BLUE), (1, RED)):
            axis.plot(
                *points[2][classes[2] == value].T, "o", color=color, ms=4, mec="white", mew=0.5
            )
        count, l2 = runs[i]
        title = f"{count} unit{'s' * (count > 1)}" if i < 4 else f"32 units, λ = {l2:g}"
        axis.set(xticks=[], yticks=[], aspect="auto", title=title)
        axis.set_xlabel(f"training {seen[i]:.0%}, new {unseen[i]:.1%}", fontsize=8.5)
        axis.spines[:].set_visible(False)
    return figure


# %% [markdown]
# ![Decision boundaries of networks with 1 to 32 units, and with 32 units under growing L2
# penalties](../assets/course/11_boundaries.png)
#
# ## Bounds instead of penalties
#
# A max-norm constraint leaves small weights alone and never lets the incoming weights of a unit grow longer
# than $c$: [`gk.max_norm`](../../gradkit/transforms/project.py#max_norm) is the last transform of a chain.


# %%
def lengths(tx):
    """The norm of each hidden unit's weights at every step of a training."""
    first, second = jax.random.split(jax.random.key(4))
    params = {"in": gk.initializers.he_normal()(first, (2, UNITS)), "a": jnp.zeros(UNITS)}
    params |= {"out": jax.random.normal(second, (UNITS,)) / 4, "b": jnp.zeros(())}

    def loss(params):
        logits = network(params, points[2], UNITS)
        return jnp.mean(gk.sigmoid_binary_cross_entropy(logits, classes[2].astype(logits.dtype)))

    def step(carry, _):
        params, state = carry
        params, state = tx.apply(params, state, jax.grad(loss)(params))
        return (params, state), jnp.linalg.norm(params["in"], axis=0)

    return jax.lax.scan(step, (params, tx.init(params)), length=quick(1000, 5))[1]


rules = {
    "no regularization": gk.adam(0.03),
    "L2, λ = 10⁻³": gk.chain(gk.add_l2_penalty(2e-3, mask=gk.by_path("in", "out")), gk.adam(0.03)),
    "max-norm, c = 2": gk.chain(gk.adam(0.03), gk.max_norm(2.0)),
}
norm_of = {name: np.asarray(jax.jit(lengths)(tx)) for name, tx in rules.items()}
assert norm_of["max-norm, c = 2"].max() <= 2 + 1e-5
assert style.QUICK or norm_of["no regularization"].max() > 3


# %% Draw the norms
@picture("11_max_norm")
def draw_norms(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5), sharey=True)
    for axis, (name, values) in zip(axes, norm_of.items(), strict=True):
        axis.plot(np.arange(0, len(values), 10), values[::10, ::2], color=BLUE, lw=0.8, alpha=0.6)
        axis.axhline(2, color=RED, ls=":", lw=1.2)
        axis.set(title=name, xlabel="step")
    axes[0].set_ylabel("norm of a unit's weights")
    return figure


# %% [markdown]
# ![Norms of the units' weights during training: free, with L2, with a max-norm constraint](../assets/course/11_max_norm.svg)
#
# ## Early stopping
#
# Weights start small and grow as the training proceeds; stopping early keeps them moderate. The validation
# loss decides when: training ends when it has not improved for `patience` evaluations, and the weights of the
# best one are kept. [`gk.fit`](../../gradkit/_fit.py#fit) is that loop, compiled, with no transfer to the host; [`gk.early_stopping`](../../gradkit/_early_stopping.py#early_stopping) is its
# rule, for a loop of your own.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
pixels, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, validation, test = slice(150), slice(150, 450), slice(450, None)


def digits_loss(params, part):
    hidden = jax.nn.relu(pixels[part] @ params["in"])
    return jnp.mean(
        gk.softmax_cross_entropy_with_integer_labels(hidden @ params["out"], labels[part])
    )


def evaluate(params):
    return {"train": digits_loss(params, train), "validation": digits_loss(params, validation)}


@partial(jax.jit, static_argnames="patience")
def fitted(key, patience):
    first, second = jax.random.split(key)
    he = gk.initializers.he_normal()
    start = {"in": he(first, (64, 32)), "out": he(second, (32, 10))}
    step = gk.make_step(lambda params: digits_loss(params, train), gk.adam(0.03))
    stop = gk.early_stopping(patience)
    options = {"steps": quick(1000, 5), "stop": stop, "monitor": "validation"}
    run = gk.fit(step, start, lambda t: (), evaluate, **options)
    return run, digits_loss(run.best_params, test), digits_loss(run.params, test)


whole, best_loss, last_loss = fitted(jax.random.key(0), patience=None)
stopped, stopped_loss, _ = fitted(jax.random.key(0), patience=quick(20, 2))
print(
    f"trained to the end: test loss {last_loss:.3f}; the best weights of that run {best_loss:.3f}"
)
print(
    f"stopped after {stopped.steps} steps: the weights of step {stopped.best_step}, {stopped_loss:.3f}"
)
if not style.QUICK:
    assert stopped.stopped
    assert stopped.steps == stopped.best_step + 20 < 200
    assert stopped_loss < last_loss
    assert np.isclose(stopped_loss, best_loss, rtol=0.2)


# %% Draw the stop
@picture("11_early_stopping")
def draw_stop(plt):
    figure, axis = plt.subplots(figsize=(6.6, 3.1))
    steps = np.arange(1, len(whole.scores["train"]) + 1)
    for name, color in (("train", BLUE), ("validation", RED)):
        curve = np.asarray(whole.scores[name])
        axis.plot(steps, curve, color=color, alpha=0.45)
        axis.plot(steps[: int(stopped.steps)], curve[: int(stopped.steps)], color=color)
        axis.text(250, {"train": 2e-3, "validation": 0.6}[name], name, color=color)
    axis.axvline(int(stopped.best_step), color=GREEN, lw=1.2)
    axis.axvline(int(stopped.steps), color=INK, lw=1.2, ls=":")
    axis.text(
        int(stopped.best_step) * 0.95,
        3e-4,
        "best weights,\nkept",
        color=GREEN,
        ha="right",
        fontsize=8.5,
    )
    axis.text(
        int(stopped.steps) * 1.05,
        3e-4,
        "stopped: 20 evaluations\nwithout improvement",
        fontsize=8.5,
    )
    axis.set(xscale="log", yscale="log", xlabel="step", ylabel="loss", ylim=(1e-4, 4))
    axis.set(title="150 digits: the training loss falls on, the validation loss does not")
    return figure


# %% [markdown]
# ![Training and validation loss, the best weights and the stop](../assets/course/11_early_stopping.svg)
#
# Early stopping costs no extra training and no $\lambda$ to choose. Its price: optimization and
# regularization can no longer be tuned apart. [`examples/regularize.py`](../../examples/regularize.py) compares
# penalties, dropout, normalization and early stopping on this network.
