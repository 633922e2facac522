"""Normalization and dropout for Flax NNX. ``gradkit.nn.linen`` has the same for Linen, ``gradkit.nn.functional`` the pure functions."""

from gradkit.nn import functional as functional
from gradkit.nn.norm import BatchNorm as BatchNorm
from gradkit.nn.norm import BatchRenorm as BatchRenorm
from gradkit.nn.norm import FilterResponseNorm as FilterResponseNorm
from gradkit.nn.norm import FrozenBatchNorm as FrozenBatchNorm
from gradkit.nn.norm import GhostBatchNorm as GhostBatchNorm
from gradkit.nn.norm import GlobalResponseNorm as GlobalResponseNorm
from gradkit.nn.norm import GroupNorm as GroupNorm
from gradkit.nn.norm import InstanceNorm as InstanceNorm
from gradkit.nn.norm import LayerNorm as LayerNorm
from gradkit.nn.norm import RMSNorm as RMSNorm
from gradkit.nn.stochastic import AlphaDropout as AlphaDropout
from gradkit.nn.stochastic import DropBlock as DropBlock
from gradkit.nn.stochastic import Dropout as Dropout
from gradkit.nn.stochastic import DropPath as DropPath
from gradkit.nn.stochastic import GaussianDropout as GaussianDropout
from gradkit.nn.stochastic import GaussianNoise as GaussianNoise
from gradkit.nn.stochastic import Prediction as Prediction
from gradkit.nn.stochastic import StochasticPool as StochasticPool
from gradkit.nn.stochastic import mc_predict as mc_predict
from gradkit.nn.weights import DropConnect as DropConnect
from gradkit.nn.weights import SpectralNorm as SpectralNorm
from gradkit.nn.weights import WeightNorm as WeightNorm
from gradkit.nn.weights import WeightStandardization as WeightStandardization
from gradkit.nn.weights import fold_batch_norm as fold_batch_norm
