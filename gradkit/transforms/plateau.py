"""Reduction of the learning rate when the loss stops improving."""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import transform
from gradkit.typing import Rate


@transform
def reduce_on_plateau(
    factor: Rate = 0.1,
    patience: int = 10,
    rtol: Rate = 1e-4,
    atol: Rate = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: Rate = 0.0,
    *,
    mode: str = "min",
) -> Rule:
    """Reduce the learning rate on a plateau: scale updates down when a value stops improving.

    **Update rule** u ← s g. v̄ is the mean of n values; it has improved when v̄ < v* − rtol |v*|
    − atol (``"max"``: v̄ > v* + rtol |v*| + atol), v* the best so far. After ``patience``
    consecutive means without improvement s ← max(s · factor, s_min); the next ``cooldown`` ones
    are not counted.

    **State** ``scale`` (s), ``best_value``, ``avg_value`` (float32 or wider), and the counts
    ``plateau_count``, ``cooldown_count``, ``count``.

    Args:
      factor: in (0, 1), a number or a schedule.
      patience: ≥ 1, in means.
      rtol: in [0, 1], relative to the magnitude of the best value; a number or a schedule.
      atol: ≥ 0, in units of the value; a number or a schedule. rtol and atol are not both 0.
      cooldown: ≥ 0, in means.
      accumulation_size: n ≥ 1, in values: 1 for the value of an epoch, more for losses of
        batches.
      min_scale: s_min ≥ 0, a number or a schedule.
      mode: ``"min"`` for a value that should fall, ``"max"`` for one that should rise.

    Raises:
      ValueError: an argument out of its range; a ``value`` that is not a scalar.
      TypeError: ``value`` is missing, or not a real number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(1.0), gk.reduce_on_plateau(factor=0.5, patience=2))
      >>> state = tx.init(jnp.zeros(1))
      >>> for value in (-1.0, -2.0, -2.0, -2.0):
      ...     updates, state = tx.update(jnp.ones(1), state, value=value)
      >>> assert updates[0] == -0.5

    **Differs from optax**: the relative tolerance is relative to the magnitude, so that a best
    value below zero can be improved or missed like any other; values that should rise have a
    mode; ``patience`` is at least 1.

    Reference: torch.optim.lr_scheduler.ReduceLROnPlateau.
    """
    check.finite(factor=factor)
    if numerics.fails(factor, lambda f: (f > 0) & (f < 1)):
        check.refuse(f"factor={factor!r} is out of range", expected="0 < factor < 1")
    check.integer(1, patience=patience, accumulation_size=accumulation_size)
    check.integer(0, cooldown=cooldown)
    check.probability(rtol=rtol)
    check.non_negative(atol=atol, min_scale=min_scale)
    if isinstance(rtol, (int, float)) and isinstance(atol, (int, float)) and rtol == atol == 0:
        check.refuse(
            "rtol=0 and atol=0 are no tolerance",
            expected="one of them above 0",
            fix="Rounding errors would count as progress",
        )
    check.one_of(("min", "max"), mode=mode)
    sign = 1 if mode == "min" else -1

    def init(params: Any) -> Any:
        dtype = numerics.scalar_dtype(params)
        worst = sign * jnp.finfo(dtype).max  # no value was seen yet
        values = {"scale": 1.0, "best_value": worst, "avg_value": 0.0}
        counts = {
            name: jnp.zeros((), jnp.int32) for name in ("plateau_count", "cooldown_count", "count")
        }
        return {name: jnp.asarray(value, dtype) for name, value in values.items()} | counts

    def update(updates: Any, state: Any, params: Any, *, value: Any) -> Any:
        scale, best, cooling = state["scale"], state["best_value"], state["cooldown_count"]
        like, dtype = tree.factor_like, scale.dtype
        _check_value(value)
        count = state["count"] + 1
        mean = state["avg_value"] + (jnp.asarray(value, dtype) - state["avg_value"]) / count.astype(
            dtype
        )

        full = count >= accumulation_size
        margin = jnp.where(
            jnp.abs(best) < jnp.finfo(dtype).max,
            like(rtol, best) * jnp.abs(best) + like(atol, best),
            0.0,
        )
        better = sign * mean < sign * best - margin
        plateau = jnp.where(better | (cooling > 0), 0, state["plateau_count"] + 1)
        due = full & (plateau >= patience)
        after = {
            "scale": jnp.where(
                due, jnp.maximum(scale * like(factor, scale), like(min_scale, scale)), scale
            ),
            "best_value": jnp.where(full & better, mean, best),
            "avg_value": jnp.where(full, jnp.zeros_like(mean), mean),
            "plateau_count": jnp.where(full, jnp.where(due, 0, plateau), state["plateau_count"]),
            "cooldown_count": jnp.where(
                due, jnp.int32(cooldown), jnp.where(full, jnp.maximum(cooling - 1, 0), cooling)
            ),
            "count": jnp.where(full, 0, count),
        }
        return tree.scale(updates, after["scale"]), after

    return Rule(init, update, sharded=True)


def _check_value(value: Any) -> None:
    """Refuse a value that is not one real number."""
    if not numerics.is_number(value) or jnp.iscomplexobj(value):
        expected = "a real scalar, such as the loss"
        check.refuse(f"value={value!r} is not a number", expected=expected, error=TypeError)
    if jnp.shape(value) != ():
        check.refuse(
            f"value={check.shape_dtype(value)} is not a scalar", fix="Take the mean over the batch"
        )
