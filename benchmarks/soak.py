"""A soak: many training steps under faults, beside a replay of the accepted steps in float64.

    python -m benchmarks.soak            # 100,000 steps under each guard
    python -m benchmarks.soak 20000      # fewer

Clipping, AdamW and a cosine schedule train a linear model under ``guard`` and under
``apply_if_finite``. Batches have storms of NaN and infinity, spikes of the loss, and now and then a
shape or a dtype that is wrong; the state makes round trips to the host. Asserted are:

* every fault of the data is skipped and counted once, and every wrong call raises once, by a
  message of gradkit where gradkit is called, and changes nothing;
* the clocks count what they should: calls outside of the guard, accepted steps inside;
* weights and both averages of AdamW agree with a replay in NumPy float64 that sees the accepted
  steps alone;
* the number of live buffers and of compiled programs is the same from the first tenth to the end.

``tests/core/test_soak.py`` runs 2,000 steps of the same.
"""

import gc
import pickle
import resource
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import gradkit as gk

BATCH, FEATURES = 8, 4
RATE, DECAY, B1, B2, EPS, MAX_NORM = 0.01, 0.1, 0.9, 0.999, 1e-8, 1.0
LARGE = 1e4  # the norm of a gradient that guard skips


class Outcome(NamedTuple):
    """What a soak did, and how far it is from the replay, relative to the largest number."""

    steps: int
    skipped: int
    spikes: int
    refused: int
    round_trips: int
    errors: dict[str, float]
    buffers: int
    megabytes: float


class Replay:
    """Clipping, AdamW and the schedule in NumPy float64."""

    def __init__(self, steps: int) -> None:
        self.w = {"w": np.zeros(FEATURES), "b": np.zeros(())}
        self.m = {name: np.zeros_like(w) for name, w in self.w.items()}
        self.v = {name: np.zeros_like(w) for name, w in self.w.items()}
        self.steps, self.count = steps, 0

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        x, y = x.astype(np.float64), y.astype(np.float64)
        error = 2 * (x @ self.w["w"] + self.w["b"] - y) / len(x)
        grads = {"w": x.T @ error, "b": error.sum()}
        norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
        rate = RATE * (1 + np.cos(np.pi * min(self.count / self.steps, 1))) / 2
        self.count += 1
        for name, raw in grads.items():
            g = raw * min(1.0, MAX_NORM / norm)
            self.m[name] = B1 * self.m[name] + (1 - B1) * g
            self.v[name] = B2 * self.v[name] + (1 - B2) * g**2
            m = self.m[name] / (1 - B1**self.count)
            v = self.v[name] / (1 - B2**self.count)
            self.w[name] = self.w[name] - rate * (m / (np.sqrt(v) + EPS) + DECAY * self.w[name])


