"""What has gone wrong elsewhere, and what the elementwise catalogue refuses. The numbers are optax's issues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

ALL = {
    "adabelief": lambda: gk.adabelief(0.1),
    "acprop": lambda: gk.acprop(
        0.1, eps_root=1e-3
    ),  # by default its second step, after a zero gradient, is beyond float16
    "yogi": lambda: gk.yogi(0.1),
    "radam": lambda: gk.radam(0.1),
    "novograd": lambda: gk.novograd(0.1),
    "adan": lambda: gk.adan(0.1),
    "adopt": lambda: gk.adopt(0.1),
    "ademamix": lambda: gk.ademamix(0.1),
    "simplified_ademamix": lambda: gk.simplified_ademamix(0.1),
    "laprop": lambda: gk.laprop(0.1),
    "mars": lambda: gk.mars(0.1),
    "grokfast": lambda: gk.chain(gk.grokfast(), gk.adam(0.1)),
    "cautious": lambda: gk.cautious(gk.adam(0.1)),
    "signum": lambda: gk.signum(0.1),
    "lion": lambda: gk.lion(0.1),
    "rprop": lambda: gk.rprop(0.1),
    "lars": lambda: gk.lars(0.1),
    "lamb": lambda: gk.lamb(0.1),
    "fromage": lambda: gk.fromage(0.1),
    "optimistic_gradient_descent": lambda: gk.optimistic_gradient_descent(0.1),
    "optimistic_adam": lambda: gk.optimistic_adam(0.1),
    "optimistic_adam_v2": lambda: gk.optimistic_adam_v2(0.1),
    "polyak_sgd": lambda: gk.polyak_sgd(),
    "madgrad": lambda: gk.madgrad(0.1),
    "asgd": lambda: gk.asgd(0.1),
    "normalize": lambda: gk.chain(gk.normalize(), gk.sgd(0.1)),
}


def follow(tx, grads, start=0.0, **extras):
    """The updates of one number for a sequence of gradients."""
    params = jnp.asarray(start, jnp.float32)
    state, updates = tx.init(params), []
    for g in grads:
        update, state = tx.update(jnp.asarray(g, jnp.float32), state, params, **extras)
        updates.append(float(update))
    return updates


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ALL)
def test_1755_zero_gradients_in_half_precision_stay_finite_and_typed(name, dtype):
    tx = ALL[name]()
    params = {"w": jnp.ones((3,), dtype), "zero": jnp.zeros((), dtype)}
    noise = jnp.asarray(np.random.default_rng(0).normal(size=3), dtype)
    grads = {
        "w": jnp.stack([jnp.zeros_like(noise), noise, jnp.zeros_like(noise)]),
        "zero": jnp.zeros((3,), dtype),
    }

    def body(carry, g):
        params, state = tx.apply(*carry, g, value=0.5)
        return (params, state), params

    (last, state), after = jax.jit(lambda: jax.lax.scan(body, (params, tx.init(params)), grads))()
    for tree in (after, state):
        assert all(
            np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in jax.tree.leaves(tree)
        )
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(last))
    assert all(leaf.dtype.itemsize >= 4 for leaf in jax.tree.leaves(state.inner))


def test_1725_rprop_gives_this_step_its_own_update():
    np.testing.assert_allclose(
        np.abs(follow(gk.rprop(0.1), (1, 1, 1, -1, -1))), [0.1, 0.12, 0.144, 0, 0.072], rtol=1e-6
    )


def test_1715_adan_weighs_the_difference_with_b2():
    # g = 1, then 2: the difference 1 weighs b2 = 0.9, in the direction and within the square.
    first, second = follow(gk.scale_by_adan(b1=0.0, b2=0.9, b3=0.0, eps=0.0), (1, 2))
    debiased = 0.1 / (1 - 0.9**2)
    np.testing.assert_allclose((first, second), (1, (2 + 0.9 * debiased) / (2 + 0.9)), rtol=1e-6)


def test_440_adabelief_has_both_epsilons_where_its_paper_has_them():
    m = s = 0.0
    wanted = []
    for t, g in enumerate((1.0, 0.5, -2.0, 0.25), 1):
        m = 0.9 * m + 0.1 * g
        s = 0.99 * s + 0.01 * (g - m) ** 2 + 1e-2
        wanted.append(-0.1 * m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.99**t)) + 1e-2))
    np.testing.assert_allclose(
        follow(gk.adabelief(0.1, 0.9, 0.99, 1e-2, 1e-2), (1.0, 0.5, -2.0, 0.25)), wanted, rtol=1e-5
    )


def test_288_yogi_moves_by_the_square_of_the_gradient():
    tx = gk.scale_by_yogi(b1=0.0, b2=0.9, eps=0.0, initial_accumulator_value=0.0)
    v, wanted = 0.0, []
    for t, g in enumerate((3.0, 1.0, 0.5), 1):
        v = v - 0.1 * np.sign(v - g**2) * g**2
        wanted.append(g / np.sqrt(v / (1 - 0.9**t)))
    np.testing.assert_allclose(follow(tx, (3.0, 1.0, 0.5)), wanted, rtol=1e-5)


def test_1082_the_first_optimistic_step_is_the_plain_one():
    for tx in (gk.optimistic_gradient_descent(0.1), gk.optimistic_gradient_descent(0.1, beta=5.0)):
        np.testing.assert_allclose(follow(tx, (2.0,)), [-0.2], rtol=1e-6)
    np.testing.assert_allclose(
        follow(gk.optimistic_adam(0.1, nesterov=False), (2.0,)), [-0.1], rtol=1e-6
    )
    np.testing.assert_allclose(follow(gk.mars(0.1, gamma=1.0), (0.5,)), [-0.1], rtol=1e-6)


def test_1286_optimistic_adam_takes_schedules():
    rate = gk.linear_schedule(0.1, 0.0, 4)
    adam = np.array(follow(gk.scale_by_adam(nesterov=True), (1.0, 2.0, -1.0)))
    before = np.array([adam[0], *adam[:-1]])
    alpha = np.array([0.1, 0.075, 0.05])
    np.testing.assert_allclose(
        follow(gk.optimistic_adam(rate), (1.0, 2.0, -1.0)),
        -(alpha * adam + alpha * (adam - before)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        follow(gk.optimistic_adam(rate, lambda step: 0.01), (1.0, 2.0, -1.0)),
        -(alpha * adam + 0.01 * (adam - before)),
        rtol=1e-5,
    )


def test_1743_a_zero_gradient_is_normalized_to_zero():
    assert follow(gk.normalize(), (0.0,)) == [0.0]


def test_1500_a_loss_may_be_a_python_number():
    np.testing.assert_allclose(follow(gk.polyak_sgd(), (2.0,), value=1), [-0.5])


def test_radam_says_whether_it_divides_without_leaking_a_tracer():
    tx = gk.radam(0.1)
    with jax.checking_leaks():
        jax.jit(lambda g: tx.update(g, tx.init(g)))(jnp.ones(2))


def test_adan_squares_the_magnitude_of_complex_gradients():
    turned = jnp.exp(0.7j).astype(jnp.complex64)
    tx = gk.adan(0.1)
    real, imaginary = jnp.asarray([1.0, -2.0, 0.5]), jnp.complex64(0)
    state, other = tx.init(real[0]), tx.init(imaginary)
    for g in real:
        one, state = tx.update(g, state, jnp.float32(0))
        two, other = tx.update(g.astype(jnp.complex64) * turned, other, imaginary)
        np.testing.assert_allclose(two, np.asarray(one) * np.asarray(turned), rtol=1e-5)


# ---- moving hyperparameters -----------------------------------------------------------------------------------------

MOVING = {
    "scale_by_belief": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4},
    "scale_by_acprop": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4},
    "scale_by_yogi": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4},
    "scale_by_radam": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "threshold": 5.0},
    "scale_by_novograd": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    "scale_by_adan": {"b1": 0.8, "b2": 0.9, "b3": 0.7, "eps": 1e-3},
    "scale_by_adopt": {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "clip_value_fn": 2.0},
    "scale_by_ademamix": {"b1": 0.8, "b2": 0.9, "b3": 0.95, "alpha": 2.0},
    "scale_by_simplified_ademamix": {"b1": 0.8, "b2": 0.9, "alpha": 2.0},
    "scale_by_lion": {"b1": 0.8, "b2": 0.9},
    "scale_by_rprop": {"learning_rate": 0.1, "eta_minus": 0.4, "eta_plus": 1.3},
    "scale_by_trust_ratio": {"min_norm": 0.1, "trust_coefficient": 0.5, "eps": 0.1},
    "scale_by_optimistic_gradient": {"alpha": 0.5, "beta": 2.0},
    "scale_by_polyak": {"f_min": 0.1, "max_learning_rate": 0.5, "eps": 0.1},
    "scale_by_madgrad": {"learning_rate": 0.1, "momentum": 0.8},
    "scale_by_asgd": {"learning_rate": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 1.0},
    "laprop": {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9},
    "mars": {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "gamma": 0.1},
    "grokfast": {"alpha": 0.8, "lamb": 2.0},
    "fromage": {"learning_rate": 0.1},
    "clip_by_block_norm": {"max_norm": 0.5},
    "signum": {"learning_rate": 0.1, "beta": 0.8},
}


@pytest.mark.parametrize("name", MOVING)
def test_a_schedule_that_stands_still_is_the_number(name):
    factory, numbers = getattr(gk, name), MOVING[name]
    grads = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
    start = jnp.asarray([1.0, -0.5, 0.25])

    @jax.jit
    def run(tx):
        def body(carry, g):
            params, state = carry
            updates, state = tx.update(g, state, params, value=0.5)
            return (params + 0.1 * updates, state), updates

        return jax.lax.scan(body, (start, tx.init(start)), grads)[1]

    still = {key: gk.constant_schedule(number) for key, number in numbers.items()}
    np.testing.assert_allclose(run(factory(**still)), run(factory(**numbers)), rtol=2e-5, atol=1e-6)


def test_a_scheduled_decay_is_debiased_exactly():
    # Weights of a constant gradient sum to one whatever the decays are: every debiased direction is its sign.
    moving = gk.piecewise_constant_schedule(0.5, {3: 1.98})
    for tx in (
        gk.scale_by_adan(moving, 0.9, moving),
        gk.scale_by_radam(moving, 0.0),
        gk.laprop(1.0, moving, moving),
    ):
        np.testing.assert_allclose(np.abs(follow(tx, [1.0] * 8)), 1.0, rtol=1e-4)


# ---- what is refused ------------------------------------------------------------------------------------------------

BAD = [
    (lambda: gk.adabelief(0.1, b1=1.0), r"b1: needs a decay in \[0, 1\); got 1.0"),
    (lambda: gk.acprop(-0.1), r"learning_rate: needs a finite number >= 0; got -0.1"),
    (lambda: gk.yogi(0.1, eps=-1.0), r"eps: needs a finite number >= 0; got -1.0"),
    (lambda: gk.radam(0.1, threshold=3.0), r"threshold - 4: needs a finite number >= 0; got -1.0"),
    (lambda: gk.novograd(0.1, weight_decay=-1.0), r"weight_decay: needs a finite number >= 0"),
    (lambda: gk.adan(0.1, b3=1.0), r"b3: needs a decay"),
    (lambda: gk.adopt(0.1, b2=-0.1), r"b2: needs a decay"),
    (lambda: gk.ademamix(0.1, b3=1.0), r"b3: needs a decay"),
    (lambda: gk.ademamix(0.1, alpha=float("nan")), r"alpha: needs a finite number"),
    (lambda: gk.mars(0.1, gamma=-1.0), r"gamma: needs a finite number >= 0"),
    (lambda: gk.mars(0.1, max_norm=0.0), r"max_norm: needs a number > 0"),
    (
        lambda: gk.scale_by_lion(mode="soft"),
        r"mode: needs one of 'hard', 'smooth', 'refined'; got 'soft'",
    ),
    (lambda: gk.rprop(0.0), r"learning_rate: needs a number > 0"),
    (lambda: gk.rprop(0.1, eta_plus=0.9), r"eta_plus - 1: needs"),
    (lambda: gk.rprop(0.1, max_step_size=1e-7), r"needs min_step_size < max_step_size"),
    (lambda: gk.lars(0.1, trust_coefficient=0.0), r"trust_coefficient: needs a number > 0"),
    (lambda: gk.fromage(0.1, -1.0), r"min_norm: needs a finite number >= 0"),
    (
        lambda: gk.noisy_sgd(0.1),
        r"key=None cannot start the noise. Expected a seed or a random key",
    ),
    (lambda: gk.polyak_sgd(variant="sps2"), r"variant: needs one of 'sps', 'sps\+'"),
    (lambda: gk.cautious(0.1), r"inner: needs a transform; got 0.1"),
    (lambda: gk.split_real_and_imaginary(0.1), r"inner: needs a transform; got 0.1"),
    (
        lambda: gk.selective_transform(0.1, freeze_mask=True),
        r"optimizer: needs a transform; got 0.1",
    ),
    (lambda: gk.averages.weighted_sum(0.9, gk.averages.latest()), r"first: needs a transform; got 0.9"),
    (lambda: gk.averages.per_leaf(0.9), r"average: needs a transform; got 0.9"),
]


@pytest.mark.parametrize(("make", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_arguments_are_refused_where_they_enter(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


@pytest.mark.parametrize(
    "tx",
    [
        gk.rprop(0.1),
        gk.adopt(0.1),
        gk.keep_params_nonnegative(),
        gk.scale_by_lion(mode="smooth"),
        gk.averages.additive_ema(0.9),
    ],
    ids=["rprop", "adopt", "keep_params_nonnegative", "smooth lion", "drift"],
)
def test_complex_numbers_are_refused_where_an_order_is_needed(tx):
    z = jnp.ones(2, jnp.complex64)
    with pytest.raises(
        TypeError, match=r"needs real numbers; got complex64\[2\]. Split complex leaves"
    ):
        tx.update(z, tx.init(z), z)
    split = gk.split_real_and_imaginary(tx)
    assert split.update(z, split.init(z), z)[0].dtype == jnp.complex64


@pytest.mark.parametrize(
    "make",
    [
        lambda: gk.lamb(0.1),
        lambda: gk.fromage(0.1),
        lambda: gk.madgrad(0.1),
        lambda: gk.asgd(0.1),
        lambda: gk.keep_params_nonnegative(),
    ],
)
def test_missing_parameters_are_asked_for(make):
    tx, w = make(), jnp.ones(2)
    with pytest.raises(ValueError, match="needs the parameters; got params=None"):
        tx.update(w, tx.init(w))


def test_polyak_asks_for_the_loss():
    tx, w = gk.polyak_sgd(), jnp.ones(2)
    with pytest.raises(TypeError, match="scale_by_polyak: needs the extra argument 'value'"):
        tx.update(w, tx.init(w))


# ---- masks ----------------------------------------------------------------------------------------------------------


def test_lars_masks_may_be_bools_predicates_and_functions():
    params = {"w": jnp.full((2, 2), 2.0), "b": jnp.full((2,), 2.0)}
    grads = jax.tree.map(lambda p: jnp.full_like(p, 0.5), params)
    for mask in (gk.by_rank(2), lambda params: {"w": True, "b": False}, {"w": True, "b": False}):
        updates, _ = gk.lars(1.0, trust_ratio_mask=mask, trust_coefficient=0.1).update(
            grads, gk.lars(1.0, trust_ratio_mask=mask).init(params), params
        )
        np.testing.assert_allclose(updates["w"], -0.2, rtol=1e-6)
        np.testing.assert_allclose(updates["b"], -0.5)
    for mask, wanted in ((True, -0.2), (False, -0.5)):
        tx = gk.lars(
            1.0,
            weight_decay_mask=False,
            weight_decay=9.0,
            trust_ratio_mask=mask,
            trust_coefficient=0.1,
        )
        np.testing.assert_allclose(
            tx.update(grads, tx.init(params), params)[0]["b"], wanted, rtol=1e-6
        )


def test_selective_transform_remembers_the_trained_leaves_alone():
    params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    for mask in ({"a": True, "b": False}, gk.by_path("a"), lambda params: {"a": True, "b": False}):
        tx = gk.selective_transform(gk.sgd(1.0, momentum=0.5), freeze_mask=mask)
        updates, state = tx.update(params, tx.init(params), params)
        assert [leaf.shape for leaf in jax.tree.leaves(state.inner)] == [(2,)]
        assert updates["a"].tolist() == [0, 0, 0]
        assert updates["b"].tolist() == [-1, -1]
    assert gk.selective_transform(gk.sgd(1.0), freeze_mask=True).update(
        params, gk.set_to_zero().init(params)
    )[0]["b"].tolist() == [0, 0]
    assert gk.selective_transform(gk.sgd(1.0), freeze_mask=False).update(
        params, gk.sgd(1.0).init(params)
    )[0]["b"].tolist() == [-1, -1]


def test_asgd_evaluates_the_average_through_a_wrapper():
    tx, w = gk.chain(gk.clip(1.0), gk.asgd(1.0, lambd=0.0, t0=0)), jnp.zeros(1)
    state = tx.init(w)
    for g in (0.5, -0.5, 0.25, 0.25):
        w, state = tx.apply(w, state, jnp.full(1, g))
    np.testing.assert_allclose(gk.eval_params(tx, state, w), np.mean([0.0, -0.25, -0.5]), rtol=1e-6)
