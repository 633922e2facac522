"""Compose an optimizer: change its learning rate during training, and train a population.

    python examples/compose.py

Logistic regression on the Wisconsin breast cancer data: 455 patients for training, 114 held out,
30 measurements each, full batch.
"""

# %% The data, standardized, and the loss.

import argparse
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import gradkit as gk


class Data(NamedTuple):
    x: jax.Array
    y: jax.Array
    x_test: jax.Array
    y_test: jax.Array


def load() -> Data:
    x, y = load_breast_cancer(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=114, random_state=0, stratify=y)
    scaler = StandardScaler().fit(x)
    arrays = scaler.transform(x), y, scaler.transform(x_test), y_test
    return Data(*(jnp.asarray(array, jnp.float32) for array in arrays))


def init_params():
    return {"w": jnp.zeros(30), "b": jnp.zeros(())}


def loss_fn(params, x, y):
    logits = x @ params["w"] + params["b"]
    return jnp.mean(jnp.logaddexp(0, logits) - y * logits)


# %% A transform with state: two scalars. It takes the loss as the extra argument `value`.


@gk.transform
def bold_driver(up: gk.Rate = 1.05, down: gk.Rate = 0.5, most: gk.Rate = 3.0) -> gk.Rule:
    """Increase the step size while the loss falls; reduce it when the loss rises."""

    def init(params):
        return {"factor": jnp.float32(1.0), "last": jnp.float32(jnp.inf)}

    def update(updates, state, params, *, value):
        factor = jnp.minimum(state["factor"] * jnp.where(value <= state["last"], up, down), most)
        return jax.tree.map(lambda u: factor * u, updates), {"factor": factor, "last": value}

    return gk.Rule(init, update)


# %% The optimizer: a clip, the quotient of two averages, the bold driver, weight decay, a schedule.


@gk.transform
def my_optimizer(
    learning_rate: gk.Rate,
    b1: gk.Rate = 0.9,
    b2: gk.Rate = 0.99,
    max_norm: gk.Rate = 1.0,
    weight_decay: gk.Rate = 1e-3,
    steps: int = 200,
):
    """Adam with a clip, the bold driver and a cosine schedule."""
    return gk.chain(
        gk.clip_by_global_norm(max_norm),
        gk.precondition(gk.ema(b1), gk.ema(b2), eps=1e-8),
        bold_driver(),
        gk.add_decayed_weights(weight_decay),
        gk.scale_by_learning_rate(gk.cosine_decay_schedule(1.0, steps) * learning_rate),
    )


# %% Training, with a new learning rate halfway. The rate is data of the compiled step.


def change_rate(data: Data, steps: int) -> None:
    """Train, print the optimizer and its progress, and count how often the loss is traced."""
    tx = my_optimizer(0.01, steps=steps)
    print(f"The optimizer\n  {tx}\nis the chain")
    for part in tx.expand().transforms:
        print(f"  {part}")

    traces = []

    def counted(params, x, y):
        traces.append(1)  # runs while JAX traces, not when the compiled step runs
        return loss_fn(params, x, y)

    step = gk.make_step(counted, tx)
    params = init_params()
    state = tx.init(params)
    fields = {name: sorted(inner) for name, inner in state.inner.items()}
    print("with the state", fields, end="\n\n")
    for i in range(steps):
        if i == steps // 2:
            step = step.replace(learning_rate=0.003)
        params, state, loss = step(params, state, data.x, data.y)
        if i % (steps // 4) == 0 or i == steps - 1:
            now = gk.hyperparameters(step.tx.expand(), state)
            rate = float(now["scale_by_learning_rate.learning_rate"])
            factor = float(state.inner["bold_driver"]["factor"])
            print(
                f"step {int(state.step):4d}   loss {float(loss):.4f}   "
                f"rate {rate:.5f} x bold driver {factor:.2f}   {step.tx.learning_rate=}"
            )
    print(f"The loss was traced {len(traces)} time for {steps} steps at two learning rates.\n")
    assert len(traces) == 1


# %% A population: one optimizer with 32 learning rates, mapped over by vmap and compiled once.


def population(data: Data, steps: int, path: Path) -> None:
    """Train with 32 learning rates in one compiled call and draw the final losses."""
    rates = np.geomspace(1e-4, 10, 32).astype(np.float32)
    many = my_optimizer(0.01, steps=steps).replace(learning_rate=rates)

    def train(tx, params):
        def step(carry, _):
            params, state = carry
            loss, grads = jax.value_and_grad(loss_fn)(params, data.x, data.y)
            return tx.apply(params, state, grads, value=loss), loss

        (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), length=steps)
        right = (data.x_test @ params["w"] + params["b"] > 0) == (data.y_test > 0)
        return loss_fn(params, data.x_test, data.y_test), jnp.mean(right), losses[-1]

    trained = jax.jit(jax.vmap(train, in_axes=(many.vmap_axes(), None)))
    test, accuracy, losses = trained(many, init_params())
    best = int(jnp.nanargmin(test))
    tx = my_optimizer(float(f"{rates[best]:.3g}"), steps=steps)
    print(
        f"{len(rates)} learning rates were trained in one compiled call. The best on held-out data:"
    )
    print(f"  {tx}: loss {float(test[best]):.4f}, accuracy {float(accuracy[best]):.1%}")
    draw(rates, {"training": losses, "held out": test}, best, path)
    print(f"Final loss by learning rate: {path}")


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
        description="Compose an optimizer and train a population of them."
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/compose.png"),
        help="path of the picture (default: out/compose.png)",
    )
    options = parser.parse_args(arguments)
    data = load()
    change_rate(data, options.steps)
    population(data, options.steps, options.out)


if __name__ == "__main__":
    main()
