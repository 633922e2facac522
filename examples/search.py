"""Hyperparameter search: from two ranges to one optimizer, with all trials trained at once.

    python examples/search.py            # scikit-learn's digits; no download; half a minute

A coarse random search, a finer one by successive halving about its best trials, and the finalists
with several seeds. Every round is one compiled program for each optimizer and number of trials.
"""

# %% The search space: an optimizer whose arguments are distributions.

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import gradkit as gk
from gradkit import search

SPACE = search.choice(
    gk.sgd(
        search.log_uniform(1e-3, 3.0),
        momentum=search.log_uniform(0.5, 0.99, complement=True),  # 1 − momentum on a log scale
    ),
    gk.adamw(
        search.log_uniform(1e-5, 1e-1),
        weight_decay=search.log_uniform(1e-4, 1.0),
    ),
)
BATCH = 64


# %% The training: a loss, initial parameters, and batches by the number of the step.


def split():
    """Images in [0, 1] with their labels: 1200 to train on, 300 to choose by, 297 for the end."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
    return (x[:1200], y[:1200]), (x[1200:1500], y[1200:1500]), (x[1500:], y[1500:])


def init(key, hidden=32):
    first, second = jax.random.split(key)
    he = gk.initializers.he()
    return {
        "hidden": {"kernel": he(first, (64, hidden)), "bias": jnp.zeros(hidden)},
        "out": {"kernel": he(second, (hidden, 10)), "bias": jnp.zeros(10)},
    }


def logits(params, x):
    x = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return x @ params["out"]["kernel"] + params["out"]["bias"]


def loss(params, batch):
    x, y = batch
    return gk.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()


def make_task(train, dev):
    x, y = train

    def batch(step):
        """Another random batch at each step, the same for all trials."""
        rows = jax.random.randint(jax.random.fold_in(jax.random.key(0), step), (BATCH,), 0, len(x))
        return x[rows], y[rows]

    return search.training(loss, init, batch, evaluate=lambda params: loss(params, dev))


# %% The picture: the rates tried in both rounds, and the curves of the halving.

COLORS = {"sgd": "#2166ac", "adamw": "#b2182b"}


def rate_of(config):
    return config[f"choice.{config['choice']}.learning_rate"]


def draw(coarse, fine, final, path):
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
    top = 2 * np.log(10)  # twice the loss of a guess
    for trials, alpha, size in ((coarse, 0.35, 22), (fine, 1.0, 30)):
        for name, color in COLORS.items():
            mine = [i for i, c in enumerate(trials.configs) if c["choice"] == name]
            rates = [rate_of(trials.configs[i]) for i in mine]
            scores = np.minimum(trials.scores[mine], top)
            rounds = "coarse" if trials is coarse else "fine"
            left.scatter(
                rates, scores, size, color, alpha=alpha, linewidths=0, label=f"{name}, {rounds}"
            )
    left.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss on the dev set")
    best = final.best()
    left.scatter(
        [rate_of(best.config)], [best.score], 150, "none", edgecolors="black", label="best"
    )
    left.legend(frameon=False, fontsize=8, loc="lower left")
    left.set_title("Each point is a trial", fontsize=10, loc="left")
    for trial in fine:
        if trial.curve is not None and len(trial.curve) and np.isfinite(trial.curve).all():
            average = np.convolve(
                np.pad(trial.curve, (9, 0), mode="edge"), np.ones(10) / 10, "valid"
            )
            steps, color = np.arange(1, len(average) + 1), COLORS[trial.config["choice"]]
            right.plot(steps, average, color=color, linewidth=1, alpha=0.7)
            right.plot(steps[-1], average[-1], ".", color=color, markersize=5)
    right.set(xscale="log", yscale="log", xlabel="updates", ylabel="training loss")
    right.set_title("Successive halving stops the worse ones", fontsize=10, loc="left")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


# %% The program: coarse, fine, and several seeds.


def table(trials, title):
    found = Table("optimizer", title=title, title_justify="left")
    for column in ("learning rate", "momentum", "weight decay", "dev loss"):
        found.add_column(column, justify="right")
    for trial in trials.sorted()[:5]:
        name, config = trial.config["choice"], trial.config
        extras = (config.get(f"choice.{name}.{x}") for x in ("momentum", "weight_decay"))
        error = f" ± {trial.error:.4f}" if trial.repeats > 1 else ""
        cells = [f"{x:.4g}" if x is not None else "" for x in (rate_of(config), *extras)]
        found.add_row(name, *cells, f"{trial.score:.4f}{error}")
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=96, help="of the coarse round (default: 96)")
    parser.add_argument("--steps", type=int, default=150, help="of one of its trials")
    parser.add_argument("--seeds", type=int, default=5, help="of the finalists (default: 5)")
    parser.add_argument("--quick", action="store_true", help="few and short trials")
    parser.add_argument("--out", type=Path, default=Path("out/search.png"), help="the picture")
    options = parser.parse_args(arguments)
    trials, steps, seeds = options.trials, options.steps, options.seeds
    if options.quick:
        trials, steps, seeds = 8, 60, 3
    console = Console(width=None if Console().is_terminal else 100)
    train, dev, test = split()
    task = make_task(train, dev)

    coarse = search.run(task.objective(steps), SPACE, 0, trials=trials, method="sobol")
    console.print(table(coarse, f"{trials} random trials of {steps} updates"))

    space = search.refine(SPACE, coarse, keep=0.1)
    console.print(f"The ranges of the best tenth: {space}\n", soft_wrap=True, highlight=False)
    fine = search.successive_halving(
        task, space, 1, trials=trials // 3, factor=4, budget=2 * trials * steps // 3
    )
    longest = int(fine.budgets.max())
    console.print(table(fine, f"{trials // 3} finer trials, halved; {longest} updates at most"))

    finalists = search.Configs(space, fine.sorted()[:4].configs)
    final = search.run(task.objective(longest), finalists, 2, seeds=seeds)
    console.print(table(final, f"The finalists, {seeds} seeds each"))

    best = final.best()  # by the upper confidence bound of the mean
    params, state = init(jax.random.key(3)), best.transform.init(init(jax.random.key(3)))
    carry, _ = jax.lax.scan(
        lambda carry, _: task.step(best.transform, carry),
        (params, state, jnp.zeros((), jnp.int32)),
        length=longest,
    )
    accuracy = float(gk.metrics.accuracy(test[1], logits(carry[0], test[0]).argmax(axis=1)))
    console.print(f"Best: {best.transform}", soft_wrap=True, highlight=False)
    console.print(f"Accuracy on images that no trial has seen: {accuracy:.1%}")
    draw(coarse, fine, final, options.out)
    console.print(f"Picture: {options.out}")


if __name__ == "__main__":
    main()
