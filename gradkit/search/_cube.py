"""A search space as the unit cube: one coordinate for each distribution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit.search._files import paths
from gradkit.search.distributions import Choice, Distribution
from gradkit.typing import PyTree


class Cube:
    """The maps between points u of the cube, configurations, and what a Gaussian process sees.

    Hashable, so that compiled programs are kept for it.
    """

    def __init__(self, space: PyTree) -> None:
        self.known: dict[str, Distribution] = paths(space)
        if not self.known:
            check.refuse(
                f"space={check.shown(space)} holds no distribution",
                expected="at least one, such as search.log_uniform(1e-4, 1.0)",
            )
        names = list(self.known)
        # A distribution inside an option is active where its choice, and those above it, chose it.
        self.needs: list[list[tuple[int, int]]] = [[] for _ in names]
        for j, path in enumerate(names):
            for k, above in enumerate(names):
                if path.startswith(f"{above}.") and isinstance(self.known[above], Choice):
                    rest = path[len(above) + 1 :]
                    labels = [f"{label}." for label in self.known[above].labels]  # type: ignore[attr-defined]
                    found = [i for i, label in enumerate(labels) if rest.startswith(label)]
                    self.needs[j].append((k, max(found, key=lambda i: len(labels[i]))))
        self._identity = tuple(self.known.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cube) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __len__(self) -> int:
        return len(self.known)

    def config(self, u: np.ndarray) -> dict[str, Any]:
        """The configuration of a point (D,): the values of the active distributions."""
        u, laws = np.asarray(u, np.float64), list(self.known.values())
        found = {}
        for j, (path, law) in enumerate(self.known.items()):
            if all(int(laws[k].quantile(float(u[k]))) == i for k, i in self.needs[j]):
                found[path] = law.read(float(u[j]))
        return found

    def place(self, config: dict[str, Any]) -> np.ndarray:
        """The point of a configuration; 0.5 for what is not active."""
        return np.array(
            [law.place(config[p]) if p in config else 0.5 for p, law in self.known.items()]
        )

    def features(self, u: jax.Array) -> jax.Array:
        """Points (m, D) as a Gaussian process sees them (m, F).

        Integers and options at the middle of their intervals; an option of a choice among more
        than two as one coordinate each; what is not active at one place.
        """
        laws, columns = list(self.known.values()), []
        chosen = [
            law.quantile(u[:, j]) if isinstance(law, Choice) else None for j, law in enumerate(laws)
        ]
        for j, law in enumerate(laws):
            active = jnp.ones(u.shape[:1], bool)
            for k, i in self.needs[j]:
                active &= chosen[k] == i
            if isinstance(law, Choice) and law.count != 2:
                hot = jax.nn.one_hot(chosen[j], law.count, dtype=u.dtype)
                columns += [jnp.where(active, column, 0.5) for column in hot.T]
                continue
            column = u[:, j]
            if law.count is not None:
                column = law.cdf(law.quantile(column))
            columns.append(jnp.where(active, column.astype(u.dtype), 0.5))
        return jnp.stack(columns, axis=1)
