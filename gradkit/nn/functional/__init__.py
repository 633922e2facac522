"""Normalization and dropout as pure functions of arrays; the layers of NNX and Linen call them."""

from gradkit.nn.functional.batch_norm import (
    apply_statistics,
    batch_norm,
    batch_renorm,
    fold_batch_norm,
    ghost_batch_norm,
)
from gradkit.nn.functional.dropout import (
    alpha_dropout,
    drop_block,
    drop_path,
    dropout,
    gaussian_dropout,
    gaussian_noise,
)
from gradkit.nn.functional.moments import Moments, merge, moments, running
from gradkit.nn.functional.norm import (
    filter_response_norm,
    global_response_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from gradkit.nn.functional.pooling import stochastic_pool
from gradkit.nn.functional.random import keep_mask
from gradkit.nn.functional.weights import spectral_norm, standardize_weight, weight_norm
