"""Normalization and dropout for Flax Linen: Flax's layers, with the arithmetic of `gradkit.nn.functional`."""

from gradkit.nn.linen.norm import BatchNorm as BatchNorm
from gradkit.nn.linen.norm import BatchRenorm as BatchRenorm
from gradkit.nn.linen.norm import FilterResponseNorm as FilterResponseNorm
from gradkit.nn.linen.norm import FrozenBatchNorm as FrozenBatchNorm
from gradkit.nn.linen.norm import GhostBatchNorm as GhostBatchNorm
from gradkit.nn.linen.norm import GlobalResponseNorm as GlobalResponseNorm
from gradkit.nn.linen.norm import GroupNorm as GroupNorm
from gradkit.nn.linen.norm import InstanceNorm as InstanceNorm
from gradkit.nn.linen.norm import LayerNorm as LayerNorm
from gradkit.nn.linen.norm import RMSNorm as RMSNorm
from gradkit.nn.linen.norm import fold_batch_norm as fold_batch_norm
from gradkit.nn.linen.dropout import AlphaDropout as AlphaDropout
from gradkit.nn.linen.dropout import DropBlock as DropBlock
from gradkit.nn.linen.dropout import DropConnect as DropConnect
from gradkit.nn.linen.dropout import Dropout as Dropout
from gradkit.nn.linen.dropout import DropPath as DropPath
from gradkit.nn.linen.dropout import GaussianDropout as GaussianDropout
from gradkit.nn.linen.dropout import GaussianNoise as GaussianNoise
from gradkit.nn.linen.dropout import StochasticPool as StochasticPool
from gradkit.nn.linen.weights import SpectralNorm as SpectralNorm
from gradkit.nn.linen.weights import WeightNorm as WeightNorm
from gradkit.nn.linen.weights import WeightStandardization as WeightStandardization
