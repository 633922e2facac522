"""Compare gradkit.nn with Flax's layers: time, memory of the backward pass, errors against float64.

    python -m benchmarks.nn [--json PATH] [--repeats N] [--layers NAME ...]

Each layer and its counterpart run compiled in one process, alternately, on the same arrays. A time
is the median of all rounds; a ratio is the median of the rounds' ratios, because a slow round is
slow for both.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import gradkit.nn as gnn

BLOCK, STAGE = (8, 128, 768), (8, 28, 28, 128)  # a transformer block, a ResNet stage
F32, BF16 = jnp.float32, jnp.bfloat16


def layer(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    """A function from the module that has the layer (gradkit's or Flax's) to the layer."""
    return lambda module: getattr(module, name)(*args, **options, rngs=nnx.Rngs(0))


WORK: dict[str, tuple[tuple[int, ...], Any, Callable[[Any], Any]]] = {
    "LayerNorm": (BLOCK, F32, layer("LayerNorm", 768)),
    "LayerNorm, Flax two-pass": (BLOCK, F32, layer("LayerNorm", 768, use_fast_variance=False)),
    "LayerNorm in bfloat16": (BLOCK, BF16, layer("LayerNorm", 768, dtype=BF16)),
    "RMSNorm": (BLOCK, F32, layer("RMSNorm", 768)),
    "RMSNorm in bfloat16": (BLOCK, BF16, layer("RMSNorm", 768, dtype=BF16)),
    "Dropout": (BLOCK, F32, layer("Dropout", 0.1)),
    "BatchNorm": (STAGE, F32, layer("BatchNorm", 128)),
    "BatchNorm, Flax two-pass": (STAGE, F32, layer("BatchNorm", 128, use_fast_variance=False)),
    "BatchNorm, inference": (STAGE, F32, layer("BatchNorm", 128, use_running_average=True)),
    "GroupNorm": (STAGE, F32, layer("GroupNorm", 128, 32)),
    "InstanceNorm": (STAGE, F32, layer("InstanceNorm", 128)),
}


def functions(layer: Any) -> tuple[Callable[..., Any], Callable[..., Any], Any, Callable[..., Any]]:
    """Forward; forward and backward as in a network (dy given); params; the pure call."""
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def call(params: Any, x: Any) -> Any:
        module = nnx.merge(graph, params, rest, copy=True)
        return module(x), nnx.state(module, nnx.BatchStat)

    def gradient(params: Any, x: Any, dy: Any) -> Any:
        y, pull, state = jax.vjp(call, params, x, has_aux=True)
        return y, state, pull(dy)

    return jax.jit(call), jax.jit(gradient), params, call


def saved_bytes(call: Callable[..., Any], params: Any, x: Any) -> int:
    """Bytes held for the backward pass, including the input."""
    _, pull = jax.eval_shape(
        lambda params, x: jax.vjp(lambda p, x: call(p, x)[0], params, x), params, x
    )
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))


def timed(
    contestants: dict[str, Callable[[], Any]], repeats: int, calls: int = 16
) -> dict[str, list[float]]:
    """Milliseconds per call of each contestant in every round; the order alternates."""
    names, times = list(contestants), {name: [] for name in contestants}
    for name in names:
        jax.block_until_ready(contestants[name]())
    for round_ in range(repeats):
        for name in names[:: 1 if round_ % 2 else -1]:
            start = time.perf_counter()
            for _ in range(calls):
                result = contestants[name]()
            jax.block_until_ready(result)
            times[name].append(1e3 * (time.perf_counter() - start) / calls)
    return times


def speed(repeats: int, layers: list[str] | None = None) -> list[dict[str, Any]]:
    rows = []
    for name, (shape, dtype, make) in WORK.items():
        if layers and name not in layers:
            continue
        x, dy = (
            jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype) for seed in (0, 1)
        )
        row: dict[str, Any] = {"layer": name, "shape": shape}
        forward, backward = {}, {}
        for who, where in {"gradkit": gnn, "flax": nnx}.items():
            run, gradient, params, call = functions(make(where))
            forward[who] = functools.partial(run, params, x)
            backward[who] = functools.partial(gradient, params, x, dy)
            row[f"kept_{who}"] = saved_bytes(call, params, x) / x.nbytes
        for what, contestants in {"forward": forward, "gradient": backward}.items():
            times = timed(contestants, repeats)
            row |= {f"{what}_{who}": statistics.median(values) for who, values in times.items()}
            row[f"{what}_ratio"] = statistics.median(
                ours / theirs for ours, theirs in zip(times["gradkit"], times["flax"], strict=True)
            )
        rows.append(row)
    return rows


INPUTS = {"N(0, 1)": (0, 1), "N(0, 0.01²) + 100": (100, 0.01), "N(0, 0.01²) + 10⁴": (1e4, 0.01)}


def torch_error(name: str, x: np.ndarray, wanted: np.ndarray, half: bool) -> float | None:
    """The error of torch, if it is installed."""
    try:
        import torch  # noqa: PLC0415
    except ImportError:
        return None
    layers = {
        "LayerNorm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6),
        "RMSNorm": lambda x: torch.nn.functional.rms_norm(x, x.shape[-1:], eps=1e-6),
        "BatchNorm": lambda x: torch.nn.functional.batch_norm(
            x, None, None, training=True, eps=1e-6
        ),
        "GroupNorm": lambda x: torch.nn.functional.group_norm(x, 8, eps=1e-6),
        "InstanceNorm": lambda x: torch.nn.functional.instance_norm(x.T[None], eps=1e-6)[0].T,
    }
    y = layers[name](torch.tensor(x).to(torch.bfloat16 if half else torch.float32))
    return float(np.abs(y.to(torch.float64).numpy() - wanted).max())


def errors() -> list[dict[str, Any]]:
    """Largest error against float64, on float32 and bfloat16 inputs of 256 rows and 512 columns."""
    axes = {
        "LayerNorm": (1,),
        "RMSNorm": (1,),
        "BatchNorm": (0,),
        "GroupNorm": (1,),
        "InstanceNorm": (0,),
    }
    rows = []
    for name, over in axes.items():
        for kind, (mean, deviation) in INPUTS.items():
            for half in (False, True):
                dtype = jnp.bfloat16 if half else jnp.float32
                given = jnp.asarray(
                    np.random.default_rng(0).normal(mean, deviation, (256, 512)), dtype
                )
                x = np.asarray(given.astype(jnp.float32), np.float64)
                parts = x.reshape(256, 8, 64) if name == "GroupNorm" else x
                over_parts = (2,) if name == "GroupNorm" else over
                centre = 0 if name == "RMSNorm" else parts.mean(over_parts, keepdims=True)
                wanted = (
                    (parts - centre)
                    / np.sqrt(((parts - centre) ** 2).mean(over_parts, keepdims=True) + 1e-6)
                ).reshape(x.shape)
                row: dict[str, Any] = {
                    "layer": name,
                    "input": kind,
                    "dtype": "bfloat16" if half else "float32",
                }
                more = {"num_groups": 8} if name == "GroupNorm" else {}
                for who, where in {"gradkit": gnn, "flax": nnx}.items():
                    layer = getattr(where, name)(
                        512, epsilon=1e-6, dtype=dtype, **more, rngs=nnx.Rngs(0)
                    )
                    y = layer(given[None])[0] if name == "InstanceNorm" else layer(given)
                    row[who] = float(
                        np.abs(np.asarray(y.astype(jnp.float32), np.float64) - wanted).max()
                    )
                row["torch"] = torch_error(
                    name, np.asarray(given.astype(jnp.float32)), wanted, half
                )
                rows.append(row)
    return rows


def show(rows: list[dict[str, Any]], columns: list[str], form: str) -> None:
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        cells = [
            format(row[c], form)
            if isinstance(row[c], float)
            else ""
            if row[c] is None
            else str(row[c])
            for c in columns
        ]
        print("| " + " | ".join(cells) + " |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="path of a file for all numbers")
    parser.add_argument("--repeats", type=int, default=60, help="rounds per layer")
    parser.add_argument("--layers", nargs="*", choices=WORK, help="run only these")
    options = parser.parse_args()
    results = {
        "device": str(jax.devices()[0]),
        "speed": speed(options.repeats, options.layers),
        "errors": errors(),
    }
    unit = f"milliseconds (median of {options.repeats}), and bytes for the backward pass / input"
    print(f"{unit}, on {results['device']}\n")
    columns = [
        f"{what}_{of}" for what in ("forward", "gradient") for of in ("gradkit", "flax", "ratio")
    ]
    show(results["speed"], ["layer", "shape", *columns, "kept_gradkit", "kept_flax"], ".3f")
    print("largest error against float64\n")
    show(results["errors"], ["layer", "input", "dtype", "gradkit", "flax", "torch"], ".1e")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
