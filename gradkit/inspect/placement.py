"""What a compiled training step keeps on each device, and what it sends between devices."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gradkit import _checks as check
from gradkit._step import Step
from gradkit.typing import OptState, Params

KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")
_COLLECTIVE = re.compile(rf"= .*? ({'|'.join(KINDS)})(?:-start)?\(")


@dataclass(frozen=True)
class Placement:
    """What `placement` found.

    Attributes:
      devices: the number of devices that the step runs on.
      param_bytes: bytes of the parameters on each device.
      state_bytes: bytes of the state on each device.
      temp_bytes: bytes of temporary arrays on each device, as XLA plans them.
      collectives: how many operations of each kind are in the compiled step, by XLA's names:
        ``"all-reduce"``, ``"reduce-scatter"``, ``"all-gather"``, ``"all-to-all"``,
        ``"collective-permute"``. One in a loop counts once.
      moved: the paths of the parameters and of the state whose sharding after the step is not that
        before it, so that the next step moves them or is compiled again.
    """

    devices: int
    param_bytes: int
    state_bytes: int
    temp_bytes: int
    collectives: dict[str, int]
    moved: tuple[str, ...]

    def assert_placed(
        self,
        *,
        param_bytes: int | None = None,
        state_bytes: int | None = None,
        temp_bytes: int | None = None,
        collectives: Mapping[str, int] | None = None,
        moved: bool = False,
    ) -> None:
        """Raise an AssertionError unless each device keeps and sends what you expect.

        Args:
          param_bytes: the most bytes of parameters on a device; None checks nothing.
          state_bytes: likewise of the state.
          temp_bytes: likewise of temporaries.
          collectives: the exact number of collectives of each kind; those not named must be absent.
          moved: whether arrays may leave the step with another sharding than they entered it with.

        Raises:
          AssertionError: with everything that differs.

        Example:
          >>> import gradkit as gk, jax, jax.numpy as jnp
          >>> step = gk.make_step(lambda w: jnp.sum(w**2), gk.adam(0.1))
          >>> found = gk.inspect.placement(step, jnp.ones(8), step.init(jnp.ones(8)))
          >>> found.assert_placed(state_bytes=76, collectives={})
        """
        wrong = []
        bounds = {"param_bytes": param_bytes, "state_bytes": state_bytes, "temp_bytes": temp_bytes}
        for name, most in bounds.items():
            if most is not None and getattr(self, name) > most:
                wrong.append(f"{name} is {getattr(self, name):,}, more than {most:,}")
        if collectives is not None:
            expected = {kind: count for kind, count in collectives.items() if count}
            if unknown := sorted(expected.keys() - set(KINDS)):
                with check.inside("assert_placed"):
                    problem = f"collectives has {unknown[0]!r}"
                    check.refuse(problem, expected=f"names among {', '.join(KINDS)}")
            if expected != self.collectives:
                wrong.append(f"the collectives are {self.collectives}, not {expected}")
        if self.moved and not moved:
            wrong.append(f"another sharding after the step: {', '.join(self.moved)}")
        if wrong:
            raise AssertionError("; ".join(wrong))


def placement(step: Step, params: Params, state: OptState, *args: Any, **kwargs: Any) -> Placement:
    """Compile a training step, and read what each device keeps and which collectives run.

    Nothing is run or allocated: pass arrays, or their ``ShapeDtypeStruct`` with shardings.

    Args:
      step: from `make_step`.
      params: the parameters.
      state: the state, such as ``jax.eval_shape(step.init, params)``.
      args: positional arguments of the loss.
      kwargs: keyword arguments of the loss.

    Returns:
      a `Placement`; its ``assert_placed`` is for tests.

    Raises:
      TypeError: not a step of `make_step`.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
      >>> params = jax.ShapeDtypeStruct((256,), jnp.float32)
      >>> tx, whole = gk.adam(0.1), jax.NamedSharding(mesh, jax.P())
      >>> spread = gk.state_sharding(tx, params, mesh, axis="data")
      >>> step = gk.make_step(
      ...     lambda w: jnp.sum(w**2),
      ...     tx,
      ...     in_shardings=(whole, spread),
      ...     out_shardings=(whole, spread, whole),
      ... )
      >>> found = gk.inspect.placement(step, params, jax.eval_shape(tx.init, params))
      >>> found.param_bytes, found.state_bytes, found.collectives  # one device sends nothing
      (1024, 2060, {})
    """
    if not isinstance(step, Step):
        with check.inside("placement"):
            problem = f"step={check.shown(step)} is not a step of make_step"
            check.refuse(problem, fix="Pass gk.make_step(loss_fn, tx)", error=TypeError)
    compiled = step.lower(params, state, *args, **kwargs).compile()
    (before_params, before_state, *_), _ = compiled.input_shardings
    after_params, after_state, *_ = compiled.output_shardings
    moved = [
        *_moved("params", params, before_params, after_params),
        *_moved("state", state, before_state, after_state),
    ]
    memory = compiled.memory_analysis()
    shardings = jax.tree.leaves((before_params, before_state))
    return Placement(
        devices=max((len(s.device_set) for s in shardings), default=1),
        param_bytes=_bytes(params, before_params),
        state_bytes=_bytes(state, before_state),
        temp_bytes=0 if memory is None else int(memory.temp_size_in_bytes),
        collectives=dict(Counter(_COLLECTIVE.findall(compiled.as_text()))),
        moved=tuple(moved),
    )


def _pairs(leaves: Any, shardings: Any) -> Any:
    """Leaves with their sharding; unused arguments have none."""
    return zip(
        jax.tree_util.tree_leaves_with_path(leaves),
        jax.tree.leaves(shardings, is_leaf=lambda x: x is None),
        strict=True,
    )


def _bytes(leaves: Any, shardings: Any) -> int:
    return sum(
        int(np.prod(np.shape(leaf) if where is None else where.shard_shape(np.shape(leaf))))
        * jax.dtypes.result_type(leaf).itemsize
        for (_, leaf), where in _pairs(leaves, shardings)
    )


def _moved(name: str, leaves: Any, before: Any, after: Any) -> list[str]:
    ends = jax.tree.leaves(after, is_leaf=lambda x: x is None)
    return [
        name + jax.tree_util.keystr(path)
        for ((path, leaf), start), end in zip(_pairs(leaves, before), ends, strict=True)
        if start is not None and end is not None and not start.is_equivalent_to(end, np.ndim(leaf))
    ]
