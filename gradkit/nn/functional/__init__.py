"""Normalization and dropout as pure functions."""

from gradkit.nn.functional.dropout import alpha_dropout, drop_block, drop_path, dropout, gaussian_dropout, gaussian_noise, keep_mask
from gradkit.nn.functional.moments import Moments, merge, moments, running
from gradkit.nn.functional.norm import apply_statistics, batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from gradkit.nn.functional.pooling import stochastic_pool
from gradkit.nn.functional.batch_norm import batch_renorm, filter_response_norm, ghost_batch_norm, global_response_norm
from gradkit.nn.functional.weights import fold_batch_norm, spectral_norm, standardize_weight, weight_norm
