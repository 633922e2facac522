"""One counterpart: how a row of the table is made, what it is fed, and how it is run."""

import dataclasses
import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradkit.parity.compare import compare
from gradkit.parity.report import Report

ALL = ("float64", "float32", "bfloat16")
WIDE = ALL[
    :2
]  # in bfloat16 the rounding of the parameters decides such a row, the same luck for both


@dataclasses.dataclass(frozen=True)
class Row:
    """One counterpart.

    Attributes:
      part: the gradkit name that the row is about.
      case: what is special about the row; with ``part`` it makes the row's ``name``.
      make: makes gradkit's transform, given ``gradkit``.
      reference: makes the other, given ``optax`` or ``torch``; by default the call is the same.
      against: ``"optax"`` or ``"torch"``.
      feed: ``"gradients"`` (the same for both), ``"nans"`` (with NaN among them), or ``"loss"``
        (each side at its own parameters).
      note: where the two differ on purpose, or why the call looks as it does.
      rtol: the tolerance in float64, and
      atol: the absolute one, where numbers nearly cancel.
      dtypes: the precisions in which the two can be compared.
      most: the steps after which the two need not agree.
      scalars: whether the tree has its scalar and its empty leaf, which some references do not
        take.
      extras: what ``update`` is passed beside the gradients, a function of the step.
    """

    part: str
    case: str
    make: Callable[[Any], Any]
    reference: Callable[[Any], Any] | None = None
    against: str = "optax"
    feed: str = "gradients"
    note: str = ""
    rtol: float = 1e-10
    atol: float = 0.0
    dtypes: tuple[str, ...] = ALL
    most: int | None = None
    scalars: bool = True
    extras: Callable[[int], dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        """Unique in the table: ``optax adamw, masked``."""
        return f"{self.against} {self.part}" + (f", {self.case}" if self.case else "")

    def run(self, steps: int = 200, dtype: str = "float64") -> Report:
        """Compare the two over ``steps`` steps on `start`."""
        import gradkit  # noqa: PLC0415  at the call, for this module is part of it

        def reference(wide: bool) -> Any:
            # Some of optax's schedules round their numbers when they are made.
            with jax.enable_x64(wide):
                return (self.reference or self.make)(importlib.import_module(self.against))

        wide = dtype == "float64"
        with jax.enable_x64(wide):
            tx = self.make(gradkit)
        steps = min(steps, self.most or steps)
        feed = loss if self.feed == "loss" else gradients(steps, nans=self.feed == "nans")
        rtol, truth, names = (
            (self.rtol, None, (repr(tx), self.against))
            if wide
            else (None, reference(True), (repr(tx), self.against))
        )
        params = start()
        if not self.scalars:
            assert isinstance(feed, list)
            params, feed = params["layer"], [tree["layer"] for tree in feed]
        return compare(
            tx,
            reference(wide),
            params,
            feed,
            steps,
            rtol=rtol,
            atol=self.atol if wide else 0.0,
            dtype=dtype,
            extras=self.extras,
            truth=truth,
            names=names,
        )


def installed(module: str) -> bool:
    """Whether ``optax`` or ``torch`` can be imported."""
    return importlib.util.find_spec(module) is not None


# ---- what the rows are fed -----------------------------------------------------------------------


def start() -> Any:
    """The tree of all rows: a matrix, a vector, a scalar and an empty leaf."""
    draw = np.random.default_rng(0).normal
    return {
        "layer": {"matrix": draw(size=(3, 2)), "vector": draw(size=4)},
        "scalar": np.float64(0.7),
        "empty": np.zeros((0,)),
    }


def gradients(steps: int, nans: bool = False) -> list[Any]:
    """Gradients whose size changes from step to step.

    Of the vector one entry is always zero, one is zero every other step, one from step 20 on.
    """
    rng = np.random.default_rng(1)
    shapes = jax.tree.map(np.shape, start(), is_leaf=lambda x: isinstance(x, np.generic))
    trees = []
    for step in range(steps):
        size = math.exp(rng.normal()) * (0.2 + math.cos(step / 9) ** 2)
        tree = jax.tree.map(
            lambda shape, size=size: size * rng.normal(size=shape),
            shapes,
            is_leaf=lambda x: isinstance(x, tuple),
        )
        tree["layer"]["vector"][0] = 0.0
        tree["layer"]["vector"][1] *= step % 2
        tree["layer"]["vector"][2] *= step < 20
        if nans and step % 7 == 3:
            tree["layer"]["matrix"][1, 0] = np.nan
        trees.append(tree)
    return trees


def loss(params: Any) -> Any:
    """A smooth bowl with bounded slopes, whose bottom no row reaches: there all is rounding."""
    layer, scalar = params["layer"], params["scalar"]
    bowls = [
        jax.numpy.sum(jax.numpy.sqrt(1 + (leaf - at) ** 2))
        for leaf, at in ((layer["matrix"], 9.0), (layer["vector"], -7.0), (scalar, 5.0))
    ]
    return (
        bowls[0] + bowls[1] * 0.5 + bowls[2] * 2.0 + 0.01 * scalar * jax.numpy.sum(layer["matrix"])
    )


def matrices(params: Any) -> Any:
    """A mask: True for leaves of rank two or more."""
    return jax.tree.map(lambda p: np.ndim(p) > 1, params)


def fine(k: Any, schedule: Any) -> Any:
    """Optax's schedules on a float64 step under x64: on an int32 step they compute in float32."""
    if k.__name__ != "optax" or not jax.config.read("jax_enable_x64"):
        return schedule
    return lambda step: schedule(jax.numpy.asarray(step, np.float64))


def wide(step: Any) -> Any:
    """The step as optax's rates should get it: from an int32 one they compute in float32."""
    return jax.numpy.asarray(step, float)


def contrib(part: str, case: str, make: Callable[[Any], Any], **more: Any) -> Row:
    """A row whose other half lives in ``optax.contrib``."""
    return Row(part, case, make, lambda o: make(o.contrib), **more)
