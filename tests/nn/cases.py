"""One record per public layer: how NNX and Linen make it, and what it must refuse in which words.

``tests/records/case.py`` has the record of a transform. The two share the fields name, bad, complex
and the printed form.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

import gradkit.nn as gnn
from gradkit.nn import linen as gln

IMAGE, ROWS = (4, 4, 4, 8), (4, 8)


@dataclass(frozen=True, eq=False)
class Case:
    name: str
    nnx: Callable[..., Any]  # (**more) -> module
    linen: Callable[..., Any]
    shape: tuple[int, ...] = IMAGE
    noisy: bool = False
    complex: bool = False
    wraps: bool = False  # holds a layer of Flax's
    bad: tuple[tuple[dict[str, Any], str], ...] = ()  # NNX arguments, a piece of the message
    call: dict[str, Any] = field(default_factory=dict)  # arguments of the Linen call

    def __repr__(self) -> str:
        return self.name


def _rngs() -> Any:
    return nnx.Rngs(0)


def _norm(name: str, *bad: Any, linen_args: Any = None, nnx_args: Any = None, **more: Any) -> Case:
    given = {"num_features": 8, **(nnx_args or {})}
    made = lambda **changed: getattr(gnn, name)(**{"rngs": _rngs(), **given, **changed})
    other = lambda **changed: getattr(gln, name)(**{**(linen_args or {}), **changed})
    return Case(name, made, other, bad=bad, **more)


def _noise(name: str, *bad: Any, args: dict[str, Any], **more: Any) -> Case:
    made = lambda **changed: getattr(gnn, name)(**{**args, "rngs": _rngs(), **changed})
    other = lambda **changed: getattr(gln, name)(**{**args, "deterministic": False, **changed})
    return Case(name, made, other, noisy=True, bad=bad, **more)


def _wrapped(name: str, *bad: Any, args: Any = None, linen_args: Any = None, **more: Any) -> Case:
    given = {"rngs": _rngs()} if args is None else args

    def made(**changed: Any) -> Any:
        fresh = {"rngs": _rngs()} if "rngs" in given else {}
        layer = nnx.Linear(8, 5, rngs=_rngs())
        return getattr(gnn, name)(**{"layer_instance": layer, **given, **fresh, **changed})

    def other(**changed: Any) -> Any:
        return getattr(gln, name)(linen.Dense(5), **{**(linen_args or {}), **changed})

    return Case(name, made, other, shape=ROWS, wraps=True, bad=bad, **more)


NO_RNGS = ({"rngs": None}, "rngs=None: the parameters need random keys. Expected an nnx.Rngs. Pass")
EPSILON = ({"epsilon": -1.0}, "-1.0")
RATE = ({"rate": 1.5}, "1.5")
KEYS = ({"rngs": 3}, "rngs=3 is not a source of keys. Expected an nnx.Rngs or an nnx.RngStream")
GHOSTS = {"ghost_batch_size": 2}
HALF = {"rate": 0.4}
POOL = {"window_shape": (2, 2), "strides": (2, 2)}
RUNNING = {"use_running_average": False}
NO_KERNEL = {"variable_filter": nnx.PathContains("weight")}

CASES = (
    _norm("BatchNorm", NO_RNGS, EPSILON, ({"momentum": 2.0}, "2.0"), call=RUNNING),
    _norm("BatchRenorm", NO_RNGS, call=RUNNING),
    _norm(
        "GhostBatchNorm",
        NO_RNGS,
        ({"axis_name": "batch"}, "axis_name='batch' cannot be used with sub-batches"),
        nnx_args=GHOSTS,
        linen_args=GHOSTS,
        call=RUNNING,
    ),
    _norm("FrozenBatchNorm", EPSILON, ({"num_features": 0}, "num_features")),
    _norm("LayerNorm", NO_RNGS, EPSILON, complex=True),
    _norm("RMSNorm", NO_RNGS, EPSILON, complex=True),
    _norm(
        "GroupNorm",
        NO_RNGS,
        ({"num_groups": 3}, "num_groups=3 does not divide the 8 channels. Expected one of 1, 2, 4"),
        ({"num_groups": 2, "group_size": 4}, "num_groups=2 and group_size=4 do not fit together"),
        nnx_args={"num_groups": 4},
        linen_args={"num_groups": 4},
        complex=True,
    ),
    _norm("InstanceNorm", NO_RNGS, EPSILON, complex=True),
    _norm("FilterResponseNorm", EPSILON),
    _norm("GlobalResponseNorm", EPSILON),
    _wrapped(
        "WeightNorm", NO_RNGS, (NO_KERNEL, "selects no parameter. Expected a filter of those")
    ),
    _wrapped("SpectralNorm", NO_RNGS, ({"n_steps": 0}, "n_steps"), call={"update_stats": True}),
    _wrapped("WeightStandardization", EPSILON, args={}),
    _noise("Dropout", RATE, KEYS, args=HALF),
    _noise("DropPath", RATE, KEYS, args=HALF),
    _noise("DropBlock", RATE, args={"rate": 0.2, "block_size": 3}),
    _noise("AlphaDropout", RATE, KEYS, args=HALF),
    _noise("GaussianDropout", RATE, args=HALF),
    _noise("GaussianNoise", ({"rate": -1.0}, "-1.0"), args=HALF),
    _noise("StochasticPool", KEYS, args=POOL),
    _wrapped(
        "DropConnect",
        RATE,
        KEYS,
        args={**HALF, "rngs": None},
        linen_args={**HALF, "deterministic": False},
        noisy=True,
    ),
)


def example(shape: tuple[int, ...], dtype: Any = jnp.float32, seed: int = 0) -> Any:
    """A fixed input of mean 0.5 and deviation 1.5."""
    rng = np.random.default_rng(seed)
    x: Any = rng.normal(size=shape) * 1.5 + 0.5
    if jnp.issubdtype(dtype, jnp.complexfloating):
        x = x + 1j * rng.normal(size=shape)
    return jnp.asarray(x, dtype)
