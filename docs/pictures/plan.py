"""Draw docs/assets/plan.png: ``python docs/pictures/plan.py``.

The bytes of a training step of the 12-layer transformer of ``benchmarks.step``, from shapes.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import gradkit as gk

mpl.use("agg")
from matplotlib import pyplot
from PIL import Image

LAYERS, WIDTH, WORDS, LENGTH, BATCH = 12, 256, 8192, 32, 2


def shapes() -> dict:
    """Three groups: the embedding, the attention and the two-layer networks of all layers."""

    def layers(**kernels: tuple[int, int]) -> list:
        layer = {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, s in kernels.items()}
        return [layer] * LAYERS

    return {
        "embedding": jax.ShapeDtypeStruct((WORDS, WIDTH), jnp.float32),
        "attention": layers(qkv=(WIDTH, 3 * WIDTH), out=(WIDTH, WIDTH)),
        "mlp": layers(up=(WIDTH, 4 * WIDTH), down=(4 * WIDTH, WIDTH)),
    }


def loss_fn(params, tokens):
    """The cross entropy of the next token."""
    x = params["embedding"][tokens]
    for attention, mlp in zip(params["attention"], params["mlp"], strict=True):
        q, k, v = jnp.split(jax.nn.standardize(x) @ attention["qkv"], 3, axis=-1)
        q, k, v = (y.reshape(BATCH, LENGTH, 4, -1) for y in (q, k, v))
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + mixed.reshape(x.shape) @ attention["out"]
        x = x + jax.nn.gelu(jax.nn.standardize(x) @ mlp["up"]) @ mlp["down"]
    logits = x @ params["embedding"].T
    losses = gk.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:])
    return losses.mean()


def main() -> None:
    tx = gk.where(gk.by_path("embedding"), gk.adafactor(1e-3), gk.adamw(1e-3))
    plan = gk.plan(tx, shapes(), loss_fn, jax.ShapeDtypeStruct((BATCH, LENGTH), jnp.int32))
    print(plan)
    figure = plan.plot().figure
    figure.set_dpi(110)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(64)
    picture.save(Path(__file__).parents[1] / "assets" / "plan.png", optimize=True)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
