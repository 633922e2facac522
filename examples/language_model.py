"""Language model: a character transformer trained with AdamW, Lion, Muon and SOAP.

    python examples/language_model.py            # Python's own documentation; two minutes
    python examples/language_model.py --quick    # a few seconds, too short to learn words

The text is that of ``help("topics")``, which ships with Python. The learning rate of each optimizer
is the best of a sweep, one vmapped program. Then each trains the same weights on the same batches,
with gradient accumulation, a clip and a warmup–cosine schedule, and the one that ends with the
lowest loss writes some text.
"""

# %% The optimizers, as functions of the learning rate, and the rates of the sweep.

import argparse
import time
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from flax import nnx
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

import gradkit as gk
import gradkit.nn as gnn

HIDDEN = gk.by_rank(2) & ~gk.by_path("*embed*", "head.*")  # the matrices between the layers
OPTIMIZERS = {
    "AdamW": (
        lambda rate: gk.adamw(rate, b2=0.95, weight_decay=0.1, mask=gk.by_rank(2)),
        (3e-3, 1e-2, 3e-2),
    ),
    "Lion": (
        lambda rate: gk.lion(rate, weight_decay=0.3, mask=gk.by_rank(2)),
        (1e-3, 3e-3, 1e-2),
    ),
    "Muon": (
        lambda rate: gk.muon(
            rate, weight_decay=0.1, consistent_rms=0.2, muon_weight_dimension_numbers=HIDDEN
        ),
        (1e-2, 3e-2, 6e-2),
    ),
    "SOAP": (
        lambda rate: gk.soap(rate, one_sided=True, weight_decay=0.1, mask=gk.by_rank(2)),
        (3e-3, 1e-2, 3e-2),
    ),
}


