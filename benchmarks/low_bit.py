"""State in few bytes: errors and stalls of the stores, and AdamW in 8 bits beside float32.

    python -m benchmarks.low_bit errors              # worst and mean error, and stalls
    python -m benchmarks.low_bit train --seeds 3     # the character transformer of the examples
    python -m benchmarks.low_bit time                # a step beside float32, alternating
    python -m benchmarks.low_bit peers               # torchao and bitsandbytes, where they run
    python -m benchmarks.low_bit parameters          # bfloat16 parameters, four ways

The numbers are in ``docs/precision.md``.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk

STORES = {
    "store_in('bfloat16')": gk.stores.store_in("bfloat16"),
    "bfloat16_stochastic()": gk.stores.bfloat16_stochastic(),
    "int8()": gk.stores.int8(),
    "int8(rounding='nearest')": gk.stores.int8(rounding="nearest"),
    "float8()": gk.stores.float8(),
    "float8(rounding='nearest')": gk.stores.float8(rounding="nearest"),
    "int4()": gk.stores.int4(),
    "int4(rounding='nearest')": gk.stores.int4(rounding="nearest"),
}


def bytes_of(tree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


# ---- errors and stalls --------------------------------------------------------------------------


def relative_errors(store, x) -> np.ndarray:
    key = [jnp.uint32(7)] if store.keyed else []
    back = jax.jit(lambda x: store.decode(store.encode(x, *key), x))(x)
    return np.abs(np.asarray(back, np.float64) / np.asarray(x, np.float64) - 1)


def samples() -> dict[str, jax.Array]:
    """Values over 2^±40: blocks of one scale each, and the same in an order without scales."""
    rng = np.random.default_rng(0)
    scales = 2.0 ** np.arange(-40, 41)[:, None]
    signs = rng.choice([-1.0, 1.0], size=(81, 1024))
    sizes = 2.0 ** rng.uniform(-3, 0, size=(81, 1024))
    mixed = 2.0 ** rng.uniform(-40, 40, size=(81, 1024))
    return {
        "signed": jnp.asarray(signs * sizes * scales, jnp.float32),
        "magnitudes": jnp.asarray(sizes * scales, jnp.float32),
        "signed, mixed": jnp.asarray(signs * mixed, jnp.float32),
        "magnitudes, mixed": jnp.asarray(mixed, jnp.float32),
    }


def average_after(store, start: float, steps: int = 10_000, decay: float = 0.999) -> float:
    """The worst error of an average of constant values that began at ``start`` times them."""
    tx = gk.ema(decay, debias=False, accumulator_dtype=store)
    x = 2.0 ** jnp.linspace(-6, 6, 256)
    state = tx.init(x)
    # The largest element begins where it ends, so that the scale of its block does not fall.
    first = store.encode(jnp.where(start * x <= x[-1], start * x, x) if start else 0 * x)
    state = state._replace(inner={"ema": {"average": first}})

    def step(state, _):
        return tx.update(x, state)[1], None

    state, _ = jax.jit(lambda s: jax.lax.scan(step, s, length=steps))(state)
    found = store.decode(state.inner["ema"]["average"], x)
    return float(jnp.max(jnp.abs(found / x - 1)))


def errors() -> None:
    print("| store | bytes | worst | mean | worst, mixed | mean, mixed | from 0 | from 8 x |")
    print("|---|---|---|---|---|---|---|---|")
    data = samples()
    like = jnp.zeros(1 << 16)
    for name, store in STORES.items():
        size = bytes_of(store.encode(like)) / like.size
        apart = np.concatenate([relative_errors(store, data[k]) for k in ("signed", "magnitudes")])
        mixed = {k: relative_errors(store, x) for k, x in data.items() if "mixed" in k}
        worst = " / ".join(f"{e.max():.2g}" for e in mixed.values())
        mean = " / ".join(f"{e.mean():.2g}" for e in mixed.values())
        stalls = [f"{average_after(store, start):.3f}" for start in (0.0, 8.0)]
        row = [f"`{name}`", f"{size:.3f}", f"{apart.max():.4f}", f"{apart.mean():.4f}", worst, mean]
        print(f"| {' | '.join([*row, *stalls])} |", flush=True)


# ---- the character transformer ------------------------------------------------------------------


def language_model():
    """The example, which is a script."""
    path = Path(__file__).parents[1] / "examples" / "language_model.py"
    spec = importlib.util.spec_from_file_location("language_model", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["language_model"] = module
    spec.loader.exec_module(module)
    return module


def model(seed: int, batch: int = 8):
    lm = language_model()
    settings = lm.Settings(batch=batch)
    text = lm.Text(settings)
    network = lm.Transformer(len(text.letters), settings, rngs=lm.nnx.Rngs(seed))
    graph, start = lm.nnx.split(network)
    return text, lm.loss_of(graph), start


def optimizers(updates: int, rate: float = 1e-2):
    schedule = gk.warmup_cosine_decay_schedule(0.0, rate, updates // 10, updates, 0.0)
    adamw = gk.adamw(schedule, b2=0.95, weight_decay=0.1, mask=gk.by_rank(2))
    clip = gk.clip_by_global_norm(1.0)
    return {
        "float32": gk.chain(clip, adamw),
        "int8, default": gk.chain(clip, gk.compress(adamw, gk.stores.int8())),
        "int8, all matrices": gk.chain(
            clip, gk.compress(adamw, gk.stores.int8(), where=gk.by_rank(2))
        ),
        "int4, all matrices": gk.chain(
            clip, gk.compress(adamw, gk.stores.int4(), where=gk.by_rank(2))
        ),
    }


def train(seeds: int, updates: int, names: list[str]) -> None:
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        text, loss, start = model(seed)
        batches = jnp.asarray(text.batches(updates, seed=seed))
        test = jnp.concatenate(text.batches(16, seed=1000, part=text.test))
        size = sum(leaf.size for leaf in jax.tree.leaves(start))
        for name, tx in optimizers(updates).items():
            if name not in names:
                continue
            params = jax.tree.map(jnp.copy, start)
            state = tx.init(params)
            per_parameter = bytes_of(state) / size

            def run(params, state, batches, tx=tx, loss=loss):
                def step(carry, tokens):
                    grads = jax.grad(loss)(carry[0], tokens)
                    return tx.apply(*carry, grads), None

                return jax.lax.scan(step, (params, state), batches)[0]

            params, _ = jax.jit(run)(params, state, batches)
            found.setdefault(name, []).append(float(loss(params, test)))
            print(
                f"seed {seed} {name}: {found[name][-1]:.4f}, {per_parameter:.3f} bytes", flush=True
            )
    for name, losses in found.items():
        spread = statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else 0.0
        print(f"{name}: {statistics.mean(losses):.4f} ± {spread:.4f} (standard error)")


def step_time(rounds: int) -> None:
    """The optimizer's step on the transformer's tree, alternating with that in float32."""
    params = {f"layer_{i}": jnp.ones((512, 512)) for i in range(16)}
    grads = jax.tree.map(lambda p: 0.1 * p, params)
    kinds = {
        "float32": gk.adamw(1e-3),
        "bfloat16_stochastic": gk.compress(gk.adamw(1e-3), gk.stores.bfloat16_stochastic()),
        "int8": gk.compress(gk.adamw(1e-3), gk.stores.int8()),
        "int8 to nearest": gk.compress(gk.adamw(1e-3), gk.stores.int8(rounding="nearest")),
        "float8": gk.compress(gk.adamw(1e-3), gk.stores.float8()),
        "int4": gk.compress(gk.adamw(1e-3), gk.stores.int4()),
    }
    steps = {n: jax.jit(tx.apply, donate_argnums=(0, 1)) for n, tx in kinds.items()}
    held = {}
    for name, tx in kinds.items():
        own = jax.tree.map(jnp.copy, params)
        held[name] = jax.block_until_ready(steps[name](own, tx.init(own), grads))
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            held[name] = jax.block_until_ready(step(*held[name], grads))
            times[name].append(time.perf_counter() - began)
    base = statistics.median(times["float32"])
    for name, taken in times.items():
        ratio = statistics.median(taken) / base
        print(f"{name}: {1000 * min(taken):.1f} ms at best, {ratio:.2f} of float32 in the median")


def peers(rounds: int) -> None:
    """AdamW in 8 bits of torchao and bitsandbytes beside gradkit's, in one process, in turn."""
    import torch  # noqa: PLC0415

    count, shape = 16, (512, 512)
    steps, sizes = {}, {}
    params = {f"layer_{i}": jnp.ones(shape) for i in range(count)}
    grads = jax.tree.map(lambda p: 0.1 * p, params)
    for name, tx in {
        "gradkit adamw": gk.adamw(1e-3),
        "gradkit int8": gk.compress(gk.adamw(1e-3), gk.stores.int8()),
    }.items():
        apply = jax.jit(tx.apply, donate_argnums=(0, 1))
        own = jax.tree.map(jnp.copy, params)
        held = [own, tx.init(own)]
        sizes[name] = bytes_of(held[1])

        def step(apply=apply, held=held):
            held[:] = jax.block_until_ready(apply(*held, grads))

        steps[name] = step

    def optimizer(name):
        weights = [torch.nn.Parameter(torch.ones(shape)) for _ in range(count)]
        for w in weights:
            w.grad = torch.full(shape, 0.1)
        if name == "torch AdamW":
            return torch.optim.AdamW(weights, lr=1e-3)
        if name == "torchao AdamW8bit":
            from torchao.optim import AdamW8bit  # noqa: PLC0415
        else:
            from bitsandbytes.optim import AdamW8bit  # noqa: PLC0415
        return AdamW8bit(weights, lr=1e-3)

    for name in ("torch AdamW", "torchao AdamW8bit", "bitsandbytes AdamW8bit"):
        try:
            own = optimizer(name)
            own.step()
            steps[name] = own.step
        except Exception as error:
            print(f"{name}: does not run here: {type(error).__name__}: {str(error)[:200]}")
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if number:  # the first compiles
                times[name].append(time.perf_counter() - began)
    for name, taken in times.items():
        print(
            f"{name}: {1000 * min(taken):.1f} ms at best, {1000 * statistics.median(taken):.1f} in "
            f"the median" + (f", {sizes[name] / count / 512**2:.3f} bytes" if name in sizes else "")
        )


