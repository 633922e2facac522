"""Composable gradient transforms for JAX."""

from gradkit._schedule import Schedule, function_schedule, product_schedule, schedule, sum_schedule
from gradkit._step import Step, hyperparameters, make_step
from gradkit._transform import (
    GradientTransformation,
    Rule,
    State,
    Transform,
    apply_updates,
    chain,
    identity,
    named_chain,
    stateless,
    transform,
)
from gradkit.averages import Store, ema, fading_peak, latest, peak, store_in, total, trace, variance
from gradkit.optimizers import adam, scale_by_adam
from gradkit.transforms import clip, clip_by_global_norm, precondition, scale, scale_by_learning_rate, scale_by_schedule
