"""Hyperparameter search."""

from gradkit.search._trials import Trial as Trial
from gradkit.search._trials import Trials as Trials
from gradkit.search.distributions import Choice as Choice
from gradkit.search.distributions import Distribution as Distribution
from gradkit.search.distributions import Integers as Integers
from gradkit.search.distributions import choice as choice
from gradkit.search.distributions import integers as integers
from gradkit.search.distributions import log_uniform as log_uniform
from gradkit.search.distributions import uniform as uniform
from gradkit.search.spaces import distributions as distributions
from gradkit.search.spaces import fill as fill
