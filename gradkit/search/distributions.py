"""Distributions of hyperparameters, which stand where their values would stand."""

from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit._call import Call, factory
from gradkit._splice import numbered

P = ParamSpec("P")


class _Law(NamedTuple):
    """What a distribution computes: two maps, and how many values it has where they can be counted.

    The maps take NumPy or JAX as their first argument.
    """

    quantile: Callable[[Any, Any], Any]
    cdf: Callable[[Any, Any], Any]
    size: int | None = None


class Distribution(Call):
    """A distribution of a hyperparameter: an argument of a transform, or a leaf of any tree.

    It is the call that made it: it prints, compares and replaces its arguments, as transforms do.
    A transform with distributions among its arguments is a search space; ``sample`` fills it.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.search.log_uniform(1e-4, 1.0)
      >>> space = gk.sgd(rate, momentum=gk.search.uniform(0.0, 0.9))
      >>> space
      sgd(search.log_uniform(0.0001, 1.0), momentum=search.uniform(0.0, 0.9))
      >>> assert abs(rate.quantile(0.5) - 0.01) < 1e-9 and abs(rate.cdf(0.01) - 0.5) < 1e-9
    """

    kind = "distribution"

    __slots__ = ()

    def quantile(self, u: ArrayLike) -> Any:
        """The values at ``u`` in [0, 1]; of a ``choice``, the indices of the options.

        Args:
          u: a number or an array; numbers below 0 count as 0, above 1 as 1.

        Returns:
          an array in the shape of ``u``: of NumPy (float64, int64) for numbers and NumPy arrays, of
          JAX for JAX's arrays, also under ``jit``, ``vmap`` and ``grad``.
        """
        xp, u = _module(u)
        return self.body.quantile(xp, xp.clip(u, 0.0, 1.0))

    def cdf(self, x: ArrayLike) -> Any:
        """The ``u`` whose ``quantile`` is ``x``; of integers and options, the middle of them.

        Args:
          x: values; of a ``choice``, indices of options. Values outside count as the nearest end.

        Returns:
          an array of numbers in [0, 1], in the shape of ``x``.
        """
        xp, x = _module(x)
        return xp.clip(self.body.cdf(xp, x), 0.0, 1.0)

    @property
    def count(self) -> int | None:
        """How many values there are; None where they are the real numbers of a range."""
        return self.body.size

    @property
    def unfilled(self) -> bool:
        """Whether there is something to sample: always."""
        return True

    def _finish(self) -> None:
        self._body = self._build()

    @property
    def body(self) -> _Law:
        """The maps of the distribution."""
        return cast(_Law, self._build() if self._body is None else self._body)

    def _at_quantile(self, u: float) -> Any:
        return self.read(float(u))

    def read(self, u: float) -> Any:
        """The value at ``u`` as configurations hold it: a float, an int, or the label of an option.

        Args:
          u: a number in [0, 1].

        Returns:
          the value.
        """
        return np.asarray(self.quantile(float(u))).item()

    def place(self, value: Any) -> float:
        """The ``u`` at which ``read`` gives a value.

        Args:
          value: a value, as configurations hold it.

        Returns:
          a number in [0, 1].
        """
        return float(self.cdf(self.accepted(value)))

    def accepted(self, value: Any) -> Any:
        """A value in place of the distribution, or a refusal."""
        return check.as_number("value", value)


class Choice(Distribution):
    """A choice among options: what ``choice`` returns.

    Example:
      >>> import gradkit as gk
      >>> optimizer = gk.search.choice(gk.sgd(0.1), gk.adam(0.1), gk.adam(0.1, nesterov=True))
      >>> assert optimizer.labels == ("sgd", "adam", "adam_1")
      >>> assert optimizer.option("adam_1") == gk.adam(0.1, nesterov=True)
    """

    __slots__ = ()

    @property
    def labels(self) -> tuple[Any, ...]:
        """What configurations hold for the options: numbers, strings, or the names of transforms.

        The second option of one name gets ``_1``; keywords of ``choice`` are names you choose.
        """
        names = numbered(
            [
                (option if isinstance(option, str) else _name(option), isinstance(option, str))
                for option in self.arguments["options"]
            ]
        )
        options = zip(self.every, names)  # without those that have names of their own
        return (*(o if _is_plain(o) else n for o, n in options), *self.arguments["named"])

    @property
    def every(self) -> tuple[Any, ...]:
        """The options, in the order of the labels."""
        given, named = self.arguments["options"], self.arguments["named"]
        found = (*given, *named.values())
        numbers = all(type(option) in (int, float) for option in found)
        if numbers and any(type(option) is float for option in found):
            return tuple(map(float, found))
        return found

    def option(self, label: Any) -> Any:
        """The option of a label.

        Args:
          label: one of ``labels``, or an option itself.

        Returns:
          the option.

        Raises:
          ValueError: there is no such option.
        """
        return self.every[self.index(label)]

    def index(self, label: Any) -> int:
        """The index of the option of a label, or of the option itself."""
        for found in (self.labels, self.every):
            for i, one in enumerate(found):
                if one is label or (_alike(one, label) and one == label):
                    return i
        shown = ", ".join(map(repr, self.labels))
        return check.refuse(f"{check.shown(label)} is not an option", expected=f"one of {shown}")

    def read(self, u: float) -> Any:
        """The label at ``u``."""
        return self.labels[int(self.quantile(float(u)))]

    def place(self, value: Any) -> float:
        """The middle of an option's interval."""
        return float(self.cdf(self.index(value)))

    def accepted(self, value: Any) -> Any:
        """The label of an option."""
        return self.labels[self.index(value)]

    def _at_quantile(self, u: float) -> Any:
        option = self.every[int(self.quantile(float(u)))]
        return jax.tree.map(
            lambda leaf: leaf._at_quantile(u) if isinstance(leaf, Call) and leaf.unfilled else leaf,
            option,
            is_leaf=lambda leaf: isinstance(leaf, Call),
        )


