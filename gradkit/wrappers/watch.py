"""Logging: norms and other measures, kept in the state for ``logged_values``.

| | logs |
|---|---|
| ``watch(inner, "grad_norm", ...)`` | norms and ratios around a transform |
| ``snapshot(name, f)`` | one measure of the updates at a place in the chain |
| ``monitor({name: f, ...})`` | several |
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _shards as shards
from gradkit import _tree as tree
from gradkit import masks
from gradkit._part import Part
from gradkit._rule import Context, Rule
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.typing import Mask, Params, PyTree, Rate, StoreLike, Updates

_MEASURES = ("grad_norm", "update_norm", "update_ratio", "underflow")


@transform
def watch(
    inner: Transform,
    *names: str,
    per: str | Mapping[str, Mask] = "tree",
    functions: Mapping[str, Callable[[Updates, Updates, Params], Any]] | None = None,
) -> Rule:
    """Log gradient and update norms, update ratios, and measures of your own around a transform.

    **Update rule** that of ``inner``. ``grad_norm`` = ‖g‖, ``update_norm`` = ‖u‖, ``update_ratio``
    = ‖u‖ / ‖θ‖ (0 where θ = 0), ``underflow`` = the fraction of parameters that adding u does not
    change, after rounding to their dtype.

    **State** ``inner`` and ``logged``: one scalar for each name (and leaf or group), which
    ``logged_values`` reads.

    Args:
      inner: the transform to watch, usually the whole optimizer (``update_ratio`` and ``underflow``
        require its params and its final updates).
      names: some of ``"grad_norm"``, ``"update_norm"``, ``"update_ratio"``, ``"underflow"``.
      per: ``"tree"``, ``"leaf"``, or a dict that gives a predicate for each group.
      functions: more measures: functions of ``(gradients, updates, params)`` that return one
        number. They are given the trees, with ``per="leaf"`` each leaf, with groups the list of the
        leaves of each.

    Raises:
      ValueError: an unknown name, a function under the name of another measure.
      TypeError: a function that does not return one number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.watch(gk.sgd(0.5), "grad_norm", "update_ratio")
      >>> w = jnp.array([3.0, 4.0])
      >>> _, state = tx.update(jnp.array([0.0, 2.0]), tx.init(w), w)
      >>> {name: round(float(value), 4) for name, value in gk.logged_values(state).items()}
      {'watch.grad_norm': 2.0, 'watch.update_ratio': 0.2}
    """
    for i, name in enumerate(names):
        check.one_of(_MEASURES, **{f"names[{i}]": name})
    if isinstance(per, str):
        check.one_of(("tree", "leaf"), per=per)
    elif not isinstance(per, Mapping):
        problem = f"per={check.shown(per)} is not a grouping"
        expected = "'tree', 'leaf', or a dict of predicates"
        check.refuse(problem, expected=expected, error=TypeError)
    if functions is not None and not isinstance(functions, Mapping):
        problem = f"functions={check.shown(functions)} is not a dict of functions by name"
        check.refuse(problem, argument=("functions", functions), error=TypeError)
    part, own = Part("inner", inner), dict(functions or {})
    for name, function in own.items():
        if name in names:
            problem = f"functions has {name!r}, which is a measure already"
            check.refuse(problem, fix="Choose another name")
        check.arity(3, "(gradients, updates, params)", **{f"functions[{name!r}]": function})

    def measure(gradients: Any, updates: Any, params: Any, context: Context) -> dict[str, Any]:
        leaves = context.leaves
        if {"update_ratio", "underflow"} & set(names):
            check.params(params)

        def update_ratio(of: Any) -> Any:
            return numerics.divide(tree.norm(of(updates)), tree.norm(of(params)))

        measures: dict[str, Callable[[Any], Any]] = {
            "grad_norm": lambda of: tree.norm(of(gradients)),
            "update_norm": lambda of: tree.norm(of(updates)),
            "update_ratio": update_ratio,
            "underflow": lambda of: _underflow(of(leaves), of(updates)),
        }

        def measure_of(name: str, function: Callable[..., Any]) -> Callable[[Any], Any]:
            path = f"functions[{name!r}]"
            return lambda of: _number(function(of(gradients), of(updates), of(params)), path)

        wanted = {name: measures[name] for name in names}
        wanted |= {name: measure_of(name, function) for name, function in own.items()}
        groups = _groups(per, context)
        found = {
            name: {group: measured(of) for group, of in groups.items()}
            for name, measured in wanted.items()
        }
        return {name: values[""] for name, values in found.items()} if per == "tree" else found

    def init(params: Any, *, context: Any) -> Any:
        shapes = jax.eval_shape(lambda p: measure(p, p, p, context), params)
        logged = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return {"inner": part.init(params, context=context), "logged": logged}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        new, kept = part.update(updates, state["inner"], params, context=context)
        return new, {"inner": kept, "logged": measure(updates, new, params, context)}

    return Rule(init, update, parts=(part,), sharded=True)


@transform
def snapshot(measure_name: str, measure: Callable[[Updates], Any]) -> Rule:
    """Log a measure of the updates at this place in the chain.

    **Update rule** u ← g; logged[name] = measure(g).

    **State** ``logged``: the measure, which ``logged_values`` reads.

    Args:
      measure_name: its name.
      measure: a function of the updates that returns one number, or a tree of such.

    Raises:
      TypeError: not a function, or one that returns arrays.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.scale(2.0), gk.snapshot("largest", jnp.max))
      >>> _, state = tx.update(jnp.array([1.0, 3.0]), tx.init(jnp.zeros(2)))
      >>> assert gk.logged_values(state)["snapshot.largest"] == 6.0
    """
    check.arity(1, "the updates", measure=measure)

    def measured(updates: Any) -> Any:
        return {"logged": {measure_name: _numbers(measure(updates), "measure")}}

    def init(params: Any) -> Any:
        shapes = jax.eval_shape(lambda: measured(tree.zeros_like(params)))
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    return Rule(init, lambda updates, state, params: (updates, measured(updates)))


@transform
def monitor(measures: Mapping[str, Callable[[Updates], Any] | Transform]) -> Rule:
    """Log several measures of the updates at this place in the chain.

    **Update rule** u ← g; logged[name] = f(g) for a function, the result of its update for a
    transform.

    **State** ``logged``, which ``logged_values`` reads, and ``states``: those of the transforms
    among the measures.

    Args:
      measures: for each name a function of the updates that returns one number, or a tree of such,
        or a transform such as ``measure_with_ema(f, 0.9)``.

    Raises:
      TypeError: neither a function nor a transform, or one that returns arrays.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.monitor({"sum": jnp.sum, "mean_sum": gk.measure_with_ema(jnp.sum, 0.5)})
      >>> state = tx.init(jnp.zeros(2))
      >>> for x in (1.0, 4.0):
      ...     _, state = tx.update(jnp.full(2, x), state)
      >>> logged = gk.logged_values(state)
      >>> assert logged["monitor.sum"] == 8.0
      >>> assert jnp.allclose(logged["monitor.mean_sum"], (0.25 * 2 + 0.5 * 8) / 0.75)

    **Differs from optax**: the values are in the state from ``init`` on (as zeros), so the state
    keeps its structure.
    """
    if not isinstance(measures, Mapping):
        problem = f"measures={check.shown(measures)} is not a dict"
        check.refuse(problem, expected="a function or a transform by name", error=TypeError)
    for name, measure in measures.items():
        if not isinstance(measure, Transform):
            check.arity(1, "the updates", **{f"measures[{name!r}]": measure})
    chains = {name: tx.members for name, tx in measures.items() if isinstance(tx, Transform)}

    def observe(updates: Any, states: dict[str, Any], params: Any, context: Context) -> Any:
        logged: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for name, measure in measures.items():
            if name in chains:
                value, after[name] = updates, {}
                for member in chains[name]:
                    value, after[name][member.name] = member.measure(
                        value, states[name][member.name], params, context
                    )
            else:
                assert callable(measure)
                value = measure(updates)
            logged[name] = _numbers(value, f"measures[{name!r}]")
        return {"logged": logged, "states": after}

    def init(params: Any, *, context: Any) -> Any:
        states = {
            name: {member.name: member.init(params, context) for member in members}
            for name, members in chains.items()
        }
        wide = tree.zeros_like(params)
        shapes = jax.eval_shape(lambda: observe(wide, states, wide, context)["logged"])
        logged = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return {"logged": logged, "states": states}

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        return updates, observe(updates, state["states"], params, context)

    return Rule(init, update)


@transform
def measure_with_ema(
    measure: Callable[[Updates], Any],
    decay: Rate,
    debias: bool = True,
    accumulator_dtype: StoreLike = None,
) -> Rule:
    """Average a measure of the updates exponentially, for ``monitor``.

    **Update rule** u ← ema(measure(g); β).

    **State** that of ``ema``, in the shape of the measure.

    Args:
      measure: a function of the updates.
      decay: β in [0, 1).
      debias: divide by the weight of the values seen.
      accumulator_dtype: dtype of the state, or a `Store`.

    Raises:
      ValueError: a decay outside [0, 1).
      TypeError: not a function.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.measure_with_ema(jnp.sum, 0.5)
      >>> monitored = gk.monitor({"mean_sum": tx})
      >>> _, state = monitored.update(jnp.ones(2), monitored.init(jnp.zeros(2)))
      >>> assert gk.logged_values(state)["monitor.mean_sum"] == 2.0
    """
    check.arity(1, "the updates", measure=measure)
    check.decay(decay=decay)
    (average,) = ema(decay, debias, accumulator_dtype).members

    def init(params: Any, *, context: Any) -> Any:
        shape = jax.eval_shape(measure, tree.zeros_like(params))
        return average.init(shape, context)

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        return average.measure(measure(updates), state, params, context)

    return Rule(init, update)


def _groups(per: Any, context: Context) -> dict[str, Callable[[PyTree], Any]]:
    """For each group the function that takes its leaves out of a tree."""
    if per == "tree":
        return {"": lambda x: x}
    if per == "leaf":
        found = jax.tree_util.tree_leaves_with_path(context.leaves)
        return {check.keystr(path): _leaf(i) for i, (path, _) in enumerate(found)}
    return {
        group: _chosen(jax.tree.leaves(masks.resolve(mask, context.leaves, whole=context.whole)))
        for group, mask in per.items()
    }


def _leaf(i: int) -> Callable[[Any], Any]:
    return lambda x: None if x is None else jax.tree.leaves(x)[i]


def _chosen(on: list[bool]) -> Callable[[Any], Any]:
    def of(x: Any) -> Any:
        if x is None:
            return None
        return [leaf for leaf, yes in zip(jax.tree.leaves(x), on, strict=True) if yes]

    return of


def _number(value: Any, path: str) -> Any:
    """A measure that must be one number."""
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0] is not value:
        problem = f"the function returned {type(value).__name__}"
        check.refuse(problem, expected="one number", path=path, error=TypeError)
    return _numbers(value, path)


def _numbers(values: Any, path: str) -> Any:
    """A tree of measures, each of which must be one number."""
    for value in jax.tree.leaves(values):
        if jnp.shape(value) != ():
            problem = f"the function returned {check.shape_dtype(value)}"
            fix = "Reduce the array, such as by jnp.max"
            check.refuse(problem, expected="one number", fix=fix, path=path, error=TypeError)
    return numerics.strong(values)


def _underflow(leaves: Any, updates: Any) -> Any:
    """The fraction of elements that adding the updates does not change."""
    same = jax.tree.map(
        lambda new, old: jnp.sum(new == old, dtype=jnp.int32),
        tree.add_rounded(leaves, updates),
        leaves,
    )
    total = sum(shards.totals(jax.tree.leaves(same)), start=jnp.zeros((), jnp.int32))
    return total.astype(jnp.float32) / max(tree.count(leaves), 1)
