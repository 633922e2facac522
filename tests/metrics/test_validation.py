"""Cross-validation and learning curves beside scikit-learn and Python loops, and refusals."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradkit import metrics as ours

theirs = pytest.importorskip("sklearn.model_selection")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3 * RNG.normal(size=23) + 1.0
LABELS = np.greater(Y, 1.0).astype(int)


def fitted(train, alpha):
    """Ridge regression with an intercept, after standardizing: all fitted to the samples."""
    (x, y), where = train
    weight = where.astype(x.dtype)[:, None]
    mean, scale = x.mean(0, where=where[:, None]), x.std(0, where=where[:, None])
    center = y.mean(where=where)
    z = (x - mean[None]) / scale[None] * weight
    w = jnp.linalg.solve(z.T @ z + alpha * jnp.eye(3), z.T @ (y - center))
    return lambda x: ((x - mean[None]) / scale[None]) @ w + center


def errors(train, dev, alpha=0.7):
    model = fitted(train, alpha)
    return tuple(jnp.mean((model(s.data[0]) - s.data[1]) ** 2, where=s.where) for s in (train, dev))


def errors_in_numpy(x, y, *pairs):
    """The same of samples without a mask."""
    mean, scale, center = x.mean(0), x.std(0), y.mean()
    z = (x - mean) / scale
    w = np.linalg.solve(z.T @ z + 0.7 * np.eye(3), z.T @ (y - center))
    return [np.mean(((a - mean) / scale @ w + center - b) ** 2) for a, b in pairs]


SPLITTERS = {
    "plain": (theirs.KFold(4), None),
    "stratified": (theirs.StratifiedKFold(3), LABELS),
    "shuffled": (theirs.ShuffleSplit(3, test_size=5, random_state=0), None),
}


@pytest.mark.parametrize("name", SPLITTERS)
def test_the_scores_of_ridge_regression_are_those_of_scikit_learn(name):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    splitter, labels = SPLITTERS[name]
    cv = list(splitter.split(X, labels))
    model = make_pipeline(StandardScaler(), Ridge(0.7))
    score = theirs.cross_val_score(model, X, Y, cv=cv, scoring="neg_mean_squared_error")
    with jax.enable_x64(True):
        data = jnp.asarray(X), jnp.asarray(Y)
        folds = ours.as_folds(splitter, len(X) if labels is None else labels)
        if name == "plain":  # a number of folds, mapped over the penalty
            run = lambda alpha: ours.cross_validate(functools.partial(errors, alpha=alpha), data, 4)
            found = jax.vmap(run)(jnp.array([0.7, 50.0]))
            assert found.scores[1].shape == (2, 4)
            found = jax.tree.map(lambda x: x[0], found)
        else:
            size = {"stratified": None, "shuffled": 1}[name]  # at once
            found = ours.cross_validate(errors, data, folds, batch_size=size)
        np.testing.assert_allclose(found.scores[1], -score, rtol=1e-10)
        np.testing.assert_allclose(found.mean[1], -score.mean(), rtol=1e-10)
        wanted = score.std(ddof=1) / np.sqrt(len(cv))
        np.testing.assert_allclose(found.standard_error[1], wanted, rtol=1e-10)


def test_each_fold_has_a_key_of_its_own():
    def score(train, dev, *, key):
        return {"draw": jax.random.uniform(key), "count": jnp.sum(train.where)}

    found = ours.cross_validate(score, {"y": np.arange(7.0)}, 3, key=0)
    assert len(set(found.scores["draw"].tolist())) == 3
    assert found.scores["count"].tolist() == [4, 5, 5]
    assert found.mean["count"].item() == pytest.approx(14 / 3)
    again = ours.cross_validate(score, {"y": np.arange(7.0)}, 3, key=jax.random.key(0))
    np.testing.assert_array_equal(found.scores["draw"], again.scores["draw"])
    one = ours.as_folds([([0, 1], [2])])
    assert np.isnan(ours.cross_validate(lambda t, d: 1.0, np.ones(3), one).standard_error)


def test_a_curve_is_that_of_a_loop_over_the_first_samples():
    data, dev = (X[:17], Y[:17]), (X[17:], Y[17:])
    with jax.enable_x64(True):
        found = ours.learning_curve(errors, data, dev, [5, 17])
        for i, size in enumerate([5, 17]):
            first = X[:size], Y[:size]
            wanted = errors_in_numpy(*first, first, dev)
            got = found.train_error[i], found.dev_error[i]
            np.testing.assert_allclose(got, wanted, rtol=1e-10)
        reading = found.bias_variance(target=0.05, tolerance=0.5)
        assert reading.variance == float(found.dev_error[-1]) - float(found.train_error[-1])
        assert (reading.target, reading.tolerance) == (0.05, 0.5)
        assert np.isnan(found.dev_standard_error).all()
    assert found.sizes.tolist() == [5, 17]


def test_repeats_draw_nested_samples_with_a_key():
    def seen(train, dev, key):
        return jnp.sum(jnp.where(train.where, train.data, 0)), jax.random.uniform(key)

    powers = 2 ** np.arange(8)
    found = ours.learning_curve(seen, powers, np.ones(3), [1, 3, 8], key=1, repeats=5)
    sums, draws = found.train_errors.tolist(), np.asarray(found.dev_errors)
    assert found.train_errors.shape == (5, 3)
    assert len({row[1] for row in sums}) > 2
    for one, three, all_of_them in sums:
        assert (one.bit_count(), three.bit_count(), all_of_them) == (1, 3, 255)
        assert one & three == one
    assert len(set(draws[:, 0].tolist())) == 5
    assert (draws == draws[:, :1]).all()  # the same start for each size
    np.testing.assert_allclose(found.dev_error, np.mean(draws, 0), 1e-6)
    error = np.std(draws, 0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(found.dev_standard_error, error, 1e-5)


def test_a_plot_has_two_curves_bands_and_the_target(monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    sizes, rows = jnp.array([1, 5, 9]), jnp.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]])
    curve = ours.LearningCurve(sizes, rows, 2 * rows)
    _, mine = pyplot.subplots()
    ax = ours.plot_learning_curve(curve, target=0.5, ax=mine, ylabel="misses")
    assert ax is mine
    assert [line.get_label() for line in ax.lines] == ["training", "development", "target"]
    assert ax.lines[1].get_xydata().tolist() == [[1.0, 2.0], [5.0, 4.0], [9.0, 6.0]]
    assert len(ax.collections) == 2
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training examples", "misses")
    ax = ours.plot_learning_curve(curve._replace(train_errors=rows[:1], dev_errors=rows[:1]))
    assert not ax.collections
    pyplot.close("all")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plot_learning_curve: matplotlib is missing"):
        ours.plot_learning_curve(curve)


def with_key(train, dev, key):
    return 0.0, 0.0


def curve(sizes, fun=lambda train, dev: (0.0, 0.0), **options):
    return ours.learning_curve(fun, np.ones(5), np.ones(2), sizes, **options)


cross = ours.cross_validate
FIVE = {"x": np.ones((5, 2)), "y": np.ones(5)}
REFUSED = [
    (lambda: cross(None, FIVE), TypeError, "cross_validate: train_and_score=None is not a funct"),
    (lambda: cross(errors, FIVE, 6), ValueError, "n_splits=6 is more than the 5 samples"),
    (
        lambda: cross(errors, FIVE, ours.k_fold(7, 2)),
        ValueError,
        "folds.train has the index 6 for 5 samples. Expected indices below 5",
    ),
    (
        lambda: cross(errors, {**FIVE, "z": np.ones(4)}),
        ValueError,
        "cross_validate, z: this leaf of data has 4 samples, and x has 5",
    ),
    (lambda: cross(errors, {**FIVE, "z": 1.0}), TypeError, "z: this leaf of data is float"),
    (lambda: cross(errors, {}), ValueError, "data has no samples. Expected at least one"),
    (lambda: cross(errors, np.ones((0, 2))), ValueError, "data has no samples"),
    (lambda: cross(errors, FIVE, theirs.KFold(2)), TypeError, "Pass k_fold.* or as_folds"),
    (lambda: cross(errors, FIVE, 2, batch_size=0), ValueError, "batch_size=0 is out of range"),
    (lambda: cross(errors, FIVE, 2, key=0), TypeError, "key is given, and errors takes no argum"),
    (lambda: cross(with_key, FIVE, 2), TypeError, "with_key takes an argument key, and key=None"),
    (lambda: curve([2, 2]), ValueError, r"sizes=\[2, 2\] does not increase from 1 on"),
    (lambda: curve([0, 2]), ValueError, r"sizes=\[0, 2\] does not increase from 1 on"),
    (lambda: curve([2, 6]), ValueError, "sizes has 6, more than the 5 samples of train"),
    (lambda: curve([0.5, 1.0]), TypeError, "is not a list of sizes. Expected increasing integers"),
    (lambda: curve([]), TypeError, r"sizes=\[\] is not a list of sizes"),
    (lambda: jax.jit(curve)(jnp.arange(3)), TypeError, "is not a list of sizes"),
    (lambda: curve([2], repeats=2), ValueError, "repeats=2 without a key would be the same"),
    (lambda: curve([2], repeats=0), ValueError, "repeats=0 is out of range"),
    (lambda: curve([2], with_key), TypeError, "with_key takes an argument key, and key=None"),
    (lambda: curve([2], lambda t, d: 0.0), TypeError, "train_and_score returned float. Expected"),
    (
        lambda: curve([2], lambda t, d: (t.data, 0.0)),
        ValueError,
        r"train_and_score returned float32\[5\] for an error",
    ),
    (
        lambda: ours.learning_curve(errors, (X, Y[:9]), FIVE, [2]),
        ValueError,
        r"learning_curve, 1: this leaf of train has 9 samples, and 0 has 23",
    ),
    (lambda: ours.plot_learning_curve([1.0]), TypeError, "is not a LearningCurve. Pass what"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error, match=message):
        call()
