"""Two optimizers side by side along a trajectory.

Both start at the same parameters and take the same number of steps; each keeps its own state and its own parameters. What is
compared is every number of every update and every parameter after every step, not where the two end up: two different rules may
well meet at a minimum, they do not meet on the way.

Each side runs as one jitted ``lax.scan``, so a comparison costs two compilations whatever the number of steps.
"""

import contextlib
import dataclasses
import inspect
import math
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit._transform import apply_updates

# XLA's CPU compiler without its most expensive stages: a tenth of the compile time. The operations stay the same, and their order; what it
# leaves out are fused multiply-adds, which favour either side by luck.
_QUICK: dict[str, str | bool] = {
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "False",
    "xla_cpu_parallel_codegen_split_count": "1",
}

# A trajectory: the dotted path of a leaf ("updates.layer.w") -> its values, steps first, in float64 or complex128.
Trajectory = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Report:
    """What `compare` found. Prints as a few lines; ``passed`` is the verdict as a bool, and so is the report: ``assert compare(...)``.

    Attributes:
      tx: what was tested, as text, and
      reference: what it was held against.
      dtype: of parameters and gradients.
      steps: how many were taken.
      rtol: the relative tolerance of the verdict; None when the verdict is by rounding error (``error``).
      atol: the absolute tolerance.
      max_abs: the largest |a − b| over all numbers of the trajectory (a tested, b reference).
      max_rel: the largest |a − b| / |b|; infinite where b is zero and a is not.
      max_ulp: the largest |a − b| in units in the last place of the largest number that its leaf holds in b's trajectory. (Those of the
        number itself shrink without end where it crosses zero.) Infinite where b's leaf is zero all along and a's is not.
      first_step: the first step (from 0) at which a number passes the tolerance, and
      first_path: its leaf, such as ``updates.layer.w``; None when all are within.
      error: the rounding error of ``tx``: its distance from the reference's float64 trajectory, relative to that, root mean square over the
        trajectory. None when the verdict is by tolerance.
      reference_error: the same of the reference.
      slack: the factor by which ``error`` may pass ``reference_error``.
    """

    tx: str
    reference: str
    dtype: str
    steps: int
    rtol: float | None
    atol: float
    max_abs: float
    max_rel: float
    max_ulp: float
    first_step: int | None
    first_path: str | None
    error: float | None = None
    reference_error: float | None = None
    slack: float = 1.0

    @property
    def passed(self) -> bool:
        """Whether the two agree; in low precision, whether ``tx`` is at least as exact as the reference."""
        if self.rtol is not None or self.error is None or self.reference_error is None:
            return self.first_step is None
        return _no_larger(self.error, self.reference_error, self.slack, self.dtype)

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.rtol is not None or self.error is None:
            return "agrees" if self.passed else "differs"
        return "as exact" if self.passed else "less exact"

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        relative, ulps = difference(self)
        lines = [
            f"{self.tx} against {self.reference}: {self.verdict} over {self.steps} steps in {self.dtype}",
            f"  largest difference: absolute {self.max_abs:.2g}, relative {relative}, {ulps}",
        ]
        if self.rtol is not None:
            lines.append(f"  tolerance: relative {self.rtol:g}, absolute {self.atol:g}")
        if self.error is not None:
            lines.append(
                f"  rounding error against float64: {self.error:.3g}, the reference's {self.reference_error:.3g}"
            )
        if self.rtol is not None and self.first_step is not None:
            lines.append(f"  first beyond the tolerance: step {self.first_step}, {self.first_path}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The report as a dict that ``json.dumps`` takes; a number that is not finite becomes a string."""
        found = {**dataclasses.asdict(self), "passed": self.passed, "verdict": self.verdict}
        return {
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in found.items()
        }


def difference(report: Report) -> tuple[str, str]:
    """``max_rel`` and ``max_ulp`` to read, ``-`` where they say nothing.

    A relative difference of one or more means a number of the reference next to zero. It matters where the tolerance was broken by it; where
    the verdict is by rounding error, or ``atol`` let it through, it is only where the trajectory crossed zero.
    """
    differs = report.verdict == "differs"
    relative = f"{report.max_rel:.1e}" if differs or report.max_rel < 1 else "-"
    return relative, f"{report.max_ulp:.3g} ulp" if differs or math.isfinite(
        report.max_ulp
    ) else "- ulp"


def compare(
    tx: Any,
    reference: Any,
    params: Any,
    gradients_or_loss: Any,
    steps: int,
    *,
    rtol: float | None = None,
    atol: float = 0.0,
    dtype: Any = None,
    extras: Any = None,
    slack: float = 1.1,
    truth: Any = None,
    names: tuple[str, str] | None = None,
) -> Report:
    """Run two optimizers side by side and measure how far apart they come.

    The verdict is one of two. In float64, or with ``rtol``: every number agrees, |a − b| ≤ atol + rtol |b|. In a lower precision without
    ``rtol``: the rounding error of ``tx`` is no larger than the reference's, both measured against the reference's float64 trajectory on
    the same (rounded) gradients, within the factor ``slack``; what is below two units
    of float32 and half a unit of the dtype in the last place counts as exact.

    Args:
      tx: a gradkit or optax transform: anything with ``init`` and ``update``. Or `Torch`.
      reference: the same.
      params: where both start, a tree of floating arrays.
      gradients_or_loss: either a loss, ``loss(params) -> scalar``: each side then gets the gradient at its own parameters, and parameters
        are compared; or the gradients, the same for both, as a sequence of trees or a function of the step (a Python int) that
        returns a tree: then updates and parameters are compared.
      steps: how many, ≥ 1.
      rtol: relative tolerance; by default 1e-10 in float64 and none below.
      atol: absolute tolerance.
      dtype: to run in (``"float64"``, ``"float32"``, ``"bfloat16"``, ``"float16"``); by default what params are. float64 is switched on as needed.
      extras: more arguments for ``update``, as a dict or a function of the step that returns one; each side gets those it takes. With
        a loss ``value``, ``grad`` and ``value_fn`` are there anyway.
      slack: see above.
      truth: what to run in float64 as the truth; by default the reference.
      names: what to call the two in the report.

    Returns:
      a `Report`, true when it passed.

    Raises:
      TypeError: for what is no optimizer, such as a factory that was not called, and for a loss that does not return one number.
      ValueError: for too few gradients, or none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> from gradkit.parity import compare
      >>> heavy_ball = gk.chain(gk.trace(0.9), gk.scale(-0.1))
      >>> averaged = gk.chain(gk.ema(0.9, debias=False), gk.scale(-1.0))
      >>> report = compare(averaged, heavy_ball, {"w": jnp.ones(3)}, lambda p: jnp.sum(p["w"] ** 2), 50, dtype="float64")
      >>> assert report  # v = βv + (1−β)g with the rate 1 is the heavy ball with the rate 1 − β
      >>> wrong = compare(gk.scale(-0.1), heavy_ball, {"w": jnp.ones(3)}, lambda p: jnp.sum(p["w"] ** 2), 50, dtype="float64")
      >>> assert (wrong.passed, wrong.first_step, wrong.first_path) == (False, 1, "params.w")
    """
    with check.inside("compare"):
        _judge(tx=tx, reference=reference, **({} if truth is None else {"truth": truth}))
        check.integer(1, steps=steps)
        check.inexact(params, "parameters")
        feed = _feed(gradients_or_loss, params, steps, extras)
    kind = None if dtype is None else jnp.dtype(dtype)
    here = kind or numerics.wider(
        *(jax.dtypes.result_type(leaf) for leaf in jax.tree.leaves(params) or [np.float32(0)])
    )
    rounded = _rounded(feed, kind)
    start = _as_numpy(params, kind)
    wide = numerics.real(here) == np.float64
    by_tolerance = wide or rtol is not None

    ours = _trajectory(tx, start, rounded, steps, wide)
    theirs = _reference(reference, start, rounded, steps, wide)
    size = {name: np.dtype(numerics.real(leaf)) for name, leaf in _leaf_dtypes(start).items()}
    error: float | None = None
    reference_error: float | None = None
    if not by_tolerance:
        exact = _reference(
            reference if truth is None else truth,
            _widened(start),
            _widened(rounded),
            steps,
            wide=True,
        )
        # Parameters only where there is nothing else: rounding them to their dtype drowns the error of the update.
        judged = [name for name in exact if name.startswith("updates")] or list(exact)
        error, reference_error = (_rounding_error(side, exact, judged) for side in (ours, theirs))
    rtol = 1e-10 if rtol is None and by_tolerance else rtol
    limit = math.inf if rtol is None else rtol
    first, largest = _differences(ours, theirs, size, limit, atol)
    labels = names or (_text(tx), _text(reference))
    return Report(
        labels[0],
        labels[1],
        jnp.dtype(here).name,
        steps,
        rtol,
        atol,
        largest[0],
        largest[1],
        largest[2],
        first[0],
        first[1],
        error,
        reference_error,
        slack,
    )


# ---- what is compared -----------------------------------------------------------------------------------------------


def _judge(**given: Any) -> None:
    """Refuse what cannot be run: the classes of optimizers have ``init`` and ``update`` as well, but only what they make does."""
    for name, tx in given.items():
        made = not isinstance(tx, type)
        if made and (hasattr(tx, "trajectory") or (hasattr(tx, "init") and hasattr(tx, "update"))):
            continue
        kind = type(tx) if made else tx
        if any(base.__module__ == "torch.optim.optimizer" for base in kind.__mro__):
            got, mend = (
                f"torch's {kind.__name__}",
                f"Wrap what makes it: gradkit.parity.Torch(lambda tensors: {kind.__name__}(tensors, ...))",
            )
        elif not made or inspect.isroutine(tx):
            got = f"the {'function' if made else 'class'} {tx.__name__}"
            mend = "Call it, and pass what it returns; a function that makes a torch optimizer goes into gradkit.parity.Torch"
        else:
            got, mend = (
                f"{kind.__name__} {reprlib.repr(tx)}",
                "Pass the optimizer itself, such as gradkit.adam(1e-3)",
            )
        check.fail("needs a gradkit or an optax transform", got, mend, path=name, error=TypeError)


# ---- what both are fed ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Feed:
    """A loss, or gradients with the steps in front; and the extras, steps in front."""

    loss: Callable[[Any], Any] | None
    gradients: Any
    extras: dict[str, Any]


def _feed(given: Any, params: Any, steps: int, extras: Any) -> Feed:
    every = (
        [extras(step) for step in range(steps)]
        if callable(extras)
        else [dict(extras or {})] * steps
    )
    stacked = _stack(every)
    if callable(given):
        out = _on_params(given, params)
        if getattr(out, "shape", None) == ():
            return Feed(given, None, stacked)
        given = _every_step(given, params, steps, out)
        if given is None:
            got = check.shape_dtype(out) if hasattr(out, "shape") else f"a {type(out).__name__}"
            mend = "Reduce the loss, as with jnp.mean, and return nothing beside it"
            check.fail(
                "needs a loss that returns one number, or gradients(step) like params",
                got,
                mend,
                path="gradients_or_loss",
                error=TypeError,
            )
    if not isinstance(given, Sequence) or len(given) < steps:
        got = f"{len(given)}" if isinstance(given, Sequence) else type(given).__name__
        mend = "Pass loss(params), gradients(step), or a list of trees"
        check.fail(
            f"needs a loss, or gradients for {steps} steps", got, mend, path="gradients_or_loss"
        )
    check.match(given[0], params)
    return Feed(None, _stack(list(given[:steps])), stacked)


def _on_params(function: Callable[[Any], Any], params: Any) -> Any:
    """What a function makes of parameters, as shapes: a scalar if it is a loss. Or the error: a function of the step may fail in any way."""
    try:
        return jax.eval_shape(function, params)
    except Exception as error:
        return error


def _every_step(
    function: Callable[[int], Any], params: Any, steps: int, on_params: Any
) -> list[Any] | None:
    """The gradients of a function of the step; None if it is a function of the parameters after all, though no loss."""
    try:
        first = function(0)
        if hasattr(
            on_params, "shape"
        ):  # an array: gradients where params is one too, else a loss that was not reduced
            check.match(first, params)
    except Exception as error:
        if isinstance(on_params, Exception):
            got = f"one that fails on parameters ({_one_line(on_params)}) and on step 0 ({_one_line(error)})"
            check.fail(
                "needs a function of the parameters or of the step",
                got,
                path="gradients_or_loss",
                error=TypeError,
            )
        return None
    return [first, *[function(step) for step in range(1, steps)]]


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _as_numpy(tree: Any, dtype: Any) -> Any:
    """The tree on the host, its floats rounded to ``dtype``."""

    def leaf(x: Any) -> np.ndarray:
        x = np.asarray(x)
        if dtype is None or not jnp.issubdtype(x.dtype, jnp.inexact):
            return x
        if np.iscomplexobj(x):
            return x.astype(np.complex128 if jnp.dtype(dtype) == np.float64 else np.complex64)
        return x.astype(dtype)

    return jax.tree.map(leaf, tree)


def _rounded(feed: Feed, dtype: Any) -> Feed:
    return dataclasses.replace(
        feed, gradients=_as_numpy(feed.gradients, dtype), extras=_as_numpy(feed.extras, dtype)
    )


def _widened(tree: Any) -> Any:
    if isinstance(tree, Feed):
        return _rounded(tree, np.float64)
    return _as_numpy(tree, np.float64)


# ---- one side -------------------------------------------------------------------------------------------------------


def _reference(tx: Any, params: Any, feed: Feed, steps: int, wide: bool) -> Trajectory:
    # Other libraries promote as JAX does by default, whatever the user has set.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return _trajectory(tx, params, feed, steps, wide)


def _trajectory(tx: Any, params: Any, feed: Feed, steps: int, wide: bool) -> Trajectory:
    with jax.enable_x64(wide):
        if hasattr(tx, "trajectory"):
            found = tx.trajectory(params, feed.gradients, feed.loss, steps)
        else:
            found = _scan(tx, jax.tree.map(jnp.asarray, params), feed, steps)
    return {
        f"{what}.{check.keystr(path)}" if path else what: _float64(leaf)
        for what, tree in found.items()
        if what == "params" or feed.loss is None
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _scan(tx: Any, params: Any, feed: Feed, steps: int) -> Any:
    """Updates, and parameters after them, of every step, stacked."""
    loss = feed.loss

    def body(carry: Any, now: Any) -> Any:
        params, state = carry
        gradients, extras = now
        if loss is not None:
            value, gradients = jax.value_and_grad(loss)(params)
            extras = {"value": value, "grad": gradients, "value_fn": loss, **extras}
        updates, state = tx.update(gradients, state, params, **_taken(tx.update, extras))
        params = apply_updates(params, updates)
        return (params, state), {"updates": updates, "params": params}

    @jax.jit
    def run(params: Any, feed: Any) -> Any:
        return lax.scan(body, (params, tx.init(params)), feed, length=steps)[1]

    lowered = run.lower(params, now := jax.tree.map(jnp.asarray, (feed.gradients, feed.extras)))
    if jax.default_backend() == "cpu":
        with contextlib.suppress(
            jax.errors.JaxRuntimeError
        ):  # a jaxlib that has dropped one of these options
            return lowered.compile(compiler_options=_QUICK)(params, now)
    return lowered.compile()(params, now)


def _taken(update: Callable[..., Any], extras: dict[str, Any]) -> dict[str, Any]:
    """Those extras that ``update`` takes."""
    parameters = inspect.signature(update).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return extras
    return {name: value for name, value in extras.items() if name in parameters}


def _float64(leaf: Any) -> np.ndarray:
    leaf = np.asarray(leaf)
    return leaf.astype(np.complex128 if np.iscomplexobj(leaf) else np.float64)


def _text(tx: Any) -> str:
    """A transform as text: gradkit's print themselves, optax's are known by the function that holds their update."""
    if type(tx).__module__.partition(".")[0] == "gradkit":
        return repr(tx)
    name = getattr(getattr(tx, "update", None), "__qualname__", type(tx).__name__).split(
        ".<locals>"
    )[0]
    return f"{type(tx).__module__.partition('.')[0]}.{name}"


# ---- the distance ---------------------------------------------------------------------------------------------------


def _leaf_dtypes(params: Any) -> dict[str, Any]:
    return {
        check.keystr(path) if path else "": leaf.dtype
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def _differences(
    ours: Trajectory, theirs: Trajectory, dtypes: dict[str, Any], rtol: float, atol: float
) -> Any:
    """``(first step, its path), (largest absolute, relative, ulp difference)``."""
    first: tuple[int | None, str | None] = (None, None)
    largest = [0.0, 0.0, 0.0]
    for name in ours.keys() & theirs.keys():  # a torch optimizer shows its parameters only
        b = theirs[name]
        if not b.size:
            continue
        away, size = _distance(ours[name], b), np.abs(b)
        relative = np.divide(
            away, size, out=np.where(away > 0, np.inf, 0.0), where=(size > 0) & np.isfinite(size)
        )
        info, scale = (
            jnp.finfo(dtypes[name.partition(".")[2]]),
            float(np.max(size, initial=0.0, where=np.isfinite(size))),
        )
        spacing = math.ldexp(float(info.eps), math.frexp(max(scale, float(info.tiny)))[1] - 1)
        with np.errstate(over="ignore"):
            ulps = away / spacing if scale > 0 else np.where(away > 0, np.inf, 0.0)
        largest = [
            max(old, float(np.max(new)))
            for old, new in zip(largest, (away, relative, ulps), strict=True)
        ]
        if math.isinf(rtol):
            continue
        beyond = np.nonzero(
            (away > atol + rtol * np.where(np.isfinite(size), size, 0.0))
            .reshape(len(b), -1)
            .any(axis=1)
        )[0]
        if len(beyond) and (
            first[0] is None or (beyond[0], _order(name)) < (first[0], _order(first[1]))
        ):
            first = (int(beyond[0]), name)
    return first, largest


def _order(path: str | None) -> tuple[bool, str]:
    """Updates before the parameters that they change."""
    return not str(path).startswith("updates"), str(path)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b|, zero where both are the same infinity or both NaN, infinite where only one is."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf))


def _rounding_error(side: Trajectory, truth: Trajectory, names: list[str]) -> float:
    """How far a side is from the truth, relative to it, root mean square over the steps of a leaf and then over the leaves.

    An average, for the largest single error of two equally exact sides is a matter of luck.
    """
    shares = []
    for name in names:
        t = truth[name]
        scale = float(np.sum(np.abs(np.where(np.isfinite(t), t, 0.0)) ** 2))
        if t.size:
            away = float(np.sum(_distance(side[name], t) ** 2))
            shares.append(away / scale if scale > 0 else (0.0 if away == 0 else math.inf))
    return math.sqrt(sum(shares) / len(shares)) if shares else 0.0


def _no_larger(error: float, reference_error: float, slack: float, dtype: str) -> bool:
    # Arithmetic is float32: two of its units are the order of operations. The result is rounded once more, to its dtype: half a unit.
    return error <= max(
        slack * reference_error,
        2 * float(jnp.finfo(np.float32).eps),
        float(jnp.finfo(jnp.dtype(dtype)).eps) / 2,
    )
