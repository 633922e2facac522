"""Schedule-free learning: an average of the weights in the place of momentum and of a falling rate.

| | |
|---|---|
| y = (1 − b1) z + b1 x | where the gradient is taken: the parameters in training |
| z ← z + inner(g(y)) | the steps of the inner optimizer |
| x ← (1 − c) x + c z | their average, to evaluate with: ``eval_params`` |

c_t = w_t / Σ w with w_t = (max_{s ≤ t} α_s)^r, so that a warmup weighs little. Only z is remembered: x = (y − (1 − b1) z) / b1.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import rate_at
from gradkit._transform import Transform, chain, transform
from gradkit.averages.accumulators import latest
from gradkit.averages.ema import ema
from gradkit.schedules.warmup import warmup_constant_schedule
from gradkit.stores import IDENTITY, as_store, encoded
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def schedule_free(
    base_optimizer: Any,
    learning_rate: Any,
    b1: Any = 0.9,
    weight_lr_power: Any = 2.0,
    state_dtype: Any = None,
) -> Rule:
    """Make an optimizer schedule-free. Switch its own momentum off.

    **Rule** z' = z + inner(g); c = w / Σw, w = (max α)^r; x' = x + c (z' − x); u = (1 − b1)(z' − z) + b1 c (z' − x),
    which leads from y to y' = (1 − b1) z' + b1 x'.

    **Remembers** ``inner``, what the inner optimizer remembers, ``z`` (float32 or wider, or ``state_dtype``; 4 bytes per parameter), and the numbers ``b1``
    (that y was made with), ``weight_sum`` and ``max_lr``, float32 or wider. Needs params. The last link of the chain. ``eval_params`` gives x.

    Args:
      base_optimizer: the inner optimizer, with its rate.
      learning_rate: that rate once more, for the weights: α ≥ 0, a number, a schedule, any function of the step.
      b1: b1 in (0, 1], a number or a schedule; 1 trains the average itself.
      weight_lr_power: r, how much the rate counts in the weights; 0 weighs all steps alike.
      state_dtype: dtype of z, or a `Store`.

    Raises:
      ValueError: b1 outside (0, 1], a negative rate, no params, an inner optimizer that keeps evaluation weights itself.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.schedule_free(gk.sgd(1.0), 1.0, b1=0.5)
      >>> y, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(2):  # z is −1, then −2; x is −1, then their mean; y is half-way between
      ...     y, state = tx.apply(y, state, jnp.ones(1))
      >>> assert y[0] == -1.75 and gk.eval_params(tx, state, y)[0] == -1.5

    **Differs** from optax: the weights start at the rate of step 0, where the inner optimizer is, not at that of step 1; their sum is float32 also for bfloat16
    parameters, where it would stop at 256; z is kept wide; b1 may move.

    Reference: Defazio et al. 2024, https://arxiv.org/abs/2405.15682, algorithm 1.
    """
    if not callable(learning_rate):
        check.non_negative(learning_rate=learning_rate)
    check.part(base_optimizer=base_optimizer)
    check.positive(b1=b1)
    check.probability(b1=b1)
    check.finite(weight_lr_power=weight_lr_power)
    rule, store = base_optimizer.rule, as_store(state_dtype)
    if rule.evaluate is not None:
        check.fail(
            "needs an inner transform without evaluation weights",
            repr(base_optimizer),
            "Keep one average of the weights",
            path="base_optimizer",
        )

    def init(params: Any, *, leaves: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        # Before the first step y is x: b1 = 1 says so without a copy of the parameters.
        numbers = {
            "b1": jnp.ones((), dtype),
            "weight_sum": jnp.zeros((), dtype),
            "max_lr": jnp.zeros((), dtype),
        }
        return {"inner": rule.init(params, leaves=leaves), "z": encoded(store, params), **numbers}

    def update(updates: Any, memory: Any, params: Any, *, step: Any, **extras: Any) -> Any:
        check.params(params)
        old, weight_sum = memory["b1"], memory["weight_sum"]
        max_lr = jnp.maximum(memory["max_lr"], jnp.asarray(rate_at(learning_rate, step), old.dtype))
        weight = max_lr ** tree.factor_like(weight_lr_power, max_lr)
        weight_sum = weight_sum + weight
        share, now = numerics.divide(weight, weight_sum), jnp.asarray(b1, old.dtype)
        updates, kept = rule.update(updates, memory["inner"], params, step=step, **extras)
        # An update that needs no memory costs less to form twice than to write; and the barrier keeps XLA from finding it in z' − z.
        twice = store is IDENTITY and not jax.tree.leaves(kept)
        # y' − y = (1 − b1) (z' − z) + b1 c (z' − x) + (b1 − b1_old) (x − z) with x − z = (y − z) / b1_old: small differences, each once.
        across = (now * share + old - now) / old
        along = 1 - now + now * share - across

        def leaf(u: Any, y: Any, stored: Any) -> Any:
            like = tree.factor_like
            z = jnp.where(step == 0, y, store.decode(stored, y))
            stored = lax.optimization_barrier(store.encode(z + u))
            new = store.decode(stored, y)
            return like(along, y) * (u if twice else new - z) + like(across, y) * (new - y), stored

        updates, z = tree.map(leaf, updates, params, memory["z"], outputs=2)
        return updates, {
            "inner": kept,
            "z": z,
            "b1": now,
            "weight_sum": weight_sum,
            "max_lr": max_lr,
        }

    def evaluate(memory: Any, params: Any) -> Any:
        return tree.map(
            lambda y, stored: _average(y, store.decode(stored, y), memory["b1"]),
            tree.widen(params),
            memory["z"],
        )

    return Rule(init, update, evaluate=evaluate)


def _average(y: Any, z: Any, b1: Any) -> Any:
    """The x that y lies b1 of the way to, from z."""
    return (y - tree.factor_like(1 - b1, y) * z) / tree.factor_like(b1, y)


@transform
def schedule_free_sgd(
    learning_rate: Any = 1.0,
    warmup_steps: int | None = None,
    b1: Any = 0.9,
    weight_decay: Any = None,
    weight_lr_power: Any = 2.0,
    state_dtype: Any = None,
) -> Transform:
    """Schedule-free gradient descent.

    **Rule** ``schedule_free`` around −α (g + λ y), α rising on a line from 0 over the warmup.

    **Remembers** as ``schedule_free``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number, or, without a warmup, a schedule.
      warmup_steps: steps until α is reached, ≥ 1, or None.
      b1: b1 in (0, 1].
      weight_decay: λ, taken times α, or None.
      weight_lr_power: r, see ``schedule_free``.
      state_dtype: dtype of z, or a `Store`.

    Raises:
      ValueError: as ``schedule_free``; ``warmup_steps`` < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.schedule_free_sgd(1.0, b1=0.5)
      >>> y, state = tx.apply(jnp.zeros(1), tx.init(jnp.zeros(1)), jnp.ones(1))
      >>> assert y[0] == -1.0

    Reference: Defazio et al. 2024, https://arxiv.org/abs/2405.15682.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    decay = () if weight_decay is None else (add_decayed_weights(weight_decay),)
    return schedule_free(
        chain(*decay, scale_by_learning_rate(rate)), rate, b1, weight_lr_power, state_dtype
    )


@transform
def schedule_free_adamw(
    learning_rate: Any = 0.0025,
    warmup_steps: int | None = None,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    weight_lr_power: Any = 2.0,
    state_dtype: Any = None,
) -> Transform:
    """Schedule-free AdamW.

    **Rule** ``schedule_free`` around −α (g / (√G + ε) + λ y), G the debiased ema of g² with b2, α rising on a line from 0 over the warmup.

    **Remembers** as ``schedule_free``, and G: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0, a number, or, without a warmup, a schedule.
      warmup_steps: steps until α is reached, ≥ 1, or None.
      b1: b1 in (0, 1]: the average does what momentum does in AdamW.
      b2: decay of G, in [0, 1).
      eps: ε ≥ 0.
      weight_decay: λ, taken times α, at y.
      weight_lr_power: r, see ``schedule_free``.
      state_dtype: dtype of z, or a `Store`.

    Raises:
      ValueError: as ``schedule_free``; ``b2`` outside [0, 1), ``eps`` < 0, ``warmup_steps`` < 1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.schedule_free_adamw(0.5)
      >>> y, state = tx.apply(jnp.zeros(2), tx.init(jnp.zeros(2)), jnp.array([3.0, -7.0]))
      >>> assert jnp.allclose(y, jnp.array([-0.5, 0.5]))

    Reference: Defazio et al. 2024, https://arxiv.org/abs/2405.15682, algorithm 1.
    """
    check.decay(b2=b2)
    check.non_negative(eps=eps)
    rate = _warmed_up(learning_rate, warmup_steps)
    inner = chain(
        precondition(latest(), ema(b2), eps),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(inner, rate, b1, weight_lr_power, state_dtype)


def _warmed_up(learning_rate: Any, warmup_steps: int | None) -> Any:
    if warmup_steps is None:
        return learning_rate
    check.integer(1, warmup_steps=warmup_steps)
    if callable(learning_rate):
        check.fail(
            "needs a number for a learning rate with a warmup",
            repr(learning_rate),
            "Put the warmup in the schedule",
            path="learning_rate",
            error=TypeError,
        )
    return warmup_constant_schedule(0.0, learning_rate, warmup_steps)


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """The weights to evaluate with, found by the fields of the state: ``eval_params`` without the transform.

    **Rule** x = (y − (1 − b1) z) / b1.

    Args:
      state: of a ``schedule_free``, or of what it is in; z stored by a `Store` other than a dtype needs ``eval_params``.
      params: y, the parameters in training.

    Raises:
      ValueError: a state without z and b1.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0), gk.schedule_free_sgd(1.0, b1=0.5))
      >>> y, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(2):
      ...     y, state = tx.apply(y, state, jnp.ones(1))
      >>> assert gk.schedule_free_eval_params(state, y)[0] == -1.5
    """

    def is_memory(part: Any) -> bool:
        return isinstance(part, dict) and {"z", "b1", "weight_sum"} <= part.keys()

    found = [part for part in jax.tree.leaves(state, is_leaf=is_memory) if is_memory(part)]
    if len(found) != 1:
        got = f"{len(found)} such memories in a {type(state).__name__}"
        check.fail(
            "schedule_free_eval_params needs the state of one schedule_free",
            got,
            "Pass what its init or update returned",
            path="state",
        )
    (memory,) = found

    def leaf(y: Any, z: Any) -> Any:
        wide = numerics.cast(y, numerics.wide(jax.dtypes.result_type(y)))
        return numerics.cast(
            _average(wide, numerics.cast(z, wide.dtype), memory["b1"]), jax.dtypes.result_type(y)
        )

    return jax.tree.map(leaf, params, memory["z"])
