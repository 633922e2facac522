"""Accumulators: batches, devices and stacks give what all samples at once give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from gradkit import metrics as ours

K, N, C = 4, 16, 3
RNG = np.random.default_rng(0)
TRUE = RNG.integers(C, size=(K, N))
PRED = np.where(RNG.random((K, N)) < 0.6, TRUE, RNG.integers(C, size=(K, N)))
PROB = RNG.dirichlet(np.ones(C), size=(K, N)).astype(np.float32)
SCORE = (RNG.integers(32, size=(K, N)) / 32).astype(np.float32)
WEIGHT = RNG.uniform(0.5, 2.0, size=(K, N)).astype(np.float32)
WHERE = RNG.random((K, N)) < 0.8

# An accumulator, the arguments of its update, its readings and what they are of all samples.
KINDS = {
    "Mean": (
        ours.Mean.init,
        (SCORE,),
        lambda seen: [seen.compute()],
        lambda options: [np.average(SCORE, weights=options["sample_weight"] * options["where"])],
    ),
    "Confusion": (
        functools.partial(ours.Confusion.init, C, weighted=True),
        (TRUE, PRED),
        lambda seen: [
            seen.accuracy(),
            seen.precision(average="macro"),
            seen.recall(average=None),
            seen.fbeta(beta=2.0, average="weighted"),
        ],
        lambda options: [
            ours.accuracy(TRUE, PRED, **options),
            ours.precision(TRUE, PRED, num_classes=C, average="macro", **options),
            ours.recall(TRUE, PRED, num_classes=C, average=None, **options),
            ours.fbeta(TRUE, PRED, beta=2.0, num_classes=C, average="weighted", **options),
        ],
    ),
    "Calibration": (
        functools.partial(ours.Calibration.init, 6),
        (TRUE, PROB),
        lambda seen: [seen.compute(norm="l2")],
        lambda options: [ours.calibration_error(TRUE, PROB, n_bins=6, norm="l2", **options)],
    ),
    "BinnedScores": (
        functools.partial(ours.BinnedScores.init, 32, weighted=True),
        (TRUE == 1, SCORE),
        lambda seen: [seen.roc_auc(), seen.average_precision()],
        lambda options: [
            ours.roc_auc(TRUE == 1, SCORE, **options),
            ours.average_precision(TRUE == 1, SCORE, **options),
        ],
    ),
    "Scores": (
        functools.partial(ours.Scores.init, K * N),
        (TRUE == 1, SCORE),
        lambda seen: [seen.roc_auc(), seen.average_precision()],
        lambda options: [
            ours.roc_auc(TRUE == 1, SCORE, **options),
            ours.average_precision(TRUE == 1, SCORE, **options),
        ],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_merging_gives_what_all_samples_at_once_give(kind):
    init, arrays, read, at_once = KINDS[kind]
    options = {"sample_weight": WEIGHT, "where": WHERE}
    batches = [jnp.asarray(x) for x in (*arrays, WEIGHT, WHERE)]

    def add(seen, batch):
        *given, weight, where = batch
        return seen.update(*given, sample_weight=weight, where=where)

    def of_one(batch):
        return add(init(), batch)

    @jax.jit
    def run(batches):
        scanned, _ = jax.lax.scan(lambda seen, b: (add(seen, b), None), init(), batches)
        stacked = jax.vmap(of_one)(batches)
        reduced = jax.vmap(lambda b: of_one(b).psum("i"), axis_name="i")(batches)
        rows = [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(K)]
        everywhere = jax.tree.map(lambda x: x[-1], reduced)
        return [read(seen) for seen in (scanned, sum(rows), everywhere, stacked.collapse())]

    wanted = at_once(options)
    for found in run(batches):
        for mine, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine, other, rtol=2e-6)


def test_shard_map_knows_that_what_psum_gives_is_the_same_on_all_devices():
    init, arrays, read, at_once = KINDS["Scores"]
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec()
    )
    def run(*given):
        return read(init().update(*given).psum("data"))

    wanted = at_once({"sample_weight": np.ones_like(WEIGHT), "where": np.ones_like(WHERE)})
    for mine, other in zip(jax.jit(run)(*map(jnp.asarray, arrays)), wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-6)


def test_a_batch_is_added_by_one_program_and_counts_are_integers():
    traces = []

    @jax.jit
    def step(seen, true, pred):
        traces.append(None)
        return seen.update(true, pred)

    seen = ours.Confusion.init(C)
    for true, pred in zip(TRUE, PRED, strict=True):
        seen = step(seen, true, pred)
    assert len(traces) == 1
    assert seen.counts.dtype == jnp.int32
    assert seen.counts.tolist() == ours.confusion_matrix(TRUE, PRED).tolist()
    # Beyond 2²⁴, where float32 would stop counting.
    many = ours.Confusion(jnp.full((2, 2), 2**24, jnp.int32), jnp.zeros((), jnp.int32))
    assert many.update(np.array([1]), np.array([1])).counts[1, 1] == 2**24 + 1


def test_bins_say_how_far_their_area_can_be_from_the_exact_one():
    true = RNG.random(64) < 0.4
    score = np.clip(RNG.normal(0.4 + 0.2 * true, 0.2), 0, 1)
    exact = np.mean(score[true][:, None] > score[~true])
    errors = []
    for bins in (4, 64):
        seen = ours.BinnedScores.init(bins).update(true, score)
        assert abs(seen.roc_auc() - exact) <= seen.roc_auc_error()
        errors.append(float(seen.roc_auc_error()))
    assert errors == sorted(errors, reverse=True)
    fpr, tpr, thresholds = seen.roc_curve()
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1], thresholds[-1]) == (0, 0, 1, 1, 0)
    np.testing.assert_allclose(jnp.trapezoid(tpr, fpr), seen.roc_auc(), rtol=1e-6)
    at = np.flatnonzero(np.asarray(thresholds) == 0.5)[0]
    np.testing.assert_allclose(tpr[at], np.mean(score[true] >= 0.5), rtol=1e-6)


def test_the_reliability_diagram_is_that_of_scikit_learn():
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    true, prob = TRUE.ravel() == 1, SCORE.ravel()
    found = ours.Calibration.init(5).update(true, prob).curve()
    for mine, other in zip(found, curve(true, prob, n_bins=5), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
    empty = ours.Calibration.init(5).update(true[:1], prob[:1]).curve()
    assert np.isnan(empty[0]).sum() == 4


def test_under_jit_bad_samples_make_the_readings_nan():
    @jax.jit
    def run(true, score):
        confusion = ours.Confusion.init(2).update(true + 1, true)
        full = ours.Scores.init(2).update(true, score)
        bad = score.at[0].set(jnp.nan)
        return {
            "a label out of range": confusion.accuracy(),
            "a label of a class": confusion.recall(),
            "too many scores": full.roc_auc(),
            "and merged": (full + ours.Scores.init(9)).average_precision(),
            "a score": ours.Scores.init(3).update(true, bad).roc_auc(),
            "a binned score": ours.BinnedScores.init(9).update(true, bad).roc_auc(),
            "no sample": ours.Mean.init().compute(),
            "no confusion": ours.Confusion.init(2).accuracy(),
        }

    found = run(jnp.array([0, 1, 1]), jnp.array([0.1, 0.5, 0.9]))
    assert all(np.isnan(value) for value in found.values()), found


def test_infinite_scores_are_in_the_bins_at_the_ends():
    true = np.array([0, 1, 1])
    seen = ours.BinnedScores.init(4).update(true, np.array([-np.inf, np.inf, 1.5]))
    assert seen.negative.tolist() == [1, 0, 0, 0]
    assert seen.positive.tolist() == [0, 0, 0, 2]


def several(kind):
    return jax.tree.map(lambda x: jnp.stack([x, x]), KINDS[kind][0]())


Y, P = np.array([0, 1, 1]), np.array([0.2, 0.7, 0.6])
REFUSED = [
    (lambda: ours.Confusion.init(0), ValueError, "Confusion.init: num_classes=0 is out of range"),
    (lambda: ours.Confusion.init(2, weighted=1), TypeError, "weighted=1 is not a bool"),
    (
        lambda: ours.Confusion.init(2).update(Y + 1, Y),
        ValueError,
        "Confusion.update: y_true has the",
    ),
    (
        lambda: ours.Confusion.init(2).update(Y, Y, sample_weight=P),
        ValueError,
        "sample_weight for an accumulator that counts. Begin with",
    ),
    (
        lambda: ours.Confusion.init(3).recall(),
        ValueError,
        "Confusion.recall: average='binary' with",
    ),
    (lambda: ours.Confusion.init(2) + ours.Confusion.init(3), ValueError, "merge: other has int"),
    (lambda: ours.Confusion.init(2) + ours.Mean.init(), TypeError, "is not a Confusion"),
    (lambda: ours.Scores.init(2) + ours.Mean.init(), TypeError, "Scores.merge: .* is not a Scores"),
    (lambda: ours.Scores.init(0), ValueError, "capacity=0 is out of range"),
    (lambda: ours.Scores.init(2).update(Y, P), ValueError, "capacity=2 is too small by 1"),
    (lambda: ours.Scores.init(4).update(Y, P * np.nan), ValueError, "y_score has NaN"),
    (lambda: ours.Scores.init(4).update(Y + 1, P), ValueError, "y_true has the label 2"),
    (lambda: ours.BinnedScores.init(0), ValueError, "n_bins=0 is out of range"),
    (lambda: ours.BinnedScores.init(9, low=1.0), ValueError, "low=1.0 is not below high=1.0"),
    (
        lambda: ours.BinnedScores.init(9) + ours.BinnedScores.init(9, high=2.0),
        ValueError,
        r"other=BinnedScores\(low=0.0, high=2.0\) differs from BinnedScores\(low=0.0, high=1.0\)",
    ),
    (lambda: several("Mean").compute(), ValueError, "Mean: these are several accumulators: a leaf"),
    (lambda: several("Confusion").accuracy(), ValueError, "Merge them with collapse"),
    (lambda: several("Confusion").update(Y, Y), ValueError, "Confusion: these are several"),
    (lambda: several("Calibration").compute(), ValueError, "Calibration: these are several"),
    (lambda: several("BinnedScores").roc_auc(), ValueError, "BinnedScores: these are several"),
    (lambda: several("Scores").roc_auc(), ValueError, "Scores: these are several"),
    (lambda: ours.Calibration.init(0), ValueError, "Calibration.init: n_bins=0"),
    (lambda: ours.Calibration.init(3).update(Y, P * 9), ValueError, "y_prob has the value"),
    (lambda: ours.Calibration.init(3).compute(norm="l3"), ValueError, "norm='l3' is not an option"),
    (lambda: ours.Mean.init().update("ab"), TypeError, "Mean.update: values='ab' is not an array"),
    (lambda: ours.Mean.init().update(P * 1j), TypeError, "values is complex"),
    (
        lambda: ours.Mean.init().update(P, sample_weight=-P),
        ValueError,
        "sample_weight has negative",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error, match=message):
        call()
