"""One optimizer step, gradkit against optax and torch: ``python -m benchmarks.step``.

Every contender of a row does the same work on the same numbers in one process, and they take turns,
so that what slows the machine slows them all. The JAX sides are jitted functions ``(params, state,
grads) -> (params, state)`` that donate the first two; gradkit stands there twice, with its
hyperparameters as constants (``jit(tx.apply)``) and as data (the transform is an argument: one
compilation for every learning rate). torch, where it is installed, runs its fused and its foreach
step with gradients already in place.

| column | is |
|---|---|
| trace, lower, compile | seconds until a step can run, with cold caches; the smallest of a few |
| step | median time of a step, over turns |
| of ... | that time over the peer's, the median over turns: below 1 is faster than the peer |
| GB/s | the bytes that a step cannot avoid, over its time |
| of copy | that over the bandwidth of a copy of 33.5 million numbers, which takes its turn too |

The bytes that a step of AdamW cannot avoid are 28 a parameter: it reads θ g m v and writes θ m v.
A clip by the norm takes 4 more, to read g for its norm.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from rich.console import Console
from rich.table import Table

import gradkit as gk

try:
    import torch
except ImportError:  # the rows stand without it
    torch = None  # type: ignore[assignment]

PEERS = ("optax", "torch fused", "torch foreach")
TOTAL_STEPS, WARMUP = 10_000, 100


# ---- what is measured: trees and optimizers ------------------------------------------------------


def large(quick: bool) -> dict[str, tuple[int, ...]]:
    """Eight matrices, 33.5 million parameters: memory bandwidth."""
    side = 128 if quick else 2048
    return {f"matrix_{i}": (side, side) for i in range(8)}


def transformer(quick: bool) -> dict[str, tuple[int, ...]]:
    """Twelve layers of width 256 and an embedding: 11.6 million parameters in 146 leaves."""
    layers, d, vocabulary = (2, 32, 256) if quick else (12, 256, 8192)
    shapes: dict[str, tuple[int, ...]] = {"embedding": (vocabulary, d), "norm/scale": (d,)}
    for i in range(layers):
        for name, fan_in, fan_out in (
            ("qkv", d, 3 * d),
            ("out", d, d),
            ("up", d, 4 * d),
            ("down", 4 * d, d),
        ):
            shapes |= {
                f"layer_{i}/{name}/kernel": (fan_in, fan_out),
                f"layer_{i}/{name}/bias": (fan_out,),
            }
        shapes |= {f"layer_{i}/norm_{k}/{part}": (d,) for k in (1, 2) for part in ("scale", "bias")}
    return shapes


def small(quick: bool) -> dict[str, tuple[int, ...]]:
    """A thousand vectors of 64: tracing, compiling, and what a leaf costs."""
    return {f"vector_{i}": (64,) for i in range(50 if quick else 1000)}


SIZES = {"large": large, "transformer": transformer, "small": small}


class Entry(NamedTuple):
    """An optimizer in three libraries, and the bytes a parameter costs in the best of them."""

    bytes_per_parameter: float
    gradkit: Callable[[], Any]
    optax: Callable[[], Any]
    torch: Callable[..., Any] | None = None  # (parameters, fused, foreach) -> step
    period: int = (
        1  # calls of which one does the whole work: a turn is a multiple of it, a step its mean
    )


def torch_step(
    kind: str, clip: bool = False, schedule: bool = False, **options: Any
) -> Callable[..., Any]:
    """torch's step: the clip of the gradients in place, the optimizer, the schedule's clock."""

    def make(parameters: list[Any], **how: bool) -> Callable[[], None]:
        optimizer = getattr(torch.optim, kind)(parameters, **options, **how)
        rate = optax.warmup_cosine_decay_schedule(0.0, 1.0, WARMUP, TOTAL_STEPS)
        factors = (
            [float(factor) for factor in np.asarray(rate(jnp.arange(TOTAL_STEPS)))]
            if schedule
            else []
        )
        scheduler = (
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: factors[min(step, TOTAL_STEPS - 1)]
            )
            if schedule
            else None
        )

        def step() -> None:
            if clip:
                torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()

        return step

    return make


OPTIMIZERS = {
    "adamw": Entry(
        28,
        lambda: gk.adamw(1e-3, weight_decay=0.01),
        lambda: optax.adamw(1e-3, weight_decay=0.01),
        torch_step("AdamW", lr=1e-3, weight_decay=0.01),
    ),
    "clip+adamw": Entry(
        32,
        lambda: gk.chain(
            gk.clip_by_global_norm(1.0),
            gk.adamw(
                gk.warmup_cosine_decay_schedule(0.0, 1e-3, WARMUP, TOTAL_STEPS), weight_decay=0.01
            ),
        ),
        lambda: optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(
                optax.warmup_cosine_decay_schedule(0.0, 1e-3, WARMUP, TOTAL_STEPS),
                weight_decay=0.01,
            ),
        ),
        torch_step("AdamW", clip=True, schedule=True, lr=1e-3, weight_decay=0.01),
    ),
    "sgd momentum": Entry(
        20,
        lambda: gk.sgd(1e-3, momentum=0.9),
        lambda: optax.sgd(1e-3, momentum=0.9),
        torch_step("SGD", lr=1e-3, momentum=0.9),
    ),
    "accumulate 8": Entry(  # read g and the sum, write the sum; an eighth of AdamW
        12 + 28 / 8,
        lambda: gk.MultiSteps(gk.adamw(1e-3), 8),
        lambda: optax.MultiSteps(optax.adamw(1e-3), 8).gradient_transformation(),
        period=8,
    ),
    "apply_if_finite": Entry(
        32,
        lambda: gk.apply_if_finite(gk.adamw(1e-3), 5),
        lambda: optax.apply_if_finite(optax.adamw(1e-3), 5),
    ),
    "guard": Entry(
        44, lambda: gk.guard(gk.adamw(1e-3), 5), lambda: optax.apply_if_finite(optax.adamw(1e-3), 5)
    ),
    "adafactor": Entry(16, lambda: gk.adafactor(1e-3), lambda: optax.adafactor(1e-3)),
    "lion": Entry(20, lambda: gk.lion(1e-3), lambda: optax.lion(1e-3)),
    "lamb": Entry(28, lambda: gk.lamb(1e-3), lambda: optax.lamb(1e-3)),
    "schedule-free": Entry(
        28,
        lambda: gk.schedule_free_adamw(1e-3),
        lambda: optax.contrib.schedule_free_adamw(1e-3),
    ),
    "schedule-free sgd": Entry(
        20, lambda: gk.schedule_free_sgd(1e-3), lambda: optax.contrib.schedule_free_sgd(1e-3)
    ),
    "adadelta": Entry(28, lambda: gk.adadelta(1e-3), lambda: optax.adadelta(1e-3)),
    "madgrad": Entry(32, lambda: gk.madgrad(1e-3), lambda: optax.contrib.madgrad(1e-3)),
    "dadapt_adamw": Entry(44, lambda: gk.dadapt_adamw(), lambda: optax.contrib.dadapt_adamw()),
    "dog": Entry(24, lambda: gk.dog(), lambda: optax.contrib.dog()),
    "apply_every 4": Entry(
        20,
        lambda: gk.chain(gk.apply_every(4), gk.sgd(1e-3)),
        lambda: optax.chain(optax.apply_every(4), optax.sgd(1e-3)),
        period=4,
    ),
    "muon": Entry(20, lambda: gk.muon(0.02), lambda: optax.contrib.muon(0.02)),
    "muon gram": Entry(20, lambda: gk.muon(0.02, method="gram"), lambda: optax.contrib.muon(0.02)),
}
CORE = ("adamw", "clip+adamw", "sgd momentum")


# ---- the contenders ------------------------------------------------------------------------------


class Contender(NamedTuple):
    """One side of the comparison.

    A name, the seconds its preparation took, a function that runs n steps and waits for them, and
    the parameters as they are now.
    """

    name: str
    preparation: dict[str, float]
    run: Callable[[int], None]
    parameters: Callable[[], list[np.ndarray]]


def prepare(
    function: Callable[..., Any], arguments: tuple[Any, ...], repeats: int
) -> tuple[Any, dict[str, float]]:
    """Trace, lower and compile with cold caches; the smallest time of each: noise only adds."""
    times: dict[str, list[float]] = {"trace": [], "lower": [], "compile": []}
    for turn in range(repeats):
        jax.clear_caches()
        jitted = jax.jit(function, donate_argnums=(0, 1))
        start = time.perf_counter()
        traced = jitted.trace(*arguments)
        after_trace = time.perf_counter()
        lowered = traced.lower()
        times["trace"].append(after_trace - start)
        times["lower"].append(time.perf_counter() - after_trace)
        if turn == repeats - 1:
            start = time.perf_counter()
            compiled = lowered.compile()
            times["compile"].append(time.perf_counter() - start)
    return compiled, {name: min(values) for name, values in times.items()}


def jax_contender(
    name: str,
    function: Callable[..., Any],
    init: Callable[..., Any],
    params: Any,
    grads: Any,
    rest: tuple[Any, ...],
    repeats: int,
) -> Contender:
    params = jax.tree.map(jnp.array, params)
    carried = [
        params,
        jax.tree.map(jnp.array, init(params)),
    ]  # copies: some of optax's states hold the parameters themselves, which are donated
    compiled, preparation = prepare(function, (*carried, grads, *rest), repeats)

    def run(steps: int) -> None:
        for _ in range(steps):
            carried[:] = compiled(*carried, grads, *rest)
        jax.block_until_ready(carried)

    return Contender(
        name, preparation, run, lambda: [np.asarray(leaf) for leaf in jax.tree.leaves(carried[0])]
    )


def torch_contender(
    name: str, make: Callable[..., Any], params: Any, grads: Any, device: str
) -> Contender:
    parameters = [
        torch.nn.Parameter(torch.tensor(np.asarray(leaf), device=device))
        for leaf in jax.tree.leaves(params)
    ]
    for parameter, grad in zip(parameters, jax.tree.leaves(grads), strict=True):
        parameter.grad = torch.tensor(np.asarray(grad), device=device)
    step = make(parameters, **{name.split()[1]: True})

    def run(steps: int) -> None:
        for _ in range(steps):
            step()
        if device != "cpu":
            torch.cuda.synchronize()

    return Contender(
        name, {}, run, lambda: [parameter.detach().cpu().numpy() for parameter in parameters]
    )


def contenders(
    entry: Entry, params: Any, grads: Any, repeats: int, peers: tuple[str, ...]
) -> list[Contender]:
    ours, theirs = entry.gradkit(), entry.optax()
    data = jax.tree.map(jnp.asarray, ours)  # on the device once, as make_step keeps it

    def optax_step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = theirs.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    result = [
        jax_contender(
            "gradkit",
            lambda params, state, grads: ours.apply(params, state, grads),
            ours.init,
            params,
            grads,
            (),
            repeats,
        ),
        jax_contender(
            "gradkit data",
            lambda params, state, grads, tx: tx.apply(params, state, grads),
            ours.init,
            params,
            grads,
            (data,),
            repeats,
        ),
    ]
    if "optax" in peers:
        result.append(jax_contender("optax", optax_step, theirs.init, params, grads, (), repeats))
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    if (
        torch is not None
        and entry.torch is not None
        and (device == "cpu" or torch.cuda.is_available())
    ):
        result += [
            torch_contender(peer, entry.torch, params, grads, device)
            for peer in peers
            if peer.startswith("torch")
        ]
    return result


# ---- measuring -----------------------------------------------------------------------------------


def seconds(run: Callable[[int], None], steps: int) -> float:
    start = time.perf_counter()
    run(steps)
    return (time.perf_counter() - start) / steps


def alternate(
    runs: list[Callable[[int], None]], repeats: int, turn: float, period: int
) -> list[list[float]]:
    """The seconds of a step of each, turn by turn.

    A turn lasts about ``turn`` seconds, and the order goes round.
    """
    for run in runs:
        run(2 * period)
    steps = [period * max(1, round(turn / seconds(run, period) / period)) for run in runs]
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats):
        for i in range(len(runs)):
            which = (i + repeat) % len(runs)
            times[which].append(seconds(runs[which], steps[which]))
    return times


def copying(numbers: int) -> Callable[[int], None]:
    """−x into a buffer that exists, 8 bytes a number: what a pass over memory costs here."""
    copy = jax.jit(lambda source, target: -source, donate_argnums=1, keep_unused=True)
    source, target = jnp.ones(numbers), [jnp.zeros(numbers)]

    def run(steps: int) -> None:
        for _ in range(steps):
            target[0] = copy(source, target[0])
        target[0].block_until_ready()

    return run


def median_ratio(times: list[float], of: list[float]) -> float:
    """The median over turns of a / b: what slows a turn slows both, and divides out."""
    return statistics.median(a / b for a, b in zip(times, of, strict=True))


def check_agreement(rivals: list[Contender], rtol: float = 1e-4) -> None:
    """The contenders do the same work: from one start, after as many steps, the same parameters."""
    reference = rivals[0].parameters()
    for rival in rivals[1:]:
        for ours, theirs in zip(reference, rival.parameters(), strict=True):
            np.testing.assert_allclose(
                ours,
                theirs,
                rtol=rtol,
                atol=1e-5,
                err_msg=f"gradkit and {rival.name} did different work",
            )


def measure(
    size: str, optimizer: str, repeats: int, quick: bool, peers: tuple[str, ...]
) -> list[dict[str, Any]]:
    """One row for each contender."""
    entry, shapes, rng = OPTIMIZERS[optimizer], SIZES[size](quick), np.random.default_rng(0)

    def draw(spread: float) -> dict[str, Any]:
        return {
            name: jnp.asarray(spread * rng.standard_normal(shape, np.float32))
            for name, shape in shapes.items()
        }

    params, grads = draw(0.02), draw(0.01)
    count = sum(leaf.size for leaf in params.values())
    rivals = contenders(entry, params, grads, 1 if quick else 3, peers)
    for rival in rivals:
        rival.run(3 * entry.period)
    check_agreement(rivals)
    numbers = 1 << (16 if quick else 25)
    *times, copy_times = alternate(
        [*(rival.run for rival in rivals), copying(numbers)],
        repeats,
        0.01 if quick else 0.1,
        entry.period,
    )
    copy = 8 * numbers / statistics.median(copy_times)
    by_name = {rival.name: values for rival, values in zip(rivals, times, strict=True)}
    rows = []
    for rival, values in zip(rivals, times, strict=True):
        median = statistics.median(values)
        rate = entry.bytes_per_parameter * count / median
        rows.append(
            {
                "size": size,
                "optimizer": optimizer,
                "contender": rival.name,
                "leaves": len(shapes),
                "parameters": count,
                **rival.preparation,
                "step": median,
                "ratio": {
                    peer: median_ratio(values, by_name[peer]) for peer in PEERS if peer in by_name
                },
                "bytes_per_parameter": entry.bytes_per_parameter,
                "gb_per_s": rate / 1e9,
                "copy_gb_per_s": copy / 1e9,
                "of_copy": rate / copy,
            }
        )
    return rows


# ---- telling -------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    device = jax.devices()[0]
    packages = {dist.name.lower(): dist.version for dist in metadata.distributions()}
    installed = {
        name: packages[name]
        for name in ("gradkit", "jax", "jaxlib", "optax", "torch", "numpy")
        if name in packages
    }
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device.device_kind if device.platform != "cpu" else processor(),
        "platform": device.platform,
        "threads": threads(),
        "python": platform.python_version(),
        **installed,
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return names[0] if names else platform.machine()


def threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table(rows: list[dict[str, Any]], about: dict[str, Any]) -> Table:
    copy = statistics.median(row["copy_gb_per_s"] for row in rows)
    caption = (
        f"{about['device']}, {about['threads']} threads; jax {about['jax']}, "
        f"optax {about['optax']}; a copy runs at {copy:.1f} GB/s"
    )
    result = Table(title="One optimizer step", caption=caption)
    for name in ("size", "optimizer", "contender"):
        result.add_column(name, no_wrap=True)
    for name in (
        "trace s",
        "lower s",
        "compile s",
        "step ms",
        *(f"of {peer}" for peer in PEERS),
        "GB/s",
        "of copy",
    ):
        result.add_column(name, justify="right")
    for i, row in enumerate(rows):
        last = i + 1 == len(rows) or (rows[i + 1]["size"], rows[i + 1]["optimizer"]) != (
            row["size"],
            row["optimizer"],
        )
        result.add_row(
            row["size"],
            row["optimizer"],
            row["contender"],
            *(f"{row[part]:.3f}" if part in row else "" for part in ("trace", "lower", "compile")),
            f"{1e3 * row['step']:.3f}",
            *(
                f"{row['ratio'][peer]:.2f}"
                if peer in row["ratio"] and peer != row["contender"]
                else ""
                for peer in PEERS
            ),
            f"{row['gb_per_s']:.1f}",
            f"{row['of_copy']:.0%}",
            end_section=last,
        )
    return result


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step",
        description="One optimizer step: gradkit against optax and torch.",
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(CORE))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--repeats", type=int, default=15, help="turns of each contender (default 15)"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small trees and three turns: to see that it runs, not how fast",
    )
    options = parser.parse_args(arguments)
    repeats = min(options.repeats, 3) if options.quick else options.repeats
    if torch is not None:
        torch.set_num_threads(threads())
    about, rows = machine(), list[dict[str, Any]]()
    console = Console(width=None if Console().is_terminal else 160)
    for size in options.sizes:
        for optimizer in options.optimizers:
            began = time.perf_counter()
            rows += measure(size, optimizer, repeats, options.quick, tuple(options.peers))
            console.print(
                f"{size}, {optimizer}: measured in {time.perf_counter() - began:.0f} s",
                highlight=False,
            )
            if options.json:  # after every group, so that a run cut short is not lost
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(
                    json.dumps({"machine": about, "quick": options.quick, "rows": rows}, indent=1)
                    + "\n"
                )
    console.print(table(rows, about))
    return rows


if __name__ == "__main__":
    main()
