"""Metrics of classifiers: of (labels, predictions) or (labels, scores), as in scikit-learn.

| function | of | |
|---|---|---|
| ``accuracy``, ``top_k_accuracy`` | labels; scores | the fraction of right predictions |
| ``precision``, ``recall``, ``fbeta`` | labels | of one class, of each, or a mean |
| ``confusion_matrix`` | labels | how often class i is predicted as j |
| ``roc_curve``, ``precision_recall_curve`` | scores | the curves over all thresholds |
| ``roc_auc``, ``average_precision`` | scores | the areas under them, exact with ties |
| ``calibration_error`` | probabilities | how far probabilities are from frequencies |
| ``bias_variance`` | errors | whether a model underfits or overfits, in words |
| ``k_fold``, ``as_folds`` | labels; a splitter | the splits of cross-validation |
| ``cross_validate`` | a model, data | its scores on all folds, as one program |
| ``learning_curve`` | a model, data | errors against the number of training examples |

| accumulator | of a stream | |
|---|---|---|
| ``Mean`` | a weighted mean, such as the loss | up to rounding |
| ``Confusion`` | accuracy, precision, recall, fbeta | exact |
| ``Calibration`` | the calibration error and its bins | up to rounding |
| ``BinnedScores`` | ROC AUC, average precision, ROC curve | by bins, with a bound of the error |
| ``Scores`` | ROC AUC, average precision | exact, up to a capacity |

The functions are pure and compiled; under ``jit`` and ``vmap`` all shapes are known from the
arguments. Labels are integers 0, ..., C − 1 of any shape. ``sample_weight`` and ``where`` (False
leaves a sample out, whatever is in it) have the shape of the labels. Outside ``jit`` the values are
read on the host, and bad ones are refused; traced ones make the reading NaN.

An accumulator is a pytree with ``init(...)``, ``update(labels, predictions)``, ``a + b``,
``psum(axis_name)`` over devices, ``collapse()`` along a stacked axis, and one method for each
reading.
"""

from gradkit.metrics.calibration import calibration_error as calibration_error
from gradkit.metrics.classification import accuracy as accuracy
from gradkit.metrics.classification import confusion_matrix as confusion_matrix
from gradkit.metrics.classification import fbeta as fbeta
from gradkit.metrics.classification import precision as precision
from gradkit.metrics.classification import recall as recall
from gradkit.metrics.classification import top_k_accuracy as top_k_accuracy
from gradkit.metrics.diagnosis import BiasVariance as BiasVariance
from gradkit.metrics.diagnosis import bias_variance as bias_variance
from gradkit.metrics.folds import Folds as Folds
from gradkit.metrics.folds import as_folds as as_folds
from gradkit.metrics.folds import k_fold as k_fold
from gradkit.metrics.learning import LearningCurve as LearningCurve
from gradkit.metrics.learning import learning_curve as learning_curve
from gradkit.metrics.learning import plot_learning_curve as plot_learning_curve
from gradkit.metrics.ranking import average_precision as average_precision
from gradkit.metrics.ranking import precision_recall_curve as precision_recall_curve
from gradkit.metrics.ranking import roc_auc as roc_auc
from gradkit.metrics.ranking import roc_curve as roc_curve
from gradkit.metrics.streaming import Calibration as Calibration
from gradkit.metrics.streaming import Confusion as Confusion
from gradkit.metrics.streaming import Mean as Mean
from gradkit.metrics.streaming_scores import BinnedScores as BinnedScores
from gradkit.metrics.streaming_scores import Scores as Scores
from gradkit.metrics.validation import CrossValidation as CrossValidation
from gradkit.metrics.validation import Samples as Samples
from gradkit.metrics.validation import cross_validate as cross_validate
