"""Averages: the moments and preconditioners that optimizers are made of."""

from gradkit.averages.accumulators import decayed_max as decayed_max
from gradkit.averages.accumulators import latest as latest
from gradkit.averages.accumulators import running_max as running_max
from gradkit.averages.accumulators import running_sum as running_sum
from gradkit.averages.accumulators import trace as trace
from gradkit.averages.combine import compressed as compressed
from gradkit.averages.combine import per_leaf as per_leaf
from gradkit.averages.combine import weighted_sum as weighted_sum
from gradkit.averages.ema import additive_ema as additive_ema
from gradkit.averages.ema import ema as ema
from gradkit.averages.ema import ema_from_first as ema_from_first
from gradkit.averages.ema import variance as variance
