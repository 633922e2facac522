"""Noisy SGD: Δθ_t = −α_t (g_t + σ_t n), with Gaussian noise n of variance σ_t² = η / t^γ.

φ = ``latest`` of the noisy gradient, no ψ.
"""

from typing import cast

from gradkit import _checks as check
from gradkit._chain import chain
from gradkit._transform import Transform, transform
from gradkit.transforms.noise import add_noise
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Key, Rate


@transform
def noisy_sgd(
    learning_rate: Rate,
    eta: Rate = 0.01,
    gamma: Rate = 0.55,
    key: Key | None = None,
    *,
    seed: Key | None = None,
) -> Transform:
    """Gradient descent with decaying Gaussian noise added to the gradient.

    **Update rule** Δθ = −α (g + σ_t n), n ~ N(0, 1), σ_t² = η / t^γ, t = step + 1.

    **State** ``add_noise.key``: the data of the next random key.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      eta: η ≥ 0, the variance at the first step.
      gamma: γ ≥ 0, the power in the decay of the variance.
      key: a seed or a random key.
      seed: the former name of ``key``.

    Raises:
      ValueError: an argument out of range, or neither or both of ``key`` and ``seed``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.noisy_sgd(0.5, eta=4.0, key=0)
      >>> updates, _ = tx.update(jnp.ones(10_000), tx.init(jnp.zeros(10_000)))
      >>> mean, deviation = float(jnp.mean(updates)), float(jnp.std(updates))
      >>> assert abs(mean + 0.5) < 0.05 and abs(deviation - 1.0) < 0.05

    **Differs from optax**: a key is required.

    Reference: Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807.
    """
    if key is None and seed is None:
        check.refuse(
            "key=None cannot start the noise",
            expected="a seed or a random key",
            fix="Pass key=0 or key=jax.random.key(0)",
        )
    if key is not None and seed is not None:
        check.refuse("key and seed are both given", expected="one of them", fix="Leave out seed")
    return chain(
        add_noise(eta, gamma, cast(Key, seed if key is None else key)),
        scale_by_learning_rate(learning_rate),
    )
