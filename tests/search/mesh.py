"""Searches on eight virtual devices: prints a line of JSON for each."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import search

# The loss after n steps is the decay to the power n − 1.
TASK = search.Task(lambda config, key: jnp.float32(1.0), lambda config, x: (x * config["decay"], x))
SPACE = {"decay": search.uniform(0.1, 0.9), "fixed": 0.25}


def fact(name, trials):
    """How far the scores are from what they should be."""
    wanted = [c["decay"] ** (n - 1) for c, n in zip(trials.configs, trials.budgets, strict=True)]
    difference = float(np.abs(trials.scores - wanted).max())
    return {"name": name, "difference": difference, "budgets": sorted(trials.budgets)}


if __name__ == "__main__":
    kind = jax.sharding.AxisType
    mesh = jax.make_mesh((8,), ("trials",), axis_types=(kind.Explicit,))
    found = search.run(TASK.objective(5), SPACE, 0, trials=11, mesh=mesh, progress=False)
    found.budgets[:] = 5
    print(json.dumps(fact("run", found)))
    mesh = jax.sharding.Mesh(mesh.devices.reshape(4, 2), ("trials", "other"))
    halved = search.successive_halving(
        TASK, SPACE, 0, trials=12, factor=4, budget=96, mesh=mesh, progress=False
    )
    print(json.dumps(fact("halving", halved)))
