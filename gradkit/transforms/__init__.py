"""Transforms that run no other: clipping, weight decay, scaling, preconditioning, rounding."""

from gradkit.transforms.backtracking_linesearch import (
    scale_by_backtracking_linesearch as scale_by_backtracking_linesearch,
)
from gradkit.transforms.centralize import centralize as centralize
from gradkit.transforms.clip import adaptive_grad_clip as adaptive_grad_clip
from gradkit.transforms.clip import clip as clip
from gradkit.transforms.clip import clip_by_block_norm as clip_by_block_norm
from gradkit.transforms.clip import clip_by_block_rms as clip_by_block_rms
from gradkit.transforms.clip import clip_by_global_norm as clip_by_global_norm
from gradkit.transforms.clip_outliers import clip_by_percentile as clip_by_percentile
from gradkit.transforms.clip_outliers import clip_by_zscore as clip_by_zscore
from gradkit.transforms.hessian import (
    hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian,
)
from gradkit.transforms.linesearch import value_and_grad_from_state as value_and_grad_from_state
from gradkit.transforms.noise import add_noise as add_noise
from gradkit.transforms.nonnegative import keep_params_nonnegative as keep_params_nonnegative
from gradkit.transforms.normalize import normalize as normalize
from gradkit.transforms.normalize import normalize_by_update_norm as normalize_by_update_norm
from gradkit.transforms.orthogonalize import clip_by_spectral_norm as clip_by_spectral_norm
from gradkit.transforms.orthogonalize import orthogonalize_updates as orthogonalize_updates
from gradkit.transforms.orthogonalize import scale_by_shape as scale_by_shape
from gradkit.transforms.plateau import reduce_on_plateau as reduce_on_plateau
from gradkit.transforms.precondition import precondition as precondition
from gradkit.transforms.privacy import (
    differentially_private_aggregate as differentially_private_aggregate,
)
from gradkit.transforms.privacy import per_example_global_norm_clip as per_example_global_norm_clip
from gradkit.transforms.privacy import per_example_layer_norm_clip as per_example_layer_norm_clip
from gradkit.transforms.project import max_norm as max_norm
from gradkit.transforms.project import project as project
from gradkit.transforms.project import unit_norm as unit_norm
from gradkit.transforms.rounding import compensated as compensated
from gradkit.transforms.rounding import stochastic_rounding as stochastic_rounding
from gradkit.transforms.sanitize import set_to_zero as set_to_zero
from gradkit.transforms.sanitize import zero_nans as zero_nans
from gradkit.transforms.scale import scale as scale
from gradkit.transforms.scale import scale_by_learning_rate as scale_by_learning_rate
from gradkit.transforms.scale import scale_by_schedule as scale_by_schedule
from gradkit.transforms.sign import scale_by_sign as scale_by_sign
from gradkit.transforms.trust_ratio import scale_by_param_block_norm as scale_by_param_block_norm
from gradkit.transforms.trust_ratio import scale_by_param_block_rms as scale_by_param_block_rms
from gradkit.transforms.trust_ratio import scale_by_trust_ratio as scale_by_trust_ratio
from gradkit.transforms.weight_decay import add_decayed_weights as add_decayed_weights
from gradkit.transforms.weight_decay import add_elastic_net_penalty as add_elastic_net_penalty
from gradkit.transforms.weight_decay import add_l1_penalty as add_l1_penalty
from gradkit.transforms.weight_decay import add_l2_penalty as add_l2_penalty
from gradkit.transforms.weight_decay import add_smoothed_l1_penalty as add_smoothed_l1_penalty
from gradkit.transforms.zoom_linesearch import scale_by_zoom_linesearch as scale_by_zoom_linesearch
