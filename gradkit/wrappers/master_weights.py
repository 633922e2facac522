"""Float32 copies of low-precision parameters, which the optimizer changes in their place."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform


@transform
def master_weights(inner: Transform) -> Rule:
    """Master weights: keep a float32 copy of bfloat16 parameters, and round it after each step.

    The gradients are those of the rounded parameters, and the steps are taken from the copy, so
    that a step below half a unit in the last place of a parameter is not lost. Beside it:
    ``compensated`` and ``stochastic_rounding``.

    **Update rule** Θ ← Θ + inner(g, Θ), u ← round(Θ) − θ, with Θ the copy of θ in float32. Where θ
    is further from Θ than one unit in the last place of θ (it was loaded, projected or reset after
    the last step), Θ ← θ first.

    **State** ``master``: Θ in float32 (4 bytes per bfloat16 or float16 parameter), None for
    parameters in float32 or wider, which need no copy; and ``inner``. Needs params.

    Args:
      inner: the optimizer of the copy, which sees it as the parameters.

    Raises:
      ValueError: no params.
      TypeError: ``inner`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.master_weights(gk.sgd(1.0))
      >>> w = jnp.ones(1, jnp.bfloat16)
      >>> state = tx.init(w)
      >>> for _ in range(8):  # eight steps of an eighth of a unit in the last place
      ...     w, state = tx.apply(w, state, jnp.full(1, -(2.0**-10), jnp.bfloat16))
      >>> assert w[0] == 1 + 2.0**-7

    Reference: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740, section 3.1.
    """
    part = Part("inner", inner)

    def init(params: Any, *, leaves: Any, context: Any) -> Any:
        def copied(p: Any, wide: Any) -> Any:
            return tree.origin(wide) if _is_narrow(p) else None

        return {
            "inner": part.init(params, context=context),
            "master": jax.tree.map(copied, leaves, params),
        }

    def update(updates: Any, state: Any, params: Any, *, leaves: Any, context: Any) -> Any:
        check.params(params)

        def current(p: Any, wide: Any, master: Any) -> Any:
            if master is None:
                return wide
            unit = jnp.finfo(jax.dtypes.result_type(p))
            near = jnp.abs(master - wide) <= float(unit.eps) * jnp.abs(wide) + float(unit.tiny)
            return jnp.where(near, master, wide)

        masters = tree.map(current, leaves, params, state["master"])
        steps, kept = part.update(updates, state["inner"], masters, context=context)

        def leaf(p: Any, wide: Any, master: Any, step: Any) -> Any:
            if not _is_narrow(p):
                return step, None
            new = master + step
            rounded = numerics.cast(numerics.cast(new, jax.dtypes.result_type(p)), wide.dtype)
            return rounded - wide, new

        new, masters = tree.map(leaf, leaves, params, masters, steps, outputs=2)
        return new, {"inner": kept, "master": masters}

    return Rule(init, update, parts=(part,))


def _is_narrow(leaf: Any) -> bool:
    kind = jax.dtypes.result_type(leaf)
    return bool(numerics.wide(kind) != kind)
