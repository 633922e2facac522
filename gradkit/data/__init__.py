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
from gradkit.data.splits import split as split
