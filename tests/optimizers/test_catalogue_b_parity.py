"""The factored, stored, parameter-free and special optimizers, step by step against optax in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit.parity import compare
from gradkit.parity.compare import _QUICK

optax = pytest.importorskip("optax")
contrib = optax.contrib

STEPS = 120


def start():
    draw = np.random.default_rng(0).normal
    return {
        "matrix": draw(size=(6, 5)),
        "cube": draw(size=(2, 4, 3)),
        "vector": draw(size=4),
        "scalar": np.float64(0.7),
    }


def plain(tree):
    """Without scalars, where optax cannot take them."""
    return {name: leaf for name, leaf in tree.items() if np.ndim(leaf)}


def gradients(seed=1):
    rng = np.random.default_rng(seed)
    return [
        jax.tree.map(lambda p: np.asarray(rng.normal(size=p.shape) * np.exp(rng.normal())), start())
        for _ in range(STEPS)
    ]


def loss(params):
    """A bowl with bounded slopes, never at its bottom."""
    return sum(
        jnp.sum(jnp.sqrt(1 + (leaf - at) ** 2))
        for leaf, at in zip(jax.tree.leaves(params), (9.0, 3.0, -7.0, 5.0))
    )


def same(ours, theirs, feed=None, params=None, rtol=1e-10, atol=1e-13):
    report = compare(
        ours,
        theirs,
        start() if params is None else params,
        gradients() if feed is None else feed,
        STEPS,
        dtype="float64",
        rtol=rtol,
        atol=atol,
    )
    assert report.passed, report


def fading(scale):
    """A rate as a plain function of the step, exact in float64."""
    return lambda step: scale / (1.0 + 0.1 * jnp.asarray(step, float))


def exact_decay(i, exponent):
    """optax's own rounds the decay to float32 also in float64."""
    return 1.0 - (i + 1.0) ** (-exponent)


def optax_adafactor(
    rate=None,
    least=128,
    decay=0.8,
    offset=0,
    scaled=True,
    threshold=1.0,
    momentum=None,
    wd=None,
    eps=1e-30,
    factored=True,
    mask=None,
):
    """optax.adafactor, link by link, with its decay in float64."""
    return optax.chain(
        optax.scale_by_factored_rms(factored, decay, offset, least, eps, exact_decay),
        optax.identity() if threshold is None else optax.clip_by_block_rms(threshold),
        optax.identity() if rate is None else optax.scale_by_learning_rate(rate, flip_sign=False),
        optax.scale_by_param_block_rms() if scaled else optax.identity(),
        optax.identity() if momentum is None else optax.ema(momentum, debias=False),
        optax.identity() if wd is None else optax.add_decayed_weights(wd, mask=mask),
        optax.scale(-1),
    )


def matrices(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


ADAFACTOR = {
    "defaults": (lambda: gk.adafactor(0.1), lambda: optax_adafactor(0.1)),
    "no rate": (lambda: gk.adafactor(min_dim_size_to_factor=2), lambda: optax_adafactor(least=2)),
    "factored": (
        lambda: gk.adafactor(0.1, min_dim_size_to_factor=3),
        lambda: optax_adafactor(0.1, 3),
    ),
    "not factored": (
        lambda: gk.adafactor(0.1, 2, factored=False),
        lambda: optax_adafactor(0.1, 2, factored=False),
    ),
    "everything": (
        lambda: gk.adafactor(
            fading(0.1), 2, 0.6, 0, False, 0.5, None, "float32", 0.01, 1e-3, True, matrices
        ),
        lambda: optax_adafactor(
            fading(0.1), 2, 0.6, 0, False, 0.5, None, 0.01, 1e-3, True, matrices
        ),
    ),
    "momentum": (
        lambda: gk.adafactor(0.1, 2, momentum=0.9, clipping_threshold=None, dtype_momentum=None),
        lambda: optax_adafactor(0.1, 2, momentum=0.9, threshold=None),
    ),
}


@pytest.mark.parametrize("case", ADAFACTOR)
def test_adafactor_is_optax_s_with_its_decay_in_float64(case):
    ours, theirs = (make() for make in ADAFACTOR[case])
    same(ours, theirs)


def test_adafactor_is_optax_s_within_the_float32_of_its_decay():
    same(gk.adafactor(0.1, 2), optax.adafactor(0.1, 2), rtol=3e-6, atol=1e-7)


def test_a_rate_of_the_decay_by_another_rule():
    def capped(i, exponent):
        return jnp.minimum(1.0 - (jnp.asarray(i, float) + 1.0) ** (-exponent), 0.9)

    same(
        gk.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6, capped),
        optax.scale_by_factored_rms(True, 0.7, 0, 2, 1e-6, capped),
    )


GRADIENTS = {
    "sm3": (lambda: gk.sm3(0.1), lambda: optax.sm3(0.1)),
    "sm3, momentum": (lambda: gk.sm3(0.1, 0.5), lambda: optax.sm3(0.1, 0.5)),
    "scale_by_sm3, fading": (
        lambda: gk.scale_by_sm3(0.8, 0.95, 1e-3),
        lambda: optax.scale_by_sm3(0.8, 0.95, 1e-3),
    ),
}


@pytest.mark.parametrize("case", GRADIENTS)
def test_sm3_is_optax_s_where_optax_s_works(case):
    ours, theirs = (make() for make in GRADIENTS[case])
    same(ours, theirs, [plain(g) for g in gradients()], plain(start()))


