"""Normalization and dropout for Flax NNX. ``gradkit.nn.linen`` has the same for Linen, ``gradkit.nn.functional`` the pure functions."""

from gradkit.nn import functional as functional
from gradkit.nn.nnx.norm import BatchNorm as BatchNorm
from gradkit.nn.nnx.norm import BatchRenorm as BatchRenorm
from gradkit.nn.nnx.norm import FilterResponseNorm as FilterResponseNorm
from gradkit.nn.nnx.norm import FrozenBatchNorm as FrozenBatchNorm
from gradkit.nn.nnx.norm import GhostBatchNorm as GhostBatchNorm
from gradkit.nn.nnx.norm import GlobalResponseNorm as GlobalResponseNorm
from gradkit.nn.nnx.norm import GroupNorm as GroupNorm
from gradkit.nn.nnx.norm import InstanceNorm as InstanceNorm
from gradkit.nn.nnx.norm import LayerNorm as LayerNorm
from gradkit.nn.nnx.norm import RMSNorm as RMSNorm
from gradkit.nn.nnx.dropout import AlphaDropout as AlphaDropout
from gradkit.nn.nnx.dropout import DropBlock as DropBlock
from gradkit.nn.nnx.dropout import Dropout as Dropout
from gradkit.nn.nnx.dropout import DropPath as DropPath
from gradkit.nn.nnx.dropout import GaussianDropout as GaussianDropout
from gradkit.nn.nnx.dropout import GaussianNoise as GaussianNoise
from gradkit.nn.nnx.dropout import Prediction as Prediction
from gradkit.nn.nnx.dropout import StochasticPool as StochasticPool
from gradkit.nn.nnx.dropout import mc_predict as mc_predict
from gradkit.nn.nnx.weights import DropConnect as DropConnect
from gradkit.nn.nnx.weights import SpectralNorm as SpectralNorm
from gradkit.nn.nnx.weights import WeightNorm as WeightNorm
from gradkit.nn.nnx.weights import WeightStandardization as WeightStandardization
from gradkit.nn.nnx.weights import fold_batch_norm as fold_batch_norm
