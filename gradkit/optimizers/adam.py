"""The Adam family: an average of the gradient over the root of an average of its square.

    Δθ_t = −α_t · m̂_t / (√(v̂_t + ε_root) + ε)        m = ema(g; b1)        v = ema(|g|²; b2)

| | moment | metric | and then |
|---|---|---|---|
| ``adam`` | ema | ema of g² | |
| ``adamw`` | ema | ema of g² | λ θ added |
| ``nadam``, ``nadamw`` | ema, one step ahead | ema of g² | |
| ``amsgrad`` | ema | peak of the ema of g² | |
| ``adamax``, ``adamaxw`` | ema | fading peak of abs g | |

The lectures put ε under the root (``eps=0, eps_root=ε``), the paper outside (``eps``): both are arguments.
"""

from typing import Any

from gradkit import _checks as check
from gradkit._transform import Transform, chain, transform
from gradkit.averages.averages import ema, fading_peak, peak
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate


@transform
def scale_by_adam(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None, *, nesterov: bool = False) -> Transform:
    """Adam's direction, without the rate.

    **Rule** u = m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2), both debiased; 0 where the denominator is 0.

    **Remembers** ``moment.average`` and ``metric.average`` (float32 or wider; 8 bytes per parameter), and the ``log_unseen`` of each.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adam(eps=0.0)
      >>> g = jnp.array([1e-3, -50.0, 0.0])
      >>> assert jnp.allclose(tx.update(g, tx.init(g))[0], jnp.sign(g))  # the first step knows no size

    **Differs** from optax: both averages are float32 also for bfloat16 parameters; a scheduled b1 or b2 is debiased exactly.

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return precondition(ema(b1, accumulator_dtype=mu_dtype, nesterov=nesterov), ema(b2), eps, eps_root)


@transform
def adam(
    learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None, *, nesterov: bool = False
) -> Transform:
    """Adam: momentum over RMSprop, both debiased.

    **Rule** Δθ = −α m̂ / (√(v̂ + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2).

    **Remembers** ``scale_by_adam``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adam(0.5, eps=0.0)
      >>> updates, state = tx.update(jnp.full(1, 3.0), tx.init(jnp.zeros(1)))
      >>> assert jnp.allclose(updates, -0.5)
      >>> assert jnp.allclose(tx.update(jnp.zeros(1), state)[0], -0.5 * (0.27 / 0.19) / (0.008991 / 0.001999) ** 0.5)

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """
    return chain(scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov), scale_by_learning_rate(learning_rate))


@transform
def adamw(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> Transform:
    """AdamW: Adam with decoupled weight decay.

    **Rule** Δθ = −α (m̂ / (√(v̂ + ε_root) + ε) + λ θ).

    **Remembers** ``scale_by_adam``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled from the gradient, multiplied by the rate.
      mask: which leaves decay: a tree of bools, a function of params, a predicate such as ``by_rank(2)``.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adamw(0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -0.5 * (1 + 0.1 * 2))

    **Differs** from torch in a default: its weight decay is 1e-2.

    Reference: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transform
def nadam(
    learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None, *, nesterov: bool = True
) -> Transform:
    """NAdam: Adam whose moment looks one step ahead.

    **Rule** Δθ = −α m̃ / (√(v̂ + ε_root) + ε), m̃ = b1 m_t / (1 − b1^(t+1)) + (1 − b1) g_t / (1 − b1^t).

    **Remembers** ``scale_by_adam``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.nadam(1.0, b1=0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))[0], -(0.5 * 0.5 / 0.75 + 0.5 / 0.5))

    **Differs** from torch, whose b1 follows a schedule of its own (``momentum_decay``); from Dozat's algorithm 2 by a factor b2 in v̂, as optax.

    Reference: Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


@transform
def nadamw(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = True,
) -> Transform:
    """NAdam with decoupled weight decay.

    **Rule** Δθ = −α (m̃ / (√(v̂ + ε_root) + ε) + λ θ), m̃ as in ``nadam``.

    **Remembers** ``scale_by_adam``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled from the gradient, multiplied by the rate.
      mask: which leaves decay: a tree of bools, a function of params, a predicate such as ``by_rank(2)``.
      nesterov: the moment looks one step ahead.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.nadamw(1.0, b1=0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -(0.5 * 0.5 / 0.75 + 0.5 / 0.5 + 0.1 * 2))

    Reference: Dozat 2016; Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov)


