"""What a solve returns."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

RUNNING, CONVERGED, MAX_STEPS, NON_FINITE, NO_DESCENT = -1, 0, 1, 2, 3
REASONS = {
    CONVERGED: "converged",
    MAX_STEPS: "max_steps",
    NON_FINITE: "non-finite",
    NO_DESCENT: "no descent",
}
MESSAGES = {
    CONVERGED: "The largest element of the gradient is at most tol.",
    MAX_STEPS: "The gradient is larger than tol after max_steps steps.",
    NON_FINITE: "The value or the gradient after the last step is not finite. x is the point "
    "before it. A smaller learning rate, or a transform with a line search, may avoid this.",
    NO_DESCENT: "The line search found no lower value: either the direction does not descend "
    "(damp the Hessian, or modify it), or the value is at its rounding error, so that tol is too "
    "small for the dtype.",
}


class Trace(NamedTuple):
    """Every point of a solve, the first included. Under ``jit`` and ``vmap`` the rest is NaN.

    Attributes:
      x: the points, with a leading axis of steps.
      value: the values there.
      grad_norm: the largest elements of the gradients there.
      evaluations: the number of evaluations so far, as floats.
    """

    x: Any
    value: Any
    grad_norm: Any
    evaluations: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Result:
    """The solution that ``minimize`` and ``least_squares`` return, a pytree.

    Attributes:
      x: the last point, a tree like ``x0``.
      value: the value there.
      grad_norm: the largest magnitude of an element of the gradient there.
      steps: the number of updates.
      evaluations: how often the function was evaluated, with or without its gradient, at the points
        and in line searches. Jacobians, products with the Hessian, and what other transforms
        evaluate (``nesterov`` its gradient) are not counted.
      status: 0 converged, 1 max_steps, 2 non-finite, 3 no descent.
      trace: a `Trace` where one was wanted, else None.
      aux: the auxiliary output of the function at ``x``, with ``has_aux``, else None.
    """

    x: Any
    value: Any
    grad_norm: Any
    steps: Any
    evaluations: Any
    status: Any
    trace: Trace | None = None
    aux: Any = None

    @property
    def converged(self) -> Any:
        """Whether the gradient is within the tolerance; an array of bools after ``vmap``."""
        found = self.status == CONVERGED
        return found if self._is_open() else bool(found)

    @property
    def reason(self) -> Any:
        """``converged``, ``max_steps``, ``non-finite`` or ``no descent``; an array after ``vmap``.

        Inside ``jit`` there are no strings: compare ``status`` there.
        """
        return self._words(REASONS)

    @property
    def message(self) -> Any:
        """The reason as a sentence."""
        return self._words(MESSAGES)

    def _words(self, words: dict[int, str]) -> Any:
        if isinstance(self.status, jax.core.Tracer):
            return self.status
        codes = np.asarray(self.status)
        if codes.ndim:
            return np.array([words[int(code)] for code in codes.ravel()]).reshape(codes.shape)
        return words[int(codes)]

    def _is_open(self) -> bool:
        return isinstance(self.status, jax.core.Tracer) or bool(np.ndim(self.status))

    def __repr__(self) -> str:
        """The fields that are read first, with small arrays by value."""
        fields = {"reason": self.reason, "steps": self.steps, "evaluations": self.evaluations}
        fields |= {"value": self.value, "grad_norm": self.grad_norm}
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in fields.items())
        return f"Result({shown}, x={jax.tree.map(_Leaf, self.x)})"


class _Leaf:
    """A leaf as it is printed: by value where it is small."""

    def __init__(self, leaf: Any):
        self.leaf = leaf

    def __repr__(self) -> str:
        return _shown(self.leaf)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, jax.core.Tracer) or np.size(value) > 12:
        return f"{value.dtype}{list(value.shape)}"
    array = np.asarray(value)
    if array.ndim:
        return np.array2string(array, precision=6, separator=", ")
    return f"{array.item():.6g}" if array.dtype.kind == "f" else str(array.item())
