"""Logged values."""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit._call import Call
from gradkit._link import State
from gradkit.wrappers.watch import _GUARDED


def logged_values(state: Any) -> dict[str, Any]:
    """All that the links of a transform report, of the last step, by dotted path; the second of two equal paths gets ``_1``, the inner of two.

    Args:
      state: from ``init`` or ``update``; or any tree that holds such states.

    Raises:
      TypeError: a transform in place of its state.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.chain(gk.clip_by_global_norm(1.0, report=True), gk.sgd(0.1))
      >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> assert gk.logged_values(state) == {"clip_by_global_norm.norm": 5.0, "clip_by_global_norm.clipped": 1.0}
    """
    found: dict[str, Any] = {}

    def report(name: str, value: Any) -> None:
        count, unique = 0, name
        while unique in found:
            count += 1
            unique = f"{name}_{count}"
        found[unique] = value

    def look(part: Any, at: tuple[str, ...]) -> None:
        if isinstance(part, State):
            look(part.inner, at)
        elif isinstance(part, Call):
            check.fail(
                "metrics needs the state",
                repr(part),
                "Pass what init or update returned",
                path="state",
                error=TypeError,
            )
        elif isinstance(part, dict):
            for path, value in jax.tree_util.tree_leaves_with_path(part.get("metrics", ())):
                report(".".join((*at, check.keystr(path))), value)
            for name in _GUARDED if "last_skipped" in part else ():
                report(".".join((*at, name)), part[name])
            for name, inner in part.items():
                if name != "metrics":
                    look(inner, at if name == "inner" else (*at, str(name)))
        elif isinstance(part, (tuple, list)):
            for inner in part:
                look(inner, at)

    look(state, ())
    return dict(sorted(found.items()))  # as jit sorts them
