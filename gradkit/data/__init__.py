"""Data: mini-batches and splits as indices, preprocessing, and augmentation."""

from gradkit.data.preprocessing import Affine as Affine
from gradkit.data.preprocessing import Fitted as Fitted
from gradkit.data.preprocessing import FittedPipeline as FittedPipeline
from gradkit.data.preprocessing import Linear as Linear
from gradkit.data.preprocessing import PartialFit as PartialFit
from gradkit.data.preprocessing import SampleCenter as SampleCenter
from gradkit.data.preprocessing import Step as Step
from gradkit.data.preprocessing import center as center
from gradkit.data.preprocessing import center_samples as center_samples
from gradkit.data.preprocessing import check_held_out as check_held_out
from gradkit.data.preprocessing import min_max as min_max
from gradkit.data.preprocessing import pca as pca
from gradkit.data.preprocessing import pipeline as pipeline
from gradkit.data.preprocessing import rescale as rescale
from gradkit.data.preprocessing import standardize as standardize
from gradkit.data.preprocessing import whiten as whiten
