"""Small steps of bfloat16 parameters, kept in spite of rounding.

A step below half a unit in the last place of a parameter is lost when the sum is rounded to
nearest. Two transforms, each the last of its chain, keep it: on average, or exactly.

| | θ ← | cost |
|---|---|---|
| nearest | round(θ + u) | a step below ½ ulp is lost |
| ``stochastic_rounding`` | up or down at random, E[θ'] = θ + u | random bits |
| ``compensated`` | round(θ + u + c), c ← the rounding error (Kahan) | one more array |
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._rule import Rule
from gradkit._transform import stateless, transform
from gradkit.typing import Key


@transform
def stochastic_rounding(key: Key) -> Rule:
    """Stochastic rounding: round new parameters up or down at random, without bias.

    **Update rule** u ← r − θ, r a neighbour of θ + u in the dtype of θ, chosen with the
    probability of its nearness: E[r] = θ + u.

    **State** none: the random bits are those of ``fold_in(key, step)``. Needs params. Must come
    last in the chain, in ``tx.apply`` or ``make_step``.

    Args:
      key: a seed, a random key, or the data of one.

    Raises:
      ValueError: no params.
      TypeError: ``key`` is None, or not a key.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.scale(-1.0), gk.stochastic_rounding(key=0))
      >>> w = jnp.ones(10_000, jnp.bfloat16)
      >>> quarter = jnp.full(10_000, -(2.0**-9), jnp.bfloat16)  # of a unit in the last place
      >>> new, _ = tx.apply(w, tx.init(w), quarter)
      >>> assert set(new.tolist()) == {1.0, 1.0078125}
      >>> assert abs(float((new > 1).mean()) - 0.25) < 0.02

    Reference: Gupta et al. 2015, https://arxiv.org/abs/1502.02551; Zamirai et al. 2020,
    https://arxiv.org/abs/2010.06192.
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
    """Kahan summation: carry the rounding error of the parameters into the next step.

    **Update rule** s = θ + u + c, r = round(s), u ← r − θ, c ← s − r.

    **State** ``residue``: c, in the dtype of the parameter (2 bytes per bfloat16 parameter).
    Needs params. Must come last in the chain, in ``tx.apply`` or ``make_step``.

    Raises:
      ValueError: no params.

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
                lambda p: tree.zeros_like(p, dtype=jax.dtypes.result_type(p)), leaves
            )
        },
        update,
    )


def _shift(rounded: Any, params: Any) -> Any:
    """The updates from params to the rounded ones; the difference is exact in the wide dtype."""
    return jax.tree.map(lambda r, p: numerics.cast(r, p.dtype) - p, rounded, params)
