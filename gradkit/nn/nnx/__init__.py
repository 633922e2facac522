"""Normalization and dropout layers for Flax NNX, re-exported by ``gradkit.nn``."""

from gradkit.nn.nnx.batch_norm import (
    BatchNorm,
    BatchRenorm,
    FrozenBatchNorm,
    GhostBatchNorm,
    fold_batch_norm,
)
from gradkit.nn.nnx.dropout import (
    AlphaDropout,
    DropBlock,
    DropConnect,
    Dropout,
    DropPath,
    GaussianDropout,
    GaussianNoise,
)
from gradkit.nn.nnx.mc_predict import Prediction, mc_predict
from gradkit.nn.nnx.norm import (
    FilterResponseNorm,
    GlobalResponseNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RMSNorm,
)
from gradkit.nn.nnx.pooling import StochasticPool
from gradkit.nn.nnx.weights import SpectralNorm, WeightNorm, WeightStandardization
