"""Two optimizers side by side along a trajectory.

Both start at the same parameters and take the same number of steps; each keeps its own state and
its own parameters. Compared is every number of every update and of every parameter after every
step. The end point alone would not do: two different rules may reach the same minimum by different
paths.

Each side runs as one jitted ``lax.scan``, so a comparison costs two compilations for any number of
steps.
"""

import inspect
import math
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.parity.distance import differences, leaf_dtypes, rounding_error
from gradkit.parity.feed import as_numpy, feed_of, in_dtype, widened
from gradkit.parity.report import Report
from gradkit.parity.trajectory import reference_trajectory, trajectory_of
from gradkit.typing import Params, Updates


def compare(
    tx: Any,
    reference: Any,
    params: Params,
    gradients_or_loss: Callable[[Any], Any] | Sequence[Updates],
    steps: int,
    *,
    rtol: float | None = None,
    atol: float = 0.0,
    dtype: DTypeLike | None = None,
    extras: dict[str, Any] | Callable[[int], dict[str, Any]] | None = None,
    slack: float = 1.1,
    truth: Any = None,
    names: tuple[str, str] | None = None,
) -> Report:
    """Run two optimizers side by side and measure how far apart they come.

    In float64, or with ``rtol``, the comparison passes when every number agrees:
    |a − b| ≤ atol + rtol |b|. In a lower precision without ``rtol`` it passes when the rounding
    error of ``tx`` is no larger than the reference's, within the factor ``slack``. Both errors are
    measured against the reference's float64 trajectory on the same (rounded) gradients. An error
    below two units of float32 and half a unit of the dtype in the last place counts as exact.

    Args:
      tx: a gradkit or optax transform: anything with ``init`` and ``update``. Or `Torch`.
      reference: the same.
      params: where both start, a tree of floating arrays.
      gradients_or_loss: a loss, ``loss(params) -> scalar``: each side gets the gradient at its own
        parameters, and parameters are compared. Or the gradients, the same for both, as a sequence
        of trees or a function of the step (a Python int) that returns a tree: updates and
        parameters are compared.
      steps: how many, ≥ 1.
      rtol: relative tolerance; by default 1e-10 in float64 and none below.
      atol: absolute tolerance.
      dtype: to run in (``"float64"``, ``"float32"``, ``"bfloat16"``, ``"float16"``); by default
        that of params. float64 is switched on as needed.
      extras: extra arguments of ``update``, as a dict or a function of the step that returns one;
        each side gets those that it takes. With a loss, ``value``, ``grad`` and ``value_fn`` are
        passed too.
      slack: see above.
      truth: what to run in float64 as the truth; by default the reference.
      names: what to call the two in the report.

    Returns:
      a `Report`, true when it passed.

    Raises:
      TypeError: for something that is not an optimizer, such as a factory that was not called, and
        for a loss that does not return one number.
      ValueError: for too few gradients, or none.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> from gradkit.parity import compare
      >>> heavy_ball = gk.chain(gk.trace(0.9), gk.scale(-0.1))
      >>> averaged = gk.chain(gk.ema(0.9, debias=False), gk.scale(-1.0))
      >>> start, loss = {"w": jnp.ones(3)}, lambda p: jnp.sum(p["w"] ** 2)
      >>> report = compare(averaged, heavy_ball, start, loss, 50, dtype="float64")
      >>> assert report  # v = βv + (1−β)g at the rate 1 is the heavy ball at the rate 1 − β
      >>> wrong = compare(gk.scale(-0.1), heavy_ball, start, loss, 50, dtype="float64")
      >>> assert (wrong.passed, wrong.first_step, wrong.first_path) == (False, 1, "params.w")
    """
    with check.inside("compare"):
        _judge(tx=tx, reference=reference, **({} if truth is None else {"truth": truth}))
        check.integer(1, steps=steps)
        check.tree_of_arrays(params, "params")
        check.inexact(params, "parameter")
        check.non_negative(atol=atol, **({} if rtol is None else {"rtol": rtol}))
        check.positive(slack=slack)
        if dtype is not None:
            check.floating_dtype(dtype=dtype)
        if names is not None and not (
            isinstance(names, (tuple, list)) and [type(n) for n in names] == [str, str]
        ):
            problem = f"names={check.shown(names)} is not a pair of strings"
            check.refuse(problem, error=TypeError)
        feed = feed_of(gradients_or_loss, params, steps, extras)
    kind = None if dtype is None else jnp.dtype(dtype)
    here = kind or numerics.wider(
        *(jax.dtypes.result_type(leaf) for leaf in jax.tree.leaves(params) or [np.float32(0)])
    )
    rounded = in_dtype(feed, kind)
    start = as_numpy(params, kind)
    wide = numerics.real(here) == np.float64
    by_tolerance = wide or rtol is not None

    ours = trajectory_of(tx, start, rounded, steps, wide)
    theirs = reference_trajectory(reference, start, rounded, steps, wide)
    size = {name: np.dtype(numerics.real(leaf)) for name, leaf in leaf_dtypes(start).items()}
    error: float | None = None
    reference_error: float | None = None
    if not by_tolerance:
        exact = reference_trajectory(
            reference if truth is None else truth,
            widened(start),
            widened(rounded),
            steps,
            wide=True,
        )
        # Parameters only where there is nothing else: rounding them to their dtype is a larger
        # error than that of the update.
        judged = [name for name in exact if name.startswith("updates")] or list(exact)
        error, reference_error = (rounding_error(side, exact, judged) for side in (ours, theirs))
    rtol = 1e-10 if rtol is None and by_tolerance else rtol
    limit = math.inf if rtol is None else rtol
    first, largest = differences(ours, theirs, size, limit, atol)
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


def _judge(**given: Any) -> None:
    """Refuse what cannot be run.

    A class of optimizers has ``init`` and ``update`` as well: only what it makes can be run.
    """
    for name, tx in given.items():
        made = not isinstance(tx, type)
        if made and (hasattr(tx, "trajectory") or (hasattr(tx, "init") and hasattr(tx, "update"))):
            continue
        kind = type(tx) if made else tx
        if any(base.__module__ == "torch.optim.optimizer" for base in kind.__mro__):
            found, fix = (
                f"torch's {kind.__name__}",
                "Wrap what makes it: "
                f"gradkit.parity.Torch(lambda tensors: {kind.__name__}(tensors, ...))",
            )
        elif not made or inspect.isroutine(tx):
            found = f"the {'function' if made else 'class'} {tx.__name__}"
            fix = (
                "Call it, and pass what it returns; a function that makes a torch optimizer "
                "goes into gradkit.parity.Torch"
            )
        else:
            found, fix = (
                f"{kind.__name__} {reprlib.repr(tx)}",
                "Pass the optimizer itself, such as gradkit.adam(1e-3)",
            )
        check.refuse(
            f"{found} is not an optimizer",
            expected="a gradkit or an optax transform",
            fix=fix,
            path=name,
            error=TypeError,
        )


def _text(tx: Any) -> str:
    """A transform as text: gradkit's its repr, optax's the function that holds its update."""
    if type(tx).__module__.partition(".")[0] == "gradkit":
        return repr(tx)
    name = getattr(getattr(tx, "update", None), "__qualname__", type(tx).__name__).split(
        ".<locals>"
    )[0]
    return f"{type(tx).__module__.partition('.')[0]}.{name}"
