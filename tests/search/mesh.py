"""Searches on eight virtual devices and on one: prints a line of JSON for each."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import search

TASK = search.Task(
    lambda config, key: 1.0 + jax.random.uniform(key, (2,)),
    lambda config, x: (x * config["decay"] + config["offset"], jnp.sum(x)),
)
SPACE = {"decay": search.uniform(0.1, 0.9), "offset": 0.25}


def spread(trials):
    """The largest difference between the scores of two tables."""
    one, many = trials
    return float(np.abs(one.scores - many.scores).max())


if __name__ == "__main__":
    mesh = jax.make_mesh((8,), ("trials",), axis_types=(jax.sharding.AxisType.Auto,))
    both = [
        search.run(TASK.objective(5), SPACE, 0, trials=11, mesh=m, progress=False)
        for m in (None, mesh)
    ]
    print(json.dumps({"name": "run", "difference": spread(both), "devices": mesh.size}))
    both = [
        search.successive_halving(TASK, SPACE, 0, trials=12, budget=96, mesh=m, progress=False)
        for m in (None, mesh)
    ]
    same = bool((both[0].budgets == both[1].budgets).all())
    print(json.dumps({"name": "halving", "difference": spread(both), "budgets": same}))
