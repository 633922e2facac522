"""Laws that hold for all arguments: the algebra of chains, masks, clips, averages and schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradkit as gk

settings.register_profile("laws", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("laws")

# Zero, or large enough for its square to be a normal float32.
numbers = st.floats(2.0**-8, 8.0, width=32).flatmap(lambda x: st.sampled_from([x, -x, 0.0]))
vectors = st.lists(numbers, min_size=4, max_size=4).map(lambda xs: jnp.asarray(xs, jnp.float32))
trees = st.fixed_dictionaries({"a": vectors, "b": numbers.map(jnp.float32)})
decays = st.floats(0.0, 0.99)
rates = st.floats(-2.0, 2.0)
# A part of each kind: without memory, with it, made of parts, reading the clock, reading the
# parameters.
parts = st.sampled_from(
    [
        gk.clip_by_global_norm(1.0),
        gk.scale(-0.5),
        gk.trace(0.5),
        gk.ema(0.75),
        gk.scale_by_adam(0.5, 0.75, 0.1),
        gk.scale(gk.linear_schedule(1.0, 0.0, 4)),
        gk.add_decayed_weights(0.25),
        gk.identity(),
    ]
)
chains = st.lists(parts, max_size=3)


def run(tx, grads, params=None, steps=2):
    """Every update of a few steps, and the last state."""
    params = grads if params is None else params
    state, seen = tx.init(params), []
    for _ in range(steps):
        updates, state = tx.update(grads, state, params)
        seen.append(updates)
    return seen, state


def size(tree):
    return float(
        np.sqrt(sum(np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in jax.tree.leaves(tree)))
    )


def assert_same(one, other, rtol=0.0, atol=0.0):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol, atol)


# ---- chain ---------------------------------------------------------------------------------------


@given(chains, chains, chains, trees)
def test_chain_is_associative_state_included(a, b, c, grads):
    left = gk.chain(gk.chain(*a, *b), *c)
    right = gk.chain(*a, gk.chain(*b, gk.chain(*c)))
    assert_same(run(left, grads), run(gk.chain(*a, *b, *c), grads))
    assert_same(run(right, grads), run(gk.chain(*a, *b, *c), grads))


@given(chains, trees)
def test_identity_is_the_unit_of_chain(a, grads):
    expected = run(gk.chain(*a), grads)
    assert_same(run(gk.chain(gk.identity(), *a), grads), expected)
    assert_same(run(gk.chain(*a, gk.chain()), grads), expected)


@given(rates, rates, trees)
def test_scales_multiply(a, b, grads):
    assert_same(
        run(gk.chain(gk.scale(a), gk.scale(b)), grads), run(gk.scale(a * b), grads), 1e-6, 1e-30
    )


@given(trees)
def test_the_order_of_decay_and_adam_matters(grads):
    params = jax.tree.map(lambda g: jnp.ones_like(g), grads)
    direction, decay = gk.scale_by_adam(eps=1e-3), gk.add_decayed_weights(0.5)
    coupled, decoupled = (
        run(gk.chain(*order), grads, params, 1)[0][0]
        for order in ((decay, direction), (direction, decay))
    )
    bare = run(direction, grads, params, 1)[0][0]
    assert_same(decoupled, jax.tree.map(lambda u: u + 0.5, bare), 1e-5, 1e-6)
    pulled = jax.tree.map(lambda g: g + 0.5, grads)
    assert_same(coupled, run(direction, pulled, params, 1)[0][0])
    assert size(jax.tree.map(jnp.subtract, coupled, decoupled)) > 0.1


def test_the_order_of_clip_and_trace_matters():
    grads = {"a": jnp.full(4, 3.0)}
    before, after = (
        run(gk.chain(*order), grads)[0][1]["a"]
        for order in ((gk.clip(1.0), gk.trace(0.5)), (gk.trace(0.5), gk.clip(1.0)))
    )
    np.testing.assert_array_equal(before, 1.5)
    np.testing.assert_array_equal(after, 1.0)


# ---- masks ---------------------------------------------------------------------------------------


@given(
    trees,
    trees,
    st.sampled_from([{"a": True, "b": False}, {"a": False, "b": True}, {"a": True, "b": True}]),
    st.floats(0.0, 1.0),
)
def test_a_mask_restricts(grads, params, mask, weight):
    masked = run(gk.add_decayed_weights(weight, mask), grads, params, 1)[0][0]
    on = {name for name, chosen in mask.items() if chosen}
    only = lambda tree: {name: leaf for name, leaf in tree.items() if name in on}
    restricted = run(gk.add_decayed_weights(weight), only(grads), only(params), 1)[0][0]
    assert_same(masked, {**grads, **restricted})


@given(trees, trees, st.floats(0.01, 1.0))
def test_the_ways_to_say_a_mask_agree(grads, params, weight):
    by_tree = {"a": True, "b": False}
    ways = [
        by_tree,
        lambda tree: by_tree,
        gk.masks.by_function(lambda path, leaf: path == "a"),
        gk.by_path("a"),
        gk.by_rank(1),
        ~gk.by_path("b"),
        gk.by_path("*") & gk.masks.by_size(2),
    ]
    expected = run(gk.add_decayed_weights(weight, by_tree), grads, params, 1)
    for way in ways:
        assert_same(run(gk.add_decayed_weights(weight, way), grads, params, 1), expected)


# ---- clips ---------------------------------------------------------------------------------------


@given(trees, st.floats(0.1, 4.0))
@pytest.mark.parametrize(
    "factory", [gk.clip, gk.clip_by_global_norm, gk.clip_by_block_rms], ids=lambda f: f.__name__
)
def test_clips_are_idempotent(factory, grads, bound):
    once = run(factory(bound), grads, steps=1)[0][0]
    assert_same(run(factory(bound), once, steps=1)[0][0], once, 1e-6, 1e-30)


@given(trees, st.floats(0.1, 4.0), st.floats(1.5, 64.0))
def test_clip_by_global_norm_forgets_the_scale_above_the_bound_and_is_identity_below(
    grads, bound, factor
):
    clipped = run(gk.clip_by_global_norm(bound), grads, steps=1)[0][0]
    norm = size(grads)
    if norm > bound * 1.001:
        scaled = jax.tree.map(lambda g: g * jnp.float32(factor), grads)
        assert_same(run(gk.clip_by_global_norm(bound), scaled, steps=1)[0][0], clipped, 1e-5, 1e-30)
        assert abs(size(clipped) - bound) < 1e-5 * bound
        doubled = run(
            gk.clip_by_global_norm(2 * bound), jax.tree.map(lambda g: 2 * g, grads), steps=1
        )[0][0]
        assert_same(doubled, jax.tree.map(lambda u: 2 * u, clipped), 1e-6, 1e-30)
    elif norm < bound * 0.999:
        assert_same(clipped, grads)


@given(trees, st.floats(0.1, 4.0))
def test_clip_bounds_every_number(grads, bound):
    clipped = run(gk.clip(bound, -bound / 2), grads, steps=1)[0][0]
    for g, u in zip(jax.tree.leaves(grads), jax.tree.leaves(clipped), strict=True):
        np.testing.assert_array_equal(u, np.clip(g, np.float32(-bound / 2), np.float32(bound)))


# ---- averages ------------------------------------------------------------------------------------


@given(st.lists(decays, min_size=4, max_size=4), vectors)
def test_a_debiased_ema_of_a_constant_is_the_constant_for_any_decays(betas, x):
    moving = gk.piecewise_constant_schedule(1.0) * gk.join_schedules(betas, [1, 2, 3])
    seen, _ = run(gk.ema(moving), x, steps=4)
    for average in seen:
        np.testing.assert_allclose(average, x, 1e-5, 1e-30)


@given(vectors, vectors)
def test_a_trace_that_forgets_is_the_latest(x, y):
    for forgetful in (gk.trace(0.0), gk.ema(0.0), gk.ema(0.0, debias=False)):
        _, state = run(forgetful, x, steps=1)
        assert_same(
            forgetful.update(y, state)[0], y, atol=1e-6
        )  # an ema moves by the difference, which rounds


@given(vectors, vectors, decays, rates)
def test_averages_are_linear(x, y, decay, factor):
    factor = np.float32(factor)
    for tx in (gk.ema(decay), gk.trace(decay), gk.averages.running_sum()):
        together, apart = (
            run(tx, x + factor * y)[0][-1],
            run(tx, x)[0][-1] + factor * run(tx, y)[0][-1],
        )
        np.testing.assert_allclose(together, apart, 1e-4, 1e-4)


@given(vectors, decays)
def test_an_ema_without_debiasing_is_a_trace_of_the_fresh_share(x, decay):
    one, other = (
        run(gk.ema(decay, debias=False), x, steps=3)[0],
        run(gk.chain(gk.scale(1 - decay), gk.trace(decay)), x, steps=3)[0],
    )
    assert_same(one, other, 1e-5, 1e-6)


@given(vectors, vectors)
def test_a_peak_never_falls(x, y):
    tx = gk.averages.running_max(gk.averages.latest())
    first, state = tx.update(jnp.abs(x), tx.init(x))
    then, _ = tx.update(jnp.abs(y), state)
    assert (then >= first).all()
    np.testing.assert_array_equal(then, np.maximum(np.abs(x), np.abs(y)))


# ---- optimizers ----------------------------------------------------------------------------------


@given(vectors, st.sampled_from([2.0**k for k in range(-8, 9)]))
def test_adam_without_epsilon_forgets_the_scale_of_the_gradient(grads, factor):
    for tx in (
        gk.scale_by_adam(0.8, 0.9, eps=0.0),
        gk.scale_by_rms(0.9, eps=0.0),
        gk.scale_by_sign(),
    ):
        assert_same(run(tx, grads)[0], run(tx, grads * np.float32(factor))[0], 1e-6)


@given(vectors)
def test_the_first_step_of_adam_is_the_sign(grads):
    updates = run(gk.scale_by_adam(eps=0.0), grads, steps=1)[0][0]
    np.testing.assert_allclose(updates, np.sign(grads), 1e-5)


@given(vectors, st.floats(0.01, 1.0))
def test_the_rate_multiplies_the_step(grads, rate):
    one, other = (run(gk.adam(alpha, eps=1e-3), grads)[0] for alpha in (rate, 2 * rate))
    assert_same(jax.tree.map(lambda u: 2 * u, one), other, 1e-6, 1e-30)


# ---- schedules -----------------------------------------------------------------------------------

curves = st.builds(
    gk.linear_schedule, st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.just(7)
) | st.builds(gk.constant_schedule, st.floats(-1.0, 1.0))
STEPS = np.arange(12, dtype=np.int32)


@given(curves, curves, rates)
def test_schedules_add_and_multiply_value_by_value(a, b, number):
    at = lambda s: np.asarray(s(STEPS), np.float64)
    for made, expected in [
        (a + b, at(a) + at(b)),
        (a - b, at(a) - at(b)),
        (a * b, at(a) * at(b)),
        (-a, -at(a)),
        (number * a, number * at(a)),
        (a + number, at(a) + number),
        (number - a, number - at(a)),
        (a / 4.0, at(a) / 4.0),
    ]:
        np.testing.assert_allclose(made(STEPS), expected, 1e-5, 1e-6)


@given(curves, curves, curves)
def test_schedule_sums_and_products_keep_their_algebra(a, b, c):
    for one, other in [
        ((a + b) + c, a + (b + c)),
        (a * b, b * a),
        (a * (b + c), a * b + a * c),
        (a + 0.0, a),
        (a * 1.0, a),
        (a - a, a * 0.0),
    ]:
        np.testing.assert_allclose(one(STEPS), other(STEPS), 1e-5, 1e-6)


@given(curves, curves, st.integers(0, 10))
def test_join_is_the_one_before_and_the_other_from_its_boundary(a, b, boundary):
    joined = np.asarray(gk.join_schedules([a, b], [boundary])(STEPS))
    expected = np.where(boundary > STEPS, a(STEPS), b(np.maximum(STEPS - boundary, 0)))
    np.testing.assert_allclose(joined, expected, 1e-6, 1e-7)
