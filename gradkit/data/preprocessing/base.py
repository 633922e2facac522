"""Steps of preprocessing: what is fitted, the fit of a stream, and the fitted step."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.data.preprocessing import _inputs as inputs
from gradkit.data.preprocessing import _rows as sketch
from gradkit.data.preprocessing._statistics import Reduce, Statistics
from gradkit.metrics._accumulator import accumulator
from gradkit.typing import PyTree


def described(value: Any, hidden: tuple[str, ...] = ()) -> str:
    """The fields of a dataclass that are not at their defaults, arrays by shape and dtype."""
    words = []
    for field in dataclasses.fields(value):
        found = getattr(value, field.name)
        if field.name in hidden or _same(found, field.default):
            continue
        if isinstance(found, (jax.Array, np.ndarray)):
            words.append(f"{field.name}={check.shown(found)}")
        else:
            words.append(f"{field.name}={found!r}")
    return f"{type(value).__name__}({', '.join(words)})"


def _same(found: Any, default: Any) -> bool:
    return type(found) is type(default) and bool(found == default)


class Fitted:
    """A fitted step: a pytree that transforms samples and inverts the transformation.

    It is a frozen dataclass of arrays: an argument of ``jit``, ``vmap`` and ``scan``, saved as any
    other tree. It keeps how many samples it was fitted on, and hashes of their values, at most 1024
    (``seen``), for ``check_held_out``.
    """

    step: Any
    samples: jax.Array
    seen: jax.Array

    def transform(self, x: ArrayLike) -> jax.Array:
        """Transform samples: one, a batch, or any stack of batches.

        Args:
          x: samples in the shape of those of the fit, after any leading axes. NaN stays NaN.

        Returns:
          an array in the dtype of ``x``, computed in at least float32.
        """
        raise NotImplementedError

    def inverse_transform(self, x: ArrayLike) -> jax.Array:
        """Return the samples whose transforms are given.

        Args:
          x: transformed samples, after any leading axes.

        Returns:
          an array in the dtype of ``x``. Where components were left out, the nearest sample of
          those that are kept.
        """
        raise NotImplementedError

    def replace(self, **changes: PyTree) -> "Fitted":
        """Return a copy with other values of the fields named.

        Args:
          changes: values by field.

        Returns:
          a fitted step.
        """
        fields: Any = self
        return dataclasses.replace(fields, **changes)

    def __repr__(self) -> str:
        return described(self, ("seen",))


@dataclasses.dataclass(frozen=True, repr=False)
class Step:
    """A step of preprocessing to fit: an immutable, hashable description.

    ``fit(x)`` returns it fitted to all samples at once, ``init(x)`` begins a fit of a stream.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x = jnp.array([[1.0], [2.0], [6.0], [0.0]])
      >>> folds = gk.metrics.k_fold(len(x), 2)  # two fits, as one program
      >>> fits = jax.vmap(lambda fold: gk.data.center().fit(x, fold))(folds)
      >>> assert fits.center[:, 0].tolist() == [3.0, 1.5]
    """

    _name: ClassVar[str] = ""

    def __repr__(self) -> str:
        fields = described(self)
        return self._name + fields[fields.index("(") :]

    def fit(
        self,
        x: ArrayLike,
        split: PyTree = None,
        *,
        where: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Fitted:
        """Fit to the training samples.

        Args:
          x: samples along the first axis, floating and finite; computed in at least float32.
          split: fit to the training part only, and refuse a split whose parts share samples: what
            ``gk.data.split`` returns, or a row of ``gk.metrics.k_fold(...)`` under ``vmap``. That
            is a tuple of indices, the training part first; a dict or a named tuple with ``train``;
            or the indices to fit on. None to fit to all of ``x``.
          where: bools for the samples; False leaves one out, such as padding. Where the statistic
            is one for each feature, also bools in the shape of ``x``, for missing values.
          sample_weight: how often each sample counts, ≥ 0; 1 by default.

        Returns:
          the fitted step, a pytree.

        Raises:
          ValueError: no sample; NaN or infinity; a sample in two parts of ``split``; too few
            samples. Judged outside ``jit``; inside, what cannot be computed is NaN.
          TypeError: ``x`` is not floating.
        """
        with check.inside(f"{self._name}.fit"):
            given = self._given(x, where, sample_weight, split)
            solved, samples, seen, verdict = _fit(self, given)
            inputs.judge(verdict, self._elements)
            most = len(given.x if given.rows is None else given.rows)
            count = int(samples) if inputs.known(samples) else most
            return self._fitted(solved, samples, seen, given.x.shape[1:], count)

    def init(self, x: PyTree) -> "PartialFit":
        """Begin a fit of a stream of batches.

        Args:
          x: a batch, or a ``ShapeDtypeStruct`` in its place. Its values are not used.

        Returns:
          a ``PartialFit`` of no sample.
        """
        with check.inside(f"{self._name}.init"):
            self._streams()
            if not hasattr(x, "shape") or not hasattr(x, "dtype"):
                problem = f"x={check.shown(x)} is not a batch"
                check.refuse(problem, expected="an array or a ShapeDtypeStruct", error=TypeError)
            if not x.shape or not jnp.issubdtype(x.dtype, jnp.floating):
                problem = f"x is {check.shape_dtype(x)}"
                check.refuse(problem, expected="a batch of floating samples", error=TypeError)
            dtype = numerics.wide(jax.dtypes.canonicalize_dtype(x.dtype))
            shape = tuple(x.shape[1:])
            zeros = self._zeros(len(x.shape), shape, dtype)
            return PartialFit(self, shape, jnp.zeros((), int), sketch.empty(), zeros)

    # What each kind of step defines.

    _elements: ClassVar[bool] = False

    def _streams(self) -> None:
        return None

    def _zeros(self, rank: int, shape: tuple[int, ...], dtype: Any) -> Statistics:
        raise NotImplementedError

    def _statistics(self, x: Any, weight: Any) -> Statistics:
        raise NotImplementedError

    def _solved(self, statistics: Any) -> dict[str, Any]:
        """The arrays that ``_fitted`` judges and keeps; compiled."""
        raise NotImplementedError

    def _fitted(
        self, solved: Any, samples: Any, seen: Any, shape: tuple[int, ...], count: int | None
    ) -> Fitted:
        """The fitted step, of ``count`` samples or at most so many; None where unknown."""
        raise NotImplementedError

    def _given(self, x: Any, where: Any, sample_weight: Any, split: Any = None) -> inputs.Given:
        found = inputs.array("x", x)
        return inputs.given(found, where, sample_weight, split, elements=self._elements)


def _measured(step: Step, given: inputs.Given, dtype: Any = None) -> tuple[Any, ...]:
    x, weight, verdict = given.batch(dtype)
    used = jnp.any((weight > 0).reshape(len(x), -1), axis=1)
    samples = jnp.sum(used, dtype=int)
    return step._statistics(x, weight), samples, sketch.of(x, used), verdict


@functools.partial(jax.jit, static_argnums=0)
def _fit(step: Step, given: inputs.Given) -> tuple[Any, ...]:
    statistics, *rest = _measured(step, given)
    return step._solved(statistics), *rest


@functools.partial(jax.jit, static_argnums=0)
def _solve(step: Step, statistics: Any) -> Any:
    return step._solved(statistics)


@accumulator("step", "shape")
class PartialFit:
    """Fit a step to a stream: over batches, devices and processes, as a pytree that merges.

    **Value** ``compute()`` is what ``fit`` of all samples at once gives.

    **State** counts, and means with squares about them (or products, d² numbers for ``pca`` and
    ``whiten``), each as two numbers of at least float32: long streams of a large mean lose nothing.
    Parts merge as in Chan, Golub and LeVeque (1983). Hashes of at most 1024 samples.

    Args:
      step: the step to fit.
      shape: the shape of a sample.
      samples: how many samples were added.
      seen: hashes of samples, for ``check_held_out``.
      statistics: what the step computes of them.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> x = 1e6 + jax.random.normal(jax.random.key(0), (40, 8, 3))  # 40 batches
      >>> def add(fit, batch):
      ...     return fit.update(batch), None
      >>> fit, _ = jax.lax.scan(add, gk.data.standardize().init(x[0]), x)
      >>> z = fit.compute().transform(x)
      >>> assert jnp.allclose(z.mean((0, 1)), 0, atol=1e-5)
      >>> assert jnp.allclose(z.std((0, 1)), 1, atol=1e-5)
    """

    step: Step
    shape: tuple[int, ...]
    samples: jax.Array
    seen: jax.Array
    statistics: Any

    def update(
        self,
        x: ArrayLike,
        *,
        where: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "PartialFit":
        """Add a batch.

        Args:
          x: samples along the first axis, in the shape of those of ``init``.
          where: bools, as in ``fit``.
          sample_weight: weights, as in ``fit``.

        Returns:
          a new ``PartialFit``.
        """
        self._single()
        with check.inside(f"{self.step._name}.update"):
            given = self.step._given(x, where, sample_weight)
            if given.x.shape[1:] != self.shape:
                problem = f"x is {check.shape_dtype(given.x)}"
                check.refuse(problem, expected=f"samples of shape {list(self.shape)}")
            updated, verdict = _updated(self, given)
            # A batch may be all padding.
            inputs.judge((*verdict[:2], True), self.step._elements)
            return updated

    def merge(self, other: "PartialFit") -> "PartialFit":
        """Return the fit to the samples of both; ``a + b`` is the same.

        Args:
          other: a fit of the same step and shapes.

        Returns:
          a new ``PartialFit``.
        """
        with check.inside(f"{self.step._name}.merge"):
            if not isinstance(other, PartialFit):
                problem = f"other={check.shown(other)} is not a PartialFit"
                check.refuse(problem, error=TypeError)
            mine, theirs = (self.step, self.shape), (other.step, other.shape)
            if mine != theirs:
                problem = f"other is of {other.step!r} for samples of shape {list(other.shape)}"
                expected = f"{self.step!r} for samples of shape {list(self.shape)}"
                check.refuse(problem, expected=expected)
        return _merged(self, other)

    def __add__(self, other: "PartialFit") -> "PartialFit":
        """Merge two fits of one step."""
        return self.merge(other)

    def psum(self, axis_name: Any) -> "PartialFit":
        """Merge the fits of all devices along an axis of a mesh, inside ``shard_map``.

        Args:
          axis_name: the name of a mapped axis.

        Returns:
          the fit to all samples, on every device.
        """
        every = lax.all_gather(self.seen, axis_name)
        # Known to be the same on all devices: each takes its part of a sum of zeros.
        seen = sketch.same(sketch.smallest(every.reshape(-1, 2)), axis_name)
        samples = lax.psum(self.samples, axis_name)
        statistics = self.statistics.combine(Reduce(axis_name))
        return PartialFit(self.step, self.shape, samples, seen, statistics)

    def collapse(self) -> "PartialFit":
        """Merge fits stacked along a first axis, by vmap, scan or an all-gather.

        Returns:
          a ``PartialFit`` without that axis.
        """
        return _collapsed(self)

    def compute(self) -> Fitted:
        """Return the fitted step.

        Returns:
          a pytree, as ``fit`` returns it.
        """
        self._single()
        with check.inside(f"{self.step._name}.compute"):
            count = int(self.samples) if inputs.known(self.samples) else None
            if count == 0:
                check.refuse("no sample was added", expected="at least one sample")
            solved = _solve(self.step, self.statistics)
            return self.step._fitted(solved, self.samples, self.seen, self.shape, count)

    def _single(self) -> None:
        if self.samples.ndim:
            problem = f"these are several fits: samples is {check.shape_dtype(self.samples)}"
            fix = "Merge them with collapse(), or read each under jax.vmap"
            with check.inside(self.step._name):
                check.refuse(problem, expected="one fit", fix=fix)

    def __repr__(self) -> str:
        return described(self, ("seen", "statistics"))


@jax.jit
def _updated(fit: PartialFit, given: inputs.Given) -> tuple[PartialFit, Any]:
    dtype = jax.tree.leaves(fit.statistics)[0].dtype
    statistics, samples, seen, verdict = _measured(fit.step, given, dtype)
    return _merged(fit, PartialFit(fit.step, fit.shape, samples, seen, statistics)), verdict


@jax.jit
def _merged(a: PartialFit, b: PartialFit) -> PartialFit:
    seen = sketch.smallest(jnp.concatenate([a.seen, b.seen]))
    statistics = a.statistics.merge(b.statistics)
    return PartialFit(a.step, a.shape, a.samples + b.samples, seen, statistics)


@jax.jit
def _collapsed(fit: PartialFit) -> PartialFit:
    seen = sketch.smallest(fit.seen.reshape(-1, 2))
    samples = jnp.sum(fit.samples, axis=0, dtype=fit.samples.dtype)
    statistics = fit.statistics.combine(Reduce())
    return PartialFit(fit.step, fit.shape, samples, seen, statistics)


def match(x: jax.Array, features: tuple[int | None, ...], like: Any, rank: int) -> None:
    """Refuse what are no samples of a fit.

    Args:
      x: samples.
      features: the length of each axis of a sample; None for any.
      like: an array of the fit.
      rank: its rank for one fit.
    """
    if like.ndim != rank:
        problem = f"these are several fits: a field is {check.shape_dtype(like)}"
        fix = "Map over them: jax.vmap(lambda fit, x: fit.transform(x))(fits, x)"
        check.refuse(problem, expected="one fit", fix=fix)
    given = x.shape[x.ndim - len(features) :] if x.ndim >= len(features) else None
    if given is None or any(n not in (None, m) for n, m in zip(features, given, strict=True)):
        words = ", ".join("any" if n is None else str(n) for n in features)
        problem = f"x is {check.shape_dtype(x)}"
        check.refuse(problem, expected=f"samples of shape [{words}], as those of the fit")