class Integers(Distribution):
    """A distribution of integers: what ``integers`` returns."""

    __slots__ = ()

    def accepted(self, value: Any) -> int:
        """An integer, or a refusal."""
        check.integer(None, value=value)
        return int(value)


def _distribution(kind: type[Distribution]) -> Callable[[Callable[P, _Law]], Callable[P, Any]]:
    # Any for type checkers: a distribution stands where a float, a bool or a transform may stand.
    return lambda function: cast(Callable[P, Any], factory(function, kind))


def _module(x: Any) -> tuple[Any, Any]:
    """NumPy or JAX, whichever an argument belongs to, and the argument as its array."""
    if isinstance(x, jax.Array):
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        return jnp, x if floating else x.astype(jnp.result_type(float))
    return np, np.asarray(x, np.float64)


def _integer(xp: Any, x: Any) -> Any:
    return x.astype(np.int64 if xp is np else jnp.int32)


# ---- the distributions --------------------------------------------------------------------------


@_distribution(Distribution)
def uniform(low: float, high: float) -> _Law:
    """Draw a number uniformly from a range.

    **Value** x = low + u (high − low), u uniform in [0, 1].

    Args:
      low: the smallest value.
      high: the largest value.

    Raises:
      ValueError: ``low`` is not below ``high``, or one is not finite.

    Example:
      >>> import gradkit as gk
      >>> dropout = gk.search.uniform(0.0, 0.5)
      >>> assert dropout.quantile(0.5) == 0.25 and dropout.cdf(0.25) == 0.5
    """
    _check_range(low, high)
    return _Law(
        lambda xp, u: xp.clip(low + u * (high - low), low, high),
        lambda xp, x: (x - low) / (high - low),
    )


@_distribution(Distribution)
def log_uniform(low: float, high: float, *, complement: bool = False) -> _Law:
    """Draw a number from a range, uniformly on a log scale: a learning rate, a decay near 1.

    **Value** x = low (high / low)^u, u uniform in [0, 1]: 10^r with r uniform. With ``complement``
    1 − x is what is uniform on the log scale.

    Args:
      low: the smallest value, > 0.
      high: the largest value; below 1 with ``complement``.
      complement: for what approaches 1, such as the decay of an average: 0.9, 0.99 and 0.999 are at
        equal distances.

    Raises:
      ValueError: ``low`` is not below ``high``, or the log scale would pass through zero.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.search.log_uniform(1e-4, 1.0)
      >>> assert rate.quantile(0.25).round(12) == 1e-3
      >>> momentum = gk.search.log_uniform(0.9, 0.999, complement=True)
      >>> assert momentum.quantile(0.5).round(12) == 0.99

    Reference:
      J. Bergstra, Y. Bengio, "Random Search for Hyper-Parameter Optimization", 2012.
    """
    _check_range(low, high)
    if complement:
        if not high < 1:
            fix = "The logarithm of 1 − x must exist"
            check.refuse(f"high={high!r} is out of range", expected="high < 1", fix=fix)
        # In log1p, as 1 − x would round what is near 1.
        first, span = np.log1p(-low), np.log1p(-high) - np.log1p(-low)
        return _Law(
            lambda xp, u: xp.clip(-xp.expm1(float(first) + u * float(span)), low, high),
            lambda xp, x: (xp.log1p(-xp.clip(x, low, high)) - float(first)) / float(span),
        )
    if not low > 0:
        fix = "Write uniform(low, high) for a range that includes zero"
        check.refuse(f"low={low!r} is out of range", expected="low > 0", fix=fix)
    first, span = float(np.log(low)), float(np.log(high) - np.log(low))
    return _Law(
        lambda xp, u: xp.clip(xp.exp(first + u * span), low, high),
        lambda xp, x: (xp.log(xp.clip(x, low, high)) - first) / span,
    )


