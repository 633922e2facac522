"""Extreme logits, certain labels, masks, narrow dtypes and weights, and what optax gets wrong."""

# ruff: noqa: E501

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

losses = gk.losses
NAN, INF = np.nan, np.inf
LARGE = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]])
SURE = jnp.eye(3)[jnp.array([0, 0, 2])]
BITS = jnp.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
CLASSES = jnp.array([0, 0, 2])

ELEMENTWISE = {
    "sigmoid_binary_cross_entropy": BITS,
    "sigmoid_focal_loss": BITS,
    "hinge_loss": 2 * BITS - 1,
    "logistic_loss": 2 * BITS - 1,
    "perceptron_loss": 2 * BITS - 1,
    "sparsemax_loss": BITS,
    "squared_error": BITS,
    "l2_loss": BITS,
    "huber_loss": BITS,
    "log_cosh": BITS,
}
BY_ROW = {
    "softmax_cross_entropy": SURE,
    "softmax_cross_entropy_with_integer_labels": CLASSES,
    "poly_loss_cross_entropy": SURE,
    "kl_divergence": SURE,
    "kl_divergence_with_log_targets": jnp.log(SURE),
    "generalized_kl_divergence": SURE,
    "cosine_similarity": BITS,
    "cosine_distance": BITS,
    "multiclass_hinge_loss": CLASSES,
    "multiclass_perceptron_loss": CLASSES,
    "multiclass_sparsemax_loss": CLASSES,
}
BOTH = {**ELEMENTWISE, **BY_ROW}


def total(name, x, y, **options):
    return jnp.sum(getattr(losses, name)(x, y, **options))


@jax.jit
def measured(x, rows, weights, junk):
    """The sums of all losses and their gradients, of some rows; targets of row 1 may be junk."""
    found = {}
    for name, y in BOTH.items():
        integers = jnp.issubdtype(y.dtype, jnp.integer)
        bad = y.at[1].set(jnp.where(junk, 99 if integers else NAN, y[1]).astype(y.dtype))
        shape = rows.shape if name in BY_ROW else (3, 1)
        found[name] = jax.value_and_grad(total, argnums=1)(
            name, x, bad, where=rows.reshape(shape), weights=weights.reshape(shape)
        )
    return found


ALL, ONE = jnp.ones(3, bool), jnp.ones(3)


def test_values_and_gradients_are_finite_at_extreme_logits_and_certain_labels():
    for x in (LARGE, jnp.zeros_like(LARGE)):
        for name, found in measured(x, ALL, ONE, False).items():
            if name != "generalized_kl_divergence" or x is not LARGE:  # exp(1e4)
                assert all(np.isfinite(a).all() for a in found), name


def test_a_mask_keeps_nan_out_of_the_value_and_the_gradient():
    x = jnp.array([[0.3, -0.2, 0.5], [-0.7, 0.1, 0.4], [1.0, -1.0, 0.25]])
    bad = x.at[1].set(jnp.array([NAN, INF, -INF]))
    second = jnp.array([False, True, False])
    masked = measured(bad, ~second, ONE, True)
    whole, only = measured(x, ALL, ONE, False), measured(x, second, ONE, False)
    for name, (value, slope) in masked.items():
        np.testing.assert_allclose(value, whole[name][0] - only[name][0], 1e-5, err_msg=name)
        np.testing.assert_allclose(slope[::2], whole[name][1][::2], 1e-6, 1e-7, err_msg=name)
        assert (slope[1] == 0).all(), name


def test_weights_are_factors_of_the_losses():
    x, w = LARGE / 1e4, jnp.array([0.5, 2.0, 0.0])
    whole = measured(x, ALL, w, False)
    first, second = (measured(x, ALL, jnp.eye(3)[i], False) for i in (0, 1))
    for name, (value, slope) in whole.items():
        a, b = first[name], second[name]
        np.testing.assert_allclose(value, 0.5 * a[0] + 2 * b[0], 1e-5, 1e-6, err_msg=name)
        np.testing.assert_allclose(slope, 0.5 * a[1] + 2 * b[1], 1e-5, 1e-6, err_msg=name)


