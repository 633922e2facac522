"""Data: mini-batches and splits as indices, preprocessing, and augmentation.

| mini-batches | |
|---|---|
| ``epochs(n, batch_size, key)`` | the indices of any batch, from its step |
| ``split(y, key, fractions)`` | hold-out, or training, development and test parts |

Indices are a pure function of the arguments: the same in a Python loop, under ``jit``, in a
``scan``, on another machine, and in a run that is resumed.

| augmentation | |
|---|---|
| ``augment(key, images, functions)`` | several in turn |
| ``random_flip``, ``random_shift``, ``random_crop``, ``random_rotation`` | geometry |
| ``gaussian_noise``, ``cutout`` | noise, a masked rectangle |
| ``mixup``, ``cutmix`` | pairs of samples, with their labels |
| ``per_image(function)`` | a function of one image, such as those of dm-pix, over a batch |

Augmentations are pure functions of a random key and a batch of images [batch, height, width,
channels], for the training step: each image has its own draws, and shapes and dtypes are kept.
``gk.smooth_labels`` smooths labels.

| preprocessing | |
|---|---|
| ``rescale``, ``min_max`` | constants such as 1/255; a range |
| ``center``, ``standardize`` | zero mean; unit variance too |
| ``center_samples`` | each sample without its own mean |
| ``pca``, ``whiten`` | principal components; PCA and ZCA whitening |
| ``pipeline(*steps)`` | steps in sequence |
| ``check_held_out(fitted, x)`` | whether a step was fitted on samples that are held out |

A step is fitted to training samples, ``fitted = standardize().fit(x, split)``, and the fitted step
is a pytree with ``transform`` and ``inverse_transform``. ``step.init(x)`` fits to a stream.
"""

from gradkit.data.augmentation import augment as augment
from gradkit.data.augmentation import cutout as cutout
from gradkit.data.augmentation import gaussian_noise as gaussian_noise
from gradkit.data.augmentation import per_image as per_image
from gradkit.data.augmentation import random_crop as random_crop
from gradkit.data.augmentation import random_flip as random_flip
from gradkit.data.augmentation import random_rotation as random_rotation
from gradkit.data.augmentation import random_shift as random_shift
from gradkit.data.batches import Epochs as Epochs
from gradkit.data.batches import epochs as epochs
from gradkit.data.mixing import cutmix as cutmix
from gradkit.data.mixing import mixup as mixup
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
from gradkit.data.splits import split as split