def loss_fn(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def guarded(kind: str, steps: int) -> Any:
    schedule = gk.cosine_decay_schedule(RATE, steps)
    tx = gk.chain(
        gk.clip_by_global_norm(MAX_NORM), gk.adamw(schedule, B1, B2, EPS, weight_decay=DECAY)
    )
    if kind == "guard":
        return gk.guard(tx, max_norm=LARGE)
    return gk.apply_if_finite(tx, 10**9)


def wrong_calls(tx: Any, step: Any, params: Any, state: Any, x: Any, y: Any) -> list[Any]:
    """Calls that raise: by gradkit's refusals, but for the last, which fails in the loss."""
    shape = {**params, "w": jnp.zeros(FEATURES + 1)}
    dtype = {**params, "w": jnp.zeros(FEATURES, int)}
    return [
        lambda: tx.update(shape, state, params),
        lambda: tx.update(dtype, state, params),
        lambda: tx.update({"w": params["w"]}, state, params),
        lambda: tx.update(params, params, state),
        lambda: step(params, state, x),
        lambda: step(params, None, x, y),
        lambda: step(params, state, x[:, :-1], y),
    ]


def raised(call: Any) -> Exception | None:
    """The exception of a call."""
    try:
        call()
    except Exception as error:
        return error
    return None


def run(kind: str, steps: int, *, seed: int = 0, every: int = 100) -> Outcome:
    """Train under faults; AssertionError where something is not as it should be.

    Args:
      kind: ``"guard"`` or ``"apply_if_finite"``.
      steps: the number of steps.
      seed: of the data and the faults.
      every: after how many steps there are wrong calls, and a round trip to the host.
    """
    rng = np.random.default_rng(seed)
    target = rng.normal(size=FEATURES)
    tx, replay = guarded(kind, steps), Replay(steps)
    step = gk.make_step(loss_fn, tx)
    params = {"w": jnp.zeros(FEATURES), "b": jnp.zeros(())}
    state = tx.init(params)
    storm = skipped = spikes = refused = trips = 0
    buffers: list[int] = []
    programs: list[int] = []
    for i in range(steps):
        x = rng.normal(size=(BATCH, FEATURES)).astype(np.float32)
        y = (x @ target + 0.1 * rng.normal(size=BATCH)).astype(np.float32)
        if not storm and rng.random() < 0.005:
            storm = int(rng.integers(1, 50))
        if storm:
            storm -= 1
            x[rng.integers(BATCH), rng.integers(FEATURES)] = rng.choice([np.nan, np.inf, -np.inf])
        spike = not storm and rng.random() < 0.01
        if spike:
            y *= np.float32(1e8)
        bad = not np.isfinite(x).all() or (spike and kind == "guard")
        skipped, spikes = skipped + bad, spikes + spike
        params, state, _ = step(params, state, x, y)
        assert bool(state.inner[kind]["last_skipped"]) == bad, f"step {i}"
        if not bad:
            replay.step(x, y)
        if i % every == every - 1:
            before = jax.device_get((params, state))
            for j, call in enumerate(wrong_calls(tx, step, params, state, x, y)):
                error = raised(call)
                assert hasattr(error, "gradkit") or (error and j == 6), f"{j}: {error!r}"
                refused += 1
            same = jax.tree.map(np.array_equal, before, jax.device_get((params, state)))
            assert all(jax.tree.leaves(same)), "a refused call changed the state"
            params, state = jax.tree.map(jnp.asarray, pickle.loads(pickle.dumps(before)))
            trips += 1
            if trips % max(steps // every // 10, 1) == 0:
                gc.collect()  # the tracebacks of the refusals
                buffers.append(len(jax.live_arrays()))
                programs.append(step._run._cache_size())
    assert len(set(buffers)) == 1, f"live buffers: {buffers}"
    assert len(set(programs)) == 1, f"compiled programs: {programs}"
    inner = state.inner[kind]["inner"]
    assert int(state.step) == steps
    assert int(inner.step) == replay.count == steps - skipped
    assert int(state.inner[kind]["skipped"]) == skipped
    adam = inner.inner["scale_by_adam"]
    errors = {}
    for part, exact in (("moment", replay.m), ("preconditioner", replay.v)):
        found = adam[part]["average"]
        errors[part] = max(_difference(found[name], exact[name]) for name in params)
    errors["params"] = max(_difference(params[name], replay.w[name]) for name in params)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Outcome(steps, skipped, spikes, refused, trips, errors, buffers[0], megabytes)


def _difference(found: Any, exact: Any) -> float:
    found, exact = np.asarray(found, np.float64), np.asarray(exact)
    return float(np.max(np.abs(found - exact)) / np.max(np.abs(exact)))


def main(steps: int = 100_000) -> None:
    table = Table(title=f"{steps:,} steps under faults")
    names = ("", "skipped", "spikes", "wrong calls", "round trips", "live buffers", "peak MiB", "s")
    for name in (*names, "error of θ", "of m", "of v"):
        table.add_column(name, justify="right" if name else "left")
    for kind in ("guard", "apply_if_finite"):
        start = time.perf_counter()
        found = run(kind, steps)
        seconds = time.perf_counter() - start
        counts = (found.skipped, found.spikes, found.refused, found.round_trips, found.buffers)
        errors = (found.errors[name] for name in ("params", "moment", "preconditioner"))
        row = (*map("{:,}".format, counts), f"{found.megabytes:.0f}", f"{seconds:.0f}")
        table.add_row(kind, *row, *map("{:.1e}".format, errors))
    Console(width=120).print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
