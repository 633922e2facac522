"""The indices of a batch from ``gk.data.epochs`` beside ``jax.random.permutation``.

    python -m benchmarks.batches

Both compute the indices of 128 samples inside a compiled loop over steps, which folds the epoch
into the key; they take turns. The table has the median time of a step over the turns.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console
from rich.table import Table

import gradkit as gk

BATCH, TURNS = 128, 7


def sorting(n: int):
    """The batch of a step out of a permutation of all samples, drawn at every step."""
    per_epoch = n // BATCH

    def batch(step):
        order = jax.random.permutation(jax.random.fold_in(jax.random.key(0), step // per_epoch), n)
        return lax.dynamic_slice(order, (step % per_epoch * BATCH,), (BATCH,))

    return batch


def loop(batch, steps: int):
    def body(total, step):
        return total ^ batch(step).astype(jnp.uint32).sum(), None

    return jax.jit(lambda first: lax.scan(body, jnp.uint32(0), first + jnp.arange(steps))[0])


def main() -> None:
    table = Table("n", "epochs", "permutation", title=f"Microseconds for {BATCH} indices")
    for n, few in ((1000, 1000), (16_384, 100), (1_000_000, 2)):
        counts = (1000, few)
        rivals = (gk.data.epochs(n, BATCH, 0), sorting(n))
        runs = [loop(batch, steps) for batch, steps in zip(rivals, counts, strict=True)]
        times = np.empty((TURNS, len(runs)))
        for turn in (0, *range(TURNS)):  # the first one compiles
            for i, (run, steps) in enumerate(zip(runs, counts, strict=True)):
                start = time.perf_counter()
                jax.block_until_ready(run(turn))
                times[turn, i] = 1e6 * (time.perf_counter() - start) / steps
        table.add_row(f"{n:,}", *(f"{median:,.1f}" for median in np.median(times, axis=0)))
    Console().print(table)


if __name__ == "__main__":
    main()
