"""Normalization and dropout for Flax NNX, as drop-in replacements of Flax's layers and more.

``gradkit.nn.linen`` has the same layers for Linen, ``gradkit.nn.functional`` the pure functions
under both.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gradkit.nn import functional as functional
from gradkit.nn.nnx import AlphaDropout as AlphaDropout
from gradkit.nn.nnx import BatchNorm as BatchNorm
from gradkit.nn.nnx import BatchRenorm as BatchRenorm
from gradkit.nn.nnx import DropBlock as DropBlock
from gradkit.nn.nnx import DropConnect as DropConnect
from gradkit.nn.nnx import Dropout as Dropout
from gradkit.nn.nnx import DropPath as DropPath
from gradkit.nn.nnx import FilterResponseNorm as FilterResponseNorm
from gradkit.nn.nnx import FrozenBatchNorm as FrozenBatchNorm
from gradkit.nn.nnx import GaussianDropout as GaussianDropout
from gradkit.nn.nnx import GaussianNoise as GaussianNoise
from gradkit.nn.nnx import GhostBatchNorm as GhostBatchNorm
from gradkit.nn.nnx import GlobalResponseNorm as GlobalResponseNorm
from gradkit.nn.nnx import GroupNorm as GroupNorm
from gradkit.nn.nnx import InstanceNorm as InstanceNorm
from gradkit.nn.nnx import LayerNorm as LayerNorm
from gradkit.nn.nnx import Prediction as Prediction
from gradkit.nn.nnx import RMSNorm as RMSNorm
from gradkit.nn.nnx import SpectralNorm as SpectralNorm
from gradkit.nn.nnx import StochasticPool as StochasticPool
from gradkit.nn.nnx import WeightNorm as WeightNorm
from gradkit.nn.nnx import WeightStandardization as WeightStandardization
from gradkit.nn.nnx import fold_batch_norm as fold_batch_norm
from gradkit.nn.nnx import mc_predict as mc_predict

if TYPE_CHECKING:
    from gradkit.nn import linen as linen


def __getattr__(name: str) -> Any:
    """Import Linen's layers when they are first read: ``gradkit.nn.linen``."""
    if name == "linen":
        return importlib.import_module("gradkit.nn.linen")
    raise AttributeError(f"module 'gradkit.nn' has no attribute {name!r}")
