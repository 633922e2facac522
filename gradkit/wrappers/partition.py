"""Parameter groups: different transforms for different leaves.

| | |
|---|---|
| ``masked(inner, mask)`` | the leaves of the mask through ``inner``, the others unchanged |
| ``partition(transforms, labels)`` | each leaf through the transform of its label |
| ``where(predicate, then, otherwise)`` | two groups |
| ``freeze(mask)`` | the updates of the mask's leaves to zero |
| ``selective_transform(tx, freeze_mask=m)`` | m's leaves to zero, the others through ``tx`` |

A mask is a tree of bools, a predicate (``by_path``, ``by_rank``, ...) or a function of the
parameters: see ``gradkit.masks``. An inner transform sees a tree in which the other leaves are
None, so norms and counts are those of its own leaves.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from gradkit import _checks as check
from gradkit import masks
from gradkit._chain import chain
from gradkit._member import is_stateless
from gradkit._part import Part, View
from gradkit._rule import Context, Rule
from gradkit._transform import Transform, transform
from gradkit.masks.predicates import is_bool
from gradkit.transforms.sanitize import set_to_zero
from gradkit.typing import Mask, Params, PyTree


@transform
def masked(inner: Transform, mask: Mask, *, mask_compatible_extra_args: bool = False) -> Rule:
    """Apply a transform to the leaves selected by a mask; leave the others unchanged.

    **Update rule** u_leaf ← inner(g)_leaf on the leaves of the mask, g_leaf elsewhere.

    **State** that of ``inner``, for the leaves of the mask alone.

    Args:
      inner: a transform.
      mask: which leaves: a tree of bools (a prefix will do), a predicate, or a function of the
        parameters.
      mask_compatible_extra_args: mask every extra argument that is a tree like the updates, not
        ``grad`` alone.

    In a chain the next transform sees the other leaves unchanged. As the whole optimizer this adds
    their raw gradient to them, so that they ascend:
    write ``where(predicate, inner, otherwise=set_to_zero())``, or `freeze` them.

    Raises:
      ValueError: a path pattern that matches no parameter, a mask that does not fit the tree.
      TypeError: a mask of anything but bools.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.masked(gk.scale(2.0), gk.by_path("w"))
      >>> params = {"w": jnp.ones(1), "b": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["w"][0] == 2.0 and updates["b"][0] == 1.0

    **Differs from optax**: a tree of bools that is callable is still a tree.
    """

    def select(context: Context) -> PyTree:
        return masks.resolve(mask, context.leaves, whole=context.whole)

    view = _selection(select, mask_compatible_extra_args)
    part = Part("", inner, view=view, selects=True)
    return Rule(part.init, part.update, parts=(part,), sharded=True)


@transform
def partition(
    transforms: Mapping[Any, Transform],
    param_labels: PyTree | Callable[[Params], PyTree],
    *,
    mask_compatible_extra_args: bool = False,
) -> Rule:
    """Apply to each leaf the transform of its label.

    **Update rule** u_leaf ← T(g)_leaf with T = transforms[label(leaf)].

    **State** that of each transform under its label, for its own leaves.

    Args:
      transforms: a transform for each label.
      param_labels: a tree of labels (a prefix will do), a function of the parameters that returns
        one, or a dict that gives a predicate for each label.
      mask_compatible_extra_args: as in ``masked``.

    Raises:
      ValueError: labels without a transform, leaves that two predicates select, or none.
      TypeError: a value of ``transforms`` that is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> labels = {"fast": gk.by_path("w"), "slow": ~gk.by_path("w")}
      >>> tx = gk.partition({"fast": gk.sgd(1.0), "slow": gk.sgd(0.1)}, labels)
      >>> params = {"w": jnp.ones(1), "b": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["w"][0] == -1.0 and abs(float(updates["b"][0]) + 0.1) < 1e-7
    """
    if not isinstance(transforms, Mapping):
        problem = f"transforms={check.shown(transforms)} is not a dict"
        check.refuse(problem, expected="a transform for each label", error=TypeError)
    check.part(**{f"transforms[{label!r}]": part for label, part in transforms.items()})

    def group(label: Any) -> Callable[[Context], PyTree]:
        def select(context: Context) -> PyTree:
            found = labels_of(transforms, param_labels, context.leaves, context.whole)
            return jax.tree.map(lambda one: one == label, found)

        return select

    all_extras = mask_compatible_extra_args
    parts = tuple(
        Part(str(label), part, view=_selection(group(label), all_extras), selects=True)
        for label, part in transforms.items()
    )

    def init(params: Any, *, context: Any) -> Any:
        states = {part.name: part.init(params, context=context) for part in parts}
        return {name: state for name, state in states.items() if not is_stateless(state)} or ()

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        after = {}
        # The groups share no leaf, so each part still finds the gradients of its own.
        for part in parts:
            kept = state.get(part.name, ()) if state else ()
            updates, kept = part.update(updates, kept, params, context=context)
            if state and part.name in state:
                after[part.name] = kept
        return updates, after or ()

    return Rule(init, update, parts=parts, sharded=True)


@transform
def multi_transform(
    transforms: Mapping[Any, Transform],
    param_labels: PyTree | Callable[[Params], PyTree],
    *,
    mask_compatible_extra_args: bool = False,
) -> Transform:
    """Apply to each leaf the transform of its label: ``partition`` under its older name in optax.

    **Update rule** as ``partition``.

    **State** that of ``partition``.

    Args:
      transforms: a transform for each label.
      param_labels: as in ``partition``.
      mask_compatible_extra_args: as in ``masked``.

    Raises:
      ValueError: as ``partition``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.multi_transform({"a": gk.scale(2.0)}, lambda params: {"w": "a"})
      >>> assert tx.update({"w": jnp.ones(1)}, tx.init({"w": jnp.ones(1)}))[0]["w"][0] == 2.0
    """
    return partition(
        transforms, param_labels, mask_compatible_extra_args=mask_compatible_extra_args
    )


@transform
def where(
    predicate: masks.Predicate | Callable[[str, Any], bool], then: Transform, otherwise: Transform
) -> Transform:
    """Split the leaves by a predicate into two groups, each with its own transform.

    **Update rule** u_leaf ← then(g)_leaf where the predicate is true, otherwise(g)_leaf elsewhere.

    **State** those of both, under ``then`` and ``otherwise``.

    Args:
      predicate: a predicate, or a function of (path, leaf).
      then: a transform.
      otherwise: a transform; ``identity()`` leaves the updates as they are, ``set_to_zero()``
        freezes.

    Raises:
      TypeError: ``predicate`` is neither a predicate nor a function.
      ValueError: a path pattern that matches no parameter.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.where(gk.by_rank(2), gk.adamw(1e-3), gk.adam(1e-3))  # biases do not decay
      >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
      >>> assert set(tx.init(params).inner["where"]) == {"then", "otherwise"}
    """
    masks.question(predicate=predicate)
    yes = predicate if isinstance(predicate, masks.Predicate) else masks.by_function(predicate)
    return partition({"then": then, "otherwise": otherwise}, {"then": yes, "otherwise": ~yes})


@transform
def freeze(mask: Mask) -> Transform:
    """Set the updates of some leaves to zero, so that these parameters stay as they are.

    **Update rule** u_leaf ← 0 on the leaves of the mask, g_leaf elsewhere.

    Args:
      mask: which leaves, as in ``masked``; True for all, False for none.

    Raises:
      ValueError: as ``masked``.
      TypeError: as ``masked``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.sgd(1.0), gk.freeze(gk.by_path("embedding")))
      >>> params = {"embedding": jnp.ones(1), "w": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["embedding"][0] == 0.0 and updates["w"][0] == -1.0
    """
    return masked(set_to_zero(), mask)


@transform
def selective_transform(optimizer: Transform, *, freeze_mask: Mask) -> Transform:
    """Optimize some leaves and freeze the others, without state for those.

    **Update rule** u_leaf ← 0 on the leaves of the mask, optimizer(g)_leaf elsewhere.

    **State** that of ``optimizer``, for the leaves it trains.

    Args:
      optimizer: a transform.
      freeze_mask: which leaves to freeze, as in ``masked``; True for all, False for none.

    Raises:
      ValueError: as ``masked``.
      TypeError: ``optimizer`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> params = {"a": jnp.ones(1), "b": jnp.ones(1)}
      >>> tx = gk.selective_transform(gk.sgd(1.0), freeze_mask={"a": True, "b": False})
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> assert updates["a"][0] == 0.0 and updates["b"][0] == -1.0
    """
    # The mask as it was given is judged first, so that messages are about it.
    return chain(freeze(freeze_mask), masked(optimizer, _others(freeze_mask)))


def _others(mask: Any) -> Any:
    """The mask of the other leaves."""
    if isinstance(mask, masks.Predicate):
        return ~mask
    if callable(mask) and jax.tree_util.all_leaves([mask]):
        return lambda params: jax.tree.map(lambda on: not on, masks.resolve(mask, params))
    return jax.tree.map(lambda on: not on if is_bool(on) else on, mask)


# ---- how a group sees a tree -------------------------------------------------------------------


def _selection(select: Callable[[Context], PyTree], all_extras: bool) -> Callable[[Context], View]:
    """The view of the leaves that a mask selects."""

    def view(context: Context) -> View:
        on = select(context)

        def see(tree: Any) -> Any:
            seen = jax.tree.map(lambda yes, leaf: leaf if yes else None, on, tree)
            # A bare leaf that is not selected leaves an empty tree; None would be no parameters.
            return () if seen is None and tree is not None else seen

        def merge(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda yes, n, o: n if yes else o, on, new, old)

        def extra(name: str, value: Any, updates: Any) -> Any:
            if name in ("value_fn", "loss_fn", "obj_fn", "residual_fn") and callable(value):
                # A function of all parameters as one of the group's, the others fixed.
                @functools.wraps(value)  # with the names of its arguments
                def within(own: Any, *args: Any, **kwargs: Any) -> Any:
                    return value(merge(own, context.leaves), *args, **kwargs)

                return within
            if name == "grad" or (all_extras and _is_like(value, updates)):
                return see(value)
            return value

        return View(see, merge, extra)

    return view


def _is_like(value: Any, updates: Any) -> bool:
    have: Any = jax.tree.structure(value)
    return bool(have == jax.tree.structure(updates))


def labels_of(transforms: Mapping[Any, Any], labels: Any, tree: PyTree, whole: PyTree) -> PyTree:
    """The label of each leaf, each of which has a transform."""
    questions = labels if isinstance(labels, dict) else {}
    for label, question in questions.items():
        masks.called(question, f"param_labels[{label!r}]")
    if questions and all(isinstance(question, masks.Predicate) for question in questions.values()):
        answers = {k: masks.resolve(q, tree, whole=whole) for k, q in questions.items()}
        found = jax.tree_util.tree_map_with_path(
            lambda path, *yes: _only_label(path, tuple(answers), yes), *answers.values()
        )
    else:
        found = masks.labels(labels, tree)
    if missing := set(jax.tree.leaves(found)) - set(transforms):
        problem = f"no transform for the label {_listed(missing)}"
        check.refuse(problem, expected=f"one of {_listed(transforms)}")
    return found


def _only_label(path: Any, labels: tuple[Any, ...], answers: tuple[bool, ...]) -> Any:
    chosen = [label for label, yes in zip(labels, answers, strict=True) if yes]
    if len(chosen) != 1:
        which = f"the predicates of {_listed(chosen)}" if chosen else "no predicate"
        fix = "Make the predicates exclude one another and cover all leaves"
        problem = f"{which} select this leaf" if chosen else f"{which} selects this leaf"
        check.refuse(problem, expected="exactly one", fix=fix, path=check.keystr(path))
    return chosen[0]


def _listed(labels: Iterable[Any]) -> str:
    return ", ".join(sorted(map(repr, labels)))
