"""sam in its two forms, against optax and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk


def loss(w):
    return jnp.sum(jnp.sqrt(1 + (w["a"] - 3.0) ** 2)) + jnp.sum((w["b"] + 1.0) ** 2)


grad = jax.grad(loss)


def start():
    return {"a": jnp.linspace(-1.0, 1.0, 4), "b": jnp.ones(())}


def pair(**how):
    ours = gk.sam(gk.adam(0.05), gk.chain(gk.normalize(), gk.sgd(0.1, momentum=0.5)), **how)
    theirs = optax.contrib.sam(
        optax.adam(0.05),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.1, momentum=0.5)),
        **how,
    )
    return ours, theirs


@pytest.mark.parametrize(
    "how", [{}, {"sync_period": 3}, {"sync_period": 3, "reset_state": False}], ids=repr
)
@pytest.mark.parametrize("opaque", [False, True])
def test_it_is_optax_sam(how, opaque):
    with jax.enable_x64(True):
        ours, theirs = pair(**how, opaque_mode=opaque)
        extras = {"grad_fn": lambda w, i: grad(w)} if opaque else {}
        w = v = start()
        state, other = ours.init(w), theirs.init(v)

        @jax.jit
        def both(w, state, v, other):
            w, state = ours.apply(w, state, grad(w), **extras)
            with jax.numpy_dtype_promotion("standard"):
                updates, other = theirs.update(grad(v), other, v, **extras)
                return w, state, optax.apply_updates(v, updates), other

        for _ in range(120):
            w, state, v, other = both(w, state, v, other)
            np.testing.assert_allclose(w["a"], v["a"], 1e-10)
        np.testing.assert_allclose(w["b"], v["b"], 1e-10)


def test_both_forms_make_the_same_steps():
    (plain, _), (opaque, _) = pair(sync_period=3), pair(sync_period=3, opaque_mode=True)
    w = v = start()
    state, other = plain.init(w), opaque.init(v)
    for _ in range(4):
        for _ in range(3):
            w, state = plain.apply(w, state, grad(w))
        v, other = opaque.apply(v, other, grad(v), grad_fn=lambda w, i: grad(w))
        np.testing.assert_allclose(w["a"], v["a"], 1e-5)
    assert state.step == 12
    assert state.inner["sam"]["optimizer"].step == 4


def test_evaluation_weights_are_where_the_whole_steps_are():
    tx, _ = pair()
    w, state = start(), tx.init(start())
    np.testing.assert_array_equal(gk.eval_params(tx, state, w)["a"], w["a"])
    uphill, state = tx.apply(w, state, grad(w))
    assert loss(uphill) > loss(w)
    np.testing.assert_array_equal(gk.eval_params(tx, state, uphill)["a"], w["a"])
    down, state = tx.apply(uphill, state, grad(uphill))
    np.testing.assert_array_equal(gk.eval_params(tx, state, down)["a"], down["a"])


def test_evaluation_weights_of_the_inner_optimizer_come_through():
    tx = gk.sam(gk.schedule_free_sgd(0.5), gk.chain(gk.normalize(), gk.sgd(0.1)))
    w, state = start(), tx.init(start())
    for _ in range(5):
        w, state = tx.apply(w, state, grad(w))
    kept = state.inner["sam"]
    z = kept["optimizer"].inner["z"]
    np.testing.assert_allclose(
        gk.eval_params(tx, state, w)["a"],
        (kept["cache"]["a"] - 0.1 * z["a"]) / 0.9,
        1e-5,
    )


@pytest.mark.parametrize("opaque", [False, True])
def test_a_zero_gradient_leads_nowhere_optax_1743(opaque):
    tx = gk.sam(gk.sgd(0.1), gk.chain(gk.normalize(), gk.sgd(0.5)), opaque_mode=opaque)
    w, state = jnp.zeros(3), tx.init(jnp.zeros(3))
    for _ in range(2):
        w, state = tx.apply(w, state, 2 * w, **({"grad_fn": lambda w, i: 2 * w} if opaque else {}))
    np.testing.assert_array_equal(w, np.zeros(3))


def test_a_period_of_one_is_the_optimizer():
    tx = gk.sam(gk.adam(0.1), gk.sgd(0.5), sync_period=1)
    w = v = start()
    state, other = tx.init(w), gk.adam(0.1).init(v)
    for _ in range(3):
        w, state = tx.apply(w, state, grad(w))
        v, other = gk.adam(0.1).apply(v, other, grad(v))
    np.testing.assert_allclose(w["a"], v["a"], 1e-6)


def test_schedules_move_with_whole_steps():
    tx = gk.sam(gk.sgd(gk.linear_schedule(1.0, 0.0, 10)), gk.sgd(gk.linear_schedule(0.0, 1.0, 10)))
    w, state, seen = jnp.zeros(1), tx.init(jnp.zeros(1)), []
    for _ in range(4):
        w, state = tx.apply(w, state, jnp.ones(1))
        seen.append(float(w[0]))
    np.testing.assert_allclose(seen, [0.0, -1.0, -0.9, -1.9], 1e-6)


def test_make_step_needs_no_gradient_function():
    tx, _ = pair(opaque_mode=True)
    expected, _ = tx.apply(start(), tx.init(start()), grad(start()), grad_fn=lambda w, i: grad(w))
    w, _, _ = gk.make_step(loss, tx)(start(), tx.init(start()))
    np.testing.assert_allclose(w["a"], expected["a"], 1e-6)


def test_the_step_number_reaches_the_gradient_function():
    seen = []
    tx = gk.sam(gk.sgd(0.1), gk.sgd(0.1), sync_period=4, opaque_mode=True)
    tx.update(
        jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1), grad_fn=lambda w, i: seen.append(i) or w
    )
    assert seen == [0, 1, 2]


def test_gradients_are_averaged_over_the_mapped_axis():
    tx = gk.sam(gk.sgd(1.0), gk.sgd(0.0), opaque_mode=True, batch_axis_name="batch")
    run = jax.vmap(
        lambda x: tx.update(
            jnp.ones(()), tx.init(jnp.ones(())), jnp.ones(()), grad_fn=lambda w, i: x
        )[0],
        axis_name="batch",
    )
    np.testing.assert_allclose(run(jnp.array([1.0, 2.0, 6.0])), [-3.0] * 3, 1e-6)


def test_the_way_back_is_exact_in_bfloat16():
    tx = gk.sam(gk.sgd(0.0), gk.chain(gk.normalize(), gk.sgd(0.3)))
    w = jnp.linspace(-3.0, 7.0, 50).astype(jnp.bfloat16)
    state = tx.init(w)
    assert state.inner["sam"]["cache"].dtype == jnp.bfloat16
    up, state = tx.apply(w, state, w)
    down, state = tx.apply(up, state, up)
    assert (up != w).any()
    np.testing.assert_array_equal(down.astype(jnp.float32), w.astype(jnp.float32))


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (1.5, TypeError)])
def test_a_bad_period_is_refused(k, error):
    with pytest.raises(error, match=rf"sam: sync_period={k} is (?:out of range|not an integer)\."):
        gk.sam(gk.sgd(0.1), gk.sgd(0.1), sync_period=k)


def test_missing_arguments_are_named():
    tx = gk.sam(gk.sgd(0.1), gk.sgd(0.1), opaque_mode=True)
    with pytest.raises(TypeError, match=r"sam: the extra argument 'grad_fn' is missing"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1))
    with pytest.raises(
        ValueError, match=r"sam: params=None, but this transform needs the parameters"
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), grad_fn=lambda w, i: w)
    with pytest.raises(
        ValueError,
        match=r"sam, .* only leaf: this update is float32\[2\], but its parameter is float32\[1\]",
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1), grad_fn=lambda w, i: jnp.ones(2))
