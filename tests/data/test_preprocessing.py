"""Preprocessing: what scikit-learn computes, of streams, folds, images and bad input too."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import gradkit as gk
from gradkit import data as ours

N, D = 40, 4
RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(D, D))
X = RNG.normal(size=(N, D)) @ MIX + 3
CONSTANT = np.concatenate([X, np.full((N, 1), 0.1)], axis=1)
WEIGHT = RNG.integers(0, 4, size=N).astype(float)


def double(function):
    """Run in float64, as arrays of float64 are then made."""

    @functools.wraps(function)
    def run(*args):
        with jax.enable_x64(True):
            return function(*args)

    return run


@double
def test_the_results_are_those_of_scikit_learn():
    learn = pytest.importorskip("sklearn.preprocessing")
    pca = pytest.importorskip("sklearn.decomposition").PCA
    close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
    gaps = np.where(RNG.random(CONSTANT.shape) < 0.2, np.nan, CONSTANT)
    weight = {"sample_weight": WEIGHT}
    repeated = np.repeat(X, WEIGHT.astype(int), axis=0)
    scaler = learn.MinMaxScaler(feature_range=(-1, 3))
    for fitted, theirs, x in [
        (ours.min_max((-1, 3), constant="keep").fit(CONSTANT), scaler.fit(CONSTANT), CONSTANT),
        (
            ours.standardize().fit(gaps, where=~np.isnan(gaps), **weight),
            learn.StandardScaler().fit(gaps, **weight),
            gaps,  # NaN stays NaN
        ),
        (ours.pca(0.8).fit(X[:3]), pca(0.8, svd_solver="full").fit(X[:3]), X),
        (ours.whiten("pca").fit(X, **weight), pca(whiten=True).fit(repeated), X),
    ]:
        mine, wanted = fitted.transform(x), theirs.transform(x)
        close(mine, wanted, err_msg=repr(fitted.step))
        close(fitted.inverse_transform(mine), theirs.inverse_transform(wanted))
        if hasattr(theirs, "components_"):
            close(fitted.components, theirs.components_)
            close(fitted.variance, theirs.explained_variance_)
            close(fitted.variance_ratio, theirs.explained_variance_ratio_)
    assert fitted.samples == (WEIGHT > 0).sum()


@double
def test_zca_whitens_by_a_symmetric_map_and_moves_the_samples_least():
    centered = X - X.mean(0)
    fitted = ours.whiten().fit(X)
    mine = np.asarray(fitted.transform(X))
    np.testing.assert_allclose(np.cov(mine.T), np.eye(D), atol=1e-10)
    image = np.linalg.lstsq(centered, mine)[0]
    np.testing.assert_allclose(image, image.T, atol=1e-10)
    assert (np.linalg.eigvalsh(image) > 0).all()
    np.testing.assert_allclose(fitted.inverse_transform(mine), X, atol=1e-10)
    for seed in range(3):  # any other whitened data is a rotation of it
        rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0]
        assert np.sum((mine @ rotation - centered) ** 2) > np.sum((mine - centered) ** 2)
    # With eps the variances are λ / (λ + ε), also of fewer samples than features.
    few = ours.whiten(eps=0.5).fit(X[:3])
    found = np.linalg.eigvalsh(np.cov(np.asarray(few.transform(X[:3])).T))
    values = np.linalg.eigvalsh(np.cov(X[:3].T)).clip(0)
    np.testing.assert_allclose(found, values / (values + 0.5), atol=1e-10)
    np.testing.assert_allclose(few.inverse_transform(few.transform(X)), X, atol=1e-9)
    # Whitening by the rank keeps what the samples span.
    low = ours.whiten(n_components=2).fit(X[:3])
    np.testing.assert_allclose(low.inverse_transform(low.transform(X[:3])), X[:3], atol=1e-10)


K, M = 8, 32
OFFSETS = np.array([1e6, -3e5, 0.0], np.float32)
STREAM = (OFFSETS + RNG.normal(size=(K, M, 3)) * [3.0, 1.0, 0.01]).astype(np.float32)
WHERE = RNG.random((K, M)) < 0.8
WHERE[2] = False  # a batch of padding
STEPS = [ours.standardize(), ours.min_max(), ours.whiten("pca")]


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_float32_streams_of_a_large_mean_are_right_however_they_merge(step):
    used = STREAM[WHERE].astype(np.float64)
    rest = used - used.mean(0)

    def add(fit, batch):
        return fit.update(batch[0], where=batch[1]), None

    def one(x, where):
        return step.init(x).update(x, where=where)

    @jax.jit
    def run(x, where):
        stacked = jax.vmap(one)(x, where)
        half = [jax.tree.map(lambda leaf, i=i: leaf[i::2], stacked).collapse() for i in (0, 1)]
        fits = [half[0] + half[1]]
        if step != ours.whiten("pca"):  # which merges as the others do
            fits.append(jax.lax.scan(add, step.init(x[0]), (x, where))[0])
            reduced = jax.vmap(lambda x, where: one(x, where).psum("i"), axis_name="i")(x, where)
            fits.append(jax.tree.map(lambda leaf: leaf[-1], reduced))
        fits = [fit.compute() for fit in fits]
        return [(fit, fit.transform(x)) for fit in fits]

    found = run(jnp.asarray(STREAM), jnp.asarray(WHERE))
    for fit, z in found:
        mine = np.asarray(z, np.float64)[WHERE]
        assert fit.samples == WHERE.sum()
        assert {*map(tuple, fit.seen.tolist())} == {*map(tuple, found[0][0].seen.tolist())}
        if step == ours.whiten("pca"):
            np.testing.assert_allclose(mine.mean(0), 0, atol=1e-6)
            np.testing.assert_allclose(np.cov(mine.T), np.eye(3), atol=2e-3)
            continue
        wanted = rest / rest.std(0)
        if step == ours.min_max():
            wanted = (used - used.min(0)) / (used.max(0) - used.min(0))
        np.testing.assert_allclose(mine, wanted, rtol=2e-6, atol=2e-6)


def test_devices_merge_inside_shard_map():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    step = ours.standardize()

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec()
    )
    def run(x):
        return step.init(x).update(x).psum("data").compute()

    x = jnp.asarray(X, jnp.float32)
    fitted = jax.jit(run)(x)
    np.testing.assert_allclose(fitted.scale, X.std(0), rtol=1e-6)
    ours.check_held_out(fitted, x + 1)


def test_folds_are_fitted_by_one_program_each_to_its_training_part():
    steps = ours.pipeline(ours.min_max(), ours.whiten(eps=1e-3))
    x = jnp.asarray(X[:11], jnp.float32)
    folds = gk.metrics.k_fold(len(x), 3)

    @jax.jit
    def run(x, folds):
        fits = jax.vmap(lambda fold: steps.fit(x, fold))(folds)
        return fits, jax.vmap(lambda fit, rows: fit.transform(x[rows]))(fits, folds.test)

    fits, found = run(x, folds)
    for i in range(3):
        train = X[folds.train[i][folds.train_where[i]]]
        low, width = train.min(0), np.ptp(train, axis=0)
        scaled, test = (train - low) / width, (X[folds.test[i]] - low) / width
        values, vectors = np.linalg.eigh(np.cov(scaled.T))
        whitening = vectors / np.sqrt(values + 1e-3) @ vectors.T
        wanted = (test - scaled.mean(0)) @ whitening
        np.testing.assert_allclose(found[i], wanted, rtol=1e-3, atol=1e-4)
    # No held-out sample was fitted on; and where one was, it is found.
    x, test, where = np.asarray(x), np.asarray(folds.test), np.asarray(folds.test_where)
    ours.check_held_out(fits, x[test], where=where)
    rotated = np.roll(test, 1, axis=0)
    with pytest.raises(ValueError, match="check_held_out, fit 0: 3 of 3 held-out samples, first 0"):
        ours.check_held_out(fits, x[rotated], where=np.roll(where, 1, axis=0))


def test_a_leak_is_found_in_samples_that_are_more_than_are_compared():
    x = np.arange(6000.0, dtype=np.float32).reshape(3000, 2)
    fitted = ours.pca(1).fit(x)  # by blocks of rows
    np.testing.assert_allclose(fitted.variance, np.var(x, axis=0, ddof=1).sum(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"of 300 held-out.*of its 3000 samples 1024 are compared"):
        ours.check_held_out(fitted, x[:300])
    ours.check_held_out(fitted, x[:300] + 0.5)
    # The same values in another dtype; duplicates up to a share of the samples.
    few = ours.center().fit(x[:8])
    held_out = x[4:12].astype(np.int32)
    with pytest.raises(ValueError, match="4 of 8 held-out samples, first 0, were fitted on"):
        ours.check_held_out(few, held_out)
    ours.check_held_out(few, held_out, allowed=0.5)
    # Of steps that are joined after the fit, the first one that was fitted is compared.
    scaled = ours.rescale(0.5).fit()
    joined = ours.pipeline(scaled, ours.standardize().fit(scaled.transform(x[:8])))
    assert joined.samples == 8
    assert len(joined) == 2
    assert joined[1].step == ours.standardize()
    with pytest.raises(ValueError, match="1 of 2 held-out samples, first 0"):
        ours.check_held_out(joined, x[7:9])


def test_images_have_statistics_of_channels_and_are_whitened_in_their_shape():
    images = RNG.integers(256, size=(12, 2, 3, 3)).astype(np.uint8)
    x = images / np.float32(255)
    steps = ours.pipeline(ours.rescale(1 / 255), ours.standardize(axis=(0, 1, 2)))
    fitted = steps.fit(images)
    assert fitted[1].features == (3,)
    assert fitted[1].scale.shape == (3,)
    wanted = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    np.testing.assert_allclose(fitted.transform(images), wanted, rtol=1e-5, atol=1e-6)
    one = fitted.transform(images[0, :1])  # one image, of another size
    np.testing.assert_allclose(one, wanted[0, :1], rtol=1e-5, atol=1e-6)
    whole = ours.min_max(axis=None).fit(x)
    assert (whole.center, whole.center + whole.scale) == (x.min(), x.max())

    def shapes(x):
        zca, narrow = ours.whiten(eps=0.1).fit(x), ours.pca(5).fit(x)
        some = narrow.transform(x[None])
        return zca.inverse_transform(zca.transform(x[None])), some, narrow.inverse_transform(some)

    found = [value.shape for value in jax.eval_shape(shapes, jnp.asarray(x))]
    assert found == [(1, *x.shape), (1, 12, 5), (1, *x.shape)]
    alone = ours.center_samples((-3, -2, -1)).fit()
    wanted = x - x.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(alone.transform(x), wanted, atol=1e-6)


def test_a_fitted_step_is_a_pytree_and_a_step_is_its_description():
    step = ours.standardize(ddof=1)
    x = jnp.asarray(X, jnp.float32)
    fitted = step.fit(x)
    assert repr(step) == "standardize(ddof=1)"
    assert step == ours.standardize(ddof=1)
    assert hash(step) != hash(ours.standardize())
    assert repr(fitted).startswith("Affine(step=standardize(ddof=1), samples=40, center=float32[4]")
    other = pickle.loads(pickle.dumps(fitted))
    assert jax.tree.structure(other) == jax.tree.structure(fitted)
    traces = []

    @jax.jit
    def transform(fitted, x):
        traces.append(None)
        return fitted.transform(x)

    wanted = transform(fitted, x)
    assert jnp.array_equal(wanted, transform(other, x))
    assert jnp.array_equal(transform(fitted.replace(offset=fitted.offset + 1), x), wanted + 1)
    assert len(traces) == 1
    assert fitted.transform(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert jnp.isnan(fitted.transform(jnp.full(D, jnp.nan))).all()
    assert repr(step.init(x)) == "PartialFit(step=standardize(ddof=1), shape=(4,), samples=0)"


def test_under_jit_what_cannot_be_computed_is_nan():
    @jax.jit
    def run(x):
        return {
            "a constant feature": ours.min_max().fit(x).transform(x),
            "no sample": ours.center().fit(x, where=x[:, 0] > 9).transform(x),
            "a value that is not finite": ours.standardize().fit(x / 0).transform(x),
            "a direction without variance": ours.whiten().fit(x).transform(x),
        }

    found = run(jnp.array([[1.0, 2.0], [1.0, 3.0], [1.0, 5.0]]))
    assert all(jnp.isnan(value[:, 0]).all() for value in found.values()), found


ROW = np.ones((3, 2), np.float32) * [[1], [2], [4]]
SPLIT = {"train": np.array([0, 1]), "dev": np.array([1, 2])}
FITTED = ours.standardize().fit(ROW)


def traced(call):
    return lambda: jax.jit(call)(ROW)


def several():
    fits = jax.vmap(ours.center().fit)(np.stack([ROW, ROW]))
    return fits.transform(ROW)


REFUSED = [
    (
        lambda: ours.whiten().fit(np.eye(3, 5, dtype=np.float32)),
        ValueError,
        "whiten.fit: the covariance of 3 samples of 5 features has rank 2, of 5 components."
        " Expected a variance > 0 of each component. Pass eps > 0, or n_components=2.",
    ),
    (
        lambda: ours.center().fit(ROW[:0]),
        ValueError,
        "center.fit: x is float32[0, 2]. Expected at least one sample, with features.",
    ),
    (
        lambda: ours.center().fit(ROW, where=np.zeros(3, bool)),
        ValueError,
        "center.fit: where and sample_weight leave no sample. Expected at least one sample.",
    ),
    (
        lambda: ours.center().fit(ROW, where=np.array([[True, False]] * 3)),
        ValueError,
        "center.fit: where leaves no value of feature 1. Expected a value of each feature.",
    ),
    (
        lambda: ours.min_max().fit(np.array([[1.0, 3.0], [2.0, 3.0]])),
        ValueError,
        "min_max.fit: feature 1 is constant. Expected values that differ. Pass constant='keep' to"
        " divide by 1, or axis=None for one scale of all features.",
    ),
    (
        lambda: FITTED.transform(np.ones((5, 3))),
        ValueError,
        "standardize.transform: x is float32[5, 3]. Expected samples of shape [2], as those of the"
        " fit.",
    ),
    (
        lambda: ours.pca(1).fit(ROW).inverse_transform(ROW),
        ValueError,
        "pca.inverse_transform: x is float32[3, 2]. Expected samples of shape [1], as those of the"
        " fit.",
    ),
    (
        lambda: ours.pca(3).fit(ROW),
        ValueError,
        "pca.fit: n_components=3 is more than there are. Expected n_components <= 2, of samples and"
        " features.",
    ),
    (
        lambda: ours.pca(1.0),
        ValueError,
        "pca: n_components=1.0 is out of range. Expected an integer >= 1, or 0 < n_components < 1"
        " for a share of the variance.",
    ),
    (
        traced(lambda x: ours.pca(0.5).fit(x)),
        TypeError,
        "pca.fit: n_components=0.5 under jit: their number depends on the data. Expected a static"
        " number. Fit outside jit, or pass an integer.",
    ),
    (
        lambda: ours.whiten(eps=-1.0),
        ValueError,
        "whiten: eps=-1.0 is out of range. Expected 0 <= eps < inf.",
    ),
    (
        lambda: ours.standardize().fit(np.array([[1], [2]])),
        TypeError,
        "standardize.fit: x is int32[2, 1]. Expected floating numbers. Convert it:"
        " rescale(1 / 255) does for bytes, x.astype(float) for counts.",
    ),
    (
        lambda: ours.center().fit(ROW, SPLIT),
        ValueError,
        "center.fit: sample 1 is in both train and dev of the split. Expected dev samples apart"
        " from those to fit on.",
    ),
    (
        lambda: ours.center().fit(ROW, (np.array([0, 3]), np.array([1]))),
        ValueError,
        "center.fit: split.train has the index 3 for 3 samples. Expected indices from 0 to 2.",
    ),
    (
        lambda: ours.center().fit(ROW, gk.metrics.k_fold(3, 3)),
        ValueError,
        "center.fit: split.train is int32[3, 2]: several splits. Expected one split. Map over them:"
        " jax.vmap(lambda fold: step.fit(x, fold))(folds).",
    ),
    (
        lambda: ours.center().fit(ROW, 0.8),
        TypeError,
        "center.fit: split=0.8 has no training part. Expected indices, a tuple of them with those"
        " to fit on first, or a field train. Make it with gk.data.split or gk.metrics.k_fold.",
    ),
    (
        lambda: ours.center().fit(np.array([[1.0], [np.nan]])),
        ValueError,
        "center.fit: x has NaN or infinity. Expected finite numbers. Leave missing values out with"
        " where=jnp.isfinite(x).",
    ),
    (
        lambda: ours.pca().fit(ROW, where=np.ones((3, 2), bool)),
        ValueError,
        "pca.fit: where is bool[3, 2]. Expected shape [3] for samples.",
    ),
    (
        lambda: ours.center().fit(ROW, sample_weight=np.array([1.0, -1.0, 1.0])),
        ValueError,
        "center.fit: sample_weight has negative numbers, infinity or NaN. Expected weights >= 0.",
    ),
    (
        lambda: ours.standardize(ddof=3).fit(ROW),
        ValueError,
        "standardize.fit: ddof=3 with 3 samples. Expected more samples than ddof.",
    ),
    (
        lambda: ours.standardize(axis=1).fit(ROW),
        ValueError,
        "standardize.fit: axis=1 does not fit samples along the first of 2 axes. Expected axes of"
        " x, 0 among them. For images of shape [n, height, width, channels], axis=(0, 1, 2).",
    ),
    (
        lambda: ours.center_samples(0),
        ValueError,
        "center_samples: axis=0 is not counted from the last. Expected negative axes. For images of"
        " shape [n, height, width, channels], axis=(-3, -2, -1).",
    ),
    (
        lambda: ours.center_samples().fit().inverse_transform(ROW),
        ValueError,
        "center_samples.inverse_transform: the mean of a sample is not kept. Keep"
        " x.mean(axis, keepdims=True), and add it.",
    ),
    (
        lambda: ours.rescale(0.0),
        ValueError,
        "rescale: scale=0.0 is out of range. Expected a finite scale other than 0.",
    ),
    (
        lambda: ours.min_max((1, 0)),
        ValueError,
        "min_max: low=1 is not below high=0. Expected low < high.",
    ),
    (
        several,
        ValueError,
        "center.transform: these are several fits: a field is float32[2, 2]. Expected one fit. Map"
        " over them: jax.vmap(lambda fit, x: fit.transform(x))(fits, x).",
    ),
    (
        lambda: ours.pipeline(ours.center(), FITTED),
        TypeError,
        "pipeline: center() is not fitted, and other steps are. Expected steps of one kind.",
    ),
    (
        lambda: ours.pipeline(ours.center),
        TypeError,
        "pipeline: center is not a step. Expected a step. Call the factory, such as standardize().",
    ),
    (
        lambda: ours.pipeline(ours.center()).init(ROW),
        ValueError,
        "pipeline.init: a pipeline does not stream: each step is fitted to what the one before it"
        " gives. Fit one step to the stream, then the next to the batches that it transforms;"
        " pipeline(first, second) joins fitted steps.",
    ),
    (
        lambda: ours.center().init(ROW).compute(),
        ValueError,
        "center.compute: no sample was added. Expected at least one sample.",
    ),
    (
        lambda: ours.center().init(ROW).update(ROW[:, :1]),
        ValueError,
        "center.update: x is float32[3, 1]. Expected samples of shape [2].",
    ),
    (
        lambda: ours.center().init(ROW) + ours.standardize().init(ROW),
        ValueError,
        "center.merge: other is of standardize() for samples of shape [2]. Expected center() for"
        " samples of shape [2].",
    ),
    (
        lambda: ours.check_held_out(FITTED, ROW[2:]),
        ValueError,
        "check_held_out: 1 of 1 held-out samples, first 0, were fitted on. Expected samples apart"
        " from those of the fit. Fit to the training samples only: fit(x, split). For duplicates in"
        " the data, pass allowed.",
    ),
    (
        traced(lambda x: ours.check_held_out(FITTED, x)),
        TypeError,
        "check_held_out: the samples are traced. Expected known values. Call it once, outside jit.",
    ),
    (
        lambda: ours.check_held_out(ours.rescale(2.0).fit(), ROW),
        ValueError,
        "check_held_out: rescale(scale=2.0) has nothing to fit. Expected a step that was fitted.",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), REFUSED, ids=[row[2].split(".")[0] for row in REFUSED]
)
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error) as refused:
        call()
    assert str(refused.value) == message
