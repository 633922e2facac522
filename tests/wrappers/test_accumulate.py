"""MultiSteps and apply_every: k micro-batches are one batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from tests.cases import tree_of


def feed(tx, params, grads, apply=True):
    """The parameters and the state after all gradients, one compiled step."""

    @jax.jit
    def step(params, state, g):
        if apply:
            return tx.apply(params, state, g)
        updates, state = tx.update(g, state, params)
        return gk.apply_updates(params, updates), state

    state = tx.init(params)
    for g in grads:
        params, state = step(params, state, g)
    return params, state


def assert_close(one, other, rtol=1e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), rtol, rtol)


def mean(trees):
    return jax.tree.map(lambda *leaves: sum(leaves[1:], start=leaves[0]) / len(leaves), *trees)


@pytest.mark.parametrize("use_grad_mean", [True, False])
def test_k_micro_batches_are_one_large_batch_clip_inside_gpt_jax_2(use_grad_mean):
    with jax.enable_x64(True):
        inner = gk.chain(gk.clip_by_global_norm(0.5), gk.adamw(0.1, weight_decay=0.1))
        grads = [tree_of(i, jnp.float64) for i in range(12)]
        large = [mean(grads[i : i + 4]) for i in range(0, 12, 4)]
        large = large if use_grad_mean else [jax.tree.map(lambda g: 4 * g, g) for g in large]
        params = tree_of(99, jnp.float64)
        small, state = feed(gk.MultiSteps(inner, 4, use_grad_mean), params, grads)
        assert_close(small, feed(inner, params, large)[0], 1e-12)
        assert state.step == 12
        assert state.inner["MultiSteps"]["opt"].step == 3


def test_it_is_optax_multisteps():
    with jax.enable_x64(True):
        params, grads = tree_of(99, jnp.float64), [tree_of(i, jnp.float64) for i in range(100)]
        ours, _ = feed(gk.MultiSteps(gk.adam(0.1), 3), params, grads, apply=False)
        theirs = optax.MultiSteps(
            optax.adam(0.1), 3, accumulator_dtype=jnp.float64
        )  # float32 by default, also for float64
        state, expected = theirs.init(params), params
        with jax.numpy_dtype_promotion("standard"):
            step = jax.jit(theirs.update)
            for g in grads:
                updates, state = step(g, state, expected)
                expected = optax.apply_updates(expected, updates)
        assert_close(ours, expected, 1e-10)


def test_k_follows_a_schedule_of_the_inner_step():
    tx = gk.MultiSteps(gk.sgd(1.0), lambda step: jnp.where(step < 2, 1, 3))
    state, seen = tx.init(jnp.zeros(1)), []
    for g in range(1, 9):
        updates, state = tx.update(jnp.full(1, float(g)), state)
        seen.append(float(updates[0]))
        assert gk.has_updated(state) == (g in (1, 2, 5, 8))
    assert seen == [-1.0, -2.0, 0.0, 0.0, -4.0, 0.0, 0.0, -7.0]


def test_apply_is_update_then_apply_updates():
    params, grads = tree_of(9), [tree_of(i) for i in range(7)]
    tx = gk.MultiSteps(gk.adamw(0.1), 3)
    (one, state), (other, same) = feed(tx, params, grads), feed(tx, params, grads, apply=False)
    assert_close(one, other, 1e-5)
    assert_close(state, same, 1e-5)


def test_a_schedule_inside_moves_with_the_inner_step():
    tx = gk.MultiSteps(gk.sgd(gk.linear_schedule(1.0, 0.0, 10)), 2)
    state, seen = tx.init(jnp.zeros(1)), []
    for _ in range(6):
        updates, state = tx.update(jnp.ones(1), state)
        seen.append(float(updates[0]))
    np.testing.assert_allclose(seen, [0, -1.0, 0, -0.9, 0, -0.8], 1e-6)


@pytest.mark.parametrize("apply", [True, False])
def test_a_nan_micro_gradient_spoils_its_own_step_and_no_other_bug_25(apply):
    tx, w = gk.MultiSteps(gk.apply_if_finite(gk.sgd(1.0), 5), 2), jnp.zeros(1)
    w, state = feed(tx, w, [jnp.full(1, g) for g in (1.0, jnp.nan, 1.0, 3.0)], apply)
    assert w[0] == -2.0
    inner = state.inner["MultiSteps"]["opt"].inner
    assert inner["skipped"] == 1


@pytest.mark.parametrize("around", [lambda tx: tx, gk.guard], ids=["bare", "guarded"])
def test_what_a_nan_leaves_inside_is_up_to_the_inner_transform(around):
    w, state = feed(
        gk.MultiSteps(around(gk.adam(0.1)), 2),
        jnp.zeros(1),
        [jnp.full(1, g) for g in (1.0, jnp.nan, 1.0, 3.0)],
    )
    assert jnp.isfinite(state.inner["MultiSteps"]["accumulated"]).all()
    assert jnp.isfinite(w[0]) == (around is gk.guard)


def test_skipped_micro_gradients_are_as_if_they_had_not_been():
    bad = [jnp.full(2, g) for g in (1.0, jnp.inf, 3.0, jnp.nan, 5.0, 7.0)]
    good = [jnp.full(2, g) for g in (1.0, 3.0, 5.0, 7.0)]
    tx = gk.MultiSteps(gk.adam(0.1), 2, should_skip_update_fn=gk.skip_not_finite)
    w, state = feed(tx, jnp.zeros(2), bad)
    assert_close(w, feed(gk.MultiSteps(gk.adam(0.1), 2), jnp.zeros(2), good)[0])
    assert not state.inner["MultiSteps"]["skip_state"]["should_skip"]


def test_large_micro_gradients_are_skipped():
    skip = partial(gk.skip_large_updates, max_squared_norm=10.0)
    w, state = feed(
        gk.MultiSteps(gk.sgd(1.0), 2, should_skip_update_fn=skip),
        jnp.zeros(1),
        [jnp.full(1, g) for g in (1.0, 100.0, 2.0, jnp.nan)],
    )
    assert w[0] == -1.5
    assert state.inner["MultiSteps"]["skip_state"]["should_skip"]


@pytest.mark.parametrize(
    "yes",
    [True, np.True_, np.array(True), jnp.array(True)],
    ids=["Python", "NumPy", "array", "JAX"],
)
@pytest.mark.parametrize("jitted", [True, False])
def test_a_skip_function_may_return_any_bool(yes, jitted):
    def skip(updates, step, params):
        return yes, {"because": yes, "times": 1}

    tx, w = gk.MultiSteps(gk.sgd(1.0), 1, should_skip_update_fn=skip), jnp.zeros(1)
    state = tx.init(w)
    updates, after = (jax.jit(tx.update) if jitted else tx.update)(jnp.ones(1), state, w)
    assert updates[0] == 0.0
    assert not gk.has_updated(after)
    types = [jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), s) for s in (state, after)]
    assert types[0] == types[1]


LOSSES = [3.0, 5.0, 1.0, 2.0, 4.0, 1.5]


@pytest.mark.parametrize("use_grad_mean", [True, False])
@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize(
    "inner",
    [
        gk.momo(0.1),
        gk.polyak_sgd(),
        gk.chain(gk.sgd(0.1), gk.reduce_on_plateau(0.5, patience=1)),
        gk.guard(gk.sgd(0.1), max_value=3.0),
        gk.guard(gk.chain(gk.clip(9.0), gk.momo(0.1))),
        optax.polyak_sgd(),
    ],
    ids=["momo", "polyak_sgd", "plateau", "guard", "nested", "optax"],
)
def test_losses_of_k_micro_batches_are_that_of_one_large_batch(inner, apply, use_grad_mean):
    def run(tx, grads, losses):
        w, state = jnp.ones(2), tx.init(jnp.ones(2))

        @jax.jit
        def step(w, state, g, value):
            if apply:
                return tx.apply(w, state, g, value=value)
            updates, state = tx.update(g, state, w, value=value)
            return gk.apply_updates(w, updates), state

        for g, value in zip(grads, losses, strict=True):
            w, state = step(w, state, jnp.array(g), jnp.float32(value))
        return w

    grads = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    how = np.mean if use_grad_mean else np.sum
    with jax.numpy_dtype_promotion(
        "standard" if isinstance(inner, optax.GradientTransformation) else "strict"
    ):
        small = run(gk.MultiSteps(inner, 2, use_grad_mean), grads, LOSSES)
        large = run(
            gk.chain(inner), how(grads.reshape(3, 2, 2), 1), how(np.reshape(LOSSES, (3, 2)), 1)
        )
    np.testing.assert_allclose(small, large, 1e-5)


def test_the_loss_of_a_skipped_micro_batch_does_not_count():
    tx = gk.MultiSteps(
        gk.guard(gk.sgd(1.0), max_value=2.0), 2, should_skip_update_fn=gk.skip_not_finite
    )
    w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
    for g, value in ((1.0, 1.0), (np.nan, np.nan), (3.0, 2.0)):
        w, state = tx.apply(w, state, jnp.full(1, g), value=jnp.float32(value))
    assert w[0] == -2.0
    assert state.inner["MultiSteps"]["value"] == 3.0


def test_a_loss_is_kept_only_where_it_is_asked_for():
    def keeps(inner):
        return "value" in gk.MultiSteps(inner, 2).init(jnp.zeros(1)).inner["MultiSteps"]

    assert keeps(gk.momo(0.1))
    assert keeps(gk.guard(gk.sgd(0.1), value_sigma=3.0))
    assert not keeps(gk.adam(0.1))
    assert not keeps(gk.guard(gk.sgd(0.1), norm_sigma=3.0))


def test_the_inner_state_may_hold_bools_optax_828():
    @gk.transform
    def flips():
        return gk.Rule(
            lambda params: {"on": jnp.zeros((), bool)},
            lambda updates, state, params: (updates, {"on": ~state["on"]}),
        )

    tx = gk.MultiSteps(gk.chain(flips(), gk.sgd(1.0)), 2)
    _, state = feed(tx, jnp.zeros(1), [jnp.ones(1)] * 6)
    assert state.inner["MultiSteps"]["opt"].inner["flips"]["on"].dtype == bool
    assert state.inner["MultiSteps"]["opt"].inner["flips"]["on"]


@pytest.mark.parametrize("kinds", [("bfloat16", "float32"), ("float16", "bfloat16")], ids=str)
def test_dtypes_may_be_mixed_optax_377_1038(kinds):
    params = {kind: jnp.ones(3, kind) for kind in kinds}
    tx = gk.MultiSteps(gk.adam(0.1), 2)
    moved, state = feed(tx, params, [params] * 4)
    assert {kind: leaf.dtype.name for kind, leaf in moved.items()} == {kind: kind for kind in kinds}
    assert {leaf.dtype.name for leaf in state.inner["MultiSteps"]["accumulated"].values()} == {
        "float32"
    }


def test_bfloat16_gradients_are_summed_in_float32_optax_1567():
    tx = gk.MultiSteps(gk.sgd(1.0), 512, use_grad_mean=False)
    step = jax.jit(tx.update)
    state = tx.init(jnp.zeros(1))
    for _ in range(512):
        updates, state = step(jnp.ones(1, jnp.bfloat16), state, jnp.zeros(1))
    assert updates[0] == -512.0  # summed in bfloat16 it stops at 256


@pytest.mark.parametrize("apply", [True, False])
def test_types_stand_from_init_on(apply):
    tx = gk.MultiSteps(
        gk.chain(gk.adam(0.1), gk.weight_ema(0.9)), 2, should_skip_update_fn=gk.skip_not_finite
    )
    params = tree_of(0, jnp.bfloat16)
    _, state = feed(tx, params, [tree_of(1, jnp.bfloat16)], apply)
    kinds = [
        jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), s) for s in (tx.init(params), state)
    ]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("apply", [True, False])
def test_derivatives_reach_the_rate_inside(apply):
    grads = [jnp.full(2, g) for g in (1.0, -2.0, 3.0, 4.0)]

    def last(rate):
        tx = gk.MultiSteps(gk.sgd(rate, momentum=0.5), 2)
        w, state = jnp.ones(2), tx.init(jnp.ones(2))
        for g in grads:
            if apply:
                w, state = tx.apply(w, state, g * w)
            else:
                updates, state = tx.update(g * w, state, w)
                w = w + updates
        return jnp.sum(w**2)

    with jax.enable_x64(True):
        np.testing.assert_allclose(
            jax.grad(last)(0.1), (last(0.1 + 1e-6) - last(0.1 - 1e-6)) / 2e-6, 1e-6
        )


@pytest.mark.parametrize("k", [2, 2.0])
def test_apply_every_counts_for_itself(k):
    state = gk.apply_every(k).init(jnp.zeros(1))
    state = state._replace(step=jnp.int32(7))  # as a wrapper's clock may stand
    seen = []
    for g in (1.0, 2.0, 3.0, 4.0, 5.0):
        updates, state = gk.apply_every(k).update(jnp.full(1, g), state)
        seen.append(float(updates[0]))
    assert seen == [0, 3.0, 0, 7.0, 0]
    assert state.inner["apply_every"]["position"].dtype == jnp.int32


def bad_last(step_of):
    """Whether it says updated, after each of two good micro-gradients and a bad one."""
    w = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    state, said = step_of.init(w), []
    for g in (1.0, 1.0, np.nan):
        _, state = jax.jit(step_of.update)({"a": jnp.full(1, g), "b": jnp.full(1, g)}, state, w)
        said.append(bool(gk.has_updated(state)))
    return said


SKIPS = gk.MultiSteps(gk.sgd(1.0), 2, should_skip_update_fn=gk.skip_not_finite)


@pytest.mark.parametrize(
    "tx",
    [
        SKIPS,
        gk.chain(gk.clip(9.0), SKIPS),
        gk.named_chain(("first", gk.clip(9.0)), ("second", gk.chain(SKIPS, gk.scale(1.0)))),
        gk.guard(gk.MultiSteps(gk.sgd(1.0), 2)),
        gk.apply_if_finite(SKIPS, 2),
        gk.masked(SKIPS, {"a": True, "b": False}),
        gk.partition({"x": SKIPS, "y": gk.sgd(1.0)}, {"a": "x", "b": "y"}),
        gk.MultiSteps(gk.MultiSteps(gk.sgd(1.0), 2), 2, should_skip_update_fn=gk.skip_not_finite),
        optax.chain(optax.clip(9.0), SKIPS),
    ],
    ids=[
        "alone",
        "chain",
        "named_chain",
        "guard",
        "apply_if_finite",
        "masked",
        "partition",
        "nested",
        "optax",
    ],
)
def test_has_updated_is_of_the_last_call_wherever_it_stands(tx):
    with jax.numpy_dtype_promotion(
        "standard" if isinstance(tx, optax.GradientTransformation) else "strict"
    ):
        assert bad_last(tx) == [False, True, False]


def test_apply_every_lets_sums_through_and_is_optax():
    with jax.enable_x64(True):
        ours, theirs = gk.apply_every(3), optax.apply_every(3)
        state, other = ours.init(jnp.zeros(2)), theirs.init(jnp.zeros(2))
        for i in range(10):
            g = jnp.array([1.0, -0.5]) * (i + 1)
            updates, state = ours.update(g, state)
            with jax.numpy_dtype_promotion("standard"):
                expected, other = theirs.update(g, other)
            np.testing.assert_allclose(updates, expected, 1e-12)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: gk.MultiSteps(gk.sgd(0.1), 0),
            ValueError,
            r"MultiSteps: every_k_schedule=0 is out of range",
        ),
        (
            lambda: gk.MultiSteps(gk.sgd(0.1), 1.5),
            TypeError,
            r"every_k_schedule=1.5 is not an integer",
        ),
        (
            lambda: gk.apply_every(0),
            ValueError,
            r"apply_every: k=0 is out of range",
        ),
        (
            lambda: gk.has_updated(gk.sgd(0.1).init(jnp.ones(1))),
            ValueError,
            r"has_updated: the state has no MultiSteps in it\. Pass the state of one\.",
        ),
        (
            lambda: gk.has_updated(gk.sgd(0.1)),
            TypeError,
            r"has_updated: state=sgd\(0\.1\) is not a state\. Pass what init or update returned\.",
        ),
        (
            lambda: gk.has_updated(
                gk.partition({"x": SKIPS, "y": SKIPS}, {"a": "x", "b": "y"}).init(
                    {"a": jnp.ones(1), "b": jnp.ones(1)}
                )
            ),
            ValueError,
            r"has_updated: the state has 2 MultiSteps in it\. Pass the part of the state",
        ),
    ],
)
def test_bad_input_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_loss_is_one_number():
    tx = gk.MultiSteps(gk.momo(0.1), 2)
    with pytest.raises(
        ValueError,
        match=r"MultiSteps: value is float32\[3\]\. Expected one number\. Take the mean",
    ):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2), value=jnp.ones(3))
    with pytest.raises(TypeError, match=r"MultiSteps\.opt: value=None is not a loss"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2), value=None)
    with pytest.raises(TypeError, match=r"MultiSteps\.opt: the extra argument 'value' is missing"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))


def test_a_skip_function_returns_one_bool():
    tx = gk.MultiSteps(
        gk.sgd(0.1), 2, should_skip_update_fn=lambda updates, step, params: (updates > 0, ())
    )
    with pytest.raises(
        TypeError,
        match=r"MultiSteps: should_skip_update_fn returned bool\[2\]\. Expected one bool\.",
    ):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
