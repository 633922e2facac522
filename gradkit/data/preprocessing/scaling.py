"""Steps that treat each feature by itself: min-max, constants, means, standard deviations."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.data.preprocessing import _inputs as inputs
from gradkit.data.preprocessing import _rows as sketch
from gradkit.data.preprocessing import base
from gradkit.data.preprocessing._statistics import Extremes, Moments, Statistics
from gradkit.data.preprocessing.base import Fitted, Step
from gradkit.metrics._accumulator import accumulator
from gradkit.typing import PyTree, Scalar


@accumulator("step", "features")
class Affine(Fitted):
    """Keep the constants of a step that shifts and scales each feature by itself.

    **Value** ``transform(x)`` = (x − center) / scale + offset.

    Args:
      step: the step that was fitted.
      samples: how many samples it was fitted on.
      center: what is subtracted: the mean, or the smallest value.
      correction: the part of ``center`` below its precision, subtracted after it.
      scale: what is divided by: the standard deviation, or the range.
      offset: what is added.
      seen: hashes of samples, for ``check_held_out``.
      features: the length of each axis of a sample; None where the axis was reduced.
    """

    step: Step
    samples: jax.Array
    center: jax.Array
    correction: jax.Array
    scale: jax.Array
    offset: jax.Array
    seen: jax.Array
    features: tuple[int | None, ...]

    __repr__ = Fitted.__repr__

    def transform(self, x: ArrayLike) -> jax.Array:
        """Shift and scale samples: one, a batch, or any stack of batches.

        Args:
          x: samples in the shape of those of the fit, after any leading axes. NaN stays NaN.

        Returns:
          an array in the dtype of ``x`` (of integers, in that of the fit).
        """
        with check.inside(f"{self.step._name}.transform"):
            return _transform(self, self._samples(x))

    def inverse_transform(self, x: ArrayLike) -> jax.Array:
        """Return the samples whose transforms are given.

        Args:
          x: transformed samples, after any leading axes.

        Returns:
          an array in the dtype of ``x``.
        """
        with check.inside(f"{self.step._name}.inverse_transform"):
            return _inverse(self, self._samples(x))

    def _samples(self, x: Any) -> jax.Array:
        found = inputs.array("x", x, integers=isinstance(self.step, _Rescale))
        base.match(found, self.features, self.center, len(self.features))
        return found

    def _cast(self, x: jax.Array) -> list[jax.Array]:
        """The samples and the constants, in one dtype and of one rank."""
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        dtype = numerics.wider(self.center.dtype, *[x.dtype] * floating)
        constants = [self.center, self.correction, self.scale, self.offset]
        ones = (1,) * (x.ndim - self.center.ndim)
        shaped = [c.astype(dtype).reshape(*ones, *c.shape) for c in constants]
        return [x.astype(dtype), *shaped]


@jax.jit
def _transform(fitted: Affine, x: jax.Array) -> jax.Array:
    wide, center, correction, scale, offset = fitted._cast(x)
    found = ((wide - center) - correction) / scale + offset
    return found.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else found


@jax.jit
def _inverse(fitted: Affine, x: jax.Array) -> jax.Array:
    wide, center, correction, scale, offset = fitted._cast(x)
    found = ((wide - offset) * scale + correction) + center
    return found.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else found


@dataclasses.dataclass(frozen=True, repr=False)
class _PerFeature(Step):
    """A step whose statistic is one for each feature, or for each channel."""

    axis: int | tuple[int, ...] | None = 0

    _elements = True

    def _axes(self, rank: int) -> tuple[int, ...]:
        axes = numerics.as_axes(self.axis)
        if axes is None:
            return tuple(range(rank))
        wrong = [axis for axis in axes if not -rank <= axis < rank]
        found = {axis % rank for axis in axes} if rank else set()
        if wrong or 0 not in found:
            problem = f"axis={self.axis!r} does not fit samples along the first of {rank} axes"
            fix = "For images of shape [n, height, width, channels], axis=(0, 1, 2)"
            check.refuse(problem, expected="axes of x, 0 among them", fix=fix)
        return tuple(sorted(found))

    def _zeros(self, rank: int, shape: tuple[int, ...], dtype: Any) -> Statistics:
        axes = self._axes(rank)
        kept = [1 if i in axes else n for i, n in enumerate((1, *shape))]
        return self._kind.zeros(tuple(kept), dtype)

    def _statistics(self, x: Any, weight: Any) -> Statistics:
        return self._kind.of(x, jnp.broadcast_to(weight, x.shape), self._axes(x.ndim))

    _kind: ClassVar[Any] = Moments

    @property
    def _options(self) -> tuple[str, int]:
        """What is done with constant features, and ``ddof``."""
        return getattr(self, "constant", "keep"), getattr(self, "ddof", 0)

    def _constants(self, statistics: Any) -> dict[str, Any]:
        """Center, correction, scale and offset, and which features are constant."""
        raise NotImplementedError

    def _solved(self, statistics: Any) -> dict[str, Any]:
        solved, (option, ddof) = self._constants(statistics), self._options
        scale, constant = solved["scale"], solved["constant"]
        weight = statistics.weight[0]
        instead = jnp.full_like(scale, 1.0 if option == "keep" else jnp.nan)
        scale = jnp.where(constant, instead, scale) / solved.pop("width", 1.0)
        # Inside jit too few samples are not refused.
        solved["scale"] = jnp.where(weight > ddof, scale, jnp.full_like(scale, jnp.nan))
        return solved | {"weight": weight}

    def _fitted(
        self, solved: Any, samples: Any, seen: Any, shape: tuple[int, ...], count: int | None
    ) -> Affine:
        weight, constant = solved.pop("weight"), solved.pop("constant")
        if inputs.known(weight, constant):
            self._judge(np.asarray(weight)[0], np.asarray(constant)[0])
        axes = self._axes(len(shape) + 1)
        features = [None if i in axes else n for i, n in enumerate((1, *shape))]
        while features and features[0] is None:  # any axes may come before
            features.pop(0)
        arrays = {
            name: value.reshape(value.shape[value.ndim - len(features) :])
            for name, value in solved.items()
        }
        return Affine(self, samples, **arrays, seen=seen, features=tuple(features))

    def _judge(self, weight: Any, constant: Any) -> None:
        option, ddof = self._options
        if not weight.all():
            empty = np.argwhere(weight == 0)
            problem = f"where leaves no value of feature {_index(empty)}"
            check.refuse(problem, expected="a value of each feature")
        if (weight <= ddof).any():
            problem = f"ddof={ddof} with {weight.min():g} samples"
            check.refuse(problem, expected="more samples than ddof")
        if option == "refuse" and constant.any():
            wrong = np.argwhere(constant)
            problem = f"feature {_index(wrong)} is constant"
            if len(wrong) > 1:
                problem = f"{len(wrong)} features are constant, first {_index(wrong)}"
            fix = "Pass constant='keep' to divide by 1, or axis=None for one scale of all features"
            check.refuse(problem, expected="values that differ", fix=fix)


def _index(wrong: Any) -> str:
    index = [int(i) for i in wrong[0]]
    return str(index[0]) if len(index) == 1 else str(tuple(index))


@dataclasses.dataclass(frozen=True, repr=False)
class _MinMax(_PerFeature):
    _name = "min_max"
    feature_range: tuple[float, float] = (0.0, 1.0)
    axis: int | tuple[int, ...] | None = 0
    constant: str = "refuse"

    _kind = Extremes

    def _constants(self, statistics: Any) -> dict[str, Any]:
        low, high = self.feature_range
        spread = statistics.high - statistics.low
        return {
            "center": statistics.low,
            "correction": jnp.zeros_like(spread),
            "scale": spread,
            "offset": jnp.full_like(spread, low),
            "constant": spread == 0,
            "width": high - low,
        }


def min_max(
    feature_range: tuple[float, float] = (0.0, 1.0),
    *,
    axis: int | tuple[int, ...] | None = 0,
    constant: str = "refuse",
) -> Step:
    """Scale each feature to a range by its smallest and largest value (min-max normalization).

    **Value** (x − min) / (max − min) · (b − a) + a, for ``feature_range`` (a, b). The values of the
    fit end in [a, b]; others may be outside.

    Args:
      feature_range: (a, b), a < b.
      axis: the axes over which the extremes are taken, 0 among them; (0, 1, 2) for each channel of
        images [n, height, width, channels], None for one range of all.
      constant: what is done with a feature whose range is zero: ``"refuse"``, or ``"keep"`` to
        take 1 for the range, as scikit-learn does. Under ``jit`` what is refused is NaN.

    Returns:
      a ``Step``; its fit is an ``Affine``.

    Raises:
      ValueError: an empty range; of the fit, a constant feature.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> train, dev = jnp.array([[1.0], [3.0], [5.0]]), jnp.array([[2.0], [6.0]])
      >>> fitted = gk.data.min_max().fit(train)
      >>> assert fitted.transform(dev).tolist() == [[0.25], [1.25]]

    **Differs from scikit-learn's MinMaxScaler**: constant features are refused by default, and only
    a range of exactly zero is constant.
    """
    with check.inside("min_max"):
        if not isinstance(feature_range, (tuple, list)) or len(feature_range) != 2:
            problem = f"feature_range={check.shown(feature_range)} is not a range"
            check.refuse(problem, expected="two numbers such as (0, 1)", error=TypeError)
        low, high = feature_range
        check.finite(low=low, high=high)
        check.ordered(low=low, high=high)
        check.one_of(("refuse", "keep"), constant=constant)
        numerics.as_axes(axis)
    return _MinMax(feature_range=(float(low), float(high)), axis=_tuple(axis), constant=constant)


def _tuple(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


@dataclasses.dataclass(frozen=True, repr=False)
class _Standardize(_PerFeature):
    _name = "standardize"
    axis: int | tuple[int, ...] | None = 0
    ddof: int = 0
    constant: str = "keep"

    def _constants(self, statistics: Any) -> dict[str, Any]:
        mean, low = statistics.mean
        std = jnp.sqrt(statistics.squares[0] / (statistics.weight[0] - self.ddof))
        return {
            "center": mean,
            "correction": low,
            "scale": std,
            "offset": jnp.zeros_like(mean),
            "constant": std <= 2 * jnp.finfo(std.dtype).eps * jnp.abs(mean),
        }


def standardize(
    *, axis: int | tuple[int, ...] | None = 0, ddof: int = 0, constant: str = "keep"
) -> Step:
    """Standardize each feature: zero mean and unit variance (z-scores).

    **Value** (x − μ) / σ, σ² = Σ w (x − μ)² / (Σ w − ddof).

    Args:
      axis: the axes over which the mean is taken, 0 among them; (0, 1, 2) for each channel of
        images [n, height, width, channels], None for one mean of all.
      ddof: what is subtracted from the number of samples in σ².
      constant: what is done with a feature that is constant to its precision, σ ≤ 2 ε |μ| with the
        ε of its dtype: ``"keep"`` to take 1 for σ, as scikit-learn does, or ``"refuse"``.

    Returns:
      a ``Step``; its fit is an ``Affine``.

    Raises:
      ValueError: of the fit, no more samples than ``ddof``; a constant feature that is refused.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> train = jnp.array([[1.0, 7.0], [3.0, 7.0]])
      >>> fitted = gk.data.standardize().fit(train)
      >>> assert fitted.transform(train).tolist() == [[-1.0, 0.0], [1.0, 0.0]]
      >>> assert jnp.array_equal(fitted.inverse_transform(fitted.transform(train)), train)

    **Differs from scikit-learn's StandardScaler**: NaN is refused unless ``where`` leaves it out.
    """
    with check.inside("standardize"):
        check.integer(0, ddof=ddof)
        check.one_of(("refuse", "keep"), constant=constant)
        numerics.as_axes(axis)
    return _Standardize(axis=_tuple(axis), ddof=int(ddof), constant=constant)


@dataclasses.dataclass(frozen=True, repr=False)
class _Center(_PerFeature):
    _name = "center"
    axis: int | tuple[int, ...] | None = 0

    def _constants(self, statistics: Any) -> dict[str, Any]:
        mean, low = statistics.mean
        zero = jnp.zeros_like(mean)
        scale, constant = jnp.ones_like(mean), jnp.zeros(mean.shape, bool)
        names = ("center", "correction", "scale", "offset", "constant")
        return dict(zip(names, (mean, low, scale, zero, constant), strict=True))


def center(*, axis: int | tuple[int, ...] | None = 0) -> Step:
    """Subtract the mean of each feature (mean removal).

    **Value** x − μ.

    Args:
      axis: the axes over which the mean is taken, 0 among them; (0, 1, 2) for each channel of
        images [n, height, width, channels], None for one mean of all.

    Returns:
      a ``Step``; its fit is an ``Affine``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> fitted = gk.data.center().fit(jnp.array([[1.0, 7.0], [3.0, 8.0]]))
      >>> assert fitted.transform(jnp.array([4.0, 8.0])).tolist() == [2.0, 0.5]
    """
    with check.inside("center"):
        numerics.as_axes(axis)
    return _Center(axis=_tuple(axis))


@dataclasses.dataclass(frozen=True, repr=False)
class _Rescale(Step):
    _name = "rescale"
    scale: float = 1.0
    offset: float = 0.0

    def fit(
        self, x: Any = None, split: PyTree = None, *, where: Any = None, sample_weight: Any = None
    ) -> Fitted:
        """Return the constants; the samples are not used."""
        scale, zero = jnp.asarray(1 / self.scale, float), jnp.zeros((), float)
        offset = jnp.asarray(self.offset, float)
        return Affine(
            self, jnp.zeros((), int), zero, zero, scale, offset, sketch.empty(0), features=()
        )

    def _streams(self) -> None:
        check.refuse("rescale has nothing to fit", fix="Call fit(), which takes no samples")


def rescale(scale: Scalar, offset: Scalar = 0.0) -> Step:
    """Multiply by a constant and add one, such as 1/255 for the pixels of images.

    **Value** scale · x + offset; integers become floating numbers.

    Args:
      scale: a number that is not zero.
      offset: a number.

    Returns:
      a ``Step``; its fit is an ``Affine``. ``fit()`` takes no samples.

    Raises:
      ValueError: a scale of zero.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> pixels = jnp.array([0, 51, 255], jnp.uint8)
      >>> to_unit = gk.data.rescale(1 / 255).fit()
      >>> assert jnp.allclose(to_unit.transform(pixels), jnp.array([0.0, 0.2, 1.0]))
    """
    with check.inside("rescale"):
        expected = "a finite x other than 0"
        check.number(expected, lambda v: np.isfinite(v) & (v != 0), scale=scale)
        check.finite(offset=offset)
    return _Rescale(float(scale), float(offset))
