"""The ``state_dict`` of a torch optimizer, as the states that optax would have."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from gradkit import _checks as check
from gradkit.typing import Params, PyTree


class ScaleByAdamState(NamedTuple):
    """The moments of Adam, by optax's names."""

    count: Any
    mu: PyTree
    nu: PyTree


class TraceState(NamedTuple):
    """The momentum of SGD, by optax's name."""

    trace: PyTree


# What torch keeps of a parameter, and the names of its trees for messages.
_KEPT = {
    frozenset({"step", "exp_avg", "exp_avg_sq"}): "Adam",
    frozenset({"momentum_buffer"}): "SGD",
}

Layout = Callable[[dict[Any, np.ndarray]], PyTree]


def is_torch(saved: Any) -> bool:
    """Whether this is the ``state_dict`` of a torch optimizer."""
    return isinstance(saved, Mapping) and saved.keys() == {"state", "param_groups"}


def of_torch(saved: Any, params: Params, layout: Layout | None) -> tuple[Any, ...]:
    """The states that optax would have, in a chain.

    Raises:
      ValueError: an optimizer or an option of torch that is not covered, no order of parameters.
    """
    groups = saved["param_groups"]
    for group in groups:
        for option in ("amsgrad", "maximize", "dampening"):
            if group.get(option):
                problem = f"torch's {option}={group[option]} is not covered"
                check.refuse(problem, fix="gradkit's moments are others", path="param_groups")
    numbers = [number for group in groups for number in group["params"]]
    names = [name for group in groups for name in group.get("param_names", ())]
    if len(names) != len(numbers):
        names = numbers
    kept = {name: saved["state"].get(number) for name, number in zip(names, numbers, strict=True)}
    kinds = {frozenset(one) for one in kept.values() if _begun(one)}
    if not kinds:
        return ()
    if len(kinds) > 1 or (kind := _KEPT.get(next(iter(kinds)))) is None:
        fields = sorted({field for one in kinds for field in one})
        problem = f"a state of torch with {', '.join(fields)} is not covered"
        check.refuse(problem, expected="the state_dict of Adam, AdamW or SGD")
    for name, one in kept.items():
        if not _begun(one):
            problem = "torch keeps no state of this parameter, which had no gradient"
            check.refuse(problem, fix="Freeze it, or step once more", path=f"state.{name}")

    def tree(field: str) -> PyTree:
        arrays = {name: _array(one[field]) for name, one in kept.items()}
        return _laid_out(arrays, params, layout)

    if kind == "SGD":
        return (TraceState(tree("momentum_buffer")),)
    counts = sorted({int(_array(one["step"])) for one in kept.values()})
    if len(counts) > 1:
        problem = f"the steps {counts} of the parameters differ"
        check.refuse(problem, expected="one count of steps")
    return (ScaleByAdamState(np.int32(counts[0]), tree("exp_avg"), tree("exp_avg_sq")),)


def _begun(one: Any) -> bool:
    """Whether torch has made the state of a parameter, which it does at its first gradient."""
    return bool(one) and all(value is not None for value in one.values())


def _array(value: Any) -> np.ndarray:
    """A tensor as an array; bfloat16, which NumPy lacks, as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def _laid_out(arrays: dict[Any, np.ndarray], params: Params, layout: Layout | None) -> PyTree:
    """Torch's arrays as a tree like the parameters."""
    if layout is not None:
        return layout(arrays)
    paths = jax.tree_util.tree_leaves_with_path(params)
    by_name = {check.keystr(path): i for i, (path, _) in enumerate(paths)}
    treedef: Any = jax.tree.structure(params)
    if arrays.keys() == by_name.keys():
        return treedef.unflatten([arrays[name] for name in by_name])
    if isinstance(params, (list, tuple)) and treedef.num_leaves == len(params) == len(arrays):
        return treedef.unflatten(list(arrays.values()))  # a list has an order, as torch's has
    return _unknown_order(arrays)


def _unknown_order(arrays: dict[Any, np.ndarray]) -> NoReturn:
    shown = ", ".join(map(repr, list(arrays)[:3]))
    problem = f"which parameter is which of torch's {shown}, ... is unknown"
    fix = "Pass layout=lambda arrays: {'dense': {'kernel': arrays[0].T, 'bias': arrays[1]}}"
    check.refuse(problem, expected="layout=, a function to a tree like params", fix=fix)
