"""The factored, stored, parameter-free and special optimizers against float64 NumPy written from the papers, and the known bugs of others."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

SHAPES = {"matrix": (4, 3), "vector": (3,), "scalar": ()}
LOSS_LIKE = {
    "value": 1.5,
    "obj_fn": lambda params: sum(
        jnp.sum(leaf**2).astype(jnp.float32) for leaf in jax.tree.leaves(params)
    ),
}

OPTIMIZERS = {
    "adafactor": lambda: gk.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9),
    "adam_mini": lambda: gk.adam_mini(0.1, axis=0),
    "came": lambda: gk.came(0.1),
    "cocob": lambda: gk.cocob(),
    "dadapt_adamw": lambda: gk.dadapt_adamw(),
    "dog": lambda: gk.dog(),
    "dowg": lambda: gk.dowg(),
    "mechanize": lambda: gk.mechanize(gk.sgd(0.1)),
    "momo": lambda: gk.momo(),
    "momo_adam": lambda: gk.momo_adam(),
    "prodigy": lambda: gk.prodigy(),
    "scale_by_distance_over_gradients": lambda: gk.scale_by_distance_over_gradients(),
    "sm3": lambda: gk.sm3(0.1),
    "sophia": lambda: gk.sophia(0.1),
}


def tree_of(seed, dtype=jnp.float32, size=1.0):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(size * rng.normal(size=shape), dtype) for name, shape in SHAPES.items()
    }


def extras(tx):
    return {
        name: value
        for name, value in LOSS_LIKE.items()
        if any(name in link.takes or link.takes_all for link in tx.links)
    }


def run(tx, grads, params):
    """Updates of every step, the parameters following them."""

    @jax.jit
    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        return updates, gk.apply_updates(params, updates), state

    state, seen = tx.init(params), []
    for g in grads:
        updates, params, state = step(params, state, g)
        seen.append(updates)
    return seen


def matrices(steps, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 3)), rng.normal(size=(steps, 4, 3)) * np.exp(
        rng.normal(size=(steps, 1, 1))
    )


# ---- oracles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 7])
def test_adafactor_follows_the_paper_also_with_an_offset(offset):
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = run(
            gk.adafactor(0.1, 2, 0.8, offset), list(map(jnp.asarray, grads)), jnp.asarray(theta)
        )
    rows, columns = np.zeros(4), np.zeros(3)
    for step, (g, update) in enumerate(zip(grads, ours)):
        t = step + 1 if step < offset else step - offset + 1
        beta = 1 - t**-0.8
        rows = beta * rows + (1 - beta) * np.mean(g**2 + 1e-30, 1)
        columns = beta * columns + (1 - beta) * np.mean(g**2 + 1e-30, 0)
        u = g / np.sqrt(np.outer(rows, columns) / rows.mean())
        u /= max(1.0, np.sqrt(np.mean(u**2)))
        expected = -0.1 * max(1e-3, np.sqrt(np.mean(theta**2))) * u
        np.testing.assert_allclose(update, expected, 1e-11)
        theta = theta + expected


def test_adafactor_with_a_decay_offset_is_finite():
    # optax raises a negative number to a power: NaN (#1791)
    seen = run(gk.adafactor(0.1, decay_offset=5), [jnp.ones(3)] * 8, jnp.ones(3))
    assert np.isfinite(np.stack(seen)).all()


def test_the_offset_starts_the_schedule_over_where_a_clock_goes_on():
    beta = gk.schedules.adafactor_decay_schedule(0.8, 100)
    fresh = gk.schedules.adafactor_decay_schedule(0.8)
    np.testing.assert_array_equal(beta(jnp.arange(100, 130)), fresh(jnp.arange(30)))


def test_sm3_follows_the_paper_s_second_algorithm():
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = run(gk.sm3(0.1, momentum=0.5), list(map(jnp.asarray, grads)), jnp.asarray(theta))
    rows, columns, m = np.zeros(4), np.zeros(3), 0.0
    for g, update in zip(grads, ours):
        nu = np.minimum(rows[:, None], columns) + g**2
        rows, columns = nu.max(1), nu.max(0)
        m = 0.5 * m + 0.5 * g / np.sqrt(nu + 1e-8)
        np.testing.assert_allclose(update, -0.1 * m, 1e-12)


def test_sm3_takes_scalars_and_is_adagrad_there():
    # optax: IndexError (#1736)
    sm3, adagrad = gk.sm3(0.1, momentum=0.0), gk.adagrad(0.1, 0.0, 1e-8)
    for w in (jnp.float32(1.0), jnp.ones(3)):
        a, b = (run(tx, [w, 2 * w, -w], w) for tx in (sm3, adagrad))
        np.testing.assert_allclose(np.stack(a), np.stack(b), 1e-6)


def test_a_cover_is_never_below_what_it_keeps():
    for shape in ((), (3,), (4, 3), (2, 3, 4), (0, 3)):
        x = jnp.abs(jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32))
        store = gk.stores.sm3_cover()
        assert (store.decode(store.encode(x), x) >= x).all()


def test_a_factored_store_keeps_the_means_of_rows_and_columns():
    x = jnp.asarray(np.random.default_rng(1).random(size=(2, 5, 3)), jnp.float32)
    store = gk.stores.factored(3)
    back = store.decode(store.encode(x), x)
    for axis in (1, 2):
        np.testing.assert_allclose(back.mean(axis), x.mean(axis), 1e-6)
    assert sum(leaf.size for leaf in jax.tree.leaves(store.encode(x))) == 2 * (5 + 3)


def test_a_factored_store_does_not_underflow_on_small_squares():
    g = jnp.full((2, 2), 1e-12, jnp.float32)
    tx = gk.scale_by_factored_rms(min_dim_size_to_factor=2, epsilon=0.0)
    np.testing.assert_allclose(tx.update(g, tx.init(g))[0], 1.0, 1e-5)


def test_adam_mini_is_adam_with_the_mean_square_of_a_block():
    theta, grads = matrices(20)
    for axis, over in ((None, (0, 1)), (0, (0,)), (-1, (1,))):
        with jax.enable_x64(True):
            ours = run(
                gk.adam_mini(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1, axis=axis),
                list(map(jnp.asarray, grads)),
                jnp.asarray(theta),
            )
        w, m, v = theta, 0.0, 0.0
        for t, (g, update) in enumerate(zip(grads, ours), 1):
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * np.mean(g**2, over, keepdims=True)
            expected = -0.1 * (m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3) + 0.1 * w)
            np.testing.assert_allclose(update, expected, 1e-11)
            w = w + expected


def test_adam_mini_keeps_one_number_per_block():
    state = gk.adam_mini(0.1, axis=0).init({"kernel": jnp.zeros((4, 3)), "bias": jnp.zeros(3)})
    kept = state.inner["scale_by_adam_mini"]["preconditioner"]["average"]
    assert {name: leaf.size for name, leaf in kept.items()} == {"kernel": 3, "bias": 1}


def test_came_follows_the_paper():
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = run(
            gk.came(0.1, 0.8, 0.9, 0.95, 1e-20, 1e-10, 0.7, 0.1),
            list(map(jnp.asarray, grads)),
            jnp.asarray(theta),
        )
    r, c, rr, cc, m = np.zeros(4), np.zeros(3), np.zeros(4), np.zeros(3), 0.0
    for g, update in zip(grads, ours):
        r, c = 0.9 * r + 0.1 * np.mean(g**2 + 1e-20, 1), 0.9 * c + 0.1 * np.mean(g**2 + 1e-20, 0)
        u = g / np.sqrt(np.outer(r, c) / r.mean())
        u /= max(1.0, np.sqrt(np.mean(u**2)) / 0.7)
        m = 0.8 * m + 0.2 * u
        apart = (u - m) ** 2 + 1e-10
        rr, cc = 0.95 * rr + 0.05 * apart.mean(1), 0.95 * cc + 0.05 * apart.mean(0)
        expected = -0.1 * (m / np.sqrt(np.outer(rr, cc) / rr.mean()) + 0.1 * theta)
        np.testing.assert_allclose(update, expected, 1e-10)
        theta = theta + expected


def test_dog_measures_the_distance_from_the_start():
    theta, grads = matrices(20)
    with jax.enable_x64(True):
        ours = run(
            gk.dog(0.5, ("heuristic", 0.01), 1e-8),
            list(map(jnp.asarray, grads)),
            jnp.asarray(theta),
        )
    start, farthest, squares = theta, 0.01 * (1 + np.linalg.norm(theta)), 0.0
    for g, update in zip(grads, ours):
        farthest = max(farthest, np.linalg.norm(theta - start))
        squares += np.sum(g**2)
        np.testing.assert_allclose(update, -0.5 * farthest / np.sqrt(squares + 1e-8) * g, 1e-11)
        theta = theta + np.asarray(update)


@pytest.mark.parametrize("make", [gk.dog, gk.dowg])
def test_distance_methods_are_called_in_optax_s_order_and_take_no_root_of_a_negative(make):
    contrib = pytest.importorskip("optax").contrib
    assert list(inspect.signature(make).parameters) == list(
        inspect.signature(getattr(contrib, make.__name__)).parameters
    )
    w = jnp.array([1.0, -2.0])
    seen = run(
        make(), [jnp.array([0.0, 0.0]), jnp.array([1e-20, 0.0]), jnp.array([3.0, -4.0])] * 3, w
    )
    assert np.isfinite(np.stack(seen)).all()


@pytest.mark.parametrize("name", ["scale_by_dog", "scale_by_dowg"])
def test_what_would_be_the_root_of_a_negative_is_refused(name):
    with pytest.raises((TypeError, ValueError), match=f"{name}.*(init_step|init_estim_sq_dist)"):
        getattr(gk, name)(-1e-6)


@pytest.mark.parametrize("make", [gk.momo, gk.momo_adam])
@pytest.mark.parametrize("value", [2.5, 2, np.float64(2.5), jnp.bfloat16(2.5)])
def test_momo_takes_any_number_for_a_loss(make, value):
    # optax crashed on a Python float (#1500)
    tx, w = make(), jnp.ones(2)
    updates, state = tx.update(jnp.ones(2), tx.init(w), w, value=value)
    assert updates.dtype == jnp.float32
    assert np.isfinite(updates).all()
    with pytest.raises(TypeError, match=f"{make.__name__}.*: needs the extra argument 'value'"):
        tx.update(jnp.ones(2), state, w)
    with pytest.raises(TypeError, match=f"{make.__name__}.*: value=None is not a loss"):
        tx.update(jnp.ones(2), state, w, value=None)


# ---- contracts of all ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_kept_and_finite_also_on_zero_gradients(name, dtype):
    tx, params = OPTIMIZERS[name](), tree_of(0, dtype)
    more = extras(tx)
    state = tx.init(params)
    before = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    step = jax.jit(lambda p, s, g: tx.update(g, s, p, **more))
    for grads in (
        jax.tree.map(jnp.zeros_like, params),
        tree_of(1, dtype),
        tree_of(2, dtype, 100.0),
    ):
        updates, state = step(params, state, grads)
        assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
        assert all(
            np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in jax.tree.leaves(updates)
        )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == before
    assert all(leaf.dtype != dtype for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_donating_step_may_own_parameters_and_state(name):
    step = gk.make_step(
        lambda params: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)), OPTIMIZERS[name]()
    )
    params = tree_of(0)
    params, state, _ = step(params, step.tx.init(params))
    _, state, later = step(params, state)
    assert np.isfinite(later)
    assert state.step == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_comes_from_shapes_alone(name):
    tx, params = OPTIMIZERS[name](), tree_of(0)
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    describe = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert (
        describe(tx.init(shapes))
        == describe(tx.init(params))
        == describe(jax.eval_shape(tx.init, params))
    )


@pytest.mark.parametrize(
    "name", ["cocob", "dadapt_adamw", "mechanize", "momo", "momo_adam", "prodigy", "sophia"]
)
def test_complex_leaves_are_refused_where_signs_and_inner_products_count(name):
    tx, w = OPTIMIZERS[name](), jnp.ones(2, jnp.complex64)
    with pytest.raises(TypeError, match=r"needs real numbers; got complex64\[2\]"):
        tx.update(w, tx.init(w), w, **extras(tx))


@pytest.mark.parametrize(
    "name",
    ["adafactor", "adam_mini", "came", "dog", "dowg", "scale_by_distance_over_gradients", "sm3"],
)
def test_complex_leaves_are_divided_by_their_size(name):
    # turning every gradient by a right angle turns every update
    tx, grads = OPTIMIZERS[name](), tree_of(1)
    turned = jax.tree.map(lambda g: g.astype(jnp.complex64) * 1j, grads)

    def first(grads):
        zeros = jax.tree.map(jnp.zeros_like, grads)
        return jax.tree.leaves(tx.update(grads, tx.init(zeros), zeros)[0])

    for a, b in zip(first(turned), first(grads)):
        assert a.dtype == jnp.complex64
        np.testing.assert_allclose(a, b.astype(jnp.complex64) * 1j, 1e-5, 1e-9)


def test_weights_loaded_after_init_are_where_training_begins():
    tx, w = gk.dog(init_step=("distance", 1.0)), jnp.array([3.0, 4.0])
    updates, _ = tx.update(w, tx.init(jnp.zeros(2)), w)
    np.testing.assert_allclose(updates, -w / 5, 1e-6)


def test_one_compiled_step_serves_every_hyperparameter():
    step = gk.make_step(lambda w: jnp.sum(w**2), gk.sm3(0.1, 0.5))
    w, state, _ = step(jnp.ones((2, 2)), step.tx.init(jnp.ones((2, 2))))
    w, state, _ = step.replace(learning_rate=0.2)(w, state)
    assert step._run._cache_size() == 1


# ---- sophia ---------------------------------------------------------------------------------------------------------


def test_hutchinson_is_exact_for_a_diagonal_hessian_and_unbiased_else():
    w, a = jnp.zeros(3), jnp.array([[2.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 6.0]])
    tx = gk.hutchinson_estimator_diag_hessian(1)
    state, seen = tx.init(w), []
    step = jax.jit(lambda state: tx.update(w, state, w, value_fn=lambda w: w @ a @ w / 2))
    for _ in range(400):
        estimate, state = step(state)
        seen.append(np.asarray(estimate))
    assert np.abs(np.mean(seen, 0) - np.diag(a)).max() < 5 * 2 / 400**0.5
    with pytest.raises(
        TypeError,
        match="hutchinson_estimator_diag_hessian: obj_fn is missing. Expected the loss as a function of params",
    ):
        tx.update(w, state, w)


def test_sophia_prints_its_win_rate(capfd):
    tx, w = gk.sophia(0.1, gamma=1.0, verbose=True, print_win_rate_every_n_steps=2), jnp.ones(4)
    state = tx.init(w)
    for _ in range(4):
        _, state = tx.update(jnp.ones(4), state, w, obj_fn=lambda w: 1e3 * jnp.sum(w**2))
    jax.effects_barrier()
    assert capfd.readouterr().out.count("sophia: 1.0 of the elements are not clipped") == 2


# ---- privacy --------------------------------------------------------------------------------------------------------


def per_example(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(6, *shape)) for name, shape in SHAPES.items()}


def test_every_example_is_clipped_by_its_own_joint_norm():
    grads = per_example()
    norms = np.sqrt(sum(np.sum(g.reshape(6, -1) ** 2, 1) for g in grads.values()))
    with jax.enable_x64(True):
        total, clipped = gk.per_example_global_norm_clip(jax.tree.map(jnp.asarray, grads), 3.5)
    factors = np.minimum(1, 3.5 / norms)
    assert 0 < int(clipped) == np.sum(norms > 3.5) < 6
    for name, g in grads.items():
        np.testing.assert_allclose(total[name], np.tensordot(factors, g, 1), 1e-12)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("bound", [0.0, 1.5, float("inf")])
def test_per_example_clips_are_optax_s(uniform, bound):
    optax = pytest.importorskip("optax")
    grads = {**per_example(), "silent": np.zeros((6, 2))}
    with jax.enable_x64(True):
        grads = jax.tree.map(jnp.asarray, grads)
        ours = (
            gk.per_example_global_norm_clip(grads, bound),
            gk.per_example_layer_norm_clip(grads, bound, uniform),
        )
        with jax.numpy_dtype_promotion("standard"):
            theirs = (
                optax.per_example_global_norm_clip(grads, bound),
                optax.per_example_layer_norm_clip(grads, bound, uniform),
            )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-15), ours, theirs)


def test_dpsgd_is_optax_s_noise_included():
    contrib = pytest.importorskip("optax").contrib
    with jax.enable_x64(True):
        grads, w = (
            jax.tree.map(jnp.asarray, per_example()),
            jax.tree.map(lambda g: jnp.asarray(g[0]), per_example()),
        )
        ours = gk.dpsgd(0.1, 1.5, 0.7, 3, momentum=0.9, nesterov=True)
        with pytest.warns(DeprecationWarning, match="seed"):
            theirs = contrib.dpsgd(0.1, 1.5, 0.7, 3, momentum=0.9, nesterov=True)
        state, other = ours.init(w), theirs.init(w)
        for _ in range(3):
            a, state = ours.update(grads, state)
            with jax.numpy_dtype_promotion("standard"):
                b, other = theirs.update(grads, other)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12), a, b)


def test_the_noise_has_the_deviation_that_was_asked_for():
    tx = gk.differentially_private_aggregate(2.0, 3.0, key=jax.random.key(1))
    updates, state = tx.update(jnp.zeros((4, 20_000)), tx.init(jnp.zeros(20_000)))
    assert abs(float(jnp.std(updates)) - 2.0 * 3.0 / 4) < 0.03
    assert not np.array_equal(tx.update(jnp.zeros((4, 20_000)), state)[0], updates)


# ---- bad input ------------------------------------------------------------------------------------------------------

DECAY, AT_LEAST_0, ABOVE_0 = (
    r"needs a decay in \[0, 1\)",
    r"needs a finite number >= 0",
    r"needs a number > 0",
)
BAD = {
    "adafactor rate": (
        lambda: gk.adafactor(-0.1),
        f"adafactor.*learning_rate: {AT_LEAST_0}; got -0.1",
    ),
    "adafactor threshold": (
        lambda: gk.adafactor(clipping_threshold=0.0),
        f"adafactor.*threshold: {ABOVE_0}",
    ),
    "adafactor momentum": (lambda: gk.adafactor(momentum=1.0), f"adafactor.*decay: {DECAY}"),
    "adafactor decay": (
        lambda: gk.adafactor(decay_rate=-0.8),
        f"adafactor.*decay_rate: {AT_LEAST_0}",
    ),
    "adafactor offset": (
        lambda: gk.adafactor(decay_offset=-1),
        r"adafactor.*step_offset=-1 is out of range",
    ),
    "adafactor least": (
        lambda: gk.adafactor(min_dim_size_to_factor=1.5),
        "adafactor.*min_dim_size_to_factor: needs a whole number",
    ),
    "adafactor eps": (lambda: gk.adafactor(eps=-1.0), f"adafactor.*epsilon: {AT_LEAST_0}"),
    "through": (lambda: gk.averages.compressed(gk.averages.latest(), 3), "compressed: store=3 is not a Store"),
    "sm3": (
        lambda: gk.scale_by_sm3(b2=1.5),
        r"scale_by_sm3, b2: needs a number in \[0, 1\]; got 1.5",
    ),
    "adam_mini": (lambda: gk.adam_mini(0.1, axis="rows"), "adam_mini.*axis='rows' is not an axis"),
    "came": (lambda: gk.came(0.1, b3=1.0), f"came.*b3: {DECAY}"),
    "cocob": (lambda: gk.cocob(alpha=0.0), f"cocob.*alpha: {ABOVE_0}"),
    "dog word": (
        lambda: gk.dog(init_step=("far", 1.0)),
        "dog.*init_step: needs one of 'distance', 'heuristic', 'learning_rate'; got 'far'",
    ),
    "dog pair": (
        lambda: gk.dog(init_step=1e-6),
        "dog.*init_step=1e-06 is not a pair. Expected a word and a number",
    ),
    "dowg": (lambda: gk.dowg(eps=0.0), f"dowg.*eps: {ABOVE_0}"),
    "distance": (
        lambda: gk.scale_by_distance_over_gradients(param_dtype="int8"),
        "param_dtype=int8 cannot store parameters. Expected a floating dtype",
    ),
    "betas": (lambda: gk.prodigy(betas=(0.9, 1.0)), rf"prodigy, betas\[1\]: {DECAY}; got 1.0"),
    "betas pair": (
        lambda: gk.dadapt_adamw(betas=0.9),
        "dadapt_adamw: betas=0.9 is not a pair. Expected a pair of decays.",
    ),
    "betas schedule": (
        lambda: gk.prodigy(betas=(0.9, gk.constant_schedule(0.999))),
        r"prodigy: betas=\(0.9, constant_schedule\(0.999\)\) contains a schedule.",
    ),
    "prodigy": (lambda: gk.prodigy(estim_lr0=0.0), f"prodigy, estim_lr0: {ABOVE_0}"),
    "mechanize": (
        lambda: gk.mechanize(0.1),
        "mechanize, base_optimizer: needs a transform; got 0.1",
    ),
    "momo": (lambda: gk.momo(beta=1.0), f"momo, beta: {DECAY}"),
    "momo_adam": (
        lambda: gk.momo_adam(lower_bound=float("inf")),
        "momo_adam, lower_bound: needs a finite number",
    ),
    "sophia": (
        lambda: gk.sophia(0.1, update_interval=0),
        "sophia.*update_interval: needs a whole number >= 1",
    ),
    "sophia estimator": (
        lambda: gk.sophia(0.1, hessian_diagonal_fn=None),
        "sophia.*hessian_diagonal_fn=None is not a transform",
    ),
    "dpsgd": (lambda: gk.dpsgd(0.1, -1.0, 1.0, 0), f"dpsgd.*l2_norm_clip: {AT_LEAST_0}"),
    "key": (
        lambda: gk.differentially_private_aggregate(1.0, 1.0, None),
        "differentially_private_aggregate: key is None",
    ),
    "ragged": (
        lambda: gk.per_example_global_norm_clip(
            {"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))}, 1.0
        ),
        r"per_example_global_norm_clip, b: float32\[3, 3\] has another leading axis. Expected .* of 2\.",
    ),
    "scalar": (
        lambda: gk.per_example_layer_norm_clip(jnp.ones(()), 1.0),
        r"per_example_layer_norm_clip, the tree's only leaf: float32\[\] has another leading axis",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_in_words(case):
    make, message = BAD[case]
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n not in ("sm3", "adam_mini", "came")])
def test_parameters_are_asked_for(name):
    tx = OPTIMIZERS[name]()
    with pytest.raises(ValueError, match="needs the parameters; got params=None"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), **extras(tx))


# ---- torch ----------------------------------------------------------------------------------------------------------


def test_adafactor_is_torch_s_where_the_definitions_agree():
    torch = pytest.importorskip("torch")
    theta, grads = matrices(50)
    # torch's rate is min(α, 1/√t) · max(ε₂, rms θ): α below 1/√50 takes the minimum out; eps=(None, ...) is the ε added to g².
    tensor = torch.tensor(theta, requires_grad=True)
    optimizer = torch.optim.Adafactor([tensor], lr=0.01, eps=(1e-30, 1e-3), weight_decay=0.0)
    with jax.enable_x64(True):
        ours = run(gk.adafactor(0.01, 2), list(map(jnp.asarray, grads)), jnp.asarray(theta))
    w = theta
    for g, update in zip(grads, ours):
        w = w + np.asarray(update)
        tensor.grad = torch.tensor(g)
        optimizer.step()
        np.testing.assert_allclose(tensor.detach().numpy(), w, 1e-10)
