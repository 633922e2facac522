"""SGD: the gradient, or a sum of gradients, times −α.

Δθ_t = −α_t · M_t        no ψ

| | M_t | φ |
|---|---|---|
| ``sgd`` | g_t | ``latest`` |
| ``sgd(momentum=ρ)`` | g_t + ρ M_{t−1} (heavy ball) | ``trace`` |
| ``sgd(momentum=ρ, nesterov=True)`` | g_t + ρ H_t, with H the heavy ball's M | ``trace`` |
"""

from gradkit import _checks as check
from gradkit._chain import chain, identity
from gradkit._transform import Transform, transform
from gradkit.averages.accumulators import trace
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.typing import Rate, StoreLike


@transform
def sgd(
    learning_rate: Rate,
    momentum: Rate | None = None,
    nesterov: bool = False,
    accumulator_dtype: StoreLike = None,
) -> Transform:
    """Stochastic gradient descent (SGD), optionally with heavy-ball or Nesterov momentum.

    **Update rule** Δθ = −α M, with M = g, or M_t = H_t = g_t + ρ H_{t−1} (``momentum=ρ``), or
    M_t = g_t + ρ H_t (``nesterov``). The batch decides whether this is batch, mini-batch or
    stochastic gradient descent; the update rule is the same.

    **State** ``trace`` with momentum: H, 4 bytes per parameter. None without.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      momentum: ρ in [0, 1], usually 0.9, or None.
      nesterov: use Nesterov's form of momentum.
      accumulator_dtype: Dtype of the trace's state, or a `Store`; by default that of the update, at
        least float32.

    Raises:
      ValueError: a negative learning rate, or a momentum outside [0, 1].

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sgd(0.1, momentum=0.5)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(tx.update(jnp.ones(1), state)[0], -0.1 * (1 + 0.5))

    **Differs from the paper** (Polyak 1964; also Goodfellow et al. 2016, section 8.3.2), whose
    Δθ_t = ρ Δθ_{t−1} − α g_t is another rule when α changes: there each gradient keeps the learning
    rate of its own step. That form is ``chain(scale_by_learning_rate(α), trace(ρ))``.

    Reference: Robbins and Monro 1951; Polyak 1964; Sutskever et al. 2013,
    https://proceedings.mlr.press/v28/sutskever13.html.
    """
    if momentum is not None:
        check.probability(momentum=momentum)
    moment = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(moment, scale_by_learning_rate(learning_rate))
