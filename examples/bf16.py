# %% [markdown]
# # bf16 weights: what becomes of small steps
#
# A bfloat16 weight near 1 moves in units of 1/128. A thousand steps of 1e-4, each a hundredth of a unit, should move it by 0.1. Rounded to
# nearest it never moves. Rounded at random it moves on average; with Kahan's compensation, or in float32, it moves exactly.
#
#     python examples/bf16.py

# %%
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


# %%
def train(tx, dtype):
    """A thousand steps of a constant gradient of one, in one scan; the mean weight and its standard deviation."""
    weights = jnp.ones(WEIGHTS, dtype)

    def step(carry, _):
        return tx.apply(*carry, jnp.ones(WEIGHTS, dtype)), None

    (weights, _), _ = jax.lax.scan(step, (weights, tx.init(weights)), length=STEPS)
    wide = weights.astype(jnp.float32)
    return wide.mean(), wide.std()


# %%
def main():
    table = Table(
        title=f"{STEPS} steps of {STEP} from 1.0: the weight should be {1 - STEPS * STEP}"
    )
    for column in (
        "rounding",
        "mean weight",
        "standard deviation",
        "share of the way",
        "state bytes a weight",
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
