"""Schedule-free learning: averaged weights in place of momentum and a schedule.

| | |
|---|---|
| y = (1 − b1) z + b1 x | where the gradient is taken: the parameters in training |
| z ← z + inner(g(y)) | the steps of the inner optimizer |
| x ← (1 − c) x + c z | their average, to evaluate with: see ``eval_params`` |

c_t = w_t / Σ w with w_t = (max_{s ≤ t} α_s)^r, so that a warmup weighs little. Only z is kept: x =
(y − (1 − b1) z) / b1.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import _xla as xla
from gradkit._chain import chain
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit._walk import refuse_evaluation
from gradkit.averages.accumulators import latest
from gradkit.averages.ema import ema
from gradkit.schedules.warmup import warmup_constant_schedule
from gradkit.stores import IDENTITY, as_store, encoded
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import OptState, Params, Rate, StoreLike

# Members that XLA for CPU computes in one pass: twice is faster than one more array in memory.
_CHEAP = frozenset(
    (
        "precondition",
        "scale_by_rms",
        "scale_by_adam",
        "add_decayed_weights",
        "scale_by_learning_rate",
    )
)


@transform
def schedule_free(
    base_optimizer: Transform,
    learning_rate: Rate,
    b1: Rate = 0.9,
    weight_lr_power: Rate = 2.0,
    state_dtype: StoreLike = None,
) -> Rule:
    """Wrap an optimizer with schedule-free averaging. The inner optimizer must not use momentum.

    **Update rule** z' = z + inner(g); c = w / Σw, w = (max α)^r; x' = x + c (z' − x); u = (1 −
    b1)(z' − z) + b1 c (z' − x), which moves y to y' = (1 − b1) z' + b1 x'.

    **State** ``base_optimizer``, ``z`` (float32 or wider, or ``state_dtype``; 4 bytes per
    parameter), and the scalars ``b1`` (that y was made with), ``weight_sum`` and ``max_lr``,
    float32 or wider. Requires params. Must be the last transform of the chain. ``eval_params``
    returns x.

    Args:
      base_optimizer: the inner optimizer, with its learning rate.
      learning_rate: the same learning rate again, for the weights: α ≥ 0, or a schedule.
      b1: b1 in (0, 1]; 1 trains the average itself.
      weight_lr_power: r, how much the learning rate counts in the weights; 0 weighs all steps
        alike.
      state_dtype: dtype of z, or a `Store`.

    Raises:
      ValueError: b1 outside (0, 1], a negative learning rate, no params, an inner optimizer that
        keeps evaluation weights itself.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.schedule_free(gk.sgd(1.0), 1.0, b1=0.5)
      >>> y, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(2):  # z is −1, then −2; x is −1, then their mean; y is half-way between
      ...     y, state = tx.apply(y, state, jnp.ones(1))
      >>> assert y[0] == -1.75 and gk.eval_params(tx, state, y)[0] == -1.5

    **Differs from optax**: the weights start at the learning rate of step 0, which the inner
    optimizer uses, not at that of step 1; their sum is float32 also for bfloat16 parameters, where
    it would stop at 256; z is kept wide; b1 may be scheduled.

    Reference: Defazio et al. 2024, https://arxiv.org/abs/2405.15682, algorithm 1.
    """
    check.non_negative(learning_rate=learning_rate)
    check.positive(b1=b1)
    check.probability(b1=b1)
    check.finite(weight_lr_power=weight_lr_power)
    refuse_evaluation(base_optimizer=base_optimizer)
    part, store = (
        Part("base_optimizer", base_optimizer),
        as_store(state_dtype, "state_dtype", keyed=False),
    )
    cheap = xla.on_cpu() and all(member.name in _CHEAP for member in base_optimizer.members)

    def init(params: Any, *, context: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        # Before the first step y is x: b1 = 1 says so without a copy of the parameters.
        numbers = {
            "b1": jnp.ones((), dtype),
            "weight_sum": jnp.zeros((), dtype),
            "max_lr": jnp.zeros((), dtype),
        }
        inner = part.init(params, context=context)
        return {"base_optimizer": inner, "z": encoded(store, params), **numbers}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        check.params(params)
        old, weight_sum = state["b1"], state["weight_sum"]
        max_lr = jnp.maximum(state["max_lr"], jnp.asarray(learning_rate, old.dtype))
        weight = max_lr ** tree.factor_like(weight_lr_power, max_lr)
        weight_sum = weight_sum + weight
        share, now = numerics.divide(weight, weight_sum), jnp.asarray(b1, old.dtype)
        inner = functools.partial(part.update, params=params, context=context)
        steps, kept = inner(updates, state["base_optimizer"])
        is_stateful = bool(jax.tree.leaves(kept))
        # Steps that cost less to compute twice than to write are z' − z; the barrier keeps XLA
        # from finding that out.
        again = cheap and is_stateful and any(map(xla.is_large, jax.tree.leaves(steps)))
        twice = store is IDENTITY and (again or not is_stateful)

        def move(u: Any, y: Any, stored: Any) -> Any:
            z = jnp.where(context.step == 0, y, store.decode(stored, y))
            return z, xla.separate(store.encode(z + u))

        old_z, z = tree.map(move, steps, params, state["z"], outputs=2)
        if twice and again:
            steps, kept = inner(tree.map(xla.after_write, updates, z), state["base_optimizer"])
        # y' − y = (1 − b1) (z' − z) + b1 c (z' − x) + (b1 − b1_old) (x − z), where
        # x − z = (y − z) / b1_old: small differences, each once.
        across = (now * share + old - now) / old
        along = 1 - now + now * share - across

        def leaf(u: Any, y: Any, old_z: Any, stored: Any) -> Any:
            like, new = tree.factor_like, store.decode(stored, y)
            return like(along, y) * (u if twice else new - old_z) + like(across, y) * (new - y)

        updates = tree.map(leaf, steps, params, old_z, z)
        return updates, {
            "base_optimizer": kept,
            "z": z,
            "b1": now,
            "weight_sum": weight_sum,
            "max_lr": max_lr,
        }

    def evaluate(state: Any, params: Any) -> Any:
        return tree.map(
            lambda y, stored: _average(y, store.decode(stored, y), state["b1"]),
            tree.widen(params),
            state["z"],
        )

    return Rule(init, update, parts=(part,), evaluate=evaluate, sharded=True)


def _average(y: Any, z: Any, b1: Any) -> Any:
    """The x of y = (1 − b1) z + b1 x."""
    return (y - tree.factor_like(1 - b1, y) * z) / tree.factor_like(b1, y)


@transform
def schedule_free_sgd(
    learning_rate: Rate = 1.0,
    warmup_steps: int | None = None,
    b1: Rate = 0.9,
    weight_decay: Rate | None = None,
    weight_lr_power: Rate = 2.0,
    state_dtype: StoreLike = None,
) -> Transform:
    """Schedule-free stochastic gradient descent.

    **Update rule** ``schedule_free`` around −α (g + λ y), α rising linearly from 0 over the warmup.

    **State** as ``schedule_free``: 4 bytes per parameter.

    Args:
      learning_rate: α ≥ 0; a schedule only without ``warmup_steps``.
      warmup_steps: steps until α is reached, ≥ 0, or None.
      b1: b1 in (0, 1].
      weight_decay: λ ≥ 0, multiplied by α, or None.
      weight_lr_power: r, see ``schedule_free``.
      state_dtype: dtype of z, or a `Store`.

    Raises:
      ValueError: as ``schedule_free``; ``warmup_steps`` < 0.

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
    learning_rate: Rate = 0.0025,
    warmup_steps: int | None = None,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: Rate = 1e-8,
    weight_decay: Rate = 0.0,
    weight_lr_power: Rate = 2.0,
    state_dtype: StoreLike = None,
) -> Transform:
    """Schedule-free AdamW.

    **Update rule** ``schedule_free`` around −α (g / (√G + ε) + λ y), G the debiased ema of g² with
    b2, α rising linearly from 0 over the warmup.

    **State** as ``schedule_free``, and G: 8 bytes per parameter.

    Args:
      learning_rate: α ≥ 0; a schedule only without ``warmup_steps``.
      warmup_steps: steps until α is reached, ≥ 0, or None.
      b1: b1 in (0, 1]: the average takes the place of momentum.
      b2: decay of G, in [0, 1).
      eps: ε ≥ 0.
      weight_decay: λ ≥ 0, multiplied by α, at y.
      weight_lr_power: r, see ``schedule_free``.
      state_dtype: dtype of z, or a `Store`.

    Raises:
      ValueError: as ``schedule_free``; ``b2`` outside [0, 1), ``eps`` < 0, ``warmup_steps`` < 0.

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
    check.integer(0, warmup_steps=warmup_steps)
    if callable(learning_rate):
        problem = f"learning_rate={learning_rate!r} is a schedule, beside warmup_steps"
        fix = "Put the warmup in the schedule, such as by join_schedules"
        check.refuse(problem, expected="a number", fix=fix, error=TypeError)
    check.non_negative(learning_rate=learning_rate)
    return warmup_constant_schedule(0.0, learning_rate, warmup_steps)


def schedule_free_eval_params(state: OptState, params: Params) -> Params:
    """Return the weights to evaluate with: ``eval_params`` without the transform.

    **Update rule** x = (y − (1 − b1) z) / b1.

    Args:
      state: of a ``schedule_free``, or of a transform that contains one; z kept by a `Store` other
        than a dtype requires ``eval_params``.
      params: y, the parameters in training.

    Returns:
      x, in the dtypes of ``params``.

    Raises:
      ValueError: a state without z and b1, or with several.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0), gk.schedule_free_sgd(1.0, b1=0.5))
      >>> y, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(2):
      ...     y, state = tx.apply(y, state, jnp.ones(1))
      >>> assert gk.schedule_free_eval_params(state, y)[0] == -1.5
    """

    def is_own(part: Any) -> bool:
        return isinstance(part, dict) and {"z", "b1", "weight_sum"} <= part.keys()

    found = [part for part in jax.tree.leaves(state, is_leaf=is_own) if is_own(part)]
    if len(found) != 1:
        with check.inside("schedule_free_eval_params"):
            problem = f"the state has {len(found)} schedule_free in it"
            fix = "Pass what its init or update returned"
            check.refuse(problem, expected="one", fix=fix)
    (own,) = found

    def leaf(y: Any, z: Any) -> Any:
        wide = numerics.cast(y, numerics.wide(jax.dtypes.result_type(y)))
        x = _average(wide, numerics.cast(z, wide.dtype), own["b1"])
        return numerics.cast(x, jax.dtypes.result_type(y))

    return jax.tree.map(leaf, params, own["z"])
