"""A search space as the unit cube: one coordinate for each distribution."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit.search.distributions import Choice
from gradkit.search.spaces import needed
from gradkit.typing import PyTree


class Cube:
    """What a Gaussian process sees of the points of the unit cube.

    Hashable, so that compiled programs are kept for it.
    """

    def __init__(self, space: PyTree) -> None:
        self.dimensions = needed(space)
        self.laws = [dimension.distribution for dimension in self.dimensions]
        # What is inside an option counts where its choice, and those above it, chose it.
        place = {dimension.path: j for j, dimension in enumerate(self.dimensions)}
        self.needs = [
            [(place[path], self._index(place[path], label)) for path, label in dimension.conditions]
            for dimension in self.dimensions
        ]
        self._identity = tuple(self.dimensions)

    def _index(self, j: int, label: Any) -> int:
        """The number of an option of a choice."""
        law = self.laws[j]
        return law.labels.index(label) if isinstance(law, Choice) else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cube) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __len__(self) -> int:
        return len(self.dimensions)

    def features(self, u: jax.Array) -> jax.Array:
        """Points (m, D) as a Gaussian process sees them (m, F).

        Integers and options at the middle of their intervals; an option of a choice among more
        than two as one coordinate each; what is not active at one place.
        """
        laws, columns = self.laws, []
        chosen = [
            law.quantile(u[:, j]) if isinstance(law, Choice) else None for j, law in enumerate(laws)
        ]
        for j, law in enumerate(laws):
            active = jnp.ones(u.shape[:1], bool)
            for k, i in self.needs[j]:
                active &= chosen[k] == i
            if isinstance(law, Choice) and law.count != 2:
                hot = jax.nn.one_hot(chosen[j], len(law.labels), dtype=u.dtype)
                columns += [jnp.where(active, column, 0.5) for column in hot.T]
                continue
            column = u[:, j]
            if law.count is not None:
                column = law.cdf(law.quantile(column))
            columns.append(jnp.where(active, column.astype(u.dtype), 0.5))
        return jnp.stack(columns, axis=1)
