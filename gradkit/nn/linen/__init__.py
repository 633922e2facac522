"""Normalization and dropout layers for Flax Linen, by the functions of `gradkit.nn.functional`."""

from gradkit.nn.linen.batch_norm import (
    BatchNorm,
    BatchRenorm,
    FrozenBatchNorm,
    GhostBatchNorm,
    fold_batch_norm,
)
from gradkit.nn.linen.dropout import (
    AlphaDropout,
    DropBlock,
    DropConnect,
    Dropout,
    DropPath,
    GaussianDropout,
    GaussianNoise,
)
from gradkit.nn.linen.norm import (
    FilterResponseNorm,
    GlobalResponseNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RMSNorm,
)
from gradkit.nn.linen.pooling import StochasticPool
from gradkit.nn.linen.weights import SpectralNorm, WeightNorm, WeightStandardization
