"""Leaves of one shape computed as one array."""

from typing import NoReturn

import jax

from gradkit import _checks as check
from gradkit._part import Part, View
from gradkit._rule import Rule
from gradkit._splice import all_members
from gradkit._stack import Stack, scope_of
from gradkit._transform import Transform, transform


@transform
def stacked(
    inner: Transform,
    *,
    transpose: bool = False,
    max_size: int | None = None,
    axis: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Rule:
    """Stack the leaves of one shape and dtype, and compute each stack as one array.

    For trees of many small leaves, which then compile and run faster, and for matrix methods such
    as ``muon`` on accelerators: a product of a stack of matrices in place of many products.

    **Update rule** that of ``inner``, the same numbers up to the rounding of sums. Each transform
    inside runs by the ``scope`` of its `Rule`:

    - ``"element"`` (``adam``, ``clip``, ``scale``) and ``"global"`` (``clip_by_global_norm``): on
      the stacks as they are;
    - ``"leaf"`` (``scale_by_trust_ratio``, ``scale_by_muon``): mapped over the rows of a stack, so
      that norms and products are those of one leaf;
    - ``"tree"`` (the default): on the tree as it is, between an unstacking and a stacking; the
      transforms inside it (``partition``, ``MultiSteps``) are stacked in their turn.

    **State** that of ``inner``, under the same names, but with ``{"float32_64x32": array}`` in
    place of every tree of arrays: one array for each shape and dtype, with one row for each leaf in
    the order of the tree (a leaf alone has no axis for rows). ``gk.inspect.unstack`` and
    ``restack`` convert it to trees and back.

    Masks see the leaves and their paths: leaves of one shape on which a mask differs are in
    different stacks.

    Args:
      inner: a transform.
      transpose: put a matrix into the stack of its transpose. A rule that does not treat both alike
        is given them apart.
      max_size: the most elements of a leaf that is stacked with others. None: 16,384, or any number
        in a chain with a matrix method such as ``scale_by_muon`` and with ``axis``. Stacking
        copies, which costs more than it saves where leaves are large and operations elementwise.
      axis: a mesh axis, over which the rows of every ``"leaf"`` rule are spread: of n devices each
        computes 1/n of the rows (with rows of zeros where n does not divide them) and keeps 1/n of
        the state.
      mesh: the mesh that has the axis; None for that of ``jax.set_mesh``.

    On CPU large rows of ``"leaf"`` rules are computed one after the other, since a product of two
    large matrices runs on all cores and a batch of such products does not.

    Raises:
      ValueError: nothing in ``inner`` can be stacked, or it takes gradients of single examples;
        ``axis`` without a ``"leaf"`` rule, ``max_size`` < 1, a mesh without the axis.
      TypeError: ``inner`` is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> params = {f"layer_{i}": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)} for i in range(9)}
      >>> tx, plain = gk.stacked(gk.lamb(0.1)), gk.lamb(0.1)
      >>> updates, state = tx.update(params, tx.init(params), params)
      >>> expected, _ = plain.update(params, plain.init(params), params)
      >>> assert jnp.allclose(updates["layer_8"]["w"], expected["layer_8"]["w"])
      >>> state.inner["stacked"]["scale_by_adam"]["moment"]["average"]["float32_2x3"].shape
      (9, 2, 3)
    """
    if max_size is not None:
        check.integer(1, max_size=max_size)
    members = list(all_members(inner))
    scopes = {scope_of(member.rule) for member in members}
    if any(member.rule.per_example for member in members):
        problem = f"inner={inner!r} has a transform that takes gradients of single examples"
        fix = "Put the transform that takes them before: chain(transform, stacked(...))"
        check.refuse(problem, expected="gradients like the parameters", fix=fix)
    if not scopes & {"element", "global", "leaf"}:
        _refuse_tree(inner)
    if axis is not None and "leaf" not in scopes:
        problem = f"axis={axis!r} has nothing to spread: no transform in {inner!r} maps over leaves"
        fix = "Remove axis=: an elementwise transform follows the sharding of its arrays"
        check.refuse(problem, expected='a rule of scope "leaf", such as scale_by_muon', fix=fix)
    if mesh is not None and axis is None:
        check.refuse("mesh= is given without axis=", fix="Name the axis to spread the rows over")
    stack = Stack(transpose, max_size, axis, mesh)
    view = View(lambda tree: tree, lambda new, old: new, stack=stack)
    part = Part("", inner, view=lambda context: view)
    # The transforms inside check their own leaves, as a mask may keep the integers away from them.
    return Rule(part.init, part.update, parts=(part,), takes_integers=True)


def _refuse_tree(inner: Transform) -> NoReturn:
    problem = f"inner={inner!r} has no transform that can be stacked"
    fix = (
        'Give the rules of your own a scope: Rule(init, update, scope="element") where each '
        'element is computed by itself, scope="leaf" where each leaf is'
    )
    check.refuse(problem, expected='a rule of scope "element", "global" or "leaf"', fix=fix)