def test_the_mean_is_over_what_counts():
    x = jnp.array([[1.0, 2.0], [3.0, NAN]])

    def means(x, where, weights):
        mean = losses.mean
        return mean(x, where=where, weights=weights), mean(x, axis=1, where=where)

    run = jax.jit(jax.value_and_grad(means, has_aux=True))
    (value, rows), slope = run(x, jnp.isfinite(x), jnp.array([[1.0, 1.0], [2.0, 5.0]]))
    assert (value, rows.tolist()) == (2.25, [1.5, 3.0])
    assert slope.tolist() == [[0.25, 0.25], [0.5, 0.0]]
    (value, rows), slope = run(x, jnp.zeros((2, 2), bool), jnp.ones((2, 2)))
    assert (value, rows.tolist(), slope.tolist()) == (0, [0, 0], [[0, 0], [0, 0]])


def test_a_mask_of_classes_is_the_loss_without_them():
    x = jnp.array([[0.3, -0.2, NAN], [1.0, -1.0, INF]])
    where, y = jnp.array([[True, True, False]] * 2), jnp.array([[0.25, 0.75, NAN]] * 2)
    labels = jnp.array([1, 0])

    def masked(x):
        return (
            losses.softmax_cross_entropy(x, y, where=where)
            + losses.poly_loss_cross_entropy(x, y, where=where)
            + losses.softmax_cross_entropy_with_integer_labels(x, labels, where=where)
            + losses.ranking_softmax_loss(x, y, where=where)
            + losses.kl_divergence(x, y, where=where)
        ).sum()

    def plain(x):
        return (
            losses.softmax_cross_entropy(x, y[:, :2])
            + losses.poly_loss_cross_entropy(x, y[:, :2])
            + losses.softmax_cross_entropy_with_integer_labels(x, labels)
            + losses.ranking_softmax_loss(x, y[:, :2])
            + losses.kl_divergence(x, y[:, :2])
        ).sum()

    value, slope = jax.jit(jax.value_and_grad(masked))(x)
    expected, part = jax.jit(jax.value_and_grad(plain))(x[:, :2])
    np.testing.assert_allclose(value, expected, 1e-6)
    np.testing.assert_allclose(slope, jnp.pad(part, ((0, 0), (0, 1))), 1e-5, 1e-7)
    # A label that is left out, and a row without any class, count nothing.
    gone = losses.softmax_cross_entropy_with_integer_labels(x, jnp.array([2, 0]), where=where)
    assert gone[0] == 0
    assert losses.softmax_cross_entropy(x, y, where=where & False).tolist() == [0, 0]


def test_half_precision_arguments_are_computed_in_float32():
    some = ("sigmoid_binary_cross_entropy", "softmax_cross_entropy_with_integer_labels", "l2_loss")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)) * 4, jnp.bfloat16)

    def each(x, names):
        return [jax.value_and_grad(total, argnums=1)(name, x, BOTH[name]) for name in names]

    for value, slope in jax.eval_shape(lambda x: each(x, BOTH), x):
        assert (value.dtype, slope.dtype) == (jnp.float32, jnp.bfloat16)
    run = jax.jit(lambda x: each(x, some))
    for (value, slope), (wide, exact) in zip(run(x), run(x.astype(jnp.float32)), strict=True):
        np.testing.assert_allclose(value, wide, 1e-6)
        assert (slope == exact.astype(jnp.bfloat16)).all()


def test_small_losses_and_gradients_keep_their_digits_in_float32():
    def oracle(x, label):
        shifted = np.longdouble(x) - np.longdouble(x[label])
        rest = np.exp(np.delete(shifted, label)).sum()
        return np.log1p(rest), -rest / (1 + rest)

    one_hot = jnp.array([0.0, 1.0, 0.0])
    x = np.array([[-30.0, 9.0, -28.5], [1e4, 10030.0, 10005.0], [2.0, 1.0, 0.5]], np.float32)

    @jax.jit
    @jax.vmap
    def found(x):
        integer = losses.softmax_cross_entropy_with_integer_labels
        return (
            jax.value_and_grad(lambda x: integer(x, jnp.array(1)))(x),
            jax.value_and_grad(losses.softmax_cross_entropy)(x, one_hot),
        )

    for value, slope in found(x):
        for i, row in enumerate(x):
            expected = oracle(row, 1)
            np.testing.assert_allclose(value[i], float(expected[0]), 1e-6, 0)
            np.testing.assert_allclose(slope[i, 1], float(expected[1]), 1e-6, 0)
    errors = np.array([1e-4, 0.99, 1.01, -50.0])
    close = jax.jit(losses.log_cosh)(errors.astype(np.float32))
    np.testing.assert_allclose(close, np.log(np.cosh(errors)), 1e-6, 1e-16)