@_distribution(Integers)
def integers(low: int, high: int, *, log: bool = False) -> _Law:
    """Draw an integer from a range that includes both ends.

    **Value** every integer from low to high is as likely as any other; with ``log`` the logarithm
    is uniform.

    An integer is structure, as everywhere in gradkit: configurations that differ in it are compiled
    apart, unless it stands where a float may stand.

    Args:
      low: the smallest value; ≥ 1 with ``log``.
      high: the largest value, which may be drawn.
      log: on a log scale: a width, a batch size.

    Raises:
      ValueError: ``low`` is not below ``high``, or the log scale would pass through zero.
      TypeError: ends that are no integers.

    Example:
      >>> import gradkit as gk
      >>> layers = gk.search.integers(1, 4)
      >>> assert layers.quantile([0.0, 0.3, 0.99]).tolist() == [1, 2, 4] and layers.count == 4
    """
    _check_range(low, high)
    if not log:
        count = high - low + 1
        return _Law(
            lambda xp, u: _integer(xp, xp.clip(low + xp.floor(u * count), low, high)),
            lambda xp, x: (x - low + 0.5) / count,
            count,
        )
    if low < 1:
        check.refuse(f"low={low!r} is out of range", expected="low >= 1 with log=True")
    first, span = float(np.log(low - 0.5)), float(np.log(high + 0.5) - np.log(low - 0.5))
    return _Law(
        lambda xp, u: _integer(xp, xp.clip(xp.round(xp.exp(first + u * span)), low, high)),
        lambda xp, x: (xp.log(xp.clip(x, low, high)) - first) / span,
        high - low + 1,
    )


@_distribution(Choice)
def choice(*options: Any, **named: Any) -> _Law:
    """Choose among options: numbers, strings, transforms, chains that hold distributions.

    **Value** every option is as likely as any other. The distributions inside an option belong to
    the configurations that chose it alone.

    The distributions inside are named by the path of the choice and the label of the option:
    ``optimizer.adam.learning_rate``.

    Args:
      options: the options. A configuration holds a number, a string, a bool or None itself, and any
        other option by a label: the name of its factory, numbered where two have one name.
      named: options with labels you choose.

    Raises:
      ValueError: no option, or one that is given twice.

    Example:
      >>> import gradkit as gk
      >>> rate = gk.search.log_uniform(1e-4, 1.0)
      >>> space = gk.search.choice(gk.sgd(rate, momentum=0.9), gk.adam(rate))
      >>> list(gk.search.distributions(space))
      ['choice', 'choice.sgd.learning_rate', 'choice.adam.learning_rate']
      >>> tx = gk.search.fill(space, {"choice": "adam", "choice.adam.learning_rate": 0.5})
      >>> assert tx == gk.adam(0.5)
    """
    found = [*options, *named.values()]
    if not found:
        problem = "options=() is empty"
        check.refuse(problem, expected="at least one option")
    words = [option for option in options if _is_plain(option)] + list(named)
    for i, word in enumerate(words):
        if any(_alike(word, other) and word == other for other in words[:i]):
            check.refuse(f"the option {check.shown(word)} is given twice")
    for option in found:
        if check.uncalled(option):
            problem = f"options: {option.__name__} is a factory"
            check.refuse(problem, fix=check.uncalled(option), error=TypeError)
    n = len(found)
    return _Law(
        lambda xp, u: _integer(xp, xp.clip(xp.floor(u * n), 0, n - 1)),
        lambda xp, x: (x + 0.5) / n,
        n,
    )


def _check_range(low: Any, high: Any) -> None:
    check.finite(low=low, high=high)
    check.ordered(low=low, high=high)


def _is_plain(option: Any) -> bool:
    """Whether an option is its own label."""
    return option is None or isinstance(option, (bool, int, float, str))


def _alike(a: Any, b: Any) -> bool:
    """Whether two labels may be equal: True is not 1, and arrays have no truth value."""
    return _is_plain(a) and _is_plain(b) and isinstance(a, bool) == isinstance(b, bool)


def _name(option: Any) -> str:
    if isinstance(option, Call):
        return str(option.factory.__name__).lstrip("_")
    return str(getattr(option, "__name__", type(option).__name__))
