"""Hyperparameter search."""

from gradkit.search._trials import Trial as Trial
from gradkit.search._trials import Trials as Trials
from gradkit.search.configs import Configs as Configs
from gradkit.search.configs import Group as Group
from gradkit.search.configs import from_unit as from_unit
from gradkit.search.configs import grid as grid
from gradkit.search.configs import refine as refine
from gradkit.search.configs import sample as sample
from gradkit.search.configs import to_unit as to_unit
from gradkit.search.distributions import Choice as Choice
from gradkit.search.distributions import Distribution as Distribution
from gradkit.search.distributions import Integers as Integers
from gradkit.search.distributions import choice as choice
from gradkit.search.distributions import integers as integers
from gradkit.search.distributions import log_uniform as log_uniform
from gradkit.search.distributions import uniform as uniform
from gradkit.search.halving import hyperband as hyperband
from gradkit.search.halving import successive_halving as successive_halving
from gradkit.search.population import run as run
from gradkit.search.spaces import distributions as distributions
from gradkit.search.spaces import fill as fill
from gradkit.search.tasks import Objective as Objective
from gradkit.search.tasks import Task as Task
from gradkit.search.tasks import training as training