class Settings(NamedTuple):
    """How large the model is, and how long it trains."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    context: int = 64
    batch: int = 8  # sequences in a micro-batch
    micro: int = 2  # micro-batches in an update
    sweep: int = 80  # updates of the sweep
    updates: int = 800
    every: int = 40  # updates between two evaluations
    letters: int = 400


QUICK = Settings(
    width=16, layers=1, heads=2, context=16, batch=4, sweep=4, updates=12, every=4, letters=40
)


def build(name: str, rate, updates: int, micro: int):
    """The optimizer of a run; ``rate`` may be an array, for vmap."""
    schedule = gk.warmup_cosine_decay_schedule(0.0, rate, max(updates // 10, 1), updates, 0.0)
    optimizer = OPTIMIZERS[name][0](schedule)
    return gk.MultiSteps(gk.chain(gk.clip_by_global_norm(1.0), optimizer), micro)


# %% The text, as numbers, and batches of windows.


class Text:
    def __init__(self, settings: Settings):
        text = "\n\n".join(topics[name] for name in sorted(topics))
        self.letters = sorted(set(text))
        numbers = np.searchsorted(self.letters, list(text)).astype(np.int32)
        self.train, self.test = np.split(numbers, [len(numbers) * 9 // 10])
        self.settings = settings

    def batches(self, count: int, seed: int = 0, part=None) -> np.ndarray:
        """``count`` batches of windows one longer than the context: inputs and what follows."""
        part, length = self.train if part is None else part, self.settings.context + 1
        starts = np.random.default_rng(seed).integers(
            len(part) - length, size=(count, self.settings.batch, 1)
        )
        return part[starts + np.arange(length)]

    def read(self, numbers) -> str:
        return "".join(self.letters[n] for n in numbers)


# %% The model, in Flax NNX with gradkit's RMSNorm. The norm comes before each layer.


class Block(nnx.Module):
    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.norm_attention, self.norm_mlp = (gnn.RMSNorm(width, rngs=rngs) for _ in range(2))
        self.qkv = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, use_bias=False, rngs=rngs)

    def __call__(self, x):
        q, k, v = jnp.split(self.qkv(self.norm_attention(x)), 3, axis=-1)
        heads = (x.reshape(*x.shape[:-1], self.heads, -1) for x in (q, k, v))
        x += self.out(jax.nn.dot_product_attention(*heads, is_causal=True).reshape(x.shape))
        return x + self.down(nnx.gelu(self.up(self.norm_mlp(x))))


class Transformer(nnx.Module):
    def __init__(self, letters: int, settings: Settings, *, rngs: nnx.Rngs):
        width = settings.width
        self.embedding = nnx.Embed(letters, width, rngs=rngs)
        self.position_embedding = nnx.Embed(settings.context, width, rngs=rngs)
        self.blocks = nnx.List(
            [Block(width, settings.heads, rngs=rngs) for _ in range(settings.layers)]
        )
        self.norm = gnn.RMSNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, letters, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        positions = jnp.arange(tokens.shape[-1])[None]
        x = self.embedding(tokens) + self.position_embedding(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def loss_of(graph):
    """The loss as a function of the parameters: nats per character."""

    def loss(params, tokens):
        logits = nnx.merge(graph, params)(tokens[:, :-1])
        return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]))

    return loss


# %% The sweep. A transform is data: mapped over its learning rate it is a population.


def sweep(name: str, loss, start, batches, test, micro: int) -> dict[float, float]:
    """The loss on held-out text for every rate of an optimizer, from one compiled program."""
    rates = OPTIMIZERS[name][1]
    build_at = partial(build, name, updates=len(batches) // micro, micro=micro)

    def train(tx):
        def step(carry, tokens):
            params, state = carry
            return tx.apply(params, state, jax.grad(loss)(params, tokens)), None

        (params, _), _ = jax.lax.scan(step, (start, tx.init(start)), batches)
        return loss(params, test)

    many = build_at(jnp.asarray(rates))
    losses = jax.jit(jax.vmap(train, in_axes=(many.vmap_axes(),)))(many)
    return dict(zip(rates, losses.tolist(), strict=True))


# %% Training with the best rate. The clock runs from the first update and stops for evaluations.


class Run(NamedTuple):
    rate: float
    swept: dict  # rate -> loss of the sweep
    params: nnx.State
    curve: list  # (updates, seconds, loss on held-out text)


def train(name: str, rate: float, swept, loss, start, batches, test, settings, advance) -> Run:
    tx = build(name, rate, settings.updates, settings.micro)
    step, evaluate = gk.make_step(loss, tx), jax.jit(loss)

    def fresh():  # a step donates its inputs
        params = jax.tree.map(jnp.copy, start)
        return params, tx.init(params)

    jax.block_until_ready(step(*fresh(), batches[0]))  # compiles
    params, state = fresh()
    curve, seconds = [(0, 0.0, float(evaluate(params, test)))], 0.0
    for first in range(0, settings.updates, settings.every):
        last = min(first + settings.every, settings.updates)
        began = time.perf_counter()
        for tokens in batches[first * settings.micro : last * settings.micro]:
            params, state, _ = step(params, state, tokens)
        jax.block_until_ready(params)
        seconds += time.perf_counter() - began
        curve.append((last, seconds, float(evaluate(params, test))))
        advance(last - first)
    return Run(rate, swept, params, curve)


# %% Writing: each letter is drawn from the model's distribution, given those before it.


def write(graph, params, text: Text, prompt: str, letters: int, key) -> str:
    context = text.settings.context
    window = np.searchsorted(text.letters, list(prompt.rjust(context)[-context:]))

    def letter(window, key):
        logits = nnx.merge(graph, params)(window[None])[0, -1]
        drawn = jax.random.categorical(key, logits / 0.7)
        return jnp.append(window[1:], drawn), drawn

    keys = jax.random.split(key, letters)
    _, drawn = jax.jit(lambda w: jax.lax.scan(letter, w, keys))(jnp.asarray(window))
    return prompt + text.read(drawn)


# %% The results: steps and seconds to a loss that all but the slowest reach, and the curves.


def reached(run: Run, target: float):
    """The updates and seconds at which the curve crosses the target; None where it does not."""
    for (n0, s0, high), (n1, s1, low) in zip(run.curve, run.curve[1:], strict=False):
        if low <= target < high:
            share = (high - target) / (high - low)
            return round(n0 + share * (n1 - n0)), s0 + share * (s1 - s0)
    return None


def table(runs, target: float) -> Table:
    title = f"Loss on held-out text in nats per character; the target is {target:.2f}"
    result = Table("optimizer", title=title)
    for column in ("rate", "sweep", "loss", "steps to target", "seconds", "ms/step"):
        result.add_column(column, justify="right")
    for name, run in runs.items():
        steps, seconds, loss = run.curve[-1]
        found = reached(run, target)
        result.add_row(
            name,
            f"{run.rate:g}",
            " ".join(f"{loss:.2f}" for loss in run.swept.values()),
            f"{loss:.3f}",
            *([f"{found[0]:,}", f"{found[1]:.1f}"] if found else ["", ""]),
            f"{1000 * seconds / steps:.0f}",
        )
    return result


def draw(runs, target: float, path: Path) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for name, run in runs.items():
        steps, seconds, losses = zip(*run.curve, strict=True)
        axes[0].plot(run.swept.keys(), run.swept.values(), marker="o", label=name)
        axes[1].plot(steps, losses, linewidth=1.8, label=name)
        axes[2].plot(seconds, losses, linewidth=1.8, label=name)
    axes[0].set(xscale="log", xlabel="learning rate", ylabel="loss of the sweep")
    axes[1].set(xlabel="steps", ylabel="loss on held-out text")
    axes[2].set(xlabel="seconds")
    for axis in axes[1:]:
        axis.axhline(target, color="0.7", linewidth=1, zorder=0)
        axis.set_ylim(top=min(3.0, max(losses)))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


# %% The program.


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description="Train a character transformer.")
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=OPTIMIZERS)
    parser.add_argument("--updates", type=int, help="updates of each optimizer (default: 800)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, for a few steps")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/language_model.png"),
        help="path of the picture (default: out/language_model.png)",
    )
    options = parser.parse_args(arguments)
    settings = QUICK if options.quick else Settings()
    settings = settings._replace(updates=options.updates or settings.updates)
    console = Console(width=None if Console().is_terminal else 120)

    text = Text(settings)
    graph, start = nnx.split(Transformer(len(text.letters), settings, rngs=nnx.Rngs(0)))
    loss, micro = loss_of(graph), settings.micro
    batches = jnp.asarray(text.batches(settings.updates * micro))
    test = jnp.concatenate(text.batches(4, seed=1, part=text.test))
    size = sum(leaf.size for leaf in jax.tree.leaves(start))
    console.print(
        f"{size:,} parameters, {len(text.train):,} characters, {len(text.letters)} letters"
    )
    runs = {}
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console
    ) as progress:
        work = {name: settings.sweep * len(OPTIMIZERS[name][1]) for name in options.optimizers}
        task = progress.add_task("", total=sum(work.values()) + settings.updates * len(work))
        for name, swept_updates in work.items():
            progress.update(task, description=f"{name} sweep")
            swept = sweep(name, loss, start, batches[: settings.sweep * micro], test, micro)
            progress.update(task, description=f"{name:>11}", advance=swept_updates)
            rate = min(swept, key=swept.get)
            advance = partial(progress.advance, task)
            runs[name] = train(name, rate, swept, loss, start, batches, test, settings, advance)

    last = {name: run.curve[-1][2] for name, run in runs.items()}
    target = sorted(last.values())[-2:][0] + 0.02  # what all but the slowest reach
    console.print(table(runs, target))
    draw(runs, target, options.out)
    console.print(f"Curves: {options.out}")
    best = min(last, key=last.get)
    console.print(f"\n{best} writes:", style="bold")
    sample = write(graph, runs[best].params, text, "The ", settings.letters, jax.random.key(0))
    console.print(sample, markup=False, highlight=False)


if __name__ == "__main__":
    main()
