"""A program for eight virtual devices. Prints a line of JSON per fact."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn import linen as gln

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
P = PartitionSpec
MESH = Mesh(np.array(jax.devices()), ("batch",))
WHOLE, SPLIT = NamedSharding(MESH, P()), NamedSharding(MESH, P("batch"))

rng = np.random.default_rng(0)
X = jnp.asarray(rng.normal(100, 1, (32, 6)), jnp.float32)
WEIGHT = jnp.asarray(rng.normal(size=(32, 6)), jnp.float32)
SCALE = jnp.asarray(rng.uniform(0.5, 1.5, 6), jnp.float32)
# The first device has nothing, the last one all.
MASK = jnp.asarray(rng.random((32, 1)) < np.repeat(np.linspace(0, 1, 8), 4)[:, None])


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


# What runs eagerly too: every kind of operation that chooses a sharding.
EAGER = {"ghost", "running", "nnx", "dropout", "a rate per example", "pool"}


def compare(name, function, inputs, mesh):
    """Pairs (input, result) of sharded inputs, compiled together, and one of them eagerly."""
    with jax.set_mesh(mesh):
        results = jax.jit(lambda inputs: [function(x) for x in inputs])(inputs)
        pairs = list(zip(inputs, results, strict=True))
        return [*pairs, (inputs[-1], function(inputs[-1]))] if name in EAGER else pairs


def explicit():
    """Layers where shardings are part of the types.

    Output, moments or running statistics, and gradient, of examples and channels over devices.
    """
    kinds = (jax.sharding.AxisType.Explicit,) * 2
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=kinds)
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
    specs = (P("data", None), P(None, "model"), P("data", "model"))
    inputs = [jax.device_put(X, NamedSharding(mesh, spec)) for spec in specs]
    for name, layer in layers.items():

        def both(x, layer=layer):
            loss = lambda x: sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(layer(x))[:1])
            return layer(x), jax.grad(loss)(x)

        alone = jax.jit(both)(X)
        results = [got for _, got in compare(name, both, inputs, mesh)]
        typed = True
        if name in {"nnx", "running"}:
            typed = all(
                jax.typeof(y).sharding.spec == P(None) for got in results for y in got[0][-2:]
            )
        say(f"explicit {name}", distance=max(distance(alone, r) for r in results), typed=typed)


KEY = jax.random.key(0)
DROPS = {
    "dropout": lambda x: F.dropout(x, 0.3, KEY),
    "channels": lambda x: F.dropout(x, 0.3, KEY, broadcast_dims=(1, 2)),
    "a rate per example": lambda x: F.dropout(
        x, jnp.linspace(0.0, 1.0, 8).reshape(8, 1, 1, 1), KEY
    ),
    "path": lambda x: F.drop_path(x, 0.3, KEY),
    "block": lambda x: F.drop_block(x, 0.3, KEY, block_size=3),
    "alpha": lambda x: F.alpha_dropout(x, 0.3, KEY),
    "gaussian": lambda x: F.gaussian_dropout(x, 0.3, KEY),
    "noise": lambda x: F.gaussian_noise(x, 0.3, KEY),
    "pool": lambda x: F.stochastic_pool(x, (2, 1), (2, 1), key=KEY),
    "nnx": lambda x: gnn.Dropout(0.3, rngs=nnx.Rngs(0))(x),
    "linen": lambda x: gln.Dropout(0.3).apply({}, x, deterministic=False, rngs={"dropout": KEY}),
    "gradient": jax.grad(lambda x: jnp.sum(F.dropout(x, 0.3, KEY) ** 2)),
    "samples": lambda x: jax.vmap(lambda key: F.dropout(x, 0.3, key))(jax.random.split(KEY, 3)),
}


def explicit_dropout():
    """Masks and shardings of the dropout family where shardings are part of the types."""
    kinds = (jax.sharding.AxisType.Explicit,) * 2
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=kinds)
    # The words of a mask are half of six channels: three, for two devices.
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4, 6, 6)), jnp.float32)
    specs = (P("data"), P(None, None, "model"), P(), P("data", None, None, "model"))
    inputs = [jax.device_put(x, NamedSharding(mesh, spec)) for spec in specs]
    for name, drop in DROPS.items():
        alone = jax.jit(drop)(x)
        pairs = compare(name, drop, inputs, mesh)
        same = [jax.typeof(y).sharding.spec == jax.typeof(x).sharding.spec for x, y in pairs]
        apart = max(distance(alone, y) for _, y in pairs)
        say(f"drop {name}", distance=apart, same=name == "samples" or all(same))
    options = {"in_specs": P("data"), "out_specs": P("data"), "axis_names": {"data"}}
    manual = jax.shard_map(DROPS["dropout"], mesh=mesh, **options)
    with jax.set_mesh(mesh):
        y = jax.jit(manual)(inputs[-1])
    say("one axis by hand", same=jax.typeof(y).sharding.spec == P("data", None, None, "model"))


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
        return "has one value per channel" in str(error)
    return False


def main():
    say("devices", count=len(jax.devices()))
    mapped = functools.partial(step, axis_name="batch")
    split, out = P("batch"), ((P("batch"), P(), P()), (P("batch"), P()))
    sharded = jax.jit(
        jax.shard_map(mapped, mesh=MESH, in_specs=(split, P(), split, split), out_specs=out)
    )
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
        say(
            f"shard_map {name}",
            distance=distance(alone, sharded(*args)),
            finite=all(np.isfinite(a).all() for a in jax.tree.leaves(alone)),
        )
    seen = np.asarray(X, np.float64)[np.asarray(MASK)[:, 0]]
    of = jax.jit(step)(X, SCALE, MASK, WEIGHT)[0]
    say("oracle", mean=np.abs(of[1] - seen.mean(0)).max(), var=np.abs(of[2] - seen.var(0)).max())

    def mapped_over(function, spec=split, **options):
        mapped = jax.shard_map(function, mesh=MESH, in_specs=spec, out_specs=spec, **options)
        return jax.jit(mapped)

    def norm(**options):
        return lambda x: F.batch_norm(x, axis_name="batch", **options)[0]

    fours = [[0, 1, 2, 3], [4, 5, 6, 7]]
    grouped = mapped_over(norm(axis_index_groups=fours), check_vma=False)
    halves = jnp.concatenate([F.batch_norm(X[:16])[0], F.batch_norm(X[16:])[0]])
    say("groups", distance=distance(grouped(X), halves))
    features = mapped_over(lambda x: F.layer_norm(x, axis_name="batch"), P(None, "batch"))
    say("layer norm over devices", distance=distance(features(X.T), F.layer_norm(X.T)))
    apart = distance(mapped_over(norm())(X[:8]), F.batch_norm(X[:8])[0])
    say("one value per device is enough together", distance=apart)
    alone = [[device] for device in range(8)]
    lonely = mapped_over(norm(axis_index_groups=alone), check_vma=False)
    say("groups of one device", one=refused(lonely, X[:8]), two=refused(lonely, X[:16]))
    explicit()
    explicit_dropout()

    columns = NamedSharding(MESH, P(None, "batch"))
    square = jnp.ones((16, 16))
    inputs = [
        jax.device_put(square, NamedSharding(MESH, P("batch"))),
        jax.device_put(square, columns),
    ]
    for name in ("dropout", "path", "alpha"):
        drop = DROPS[name]
        alone = jax.jit(drop)(square)
        apart = max(distance(alone, y) for y in map(jax.jit(drop), inputs))
        say(f"mask {name}", distance=apart, eager=distance(alone, drop(square)))


if __name__ == "__main__":
    main()
