"""Parameters that start from pretrained ones."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradkit import _checks as check
from gradkit.typing import Params, PyTree


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """What `warm_start` did with each leaf: prints as a table.

    Attributes:
      taken: pairs (path in the parameters, path in the pretrained tree) of the leaves taken.
      fresh: pairs (path, reason) of the leaves that keep their initial value.
      dropped: pairs (path, reason) of the pretrained leaves that were not used.
    """

    taken: tuple[tuple[str, str], ...]
    fresh: tuple[tuple[str, str], ...]
    dropped: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [
            f"warm_start: {len(self.taken)} leaves taken, {len(self.fresh)} fresh, "
            f"{len(self.dropped)} dropped"
        ]
        rows = [
            *(("taken", path, "" if path == old else f"from {old}") for path, old in self.taken),
            *(("fresh", *row) for row in self.fresh),
            *(("dropped", *row) for row in self.dropped),
        ]
        width = max((len(path) for _, path, _ in rows), default=0)
        lines += [f"  {kind:7}  {path:{width}}  {note}".rstrip() for kind, path, note in rows]
        return "\n".join(lines)


def warm_start(
    params: Params,
    pretrained: PyTree,
    *,
    rename: Mapping[str, str | None] | Callable[[str], str | None] | None = None,
    mismatched: str = "refuse",
) -> tuple[Params, WarmStart]:
    """Take pretrained values for the leaves of the same path: fine-tuning from a checkpoint.

    Args:
      params: the initialized parameters, a tree of arrays.
      pretrained: another tree of arrays, or a flat dict by dotted path.
      rename: how paths of ``pretrained`` are called in ``params``: a dict from a path, or the
        beginning of one up to a dot, to its replacement (the longest match applies, "" is the
        beginning of all, None drops the leaf), or a function from a path to a path or None.
      mismatched: what to do with a leaf of another shape: "refuse", or "fresh" to keep the initial
        value.

    Returns:
      ``(params, report)``: a tree like ``params``, in its dtypes and shardings, and a `WarmStart`.

    Raises:
      ValueError: no leaf is taken; an entry of ``rename`` that matches nothing; two leaves for one
        path; a leaf of another shape; a fresh leaf that has a shape but no value.
      TypeError: a leaf of another kind of number; ``rename`` is neither a dict nor a function.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> old = {"backbone": {"w": jnp.ones((2, 2))}, "head": jnp.ones(1000)}
      >>> new = {"encoder": {"w": jnp.zeros((2, 2))}, "head": jnp.zeros(10)}
      >>> params, report = gk.initializers.warm_start(
      ...     new, old, rename={"backbone": "encoder", "head": None}
      ... )
      >>> print(report)
      warm_start: 1 leaves taken, 1 fresh, 1 dropped
        taken    encoder.w  from backbone.w
        fresh    head       not in pretrained
        dropped  head       by rename
      >>> assert (params["encoder"]["w"] == 1).all() and (params["head"] == 0).all()
    """
    with check.inside("warm_start"):
        check.one_of(("refuse", "fresh"), mismatched=mismatched)
        check.tree_of_arrays(params, "params")
        check.tree_of_arrays(pretrained, "pretrained")
        sources, dropped = _renamed(pretrained, rename)
        treedef: Any
        leaves, treedef = jax.tree.flatten(params)
        taken, fresh, result = [], [], []
        for (key_path, _), leaf in zip(jax.tree_util.tree_leaves_with_path(params), leaves):
            path = check.keystr(key_path)
            old, value = sources.pop(path, ("", None))
            reason = "not in pretrained"
            if value is not None and np.shape(value) != np.shape(leaf):
                reason = f"{check.shape_dtype(leaf)}, pretrained {check.shape_dtype(value)}"
                if mismatched == "refuse":
                    fix = "Pass mismatched='fresh', or drop it with rename"
                    problem = f"the pretrained leaf is {check.shape_dtype(value)}"
                    check.refuse(problem, expected=check.shape_dtype(leaf), fix=fix, path=path)
                dropped.append((old, "another shape"))
                value = None
            if value is None:
                if isinstance(leaf, jax.ShapeDtypeStruct):
                    problem = f"this leaf is fresh ({reason}), but has no value"
                    check.refuse(problem, expected="an initialized array", path=path)
                fresh.append((path, reason))
                result.append(leaf)
                continue
            taken.append((path, old))
            result.append(_like(value, leaf, path))
        dropped += [(old, f"no leaf {path} in params") for path, (old, _) in sources.items()]
        if not taken:
            have = [check.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(params)]
            first = dropped[0][0] if dropped else "nothing"
            problem = f"no leaf is taken: pretrained has {first!r}, ..., params {have[:1]}"
            check.refuse(problem, fix="Pass rename={'old': 'new'}")
        report = WarmStart(tuple(taken), tuple(fresh), tuple(dropped))
        return jax.tree.unflatten(treedef, result), report


def _renamed(tree: Any, rename: Any) -> tuple[dict[str, tuple[str, Any]], list[tuple[str, str]]]:
    """The leaves by their new path, each with its old one; and those dropped, with the reason."""
    if rename is not None and not isinstance(rename, Mapping) and not callable(rename):
        problem = f"rename={check.shown(rename)} is not a way to rename"
        check.refuse(problem, expected="a dict or a function of a path", error=TypeError)
    found: dict[str, tuple[str, Any]] = {}
    dropped: list[tuple[str, str]] = []
    used: set[str] = set()
    for key_path, value in jax.tree_util.tree_leaves_with_path(tree):
        old = check.keystr(key_path)
        new: str | None = old
        if isinstance(rename, Mapping):
            starts = [s for s in rename if not s or old == s or old.startswith(f"{s}.")]
            if starts:
                start = max(starts, key=len)
                used.update(starts)
                new = rename[start]
                if new is not None:
                    new = ".".join(part for part in (new, old[len(start) :].strip(".")) if part)
        elif rename is not None:
            new = rename(old)
            if new is not None and not isinstance(new, str):
                problem = f"rename returned {check.shown(new)} for {old!r}"
                check.refuse(problem, expected="a path or None", error=TypeError)
        if new is None:
            dropped.append((old, "by rename"))
        elif new in found:
            problem = f"the pretrained leaves {found[new][0]!r} and {old!r} are both {new!r}"
            check.refuse(problem, fix="Drop one with rename={path: None}")
        else:
            found[new] = (old, value)
    for start in rename if isinstance(rename, Mapping) else ():
        if start not in used:
            known = [check.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(tree)]
            problem = f"rename={start!r} matches no leaf of pretrained"
            check.refuse(problem, fix=check.nearest(start, known))
    return found, dropped


def _like(value: Any, leaf: Any, path: str) -> Any:
    """A value in the dtype and sharding of a leaf."""
    have, want = check.dtype_of(value), check.dtype_of(leaf)
    kinds = (jnp.complexfloating, jnp.floating, jnp.integer, jnp.bool_)
    alike = have is not None and all(
        jnp.issubdtype(have, k) == jnp.issubdtype(want, k) for k in kinds
    )
    if not alike:
        problem = f"the pretrained leaf is {check.kind_of(value)}"
        expected = check.shape_dtype(leaf)
        fix = "Convert it to a NumPy array" if have is None else ""
        check.refuse(problem, expected=expected, fix=fix, path=path, error=TypeError)
    value = jnp.array(value, want, copy=True)
    if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and leaf.committed:
        return jax.device_put(value, leaf.sharding)
    return value
