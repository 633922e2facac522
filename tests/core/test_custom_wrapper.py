"""A wrapper in user code goes through every tool that reads transforms."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


@gk.transform
def amplify(inner: gk.Transform, factor: gk.Rate = 2.0) -> gk.Rule:
    """Multiply gradients by a factor, run ``inner``, log its norm, and average the weights."""
    part = gk.Part("inner", inner)

    def init(params, *, context):
        return {
            "inner": part.init(params, context=context),
            "logged": {"total": jnp.zeros(())},
            "weights": jax.tree.map(jnp.zeros_like, params),
        }

    def update(updates, state, params, *, context):
        updates = jax.tree.map(lambda u: u * factor, updates)
        updates, kept = part.update(updates, state["inner"], params, context=context)
        total = sum(jnp.sum(u) for u in jax.tree.leaves(updates))
        weights = state["weights"] if params is None else jax.tree.map(jnp.add, params, updates)
        return updates, {"inner": kept, "logged": {"total": total}, "weights": weights}

    def evaluate(state, params):
        return jax.tree.map(lambda w, p: w + jnp.ones_like(p), state["weights"], params)

    return gk.Rule(init, update, parts=(part,), evaluate=evaluate)


@gk.transform
def through(inner: gk.Transform) -> gk.Rule:
    """Run ``inner``."""
    part = gk.Part("inner", inner)

    def update(updates, state, params, *, context):
        return part.update(updates, state, params, context=context)

    return gk.Rule(part.init, update, parts=(part._replace(name=""),))


@gk.transform
def every_other(inner: gk.Transform) -> gk.Rule:
    """Run ``inner`` at even steps, by a clock of its own."""
    part = gk.Part("inner", inner, clock=True)

    def init(params, *, context):
        return {"inner": part.init(params, context=context)}

    def update(updates, state, params, *, context):
        even = context.step % 2 == 0
        updates, kept = part.update_if(even, updates, state["inner"], params, context=context)
        return updates, {"inner": kept}

    return gk.Rule(init, update, parts=(part,))


@gk.transform
def matrices(inner: gk.Transform) -> gk.Rule:
    """Run ``inner`` on the matrices."""

    def view(context):
        on = jax.tree.map(lambda leaf: jnp.ndim(leaf) == 2, context.leaves)

        def see(tree):
            return jax.tree.map(lambda yes, leaf: leaf if yes else None, on, tree)

        def merge(new, old):
            return jax.tree.map(lambda n, o: o if n is None else n, new, old, is_leaf=_is_none)

        return gk.View(see, merge)

    part = gk.Part("inner", inner, view=view, selects=True)

    def init(params, *, context):
        return {"inner": part.init(params, context=context)}

    def update(updates, state, params, *, context):
        updates, kept = part.update(updates, state["inner"], params, context=context)
        return updates, {"inner": kept}

    return gk.Rule(init, update, parts=(part,))


def _is_none(x):
    return x is None


@gk.transform
def times_value() -> gk.Rule:
    """Multiply by the loss."""
    return gk.stateless(lambda u, params, *, value: jax.tree.map(lambda x: x * value, u))


PARAMS = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}


def run(tx, count=1, params=PARAMS, **extras):
    state = tx.init(params)
    for _ in range(count):
        updates, state = tx.update(params, state, params, **extras)
    return updates, state


def test_it_runs_what_is_inside_it():
    updates, state = run(gk.chain(gk.clip(0.5), amplify(gk.sgd(0.1), 3.0)))
    np.testing.assert_allclose(updates["w"], np.full((2, 2), -0.15), 1e-6)
    assert set(state.inner) == {"amplify"}
    assert set(state.inner["amplify"]) == {"inner", "logged", "weights"}


def test_hyperparameters_have_its_path_and_its_clock():
    falling = gk.linear_schedule(1.0, 0.0, 10)
    tx = gk.chain(gk.clip(1.0), amplify(gk.sgd(falling), gk.linear_schedule(2.0, 3.0, 10)))
    found = gk.hyperparameters(tx, run(tx, 5)[1])
    assert set(found) == {"clip.max_delta", "amplify.factor", "amplify.inner.learning_rate"}
    np.testing.assert_allclose(found["amplify.factor"], 2.4, 1e-6)
    np.testing.assert_allclose(found["amplify.inner.learning_rate"], 0.6, 1e-6)
    tx = every_other(gk.chain(gk.clip(1.0), gk.sgd(falling)))
    found = gk.hyperparameters(tx, run(tx, 5)[1])
    np.testing.assert_allclose(found["inner.sgd.learning_rate"], falling(2), 1e-6)


def test_its_inner_clock_and_state_wait_where_it_skips():
    updates, state = run(every_other(gk.trace(0.5)), 4)
    assert (updates["w"] == 0).all()
    inner = state.inner["every_other"]["inner"]
    assert (state.step, inner.step) == (4, 2)
    np.testing.assert_allclose(inner.inner["trace"]["b"], [1.5, 1.5])


def test_eval_params_finds_its_weights_and_those_inside_it():
    _, state = run(gk.chain(gk.scale(1.0), amplify(gk.sgd(0.5))))
    weights = gk.eval_params(gk.chain(gk.scale(1.0), amplify(gk.sgd(0.5))), state, PARAMS)
    np.testing.assert_allclose(weights["b"], [1.0, 1.0])
    tx = every_other(gk.chain(gk.sgd(0.5), gk.weight_ema(0.5)))
    _, state = run(tx)
    np.testing.assert_allclose(gk.eval_params(tx, state, PARAMS)["b"], [0.5, 0.5], 1e-6)
    tx = matrices(gk.chain(gk.sgd(0.5), gk.weight_ema(0.5)))
    weights = gk.eval_params(tx, run(tx)[1], PARAMS)
    np.testing.assert_allclose(weights["w"], np.full((2, 2), 0.5), 1e-6)
    np.testing.assert_array_equal(weights["b"], PARAMS["b"])


@pytest.mark.parametrize("wrap", [amplify, through, every_other])
def test_describe_finds_masks_and_numbers_inside_it(wrap):
    tx = gk.chain(gk.clip(1.0), wrap(gk.adamw(1e-3, mask=gk.by_rank(2))))
    plan = gk.describe(tx, PARAMS)
    at = wrap.__name__ if wrap is through else f"{wrap.__name__}.inner"
    routes = {path: group.route for group in plan.groups for path in group.paths}
    assert routes == {"w": (f"{at}.add_decayed_weights",), "b": ()}
    assert plan.hyperparameters[at]["learning_rate"] == 1e-3


def test_describe_finds_the_group_that_it_selects():
    plan = gk.describe(matrices(gk.sgd(0.1)), PARAMS)
    assert {group.route: group.paths for group in plan.groups} == {(): ("b",), ("inner",): ("w",)}


def test_logged_values_and_has_updated_look_inside_it():
    inner = gk.chain(gk.clip_by_global_norm(1.0, report=True), gk.sgd(0.1))
    _, state = run(gk.chain(gk.clip(5.0), amplify(inner)))
    found = gk.logged_values(state)
    inside = "amplify.inner.clip_by_global_norm"
    assert set(found) == {"amplify.total", f"{inside}.norm", f"{inside}.clipped"}
    np.testing.assert_allclose(found[f"{inside}.norm"], 2 * 6**0.5, 1e-6)
    tx = amplify(gk.MultiSteps(gk.sgd(0.1), 2))
    assert [bool(gk.has_updated(run(tx, count)[1])) for count in (1, 2)] == [False, True]


MIXED = {"w": jnp.ones((2, 2), jnp.bfloat16), "b": jnp.ones(2)}
NARROW = gk.masks.by_dtype("bfloat16")


@pytest.mark.parametrize(
    "wrap",
    [
        amplify,
        through,
        every_other,
        lambda inner: gk.precondition(inner, None),
        lambda inner: through(gk.precondition(inner, gk.averages.running_sum())),
        lambda inner: gk.averages.weighted_sum(inner, inner, 0.5),
    ],
    ids=["amplify", "through", "every_other", "precondition", "nested", "weighted_sum"],
)
def test_a_mask_by_dtype_sees_the_users_dtypes_at_init_and_at_update(wrap):
    tx = wrap(gk.masked(gk.trace(0.5), NARROW))
    state = tx.init(MIXED)
    held = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (2, 2)]
    updates, after = jax.jit(tx.update)(MIXED, state, MIXED)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert len(held) > len(
        [x for x in jax.tree.leaves(wrap(gk.identity()).init(MIXED)) if x.shape == (2, 2)]
    )
    assert updates["w"].dtype == jnp.bfloat16
    again, _ = tx.update(MIXED, after, MIXED)
    assert not (again["w"] == updates["w"]).all()  # averaged


def test_an_extra_argument_reaches_what_is_inside_it():
    tx = gk.chain(through(every_other(amplify(times_value(), 1.0))))
    np.testing.assert_array_equal(run(tx, value=jnp.float32(3.0))[0]["b"], [3.0, 3.0])
    with pytest.raises(TypeError, match=r"inner: the extra argument 'value' is missing"):
        run(tx)
    with pytest.raises(TypeError, match=r"'valeu' is taken by no transform\. Did you mean 'value'"):
        run(tx, valeu=1.0)


def test_replace_takes_the_paths_of_hyperparameters():
    tx = gk.chain(gk.clip(1.0), amplify(gk.adamw(0.1)), every_other(gk.scale(1.0)))
    found = gk.hyperparameters(tx, tx.init(PARAMS))
    assert "amplify.inner.learning_rate" in found
    for path, value in found.items():
        changed = tx.replace({path: value / 2})
        assert gk.hyperparameters(changed, changed.init(PARAMS))[path] == value / 2
    assert tx.replace(learning_rate=0.3).transforms[1] == amplify(gk.adamw(0.3))


def test_integer_leaves_are_held_apart_by_a_mask_around_it_or_by_its_own_view():
    params = {"w": jnp.ones(2), "n": jnp.arange(2)}
    updates, _ = run(gk.masked(amplify(gk.sgd(0.5)), {"w": True, "n": False}), params=params)
    np.testing.assert_array_equal(updates["n"], params["n"])
    np.testing.assert_array_equal(updates["w"], [-1.0, -1.0])
    mixed = {"w": jnp.ones((2, 2)), "n": jnp.arange(2)}
    updates, _ = run(matrices(gk.sgd(0.5)), params=mixed)
    np.testing.assert_array_equal(updates["n"], params["n"])
    with pytest.raises(TypeError, match=r"^through, n: this parameter is int32\[2\]"):
        run(through(gk.trace(0.5)), params=params)


def test_it_prints_reads_back_and_pickles():
    tx = gk.chain(gk.clip(1.0), amplify(gk.masked(gk.sgd(0.1), NARROW), factor=3.0))
    assert repr(tx) == (
        "chain(clip(1.0), amplify(masked(sgd(0.1), masks.by_dtype('bfloat16')), factor=3.0))"
    )
    assert eval(repr(tx), {**vars(gk), "amplify": amplify}) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx


def test_a_population_of_it_is_its_members():
    tx = amplify(gk.sgd(0.1)).replace(factor=jnp.array([1.0, 2.0, 3.0]))

    def first(tx):
        return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]["b"]

    together = jax.jit(jax.vmap(first, in_axes=(tx.vmap_axes(),)))(tx)
    np.testing.assert_allclose(together, [[-0.1, -0.1], [-0.2, -0.2], [-0.3, -0.3]], 1e-6)


def test_it_differentiates_scans_and_compiles_once():
    tx, traces = amplify(gk.adam(0.1)), []

    def loss(tx):
        params, _ = tx.apply(PARAMS, tx.init(PARAMS), PARAMS)
        return jnp.sum(params["w"])

    slope = jax.grad(loss)(amplify(gk.sgd(0.1)))
    np.testing.assert_allclose(slope.factor, -0.4, 1e-6)

    @jax.jit
    def step(params, state):
        traces.append(1)
        return tx.apply(params, state, params)

    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        params, state = step(params, state)
    scanned, _ = jax.lax.scan(
        lambda c, _: (tx.apply(*c, c[0]), None), (PARAMS, tx.init(PARAMS)), length=3
    )
    np.testing.assert_allclose(scanned[0]["w"], params["w"], 1e-5)
    assert len(traces) == 1
