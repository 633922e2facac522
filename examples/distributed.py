"""Many devices: data-parallel training with ZeRO-1 on one, eight, or several processes.

    python examples/distributed.py                             # the devices that there are
    python examples/distributed.py --devices 8                 # eight virtual devices of the CPU
    python examples/distributed.py --devices 4 --processes 2   # two processes of four devices each

Each device computes the gradient of its share of a batch, and keeps its share of AdamW's state. All
three runs end with the same weights, up to the order in which sums are rounded.

On several machines, start the file once on each:

    python examples/distributed.py --coordinator host0:1234 --processes 32 --process 0

On a TPU pod, or under Slurm or Open MPI, ``--cluster`` is enough: JAX finds the others. Nothing
else changes, because a step is written for global arrays. What a pod would need beyond this file:
files that each process reads by itself (``gk.data.epochs(..., shard=)`` gives it its rows), a
checkpoint that all processes write together (Orbax), and for a model that does not fit on one
device parameters that are sharded too, which ``gk.state_sharding`` then follows.
"""

# %% The command line, and the processes of a run on this machine.

import argparse
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gradkit as gk

P = PartitionSpec
BATCH, WIDTH = 128, 512


def launch(options, arguments) -> None:
    """Start the processes on this machine, and show what the first one prints."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, __file__, *arguments, "--coordinator", coordinator, "--process"]
    started = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.DEVNULL if i else None)
        for i in range(options.processes)
    ]
    try:
        codes = [process.wait() for process in started]
    finally:
        for process in started:
            process.kill()
    if any(codes):
        raise SystemExit(f"The processes ended with the codes {codes}")


def connect(options) -> None:
    """Join the other processes. It must come before anything that uses a device."""
    if options.devices:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.devices)
    if options.coordinator:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    elif options.cluster:
        jax.distributed.initialize()


# %% The data and the network.


def load() -> tuple[np.ndarray, ...]:
    """Return training and test images and labels."""
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    x, x_test, y, y_test = train_test_split(
        images, labels, train_size=1408, random_state=0, stratify=labels
    )
    return x, y, x_test, y_test


def network(key):
    """Return the weights of a network with two hidden layers."""
    sizes, he = (64, WIDTH, WIDTH, 10), gk.initializers.he()
    keys = jax.random.split(key, 3)
    return {
        f"layer_{i}": {"kernel": he(keys[i], sizes[i : i + 2]), "bias": jnp.zeros(sizes[i + 1])}
        for i in range(3)
    }


def logits(params, x):
    for i in range(3):
        layer = params[f"layer_{i}"]
        x = x @ layer["kernel"] + layer["bias"]
        x = jax.nn.relu(x) if i < 2 else x
    return x


def loss_fn(params, x, y):
    return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(logits(params, x), y))


@jax.jit
def accuracy(params, x, y):
    return jnp.mean(jnp.argmax(logits(params, x), axis=1) == y)


def optimizer(steps: int):
    rate = gk.warmup_cosine_decay_schedule(0.0, 2e-3, warmup_steps=10, decay_steps=steps)
    return gk.chain(
        gk.clip_by_global_norm(1.0), gk.adamw(rate, weight_decay=0.05, mask=gk.by_rank(2))
    )


# %% Where everything is: parameters on each device, batches and state in shares.


def compiled(tx, mesh, shapes, *, spread: bool):
    """Return the step, the shardings of the state and of a batch, and what each device keeps."""
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    state = gk.state_sharding(tx, shapes, mesh, axis="data" if spread else None)
    step = gk.make_step(
        loss_fn,
        tx,
        in_shardings=(whole, state, rows, rows),
        out_shardings=(whole, state, whole),
    )
    batch = jax.ShapeDtypeStruct((BATCH, 64), jnp.float32), jax.ShapeDtypeStruct((BATCH,), "int32")
    placed = gk.inspect.placement(step, shapes, jax.eval_shape(tx.init, shapes), *batch)
    return step, state, rows, placed


def train(tx, mesh, data, steps: int):
    """Return the weights, the loss of each step, and what each device keeps."""
    shapes = jax.eval_shape(network, jax.random.key(0))
    step, spread, rows, placed = compiled(tx, mesh, shapes, spread=True)
    # A share of two moments, and what is too small to be spread.
    params_bytes = 4 * gk.tree.size(shapes)
    placed.assert_placed(state_bytes=2 * params_bytes // mesh.size + 1024)
    params = jax.jit(network, out_shardings=NamedSharding(mesh, P()))(jax.random.key(0))
    state = jax.jit(tx.init, out_shardings=spread)(params)  # never in one place
    share = (jax.process_index(), jax.process_count())
    batches = gk.data.epochs(len(data[0]), BATCH, key=0, shard=share)
    losses = []
    for t in range(steps):
        local = batches.take(data, t)  # the rows of this process
        x, y = (jax.make_array_from_process_local_data(rows, each) for each in local)
        params, state, loss = step(params, state, x, y)
        losses.append(float(loss))  # waits for the step: virtual devices share their threads
    return params, losses, placed


# %% What a pod would hold, from shapes alone: no device is needed.


def on_a_pod(tx) -> Table:
    """Return the bytes on each device for a model of 1.3 billion parameters."""
    kernels = {"attention": (24, 2048, 8192), "mlp": (24, 2048, 16384), "table": (50257, 2048)}
    shapes = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in kernels.items()}
    state = jax.eval_shape(tx.init, shapes)
    table = Table(title=f"AdamW for {gk.tree.size(shapes) / 1e9:.1f}e9 parameters, in float32")
    for column in ("devices", "parameters", "state", "state with ZeRO-1"):
        table.add_column(column, justify="right")

    def is_shape(value) -> bool:
        return type(value) is tuple

    def gigabytes(axis):
        shardings = gk.state_sharding(tx, shapes, mesh, axis=axis)
        shards = jax.tree.map(lambda x, where: where.shard_shape(x.shape), state, shardings)
        sizes = (4 * np.prod(shape, dtype=float) for shape in jax.tree.leaves(shards, is_shape))
        return f"{sum(sizes) / 1e9:.2f} GB"

    for count in (1, 8, 64, 512):
        mesh = AbstractMesh((count,), ("data",), axis_types=(AxisType.Auto,))
        params = f"{4 * gk.tree.size(shapes) / 1e9:.2f} GB"
        table.add_row(str(count), params, gigabytes(None), gigabytes("data"))
    return table


# %% The results.


def report(losses, placed, replicated) -> Table:
    table = Table(title=f"{jax.process_count()} process(es), {jax.device_count()} device(s)")
    for column in ("on each device", "replicated state", "ZeRO-1"):
        table.add_column(column, justify="left" if column == "on each device" else "right")
    for name in ("param_bytes", "state_bytes", "temp_bytes"):
        table.add_row(name, *(f"{getattr(each, name):,}" for each in (replicated, placed)))
    for kind in sorted(replicated.collectives | placed.collectives):
        counts = (each.collectives.get(kind, 0) for each in (replicated, placed))
        table.add_row(kind, *map(str, counts))
    table.add_row("loss, first and last", "", f"{losses[0]:.4f}, {losses[-1]:.4f}")
    return table


def draw(losses, placed, replicated, path: Path) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(losses)
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    names = ("replicated\nstate", "ZeRO-1")
    bottom = np.zeros(2)
    for field, label in (("param_bytes", "parameters"), ("state_bytes", "state")):
        sizes = np.array([getattr(each, field) for each in (replicated, placed)]) / 1e6
        right.bar(names, sizes, bottom=bottom, width=0.5, label=label)
        bottom += sizes
    right.set(ylabel=f"MB on each of {placed.devices} devices")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


# %% The program.


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description="Train on any number of devices and processes.")
    parser.add_argument("--devices", type=int, help="virtual devices of the CPU in each process")
    parser.add_argument("--processes", type=int, default=1, help="how many processes there are")
    parser.add_argument("--coordinator", help="host:port of the first process")
    parser.add_argument("--process", type=int, help="the number of this process, from 0")
    parser.add_argument("--cluster", action="store_true", help="let JAX find the other processes")
    parser.add_argument("--steps", type=int, default=330, help="updates (default: 330)")
    parser.add_argument("--quick", action="store_true", help="12 updates")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/distributed.png"),
        help="path of the picture (default: out/distributed.png)",
    )
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    if options.processes > 1 and options.coordinator is None and not options.cluster:
        launch(options, arguments)
        return
    connect(options)
    steps = 12 if options.quick else options.steps
    tx = optimizer(steps)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    x, y, x_test, y_test = load()
    params, losses, placed = train(tx, mesh, (x, y), steps)
    shapes = jax.eval_shape(network, jax.random.key(0))
    *_, replicated = compiled(tx, mesh, shapes, spread=False)
    score = float(accuracy(params, x_test, y_test))  # the other processes compute it too
    if jax.process_index() == 0:
        console = Console(width=None if Console().is_terminal else 100)
        console.print(report(losses, placed, replicated))
        console.print(
            f"Test accuracy: {score:.1%}. Norm of the weights: {gk.tree.norm(params):.5f}"
        )
        console.print(on_a_pod(tx))
        draw(losses, placed, replicated, options.out)
        console.print(f"Picture: {options.out}")


if __name__ == "__main__":
    main()
