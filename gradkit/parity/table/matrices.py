"""Rows of methods for matrices, against optax.contrib and torch."""

from typing import Any

import jax

from gradkit.parity.row import WIDE, Row, contrib, matrices, wide
from gradkit.parity.torch import Torch

_AVERAGE = "torch's moment is not debiased; the vectors are trained with SGD on both sides"
_ROWS = (
    "optax's scale_by_muon takes no leaf but matrices: both in partition; in float32 the two err "
    "alike, and which comes nearer is luck"
)


def _numbers(k: Any) -> Any:
    """The matrix transposed: its rows are the outputs."""
    return lambda params: jax.tree.map(
        lambda p: k.MuonDimensionNumbers(1, 0) if p.ndim == 2 else None, params
    )


def _half(k: Any, tx: Any) -> Any:
    """The transform for the matrix alone; the other leaves are scaled."""
    labels = {
        "layer": {"matrix": "matrix", "vector": "other"},
        "scalar": "other",
        "empty": "other",
    }
    return k.partition({"matrix": tx, "other": k.scale(0.5)}, labels)


def _falling(step: Any) -> Any:
    return 0.1 / (1.0 + wide(step))


class _Parts:
    """torch's Muon for the matrices, and SGD for the other tensors."""

    def __init__(self, torch: Any, tensors: list[Any], **options: Any):
        matrix = [tensor for tensor in tensors if tensor.ndim == 2]
        other = [tensor for tensor in tensors if tensor.ndim != 2]
        self.torch = torch
        self.optimizers = [torch.optim.Muon(matrix, **options), torch.optim.SGD(other, lr=0.1)]

    def step(self) -> None:
        tensor = self.torch.Tensor
        usual, tensor.bfloat16 = tensor.bfloat16, lambda self: self.double().clone()
        try:
            for optimizer in self.optimizers:
                optimizer.step()
        finally:
            tensor.bfloat16 = usual


def _against_torch(case: str, make: Any, **options: Any) -> Row:
    return Row(
        "orthogonalize_updates",
        case,
        lambda k: k.where(k.by_rank(2, 2), make(k), k.sgd(0.1)),
        lambda torch: Torch(lambda tensors: _Parts(torch, tensors, **options)),
        against="torch",
        note=_AVERAGE + "; torch with float64 in place of its bfloat16",
        dtypes=("float64",),
    )


MATRICES: tuple[Row, ...] = (
    contrib("muon", "", lambda k: k.muon(0.05), dtypes=WIDE),
    contrib(
        "muon",
        "other",
        lambda k: k.muon(
            _falling,
            (3.0, -4.0, 2.0),
            3,
            0.8,
            1e-3,
            0.1,
            matrices,
            nesterov=False,
            adaptive=True,
            preconditioning="spectral",
            adam_b1=0.8,
            adam_b2=0.95,
            adam_eps_root=1e-3,
            adam_weight_decay=0.01,
            adam_learning_rate=0.02,
            muon_weight_dimension_numbers=_numbers(k),
            consistent_rms=0.2,
        ),
        dtypes=("float64",),
    ),
    contrib(
        "muon",
        "dion",
        lambda k: k.muon(0.05, "dion", preconditioning="schatten"),
        dtypes=WIDE,
    ),
    contrib(
        "muon",
        "two triples, aol",
        lambda k: k.muon(0.05, ((3.4, -4.7, 2.0), (1.5, -0.5, 0.0)), preconditioning="aol"),
        dtypes=WIDE,
    ),
    Row(
        "scale_by_muon",
        "",
        lambda k: _half(k, k.scale_by_muon(beta=0.8, adaptive=True)),
        lambda o: _half(
            o,
            o.contrib.scale_by_muon(
                beta=0.8,
                adaptive=True,
                weight_dimension_numbers=lambda tree: {
                    "layer": {"matrix": o.contrib.MuonDimensionNumbers(), "vector": o.MaskedNode()},
                    "scalar": o.MaskedNode(),
                    "empty": o.MaskedNode(),
                },
            ),
        ),
        note=_ROWS,
        dtypes=("float64",),
    ),
    _against_torch(
        "",
        lambda k: k.chain(
            k.ema(0.95, debias=False, nesterov=True),
            k.orthogonalize_updates(eps=0.0),
            k.scale_by_shape(k.MuonDimensionNumbers(1, 0)),
            k.add_decayed_weights(0.1),
            k.scale_by_learning_rate(0.01),
        ),
        lr=0.01,
    ),
    _against_torch(
        "as AdamW",
        lambda k: k.chain(
            k.ema(0.8, debias=False),
            k.orthogonalize_updates(3, (3.0, -4.0, 2.0), eps=0.0),
            k.scale_by_shape(consistent_rms=0.2),
            k.add_decayed_weights(0.01),
            k.scale_by_learning_rate(0.02),
        ),
        lr=0.02,
        momentum=0.8,
        nesterov=False,
        ns_steps=3,
        ns_coefficients=(3.0, -4.0, 2.0),
        weight_decay=0.01,
        adjust_lr_fn="match_rms_adamw",
    ),
)
