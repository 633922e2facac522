"""Steps in sequence, each fitted to what the steps before it give."""

import dataclasses
from collections.abc import Iterator
from typing import Any, overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit.data.preprocessing import _inputs as inputs
from gradkit.data.preprocessing import _rows as sketch
from gradkit.data.preprocessing.base import Fitted, Step
from gradkit.metrics._accumulator import accumulator
from gradkit.typing import PyTree


@accumulator("step")
class FittedPipeline(Fitted):
    """Keep fitted steps in sequence.

    **Value** ``transform(x)`` is the transform of the last step of ... of the first step of x.

    Args:
      step: the pipeline that was fitted.
      samples: how many samples it was fitted on.
      seen: hashes of samples, as they were before the first step.
      parts: the fitted steps; ``fitted[i]`` is the i-th.
    """

    step: Any
    samples: jax.Array
    seen: jax.Array
    parts: tuple[Fitted, ...]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"

    def __getitem__(self, index: int) -> Fitted:
        return self.parts[index]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Fitted]:
        return iter(self.parts)

    def transform(self, x: ArrayLike) -> jax.Array:
        """Transform samples by each step, the first one first.

        Args:
          x: samples in the shape of those of the fit, after any leading axes.

        Returns:
          what the last step gives.
        """
        found: Any = x
        for part in self.parts:
            found = part.transform(found)
        return found

    def inverse_transform(self, x: ArrayLike) -> jax.Array:
        """Invert each step, the last one first.

        Args:
          x: transformed samples, after any leading axes.

        Returns:
          samples before the first step. Integers that ``rescale`` converted are floating numbers.
        """
        found: Any = x
        for part in reversed(self.parts):
            found = part.inverse_transform(found)
        return found


@dataclasses.dataclass(frozen=True, repr=False)
class _Pipeline(Step):
    _name = "pipeline"
    steps: tuple[Step, ...] = ()

    def __repr__(self) -> str:
        return f"pipeline({', '.join(map(repr, self.steps))})"

    def fit(
        self,
        x: ArrayLike,
        split: PyTree = None,
        *,
        where: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Fitted:
        """Fit each step to the training samples that the steps before it give."""
        with check.inside("pipeline.fit"):
            first = inputs.array("x", x, integers=True)
            given = inputs.given(first, where, sample_weight, split, elements=True)
            found, mask, weight = _taken(given)
            used, seen = _record(found, mask, weight)
            parts: list[Fitted] = []
            for step in self.steps:
                parts.append(step.fit(found, where=mask, sample_weight=weight))
                if len(parts) < len(self.steps):
                    found = parts[-1].transform(found)
            return FittedPipeline(self, used, seen, tuple(parts))

    def _streams(self) -> None:
        fix = "Fit one step to the stream, then the next to the batches that it transforms"
        problem = "a pipeline does not stream: each step is fitted to what the one before it gives"
        check.refuse(problem, fix=f"{fix}; pipeline(first, second) joins fitted steps")


@jax.jit
def _taken(given: inputs.Given) -> Any:
    return given.taken()


@jax.jit
def _record(x: Any, mask: Any, weight: Any) -> tuple[Any, Any]:
    used = jnp.any(mask.reshape(len(x), -1), axis=1) & (weight > 0)
    return jnp.sum(used, dtype=int), sketch.of(x, used)


@overload
def pipeline(*steps: Step) -> Step: ...
@overload
def pipeline(*steps: Fitted) -> FittedPipeline: ...
def pipeline(*steps: Any) -> Any:
    """Join steps of preprocessing: each is fitted to what the steps before it give.

    **Value** x → the last step of ... of the first step of x.

    Args:
      steps: steps, to be fitted together; or steps that were fitted one by one, as to a stream.

    Returns:
      a ``Step``, or of fitted steps a ``FittedPipeline``.

    Raises:
      TypeError: what is no step; some steps that are fitted and some that are not.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> pixels = jnp.array([[0, 255], [255, 51], [102, 0]], jnp.uint8)
      >>> steps = gk.data.pipeline(gk.data.rescale(1 / 255), gk.data.standardize())
      >>> print(steps)
      pipeline(rescale(scale=0.00392156862745098), standardize())
      >>> fitted = steps.fit(pixels)
      >>> back = fitted.inverse_transform(fitted.transform(pixels))
      >>> assert jnp.allclose(back, jnp.array(pixels, float), atol=1e-4)
    """
    with check.inside("pipeline"):
        if not steps:
            check.refuse("pipeline() has no steps", expected="at least one step")
        fitted = [isinstance(step, Fitted) for step in steps]
        for step, known in zip(steps, fitted, strict=True):
            if not known and not isinstance(step, Step):
                fix = check.uncalled(step) or "Call the factory, such as standardize()"
                problem = f"{check.shown(step)} is not a step"
                check.refuse(problem, expected="a step", fix=fix, error=TypeError)
        if not any(fitted):
            return _Pipeline(steps)
        if not all(fitted):
            problem = f"{steps[fitted.index(False)]!r} is not fitted, and other steps are"
            check.refuse(problem, expected="steps of one kind", error=TypeError)
    whole = _Pipeline(tuple(step.step for step in steps))
    first = next((step for step in steps if step.seen.shape[-2]), steps[0])
    return FittedPipeline(whole, first.samples, steps[0].seen, tuple(steps))
