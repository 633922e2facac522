"""A program for one of two processes, each with a device. The first prints a line of JSON."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import gradkit as gk

P = PartitionSpec
rng = np.random.default_rng(0)
DATA = tuple(np.asarray(rng.normal(size=shape), np.float32) for shape in ((64, 8), (64, 4)))
PARAMS = {
    name: np.asarray(0.3 * rng.normal(size=shape), np.float32)
    for name, shape in (("w", (8, 16)), ("b", (16,)), ("v", (16, 4)), ("gain", ()))
}


def loss_fn(params, x, y):
    out = jnp.tanh(x @ params["w"] + params["b"][None]) @ params["v"] * params["gain"]
    return jnp.mean((out - y) ** 2)


def train(mesh):
    """Parameters, losses and what is where, after eight steps with the state spread over all."""
    tx = gk.MultiSteps(gk.chain(gk.clip_by_global_norm(0.1), gk.adamw(0.1)), 2)
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    shapes = jax.eval_shape(lambda: PARAMS)
    spread = gk.state_sharding(tx, shapes, mesh, axis="data", min_size=0)
    step = gk.make_step(
        loss_fn,
        tx,
        in_shardings=(whole, spread, rows, rows),
        out_shardings=(whole, spread, whole),
    )
    batches = gk.data.epochs(64, 16, 1, shard=(jax.process_index(), jax.process_count()))
    params = jax.device_put(PARAMS, whole)
    state = jax.jit(tx.init, out_shardings=spread)(params)
    losses = []
    for t in range(8):
        local = batches.take(DATA, t)
        x, y = (jax.make_array_from_process_local_data(rows, each) for each in local)
        params, state, loss = step(params, state, x, y)
        losses.append(float(loss))
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    return {name: np.asarray(x) for name, x in params.items()}, losses, held / total


if __name__ == "__main__":
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{sys.argv[2]}", 2, int(sys.argv[1]))
    params, losses, share = train(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,)))
    if jax.process_index() == 0:
        shown = {name: x.tolist() for name, x in params.items()}
        facts = {"processes": jax.process_count(), "devices": jax.device_count()}
        print(json.dumps({**facts, "params": shown, "losses": losses, "share": share}))
