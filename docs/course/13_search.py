# %% [markdown]
# # Hyperparameter search (超参数优化)
#
# Layers, units, activations; optimizer, learning rate, batch size; penalties: no gradient leads to good values
# of these, the combinations are many, and every evaluation is a training. The usual order of importance is: the
# learning rate $\alpha$; then momentum $\beta$, hidden units and batch size; then the number of layers and the
# decay of the rate; $\beta_1, \beta_2, \varepsilon$ of Adam hardly ever.
#
# In gradkit a transform with distributions for arguments is a search space, and trials of one structure are
# trained together as one `vmap`:
#
# | method | rule | in gradkit |
# |---|---|---|
# | grid search (网格搜索) | all $m_1 \times m_2 \times \cdots \times m_K$ combinations | [`gk.search.grid`](../../gradkit/search/configs.py#grid) |
# | random search (随机搜索) | independent draws | [`gk.search.sample`](../../gradkit/search/configs.py#sample), [`gk.search.run`](../../gradkit/search/population.py#run) |
# | scales (标尺) | $\alpha = 10^r$, $\beta = 1 - 10^r$, $r$ uniform | [`gk.search.log_uniform`](../../gradkit/search/distributions.py#log_uniform) (`complement=True`) |
# | coarse to fine (由粗到细) | search again about the best | [`gk.search.refine`](../../gradkit/search/configs.py#refine) |
# | Bayesian optimization (贝叶斯优化) | $x' = \arg\max_x a(x, \mathcal H)$ | [`gk.search.bayesian`](../../gradkit/search/bayes.py#bayesian), [`gk.search.ask`](../../gradkit/search/bayes.py#ask) |
# | successive halving (逐次减半) | stop the worse half, again and again | [`gk.search.successive_halving`](../../gradkit/search/halving.py#successive_halving), [`gk.search.hyperband`](../../gradkit/search/halving.py#hyperband) |
# | population-based training | copy the best, perturb, go on | [`gk.search.population_based`](../../gradkit/search/evolution.py#population_based) |
# | structures (神经架构搜索) | which optimizer, how many units | [`gk.search.choice`](../../gradkit/search/distributions.py#choice), [`gk.search.integers`](../../gradkit/search/distributions.py#integers) |

# %%
import jax
import jax.numpy as jnp
import numpy as np
import style
from sklearn.datasets import load_breast_cancer, load_digits
from style import BLUE, FAINT, GREEN, INK, ORANGE, RED, picture, quick

import gradkit as gk

x, y = load_breast_cancer(return_X_y=True)
x = jnp.asarray(x, jnp.float32)
x, y = gk.data.standardize().fit(x[:100]).transform(x), jnp.asarray(y)
STEPS = quick(60, 5)


def regression(w, rows):
    """The loss of logistic regression on some of the patients."""
    logits = x[rows] @ w[1:] + w[0]
    return jnp.mean(gk.sigmoid_binary_cross_entropy(logits, y[rows].astype(logits.dtype)))


def objective(tx, key):
    """The development loss of 60 steps on 100 patients with the transform of a configuration."""
    w = jnp.zeros(x.shape[1] + 1)

    def step(carry, _):
        w, state = carry
        return tx.apply(w, state, jax.grad(regression)(w, slice(100))), None

    (w, _), _ = jax.lax.scan(step, (w, tx.init(w)), length=STEPS)
    return regression(w, slice(100, None))


space = gk.sgd(gk.search.log_uniform(1e-3, 100.0), momentum=gk.search.uniform(0.0, 0.95))
print(space)

# %% [markdown]
# ## The landscape
#
# This space is small enough to see all of it: every pixel below is a training, all in one program. Points are
# what each method tries.

# %%
FINE = quick(41, 3)
everywhere = gk.search.grid(space, FINE)
surface = gk.search.run(objective, everywhere, progress=False)
heights = np.asarray(surface.scores).reshape(FINE, FINE)

