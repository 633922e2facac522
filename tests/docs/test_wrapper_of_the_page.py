"""A wrapper written in user code, as docs/parts.md shows it, through every tool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


@gk.transform
def every(inner: gk.Transform, k: int = 2) -> gk.Rule:
    """Update with ``inner`` on every k-th call; skip the other calls."""
    part = gk.Part("inner", inner, clock=True)

    def init(params, *, context):
        logged = {"updated": jnp.zeros((), bool)}
        return {"inner": part.init(params, context=context), "logged": logged}

    def update(updates, state, params, *, context):
        due = (context.step + 1) % k == 0
        updates, inner = part.update_if(due, updates, state["inner"], params, context=context)
        return updates, {"inner": inner, "logged": {"updated": due}}

    return gk.Rule(init, update, parts=(part,))


WEIGHTS = {"half": jnp.ones((2, 2), jnp.bfloat16), "full": jnp.ones(2)}


def trained(tx, steps, weights=WEIGHTS, **extras):
    step = jax.jit(lambda w, s: tx.apply(w, s, jax.tree.map(jnp.ones_like, w), **extras))
    state = tx.init(weights)
    for _ in range(steps):
        weights, state = step(weights, state)
    return weights, state


def test_it_updates_on_its_calls_only_and_counts_them():
    tx = every(gk.sgd(0.25), k=3)
    for steps, weight, inner in ((2, 1.0, 0), (3, 0.75, 1), (5, 0.75, 1), (6, 0.5, 2)):
        weights, state = trained(tx, steps)
        assert weights["full"][0] == weight
        assert (int(state.step), int(state.inner["every"]["inner"].step)) == (steps, inner)


def test_hyperparameters_are_those_of_its_clock_and_their_paths_are_those_of_replace():
    tx = every(gk.chain(gk.clip(1.0), gk.sgd(gk.linear_schedule(1.0, 0.0, 10))), k=2)
    _, state = trained(tx, 6)
    now = gk.hyperparameters(tx, state)
    assert float(now["inner.sgd.learning_rate"]) == pytest.approx(0.8)  # the third update's
    replaced = tx.replace({"inner.sgd.learning_rate": 0.5})
    assert replaced == every(gk.chain(gk.clip(1.0), gk.sgd(0.5)), k=2)


def test_evaluation_weights_inside_it_are_found():
    tx = every(gk.chain(gk.sgd(0.25), gk.weight_ema(0.5)), k=2)
    weights, state = trained(tx, 4)
    expected = (1 * 0.75 + 2 * 0.5) / 3  # the weights after its two updates
    np.testing.assert_allclose(gk.eval_params(tx, state, weights)["full"], expected, rtol=1e-6)


def test_describe_sees_the_groups_inside_it():
    tx = every(gk.partition({"a": gk.sgd(0.1), "b": gk.adam(0.1)}, {"half": "a", "full": "b"}))
    plan = gk.describe(tx, WEIGHTS)
    assert {group.paths: group.route[-1].split(".")[-1] for group in plan.groups} == {
        ("half",): "a",
        ("full",): "b",
    }


def test_logged_values_are_its_own_and_those_inside_it():
    tx = gk.chain(every(gk.chain(gk.clip_by_global_norm(1.0, report=True), gk.sgd(0.1)), k=2))
    _, state = trained(tx, 4)
    logged = gk.logged_values(state)
    assert bool(logged["every.updated"])
    assert float(logged["every.inner.clip_by_global_norm.norm"]) == pytest.approx(6**0.5)
    assert not gk.logged_values(trained(tx, 5)[1])["every.updated"]


def test_a_mask_by_dtype_inside_it_sees_the_dtypes_of_the_user():
    half = gk.masks.by_dtype("bfloat16")
    tx = every(gk.chain(gk.masked(gk.set_to_zero(), half), gk.sgd(0.5)), k=1)
    weights, _ = trained(tx, 1)
    assert float(weights["half"][0, 0]) == 1.0
    assert float(weights["full"][0]) == 0.5


def test_extra_arguments_reach_the_transforms_inside_it():
    @gk.transform
    def times_loss():
        def update(updates, params, *, value):
            return jax.tree.map(lambda u: u * value, updates)

        return gk.stateless(update)

    tx = every(gk.chain(times_loss(), gk.sgd(0.25)), k=1)
    weights, _ = trained(tx, 1, value=jnp.float32(2.0))
    assert weights["full"][0] == 0.5
    with pytest.raises(
        TypeError, match=r"inner\.times_loss: the extra argument 'value' is missing"
    ):
        trained(tx, 1)


def test_a_new_learning_rate_inside_it_compiles_nothing():
    traces = []

    def loss(w):
        traces.append(1)
        return jnp.sum(w**2)

    step = gk.make_step(loss, every(gk.sgd(0.25), k=1))
    w, state = jnp.ones(2), step.tx.init(jnp.ones(2))
    w, state, _ = step(w, state)
    w, state, _ = step.replace(learning_rate=0.5)(w, state)
    assert w.tolist() == [0.0, 0.0]
    assert len(traces) == 1


def test_it_runs_under_optax_and_is_printed_as_code():
    optax = pytest.importorskip("optax")
    tx = every(gk.sgd(0.25), k=2)
    assert repr(tx) == "every(sgd(0.25))"
    pair = optax.chain(tx, optax.scale(2.0))
    updates, state = pair.update(WEIGHTS, pair.init(WEIGHTS), WEIGHTS)
    updates, state = pair.update(WEIGHTS, state, WEIGHTS)
    assert updates["full"][0] == -0.5
