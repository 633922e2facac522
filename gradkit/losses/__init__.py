"""Losses: the names of ``optax.losses`` and a few more, exact at extreme arguments.

| | of |
|---|---|
| ``softmax_cross_entropy_with_integer_labels``, ``softmax_cross_entropy`` | logits and classes |
| ``linear_softmax_cross_entropy`` | hidden states and an output matrix, in chunks |
| ``sigmoid_binary_cross_entropy``, ``sigmoid_focal_loss`` | logits and labels 0, 1 |
| ``hinge_loss``, ``logistic_loss``, ``perceptron_loss`` | scores and targets −1, 1 |
| ``squared_error``, ``l2_loss``, ``huber_loss``, ``log_cosh`` | predictions and targets |
| ``zero_one_loss`` | predicted and true classes |
| ``kl_divergence``, ``generalized_kl_divergence`` | log probabilities and distributions |
| ``cosine_similarity``, ``ntxent``, ``triplet_margin_loss`` | embeddings |
| ``ctc_loss`` | frames and label sequences |
| ``dice_loss``, ``binary_dice_loss`` | pixels |
| ``mean`` | losses, masks and weights |

They compute in float32 or wider and return that, for float16 and bfloat16 arguments too. Elements
that ``where`` leaves out add nothing to the loss or its gradient, NaN included. ``weights`` are
factors of the losses. Arrays of different rank are refused, where broadcasting would compare every
prediction with every target. Labels out of range are refused; under ``jit``, where they are not
known, they give NaN.
"""

from gradkit.losses.cross_entropy import poly_loss_cross_entropy as poly_loss_cross_entropy
from gradkit.losses.cross_entropy import safe_softmax_cross_entropy as safe_softmax_cross_entropy
from gradkit.losses.cross_entropy import (
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
)
from gradkit.losses.cross_entropy import sigmoid_focal_loss as sigmoid_focal_loss
from gradkit.losses.cross_entropy import smooth_labels as smooth_labels
from gradkit.losses.cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from gradkit.losses.cross_entropy import (
    softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
)
from gradkit.losses.divergences import convex_kl_divergence as convex_kl_divergence
from gradkit.losses.divergences import generalized_kl_divergence as generalized_kl_divergence
from gradkit.losses.divergences import kl_divergence as kl_divergence
from gradkit.losses.divergences import (
    kl_divergence_with_log_targets as kl_divergence_with_log_targets,
)
from gradkit.losses.embeddings import cosine_distance as cosine_distance
from gradkit.losses.embeddings import cosine_similarity as cosine_similarity
from gradkit.losses.embeddings import ntxent as ntxent
from gradkit.losses.embeddings import triplet_margin_loss as triplet_margin_loss
from gradkit.losses.fenchel_young import make_fenchel_young_loss as make_fenchel_young_loss
from gradkit.losses.fenchel_young import multiclass_sparsemax_loss as multiclass_sparsemax_loss
from gradkit.losses.fenchel_young import sparsemax_loss as sparsemax_loss
from gradkit.losses.linear import linear_softmax_cross_entropy as linear_softmax_cross_entropy
from gradkit.losses.margin import hinge_loss as hinge_loss
from gradkit.losses.margin import logistic_loss as logistic_loss
from gradkit.losses.margin import multiclass_hinge_loss as multiclass_hinge_loss
from gradkit.losses.margin import multiclass_perceptron_loss as multiclass_perceptron_loss
from gradkit.losses.margin import perceptron_loss as perceptron_loss
from gradkit.losses.ranking import ranking_softmax_loss as ranking_softmax_loss
from gradkit.losses.reduction import mean as mean
from gradkit.losses.regression import huber_loss as huber_loss
from gradkit.losses.regression import l2_loss as l2_loss
from gradkit.losses.regression import log_cosh as log_cosh
from gradkit.losses.regression import squared_error as squared_error
from gradkit.losses.regression import zero_one_loss as zero_one_loss
from gradkit.losses.segmentation import binary_dice_loss as binary_dice_loss
from gradkit.losses.segmentation import dice_loss as dice_loss
from gradkit.losses.segmentation import (
    multiclass_generalized_dice_loss as multiclass_generalized_dice_loss,
)
from gradkit.losses.sequence import ctc_loss as ctc_loss
from gradkit.losses.sequence import ctc_loss_with_forward_probs as ctc_loss_with_forward_probs
