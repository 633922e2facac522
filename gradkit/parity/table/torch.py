"""Rows against torch.optim."""

from collections.abc import Callable
from typing import Any

import jax

from gradkit.parity.row import WIDE, Row
from gradkit.parity.torch import Torch

_OUTSIDE = "torch's ε stands outside the root"
_CONSTANT = (
    "torch's b1 in the look ahead is b1 (1 − 0.96^(tψ) / 2): with a large ψ = momentum_decay it is "
    "b1 from the first step on, as gradkit's and optax's"
)


def _torch(
    part: str, case: str, make: Callable[[Any], Any], reference: Callable[[Any], Any], **more: Any
) -> Row:
    """A row against ``reference(torch)``, a function that makes the optimizer from its tensors."""
    return Row(part, case, make, lambda torch: Torch(reference(torch)), against="torch", **more)


class _Wide(Torch):
    """torch with float64 for what it keeps in its default dtype: rates and products of decays."""

    def trajectory(self, *arguments: Any) -> Any:
        import torch  # noqa: PLC0415  an optional peer, needed only to compare

        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return super().trajectory(*arguments)
        finally:
            torch.set_default_dtype(usual)


def _torch_schedule(
    part: str,
    case: str,
    make: Callable[[Any], Any],
    reference: Callable[[Any, Any], Any],
    **more: Any,
) -> Row:
    """Gradient descent at the rate of a scheduler, which starts at 0.3."""
    return Row(
        part,
        case,
        lambda k: k.sgd(make(k)),
        lambda torch: Torch(
            lambda tensors: torch.optim.SGD(tensors, lr=0.3),
            lambda optimizer: reference(torch.optim.lr_scheduler, optimizer),
        ),
        against="torch",
        **more,
    )