budget = quick(24, 4)
coarse = gk.search.run(objective, space, 3, trials=budget // 2, progress=False)
narrower = gk.search.refine(space, coarse, keep=0.25)
fine = gk.search.run(objective, narrower, 4, trials=budget // 2, progress=False)
found = {
    "grid": gk.search.run(
        objective,
        gk.search.grid(space, {"learning_rate": quick(6, 2), "momentum": quick(4, 2)}),
        progress=False,
    ),
    "random": gk.search.run(objective, space, 5, trials=budget, progress=False),
    "coarse to fine": gk.search.Trials(
        space, [*coarse.configs, *fine.configs], np.concatenate([coarse.scores, fine.scores])
    ),
    "Bayesian": gk.search.bayesian(
        objective, space, 6, rounds=quick(4, 2), batch=quick(6, 2), progress=False
    ),
}
lowest = float(np.nanmin(heights))
for name, trials in found.items():
    best = trials.best()
    print(
        f"{name:15s} {len(trials)} trials, best loss {best.score:.4f} (lowest of all {lowest:.4f}) {best.config}"
    )
assert all(len(trials) == budget for trials in found.values())
if not style.QUICK:
    asked = found["Bayesian"].scores
    assert np.median(asked[-12:]) < np.median(asked[:6])  # it learns from its first trials
    assert np.median(fine.scores) < np.median(coarse.scores)


# %% Draw the landscape
@picture("13_landscape")
def draw_landscape(plt):
    figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.6), sharey=True)
    rates, momenta = np.geomspace(1e-3, 100, FINE), np.linspace(0, 0.95, FINE)
    shown = np.log10(np.clip(np.where(np.isfinite(heights), heights, 1e3), None, 2.0)).T
    for axis, (name, trials) in zip(axes, found.items(), strict=True):
        axis.contourf(rates, momenta, shown, 9, cmap="Blues_r")
        rate = np.array([config["learning_rate"] for config in trials.configs])
        momentum = np.array([config["momentum"] for config in trials.configs])
        first = np.arange(len(trials)) < budget // 2
        if name == "coarse to fine":
            axis.plot(rate[first], momentum[first], "o", color=ORANGE, ms=4, mew=0.5, mec="white")
            axis.plot(rate[~first], momentum[~first], "o", color=RED, ms=4, mew=0.5, mec="white")
        else:
            axis.plot(rate, momentum, "o", color=RED, ms=4, mew=0.5, mec="white")
        best = trials.best()
        place = (best.config["learning_rate"], best.config["momentum"])
        axis.plot(*place, "o", color="none", ms=11, mec=INK, mew=1.4)
        axis.set(xscale="log", xlabel="learning rate", title=f"{name}\nbest {best.score:.2f}")
    axes[0].set_ylabel("momentum")
    return figure


# %% [markdown]
# ![Losses over learning rate and momentum, and the trials of grid, random, coarse-to-fine and Bayesian
# search](../assets/course/13_landscape.svg)
#
# ## Why random beats grid
#
# Usually a few hyperparameters matter and others do not, and one does not know which. A grid of $5 \times 5$
# tries five values of each; 25 random trials try 25 values of each. Below the second hyperparameter has no
# effect at all. The curve is the loss over the learning rate, from 401 trainings.

# %%
line = gk.search.grid(gk.sgd(gk.search.log_uniform(1e-3, 100.0)), quick(401, 5))
losses = np.asarray(gk.search.run(objective, line, progress=False).scores)
losses = np.where(np.isfinite(losses), losses, 1e3)
logs = np.linspace(-3, 2, len(losses))


def loss_at(log_rate):
    return np.interp(log_rate, logs, losses)


idle = {"rate": gk.search.log_uniform(1e-3, 100.0), "idle": gk.search.uniform(0.0, 1.0)}
side = 5
square = gk.search.grid(idle, side).values
grid_points = np.array([[np.log10(value["rate"]), value["idle"]] for value in square])
draws = [gk.search.sample(idle, seed, side**2).values for seed in range(quick(200, 3))]
random_points = np.array([[[np.log10(v["rate"]), v["idle"]] for v in draw] for draw in draws])
grid_best = loss_at(grid_points[:, 0]).min()
random_best = loss_at(random_points[..., 0]).min(1)
better = (random_best < grid_best).mean()
print(f"best of the grid {grid_best:.4f}; of random search {np.median(random_best):.4f} (median)")
print(f"random search is better in {better:.0%} of {len(draws)} repetitions")
assert len(set(grid_points[:, 0].round(6))) == side
assert len(set(random_points[0, :, 0])) == side**2
assert style.QUICK or better > 0.8