def test_second_and_forward_derivatives_are_right():
    x, y = jnp.array([0.5, 0.5, -1.0]), jnp.array([0.2, 0.3, 0.5])
    p = np.asarray(jax.nn.softmax(x))
    curvature = np.diag(p) - np.outer(p, p)
    integer = losses.softmax_cross_entropy_with_integer_labels
    safe = losses.safe_softmax_cross_entropy

    @jax.jit
    def found(x):
        both = lambda x: jnp.stack([losses.softmax_cross_entropy(x, y), integer(x, jnp.array(0))])
        return (
            jax.hessian(both)(x),
            jax.jacfwd(both)(x),
            jax.jacrev(both)(x),
            jax.grad(losses.softmax_cross_entropy, argnums=1)(x, y),
            jax.jacfwd(safe)(jnp.array([-INF, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])),
        )

    second, forward, reverse, by_labels, at_infinity = found(x)
    np.testing.assert_allclose(second, [curvature, curvature], 1e-5, 1e-7)
    np.testing.assert_allclose(forward, reverse, 1e-6, 1e-7)
    np.testing.assert_allclose(by_labels, -np.log(p), 1e-6)
    # At logits of −∞ the forward derivative of optax's safe loss is NaN.
    np.testing.assert_allclose(at_infinity, [0.0, -0.5, 0.5], 1e-6)


def test_the_focal_loss_is_differentiable_at_certain_labels_and_fractional_powers():
    def derivatives(x, y, gamma):
        loss = lambda x, y: losses.sigmoid_focal_loss(x, y, gamma=gamma)
        return jax.grad(loss, argnums=(0, 1))(x, y), jax.grad(jax.grad(loss))(x, y)

    grid = np.meshgrid([1e3, -1e3, 100.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.5, 2.0])
    found = jax.jit(jax.vmap(derivatives))(*(np.float32(a.ravel()) for a in grid))
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(found))


def test_degenerate_embeddings_have_finite_losses_and_gradients():
    zero, nan = np.zeros((2, 3), np.float32), np.float32([[1, 0], [2, 0], [0, 1], [NAN, 0]])
    there = np.array([True, True, True, False])

    @jax.jit
    def found(large, small):
        slope = jax.value_and_grad
        return {
            "similarity": slope(lambda x: losses.cosine_similarity(x, zero + 1).sum())(zero),
            "distance": slope(lambda x: losses.cosine_distance(x, zero + 1).sum())(zero),
            "no pair": slope(losses.ntxent)(zero, np.array([0, 1])),
            "no other": slope(losses.ntxent)(zero + 1, np.array([0, 0])),
            "masked": losses.ntxent(nan, np.array([0, 0, 1, 0]), 1.0, where=there),
            "huge": losses.cosine_similarity(large, small),
            "cubic": losses.triplet_margin_loss(
                np.zeros(2, np.float32), np.float32([1, -2]), np.float32([3, 0]), norm_degree=3
            ),
            "equal": slope(lambda x: losses.triplet_margin_loss(x, x, x).sum())(zero),
        }

    results = found(np.float32([3e30, 4e30]), np.float32([4e-30, 3e-30]))
    for name, value in (("similarity", 0), ("distance", 2), ("no pair", 0), ("no other", 0)):
        assert results[name][0] == value
        assert np.isfinite(results[name][1]).all()
    assert np.isfinite(results["equal"][1]).all()
    np.testing.assert_allclose(results["masked"], np.log1p(np.exp(-1)), 1e-6)
    np.testing.assert_allclose(results["huge"], 0.96, 1e-6)
    np.testing.assert_allclose(results["cubic"], 9 ** (1 / 3) - 3 + 1, 1e-5)


def test_the_ctc_loss_is_never_negative_and_padded_frames_may_be_nan():
    logits = jnp.array([[[0.0, 17.0], [0.0, 17.0], [NAN, NAN]]])
    frames, labels = jnp.array([[0.0, 0.0, 1.0]]), jnp.array([[1]])
    run = jax.jit(jax.value_and_grad(lambda x: losses.ctc_loss(x, frames, labels, labels * 0)[0]))
    value, slope = run(logits)
    assert 0 <= value < 1e-6
    assert run(logits.at[0, 2].set(3.0))[0] == value
    assert (slope[0, 2] == 0).all()
    assert np.isfinite(slope).all()


