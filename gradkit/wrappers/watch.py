"""Watch."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit import masks
from gradkit._link import Rule, evaluation_inside
from gradkit._transform import Transform, apply_updates, transform
from gradkit.averages.ema import ema
from gradkit.wrappers._inner import strong

_WATCHED = ("grad_norm", "update_norm", "update_ratio", "underflow")


_GUARDED = ("skipped", "consecutive")


@transform
def watch(
    inner: Any,
    *names: str,
    per: Any = "tree",
    functions: Mapping[str, Callable[..., Any]] | None = None,
) -> Rule:
    """Report on what goes into a transform and what comes out.

    **Rule** ``grad_norm`` = ‖g‖, ``update_norm`` = ‖u‖, ``update_ratio`` = ‖u‖ / ‖θ‖ (0 where θ = 0), ``underflow`` = the share of weights that
    adding u leaves as they are, after rounding to their dtype.

    **Remembers** ``inner``, what the inner transform remembers, and ``logged_values``: one number for each name (and leaf or group).

    Args:
      inner: the transform to watch, usually the whole optimizer (``update_ratio`` and ``underflow`` need its params and its final updates).
      names: some of ``"grad_norm"``, ``"update_norm"``, ``"update_ratio"``, ``"underflow"``.
      per: ``"tree"``, ``"leaf"``, or a dict that gives a predicate for each group.
      functions: more metrics: functions of ``(gradients, updates, params)`` that return one number. They are given the trees, with ``per="leaf"`` each leaf,
        with groups the list of the leaves of each.

    Raises:
      ValueError: an unknown name, a function of the name of another metric.
      TypeError: a function that returns something else than one number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.watch(gk.sgd(0.5), "grad_norm", "update_ratio")
      >>> w = jnp.array([3.0, 4.0])
      >>> _, state = tx.update(jnp.array([0.0, 2.0]), tx.init(w), w)
      >>> {name: round(float(value), 4) for name, value in gk.logged_values(state).items()}
      {'watch.grad_norm': 2.0, 'watch.update_ratio': 0.2}
    """
    check.part(inner=inner)
    for name in names:
        check.one_of(_WATCHED, name=name)
    if isinstance(per, str):
        check.one_of(("tree", "leaf"), per=per)
    rule, extra = inner.rule, dict(functions or {})
    for name, function in extra.items():
        if name in names:
            check.fail(
                "needs a name that no other metric has",
                repr(name),
                "Give the function another name",
                path="functions",
            )
        if not callable(function):
            check.fail(
                "needs a function of (gradients, updates, params)",
                repr(function),
                path=f"functions[{name!r}]",
                error=TypeError,
            )

    def measure(gradients: Any, updates: Any, params: Any, leaves: Any) -> dict[str, Any]:
        if {"update_ratio", "underflow"} & set(names):
            check.params(params)
        measures = {
            "grad_norm": lambda part: tree.norm(part(gradients)),
            "update_norm": lambda part: tree.norm(part(updates)),
            "update_ratio": lambda part: numerics.divide(
                tree.norm(part(updates)), tree.norm(part(params))
            ),
            "underflow": lambda part: _underflow(part(leaves), part(updates)),
        }

        def measure_of(name: str, function: Callable[..., Any]) -> Callable[[Any], Any]:
            return lambda part: _number(
                function(part(gradients), part(updates), part(params)), f"functions[{name!r}]"
            )

        asked = {name: measures[name] for name in names} | {
            name: measure_of(name, function) for name, function in extra.items()
        }
        parts = _parts(per, leaves)
        found = {
            name: {group: of(part) for group, part in parts.items()} for name, of in asked.items()
        }
        return {name: values[""] for name, values in found.items()} if per == "tree" else found

    def init(params: Any, *, leaves: Any) -> Any:
        shapes = jax.eval_shape(measure, params, params, params, leaves)
        return {
            "inner": rule.init(params, leaves=leaves),
            "metrics": jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes),
        }

    def update(updates: Any, state: Any, params: Any, *, leaves: Any, **extras: Any) -> Any:
        new, kept = rule.update(updates, state["inner"], params, leaves=leaves, **extras)
        return new, {"inner": kept, "metrics": measure(updates, new, params, leaves)}

    return Rule(init, update, evaluate=evaluation_inside(rule))


@transform
def snapshot(measure_name: str, measure: Callable[[Any], Any]) -> Rule:
    """Write down a measure of the updates at this place in the chain.

    **Rule** u ← g; metrics[name] = measure(g).

    **Remembers** ``logged_values``: the measure.

    Args:
      measure_name: its name.
      measure: a function of the updates that returns one number, or a tree of such.

    Raises:
      TypeError: no function, or one that returns arrays.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.scale(2.0), gk.snapshot("largest", jnp.max))
      >>> _, state = tx.update(jnp.array([1.0, 3.0]), tx.init(jnp.zeros(2)))
      >>> assert gk.logged_values(state)["snapshot.largest"] == 6.0
    """
    _check_measure(measure=measure)

    def measured(updates: Any) -> Any:
        return {"metrics": {measure_name: _numbers(measure(updates), "measure")}}

    def init(params: Any) -> Any:
        return jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype),
            jax.eval_shape(lambda: measured(tree.zeros_like(params))),
        )

    return Rule(init, lambda updates, state, params: (updates, measured(updates)))


@transform
def monitor(measures: Mapping[str, Any]) -> Rule:
    """Write down several measures of the updates at this place in the chain.

    **Rule** u ← g; metrics[name] = f(g) for a function, the result of its update for a transform.

    **Remembers** ``logged_values``, and ``states``: what the transforms among the measures remember.

    Args:
      measures: for each name a function of the updates that returns one number, or a tree of such, or a transform such as
        ``measure_with_ema(f, 0.9)``.

    Raises:
      TypeError: neither function nor transform, or one that returns arrays.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.monitor({"sum": jnp.sum, "mean_sum": gk.measure_with_ema(jnp.sum, 0.5)})
      >>> state = tx.init(jnp.zeros(2))
      >>> for x in (1.0, 4.0):
      ...     _, state = tx.update(jnp.full(2, x), state)
      >>> assert gk.logged_values(state)["monitor.sum"] == 8.0 and jnp.allclose(gk.logged_values(state)["monitor.mean_sum"], (0.25 * 2 + 0.5 * 8) / 0.75)

    **Differs** from optax: the metrics are there from ``init`` on (zeros), so the state keeps its structure.
    """
    for name, measure in measures.items():
        if not isinstance(measure, Transform) and not callable(measure):
            check.fail(
                "needs a function of the updates or a transform",
                repr(measure),
                path=f"measures[{name!r}]",
                error=TypeError,
            )

    links = {
        name: measure.links for name, measure in measures.items() if isinstance(measure, Transform)
    }

    def observe(updates: Any, states: dict[str, Any], params: Any, extras: dict[str, Any]) -> Any:
        found: dict[str, Any] = {}
        kept: dict[str, Any] = {}
        for name, measure in measures.items():
            if name in links:
                value, kept[name] = updates, {}
                for link in links[name]:
                    value, kept[name][link.name] = link.update(
                        value, states[name][link.name], params, extras, keeps_shapes=False
                    )
            else:
                value = measure(updates)
            found[name] = _numbers(value, f"measures[{name!r}]")
        return {"metrics": found, "states": kept}

    def init(params: Any) -> Any:
        states = {
            name: {link.name: link.init(params) for link in chained}
            for name, chained in links.items()
        }
        wide = tree.zeros_like(params)
        shapes = jax.eval_shape(
            lambda: observe(wide, states, wide, {"step": jnp.zeros((), jnp.int32), "leaves": wide})[
                "metrics"
            ]
        )
        return {
            "metrics": jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes),
            "states": states,
        }

    def update(updates: Any, state: Any, params: Any, **extras: Any) -> Any:
        return updates, observe(updates, state["states"], params, extras)

    return Rule(init, update)


@transform
def measure_with_ema(
    measure: Callable[[Any], Any], decay: Any, debias: bool = True, accumulator_dtype: Any = None
) -> Rule:
    """The moving average of a measure, for ``monitor``.

    **Rule** u ← ema(measure(g); β).

    **Remembers** what ``ema`` remembers, in the shape of the measure.

    Args:
      measure: a function of the updates.
      decay: β in [0, 1), a number or a schedule.
      debias: divide by the weight of what was seen.
      accumulator_dtype: dtype of the memory, or a `Store`.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.monitor({"norm": gk.measure_with_ema(jnp.linalg.norm, 0.9)})
      >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert jnp.allclose(gk.logged_values(state)["monitor.norm"], 5.0)
    """
    _check_measure(measure=measure)
    check.decay(decay=decay)

    def average() -> Rule:
        return ema(decay, debias, accumulator_dtype).rule

    def init(params: Any) -> Any:
        return average().init(jax.eval_shape(measure, tree.zeros_like(params)))

    def update(updates: Any, state: Any, params: Any, *, step: Any) -> Any:
        return average().update(measure(updates), state, params, step=step)

    return Rule(init, update)


def _check_measure(**values: Any) -> None:
    for name, value in values.items():
        if not callable(value):
            check.fail("needs a function of the updates", repr(value), path=name, error=TypeError)


def _parts(per: Any, leaves: Any) -> dict[str, Callable[[Any], Any]]:
    """For each group the function that takes its part out of a tree."""
    if per == "tree":
        return {"": lambda x: x}
    if per == "leaf":
        paths = [check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(leaves)]
        return {path: _leaf(i) for i, path in enumerate(paths)}
    return {
        group: _chosen(jax.tree.leaves(masks.resolve(question, leaves)))
        for group, question in per.items()
    }


def _leaf(i: int) -> Callable[[Any], Any]:
    return lambda x: None if x is None else jax.tree.leaves(x)[i]


def _chosen(on: list[bool]) -> Callable[[Any], Any]:
    return lambda x: (
        None
        if x is None
        else [leaf for leaf, yes in zip(jax.tree.leaves(x), on, strict=True) if yes]
    )


def _number(value: Any, path: str) -> Any:
    """A measure as it is reported."""
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0] is not value:
        check.fail(
            "needs a function that returns one number",
            type(value).__name__,
            path=path,
            error=TypeError,
        )
    return _numbers(value, path)


def _numbers(values: Any, path: str) -> Any:
    """Measures as they are reported."""
    for value in jax.tree.leaves(values):
        if jnp.shape(value) != ():
            mend = "Reduce the array, such as with jnp.max"
            check.fail(
                "needs a function that returns one number",
                check.shape_dtype(value),
                mend,
                path=path,
                error=TypeError,
            )
    return strong(values)


def _underflow(leaves: Any, updates: Any) -> Any:
    """The share of numbers that the rounded sum leaves as they are."""
    same = jax.tree.map(
        lambda new, old: jnp.sum(new == old, dtype=jnp.int32),
        apply_updates(leaves, updates),
        leaves,
    )
    total = sum(jax.tree.leaves(same), start=jnp.zeros((), jnp.int32))
    return total.astype(jnp.float32) / max(tree.count(leaves), 1)
