"""bf16 weights done right: small steps that survive the rounding of the parameters.

A step below half a unit in the last place of a weight is lost when the sum is rounded to nearest. Two links, each the last of its
chain, keep it: on average, or exactly.

| | p ← | costs |
|---|---|---|
| nearest | round(p + u) | a step below ½ ulp is lost |
| ``stochastic_rounding`` | up or down at random, E[p] = p + u | random bits |
| ``compensated`` | round(p + u + c), c ← what the rounding left over (Kahan) | one more array in the parameter's dtype |
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import stateless, transform


@transform
def stochastic_rounding(key: Any) -> Rule:
    """Round the new parameters up or down at random, so that on average nothing is lost.

    **Rule** u ← r − θ, r a neighbour of θ + u in the dtype of θ, the upper with a probability of its nearness: E[r] = θ + u.

    **Remembers** nothing: the random bits are those of ``fold_in(key, step)``. Needs params. The last link of the chain, for ``tx.apply`` and ``make_step``.

    Args:
      key: a seed or a random key.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.scale(-1.0), gk.stochastic_rounding(key=0))
      >>> w = jnp.ones(10_000, jnp.bfloat16)
      >>> new, _ = tx.apply(w, tx.init(w), jnp.full(10_000, -(2.0**-9), jnp.bfloat16))  # a quarter of a unit in the last place
      >>> assert set(new.tolist()) == {1.0, 1.0078125} and abs(float((new > 1).mean()) - 0.25) < 0.02

    Reference: Gupta et al. 2015, https://arxiv.org/abs/1502.02551; Zamirai et al. 2020, https://arxiv.org/abs/2010.06192.
    """
    first = numerics.as_key(key)

    def update(updates: Any, params: Any, *, leaves: Any, step: Any) -> Any:
        check.params(params)
        return _shift(
            tree.round_stochastically(
                jax.tree.map(jnp.add, params, updates), leaves, jax.random.fold_in(first, step)
            ),
            params,
        )

    return stateless(update)


@transform
def compensated() -> Rule:
    """Carry what the rounding of the parameters leaves over into the next step.

    **Rule** s = θ + u + c, r = round(s), u ← r − θ, c ← s − r (Kahan's sum along the steps).

    **Remembers** ``residue``: c, in the dtype of the parameter (2 bytes per bfloat16 parameter). Needs params. The last link of the chain, for
    ``tx.apply`` and ``make_step``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.scale(-1.0), gk.compensated())
      >>> w = jnp.ones(1, jnp.bfloat16)
      >>> state = tx.init(w)
      >>> for _ in range(8):  # eight steps of an eighth of a unit in the last place
      ...     w, state = tx.apply(w, state, jnp.full(1, -(2.0**-10), jnp.bfloat16))
      >>> assert w[0] == 1 + 2.0**-7

    Reference: Kahan 1965; Zamirai et al. 2020, https://arxiv.org/abs/2010.06192.
    """

    def update(updates: Any, state: Any, params: Any, *, leaves: Any) -> Any:
        check.params(params)

        def leaf(u: Any, p: Any, c: Any, old: Any) -> Any:
            exact = p + (u + numerics.cast(c, p.dtype))
            rounded = numerics.cast(numerics.cast(exact, jax.dtypes.result_type(old)), p.dtype)
            return rounded - p, numerics.cast(exact - rounded, c.dtype)

        updates, residue = tree.map(leaf, updates, params, state["residue"], leaves, outputs=2)
        return updates, {"residue": residue}

    return Rule(
        lambda params, *, leaves: {
            "residue": jax.tree.map(
                lambda p: jnp.zeros(jnp.shape(p), jax.dtypes.result_type(p)), leaves
            )
        },
        update,
    )


def _shift(rounded: Any, params: Any) -> Any:
    """The updates that lead from params to what was rounded: the difference is exact in the wide dtype."""
    return jax.tree.map(lambda r, p: numerics.cast(r, p.dtype) - p, rounded, params)
