"""The losses beside optax's: values, gradients, names, argument orders and defaults; and torch's.

Everything is computed in float64 by one program for each library.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

optax = pytest.importorskip("optax")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3)) * 3
Z = RNG.normal(size=(4, 3))
CUBE = RNG.normal(size=(2, 3, 4))
SOFT = RNG.dirichlet(np.ones(3), size=4)
LOG = np.log(RNG.dirichlet(np.ones(3), size=4))
CLASSES = np.array([0, 2, 1, 2])
BINARY = (RNG.uniform(size=(4, 3)) > 0.5).astype(float)
SIGNS = 2 * BINARY - 1
MASK = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1]], bool)
ROWS = np.array([True, False, True, True])
ONE_HOT = np.eye(3)[CLASSES]
IMAGE = RNG.normal(size=(2, 4, 4, 3))
REGIONS = np.eye(3)[RNG.integers(0, 3, size=(2, 4, 4))]
SIMPLEX = np.exp(IMAGE) / np.exp(IMAGE).sum(axis=-1, keepdims=True)
FRAMES = RNG.normal(size=(3, 7, 5))
NO_FRAMES = np.array([[0.0] * 7, [0.0] * 5 + [1.0] * 2, [0.0] * 7])
WORDS = np.array([[1, 1, 2], [3, 4, 0], [2, 1, 4]])
NO_WORDS = np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 0]])
GROUPS = np.array([0, 0, 1, 1])

CASES = [
    ("sigmoid_binary_cross_entropy", (X, BINARY.astype(int)), {}),
    ("sigmoid_binary_cross_entropy", (X, SOFT), {}),
    ("sigmoid_focal_loss", (X, BINARY), {"alpha": 0.3, "gamma": 1.5}),
    ("softmax_cross_entropy", (X, SOFT), {}),
    ("softmax_cross_entropy", (CUBE, CUBE**2), {"axis": (0, 2)}),
    ("softmax_cross_entropy", (X, SOFT), {"axis": None}),
    ("safe_softmax_cross_entropy", (X, ONE_HOT), {}),
    ("softmax_cross_entropy_with_integer_labels", (X, CLASSES), {}),
    ("softmax_cross_entropy_with_integer_labels", (X.T, CLASSES), {"axis": 0}),
    ("softmax_cross_entropy_with_integer_labels", (CUBE, np.array([7, 2, 5])), {"axis": (2, 0)}),
    ("softmax_cross_entropy_with_integer_labels", (X, CLASSES), {"where": ROWS}),
    ("poly_loss_cross_entropy", (X, SOFT), {"where": MASK}),
    ("smooth_labels", (SOFT, 0.1), {}),
    ("hinge_loss", (X, SIGNS), {}),
    ("perceptron_loss", (X, SIGNS), {}),
    ("sparsemax_loss", (X, BINARY), {}),
    ("multiclass_hinge_loss", (X, CLASSES), {}),
    ("multiclass_perceptron_loss", (X, CLASSES), {}),
    ("multiclass_sparsemax_loss", (X, CLASSES), {}),
    ("kl_divergence", (LOG, SOFT), {}),
    ("kl_divergence", (LOG, SOFT), {"axis": 0, "where": MASK}),
    ("kl_divergence_with_log_targets", (LOG, np.log(SOFT)), {"axis": None}),
    ("generalized_kl_divergence", (Z, SOFT), {"where": MASK}),
    ("squared_error", (X,), {}),
    ("l2_loss", (X, Z), {}),
    ("huber_loss", (X, Z), {"delta": 0.7}),
    ("log_cosh", (X, Z), {}),
    ("cosine_similarity", (X, Z), {"where": MASK}),
    ("cosine_similarity", (X, Z[:1]), {"epsilon": 9.0}),
    ("cosine_distance", (X, Z), {"axis": (0, 1)}),
    ("ranking_softmax_loss", (X, SOFT), {}),
    ("ranking_softmax_loss", (X, SOFT), {"weights": Z**2, "reduce_fn": None}),
    ("ntxent", (X, GROUPS), {"temperature": 0.5}),
    ("triplet_margin_loss", (X, Z, X[::-1]), {"margin": 2.0}),
    ("triplet_margin_loss", (X, Z, X[::-1]), {"axis": 0, "norm_degree": 4, "eps": 1e-3}),
    ("dice_loss", (IMAGE, REGIONS), {"alpha": 0.3, "beta": 0.7}),
    ("dice_loss", (IMAGE, REGIONS), {"class_weights": np.arange(3.0), "reduction": "none"}),
    ("dice_loss", (IMAGE, REGIONS), {"ignore_background": True, "reduction": "sum", "axis": (1,)}),
    ("multiclass_generalized_dice_loss", (IMAGE, REGIONS), {"smooth": 0.5}),
    ("binary_dice_loss", (IMAGE[..., 0], REGIONS[..., 0]), {}),
    ("ctc_loss", (FRAMES, NO_FRAMES, (WORDS + 4) % 5, NO_WORDS), {"blank_id": 4}),
    ("ctc_loss_with_forward_probs", (FRAMES, NO_FRAMES, WORDS, NO_WORDS), {}),
]


# Their derivatives, or a part of them, are not those of the formula.
BY_HAND = {
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "poly_loss_cross_entropy",
    "sigmoid_focal_loss",
    "kl_divergence",
    "log_cosh",
    "cosine_similarity",
    "multiclass_sparsemax_loss",
    "ntxent",
    "ctc_loss",
}


def computed(module):
    """Every loss, and gradients of sums weighted unevenly, by the first argument."""

    def one(name, args, kwargs):
        def total(x):
            out = getattr(module, name)(x, *map(jnp.asarray, args[1:]), **kwargs)
            first = out[0] if isinstance(out, tuple) else out
            return jnp.sum(first * jnp.cos(jnp.arange(first.size).reshape(first.shape))), out

        kwargs = {
            key: jnp.asarray(value) if isinstance(value, np.ndarray) else value
            for key, value in kwargs.items()
        }
        return (jax.value_and_grad(total, has_aux=True) if name in BY_HAND else total)(args[0])

    def everything(first):
        return [
            one(name, (x, *args[1:]), kwargs)
            for x, (name, args, kwargs) in zip(first, CASES, strict=True)
        ]

    return jax.jit(everything)([jnp.asarray(args[0]) for _, args, _ in CASES])


def test_values_and_gradients_are_optax_s():
    with jax.enable_x64(True):
        ours = computed(gk.losses)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            theirs = computed(optax.losses)
    for (name, _, kwargs), mine, other in zip(CASES, ours, theirs, strict=True):
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
            assert a.shape == b.shape, name
            np.testing.assert_allclose(a, b, 1e-10, 1e-10, err_msg=f"{name} {kwargs}")


NAMES = sorted(
    name
    for name, value in vars(optax.losses).items()
    if not name.startswith("_") and inspect.isfunction(value)
)


def test_every_loss_of_optax_has_its_arguments_in_its_order_with_its_defaults():
    assert len(NAMES) > 30
    for name in NAMES:
        ours = inspect.signature(getattr(gk.losses, name)).parameters
        theirs = inspect.signature(getattr(optax.losses, name)).parameters
        for mine, other in zip(ours.values(), theirs.values(), strict=False):
            assert (mine.name, mine.kind, mine.default) == (other.name, other.kind, other.default)
        assert all(p.kind == p.KEYWORD_ONLY for p in list(ours.values())[len(theirs) :]), name
    tested = {name for name, _, _ in CASES}
    assert set(NAMES) - tested == {"convex_kl_divergence", "make_fenchel_young_loss"}


def test_the_losses_at_the_top_of_optax_are_at_the_top():
    top = [name for name in NAMES if hasattr(optax, name)]
    assert len(top) >= 18
    assert all(getattr(gk, name) is getattr(gk.losses, name) for name in top)


def test_a_fenchel_young_loss_is_made_as_in_optax():
    ours = gk.losses.make_fenchel_young_loss(jax.nn.logsumexp)
    with jax.enable_x64(True):
        plain = gk.softmax_cross_entropy(X, SOFT)
        np.testing.assert_allclose(ours(X, SOFT), plain, 1e-12)


def test_values_are_torch_s():
    torch = pytest.importorskip("torch")
    nn, tensor = torch.nn.functional, torch.tensor
    frames, words = (7 - NO_FRAMES.sum(1)).astype(int), (3 - NO_WORDS.sum(1)).astype(int)
    log_p = nn.log_softmax(tensor(FRAMES), -1).transpose(0, 1)
    pairs = {
        "binary": (
            lambda: gk.sigmoid_binary_cross_entropy(X, SOFT),
            nn.binary_cross_entropy_with_logits(tensor(X), tensor(SOFT), reduction="none"),
        ),
        "integer": (
            lambda: gk.softmax_cross_entropy_with_integer_labels(X, CLASSES),
            nn.cross_entropy(tensor(X), tensor(CLASSES), reduction="none"),
        ),
        "ignored": (
            lambda: gk.losses.mean(
                gk.softmax_cross_entropy_with_integer_labels(X, CLASSES - 1, where=CLASSES > 0),
                where=CLASSES > 0,
            ),
            nn.cross_entropy(tensor(X), tensor(CLASSES - 1), ignore_index=-1),
        ),
        "soft": (
            lambda: gk.softmax_cross_entropy(X, SOFT),
            nn.cross_entropy(tensor(X), tensor(SOFT), reduction="none"),
        ),
        "smoothed": (
            lambda: gk.softmax_cross_entropy(X, gk.smooth_labels(ONE_HOT, 0.1)),
            nn.cross_entropy(tensor(X), tensor(CLASSES), reduction="none", label_smoothing=0.1),
        ),
        "huber": (
            lambda: gk.huber_loss(X, Z, delta=0.7),
            nn.huber_loss(tensor(X), tensor(Z), delta=0.7, reduction="none"),
        ),
        "kl": (
            lambda: gk.kl_divergence(LOG, SOFT),
            nn.kl_div(tensor(LOG), tensor(SOFT), reduction="none").sum(-1),
        ),
        "logistic": (
            lambda: gk.losses.mean(gk.losses.logistic_loss(X, SIGNS)),
            nn.soft_margin_loss(tensor(X), tensor(SIGNS)),
        ),
        "ctc": (
            lambda: gk.ctc_loss(FRAMES, NO_FRAMES, WORDS, NO_WORDS, log_epsilon=-1e30),
            nn.ctc_loss(log_p, tensor(WORDS), tensor(frames), tensor(words), reduction="none"),
        ),
        "cosine": (
            lambda: gk.cosine_similarity(X, Z),
            nn.cosine_similarity(tensor(X), tensor(Z)),
        ),
    }
    with jax.enable_x64(True):
        ours = jax.jit(lambda: {key: make() for key, (make, _) in pairs.items()})()
    for key, (_, theirs) in pairs.items():
        np.testing.assert_allclose(ours[key], theirs.numpy(), 1e-9, err_msg=key)
