"""Averages made of other averages: weighted sums, one value for each leaf, compressed input."""

import inspect
from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _shards as shards
from gradkit import _tree as tree
from gradkit._part import Part
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.stores import Store, blockwise_mean, encoded, scope_of
from gradkit.typing import Rate


def _average(**named: Any) -> Rule:
    """The rule of an argument that must be an average."""
    (part,) = named.values()
    check.part(**named)
    return part.rule


@transform
def weighted_sum(first: Transform, second: Transform, weight: Rate = 1.0) -> Rule:
    """Add two averages of the same values, the second with a weight.

    **Update rule** A_t = first_t + w second_t.

    **State** ``first`` and ``second``, the states of the two averages.

    Args:
      first: an average, such as ``ema(0.9)``.
      second: another average.
      weight: w, a finite number or a schedule.

    Raises:
      ValueError: a weight that is not finite.
      TypeError: ``first`` or ``second`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.averages.weighted_sum(gk.trace(0.5), gk.averages.latest(), weight=3.0)
      >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
      >>> assert tx.update(jnp.ones(1), state)[0][0] == 1.5 + 3.0
    """
    check.finite(weight=weight)
    one, other = Part("first", first), Part("second", second)

    def init(params: Any, *, context: Any) -> Any:
        return {part.name: part.init(params, context=context) for part in (one, other)}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        ones, kept_one = one.update(updates, state["first"], params, context=context)
        others, kept_other = other.update(updates, state["second"], params, context=context)
        mixed = tree.map(lambda a, b: a + tree.factor_like(weight, b) * b, ones, others)
        return mixed, {"first": kept_one, "second": kept_other}

    return Rule(init, update, parts=(one, other), scope="element")


@transform
def per_leaf(average: Transform, mean: bool = False) -> Transform:
    """Average one value for each leaf: the sum or the mean of its elements.

    **Update rule** A_t = average of Σ_i x_i (or, with ``mean``, of the mean over the leaf), the
    same for every element of the leaf. As a preconditioner it averages ‖g‖². It is ``compressed``
    with a store that keeps one element: ``per_leaf(average, mean=True)`` is ``compressed(average,
    blockwise_mean())``.

    **State** that of ``average`` for one element per leaf.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      mean: divide the sum by the size of the leaf.

    Raises:
      TypeError: ``average`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.precondition(gk.averages.latest(), gk.averages.per_leaf(gk.averages.latest()))
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(updates, jnp.array([0.6, 0.8]))  # g / ‖g‖
    """
    return compressed(average, blockwise_mean() if mean else _LEAF_SUM)


@transform
def compressed(average: Transform, store: Store, offset: Rate = 0.0) -> Rule:
    """Average what a store keeps: encode the values, average those, decode the average.

    **Update rule** A_t = decode(inner(encode(x_t + ε))), ε = ``offset``. For a store of means
    that is the inner average of x, compressed, because averages and means commute.

    **State** that of ``average``, of the size of what the store keeps.

    Args:
      average: the inner average, a transform such as ``ema(0.999)``.
      store: a `Store` such as ``factored()``.
      offset: ε ≥ 0, a number or a schedule; added to every value, to keep the means above zero.

    Raises:
      ValueError: a negative offset.
      TypeError: ``average`` is not a transform, ``store`` is not a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> second = gk.averages.compressed(gk.ema(0.5, debias=False), gk.stores.factored(2))
      >>> adafactor = gk.precondition(gk.averages.latest(), second)
      >>> g = jnp.array([[1.0, 1.0], [1.0, 3.0]])
      >>> updates, state = adafactor.update(g, adafactor.init(g))
      >>> expected = 1 / (0.5 * 1.0 * 1.0 / 3.0) ** 0.5  # rows 1, 5; columns 1, 5; their mean 3
      >>> assert jnp.allclose(updates[0, 0], expected)

    Reference: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, algorithm 4.
    """
    check.non_negative(offset=offset)
    if not isinstance(store, Store):
        check.refuse(
            f"store={store!r} is not a Store",
            expected="a Store such as factored(), sm3_cover() or blockwise_mean()",
            fix=f"Call it: {store.__name__}(...)" if inspect.isfunction(store) else "",
            error=TypeError,
        )
    part = Part("", average)

    def init(params: Any, *, context: Any) -> Any:
        return part.init(encoded(store, params), context=context)

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        kept = tree.map(lambda x: store.encode(x + tree.factor_like(offset, x)), updates)
        averages, state = part.update(kept, state, params, context=context)
        return tree.map(lambda x, stored: store.decode(stored, x), updates, averages), state

    rule = Rule(init, update, parts=(part,), scope=scope_of(store))
    return rule._replace(sharded=store == _LEAF_SUM)


def _leaf_sum(leaf: Any) -> Any:
    return shards.total(jnp.sum(leaf))


_LEAF_SUM = Store(_leaf_sum, numerics.broadcast_like)