# %% Draw grid and random search
@picture("13_idle")
def draw_idle(plt):
    figure, axes = plt.subplots(
        2, 3, figsize=(7.6, 3.5), height_ratios=[1, 1.6], width_ratios=[1, 1, 1.1]
    )
    for column, (name, points) in enumerate((("grid", grid_points), ("random", random_points[1]))):
        top, bottom = axes[0, column], axes[1, column]
        values = loss_at(points[:, 0])
        top.plot(10**logs, losses, color=BLUE)
        top.plot(10 ** points[:, 0], values, "o", color=RED, ms=3.5, mew=0)
        top.vlines(10 ** points[:, 0], 0.05, values, color=FAINT, lw=0.7)
        top.set(
            xscale="log",
            yscale="log",
            ylim=(0.08, 2.5),
            xticks=[],
            title=f"{name}: {len(set(points[:, 0]))} rates",
        )
        bottom.plot(10 ** points[:, 0], points[:, 1], "o", color=RED, ms=4, mew=0)
        bottom.set(xscale="log", xlabel="learning rate (matters)", xlim=top.get_xlim())
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("idle")
    axes[0, 2].remove()
    last = axes[1, 2]
    last.remove()
    last = figure.add_subplot(figure.axes[0].get_gridspec()[:, 2])
    last.hist(random_best, 24, color=BLUE, alpha=0.75)
    last.axvline(grid_best, color=RED, lw=1.6)
    last.text(
        grid_best, last.get_ylim()[1] * 1.02, "the grid", color=RED, ha="center", fontsize=8.5
    )
    last.set(xlabel="best loss of 25 trials", ylabel=f"of {len(draws)} random searches")
    return figure


# %% [markdown]
# ![Grid and random search with a hyperparameter that has no effect](../assets/course/13_idle.svg)
#
# ## Scales
#
# A rate between 0.0001 and 1 is searched on a logarithmic scale: drawn uniformly, 90 % of the trials would be
# above 0.1. A decay $\beta$ from 0.9 to 0.999 averages over $1 / (1 - \beta)$ = 10 to 1000 steps, so $1 - \beta$ is
# what is drawn on a logarithmic scale.

# %%
COUNT = quick(4000, 100)
wrong = gk.search.sample(gk.sgd(gk.search.uniform(1e-4, 1.0)), 0, COUNT).batched.learning_rate
right = gk.search.sample(gk.sgd(gk.search.log_uniform(1e-4, 1.0)), 0, COUNT).batched.learning_rate
decay = gk.search.log_uniform(0.9, 0.999, complement=True)
betas = gk.search.sample(gk.trace(decay), 0, COUNT).batched.decay
tolerance = quick(0.03, 0.2)
assert abs(float(jnp.mean(wrong > 0.1)) - 0.9) < tolerance
assert abs(float(jnp.mean(right > 0.1)) - 0.25) < tolerance  # one of four decades
assert (
    abs(float(jnp.mean(betas > 0.99)) - 0.5) < tolerance
)  # half of the trials average over 100 steps or more


# %% Draw the scales
@picture("13_scales")
def draw_scales(plt):
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.2))
    bins = np.geomspace(1e-4, 1, 25)
    for axis, values, color, title in (
        (axes[0], wrong, RED, "α uniform"),
        (axes[1], right, BLUE, "α log-uniform"),
    ):
        axis.hist(np.asarray(values), bins, color=color, alpha=0.75)
        axis.set(xscale="log", xlabel="learning rate", title=title, yticks=[])
    axes[2].hist(1 / (1 - np.asarray(betas)), np.geomspace(10, 1000, 25), color=BLUE, alpha=0.75)
    axes[2].set(
        xscale="log", xlabel="steps averaged, 1 / (1 − β)", title="1 − β log-uniform", yticks=[]
    )
    for axis in axes:
        axis.spines["left"].set_visible(False)
    return figure


# %% [markdown]
# ![Histograms of rates and decays drawn on three scales](../assets/course/13_scales.svg)
#
# ## Bayesian optimization
#
# Grid and random search do not learn from their trials. Sequential model-based optimization (时序模型优化, SMBO) does:
#
# 1. $\mathcal H \leftarrow \emptyset$; a Gaussian process (高斯过程) is the prior of $f$;
# 2. for $t = 1, \dots, T$: $x' \leftarrow \arg\max_x a(x, \mathcal H)$; train: $y' = f(x')$;
#    $\mathcal H \leftarrow \mathcal H \cup \{(x', y')\}$; update the posterior $p_{GP}(f(x) \mid x, \mathcal H)$.
#
# With the covariance matrix $K$ of the trials and the covariances $k$ between them and $x$, the posterior is
# normal ([`gk.search.gaussian_process`](../../gradkit/search/processes.py#gaussian_process), [`gk.search.fit_gaussian_process`](../../gradkit/search/processes.py#fit_gaussian_process)):
#
# $$
# \mu(x) = m + k^\top K^{-1} (y - m), \qquad \sigma^2(x) = k(x, x) - k^\top K^{-1} k
# $$
#
# and the expected improvement (期望改善) of a loss over the best one so far, $y^*$, is large where the mean is
# low *or* the uncertainty is high ([`gk.search.expected_improvement`](../../gradkit/search/processes.py#expected_improvement)):
#
# $$
# EI(x) = \mathbb E[\max(y^* - y, 0)] = (y^* - \mu)\, \Phi(z) + \sigma\, \varphi(z), \qquad z = \frac{y^* - \mu}{\sigma}
# $$

