"""How a rule's averages are kept: encoded by a store after each update, decoded before the next.

A rule declares its averages by their keys in its state, each with the store that it was given, or
None. Those without one take the store of ``compress``, for the leaves that it selects.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit._rule import Context, Rule
from gradkit._stored import label
from gradkit.typing import PyTree

LEAST = 4096  # elements; what is smaller is not worth a block

_GOLDEN = np.uint32(0x9E3779B9)  # 2³² over the golden ratio


def mixed(x: Any) -> Any:
    """A hash of 32-bit integers in which every bit depends on every bit."""
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


class Kept:
    """The averages of a rule on some trees.

    Args:
      rule: the rule.
      name: its name in the chain.
      like: the updates, or the parameters in ``init``: what the averages are like.
      context: the context of the rule.
    """

    def __init__(self, rule: Rule, name: str, like: PyTree, context: Context):
        self.averages, self.name, self.context = rule.averages, name, context
        self.leaves: list[Any]
        self.treedef: Any
        self.leaves, self.treedef = jax.tree.flatten(like)
        stacks = self._are_stacks() and isinstance(like, dict)
        self.names = sorted(like) if stacks else []

    def decode(self, state: Any) -> Any:
        """The state with every average as arrays like the updates."""

        def decode(store: Any, stored: Any, i: int, key: Any) -> Any:
            return self._rows(i, store.decode, stored, self.leaves[i])

        return self._mapped(state, decode)

    def encode(self, state: Any, step: Any = None) -> Any:
        """The state with every average as its store keeps it; without a step to nearest."""

        def encode(store: Any, average: Any, i: int, salt: int) -> Any:
            if step is None or not store.keyed:
                kept = self._rows(i, store.encode, average)
                return kept if self._has_rows(i) else label(kept, store, average)
            now = (jnp.asarray(step).astype(jnp.uint32) + np.uint32(1)) * _GOLDEN
            places = np.asarray(self._places(i), np.uint32)
            return self._rows(i, store.encode, average, mixed(now ^ (places + np.uint32(salt))))

        return self._mapped(state, encode)

    def _mapped(self, state: Any, function: Callable[..., Any]) -> Any:
        selected = self._selected()
        for key, own in self.averages.items():
            stores = selected if own is None else [own] * len(self.leaves)
            if not any(stores):
                continue
            salt = zlib.crc32(f"{self.context.place}/{self.name}/{key}".encode())

            def leaf(store: Any, i: int, kept: Any, salt: int = salt) -> Any:
                return kept if store is None else function(store, kept, i, salt)

            def change(average: Any, stores: Any = stores, leaf: Any = leaf) -> Any:
                kept = self.treedef.flatten_up_to(average)
                return self.treedef.unflatten(map(leaf, stores, range(len(kept)), kept))

            state = _changed(state, key.split("."), change)
        return state

    def _selected(self) -> list[Any]:
        """The store of ``compress`` for each leaf, or None."""
        compression = self.context.compression
        same: Any = jax.tree.structure(self.context.leaves)
        if compression is None or same != self.treedef:
            return [None] * len(self.leaves)
        wanted = jax.tree.leaves(compression.select(self.context))
        whole = jax.tree.leaves(self.context.leaves)

        def fits(leaf: Any, param: Any) -> bool:
            kinds = jax.dtypes.result_type(leaf), jax.dtypes.result_type(param)
            real = all(jnp.issubdtype(kind, jnp.floating) for kind in kinds)
            return real and (
                jnp.shape(leaf) == jnp.shape(param) or math.prod(jnp.shape(leaf)) >= LEAST
            )

        return [
            compression.store if want and fits(leaf, param) else None
            for want, leaf, param in zip(wanted, self.leaves, whole, strict=True)
        ]

    # ---- inside ``stacked`` ---------------------------------------------------------------------

    def _are_stacks(self) -> bool:
        layout = self.context.layout
        return layout is not None and layout.are_stacks

    def _has_rows(self, i: int) -> bool:
        return bool(self.names) and not self.context.layout.alone(self.names[i])

    def _rows(self, i: int, function: Callable[..., Any], *args: Any) -> Any:
        """The function of a leaf, or of each row of a stack."""
        return (jax.vmap(function) if self._has_rows(i) else function)(*args)

    def _places(self, i: int) -> Any:
        """The number of a leaf in the tree, or those of the rows of a stack."""
        layout = self.context.layout
        if layout is None:
            return i
        if not self.names:
            return layout.pick(list(range(len(jax.tree.leaves(layout.whole.leaves)))))
        rows = layout.rows[self.names[i]]
        return rows if self._has_rows(i) else rows[0]


def _changed(state: Any, path: list[str], change: Callable[[Any], Any]) -> Any:
    first, *rest = path
    return {**state, first: _changed(state[first], rest, change) if rest else change(state[first])}