LOSSES = {
    "cocob": (lambda: gk.cocob(), lambda: contrib.cocob()),
    "cocob, everything": (
        lambda: gk.cocob(0.5, 10.0, 1e-3, 0.01, matrices),
        lambda: contrib.cocob(0.5, 10.0, 1e-3, 0.01, matrices),
    ),
    "dog": (lambda: gk.dog(), lambda: contrib.dog()),
    "dog, distance": (
        lambda: gk.dog(0.5, ("distance", 0.1), 1e-3, 0.01, matrices),
        lambda: contrib.dog(0.5, ("distance", 0.1), 1e-3, 0.01, matrices),
    ),
    "dog, learning rate": (
        lambda: gk.dog(init_step=("learning_rate", 0.1)),
        lambda: contrib.dog(init_step=("learning_rate", 0.1)),
    ),
    "dowg": (lambda: gk.dowg(), lambda: contrib.dowg()),
    "dowg, everything": (
        lambda: gk.dowg(0.5, 0.1, 1e-3, 0.01, matrices),
        lambda: contrib.dowg(0.5, 0.1, 1e-3, 0.01, matrices),
    ),
    "dadapt_adamw": (lambda: gk.dadapt_adamw(), lambda: contrib.dadapt_adamw()),
    "dadapt_adamw, everything": (
        lambda: gk.dadapt_adamw(fading(1.0), (0.8, 0.99), 1e-3, 1e-3, 0.1),
        lambda: contrib.dadapt_adamw(fading(1.0), (0.8, 0.99), 1e-3, 1e-3, 0.1),
    ),
    "prodigy": (lambda: gk.prodigy(), lambda: contrib.prodigy()),
    "prodigy, everything": (
        lambda: gk.prodigy(fading(1.0), (0.8, 0.95), 0.9, 1e-3, 1e-2, 0.5, 0.1, True),
        lambda: contrib.prodigy(fading(1.0), (0.8, 0.95), 0.9, 1e-3, 1e-2, 0.5, 0.1, True),
    ),
    "momo": (lambda: gk.momo(), lambda: contrib.momo()),
    "momo, everything": (
        lambda: gk.momo(fading(1.0), 0.8, 1.0, 0.1, True),
        lambda: contrib.momo(fading(1.0), 0.8, 1.0, 0.1, True),
    ),
    "momo_adam": (lambda: gk.momo_adam(), lambda: contrib.momo_adam()),
    "momo_adam, everything": (
        lambda: gk.momo_adam(fading(1.0), 0.8, 0.95, 1e-3, 60.0, 0.1, True),
        lambda: contrib.momo_adam(fading(1.0), 0.8, 0.95, 1e-3, 60.0, 0.1, True),
    ),
}


@pytest.mark.parametrize("case", LOSSES)
def test_parameter_free_methods_are_optax_s_on_a_loss(case):
    ours, theirs = (make() for make in LOSSES[case])
    same(ours, theirs, loss)


MECHANIC = {
    "mechanize": (lambda: gk.mechanize(gk.sgd(0.1)), lambda: contrib.mechanize(optax.sgd(0.1))),
    "mechanize, everything": (
        lambda: gk.mechanize(gk.adam(0.1, eps=1e-3), 0.1, 1e-6, 1e-2, 3),
        lambda: contrib.mechanize(optax.adam(0.1, eps=1e-3), 0.1, 1e-6, 1e-2, 3),
    ),
}


@pytest.mark.parametrize("case", MECHANIC)
def test_mechanize_is_optax_s(case):
    ours, theirs = (make() for make in MECHANIC[case])
    same(ours, theirs)


def test_dog_in_each_leaf_is_optax_s_where_optax_s_keeps_the_shape():
    def chained(package):
        # float64 for the origin: rounded to float32 it would itself be a distance.
        return package.chain(
            package.scale_by_distance_over_gradients(1e-3, 1e-6, jnp.float64, 0.5),
            package.scale(-1.0),
        )

    with jax.enable_x64(True):
        same(chained(gk), chained(optax), loss_of_arrays, plain(start()))


def loss_of_arrays(params):
    return sum(jnp.sum(jnp.sqrt(1 + (leaf - 3.0) ** 2)) for leaf in jax.tree.leaves(params))


SOPHIA = {
    "defaults": lambda k: (k if k is gk else contrib).sophia(0.01),
    "everything": lambda k: (k if k is gk else contrib).sophia(
        0.01,
        0.8,
        0.9,
        0.1,
        0.1,
        matrices,
        0.5,
        None,
        3,
        (k if k is gk else contrib).hutchinson_estimator_diag_hessian(jax.random.PRNGKey(7)),
    ),
}


@pytest.mark.parametrize("case", SOPHIA)
def test_sophia_is_optax_s_random_signs_included(case):
    def trajectory(tx):
        def body(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params, obj_fn=loss)
            params = jax.tree.map(jnp.add, params, updates)
            return (params, state), params

        params = jax.tree.map(jnp.asarray, start())
        run = jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), length=STEPS)[1])
        return run.lower(params).compile(compiler_options=_QUICK)(params)

    with jax.enable_x64(True):
        ours = trajectory(SOPHIA[case](gk))
        with jax.numpy_dtype_promotion("standard"):
            theirs = trajectory(SOPHIA[case](optax))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10), ours, theirs)
