"""One record per public layer: how it is made in NNX and in Linen, what it takes, what it must refuse and in which words."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from flax import linen, nnx

import gradkit.nn as gnn
from gradkit.nn import linen as gln

IMAGE, ROWS = (4, 4, 4, 8), (4, 8)


@dataclass(frozen=True)
class Case:
    name: str
    nnx: Callable[..., Any]  # (**more) -> module
    linen: Callable[..., Any]
    shape: tuple[int, ...] = IMAGE
    noisy: bool = False
    complex: bool = False
    wraps: bool = False  # holds a layer of Flax's
    bad: tuple[tuple[dict[str, Any], str], ...] = ()  # arguments of nnx, and a piece of the message
    call: dict[str, Any] = field(default_factory=dict)  # to the Linen call

    def __repr__(self) -> str:
        return self.name


def _rngs() -> Any:
    return nnx.Rngs(0)


def _norm(
    name: str,
    *bad: Any,
    linen_args: dict[str, Any] | None = None,
    nnx_args: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    features = more.pop("features", 8)
    made = lambda **changed: getattr(gnn, name)(
        **{"num_features": features, "rngs": _rngs(), **(nnx_args or {}), **changed}
    )
    return Case(
        name,
        made,
        lambda **changed: getattr(gln, name)(**{**(linen_args or {}), **changed}),
        bad=bad,
        **more,
    )


def _noise(name: str, *bad: Any, **more: Any) -> Case:
    args = more.pop("args", {"rate": 0.4})
    made = lambda **changed: getattr(gnn, name)(**{**args, "rngs": _rngs(), **changed})
    return Case(
        name,
        made,
        lambda **changed: getattr(gln, name)(**{**args, "deterministic": False, **changed}),
        noisy=True,
        bad=bad,
        **more,
    )


def _wrapped(name: str, *bad: Any, rngs: bool = True, **more: Any) -> Case:
    made = lambda **changed: getattr(gnn, name)(
        **{
            "layer_instance": nnx.Linear(8, 5, rngs=_rngs()),
            **({"rngs": _rngs()} if rngs else {}),
            **changed,
        }
    )
    return Case(
        name,
        made,
        lambda **changed: getattr(gln, name)(linen.Dense(5), **changed),
        shape=ROWS,
        wraps=True,
        bad=bad,
        **more,
    )


NO_RNGS = ({"rngs": None}, "rngs=None. Pass rngs=nnx.Rngs(0)")
EPSILON = ({"epsilon": -1.0}, "epsilon: needs a finite number >= 0; got -1.0")
RATE = ({"rate": 1.5}, "rate: needs a number in [0, 1]; got 1.5")
KEYS = ({"rngs": 3}, "needs rngs of type nnx.Rngs or nnx.RngStream; got int")
RUNNING = {"use_running_average": False}

CASES = (
    _norm(
        "BatchNorm",
        NO_RNGS,
        EPSILON,
        ({"momentum": 2.0}, "momentum: needs a number in [0, 1]"),
        call=RUNNING,
    ),
    _norm("BatchRenorm", NO_RNGS, call=RUNNING),
    _norm(
        "GhostBatchNorm",
        NO_RNGS,
        ({"axis_name": "batch"}, "needs no axis_name"),
        nnx_args={"ghost_batch_size": 2},
        linen_args={"ghost_batch_size": 2},
        call=RUNNING,
    ),
    _norm(
        "FrozenBatchNorm", EPSILON, ({"num_features": 0}, "num_features: needs a whole number >= 1")
    ),
    _norm("LayerNorm", NO_RNGS, EPSILON, complex=True),
    _norm("RMSNorm", NO_RNGS, EPSILON, complex=True),
    _norm(
        "GroupNorm",
        NO_RNGS,
        ({"num_groups": 3}, "needs a divisor of the 8 channels; got 3. Choose one of 1, 2, 4, 8."),
        ({"num_groups": 2, "group_size": 4}, "needs num_groups or group_size"),
        nnx_args={"num_groups": 4},
        linen_args={"num_groups": 4},
        complex=True,
    ),
    _norm("InstanceNorm", NO_RNGS, EPSILON, complex=True),
    _norm("FilterResponseNorm", EPSILON),
    _norm("GlobalResponseNorm", EPSILON),
    _wrapped(
        "WeightNorm",
        NO_RNGS,
        (
            {"variable_filter": nnx.PathContains("weight")},
            "variable_filter: needs a layer with parameters",
        ),
    ),
    _wrapped(
        "SpectralNorm",
        NO_RNGS,
        ({"n_steps": 0}, "n_steps: needs a whole number >= 1"),
        call={"update_stats": True},
    ),
    _wrapped("WeightStandardization", EPSILON, rngs=False),
    _noise("Dropout", RATE, KEYS),
    _noise("DropPath", RATE, KEYS),
    _noise("DropBlock", RATE, args={"rate": 0.2, "block_size": 3}),
    _noise("AlphaDropout", RATE, KEYS),
    _noise("GaussianDropout", RATE),
    _noise("GaussianNoise", ({"rate": -1.0}, "stddev: needs a finite number >= 0; got -1.0")),
    _noise("StochasticPool", KEYS, args={"window_shape": (2, 2), "strides": (2, 2)}),
    Case(
        "DropConnect",
        lambda **changed: gnn.DropConnect(
            **{
                "layer_instance": nnx.Linear(8, 5, rngs=_rngs()),
                "rate": 0.4,
                "rngs": _rngs(),
                **changed,
            }
        ),
        lambda **changed: gln.DropConnect(
            linen.Dense(5), **{"rate": 0.4, "deterministic": False, **changed}
        ),
        shape=ROWS,
        noisy=True,
        wraps=True,
        bad=(RATE, KEYS),
    ),
)


def example(shape: tuple[int, ...], dtype: Any = jnp.float32, seed: int = 0) -> Any:
    import numpy as np

    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 1.5 + 0.5
    return jnp.asarray(
        x + 1j * rng.normal(size=shape) if jnp.issubdtype(dtype, jnp.complexfloating) else x, dtype
    )
