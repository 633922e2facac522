"""Kill a training run at random moments: ``python -m benchmarks.crash --kills 100``.

A child process trains a small network and saves with Orbax every few steps, asynchronously or not
by the toss of a coin. The parent ends it with SIGKILL, starts it again, and so on until the run is
complete; then the next run begins, until there were enough kills. Half of the kills come at a
random time after the start of the child, in the restore or the training, the others while a
checkpoint is being written. Every run must end bitwise like one that nobody disturbed: parameters,
state (with the count of the schedule, an average of the weights and the random key of the noise in
it), the key of the dropout, and a checksum of the order of the data.

The children are forked from a server that has imported JAX and has not used it, and load programs
that the first of them has compiled, so that they train and save most of the time.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pickle
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import serialize_executable

import gradkit as gk

SAMPLES, BATCH, WIDTH = 96, 16, 16


class Plan(NamedTuple):
    """What a child is told."""

    directory: str  # of the checkpoints, and of what the run ends with
    programs: str  # the file of the compiled programs
    devices: int
    asynchronous: bool
    steps: int
    every: int


class Run(NamedTuple):
    """Everything that a checkpoint holds."""

    params: Any
    state: Any
    key: Any  # the data of the key that draws the dropout
    order: Any  # a checksum of the indices of all batches so far


# ---- the child ----------------------------------------------------------------------------------


def optimizer(steps: int) -> gk.Transform:
    schedule = gk.warmup_cosine_decay_schedule(0.0, 3e-2, warmup_steps=4, decay_steps=steps)
    return gk.chain(
        gk.clip_by_global_norm(1.0),
        gk.add_noise(0.01, 0.55, 1),
        gk.adamw(schedule, weight_decay=0.01, mask=gk.by_rank(2)),
        gk.weight_ema(0.98),
    )


def loss_fn(params: Any, key: Any, x: Any, y: Any) -> Any:
    hidden = jnp.tanh(x @ params["w1"] + params["b1"][None])
    hidden = jnp.where(jax.random.bernoulli(key, 0.9, hidden.shape), hidden, 0.0)
    return jnp.mean((hidden @ params["w2"] - y) ** 2)


def compiled(plan: Plan) -> tuple[Any, Any]:
    """The functions ``start() -> run`` and ``advance(run, t) -> run``."""
    mesh = jax.make_mesh((plan.devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    rows, whole = (jax.sharding.NamedSharding(mesh, s) for s in (spec("data"), spec()))
    batches, tx = gk.data.epochs(SAMPLES, BATCH, key=7), optimizer(plan.steps)
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(SAMPLES, 8)).astype(np.float32) for _ in range(2)]
    w1, w2 = (rng.normal(size=s).astype(np.float32) / 4 for s in ((8, WIDTH), (WIDTH, 8)))

    def start() -> Run:
        params = {"w1": jnp.asarray(w1), "b1": jnp.zeros(WIDTH), "w2": jnp.asarray(w2)}
        key = jax.random.key_data(jax.random.key(3))
        return Run(params, tx.init(params), key, jnp.uint32(0))

    def advance(run: Run, t: Any) -> Run:
        indices = batches(t)
        x, y = (jax.lax.with_sharding_constraint(jnp.asarray(a)[indices], rows) for a in data)
        key, now = jax.random.split(jax.random.wrap_key_data(run.key))
        grads = jax.grad(loss_fn)(run.params, now, x, y)
        params, state = tx.apply(run.params, run.state, grads)
        order = run.order * jnp.uint32(31) + indices.astype(jnp.uint32) @ jnp.arange(
            1, BATCH + 1, dtype=jnp.uint32
        )
        return Run(params, state, jax.random.key_data(key), order)

    run = jax.eval_shape(start)
    spread = jax.tree.map(
        lambda x: rows if x.ndim and not x.shape[0] % 8 else whole, run
    )  # weights and moments over the devices
    t = jax.ShapeDtypeStruct((), jnp.int32)
    first = jax.jit(start, out_shardings=spread).lower()
    loop = jax.jit(
        advance, in_shardings=(spread, whole), out_shardings=spread, donate_argnums=0
    ).lower(run, t)
    return first.compile(), loop.compile()


def loaded(plan: Plan) -> tuple[Any, Any]:
    """The compiled functions, which the first child has written."""
    path = Path(plan.programs)
    if not path.exists():
        programs = [serialize_executable.serialize(program) for program in compiled(plan)]
        path.write_bytes(pickle.dumps(programs))
    programs = pickle.loads(path.read_bytes())
    devices = jax.devices()
    start, advance = (
        serialize_executable.deserialize_and_load(*program, execution_devices=devices)
        for program in programs
    )
    return start, advance


def train(plan: Plan) -> None:
    """Go on from the newest complete checkpoint, to the end."""
    flags = f"--xla_force_host_platform_device_count={plan.devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    jax.config.update("jax_platforms", "cpu")
    # A kill could cut an entry short, and a program that came from the cache is not saved whole.
    jax.config.update("jax_enable_compilation_cache", False)
    start, advance = loaded(plan)
    options = ocp.CheckpointManagerOptions(
        max_to_keep=3,
        save_interval_steps=plan.every,
        enable_async_checkpointing=plan.asynchronous,
        cleanup_tmp_directories=True,
    )
    run, done = start(), 0
    with ocp.CheckpointManager(Path(plan.directory) / "steps", options=options) as manager:
        newest = manager.latest_step()
        if newest is not None:
            target = jax.tree.map(ocp.utils.to_shape_dtype_struct, run)
            run, done = manager.restore(newest, args=ocp.args.StandardRestore(target)), newest
        for t in range(done, plan.steps):
            run = advance(run, np.int32(t))
            if manager.should_save(t + 1):
                manager.save(t + 1, args=ocp.args.StandardSave(run))
    final = Path(plan.directory) / "final.npz"
    np.savez(final.with_suffix(".tmp.npz"), *jax.tree.leaves(run))
    final.with_suffix(".tmp.npz").rename(final)


# ---- the parent ---------------------------------------------------------------------------------


def half_written(directory: Path) -> set[tuple[str, int]]:
    """The checkpoints that are being written, or were when their process ended."""
    found = set()
    for entry in directory.glob("steps/*"):
        with contextlib.suppress(FileNotFoundError):  # it is complete by now
            if "tmp" in entry.name:
                found.add((entry.name, entry.stat().st_ino))
    return found


def kill_once(context: Any, plan: Plan, rng: random.Random, longest: float) -> str:
    """Start a child and kill it at a random moment.

    Returns:
      ``"finished"`` where it was too late; else ``"saving"`` or ``"elsewhere"``.
    """
    directory = Path(plan.directory)
    plan = plan._replace(asynchronous=rng.random() < 0.5)
    child = context.Process(target=train, args=(plan,))
    before = half_written(directory)  # by children that were killed: this one finds them too
    child.start()
    started = time.monotonic()
    if rng.random() < 0.5:
        child.join(rng.uniform(0.0, longest))
    else:
        wanted, seen = rng.randint(1, 3), set()
        while child.is_alive() and len(seen) < wanted:
            seen |= half_written(directory) - before
            time.sleep(0.001)
            if time.monotonic() - started > 120:
                raise TimeoutError("the child saves nothing")
        time.sleep(rng.choice([0.0, rng.uniform(0.0, 0.01)]))
    child.kill()
    child.join()
    if child.exitcode == 0:
        return "finished"
    assert child.exitcode == -9, f"the child ended with {child.exitcode}"
    return "saving" if half_written(directory) - before else "elsewhere"


def finish(context: Any, plan: Plan) -> dict[str, bytes]:
    """Let a child train to the end; return what the run ended with."""
    child = context.Process(target=train, args=(plan,))
    child.start()
    child.join()
    assert child.exitcode == 0, f"the child ended with {child.exitcode}"
    return ending(plan)


def ending(plan: Plan) -> dict[str, bytes]:
    with np.load(Path(plan.directory) / "final.npz") as file:
        return {name: file[name].tobytes() for name in file.files}


def crash(kills: int, *, devices: int, steps: int, every: int, seed: int) -> dict[str, Any]:
    """Run to the end under kills, again and again until there were enough of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.crash"])
    rng, counts = random.Random(seed), {"saving": 0, "elsewhere": 0}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        programs = str(place / "programs")
        plan = Plan(str(place / "whole"), programs, devices, True, steps, every)
        Path(plan.directory).mkdir()
        expected = finish(context, plan)
        runs, longest = 0, 2.0
        while sum(counts.values()) < kills:
            shutil.rmtree(place / "killed", ignore_errors=True)
            (place / "killed").mkdir()
            plan = plan._replace(directory=str(place / "killed"))
            while sum(counts.values()) < kills:
                how = kill_once(context, plan, rng, longest)
                if how == "finished":
                    break
                counts[how] += 1
            found = ending(plan) if (place / "killed/final.npz").exists() else finish(context, plan)
            assert found == expected, "the run ended otherwise"
            runs += 1
    return {
        "devices": devices,
        "kills": sum(counts.values()),
        "while saving": counts["saving"],
        "runs": runs,
        "steps": steps,
        "arrays": len(expected),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--kills", type=int, default=100, help="for each row (default: 100)")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=60, help="of a run (default: 60)")
    parser.add_argument("--every", type=int, default=3, help="steps between saves (default: 3)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    # A child reads the module of its parent's program again.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::RuntimeWarning:runpy")
    for devices in options.devices:
        row = crash(
            options.kills,
            devices=devices,
            steps=options.steps,
            every=options.every,
            seed=options.seed,
        )
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
