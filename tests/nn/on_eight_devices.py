"""Run in a process of its own: the same numbers on eight devices as on one. Prints one line of JSON per fact."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
P = PartitionSpec
MESH = Mesh(np.array(jax.devices()), ("batch",))
WHOLE, SPLIT = NamedSharding(MESH, P()), NamedSharding(MESH, P("batch"))

rng = np.random.default_rng(0)
X = jnp.asarray(rng.normal(100, 1, (32, 6)), jnp.float32)
WEIGHT = jnp.asarray(rng.normal(size=(32, 6)), jnp.float32)
SCALE = jnp.asarray(rng.uniform(0.5, 1.5, 6), jnp.float32)
MASK = (
    rng.random((32, 1)) < np.repeat(np.linspace(0, 1, 8), 4)[:, None]
)  # the first device has nothing, the last all
MASK = jnp.asarray(MASK)


def say(name, **facts):
    print(json.dumps({"name": name, **{key: float(value) for key, value in facts.items()}}))


def distance(a, b):
    return max(
        float(jnp.max(jnp.abs(jax.device_get(p) - jax.device_get(q))))
        for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def step(x, scale, mask, weight, **collective):
    """Output, moments, and gradients of what each device sees."""

    def loss(x, scale):
        y, of = F.batch_norm(x, scale, mask=mask, **collective)
        return jnp.sum(jnp.where(mask, y, jnp.zeros_like(y)) * weight), (y, of.mean, of.var)

    (_, out), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, scale)
    return out, gradients


def explicit():
    """Layers where shardings are part of the types: output, moments or running statistics, and gradient, of examples and channels over devices."""
    mesh = jax.make_mesh(
        (4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Explicit,) * 2
    )
    ones, mask = jnp.ones((4, 1), bool), MASK[:, None]
    layers = {
        "ghost": lambda x: F.ghost_batch_norm(x, ghost_batch_size=4)[:2],
        "ghost masked": lambda x: F.ghost_batch_norm(
            x, ghost_batch_size=4, mask=jnp.tile(ones, (8, 1))
        )[:2],
        "group": lambda x: F.group_norm(x, num_groups=2),
        "running": lambda x: F.running(jnp.zeros(6), jnp.ones(6), F.moments(x, 0), 0.9),
        "nnx": trained,
        "layer masked": lambda x: F.layer_norm(x[:, None], mask=mask),
    }
    for name, layer in layers.items():
        both = lambda x, layer=layer: (
            layer(x),
            jax.grad(lambda x: sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(layer(x))[:1]))(x),
        )
        alone, apart, typed = both(X), 0.0, True
        with jax.set_mesh(mesh):
            for spec in (P("data", None), P(None, "model"), P("data", "model")):
                x = jax.device_put(X, NamedSharding(mesh, spec))
                for how in (lambda f: f, jax.jit):
                    got = how(both)(x)
                    apart = max(apart, distance(alone, got))
                    typed = typed and (
                        name not in {"nnx", "running"}
                        or all(jax.typeof(of).sharding.spec == P(None) for of in got[0][-2:])
                    )
        say(f"explicit {name}", distance=apart, typed=typed)


def trained(x):
    """A layer's output and its running statistics after two steps."""
    layer = gnn.BatchNorm(6, rngs=nnx.Rngs(0))
    y = layer(x)
    layer(x)
    return y, layer.mean[...], layer.var[...]


def refused(f, *args):
    try:
        f(*args)
    except ValueError as error:
        return "needs more than one value per channel in training" in str(error)
    return False


def main():
    say("devices", count=len(jax.devices()))
    mapped = functools.partial(step, axis_name="batch")
    split, out = P("batch"), ((P("batch"), P(), P()), (P("batch"), P()))
    for name, mask in {
        "masked": MASK,
        "whole": jnp.ones((32, 1), bool),
        "nothing": jnp.zeros((32, 1), bool),
    }.items():
        alone = jax.jit(step)(X, SCALE, mask, WEIGHT)
        args = [
            jax.device_put(a, SPLIT if a.shape[0] == 32 else WHOLE)
            for a in (X, SCALE, mask, WEIGHT)
        ]
        say(f"jit {name}", distance=distance(alone, jax.jit(step)(*args)))
        sharded = jax.shard_map(
            mapped, mesh=MESH, in_specs=(split, P(), split, split), out_specs=out
        )
        say(
            f"shard_map {name}",
            distance=distance(alone, jax.jit(sharded)(*args)),
            finite=all(np.isfinite(a).all() for a in jax.tree.leaves(alone)),
        )
    seen = np.asarray(X, np.float64)[np.asarray(MASK)[:, 0]]
    of = jax.jit(step)(X, SCALE, MASK, WEIGHT)[0]
    say("oracle", mean=np.abs(of[1] - seen.mean(0)).max(), var=np.abs(of[2] - seen.var(0)).max())

    grouped = jax.shard_map(
        lambda x: F.batch_norm(x, axis_name="batch", axis_index_groups=[[0, 1, 2, 3], [4, 5, 6, 7]])[0],
        mesh=MESH, in_specs=split, out_specs=split, check_vma=False,
    )  # fmt: skip
    halves = jnp.concatenate([F.batch_norm(X[:16])[0], F.batch_norm(X[16:])[0]])
    say("groups", distance=distance(grouped(X), halves))

    features = jax.shard_map(
        lambda x: F.layer_norm(x, axis_name="batch"), mesh=MESH, in_specs=P(None, "batch"), out_specs=P(None, "batch")
    )  # fmt: skip
    say("layer norm over devices", distance=distance(features(X.T), F.layer_norm(X.T)))
    one = jax.shard_map(
        lambda x: F.batch_norm(x, axis_name="batch")[0], mesh=MESH, in_specs=split, out_specs=split
    )
    say(
        "one value per device is enough together",
        distance=distance(one(X[:8]), F.batch_norm(X[:8])[0]),
    )

    alone = [[device] for device in range(8)]
    lonely = jax.shard_map(
        lambda x: F.batch_norm(x, axis_name="batch", axis_index_groups=alone)[0],
        mesh=MESH,
        in_specs=split,
        out_specs=split,
        check_vma=False,
    )
    say("groups of one device", one=refused(lonely, X[:8]), two=refused(lonely, X[:16]))
    explicit()

    key = jax.random.key(0)
    drops = {
        "dropout": lambda x: F.dropout(x, 0.3, key),
        "drop_path": lambda x: F.drop_path(x, 0.3, key),
        "alpha": lambda x: F.alpha_dropout(x, 0.3, key),
    }
    columns = NamedSharding(MESH, P(None, "batch"))
    square = jnp.ones((16, 16))
    for name, drop in drops.items():
        alone = jax.jit(drop)(square)
        on = [
            jax.jit(drop)(jax.device_put(square, sharding))
            for sharding in (NamedSharding(MESH, P("batch")), columns)
        ]
        say(
            f"mask {name}",
            distance=max(distance(alone, y) for y in on),
            eager=distance(alone, drop(square)),
        )


if __name__ == "__main__":
    main()
