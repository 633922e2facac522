"""Preprocessing: steps that are fitted to training samples, and fitted steps that transform."""

from gradkit.data.preprocessing.base import Fitted as Fitted
from gradkit.data.preprocessing.base import PartialFit as PartialFit
from gradkit.data.preprocessing.base import Step as Step
from gradkit.data.preprocessing.held_out import check_held_out as check_held_out
from gradkit.data.preprocessing.linear import Linear as Linear
from gradkit.data.preprocessing.linear import pca as pca
from gradkit.data.preprocessing.linear import whiten as whiten
from gradkit.data.preprocessing.per_sample import SampleCenter as SampleCenter
from gradkit.data.preprocessing.per_sample import center_samples as center_samples
from gradkit.data.preprocessing.pipeline import FittedPipeline as FittedPipeline
from gradkit.data.preprocessing.pipeline import pipeline as pipeline
from gradkit.data.preprocessing.scaling import Affine as Affine
from gradkit.data.preprocessing.scaling import center as center
from gradkit.data.preprocessing.scaling import min_max as min_max
from gradkit.data.preprocessing.scaling import rescale as rescale
from gradkit.data.preprocessing.scaling import standardize as standardize
