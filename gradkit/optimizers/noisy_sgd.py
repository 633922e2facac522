"""Noisy sgd."""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.transforms.noise import add_noise
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def noisy_sgd(
    learning_rate: Any,
    eta: Any = 0.01,
    gamma: Any = 0.55,
    key: Any = None,
    *,
    seed: int | None = None,
) -> Transform:
    """Gradient descent on noisy gradients.

    **Rule** Δθ = −α (g + σ_t n), n ~ N(0, 1), σ_t² = η / t^γ, t = step + 1.

    **Remembers** ``add_noise.key``: the data of the next random key.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      eta: η ≥ 0, the variance at the first step.
      gamma: γ ≥ 0, how fast it fades.
      key: a seed or a random key.
      seed: the older name of ``key``.

    Raises:
      ValueError: arguments out of range, neither or both of ``key`` and ``seed``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.noisy_sgd(0.5, eta=4.0, key=0)
      >>> updates, _ = tx.update(jnp.ones(10_000), tx.init(jnp.zeros(10_000)))
      >>> assert abs(float(jnp.mean(updates)) + 0.5) < 0.05 and abs(float(jnp.std(updates)) - 1.0) < 0.05

    **Differs** from optax: a key is required.

    Reference: Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807.
    """
    if (key is None) == (seed is None):
        check.fail(
            "needs a key",
            "none" if key is None else "a key and a seed",
            "Pass key=0 or key=jax.random.key(0)",
            path="key",
        )
    return chain(
        add_noise(eta, gamma, seed if key is None else key), scale_by_learning_rate(learning_rate)
    )
