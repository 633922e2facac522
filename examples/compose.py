"""An optimizer of your own: composed from parts, looked at, steered, and trained as a population.

    python examples/compose.py

Logistic regression on the Wisconsin breast cancer data (455 patients to train on, 114 held out, 30 measurements each), full batch.
"""

# %% The data, whitened, and the loss.

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import gradkit as gk

x, y = load_breast_cancer(return_X_y=True)
x, x_test, y, y_test = train_test_split(x, y, test_size=114, random_state=0, stratify=y)
scaler = StandardScaler().fit(x)
x, x_test = (
    jnp.asarray(scaler.transform(x), jnp.float32),
    jnp.asarray(scaler.transform(x_test), jnp.float32),
)
y, y_test = jnp.asarray(y, jnp.float32), jnp.asarray(y_test, jnp.float32)
start = {"w": jnp.zeros(30), "b": jnp.zeros(())}
traced = []


def loss_fn(params, x, y):
    traced.append(
        "loss_fn"
    )  # Python runs while JAX traces, and never again: this counts compilations
    logits = x @ params["w"] + params["b"]
    return jnp.mean(jnp.logaddexp(0, logits) - y * logits)


# %% A part of your own. It remembers two numbers, and asks for the loss by naming `value`.


@gk.transform
def bold(up: float = 1.05, down: float = 0.5, most: float = 3.0):
    """The bold driver: longer steps while the loss falls, much shorter ones once it rises."""

    def init(params):
        return {"factor": jnp.float32(1.0), "last": jnp.float32(jnp.inf)}

    def update(updates, memory, params, *, value):
        factor = jnp.minimum(memory["factor"] * jnp.where(value <= memory["last"], up, down), most)
        return jax.tree.map(lambda u: factor * u, updates), {"factor": factor, "last": value}

    return gk.Rule(init, update)


# %% The optimizer: the lecture formula with two averages, between a clip and the bold driver, then decay and a moving rate.


@gk.transform
def mine(learning_rate, b1=0.9, b2=0.99, max_norm=1.0, weight_decay=1e-3, steps: int = 200):
    return gk.chain(
        gk.clip_by_global_norm(max_norm),
        gk.precondition(gk.ema(b1), gk.ema(b2), eps=1e-8),
        bold(),
        gk.add_decayed_weights(weight_decay),
        gk.scale_by_learning_rate(gk.cosine_decay_schedule(1.0, steps) * learning_rate),
    )


# %% Training it, with a new learning rate on the way. The rate is data of the compiled step, so nothing compiles again.


def steer(steps: int) -> None:
    tx = mine(0.01, steps=steps)
    print(f"The optimizer\n  {tx}\nstands for")
    for part in tx.expand().transforms:
        print(f"  {part}")
    step = gk.make_step(loss_fn, tx)
    params = jax.tree.map(
        jnp.copy, start
    )  # the step donates: it trains in place, and the start is used again below
    state = tx.init(params)
    print(
        "and remembers", {name: sorted(memory) for name, memory in state.inner.items()}, end="\n\n"
    )
    for i in range(steps):
        if i == steps // 2:
            step = step.replace(learning_rate=0.003)
        params, state, loss = step(params, state, x, y)
        if i % (steps // 4) == 0 or i == steps - 1:
            now = gk.hyperparameters(step.tx.expand(), state)
            rate, factor = (
                float(now["scale_by_learning_rate.learning_rate"]),
                float(state.inner["bold"]["factor"]),
            )
            print(
                f"step {int(state.step):4d}   loss {float(loss):.4f}   rate {rate:.5f} x bold {factor:.2f}   {step.tx.learning_rate=}"
            )
    print(f"The loss was traced {len(traced)} time for {steps} steps at two learning rates.\n")
    assert len(traced) == 1


# %% A population: one optimizer holding 32 learning rates, mapped over by vmap and compiled once.


def population(steps: int, path: Path) -> None:
    rates = np.geomspace(1e-4, 10, 32).astype(np.float32)
    many = mine(0.01, steps=steps).replace(learning_rate=rates)

    def train(tx, params):
        def step(carry, _):
            params, state = carry
            loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
            return tx.apply(params, state, grads, value=loss), loss

        (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), length=steps)
        right = (x_test @ params["w"] + params["b"] > 0) == (y_test > 0)
        return loss_fn(params, x_test, y_test), jnp.mean(right), losses[-1]

    test, accuracy, losses = jax.jit(jax.vmap(train, in_axes=(many.vmap_axes(), None)))(many, start)
    best = int(jnp.nanargmin(test))
    print(
        f"Of {len(rates)} learning rates, trained in one compiled call, the best on the patients held out:"
    )
    print(
        f"  {mine(float(f'{rates[best]:.3g}'), steps=steps)}: loss {float(test[best]):.4f}, accuracy {float(accuracy[best]):.1%}"
    )
    draw(rates, {"training": losses, "held out": test}, best, path)
    print(f"Loss against learning rate: {path}")


def draw(rates, curves, best: int, path: Path) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, losses in curves.items():
        axis.plot(rates, losses, marker=".", label=name)
    lowest = rates[best], curves["held out"][best]
    axis.annotate(
        f"{rates[best]:.2g}",
        lowest,
        (0, 24),
        textcoords="offset points",
        ha="center",
        arrowprops={"arrowstyle": "-"},
    )
    axis.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="final loss")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(
        description="An optimizer of your own, steered and trained as a population."
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/compose.png"),
        help="where the picture goes (default: out/compose.png)",
    )
    options = parser.parse_args(arguments)
    steer(options.steps)
    population(options.steps, options.out)


if __name__ == "__main__":
    main()