def test_dice_losses_of_probabilities_work_under_jit_and_with_masks():
    p = jnp.array([[[0.75, 0.25], [0.25, 0.75], [NAN, NAN]]])
    t = jnp.array([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
    there = jnp.array([[[True], [True], [False]]])

    def found(p):
        empty, logits = jnp.zeros((1, 3)), jnp.where(there, p, NAN)
        general = losses.multiclass_generalized_dice_loss
        value = losses.dice_loss(p, t, apply_softmax=False, smooth=0.0, where=there)[0]
        return value, (
            losses.binary_dice_loss(empty, empty, smooth=0.0, apply_sigmoid=False),
            losses.dice_loss(logits, t, where=there),
            general(logits, t, where=there) - general(p[:, :2], t[:, :2]),
        )

    (value, (empty, masked, same)), slope = jax.jit(jax.value_and_grad(found, has_aux=True))(p)
    np.testing.assert_allclose(value, 0.25, 1e-6)
    assert (slope[0, 2] == 0).all()
    assert np.isfinite(slope).all()
    assert empty.tolist() == [0]
    assert np.isfinite(masked).all()
    assert abs(same) < 1e-6


def test_smoothed_labels_of_masked_classes_add_up_to_one():
    where = jnp.array([True, True, False])
    smooth = losses.smooth_labels(jnp.array([1.0, 0.0, 0.0]), 0.5, where=where)
    assert smooth.tolist() == [0.75, 0.25, 0.0]
    assert losses.smooth_labels(jnp.ones(3, jnp.bfloat16), 0.1).dtype == jnp.bfloat16


def test_traced_labels_out_of_range_give_nan():
    x = jnp.zeros((3, 4))
    labels = jnp.array([-1, 4, 0], jnp.int8)
    found = jax.jit(losses.softmax_cross_entropy_with_integer_labels)(x, labels)
    assert np.isnan(found).tolist() == [True, True, False]
    assert np.isnan(jax.jit(losses.multiclass_hinge_loss)(x, labels)).tolist() == [
        True,
        True,
        False,
    ]
    wide = jnp.zeros((1, 300))  # more classes than int8 has numbers
    np.testing.assert_allclose(
        losses.softmax_cross_entropy_with_integer_labels(wide, jnp.array([5], jnp.int8)),
        np.log(300),
        1e-6,
    )


KIND, VALUE = TypeError, ValueError


def ones(shape, dtype=np.float32):
    return np.ones(shape, dtype)


def zeros(shape):
    return 0 * ones(shape)


INTEGER = losses.softmax_cross_entropy_with_integer_labels
REFUSED = {
    "rank": (lambda: losses.l2_loss(ones(3), ones((3, 1))), VALUE, r"l2_loss: targets is float32\[3, 1\].* one shape"),
    "shape": (lambda: losses.huber_loss(ones(3), ones(2)), VALUE, "targets is float32.2., and predictions has the shape .3,."),
    "logits": (lambda: losses.softmax_cross_entropy(ones(3, np.int32), ones(3)), KIND, "logits is int32.* a floating dtype"),
    "complex": (lambda: losses.squared_error(ones(3), 1j), KIND, "targets is complex64.* real numbers"),
    "no array": (lambda: losses.squared_error("a"), KIND, "predictions='a' is not an array"),
    "float labels": (lambda: INTEGER(ones((2, 3)), ones(2)), KIND, "labels is float32.* an integer dtype"),
    "labels' shape": (lambda: INTEGER(ones((2, 3)), ones((2, 1), np.int32)), VALUE, "labels is int32.* the shape .2,."),
    "label": (lambda: INTEGER(ones((2, 3)), np.array([0, 3])), VALUE, "labels has the label 3, which is out of range. Expected 0 <= label < 3"),
    "negative label": (lambda: INTEGER(ones((2, 3)), np.array([-100, 1])), VALUE, "label -100.* where="),
    "axis": (lambda: INTEGER(ones((2, 3)), np.array([0, 1]), axis=2), VALUE, "axis=2 is out of range"),
    "axis twice": (lambda: losses.softmax_cross_entropy(ones((2, 3)), ones((2, 3)), axis=(1, -1)), VALUE, "names an axis twice"),
    "mask": (lambda: losses.l2_loss(ones(3), where=ones(2, bool)), VALUE, "where is bool.2."),
    "mask's kind": (lambda: losses.l2_loss(ones(3), where=ones(3)), KIND, "where is float32.* booleans.* weights="),
    "weights": (lambda: losses.l2_loss(ones(3), weights=ones(2)), VALUE, "weights is float32.2."),
    "signs": (lambda: losses.hinge_loss(ones(2), np.array([0, 1])), VALUE, "targets has the value 0. Expected -1 or 1. For the targets 0 and 1"),
    "bits": (lambda: losses.sparsemax_loss(ones(2), np.array([-1, 1])), VALUE, "labels has the value -1. Expected 0 or 1"),
    "signs of bits": (lambda: losses.sigmoid_binary_cross_entropy(ones(2), np.array([-1, 1])), VALUE, "labels has the value -1. Expected 0 <= labels <= 1. .*logistic_loss"),
    "focal": (lambda: losses.sigmoid_focal_loss(ones(2), np.array([0, 2])), VALUE, "labels has the value 2"),
    "alpha": (lambda: losses.smooth_labels(ones(3), 1.5), VALUE, "alpha=1.5 is out of range. Expected 0 <= alpha <= 1"),
    "delta": (lambda: losses.huber_loss(ones(3), delta=-1.0), VALUE, "delta=-1.0 is out of range. Expected 0 <= delta"),
    "gamma": (lambda: losses.sigmoid_focal_loss(ones(3), 1.0, gamma=ones(3)), VALUE, "gamma is float32.3.. Expected one number"),
    "temperature": (lambda: losses.ntxent(ones((2, 3)), np.array([0, 0]), 0.0), VALUE, "temperature=0.0 is out of range"),
    "groups": (lambda: losses.ntxent(ones((2, 3)), np.array([0])), VALUE, r"labels int32.1.\. Expected the shapes"),
    "degree": (lambda: losses.triplet_margin_loss(*[ones(2)] * 3, norm_degree=0.5), VALUE, "norm_degree=0.5 is out of range"),
    "reduction": (lambda: losses.dice_loss(ones((1, 2)), ones((1, 2)), reduction="max"), VALUE, "reduction='max'"),
    "regions": (lambda: losses.dice_loss(ones((1, 2)), ones((1, 3))), VALUE, "targets is float32.1, 3."),
    "sums": (lambda: losses.dice_loss(ones((1, 2)), ones((1, 2)), apply_softmax=False), VALUE, "probabilities with the sum 2. Expected the sum 1"),
    "probability": (lambda: losses.binary_dice_loss(1.5 * ones((1, 2)), ones((1, 2)), apply_sigmoid=False), VALUE, "predictions has the value 1.5. Expected 0 <= predictions <= 1"),
    "class weights": (lambda: losses.dice_loss(ones((1, 2)), ones((1, 2)), class_weights=ones(3)), VALUE, "class_weights is"),
    "max_fun": (lambda: losses.make_fenchel_young_loss(3), KIND, "max_fun=3 is not a function"),
    "frames": (lambda: losses.ctc_loss(ones((2, 3)), 0, 0, 0), VALUE, "logits is float32.2, 3.. Expected the shape .batch, T, classes."),
    "frame paddings": (lambda: losses.ctc_loss(ones((1, 2, 3)), zeros((1, 3)), 0, 0), VALUE, "logit_paddings is"),
    "blank": (lambda: losses.ctc_loss(ones((1, 2, 3)), zeros((1, 2)), np.array([[0]]), zeros((1, 1))), VALUE, "labels has the blank, blank_id=0"),
    "blank_id": (lambda: losses.ctc_loss(ones((1, 2, 3)), zeros((1, 2)), np.array([[1]]), zeros((1, 1)), blank_id=3), VALUE, "blank_id=3 is out of range"),
    "left": (lambda: losses.ctc_loss(ones((1, 2, 3)), zeros((1, 2)), np.array([[1, 1]]), np.array([[1.0, 0.0]])), VALUE, "to the right of padding"),
    "kernel": (lambda: losses.linear_softmax_cross_entropy(ones((2, 3)), ones((4, 5)), np.array([0, 1])), VALUE, r"kernel is float32.4, 5., and hidden float32.2, 3.\. Expected"),
    "chunk": (lambda: losses.linear_softmax_cross_entropy(ones((2, 3)), ones((3, 5)), np.array([0, 1]), chunk_size=0), VALUE, "chunk_size=0 is out of range"),
    "vocabulary": (lambda: losses.linear_softmax_cross_entropy(ones((2, 3)), ones((3, 5)), np.array([0, 5])), VALUE, "the label 5, which is out of range"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments_are_refused_with_what_is_wrong(name):
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make()
