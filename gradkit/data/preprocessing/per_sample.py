"""Mean removal within each sample, which has nothing to fit."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.data.preprocessing import _inputs as inputs
from gradkit.data.preprocessing import _rows as sketch
from gradkit.data.preprocessing.base import Fitted, Step
from gradkit.metrics._accumulator import accumulator
from gradkit.typing import PyTree


@accumulator("step")
class SampleCenter(Fitted):
    """Subtract from each sample its own mean.

    **Value** ``transform(x)`` = x − mean(x) over axes of the sample.

    Args:
      step: the step.
      samples: 0; nothing is fitted.
      seen: the hashes of no sample.
    """

    step: Any
    samples: jax.Array
    seen: jax.Array

    __repr__ = Fitted.__repr__

    def transform(self, x: ArrayLike) -> jax.Array:
        """Subtract from each sample its own mean.

        Args:
          x: floating samples, one or many.

        Returns:
          an array in the shape and dtype of ``x``.
        """
        with check.inside("center_samples.transform"):
            found = inputs.array("x", x)
            if found.ndim < max(-axis for axis in self.step.axis):
                problem = f"x is {check.shape_dtype(found)}"
                check.refuse(problem, expected=f"an array with axis {min(self.step.axis)}")
            return _centered(found, self.step.axis)

    def inverse_transform(self, x: ArrayLike) -> jax.Array:
        """Refuse: the mean of a sample is not kept."""
        with check.inside("center_samples.inverse_transform"):
            problem = "the mean of a sample is not kept"
            check.refuse(problem, fix="Keep x.mean(axis, keepdims=True), and add it")


def _centered(x: Any, axis: tuple[int, ...]) -> Any:
    wide = x.astype(numerics.wide(x.dtype))
    return (wide - jnp.mean(wide, axis=axis, keepdims=True)).astype(x.dtype)


@dataclasses.dataclass(frozen=True, repr=False)
class _CenterSamples(Step):
    _name = "center_samples"
    axis: tuple[int, ...] = (-1,)

    def fit(
        self, x: Any = None, split: PyTree = None, *, where: Any = None, sample_weight: Any = None
    ) -> Fitted:
        """Return the step; the samples are not used."""
        return SampleCenter(self, jnp.zeros((), int), sketch.empty(0))

    def _streams(self) -> None:
        check.refuse("center_samples has nothing to fit", fix="Call fit(), which takes no samples")


def center_samples(axis: int | tuple[int, ...] = -1) -> Step:
    """Subtract from each sample its own mean: the DC component of an image or a sound.

    **Value** x − mean(x), for each sample by itself; nothing is fitted, and nothing inverted.

    Args:
      axis: the axes of a sample, counted from the last, such as (-3, -2, -1) for images.

    Returns:
      a ``Step``. ``fit()`` takes no samples.

    Raises:
      ValueError: an axis ≥ 0, which may be that of the samples.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> fitted = gk.data.center_samples().fit()
      >>> x = jnp.array([[1.0, 3.0], [6.0, 7.0]])
      >>> assert fitted.transform(x).tolist() == [[-1.0, 1.0], [-0.5, 0.5]]
    """
    with check.inside("center_samples"):
        axes = numerics.as_axes(axis)
        if not axes or max(axes) >= 0:
            fix = "For images of shape [n, height, width, channels], axis=(-3, -2, -1)"
            problem = f"axis={axis!r} is not counted from the last"
            check.refuse(problem, expected="negative axes", fix=fix)
    return _CenterSamples(axes)
