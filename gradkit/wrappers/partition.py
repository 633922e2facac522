"""Partition."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax

from gradkit import _checks as check
from gradkit import masks
from gradkit._link import Rule, nothing, only_checks
from gradkit._transform import Transform, chain, identity, transform
from gradkit.transforms.sanitize import set_to_zero


@transform
def selective_transform(optimizer: Any, *, freeze_mask: Any) -> Transform:
    """Optimize some leaves, freeze the others, and remember nothing for those.

    **Rule** u_leaf ← 0 on the leaves of the mask, optimizer(g)_leaf elsewhere.

    **Remembers** what ``optimizer`` remembers, for the leaves it trains.

    Args:
      optimizer: a transform.
      freeze_mask: which leaves to freeze, as in ``masked``; True for all, False for none.

    Raises:
      ValueError: a tree or predicate that freezes no leaf, or every leaf.
      TypeError: ``optimizer`` is no transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> params = {"a": jnp.ones(1), "b": jnp.ones(1)}
      >>> tx = gk.selective_transform(gk.sgd(1.0), freeze_mask={"a": True, "b": False})
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["a"][0] == 0.0 and updates["b"][0] == -1.0
    """
    if not isinstance(optimizer, Transform):
        check.fail("needs a transform", repr(optimizer), path="optimizer", error=TypeError)
    if isinstance(freeze_mask, bool):
        return set_to_zero() if freeze_mask else optimizer
    return chain(masked(optimizer, _without(freeze_mask)), freeze(freeze_mask))


def _without(mask: Any) -> Any:
    """The mask of the other leaves."""
    if isinstance(mask, masks.Predicate):
        return ~mask
    if callable(mask) and jax.tree_util.all_leaves([mask]):
        return lambda params: jax.tree.map(lambda on: not on, masks.resolve(mask, params))
    return jax.tree.map(lambda on: not on, mask)


@transform
def masked(inner: Any, mask: Any, *, mask_compatible_extra_args: bool = False) -> Rule:
    """Transform some leaves, let the others pass.

    **Rule** u_leaf ← inner(g)_leaf on the leaves of the mask, g_leaf elsewhere.

    **Remembers** what ``inner`` remembers, for the leaves of the mask alone.

    Args:
      inner: a transform.
      mask: which leaves: a tree of bools (a prefix will do), a predicate, a function of params, a function of (path, leaf).
      mask_compatible_extra_args: mask every extra argument that is a tree like the updates, not ``grad`` alone.

    In a chain the other leaves pass to the next link. As the whole optimizer this adds their raw gradient to them, so that they ascend: write
    ``where(predicate, inner, otherwise=set_to_zero())``, or `freeze` them.

    Raises:
      ValueError: a mask that means no leaf, or does not fit the tree.
      TypeError: a mask of anything but bools.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.masked(gk.scale(2.0), gk.by_path("w"))
      >>> params = {"w": jnp.ones(1), "b": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["w"][0] == 2.0 and updates["b"][0] == 1.0

    **Differs** from optax: a mask that means nothing is refused, and a tree of bools that is callable is still a tree.
    """
    check.part(inner=inner)
    rule = inner.rule

    def init(params: Any, *, leaves: Any) -> Any:
        on = masks.resolve(mask, leaves)
        _check_kind(rule, _keep(on, leaves), "parameters")
        return rule.init(_keep(on, params), leaves=_keep(on, leaves))

    def update(updates: Any, state: Any, params: Any, *, leaves: Any, **extras: Any) -> Any:
        on = masks.resolve(mask, leaves)
        shape: Any = jax.tree.structure(updates)
        for name, value in extras.items():
            if name == "grad" or (
                mask_compatible_extra_args and jax.tree.structure(value) == shape
            ):
                extras[name] = _keep(on, value)
            elif name in ("value_fn", "loss_fn", "obj_fn") and callable(value):
                extras[name] = _of_part(value, on, leaves)
        within = None if params is None else _keep(on, params)
        _check_kind(rule, _keep(on, updates), "updates")
        new, state = rule.update(
            _keep(on, updates), state, within, leaves=_keep(on, leaves), **extras
        )
        return _merge(on, new, updates), state

    def evaluate(state: Any, params: Any) -> Any:
        on = masks.resolve(mask, params)
        assert rule.evaluate is not None
        return _merge(on, rule.evaluate(state, _keep(on, params)), params)

    return Rule(
        only_checks(init) if rule.init is nothing else init,
        update,
        evaluate=evaluate if rule.evaluate else None,
        takes_integers=True,
    )


@transform
def partition(
    transforms: Mapping[Any, Any], param_labels: Any, *, mask_compatible_extra_args: bool = False
) -> Rule:
    """Send each leaf through the transform of its label.

    **Rule** u_leaf ← transforms[label(leaf)](g)_leaf.

    **Remembers** what each transform remembers, under its label, for its own leaves.

    Args:
      transforms: a transform for each label.
      param_labels: a tree of labels (a prefix will do), a function of params that returns one, a function of (path, leaf) that returns a label,
        or a dict that gives a predicate for each label.
      mask_compatible_extra_args: as in ``masked``.

    Raises:
      ValueError: labels without a transform, transforms without a leaf, leaves that two predicates mean, or none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.partition({"fast": gk.sgd(1.0), "slow": gk.sgd(0.1)}, {"fast": gk.by_path("w"), "slow": ~gk.by_path("w")})
      >>> params = {"w": jnp.ones(1), "b": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["w"][0] == -1.0 and abs(float(updates["b"][0]) + 0.1) < 1e-7

    **Differs** from optax: a transform that no leaf goes to is refused, like a label that has no transform.
    """
    check.part(**{f"transforms[{label!r}]": part for label, part in transforms.items()})
    groups = {label: (part, part.rule) for label, part in transforms.items()}

    def parts(tree: Any) -> dict[Any, Any]:
        return group_masks(transforms, param_labels, tree)

    def init(params: Any, *, leaves: Any) -> Any:
        kept = {}
        for label, on in parts(leaves).items():
            rule = groups[label][1]
            _check_kind(rule, _keep(on, leaves), "parameters")
            kept[label] = rule.init(_keep(on, params), leaves=_keep(on, leaves))
        return {
            label: state
            for label, state in kept.items()
            if not (type(state) is tuple and not state)
        } or ()

    def update(updates: Any, state: Any, params: Any, *, leaves: Any, **extras: Any) -> Any:
        kept, result = {}, updates
        for label, on in parts(leaves).items():
            one = masked(
                groups[label][0], on, mask_compatible_extra_args=mask_compatible_extra_args
            ).rule
            new, after = one.update(
                updates, state.get(label, ()) if state else (), params, leaves=leaves, **extras
            )
            result = _merge(on, new, result)
            if state and label in state:
                kept[label] = after
        return result, kept or ()

    def evaluate(state: Any, params: Any) -> Any:
        for label, on in parts(params).items():
            rule = groups[label][1]
            if rule.evaluate is not None:
                params = _merge(on, rule.evaluate(state[label], _keep(on, params)), params)
        return params

    stateless = all(rule.init is nothing for _, rule in groups.values())
    evaluates = any(rule.evaluate for _, rule in groups.values())
    return Rule(
        only_checks(init) if stateless else init,
        update,
        evaluate=evaluate if evaluates else None,
        takes_integers=True,
    )


@transform
def multi_transform(
    transforms: Mapping[Any, Any], param_labels: Any, *, mask_compatible_extra_args: bool = False
) -> Transform:
    """``partition`` under the older of its two names in optax.

    **Rule** as ``partition``.

    **Remembers** what ``partition`` remembers.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.multi_transform({"a": gk.scale(2.0)}, lambda params: {"w": "a"})
      >>> assert tx.update({"w": jnp.ones(1)}, tx.init({"w": jnp.ones(1)}))[0]["w"][0] == 2.0
    """
    return partition(
        transforms, param_labels, mask_compatible_extra_args=mask_compatible_extra_args
    )


@transform
def where(predicate: Any, then: Any, otherwise: Any = None) -> Transform:
    """Two groups: the leaves that a predicate means, and the rest.

    **Rule** u_leaf ← then(g)_leaf where the predicate says yes, otherwise(g)_leaf elsewhere.

    **Remembers** what both remember, under ``then`` and ``otherwise``.

    Args:
      predicate: a predicate, or a function of (path, leaf).
      then: a transform.
      otherwise: a transform; None lets the rest pass.

    In a chain the rest passes to the next link. As the whole optimizer ``otherwise=None`` adds the raw gradient to the rest, so that it ascends:
    write ``otherwise=set_to_zero()``, or `freeze` it.

    Raises:
      TypeError: ``predicate`` is neither a predicate nor a function.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.where(gk.by_rank(2), gk.adamw(1e-3), gk.adam(1e-3))  # weight decay that spares biases and norms
      >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
      >>> assert set(tx.init(params).inner["where"]) == {"then", "otherwise"}
    """
    masks.question(predicate=predicate)
    yes = predicate if isinstance(predicate, masks.Predicate) else masks.by_function(predicate)
    return partition(
        {"then": then, "otherwise": identity() if otherwise is None else otherwise},
        {"then": yes, "otherwise": ~yes},
    )


@transform
def freeze(mask: Any) -> Transform:
    """Keep some leaves as they are.

    **Rule** u_leaf ← 0 on the leaves of the mask, g_leaf elsewhere.

    **Remembers** nothing.

    Args:
      mask: which leaves, as in ``masked``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(1.0), gk.freeze(gk.by_path("embedding")))
      >>> params = {"embedding": jnp.ones(1), "w": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["embedding"][0] == 0.0 and updates["w"][0] == -1.0
    """
    return masked(set_to_zero(), mask)


def _of_part(function: Any, on: Any, leaves: Any) -> Any:
    """A function of all parameters as one of the mask's leaves, the others as they are."""
    return lambda kept, *args, **kwargs: function(_merge(on, kept, leaves), *args, **kwargs)


def _check_kind(rule: Rule, kept: Any, what: str) -> None:
    """The root lets integer leaves through to what keeps them apart; here is where they are apart."""
    if not rule.takes_integers:
        check.inexact(kept, what)


def group_masks(transforms: Mapping[Any, Any], labels: Any, tree: Any) -> dict[Any, Any]:
    """For each label of ``transforms`` the tree of bools that says which leaves are its own."""
    questions = labels if isinstance(labels, dict) else {}
    for label, question in questions.items():
        masks.called(question, f"param_labels[{label!r}]")
    if questions and all(isinstance(question, masks.Predicate) for question in questions.values()):
        found = jax.tree_util.tree_map_with_path(
            lambda path, leaf: _label_of(questions, check.keystr(path), leaf, tree), tree
        )
    else:
        found, questions = masks.labels(labels, tree), {}
    used = set(jax.tree.leaves(found))
    if missing := used - set(transforms):
        check.fail(
            "needs a transform for every label",
            f"no transform for {_listed(missing)}",
            f"There are {_listed(transforms)}",
        )
    if jax.tree.leaves(tree) and (idle := set(transforms) - used):
        mend = f"The labels in use are {_listed(used)}. {_hint(questions, tree)}".rstrip()
        check.fail("needs a leaf for every transform", f"none for {_listed(idle)}", mend)
    return {
        label: jax.tree.map(lambda one, label=label: one == label, found) for label in transforms
    }


def _label_of(questions: Mapping[Any, Any], path: str, leaf: Any, tree: Any) -> Any:
    labels = [label for label, question in questions.items() if question(path, leaf)]
    if len(labels) != 1:
        mend = f"Make the predicates exclude one another and cover all. {'' if labels else _hint(questions, tree)}".rstrip()
        check.fail("needs exactly one predicate that means each leaf", f"{labels}", mend, path=path)
    return labels[0]


def _hint(questions: Mapping[Any, Any], tree: Any) -> str:
    return next(
        (hint for question in questions.values() if (hint := masks.hint(question, tree))), ""
    )


def _listed(labels: Iterable[Any]) -> str:
    return ", ".join(sorted(map(repr, labels)))


def _keep(on: Any, tree: Any) -> Any:
    """The tree with None in place of the leaves that are off."""
    return jax.tree.map(lambda yes, leaf: leaf if yes else None, on, tree)


def _merge(on: Any, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda yes, n, o: n if yes else o, on, new, old)
