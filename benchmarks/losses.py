"""Memory of the cross entropy of a large vocabulary, value and gradients, beside optax's.

    python benchmarks/losses.py

What XLA allocates beside arguments and results, by ``compiled.memory_analysis()``: no timing.
"""

import jax
import jax.numpy as jnp
import optax

import gradkit as gk

TOKENS, FEATURES, VOCABULARY = 4096, 512, 50_257


def temporary(loss, *arguments) -> float:
    """Megabytes of temporary arrays of the loss and its gradients by all floating arguments."""
    floating = [i for i, a in enumerate(arguments) if jnp.issubdtype(a.dtype, jnp.floating)]
    compiled = jax.jit(jax.value_and_grad(loss, argnums=floating)).lower(*arguments).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 2**20


def measured(tokens=TOKENS, features=FEATURES, vocabulary=VOCABULARY, dtype=jnp.bfloat16):
    """Megabytes by the name of the loss, from logits and from hidden states."""
    labels = jax.ShapeDtypeStruct((tokens,), jnp.int32)
    logits = jax.ShapeDtypeStruct((tokens, vocabulary), dtype)
    hidden = jax.ShapeDtypeStruct((tokens, features), dtype)
    kernel = jax.ShapeDtypeStruct((features, vocabulary), dtype)
    name = "softmax_cross_entropy_with_integer_labels"
    ours, theirs = getattr(gk, name), getattr(optax, name)
    found = {"logits": 2**-20 * tokens * vocabulary * jnp.dtype(dtype).itemsize}
    for key, loss in (("gradkit", ours), ("optax", theirs)):
        found[f"{key}, from logits"] = temporary(
            lambda x, y, f=loss: f(x, y).mean(), logits, labels
        )
        found[f"{key}, from hidden states"] = temporary(
            lambda h, w, y, f=loss: f(h @ w, y).mean(), hidden, kernel, labels
        )
    for size in (1024, 4096, 16384):
        chunked = gk.losses.linear_softmax_cross_entropy
        found[f"gradkit, chunks of {size}"] = temporary(
            lambda h, w, y, n=size, f=chunked: f(h, w, y, chunk_size=n).mean(),
            hidden, kernel, labels,
        )  # fmt: skip
    return found


if __name__ == "__main__":
    for dtype in (jnp.float32, jnp.bfloat16):
        print(f"{TOKENS} tokens, {FEATURES} features, {VOCABULARY} classes, {dtype.__name__}")
        for name, size in measured(dtype=dtype).items():
            print(f"  {name:32} {size:8.1f} MB")
