"""Hyperparameter search: an optimizer with distributions for arguments is a search space.

| | |
|---|---|
| ``uniform``, ``log_uniform``, ``integers``, ``choice`` | distributions, in place of values |
| ``distributions``, ``fill`` | those of a space by path, and a space filled with values |
| ``sample``, ``grid``, ``refine`` | configurations: a batched transform; narrower spaces |
| ``run`` | random and grid search: all trials in one program |
| ``successive_halving``, ``hyperband`` | trials that stop early; ``training`` makes their task |
| ``bayesian``, ``run_study`` | Gaussian processes; Optuna's samplers and storage |
| ``population_based`` | trials that copy the better ones and change on the way |
| ``Trials`` | the table that all of them return |

Paths name hyperparameters as in ``hyperparameters`` and ``replace``: ``adamw.learning_rate``.
Floats are data, so that one program trains all trials; integers, strings and the choice of an
optimizer are structure, with a program for each.
"""

from gradkit.search._trials import Trial as Trial
from gradkit.search._trials import Trials as Trials
from gradkit.search.bayes import ask as ask
from gradkit.search.bayes import bayesian as bayesian
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
from gradkit.search.evolution import Population as Population
from gradkit.search.evolution import population_based as population_based
from gradkit.search.halving import hyperband as hyperband
from gradkit.search.halving import successive_halving as successive_halving
from gradkit.search.plots import plot_learning_curves as plot_learning_curves
from gradkit.search.plots import plot_parallel_coordinates as plot_parallel_coordinates
from gradkit.search.plots import plot_slices as plot_slices
from gradkit.search.population import run as run
from gradkit.search.processes import GaussianProcess as GaussianProcess
from gradkit.search.processes import expected_improvement as expected_improvement
from gradkit.search.processes import fit_gaussian_process as fit_gaussian_process
from gradkit.search.processes import gaussian_process as gaussian_process
from gradkit.search.processes import upper_confidence_bound as upper_confidence_bound
from gradkit.search.spaces import distributions as distributions
from gradkit.search.spaces import fill as fill
from gradkit.search.studies import from_study as from_study
from gradkit.search.studies import run_study as run_study
from gradkit.search.studies import suggest as suggest
from gradkit.search.tasks import Objective as Objective
from gradkit.search.tasks import Task as Task
from gradkit.search.tasks import training as training