# %%
unit = np.linspace(0, 1, 201)[:, None]  # the learning rates from 0.001 to 100, on the unit interval
tried = np.array([0.1, 0.5, 0.95])
panels = []
for _ in range(quick(4, 1)):
    values = np.log10(loss_at(5 * tried - 3))
    process = gk.search.gaussian_process(tried[:, None], values, 0.18, 0.7, 1e-3, values.mean())
    mean, deviation = (np.asarray(part) for part in process.predict(unit))
    gain = np.asarray(gk.search.expected_improvement(mean, deviation, values.min()))
    panels.append((tried.copy(), values, mean, deviation, gain))
    tried = np.append(tried, unit[gain.argmax(), 0])
truth = np.log10(loss_at(5 * unit[:, 0] - 3))
print("tried:", [f"{10 ** (5 * u - 3):.3g}" for u in tried])
for points, values, mean, deviation, gain in panels:
    at = [round(200 * u) for u in points]
    np.testing.assert_allclose(
        mean[at], values, atol=0.05
    )  # the posterior passes through the trials
    assert deviation[at].max() < 0.1 < deviation.max() + 0.1
    assert gain.min() >= 0
if not style.QUICK:
    assert np.log10(loss_at(5 * tried - 3)).min() < truth.min() + 0.1


# %% Draw the process
@picture("13_bayesian")
def draw_process(plt):
    figure, axes = plt.subplots(
        2, 4, figsize=(7.6, 3.5), sharex=True, sharey="row", height_ratios=[2.2, 1]
    )
    rates = 10 ** (5 * unit[:, 0] - 3)
    for i, (points, values, mean, deviation, gain) in enumerate(panels):
        top, bottom = axes[:, i]
        top.fill_between(
            rates, mean - 2 * deviation, mean + 2 * deviation, color=BLUE, alpha=0.18, lw=0
        )
        top.plot(rates, mean, color=BLUE, lw=1.5)
        top.plot(rates, truth, color=FAINT, lw=1.2, ls=":")
        top.plot(10 ** (5 * points - 3), values, "o", color=INK, ms=4)
        following = rates[gain.argmax()]
        for axis in (top, bottom):
            axis.axvline(following, color=RED, lw=1, ls="--")
        bottom.fill_between(rates, 0, gain, color=GREEN, alpha=0.6, lw=0)
        top.set(xscale="log", title=f"after {len(points)} trials")
        bottom.set(xlabel="learning rate")
    axes[0, 0].set_ylabel("log₁₀ loss")
    axes[1, 0].set_ylabel("EI")
    return figure


# %% [markdown]
# ![Posterior of a Gaussian process and expected improvement after three to six trials. Dotted: the true loss;
# dashed: the next trial.](../assets/course/13_bayesian.svg)
#
# ## Stop the bad ones early: successive halving
#
# With a budget of $B$ steps and $N$ trials, rung $t$ trains the $|\mathcal S_t|$ trials that are left for
# $r_t = \lfloor B / (|\mathcal S_t|\, T) \rfloor$ steps and keeps the better half. The lectures take
# $T = \lceil \log_2 N \rceil - 1$ rungs, gradkit one more. Survivors go on from where they were, without
# recompiling. Here a network learns the digits, and rate and momentum are searched.

# %%
images, labels = load_digits(return_X_y=True)
pixels, labels = jnp.asarray(images[:256] / 16, jnp.float32), jnp.asarray(labels[:256])
HIDDEN = quick(24, 4)


def init(key):
    first, second = jax.random.split(key)
    he = gk.initializers.he_normal()
    return {"in": he(first, (64, HIDDEN)), "out": he(second, (HIDDEN, 10))}


def digits_loss(params, batch):
    x, y = batch
    logits = jax.nn.relu(x @ params["in"]) @ params["out"]
    return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(logits, y))


