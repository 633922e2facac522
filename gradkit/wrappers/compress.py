"""State in fewer bytes: one store for every average inside a transform."""

import math
import re
from typing import Any, NamedTuple

import numpy as np

from gradkit import _checks as check
from gradkit._kept import LEAST
from gradkit._part import Part, View
from gradkit._rule import Rule
from gradkit._splice import all_members
from gradkit._transform import Transform, transform
from gradkit.masks import by_function, selected
from gradkit.stores import IDENTITY, MEANS, Store, as_store, scope_of
from gradkit.typing import Mask, StoreLike

_KEPT_WIDE = re.compile(r"embed|(^|\.)(wte|wpe|tok|pos)(\.|$)|norm|(^|\.|_)ln(_|\d|\.|$)", re.I)


class Compression(NamedTuple):
    """What the context carries: the store, and the mask of the leaves whose averages it keeps."""

    store: Store
    where: Any

    def select(self, context: Any) -> Any:
        """A tree of bools like the trees of a rule."""
        return selected(self.where, context)


def _is_large_matrix(path: str, leaf: Any) -> bool:
    size = math.prod(np.shape(leaf))
    return np.ndim(leaf) >= 2 and size >= LEAST and not _KEPT_WIDE.search(path)


@transform
def compress(inner: Transform, store: StoreLike, where: Mask | None = None) -> Rule:
    """Compress optimizer state: keep every average inside a transform by a store, as in 8 bits.

    ``compress(adamw(3e-4), gk.stores.int8())`` is AdamW in 8 bits: 2.03 bytes per parameter in
    place of 8.

    **Update rule** that of ``inner``; each average A_t is rounded to store(A_t) after the step that
    computed it, and the update of that step is computed from A_t itself.

    **State** that of ``inner``, under the same names, with what the store keeps in place of each
    array that is compressed: ``{"codes", "scale"}`` for ``int8``.

    Averages are those that a `Rule` declares as ``averages``: moments and preconditioners of
    gradkit's optimizers, ``ema``, ``trace``, ``running_sum`` and the others of ``gk.averages``. An
    average that was given a store of its own (``mu_dtype``) keeps it. Averages of weights, initial
    parameters, previous gradients, matrices of statistics, factored averages, complex leaves, and
    the states of other libraries' transforms stay as they are.

    Args:
      inner: a transform with averages.
      store: a dtype, or a `Store` such as ``gk.stores.int8()``.
      where: Leaves whose averages are compressed: see `gradkit.masks`. None: leaves of rank ≥ 2
        with at least 4096 elements whose path names no embedding (``embed``, ``wte``, ``wpe``,
        ``tok``, ``pos``) and no norm (``norm``, ``ln``).

    Codes and scales of a leaf that is sharded along its first axis are sharded with it, where no
    block crosses devices. XLA gathers those of a leaf that is sharded along another axis.

    Codes have no derivative, so ``unroll`` refuses to differentiate through them. A dtype has one.

    Inside another ``compress`` the inner one decides. Inside ``stacked``, or around it, blocks are
    those of each leaf, and those of a matrix that is stacked transposed are of its transpose.

    Raises:
      ValueError: no average in ``inner`` that takes a store; a store of means; a pattern that
        matches no parameter.
      TypeError: ``inner`` is not a transform, ``store`` is no store.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> params = {"kernel": jnp.ones((64, 64)), "bias": jnp.zeros(64)}
      >>> tx = gk.compress(gk.adamw(3e-4), gk.stores.int8())
      >>> state = tx.init(params)
      >>> moment = state.inner["compress"]["scale_by_adam"]["moment"]["average"]
      >>> assert moment["kernel"]["codes"].dtype == jnp.uint8
      >>> assert moment["bias"].dtype == jnp.float32
      >>> g = jax.tree.map(lambda p: p + 0.5, params)
      >>> first, _ = tx.update(g, state, params)
      >>> plain, _ = gk.adamw(3e-4).update(g, gk.adamw(3e-4).init(params), params)
      >>> assert jnp.allclose(first["kernel"], plain["kernel"])  # of averages before rounding

    Reference: Dettmers et al. 2022, https://arxiv.org/abs/2110.02861.
    """
    kept = as_store(store, "store")
    if kept == IDENTITY:
        expected = "a dtype, or a Store such as gk.stores.int8()"
        check.refuse("store=None keeps every average as it is", expected=expected)
    if getattr(kept.encode, "func", kept.encode) in MEANS:
        problem = f"store={kept!r} keeps means, not elements"
        fix = "Give it to the averages whose means it keeps, as in adafactor"
        check.refuse(problem, expected="a store such as gk.stores.int8()", fix=fix)
    averages = (each for member in all_members(inner) for each in member.rule.averages.values())
    if all(own is not None for own in averages):
        problem = f"inner={inner!r} has no average to compress"
        fix = 'A rule of your own declares them: Rule(init, update, averages={"average": None})'
        check.refuse(
            problem, expected="a transform such as adamw, with averages in float32", fix=fix
        )
    mask = by_function(_is_large_matrix) if where is None else where
    view = View(lambda tree: tree, lambda new, old: new, compression=Compression(kept, mask))
    part = Part("", inner, view=lambda context: view)
    # The transforms inside check their own leaves, as a mask may keep the integers away from them.
    held = "" if scope_of(kept) == "element" else "the codes of averages"
    return Rule(part.init, part.update, parts=(part,), takes_integers=True, held_fixed=held)
