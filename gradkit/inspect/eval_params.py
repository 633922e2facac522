"""The weights to evaluate with."""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._entry import expected_state
from gradkit._flax import unwrap
from gradkit._part import Part
from gradkit._restore import check_is_state, check_state, conform
from gradkit._rule import Context
from gradkit._transform import Transform
from gradkit._walk import Node, walk
from gradkit.typing import OptState, Params


def eval_params(tx: Transform, state: OptState, params: Params) -> Params:
    """Return the weights to evaluate with, where an optimizer keeps others than those it trains.

    **Update rule** ``evaluate(state, params)`` of each transform that defines it, outermost first,
    on the leaves it sees.

    Args:
      tx: the transform.
      state: its state, or an ``nnx.Optimizer``'s ``opt_state``.
      params: the parameters in training.

    Returns:
      the weights, in the dtypes of ``params``.

    Raises:
      ValueError: no transform keeps evaluation weights, or two keep them for the same parameter.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(0.5), gk.weight_ema(0.5))
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(2):
      ...     w, state = tx.apply(w, state, jnp.ones(1))
      >>> average = gk.eval_params(tx, state, w)
      >>> assert w[0] == -1.0 and jnp.allclose(average[0], (-0.5 + 2 * -1.0) / 3)
    """
    with check.inside("eval_params"):
        check.part(tx=tx)
        own, kept = unwrap(params), conform(unwrap(state))
        check_is_state(kept)
        check.tree_of_arrays(own, "params")
        nodes = [n for n in walk(tx, kept) if n.rule and n.rule.evaluate]
        if not nodes:
            fix = "Add an average of the weights, such as weight_ema, or use params"
            check.refuse(f"{tx!r} keeps no evaluation weights", fix=fix)
        _check_one_each(nodes, own)
        weights = own
        try:
            for node in nodes:
                weights = _evaluated(node, node.within, weights, Context.start(own))
            check.same_shapes(weights, own)
        except Exception as error:
            if not check.is_ours(error):
                expected = expected_state(tx, tx.members, tree.arrays_only(own))
                check_state(kept.inner, expected, tx.members, dtypes=False)
            raise
    dtypes = jax.tree.map(jax.dtypes.result_type, own)
    weights = jax.tree.map(numerics.cast, weights, dtypes)
    return jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(weights))


def _evaluated(node: Node, within: tuple[Part, ...], params: Any, context: Context) -> Any:
    """The parameters with those that the node sees evaluated."""
    if not within:
        assert node.rule is not None
        assert node.rule.evaluate is not None
        return node.rule.evaluate(node.state, params)
    (part, *rest) = within
    if part.view is None:
        return _evaluated(node, tuple(rest), params, context)
    view = part.view(context)
    inside = view.within(context)
    return view.merge(_evaluated(node, tuple(rest), view.see(params), inside), params)


def _check_one_each(nodes: list[Node], params: Any) -> None:
    """Two averages may not keep the same parameter, unless one is inside the other."""
    for i, one in enumerate(nodes):
        for other in nodes[:i]:
            assert other.rule is not None
            inside = any(part in one.within for part in other.rule.parts)
            if inside or not _paths(one.see(params)) & _paths(other.see(params)):
                continue
            names = " and ".join(
                node.path or node.transform.factory.__name__ for node in (other, one)
            )
            fix = "Keep one average of the weights"
            check.refuse(f"{names} both keep evaluation weights", fix=fix)


def _paths(params: Any) -> set[str]:
    return {check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)}
