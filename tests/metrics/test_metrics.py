"""The metrics beside scikit-learn in float64, under jit, with masks, and what they refuse."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import metrics as ours

theirs = pytest.importorskip("sklearn.metrics")

N, C = 48, 4
PRECISE = {"rtol": 1e-12, "atol": 1e-12}


def make(seed, *, classes=C, digits=6, zeros=False):
    """Labels, predictions, scores and weights; fewer digits give ties."""
    rng = np.random.default_rng(seed)
    true, pred = rng.integers(classes, size=N), rng.integers(classes, size=N)
    pred = np.where(rng.random(N) < 0.5, true, pred)
    prob = rng.dirichlet(np.ones(C), size=N).round(digits)
    score = (rng.normal(size=N) + (true == 1)).round(digits)
    weight = rng.uniform(0.1, 3.0, size=N)
    return {
        "true": true,
        "pred": pred,
        "prob": prob,
        "score": score,
        "weight": np.where(rng.random(N) < 0.3, 0.0, weight) if zeros else weight,
    }


CASES = {
    "plain": make(0),
    "ties": make(1, digits=1),
    "a class without samples": make(2, classes=C - 1),
    "many ties, weights of zero": make(3, digits=0, zeros=True),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn's, of classes without samples
        yield


def same(mine, other):
    np.testing.assert_allclose(np.asarray(mine), other, **PRECISE)


@cases
def test_accuracy_and_the_confusion_matrix_are_those_of_scikit_learn(case):
    true, pred = case["true"], case["pred"]
    for weight in (None, case["weight"]):
        options = {"sample_weight": weight}
        same(ours.accuracy(true, pred, **options), theirs.accuracy_score(true, pred, **options))
        same(
            ours.accuracy(true, pred, normalize=False, **options),
            theirs.accuracy_score(true, pred, normalize=False, **options),
        )
        for normalize in (None, "true", "pred", "all"):
            same(
                ours.confusion_matrix(true, pred, num_classes=C, normalize=normalize, **options),
                theirs.confusion_matrix(
                    true, pred, labels=range(C), normalize=normalize, **options
                ),
            )
    assert ours.confusion_matrix(true, pred).dtype == int


@cases
def test_top_k_accuracy_is_that_of_scikit_learn_ties_too(case):
    for k, weight in itertools.product((1, 2, 3), (None, case["weight"])):
        options = {"k": k, "sample_weight": weight}
        for normalize in (True, False):
            same(
                ours.top_k_accuracy(case["true"], case["prob"], normalize=normalize, **options),
                theirs.top_k_accuracy_score(
                    case["true"], case["prob"], labels=range(C), normalize=normalize, **options
                ),
            )


@cases
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
def test_precision_recall_and_f_are_those_of_scikit_learn(case, average):
    true, pred = case["true"], case["pred"]
    for weight, zero in ((None, 0.0), (case["weight"], 1.0), (case["weight"], np.nan)):
        shared = {"average": average, "sample_weight": weight, "zero_division": zero}
        mine, other = shared | {"num_classes": C}, shared | {"labels": range(C)}
        same(ours.precision(true, pred, **mine), theirs.precision_score(true, pred, **other))
        same(ours.recall(true, pred, **mine), theirs.recall_score(true, pred, **other))
        for beta in (0.0, 0.5, np.inf):
            same(
                ours.fbeta(true, pred, beta=beta, **mine),
                theirs.fbeta_score(true, pred, beta=beta, **other),
            )


@pytest.mark.parametrize("zero", [0.0, 1.0, np.nan])
def test_binary_readings_are_those_of_scikit_learn(zero):
    true, pred = CASES["plain"]["true"] > 1, CASES["plain"]["pred"] > 1
    none = np.zeros(N, bool)
    for (t, p), label in itertools.product([(true, pred), (true, none), (none, none)], (0, 1)):
        options = {"pos_label": label, "zero_division": zero}
        same(ours.precision(t, p, **options), theirs.precision_score(t, p, **options))
        same(ours.recall(t, p, **options), theirs.recall_score(t, p, **options))
        same(ours.fbeta(t, p, **options), theirs.f1_score(t, p, **options))


def compressed(x, y, thresholds):
    """A curve without the points that ties repeat."""
    x, y, thresholds = map(np.asarray, (x, y, thresholds))
    new = np.append(True, thresholds[1:] != thresholds[:-1])
    return x[new], y[new], thresholds[new]


@cases
def test_the_roc_curve_and_its_area_are_those_of_scikit_learn(case):
    true, score = case["true"] == 1, case["score"]
    for weight in (None, case["weight"]):
        found = compressed(*ours.roc_curve(true, score, sample_weight=weight))
        wanted = theirs.roc_curve(true, score, sample_weight=weight, drop_intermediate=False)
        for mine, other in zip(found, wanted, strict=True):
            same(mine, other)
        same(
            ours.roc_auc(true, score, sample_weight=weight),
            theirs.roc_auc_score(true, score, sample_weight=weight),
        )


@cases
def test_the_precision_recall_curve_and_its_area_are_those_of_scikit_learn(case):
    true, score = case["true"], case["score"]
    for weight in (None, case["weight"]):
        options = {"pos_label": 1, "sample_weight": weight}
        precision, recall, thresholds = ours.precision_recall_curve(true == 1, score, **options)
        assert precision[-1] == 1
        assert recall[-1] == 0
        found = [x[::-1] for x in (precision[:-1], recall[:-1], thresholds)]
        wanted = theirs.precision_recall_curve(true == 1, score, **options)
        # The last point of each tie, as a threshold takes all of it.
        for mine, other in zip(compressed(*found), (w[: len(wanted[2])] for w in wanted)):
            same(mine, other[::-1])
        same(
            ours.average_precision(true == 1, score, **options),
            theirs.average_precision_score(true == 1, score, **options),
        )


@pytest.mark.parametrize("name", ["plain", "ties", "many ties, weights of zero"])
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
def test_several_classes_are_compared_with_the_rest(name, average):
    case = CASES[name]
    one_hot = np.eye(C, dtype=int)[case["true"]]
    options = {"average": average, "sample_weight": case["weight"]}
    same(
        ours.roc_auc(case["true"], case["prob"], **options),
        theirs.roc_auc_score(one_hot, case["prob"], **options),
    )
    same(
        ours.average_precision(case["true"], case["prob"], **options),
        theirs.average_precision_score(one_hot, case["prob"], **options),
    )


def calibration_by_hand(right, prob, weight, n_bins, norm):
    gaps, shares = [], []
    for b in range(n_bins):
        mine = (prob > b / n_bins) & (prob <= (b + 1) / n_bins) | ((b == 0) & (prob == 0))
        if weight[mine].sum():
            gaps.append(abs(np.average(right[mine] - prob[mine], weights=weight[mine])))
            shares.append(weight[mine].sum() / weight.sum())
    gaps, shares = np.array(gaps), np.array(shares)
    answers = {"l1": gaps @ shares, "l2": np.sqrt(gaps**2 @ shares), "max": gaps.max()}
    return answers[norm]


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("name", ["plain", "ties", "many ties, weights of zero"])
def test_the_calibration_error_is_that_of_the_bins(name, norm):
    case = CASES[name]
    weight, prob = case["weight"], case["prob"]
    options = {"n_bins": 8, "norm": norm, "sample_weight": weight}
    right = case["true"] == 1
    same(
        ours.calibration_error(right, prob[:, 1], **options),
        calibration_by_hand(right, prob[:, 1], weight, 8, norm),
    )
    same(
        ours.calibration_error(case["true"], prob, **options),
        calibration_by_hand(prob.argmax(1) == case["true"], prob.max(1), weight, 8, norm),
    )


def everything(true, pred, prob, score, where):
    """A reading of each function, as one program."""
    options = {"where": where}
    several = options | {"num_classes": C, "average": "macro"}
    return {
        "accuracy": ours.accuracy(true, pred, **options),
        "top_k": ours.top_k_accuracy(true, prob, **options),
        "matrix": ours.confusion_matrix(true, pred, num_classes=C, **options),
        "precision": ours.precision(true, pred, **several),
        "recall": ours.recall(true, pred, **several),
        "fbeta": ours.fbeta(true, pred, **several),
        "roc": ours.roc_curve(true == 1, score, **options),
        "pr": ours.precision_recall_curve(true == 1, score, **options),
        "roc_auc": ours.roc_auc(true == 1, score, **options),
        "ap": ours.average_precision(true, prob, **options),
        "calibration": ours.calibration_error(true, prob, **options),
    }


def test_what_where_leaves_out_changes_nothing_under_jit_and_vmap():
    case = CASES["ties"]
    given = [case[name] for name in ("true", "pred", "prob", "score")]
    where = np.random.default_rng(5).random(N) < 0.7
    # Padding as it comes: labels that do not exist, scores that are no numbers.
    dirty = [
        np.where(where, given[0], -1),
        np.where(where, given[1], 99),
        np.where(where[:, None], given[2], np.nan),
        np.where(where, given[3], np.nan),
    ]
    run = jax.jit(jax.vmap(everything))
    found = run(*(np.stack([a, b]) for a, b in zip(given, dirty)), np.stack([where, where]))
    left = [x[where] for x in given]
    eager = everything(*given, where)
    for name in ("accuracy", "top_k", "matrix", "precision", "recall", "fbeta", "calibration"):
        mine = found[name]
        same(mine[0], mine[1])
        same(mine[0], eager[name])
    for name in ("roc", "pr"):
        for mine, at_once in zip(found[name], eager[name], strict=True):
            same(mine[0], mine[1])
            same(mine[0], at_once)
    same(found["accuracy"][1], theirs.accuracy_score(left[0], left[1]))
    same(found["roc_auc"][1], theirs.roc_auc_score(left[0] == 1, left[3]))
    same(found["ap"][1], theirs.average_precision_score(np.eye(C)[left[0]], left[2]))
    same(found["fbeta"][1], theirs.f1_score(left[0], left[1], average="macro"))
    fpr, tpr, thresholds = (x[1] for x in found["roc"])
    assert thresholds[-1] == left[3].min()
    assert fpr[-1] == tpr[-1] == 1


def test_bad_values_that_jit_hides_give_nan_not_a_number():
    @jax.jit
    def run(true, pred, score):
        return {
            "one class": ours.roc_auc(jnp.ones_like(true), score),
            "a score is NaN": ours.roc_auc(true, score.at[0].set(jnp.nan)),
            "precision": ours.average_precision(true, score.at[0].set(jnp.nan)),
            "no positive": ours.average_precision(jnp.zeros_like(true), score),
            "no sample": ours.accuracy(true, pred, where=jnp.zeros_like(true, bool)),
            "a label": ours.recall(true, pred.at[0].set(7), num_classes=2, average="macro"),
            "a class too many": ours.roc_auc(true + 1, jnp.stack([score, -score], -1)),
            "a probability": ours.calibration_error(true, score.at[0].set(jnp.nan)),
        }

    found = run(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]), jnp.array([0.1, 0.9, 0.4]))
    assert all(np.isnan(value) for value in found.values()), found


def test_labels_have_any_shape_and_scores_any_real_dtype():
    true = np.array([[0, 1], [1, 1]])
    assert ours.accuracy(true, np.array([[0, 1], [0, 1]])) == 0.75
    exact = ours.roc_auc(true, np.array([[0.1, 0.4], [0.35, 0.8]]))
    assert ours.roc_auc(true, jnp.array([[0.1, 0.4], [0.35, 0.8]], jnp.bfloat16)) == exact
    # Neighbours among integers, which float32 would take for a tie.
    big = np.array([[2**24, 2**24 + 1], [2**24 + 1, 2**24 + 2]], np.int32)
    with jax.enable_x64(False):
        assert ours.roc_auc(true, big) == 1.0
        assert ours.roc_auc(true, -big) == 0.0


def test_labels_of_eight_bits_reach_every_class():
    true, prob = np.array([3, 200], np.uint8), np.zeros((2, 300))
    prob[[0, 1], [3, 201]] = 1.0
    assert ours.top_k_accuracy(true, prob, k=1) == 0.5


def test_arrays_may_be_sharded_explicitly():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    case = CASES["ties"]
    given = [case["true"] == 1, case["pred"] == 1, case["score"]]
    wanted = ours.fbeta(*given[:2]), ours.roc_auc(given[0], given[2])
    with jax.set_mesh(mesh):
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
        true, pred, score = (jax.device_put(x, sharding) for x in given)
        same(ours.fbeta(true, pred), wanted[0])
        same(ours.roc_auc(true, score), wanted[1])


def test_many_samples_are_exact_in_float32():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 1000, 2**17).astype(np.float32)
    true = rng.random(2**17) < score / 1000
    with jax.enable_x64(False):
        found = float(ours.roc_auc(true, score))
    counts = [np.bincount(score[part].astype(int), minlength=1000) for part in (true, ~true)]
    below = np.cumsum(counts[1]) - counts[1] / 2
    assert abs(found - counts[0] @ below / counts[0].sum() / counts[1].sum()) < 2e-7


# ---- what is refused ----------------------------------------------------------------------------

Y, P = np.array([0, 1, 1]), np.array([0.2, 0.7, 0.6])
WIDE = np.ones((3, 2)) / 2
REFUSED = [
    (
        lambda: ours.accuracy(Y, P),
        TypeError,
        r"accuracy: y_pred is float.*\[3\]. Expected integer ",
    ),
    (lambda: ours.accuracy(Y, Y[:2]), ValueError, r"y_pred is .*\[2\] for y_true .*\[3\]"),
    (lambda: ours.accuracy([], []), TypeError, "y_true is float"),
    (lambda: ours.accuracy(Y[:0], Y[:0]), ValueError, "y_true is empty. Expected at least one"),
    (lambda: ours.accuracy(None, Y), TypeError, "y_true=None is not an array"),
    (lambda: ours.accuracy("ab", Y), TypeError, "y_true='ab' is not an array"),
    (lambda: ours.accuracy(Y, Y, where=Y), TypeError, "where is int"),
    (lambda: ours.accuracy(Y, Y, where=Y > 2), ValueError, "leave no sample"),
    (lambda: ours.accuracy(Y, Y, where=Y[:2] > 0), ValueError, "where is bool"),
    (lambda: ours.accuracy(Y, Y, sample_weight=-P), ValueError, "sample_weight has negative"),
    (lambda: ours.accuracy(Y, Y, sample_weight=P[:2]), ValueError, "sample_weight is float"),
    (lambda: ours.accuracy(Y, Y, sample_weight=P * 1j), TypeError, "sample_weight is complex"),
    (lambda: ours.top_k_accuracy(Y, P), ValueError, r"Expected shape \[3, classes\]"),
    (lambda: ours.top_k_accuracy(Y, WIDE, k=0), ValueError, "k=0 is out of range"),
    (lambda: ours.top_k_accuracy(Y + 1, WIDE), ValueError, "y_true has the label 2. Expected lab"),
    (lambda: ours.top_k_accuracy(Y, WIDE * np.nan), ValueError, "y_score has NaN"),
    (lambda: ours.confusion_matrix(Y, Y, num_classes=0), ValueError, "num_classes=0 is out of"),
    (lambda: ours.confusion_matrix(Y, Y * 5, num_classes=3), ValueError, "y_pred has the label 5"),
    (lambda: ours.confusion_matrix(Y - 1, Y), ValueError, "y_true has the label -1"),
    (lambda: ours.confusion_matrix(Y, Y, normalize="rows"), ValueError, "normalize='rows' is not"),
    (lambda: jax.jit(ours.confusion_matrix)(Y, Y), TypeError, "num_classes=None, and the labels"),
    (
        lambda: ours.precision(Y * 2, Y),
        ValueError,
        "y_true has the label 2. Expected labels from 0",
    ),
    (
        lambda: ours.precision(Y, Y, num_classes=3),
        ValueError,
        "average='binary' with num_classes=3",
    ),
    (lambda: ours.precision(Y, Y, pos_label=2), ValueError, "pos_label=2 is out of range"),
    (
        lambda: ours.recall(Y, Y, average="samples"),
        ValueError,
        "average='samples' is not an option",
    ),
    (lambda: ours.recall(Y, Y, zero_division=0.5), ValueError, "zero_division=0.5 is out of range"),
    (lambda: ours.recall(Y, Y, zero_division="warn"), TypeError, "zero_division='warn' is not a n"),
    (lambda: ours.fbeta(Y, Y, beta=-1.0), ValueError, "beta=-1.0 is out of range"),
    (
        lambda: ours.roc_auc(Y * 0, P),
        ValueError,
        "y_true has no positive sample: its only label is",
    ),
    (lambda: ours.roc_auc(Y * 0 + 1, P), ValueError, "roc_auc: y_true has no negative sample"),
    (lambda: ours.roc_auc(Y, WIDE[:2]), ValueError, r"y_score is float.*\[2, 2\] for y_true"),
    (lambda: ours.roc_auc(Y, np.ones((3, 3))), ValueError, "no sample of class 2"),
    (lambda: ours.roc_auc(Y, np.ones((3, 1))), ValueError, "has one class|the label 1"),
    (lambda: ours.roc_auc(Y, P * np.nan), ValueError, "y_score has NaN"),
    (lambda: ours.roc_auc(Y, P * 1j), TypeError, "y_score is complex"),
    (lambda: ours.roc_auc(Y, WIDE, average="binary"), ValueError, "average='binary' is not an opt"),
    (lambda: ours.roc_curve([0, 1, 2], P), ValueError, "y_true has 3 classes. Expected two"),
    (lambda: ours.roc_curve(Y, P, pos_label=3), ValueError, "pos_label=3 is none of the labels"),
    (lambda: ours.roc_curve(Y, WIDE), ValueError, "a score of the positive class for each label"),
    (lambda: ours.precision_recall_curve(Y * 0, P), ValueError, "Expected a positive sample"),
    (lambda: ours.average_precision(Y * 0, P), ValueError, "y_true has no positive sample"),
    (lambda: ours.calibration_error(Y, P * 9), ValueError, "y_prob has the value 1.8.*Of logits"),
    (lambda: ours.calibration_error(Y, P, n_bins=0), ValueError, "n_bins=0 is out of range"),
    (lambda: ours.calibration_error(Y, P, norm="l3"), ValueError, "norm='l3' is not an option"),
    (lambda: ours.calibration_error(Y + 1, P), ValueError, "y_true has the label 2"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_scikit_learn_has_the_arguments_by_the_same_names():
    import inspect

    names = {
        "accuracy": theirs.accuracy_score,
        "top_k_accuracy": theirs.top_k_accuracy_score,
        "precision": theirs.precision_score,
        "recall": theirs.recall_score,
        "fbeta": theirs.fbeta_score,
        "confusion_matrix": theirs.confusion_matrix,
        "roc_curve": theirs.roc_curve,
        "roc_auc": theirs.roc_auc_score,
        "precision_recall_curve": theirs.precision_recall_curve,
        "average_precision": theirs.average_precision_score,
    }
    missing = {"labels", "multi_class", "max_fpr", "drop_intermediate", "raise_warning"}
    for name, other in names.items():
        mine = list(inspect.signature(getattr(gk.metrics, name)).parameters)
        wanted = [p for p in inspect.signature(other).parameters if p not in missing]
        assert [p for p in mine if p not in ("where", "num_classes")] == wanted, name