def parameters(seeds: int, updates: int, rate: float) -> None:
    """The transformer with bfloat16 parameters: the loss by how the sum is rounded."""
    schedule = gk.warmup_cosine_decay_schedule(0.0, rate, updates // 10, updates, 0.0)
    adamw = gk.adamw(schedule, b2=0.95, weight_decay=0.1, mask=gk.by_rank(2))
    kinds = {
        "float32 parameters": adamw,
        "to nearest": adamw,
        "stochastic_rounding": gk.chain(adamw, gk.stochastic_rounding(0)),
        "compensated": gk.chain(adamw, gk.compensated()),
        "master_weights": gk.master_weights(adamw),
    }
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        text, loss, start = model(seed)
        batches = jnp.asarray(text.batches(updates, seed=seed))
        test = jnp.concatenate(text.batches(16, seed=1000, part=text.test))
        size = sum(leaf.size for leaf in jax.tree.leaves(start))
        for name, tx in kinds.items():
            kind = jnp.float32 if name == "float32 parameters" else jnp.bfloat16
            params = jax.tree.map(lambda p, kind=kind: jnp.array(p, kind), start)

            def wide(params, tokens, loss=loss):
                return loss(jax.tree.map(lambda p: p.astype(jnp.float32), params), tokens)

            def run(params, state, tx=tx, batches=batches):
                def step(carry, tokens):
                    return tx.apply(*carry, jax.grad(wide)(carry[0], tokens)), None

                return jax.lax.scan(step, (params, state), batches)[0]

            state = tx.init(params)
            held = (bytes_of(params) + bytes_of(state)) / size
            params, _ = jax.jit(run)(params, state)
            found.setdefault(name, []).append(float(wide(params, test)))
            print(f"seed {seed} {name}: {found[name][-1]:.4f}, {held:.2f} bytes", flush=True)
    for name, losses in found.items():
        spread = statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else 0.0
        print(f"{name}: {statistics.mean(losses):.4f} ± {spread:.4f} (standard error)")


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description="State in few bytes.")
    parser.add_argument("what", choices=("errors", "train", "time", "peers", "parameters"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--names", nargs="+", default=["float32", "int8, default", "int8, all matrices"]
    )
    options = parser.parse_args(arguments)
    if options.what == "errors":
        errors()
    elif options.what == "train":
        train(options.seeds, options.updates, options.names)
    elif options.what == "time":
        step_time(options.rounds)
    elif options.what == "peers":
        peers(options.rounds)
    else:
        parameters(options.seeds, options.updates, options.rate)


if __name__ == "__main__":
    main()