task = gk.search.training(digits_loss, init, (pixels[None], labels[None]))
wide = gk.sgd(gk.search.log_uniform(1e-4, 10.0), momentum=gk.search.uniform(0.0, 0.95))
TRIALS, BUDGET = quick(32, 4), quick(3200, 16)
halved = gk.search.successive_halving(task, wide, 7, budget=BUDGET, trials=TRIALS, progress=False)
winner = halved.best()
longest = int(max(halved.budgets))
full = gk.search.run(
    task.objective(longest), gk.search.sample(wide, 7, TRIALS), progress=False
)  # every trial to the end, at several times the cost
cost = TRIALS * longest / int(halved.budgets.sum())
print(f"halving: loss {winner.score:.4f} with {int(halved.budgets.sum())} steps")
print(f"all trials to the end: {full.best().score:.4f}, {cost:.1f} times the steps")
assert halved.budgets.sum() <= BUDGET
assert (
    np.sort(halved.budgets)[: TRIALS // 2] == halved.budgets.min()
).all()  # half stops after the first rung
assert style.QUICK or winner.score < 2 * full.best().score + 0.01


# %% Draw the rungs
@picture("13_halving")
def draw_halving(plt):
    figure, axis = plt.subplots(figsize=(6.8, 3.2))
    colors = plt.get_cmap(style.SEQUENCE)
    lengths = sorted(set(halved.budgets))
    for i in np.argsort(halved.budgets):
        curve = np.asarray(halved.curves[i])
        curve = np.convolve(np.pad(curve, (2, 2), "edge"), np.ones(5) / 5, "valid")
        rung = lengths.index(halved.budgets[i])
        color = colors(0.05 + 0.8 * (1 - rung / (len(lengths) - 1)))
        axis.plot(np.arange(len(curve)) + 1, np.minimum(curve, 6), color=color, lw=1.0 + 0.2 * rung)
        axis.plot(len(curve), min(curve[-1], 6), "o", color=color, ms=3.5, mew=0)
    for length in lengths[:-1]:
        axis.axvline(length, color=FAINT, ls=":", lw=1)
    axis.set(xscale="log", yscale="log", xlabel="step", ylabel="training loss", ylim=(None, 7))
    axis.set_title(
        f"{TRIALS} trials share {BUDGET:,} steps: at every dotted line half of them stop"
    )
    return figure


# %% [markdown]
# ![Learning curves of trials under successive halving](../assets/course/13_halving.svg)
#
# ## Schedules instead of values: population-based training
#
# A population trains in parallel. After every round the worst members copy the weights and hyperparameters of
# the best (exploit) and perturb the hyperparameters (explore). What comes out is a trained network and a
# *schedule* of the learning rate.

# %%
noisy = jax.random.randint(jax.random.key(8), (quick(64, 4), 32), 0, len(labels))
stream = (pixels[noisy], labels[noisy])  # mini-batches
mini = gk.search.training(
    digits_loss, init, stream, evaluate=lambda p: digits_loss(p, (pixels, labels))
)
rates = gk.sgd(gk.search.log_uniform(1e-3, 3.0), momentum=0.9)
population = gk.search.population_based(
    mini, rates, 9, steps=quick(20, 2), rounds=quick(12, 2), population=quick(16, 4), fraction=0.25
)
schedules = population.schedules["learning_rate"]
best = int(np.argmin(population.trials.scores))
print("rates of the best member:", [f"{rate:.3g}" for rate in schedules[best]])
assert schedules.shape == (quick(16, 4), quick(12, 2))
assert np.isfinite(population.trials.best().score)


# %% Draw the population
@picture("13_population")
def draw_population(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.9))
    rounds = np.arange(1, schedules.shape[1] + 1)
    for member, values in enumerate(schedules):
        chosen = member == best
        color, width = (RED, 2.2) if chosen else (BLUE, 0.9)
        left.step(
            rounds,
            values,
            where="mid",
            color=color,
            lw=width,
            alpha=1 if chosen else 0.5,
            zorder=2 + chosen,
        )
        curve = np.minimum(np.asarray(population.trials.curves[member]), 4)
        curve = np.convolve(curve, np.ones(10) / 10, "valid")
        right.plot(curve, color=color, lw=width, alpha=1 if chosen else 0.4, zorder=2 + chosen)
    left.set(yscale="log", xlabel="round", ylabel="learning rate", title="The lines of ancestors")
    right.set(
        yscale="log",
        xlabel="step",
        ylabel="loss of the mini-batch",
        title="Their losses; red: the best",
    )
    return figure


# %% [markdown]
# ![Learning rates and losses of a population, with the line of ancestors of the best member](../assets/course/13_population.svg)
#
# The choice is made on validation data, with several seeds where trainings are noisy (`seeds=` of
# [`gk.search.run`](../../gradkit/search/population.py#run); `best()` takes the lowest upper confidence bound), and the test set stays untouched
# ([evaluation](14_evaluation.md)). Optuna's samplers and its storage for several machines are in
# [`gk.search.run_study`](../../gradkit/search/studies.py#run_study).