@transform
def scale_by_amsgrad(
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """AMSGrad's direction, without the rate.

    **Rule** u = m̂ / (√(max_s v̂_s + ε_root) + ε), m = ema(g; b1), v = ema(|g|²; b2).

    **Remembers** ``moment.average``, ``metric.average.average`` and ``metric.peak``: 12 bytes per parameter.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      bias_correction_mu: debias the moment.
      bias_correction_nu: debias the metric before its peak is taken.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_amsgrad(b1=0.0, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 0.25  # still over √16

    **Differs** from the paper and torch: the peak is taken after debiasing, as in optax.

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps, eps_root=eps_root)
    return precondition(ema(b1, bias_correction_mu, mu_dtype), peak(ema(b2, bias_correction_nu)), eps, eps_root)


@transform
def amsgrad(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """AMSGrad: Adam whose rates never grow.

    **Rule** Δθ = −α m̂ / (√(max_s v̂_s + ε_root) + ε).

    **Remembers** ``scale_by_amsgrad``: 12 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ε_root ≥ 0, under the root (the lectures' δ); positive also to differentiate through the step.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      bias_correction_mu: debias the moment.
      bias_correction_nu: debias the metric before its peak is taken.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.amsgrad(1.0, b1=0.0, b2=0.0, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 4.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == -0.25

    Reference: Reddi et al. 2018, https://openreview.net/forum?id=ryQu7f-RZ.
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )


@transform
def scale_by_adamax(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> Transform:
    """Adamax's direction, without the rate.

    **Rule** u = m̂ / v, m = ema(g; b1) debiased, v_t = max(|g_t| + ε, b2 v_{t−1}).

    **Remembers** ``moment.average`` and ``metric.peak``: 8 bytes per parameter.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, added to |g|.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_adamax(b1=0.0, b2=0.5, eps=0.0)
      >>> _, state = tx.update(jnp.full(1, 8.0), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 0.25  # 1 / max(1, 0.5 · 8)

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    check.decay(b1=b1, b2=b2)
    check.non_negative(eps=eps)
    return precondition(ema(b1), fading_peak(b2, eps), order=1)


@transform
def adamax(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> Transform:
    """Adamax: Adam in the infinity norm.

    **Rule** Δθ = −α m̂ / v, v_t = max(|g_t| + ε, b2 v_{t−1}).

    **Remembers** ``scale_by_adamax``: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, added to |g|.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.adamax(0.5, eps=0.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, -3.0), tx.init(jnp.zeros(1)))[0], 0.5)

    Reference: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 7.1.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@transform
def adamaxw(learning_rate: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, weight_decay: Any = 1e-4, mask: Any = None) -> Transform:
    """Adamax with decoupled weight decay.

    **Rule** Δθ = −α (m̂ / v + λ θ), v_t = max(|g_t| + ε, b2 v_{t−1}).

    **Remembers** ``scale_by_adamax``: 8 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule; usually 1e-3.
      b1: decay of the moment, in [0, 1).
      b2: decay of the metric, in [0, 1).
      eps: ε ≥ 0, added to |g|.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled from the gradient, multiplied by the rate.
      mask: which leaves decay: a tree of bools, a function of params, a predicate such as ``by_rank(2)``.

    Raises:
      ValueError: a decay outside [0, 1), a negative ε or rate.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.adamaxw(0.5, eps=0.0, weight_decay=0.1), jnp.full(1, 2.0)
      >>> assert jnp.allclose(tx.update(jnp.ones(1), tx.init(w), w)[0], -0.5 * (1 + 0.1 * 2))

    Reference: Kingma and Ba 2015, section 7.1; Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    return chain(scale_by_adamax(b1, b2, eps), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
