"""torch.optim as a reference: an optimizer (and a scheduler) stepped in Python on the CPU."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradkit import _checks as check


@dataclasses.dataclass(frozen=True)
class Torch:
    """A torch optimizer to compare with; torch is imported when it runs.

    Args:
      optimizer: makes the optimizer from a list of tensors, such as
        ``lambda tensors: torch.optim.Adam(tensors, lr=1e-3)``.
      scheduler: makes a learning-rate scheduler from the optimizer, or None; it is stepped after
        every step.

    Raises:
      TypeError: for an optimizer or a scheduler that was made already: it holds tensors of its own.

    Example:
      >>> import pytest, gradkit as gk, jax.numpy as jnp
      >>> torch = pytest.importorskip("torch")
      >>> from gradkit.parity import Torch, compare
      >>> sgd = Torch(lambda tensors: torch.optim.SGD(tensors, lr=0.1))
      >>> loss = lambda p: (p**4).sum()
      >>> assert compare(gk.scale(-0.1), sgd, jnp.ones(3), loss, 20, dtype="float64")
    """

    optimizer: Callable[[Any], Any]
    scheduler: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        with check.inside("Torch"):
            if not callable(self.optimizer):
                check.refuse(
                    f"{type(self.optimizer).__name__} is not a function",
                    expected="a function that makes the optimizer from a list of tensors",
                    fix="Such as lambda tensors: torch.optim.Adam(tensors, lr=1e-3)",
                    path="optimizer",
                    error=TypeError,
                )
            if self.scheduler is not None and not callable(self.scheduler):
                check.refuse(
                    f"{type(self.scheduler).__name__} is not a function",
                    expected="a function that makes the scheduler from the optimizer",
                    fix="Such as lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)",
                    path="scheduler",
                    error=TypeError,
                )

    def trajectory(
        self, params: Any, gradients: Any, loss: Callable[[Any], Any] | None, steps: int
    ) -> Any:
        """The parameters after every step, stacked; ``gradients`` have the steps in front."""
        import torch  # noqa: PLC0415  an optional peer, needed only to compare

        treedef: Any
        leaves, treedef = jax.tree.flatten(params)
        columns = None if gradients is None else treedef.flatten_up_to(gradients)
        gradient_of = None if loss is None else jax.jit(jax.grad(loss))
        tensors = [_tensor(torch, leaf).requires_grad_() for leaf in leaves]
        optimizer = self.optimizer(tensors)
        scheduler = None if self.scheduler is None else self.scheduler(optimizer)
        after = [[_array(tensor) for tensor in tensors]]
        for step in range(steps):
            if gradient_of is None:
                assert columns is not None
                now = [column[step] for column in columns]
            else:
                held = [
                    value.astype(leaf.dtype) for value, leaf in zip(after[-1], leaves, strict=True)
                ]
                now = treedef.flatten_up_to(gradient_of(treedef.unflatten(held)))
            for tensor, gradient in zip(tensors, now, strict=True):
                tensor.grad = _tensor(torch, gradient)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            after.append([_array(tensor) for tensor in tensors])
        return {
            "params": treedef.unflatten([np.stack(rows[1:]) for rows in zip(*after, strict=True)])
        }


def _tensor(torch: Any, leaf: Any) -> Any:
    leaf = np.asarray(leaf)
    if leaf.dtype.name == "bfloat16":
        return torch.tensor(leaf.astype(np.float32)).to(torch.bfloat16)
    return torch.tensor(leaf)


def _array(tensor: Any) -> np.ndarray:
    """The tensor's values in float64 (a low precision widens without loss)."""
    return np.array(tensor.detach().double().numpy())
