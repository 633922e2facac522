"""Which leaf goes where, and what it costs: a plan to read before the first step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit import masks
from gradkit._call import Call
from gradkit._link import Links
from gradkit._schedule import Schedule
from gradkit._transform import Transform
from gradkit.transforms.weight_decay import (
    add_decayed_weights,
    add_elastic_net_penalty,
    add_l1_penalty,
    add_smoothed_l1_penalty,
)
from gradkit.wrappers.complex import _split, split_real_and_imaginary
from gradkit.wrappers.partition import _keep, group_masks, masked, partition

_PENALTIES = (add_decayed_weights, add_elastic_net_penalty, add_l1_penalty, add_smoothed_l1_penalty)


@dataclass(frozen=True)
class Group:
    """The leaves that take the same way through a transform."""

    route: tuple[str, ...]  # the masks and labels that mean them, outermost first
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
        lines = [
            self.transform,
            f"{self.count:,} parameters, {self.state_bytes:,} bytes of state ({self.state_bytes / max(self.count, 1):.2f} a parameter)",
        ]
        for group in self.groups:
            many = f"{len(group.paths)} {'leaf' if len(group.paths) == 1 else 'leaves'}, {group.count:,} parameters"
            lines += ["", f"{' > '.join(group.route) or 'all'}: {many}"]
            width = max(map(len, group.paths), default=0)
            lines += [
                f"  {path:<{width}}  {shape}"
                for path, shape in zip(group.paths, group.shapes, strict=True)
            ]
        for name, numbers in self.hyperparameters.items():
            lines += [
                "",
                f"{name or 'hyperparameters'}: {', '.join(f'{key}={value}' for key, value in numbers.items())}",
            ]
        return "\n".join(lines)


def describe(tx: Transform, params: Any) -> Description:
    """Say which leaf goes through which group of a transform, with counts, state and hyperparameters.

    Args:
      tx: the transform, and
      params: the parameters, or their ``ShapeDtypeStruct``.

    Returns:
      a `Description`, to print or to read: its groups (route, paths, shapes, count), the bytes of state, the numbers of every part.

    Raises:
      ValueError: labels or masks that do not fit the parameters, as ``tx.init`` would.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.where(gk.by_rank(2), gk.adamw(1e-3), gk.sgd(1e-2))
      >>> plan = gk.describe(tx, {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)})
      >>> print(plan)
      where(by_rank(at_least=2), adamw(0.001), otherwise=sgd(0.01))
      8 parameters, 56 bytes of state (7.00 a parameter)
      <BLANKLINE>
      where.otherwise: 1 leaf, 2 parameters
        bias  float32[2]
      <BLANKLINE>
      where.then: 1 leaf, 6 parameters
        kernel  float32[3, 2]
      <BLANKLINE>
      then: learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, weight_decay=0.0001
      <BLANKLINE>
      otherwise: learning_rate=0.01
      >>> assert plan.state_bytes == 6 * 8 + 8  # two averages of the kernel, and the weight that each has not seen
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    routes: dict[str, tuple[str, ...]] = {check.keystr(path): () for path, _ in leaves}
    for name, on in _masks(tx, params, ""):
        for path, yes in jax.tree_util.tree_leaves_with_path(on):
            routes[check.keystr(path)] += (name,) if yes else ()
    sizes = {check.keystr(path): int(np.prod(np.shape(leaf))) for path, leaf in leaves}
    shapes = {check.keystr(path): check.shape_dtype(leaf) for path, leaf in leaves}
    groups = []
    for route in sorted(set(routes.values())):
        paths = tuple(path for path in routes if routes[path] == route)
        groups.append(
            Group(
                route,
                paths,
                tuple(shapes[path] for path in paths),
                sum(sizes[path] for path in paths),
            )
        )
    state = jax.tree.leaves(jax.eval_shape(tx.init, params).inner)
    size = sum(int(np.prod(kept.shape)) * kept.dtype.itemsize for kept in state)
    return Description(repr(tx), tuple(groups), size, sum(sizes.values()), dict(_numbers(tx, "")))


def _masks(part: Transform, tree: Any, at: str, own: str = "") -> Iterator[tuple[str, Any]]:
    """Every mask and label of a transform and of those within it, by name, with the tree of bools of the leaves it means."""
    body, own = (
        part.body,
        own or part.factory.__name__,
    )  # as a link does, a part goes by the name of the outermost factory that stands for it
    name = f"{at}.{own}" if at else own
    if isinstance(body, Links):
        for _, child in body:
            yield from _masks(child, tree, at)
    elif isinstance(body, Transform):
        yield from _masks(body, tree, at, own)
    elif part.factory is partition:
        with check.inside(name):
            groups = group_masks(part.transforms, part.param_labels, tree)
        for label, on in groups.items():
            yield f"{name}.{label}", on
            yield from _masks(part.transforms[label], _keep(on, tree), f"{name}.{label}")
    elif part.factory is split_real_and_imaginary:
        for inner, on in _masks(part.inner, _split(tree), name):
            yield inner, jax.tree.map(lambda _, parts: any(jax.tree.leaves(parts)), tree, on)
    else:
        if part.factory in (masked, *_PENALTIES) and (
            part.factory is masked or part.mask is not None
        ):
            with check.inside(name):
                on = masks.resolve(part.mask, tree)
            yield name, on
            tree = _keep(on, tree)
        inside = {
            key: child for key, child in part.children().items() if isinstance(child, Transform)
        }
        for key, child in inside.items():
            yield from _masks(child, tree, name if len(inside) == 1 else f"{name}.{key}")


def _numbers(part: Call, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The numbers and schedules of a transform and of the transforms in it."""
    own = {
        name: value
        for name, value in part.arguments.items()
        if isinstance(value, (float, Schedule, jax.Array)) and not _is_key(value)
    }
    if own:
        yield at, own
    for name, child in part.children().items():
        if isinstance(child, Transform):
            yield from _numbers(child, f"{at}.{name}" if at else name)


def _is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
