"""Steps that mix the features: principal components, and whitening."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.data.preprocessing import _inputs as inputs
from gradkit.data.preprocessing import base
from gradkit.data.preprocessing._statistics import Covariance, Statistics
from gradkit.data.preprocessing.base import Fitted, Step
from gradkit.linalg import axes as matrices
from gradkit.metrics._accumulator import accumulator


@accumulator("step", "features", "back")
class Linear(Fitted):
    """Keep the mean, the principal directions and their variances of a fit.

    **Value** ``transform(x)`` = diag(gain) · V (x − mean), the rows of V being ``components``; for
    ZCA Vᵀ · diag(gain) · V (x − mean), in the shape of x.

    Args:
      step: the step that was fitted.
      samples: how many samples it was fitted on.
      mean: the mean of each of d features.
      correction: the part of ``mean`` below its precision, subtracted after it.
      components: (k, d), orthonormal rows by falling variance; of each row the element of largest
        magnitude is positive, as in scikit-learn.
      variance: (k,), the variance along each component.
      total_variance: the sum of all d variances, also of components that were left out.
      gain: (k,), by what each component is multiplied: 1, or 1 / √(variance + eps).
      seen: hashes of samples, for ``check_held_out``.
      features: the shape of a sample; its axes are flattened to d features.
      back: whether whitened samples are rotated back to the features (ZCA).
    """

    step: Step
    samples: jax.Array
    mean: jax.Array
    correction: jax.Array
    components: jax.Array
    variance: jax.Array
    total_variance: jax.Array
    gain: jax.Array
    seen: jax.Array
    features: tuple[int, ...]
    back: bool

    __repr__ = Fitted.__repr__

    @property
    def variance_ratio(self) -> jax.Array:
        """The share of each component in the variance of all features."""
        return self.variance / self.total_variance[..., None]

    def transform(self, x: ArrayLike) -> jax.Array:
        """Rotate samples to the components, scaled where the step whitens.

        Args:
          x: samples in the shape of those of the fit, after any leading axes. NaN stays NaN.

        Returns:
          an array in the dtype of ``x``; its last axis is that of the components, or for ZCA its
          shape is that of ``x``.
        """
        with check.inside(f"{self.step._name}.transform"):
            found = inputs.array("x", x)
            base.match(found, self.features, self.mean, 1)
            return _transform(self, found)

    def inverse_transform(self, x: ArrayLike) -> jax.Array:
        """Return the samples whose transforms are given.

        Args:
          x: transformed samples, after any leading axes.

        Returns:
          an array in the dtype of ``x`` and the shape of samples. With fewer components than
          features it is the projection of the samples onto the components.
        """
        with check.inside(f"{self.step._name}.inverse_transform"):
            found = inputs.array("x", x)
            given = self.features if self.back else self.gain.shape[-1:]
            base.match(found, given, self.mean, 1)
            return _inverse(self, found)


def _dot(x: Any, matrix: Any) -> Any:
    return jnp.matmul(x, matrix, precision=matrices.PRECISION)


def _cast(fitted: Linear, x: jax.Array, rank: int) -> list[Any]:
    """Samples as rows, and the arrays of the fit, in one dtype."""
    dtype = numerics.wider(fitted.mean.dtype, x.dtype)
    size = math.prod(x.shape[x.ndim - rank :])
    arrays = (fitted.mean, fitted.correction, fitted.components, fitted.gain)
    mean, correction, components, gain = (a.astype(dtype) for a in arrays)
    return [x.astype(dtype).reshape(-1, size), mean[None], correction[None], components, gain[None]]


@jax.jit
def _transform(fitted: Linear, x: jax.Array) -> jax.Array:
    rank = len(fitted.features)
    rows, mean, correction, components, gain = _cast(fitted, x, rank)
    found = _dot((rows - mean) - correction, components.T) * gain
    shape = fitted.features if fitted.back else (components.shape[0],)
    found = _dot(found, components) if fitted.back else found
    return found.reshape(*x.shape[: x.ndim - rank], *shape).astype(x.dtype)


@jax.jit
def _inverse(fitted: Linear, x: jax.Array) -> jax.Array:
    rank = len(fitted.features) if fitted.back else 1
    rows, mean, correction, components, gain = _cast(fitted, x, rank)
    rows = _dot(rows, components.T) if fitted.back else rows
    found = (_dot(rows / gain, components) + correction) + mean
    return found.reshape(*x.shape[: x.ndim - rank], *fitted.features).astype(x.dtype)


@dataclasses.dataclass(frozen=True, repr=False)
class _Covariance(Step):
    """A step whose statistic is the covariance matrix."""

    n_components: int | float | None = None
    ddof: int = 1

    def _zeros(self, rank: int, shape: tuple[int, ...], dtype: Any) -> Statistics:
        self._several(shape)
        return Covariance.zeros(math.prod(shape), dtype)

    def _statistics(self, x: Any, weight: Any) -> Statistics:
        self._several(x.shape[1:])
        return Covariance.of(x.reshape(len(x), -1), weight.reshape(-1, 1))

    def _several(self, shape: tuple[int, ...]) -> None:
        if not shape:
            check.refuse("x has one axis", expected="samples with features, [n, d]")

    def _most(self, size: int, count: int | None) -> int:
        """The most components there are."""
        return size if count is None else min(size, count)

    def _gain(self, variance: Any, noise: Any) -> Any:
        """By what each component is multiplied."""
        return jnp.ones_like(variance)

    def _judge(self, rank: int, kept: int, said: str) -> None:
        """Refuse components without variance, where they are divided by it."""

    def _solved(self, statistics: Any) -> dict[str, Any]:
        """The variances in falling order, and the directions as rows, with fixed signs."""
        weight, (mean, low) = statistics.weight[0], statistics.mean
        covariance = statistics.squares[0] / (weight - self.ddof)
        values, vectors = matrices.eigh((covariance + covariance.T) / 2)
        rows = vectors.T[::-1]
        largest = jnp.argmax(jnp.abs(rows), axis=1, keepdims=True)
        rows = rows * jnp.sign(jnp.take_along_axis(rows, largest, axis=1))
        variance = jnp.maximum(values[::-1], 0)
        # Of smaller eigenvalues all digits are rounding errors.
        noise = len(variance) * jnp.finfo(variance.dtype).eps * variance[0]
        return {
            "mean": mean,
            "correction": low,
            "components": rows,
            "variance": variance,
            "total_variance": jnp.sum(variance),
            "gain": self._gain(variance, noise),
            "weight": weight,
            "rank": jnp.sum(variance > noise),
        }

    def _kept(self, variance: Any, most: int) -> int:
        """How many components are kept, at most ``most``."""
        wanted = self.n_components
        if isinstance(wanted, float):
            if not inputs.known(variance):
                problem = f"n_components={wanted} under jit: their number depends on the data"
                fix = "Fit outside jit, or pass an integer"
                check.refuse(problem, expected="a static number", fix=fix, error=TypeError)
            share = np.cumsum(variance) / np.sum(variance)
            return min(int(np.sum(share <= wanted)) + 1, most)
        if wanted is not None and wanted > most:
            problem = f"n_components={wanted} is more than there are"
            check.refuse(problem, expected=f"n_components <= {most}, of samples and features")
        return most if wanted is None else wanted

    def _fitted(
        self, solved: Any, samples: Any, seen: Any, shape: tuple[int, ...], count: int | None
    ) -> Linear:
        weight, rank = solved.pop("weight"), solved.pop("rank")
        if inputs.known(weight) and not float(weight) > self.ddof:
            problem = f"ddof={self.ddof} with {float(weight):g} samples"
            check.refuse(problem, expected="more samples than ddof")
        size = math.prod(shape)
        kept = self._kept(solved["variance"], self._most(size, count))
        if inputs.known(rank) and count is not None:
            rank = min(int(rank), count - 1)
            self._judge(rank, kept, f"{count} samples of {size} features")
        if kept < size:
            for name in ("components", "variance", "gain"):
                solved[name] = solved[name][:kept]
        back = getattr(self, "method", None) == "zca"
        return Linear(self, samples, **solved, seen=seen, features=shape, back=back)


@dataclasses.dataclass(frozen=True, repr=False)
class _PCA(_Covariance):
    _name = "pca"


@dataclasses.dataclass(frozen=True, repr=False)
class _Whiten(_Covariance):
    _name = "whiten"
    method: str = "zca"
    eps: float = 0.0
    n_components: int | float | None = None
    ddof: int = 1

    def _most(self, size: int, count: int | None) -> int:
        return size

    def _judge(self, rank: int, kept: int, said: str) -> None:
        if self.eps == 0 and rank < kept:
            problem = f"the covariance of {said} has rank {rank}, of {kept} components"
            fix = f"Pass eps > 0, or n_components={rank}" if rank else "Pass eps > 0"
            check.refuse(problem, expected="a variance > 0 of each component", fix=fix)

    def _gain(self, variance: Any, noise: Any) -> Any:
        gain = 1 / jnp.sqrt(variance + self.eps)
        if self.eps == 0:
            gain = jnp.where(variance > noise, gain, jnp.full_like(gain, jnp.nan))
        return gain


def _check_components(n_components: Any, ddof: Any) -> Any:
    check.integer(0, ddof=ddof)
    if n_components is None:
        return None
    if isinstance(n_components, float):
        expected = "an integer >= 1, or 0 < x < 1 for a share of the variance"
        check.number(expected, lambda v: (v > 0) & (v < 1), n_components=n_components)
        return n_components
    check.integer(1, n_components=n_components)
    return int(n_components)


def pca(n_components: int | float | None = None, *, ddof: int = 1) -> Step:
    """Project onto the principal components: the directions of largest variance (PCA).

    **Value** V (x − μ), the rows of V being the eigenvectors of the covariance by falling
    eigenvalue, of length 1 and with a positive element of largest magnitude.

    Args:
      n_components: how many, at most the samples and the features; a share of the variance in
        (0, 1), for as many as exceed it (not under ``jit``, which fixes shapes); None for all.
      ddof: what is subtracted from the number of samples in the variances.

    Returns:
      a ``Step``; its fit is a ``Linear``. Samples of several axes, such as images, are flattened.

    Raises:
      ValueError: of the fit, more components than samples or features.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> x = jnp.array([[3.0, 4.0], [-3.0, -4.0], [6.0, 8.0], [-6.0, -8.0]])
      >>> fitted = gk.data.pca(1).fit(x)
      >>> assert jnp.allclose(fitted.transform(x)[:, 0], jnp.array([5.0, -5.0, 10.0, -10.0]))
      >>> assert jnp.allclose(fitted.variance_ratio, 1.0)

    **Differs from scikit-learn's PCA**: the decomposition is that of the covariance, which streams;
    standard deviations below √(d ε) of the largest are rounding errors (with ε of the dtype).
    """
    with check.inside("pca"):
        return _PCA(_check_components(n_components, ddof), int(ddof))


def whiten(
    method: str = "zca",
    *,
    eps: float = 0.0,
    n_components: int | float | None = None,
    ddof: int = 1,
) -> Step:
    """Decorrelate the features and scale them to unit variance, by PCA or ZCA whitening.

    **Value** (Λ + ε)^(−½) V (x − μ) for ``"pca"``, Vᵀ (Λ + ε)^(−½) V (x − μ) for ``"zca"``, with
    the variances Λ and the principal directions V. Without ε the covariance of the result is the
    identity. The map of ZCA is symmetric; of all maps that whiten, its result is nearest to x − μ
    in the mean square, so that whitened images look like images.

    Args:
      method: ``"zca"`` or ``"pca"``.
      eps: ε ≥ 0, added to the variances, in the square of the unit of ``x``. Directions of a
        variance below it are noise that is not blown up. Needed where there are no more samples
        than features: directions without variance are then multiplied by 1/√ε.
      n_components: how many directions are kept, as in ``pca``. For ``"zca"`` the others become
        zero.
      ddof: what is subtracted from the number of samples in the variances.

    Returns:
      a ``Step``; its fit is a ``Linear``. Samples of several axes, such as images, are flattened,
      and ZCA gives them back in their shape.

    Raises:
      ValueError: of the fit without ``eps``, components of no variance (fewer samples than
        features, or features that depend on others linearly). Under ``jit`` these become NaN.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x = jax.random.normal(jax.random.key(0), (64, 3)) @ jax.random.normal(
      ...     jax.random.key(1), (3, 3)
      ... )
      >>> fitted = gk.data.whiten("zca").fit(x)
      >>> assert jnp.allclose(jnp.cov(fitted.transform(x).T), jnp.eye(3), atol=1e-4)

    Reference: Bell and Sejnowski 1997; Kessy, Lewin and Strimmer 2018,
    https://arxiv.org/abs/1512.00809.
    """
    with check.inside("whiten"):
        check.one_of(("zca", "pca"), method=method)
        check.non_negative(eps=eps)
        components = _check_components(n_components, ddof)
    return _Whiten(method=method, eps=float(eps), n_components=components, ddof=int(ddof))
