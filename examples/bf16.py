"""bfloat16 weights: compare how four ways of rounding treat small updates.

    python examples/bf16.py

A bfloat16 weight near 1 has a spacing of 1/128. A thousand updates of 1e-4, each about a hundredth
of the spacing, should move it by 0.1. With rounding to nearest it never moves. With stochastic
rounding it moves on average. With Kahan's compensation it moves exactly, up to the rounding of the
result, and in float32 as well.
"""

# %% The four methods: the dtype of the weights, and the optimizer.

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import gradkit as gk

STEPS, STEP, WEIGHTS = 1000, 1e-4, 10_000

METHODS = {
    "nearest": (jnp.bfloat16, gk.sgd(STEP)),
    "stochastic": (jnp.bfloat16, gk.chain(gk.sgd(STEP), gk.stochastic_rounding(key=0))),
    "compensated": (jnp.bfloat16, gk.chain(gk.sgd(STEP), gk.compensated())),
    "float32": (jnp.float32, gk.sgd(STEP)),
}


# %% Training: one scan.


def train(tx, dtype):
    """Return mean and standard deviation of the weights after 1000 updates by a gradient of 1."""
    weights = jnp.ones(WEIGHTS, dtype)

    def step(carry, _):
        return tx.apply(*carry, jnp.ones(WEIGHTS, dtype)), None

    (weights, _), _ = jax.lax.scan(step, (weights, tx.init(weights)), length=STEPS)
    wide = weights.astype(jnp.float32)
    return wide.mean(), wide.std()


# %% The table.


def main():
    table = Table(
        title=f"{STEPS} steps of {STEP} from 1.0: the weight should be {1 - STEPS * STEP}"
    )
    for column in (
        "rounding",
        "mean weight",
        "standard deviation",
        "fraction of the move",
        "state bytes per weight",
    ):
        table.add_column(column, justify="left" if column == "rounding" else "right")
    for name, (dtype, tx) in METHODS.items():
        mean, std = jax.jit(train, static_argnums=1)(tx, dtype)
        plan = gk.describe(tx, jax.ShapeDtypeStruct((WEIGHTS,), dtype))
        table.add_row(
            name,
            f"{mean:.5f}",
            f"{std:.5f}",
            f"{(1 - mean) / (STEPS * STEP):.1%}",
            f"{plan.state_bytes / WEIGHTS:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
