"""Schedules: hyperparameters as functions of the step."""

from gradkit._schedule import Schedule as Schedule
from gradkit._schedule import function_schedule as function_schedule
from gradkit._schedule import schedule as schedule
from gradkit.schedules.constant import constant_schedule as constant_schedule
from gradkit.schedules.constant import piecewise_constant_schedule as piecewise_constant_schedule
from gradkit.schedules.cycles import sgdr_schedule as sgdr_schedule
from gradkit.schedules.cycles import triangular_schedule as triangular_schedule
from gradkit.schedules.cycles import warm_restarts_schedule as warm_restarts_schedule
from gradkit.schedules.decay import adafactor_decay_schedule as adafactor_decay_schedule
from gradkit.schedules.decay import cosine_decay_schedule as cosine_decay_schedule
from gradkit.schedules.decay import exponential_decay as exponential_decay
from gradkit.schedules.decay import inverse_sqrt_schedule as inverse_sqrt_schedule
from gradkit.schedules.decay import inverse_time_decay as inverse_time_decay
from gradkit.schedules.decay import linear_schedule as linear_schedule
from gradkit.schedules.decay import natural_exponential_decay as natural_exponential_decay
from gradkit.schedules.decay import polynomial_schedule as polynomial_schedule
from gradkit.schedules.epochs import linear_scaling_rule as linear_scaling_rule
from gradkit.schedules.epochs import per_epoch as per_epoch
from gradkit.schedules.join import join_schedules as join_schedules
from gradkit.schedules.join import piecewise_interpolate_schedule as piecewise_interpolate_schedule
from gradkit.schedules.onecycle import cosine_onecycle_schedule as cosine_onecycle_schedule
from gradkit.schedules.onecycle import linear_onecycle_schedule as linear_onecycle_schedule
from gradkit.schedules.plot import plot_schedule as plot_schedule
from gradkit.schedules.warmup import linear_warmup as linear_warmup
from gradkit.schedules.warmup import warmup_constant_schedule as warmup_constant_schedule
from gradkit.schedules.warmup import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from gradkit.schedules.warmup import (
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
)
from gradkit.schedules.warmup import warmup_stable_decay_schedule as warmup_stable_decay_schedule
