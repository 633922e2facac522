"""The links that are no averages: precondition, clip, scale, decay and the rest."""

from gradkit.transforms.clip import clip, clip_by_global_norm
from gradkit.transforms.precondition import precondition
from gradkit.transforms.scale import scale, scale_by_learning_rate, scale_by_schedule
