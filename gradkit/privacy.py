"""Differentially private training."""

from gradkit.optimizers.dpsgd import dpsgd as dpsgd
from gradkit.transforms.privacy import (
    differentially_private_aggregate as differentially_private_aggregate,
)
from gradkit.transforms.privacy import (
    per_example_global_norm_clip as per_example_global_norm_clip,
)
from gradkit.transforms.privacy import per_example_layer_norm_clip as per_example_layer_norm_clip
