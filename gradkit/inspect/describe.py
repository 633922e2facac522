"""Which leaf goes where, and what it costs: a plan to read before the first step."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._schedule import Schedule
from gradkit._transform import Transform
from gradkit._walk import Node, walk
from gradkit.typing import Params


@dataclass(frozen=True)
class Group:
    """The leaves that take the same way through a transform."""

    route: tuple[str, ...]  # the masks and labels that select them, outermost first
    paths: tuple[str, ...]
    shapes: tuple[str, ...]
    count: int  # numbers in them


@dataclass(frozen=True)
class Description:
    """What `describe` found; ``print`` it."""

    transform: str
    groups: tuple[Group, ...]
    state_bytes: int
    count: int
    hyperparameters: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        each = self.state_bytes / max(self.count, 1)
        lines = [
            self.transform,
            f"{self.count:,} parameters, "
            f"{self.state_bytes:,} bytes of state ({each:.2f} a parameter)",
        ]
        for group in self.groups:
            noun = "leaf" if len(group.paths) == 1 else "leaves"
            many = f"{len(group.paths)} {noun}, {group.count:,} parameters"
            lines += ["", f"{' > '.join(group.route) or 'all'}: {many}"]
            width = max(map(len, group.paths), default=0)
            lines += [
                f"  {path:<{width}}  {shape}"
                for path, shape in zip(group.paths, group.shapes, strict=True)
            ]
        for name, numbers in self.hyperparameters.items():
            shown = ", ".join(f"{key}={value}" for key, value in numbers.items())
            lines += ["", f"{name or 'hyperparameters'}: {shown}"]
        return "\n".join(lines)


def describe(tx: Transform, params: Params) -> Description:
    """Describe a transform: its groups of parameters, bytes of state and hyperparameters.

    Args:
      tx: the transform, and
      params: the parameters, or their ``ShapeDtypeStruct``.

    Returns:
      a `Description`, to print or to read: its groups (route, paths, shapes, count), the bytes of
      state, the numbers of every part.

    Raises:
      ValueError: labels or masks that do not fit the parameters, as ``tx.init`` would.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.where(gk.by_rank(2), gk.adamw(1e-3), gk.sgd(1e-2))
      >>> plan = gk.describe(tx, {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)})
      >>> print(plan)
      where(by_rank(2), adamw(0.001), sgd(0.01))
      8 parameters, 56 bytes of state (7.00 a parameter)
      <BLANKLINE>
      otherwise: 1 leaf, 2 parameters
        bias  float32[2]
      <BLANKLINE>
      then: 1 leaf, 6 parameters
        kernel  float32[3, 2]
      <BLANKLINE>
      otherwise: learning_rate=0.01
      <BLANKLINE>
      then: learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, weight_decay=0.0001
      >>> assert plan.state_bytes == 6 * 8 + 8  # two averages, two scalars
    """
    with check.inside("describe"):
        check.part(tx=tx)
        check.tree_of_arrays(params, "params")
    state = jax.tree.leaves(jax.eval_shape(tx.init, params).inner)  # refuses what does not fit
    leaves = jax.tree_util.tree_leaves_with_path(params)
    routes: dict[str, tuple[str, ...]] = {check.keystr(path): () for path, _ in leaves}
    numbers: dict[str, dict[str, Any]] = {}
    for node in walk(tx):
        for name in _selected(node, params):
            routes[name] += (node.path or node.transform.factory.__name__,)
        if node.written and (own := _numbers(node.transform)):
            numbers[node.path] = own
    sizes = {check.keystr(path): int(np.prod(np.shape(leaf))) for path, leaf in leaves}
    shapes = {check.keystr(path): check.shape_dtype(leaf) for path, leaf in leaves}
    groups = []
    for route in sorted(set(routes.values())):
        paths = tuple(path for path in routes if routes[path] == route)
        count = sum(sizes[path] for path in paths)
        groups.append(Group(route, paths, tuple(shapes[path] for path in paths), count))
    size = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in state)
    return Description(repr(tx), tuple(groups), size, sum(sizes.values()), numbers)


def _selected(node: Node, params: Any) -> list[str]:
    """The paths of the leaves that a transform selects, where it is a group or has a mask."""
    seen = node.see(params)
    if node.rule is not None and node.rule.mask is not None:
        on = node.rule.mask(node.context(params))
        seen = jax.tree.map(lambda yes, leaf: leaf if yes else None, on, seen)
    elif not node.group:
        return []
    paths = [check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    inside = {check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(seen)}
    # A complex leaf taken apart has two paths below its own.
    return [p for p in paths if p in inside or any(q.startswith(f"{p}.") for q in inside)]


def _numbers(tx: Transform) -> dict[str, Any]:
    """The numbers and schedules among the arguments of a transform."""
    return {
        name: value
        for name, value in tx.arguments.items()
        if isinstance(value, (float, Schedule, jax.Array)) and not numerics.is_key(value)
    }