TORCH = (
    _torch("sgd", "", lambda k: k.sgd(0.1), lambda t: lambda p: t.optim.SGD(p, lr=0.1)),
    _torch(
        "sgd",
        "momentum",
        lambda k: k.sgd(0.1, momentum=0.9),
        lambda t: lambda p: t.optim.SGD(p, lr=0.1, momentum=0.9),
    ),
    _torch(
        "sgd",
        "nesterov",
        lambda k: k.sgd(0.1, momentum=0.9, nesterov=True),
        lambda t: lambda p: t.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    ),
    _torch(
        "sgd",
        "on a loss",
        lambda k: k.sgd(0.01, momentum=0.9),
        lambda t: lambda p: t.optim.SGD(p, lr=0.01, momentum=0.9),
        feed="loss",
        dtypes=WIDE,
    ),
    _torch(
        "add_l2_penalty",
        "sgd",
        lambda k: k.chain(k.add_l2_penalty(0.1), k.sgd(0.1, momentum=0.9)),
        lambda t: lambda p: t.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        note="torch's weight_decay in SGD and Adam is the coupled penalty",
    ),
    _torch(
        "add_l2_penalty",
        "adam",
        lambda k: k.chain(k.add_l2_penalty(0.1), k.adam(0.01)),
        lambda t: lambda p: t.optim.Adam(p, lr=0.01, weight_decay=0.1),
    ),
    _torch(
        "adagrad",
        "",
        lambda k: k.adagrad(0.1, initial_accumulator_value=0.5, eps=0.0),
        lambda t: lambda p: t.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.5, eps=0.0),
        note=_OUTSIDE + ", gradkit's and optax's inside: equal for ε = 0",
    ),
    _torch(
        "precondition",
        "adagrad",
        lambda k: k.chain(
            k.precondition(k.averages.latest(), k.averages.running_sum(0.5), eps=1e-3),
            k.scale_by_learning_rate(0.1),
        ),
        lambda t: lambda p: t.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.5, eps=1e-3),
        note=_OUTSIDE,
    ),
    _torch(
        "rmsprop",
        "",
        lambda k: k.rmsprop(0.01, decay=0.99, eps=1e-5, eps_in_sqrt=False),
        lambda t: lambda p: t.optim.RMSprop(p, lr=0.01, alpha=0.99, eps=1e-5),
        note=_OUTSIDE,
    ),
    _torch(
        "rmsprop",
        "centered, momentum",
        lambda k: k.rmsprop(
            0.01, decay=0.9, eps=1e-2, eps_in_sqrt=False, centered=True, momentum=0.9
        ),
        lambda t: (
            lambda p: t.optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-2, centered=True, momentum=0.9)
        ),
        note=_OUTSIDE,
    ),
    _torch(
        "adadelta",
        "",
        lambda k: k.adadelta(1.0, rho=0.9, eps=1e-6),
        lambda t: lambda p: t.optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-6),
    ),
    _torch("adam", "", lambda k: k.adam(0.01), lambda t: lambda p: t.optim.Adam(p, lr=0.01)),
    _torch(
        "adam",
        "on a loss",
        lambda k: k.adam(0.01, b1=0.8, b2=0.99),
        lambda t: lambda p: t.optim.Adam(p, lr=0.01, betas=(0.8, 0.99)),
        feed="loss",
        dtypes=WIDE,
    ),
    _torch(
        "adamw",
        "",
        lambda k: k.adamw(0.01, weight_decay=0.1),
        lambda t: lambda p: t.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        note="both decay by αλθ; torch's default λ is 1e-2, gradkit's and optax's 1e-4",
    ),
    _torch(
        "adamax",
        "",
        lambda k: k.adamax(0.01, eps=1e-5),
        lambda t: lambda p: t.optim.Adamax(p, lr=0.01, eps=1e-5),
    ),
    _torch_schedule(
        "exponential_decay",
        "",
        lambda k: k.exponential_decay(0.3, 1, 0.98),
        lambda s, o: s.ExponentialLR(o, 0.98),
    ),
    _torch_schedule(
        "exponential_decay",
        "staircase",
        lambda k: k.exponential_decay(0.3, 30, 0.5, staircase=True),
        lambda s, o: s.StepLR(o, 30, 0.5),
        note="StepLR",
    ),
    _torch_schedule(
        "cosine_decay_schedule",
        "",
        lambda k: k.cosine_decay_schedule(0.3, 200, alpha=0.1),
        lambda s, o: s.CosineAnnealingLR(o, 200, eta_min=0.03),
        note="torch's rises again after its last step, gradkit's and optax's stay",
        most=200,
    ),
    _torch_schedule(
        "cosine_onecycle_schedule",
        "",
        lambda k: k.cosine_onecycle_schedule(200, 0.3, 0.3),
        lambda s, o: s.OneCycleLR(
            o, 0.3, total_steps=201, pct_start=61 / 201, cycle_momentum=False
        ),
        note="torch counts the values of a cycle, gradkit and optax its intervals: one fewer",
        most=200,
    ),
    _torch_schedule(
        "triangular_schedule",
        "",
        lambda k: k.schedules.triangular_schedule(0.1, 0.3, 25),
        lambda s, o: s.CyclicLR(o, 0.1, 0.3, step_size_up=25, cycle_momentum=False),
        note="CyclicLR",
    ),
    _torch_schedule(
        "warm_restarts_schedule",
        "",
        lambda k: k.schedules.warm_restarts_schedule(0.3, 20, t_mul=2, alpha=0.1),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 20, 2, eta_min=0.03),
        note="torch's lower bound is a value, gradkit's a fraction of the upper",
    ),
    _torch(
        "radam",
        "",
        lambda k: k.radam(0.05, 0.8, 0.99, eps=1e-16),
        lambda t: lambda p: t.optim.RAdam(p, lr=0.05, betas=(0.8, 0.99), eps=1e-16),
        note="torch adds ε before the preconditioner is debiased: equal for ε → 0",
        dtypes=("float64",),
    ),
    _torch(
        "rprop",
        "",
        lambda k: k.rprop(0.01),
        lambda t: lambda p: t.optim.Rprop(p, lr=0.01),
        note="optax gives every update one step late",
    ),
    _torch(
        "rprop",
        "other",
        lambda k: k.rprop(0.05, 0.4, 1.6, 1e-3, 2.0),
        lambda t: lambda p: t.optim.Rprop(p, lr=0.05, etas=(0.4, 1.6), step_sizes=(1e-3, 2.0)),
    ),
    Row(
        "asgd",
        "",
        lambda k: k.asgd(0.05, 0.01, 0.5, 20, 0.1),
        lambda t: _Wide(
            lambda p: t.optim.ASGD(p, lr=0.05, lambd=0.01, alpha=0.5, t0=20, weight_decay=0.1)
        ),
        against="torch",
        dtypes=("float64",),
        note="torch keeps its rate in its default dtype: float64 here",
    ),
    Row(
        "nadam",
        "",
        lambda k: k.nadam(0.01, 0.8, 0.99, 1e-5),
        lambda t: _Wide(
            lambda p: t.optim.NAdam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-5, momentum_decay=1e5)
        ),
        against="torch",
        note=_CONSTANT,
    ),
    Row(
        "nadamw",
        "",
        lambda k: k.nadamw(0.01, weight_decay=0.1),
        lambda t: _Wide(
            lambda p: t.optim.NAdam(
                p, lr=0.01, momentum_decay=1e5, weight_decay=0.1, decoupled_weight_decay=True
            )
        ),
        against="torch",
        note=_CONSTANT,
    ),
    _torch(
        "adafactor",
        "",
        lambda k: k.adafactor(
            lambda step: jax.numpy.minimum(
                0.1, 1 / jax.numpy.sqrt(jax.numpy.asarray(step, float) + 1.0)
            ),
            1,
        ),
        lambda t: lambda p: t.optim.Adafactor(p, lr=0.1, eps=(1e-15, 1e-3)),
        note="torch bounds its rate by 1/√t, factors every matrix, has ε as a floor, not a term, "
        "and takes no empty leaf",
        scalars=False,
        dtypes=("float64",),
    ),
)
