"""Combine."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, transform
from gradkit.stores import Store, encoded


def _average(**named: Any) -> Rule:
    """The rule of an argument that must be an average."""
    ((name, part),) = named.items()
    if not isinstance(part, Transform):
        check.fail("needs an average", repr(part), "Such as ema(0.9)", path=name, error=TypeError)
    return part.rule


@transform
def weighted_sum(first: Any, second: Any, weight: Any = 1.0) -> Rule:
    """Two averages of the same, added.

    **Rule** A_t = first_t + w second_t.

    **Remembers** ``first`` and ``second``: what the two averages remember.

    Args:
      first: an average, such as ``ema(0.9)``.
      second: another.
      weight: w, a finite number or a schedule.

    Raises:
      ValueError: a weight that is not finite.
      TypeError: a part that is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.weighted_sum(gk.trace(0.5), gk.latest(), weight=3.0)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 1.5 + 3.0
    """
    check.finite(weight=weight)
    one, other = _average(first=first), _average(second=second)

    def init(params: Any) -> Any:
        return {"first": one.init(params), "second": other.init(params)}

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        ones, kept_one = one.update(updates, state["first"], params, **extras)
        others, kept_other = other.update(updates, state["second"], params, **extras)
        mixed = tree.map(lambda a, b: a + tree.factor_like(weight, b) * b, ones, others)
        return mixed, {"first": kept_one, "second": kept_other}

    return Rule(init, update)


@transform
def per_leaf(average: Any, mean: bool = False) -> Rule:
    """One number for each leaf: an average fed the sum of the leaf.

    **Rule** A_t = average of Σ_i x_i (or, with ``mean``, of the mean over the leaf), the same for every number of the leaf. As a preconditioner it averages ‖g‖².

    **Remembers** ``leaf``: what the inner average remembers for one number per leaf.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      mean: divide the sum by the size of the leaf.

    Raises:
      TypeError: ``average`` is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.precondition(gk.latest(), gk.per_leaf(gk.latest()))
      >>> assert jnp.allclose(tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))[0], jnp.array([0.6, 0.8]))  # g / ‖g‖
    """
    inner = _average(average=average)

    def init(params: Any) -> Any:
        return {
            "leaf": inner.init(
                jax.tree.map(lambda x: jnp.zeros((), x.dtype), tree.zeros_like(params))
            )
        }

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        def gathered(x: Any) -> Any:
            return jnp.sum(x) / max(x.size, 1) if mean else jnp.sum(x)

        averages, kept = inner.update(tree.map(gathered, updates), state["leaf"], params, **extras)
        return tree.map(lambda a, x: jnp.broadcast_to(a, x.shape), averages, updates), {
            "leaf": kept
        }

    return Rule(init, update)


@transform
def compressed(average: Any, store: Any, offset: Any = 0.0) -> Rule:
    """An average of what a store keeps: compress what comes, average that, give it back whole.

    **Rule** A_t = decode(inner(encode(x_t + ε))), ε = ``offset``. For a store of means that is the inner average of x, compressed, for averages
    and means commute.

    **Remembers** what ``average`` remembers, of the size of what the store keeps.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      store: a `Store` such as ``factored()``.
      offset: ε ≥ 0, added to everything that comes, to keep the means off zero.

    Raises:
      TypeError: ``store`` is no Store.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> adafactor = gk.precondition(gk.latest(), gk.compressed(gk.ema(0.5, debias=False), gk.factored(2)))
      >>> g = jnp.array([[1.0, 1.0], [1.0, 3.0]])
      >>> updates, state = adafactor.update(g, adafactor.init(g))
      >>> assert jnp.allclose(updates[0, 0], 1 / (0.5 * 1.0 * 1.0 / 3.0) ** 0.5)  # rows 1, 5; columns 1, 5; their mean 3

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, algorithm 4.
    """
    check.non_negative(offset=offset)
    if not isinstance(store, Store):
        check.fail(
            "needs a Store",
            repr(store),
            "Such as factored(), cover(), block_mean()",
            path="store",
            error=TypeError,
        )
    inner = average.rule

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        kept = tree.map(lambda x: store.encode(x + tree.factor_like(offset, x)), updates)
        averages, state = inner.update(kept, state, params, **extras)
        return tree.map(lambda x, stored: store.decode(stored, x), updates, averages), state

    return Rule(lambda params: inner.init(encoded(store, params)), update)
