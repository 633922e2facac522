"""Hyperparameter search."""

from gradkit.search._trials import Trial as Trial
from gradkit.search._trials import Trials as Trials
from gradkit.search.bayesian import ask as ask
from gradkit.search.distributions import Choice as Choice
from gradkit.search.distributions import Distribution as Distribution
from gradkit.search.distributions import Integers as Integers
from gradkit.search.distributions import choice as choice
from gradkit.search.distributions import integers as integers
from gradkit.search.distributions import log_uniform as log_uniform
from gradkit.search.distributions import uniform as uniform
from gradkit.search.gaussian_process import GaussianProcess as GaussianProcess
from gradkit.search.gaussian_process import expected_improvement as expected_improvement
from gradkit.search.gaussian_process import fit_gaussian_process as fit_gaussian_process
from gradkit.search.gaussian_process import gaussian_process as gaussian_process
from gradkit.search.gaussian_process import upper_confidence_bound as upper_confidence_bound
from gradkit.search.plots import plot_learning_curves as plot_learning_curves
from gradkit.search.plots import plot_parallel_coordinates as plot_parallel_coordinates
from gradkit.search.plots import plot_slices as plot_slices
from gradkit.search.spaces import distributions as distributions
from gradkit.search.spaces import fill as fill
