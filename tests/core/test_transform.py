"""The outermost call and its chain: names, states, extra arguments, the clock, dtypes, optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from tests.cases import tree_of


def ones(n=2):
    return {"w": jnp.ones(n)}


@gk.schedule
def ramp(slope):
    return lambda step: slope * jnp.asarray(step, jnp.float32)


@gk.transform
def scale_by_clock(factor=1.0):
    return gk.stateless(
        lambda updates, params, *, step: jax.tree.map(
            lambda u: factor * u * step.astype(u.dtype), updates
        )
    )


@gk.transform
def polyak(floor=0.0):
    def update(updates, state, params, *, value, grad=None):
        return jax.tree.map(lambda u: u * jnp.asarray(value - floor, u.dtype), updates), state

    return gk.Rule(lambda params: (), update)


# ---- names and states ------------------------------------------------------------------------


def test_members_have_the_names_of_their_factories_and_the_second_a_number():
    tx = gk.chain(gk.trace(0.9), gk.ema(0.9), gk.trace(0.8), gk.chain(gk.trace(0.7)))
    assert [member.name for member in tx.members] == ["trace", "ema", "trace_1", "trace_2"]
    assert list(tx.init(ones()).inner) == ["trace", "ema", "trace_1", "trace_2"]


def test_a_lone_rule_has_its_own_name_and_a_recipe_those_of_its_chain():
    assert list(gk.scale_by_adam().init(ones()).inner) == ["scale_by_adam"]
    assert list(gk.adam(0.1).init(ones()).inner) == ["scale_by_adam"]
    assert next(member.name for member in gk.adam(0.1).members) == "scale_by_adam"


def test_named_chain_keys_its_parts_and_what_is_inside_them():
    tx = gk.named_chain(
        ("speed", gk.trace(0.9)), ("rest", gk.chain(gk.ema(0.9), gk.trace(0.5), gk.scale(-1.0)))
    )
    inner = tx.init(ones()).inner
    assert set(inner) == {"speed", "rest"}
    assert set(inner["speed"]) == {"trace"}
    assert set(inner["rest"]) == {"ema", "trace"}


def test_chains_are_spliced_flat():
    a, b, c = gk.trace(0.9), gk.clip(1.0), gk.ema(0.5)
    nested, flat = gk.chain(a, gk.chain(b, gk.chain(c)), gk.identity()), gk.chain(a, b, c)
    assert [m.name for m in nested.members] == [m.name for m in flat.members]
    assert jax.tree.structure(nested.init(ones())) == jax.tree.structure(flat.init(ones()))


def test_an_empty_chain_is_identity():
    updates, state = gk.chain().update(ones(), gk.chain().init(ones()))
    assert (updates["w"] == 1).all()
    assert state.inner == {}
    assert state.step == 1


def test_adding_or_removing_a_stateless_transform_leaves_the_state_readable():
    before = gk.chain(gk.scale_by_adam(), gk.scale(-0.1))
    _, state = before.update(ones(), before.init(ones()))
    for after in (
        gk.chain(gk.clip_by_global_norm(1.0), gk.scale_by_adam(), gk.scale(-0.1)),
        gk.chain(gk.scale_by_adam()),
    ):
        _updates, new = after.update(ones(), state)
        assert jax.tree.structure(new) == jax.tree.structure(state)
        assert new.step == 2
    scheduled = gk.chain(gk.scale(ramp(0.5)), gk.scale_by_adam())
    assert jax.tree.structure(scheduled.update(ones(), state)[1]) == jax.tree.structure(state)


def test_a_state_of_another_chain_is_refused():
    one, other = gk.chain(gk.ema(0.9)), gk.chain(gk.trace(0.9))
    with pytest.raises(
        ValueError,
        match=r"^chain: the state has 'ema', which no transform here keeps\. Expected only",
    ):
        other.update(ones(), one.init(ones()))
    with pytest.raises(ValueError, match=r"^chain: the state has no 'trace', only \[\]\."):
        other.update(ones(), gk.identity().init(ones()))
    with pytest.raises(
        TypeError, match=r"^chain: the state is tuple\. Expected the State that init returned"
    ):
        one.update(ones(), ())


# ---- extras ----------------------------------------------------------------------------------


def test_a_transform_is_given_the_extra_arguments_that_it_takes():
    tx = gk.chain(polyak(0.5), gk.scale(2.0))
    updates, _ = tx.update(ones(), tx.init(ones()), value=jnp.float32(3.0))
    np.testing.assert_array_equal(updates["w"], [5.0, 5.0])


def test_a_missing_extra_names_the_transform():
    tx = gk.chain(gk.trace(0.9), polyak())
    with pytest.raises(
        TypeError,
        match=r"^chain\.polyak: the extra argument 'value' is missing\. Call .*value=\.\.\.\)",
    ):
        tx.update(ones(), tx.init(ones()))


def test_the_usual_extras_pass_though_no_transform_takes_them():
    tx = gk.adam(0.1)
    tx.update(ones(), tx.init(ones()), ones(), value=1.0, grad=ones(), value_fn=lambda p: 0.0)


def test_an_unknown_extra_is_answered_with_the_nearest():
    tx = gk.chain(polyak())
    with pytest.raises(
        TypeError,
        match=r"^chain: the extra argument 'valeu' is taken by no .* Did you mean 'value'\?",
    ):
        tx.update(ones(), tx.init(ones()), value=1.0, valeu=1.0)
    with pytest.raises(TypeError, match="the extra argument 'step' is taken by no transform"):
        tx.update(ones(), tx.init(ones()), value=1.0, step=3)


def test_a_part_inside_a_named_chain_or_a_quotient_is_given_its_extras():
    inner = gk.named_chain(("outer", gk.chain(gk.trace(0.0), polyak())))
    updates, _ = inner.update(ones(), inner.init(ones()), value=jnp.float32(4.0))
    np.testing.assert_array_equal(updates["w"], [4.0, 4.0])
    engine = gk.precondition(polyak(), gk.averages.running_sum(1.0))
    updates, _ = engine.update(ones(), engine.init(ones()), value=jnp.float32(4.0))
    np.testing.assert_allclose(updates["w"], np.full(2, 4 / np.sqrt(2)), 1e-6)


# ---- the clock -------------------------------------------------------------------------------


def test_step_counts_completed_updates_from_zero():
    tx, seen = scale_by_clock(), []
    state = tx.init(ones())
    for _ in range(3):
        updates, state = tx.update(ones(), state)
        seen.append(float(updates["w"][0]))
    assert seen == [0.0, 1.0, 2.0]
    assert state.step == 3


def test_a_chain_with_two_schedules_holds_one_counter():
    tx = gk.chain(
        gk.clip_by_global_norm(ramp(1.0) + 1.0),
        gk.scale_by_adam(),
        scale_by_clock(),
        gk.scale(ramp(2.0)),
    )
    state = tx.init(ones())
    counters = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.integer)]
    assert len(counters) == 1
    assert counters[0] is state.step


def test_the_clock_stops_at_the_largest_int32():
    tx = scale_by_clock()
    state = gk.State(jnp.int32(2**31 - 2), {})
    steps = []
    for _ in range(3):
        _, state = tx.update(ones(), state)
        steps.append(int(state.step))
    assert steps == [2**31 - 1] * 3


# ---- hyperparameters -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        gk.ema,
        gk.trace,
        lambda b: gk.scale(b),
        lambda b: gk.clip(b),
        lambda b: gk.clip_by_global_norm(b),
        lambda b: gk.precondition(gk.ema(b), gk.averages.variance(b), 0.1),
    ],
    ids=["ema", "trace", "scale", "clip", "clip_by_global_norm", "precondition"],
)
def test_a_scheduled_argument_reaches_a_rule_as_its_value_at_the_step(make):
    moving, grads = make(ramp(0.25) + 0.25), {"w": jnp.array([3.0, -0.1])}
    state = moving.init(grads)
    same = make(0.5).init(grads)
    for decay in (0.25, 0.5, 0.75):
        now = make(decay)
        expected, same = now.update(grads, same)
        updates, state = moving.update(grads, state)
        np.testing.assert_allclose(updates["w"], expected["w"], 1e-6)
    assert jax.tree.structure(state) == jax.tree.structure(same)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("kind", ["jax scalar", "numpy scalar", "numpy array", "schedule"])
def test_array_hyperparameters_do_not_promote(x64, kind):
    with jax.enable_x64(x64):
        number = {
            "jax scalar": jnp.float32,
            "numpy scalar": np.float64,
            "numpy array": lambda b: np.asarray(b, np.float64),
            "schedule": lambda b: ramp(0.0) + b,
        }[kind]
        # Every rule below multiplies by its hyperparameter.
        tx = gk.chain(
            gk.clip_by_global_norm(number(1.0)),
            gk.ema(number(0.5)),
            gk.trace(number(0.5)),
            gk.scale_by_adam(number(0.9)),
            gk.scale(number(-0.5)),
        )
        for dtype in (jnp.float32, jnp.bfloat16) + ((jnp.float64,) if x64 else ()):
            grads = tree_of(0, dtype)
            state = jax.eval_shape(tx.init, grads)
            updates, after = jax.eval_shape(tx.update, grads, state, grads)
            assert jax.tree.map(lambda x: x.dtype, updates) == jax.tree.map(
                lambda x: x.dtype, grads
            )
            assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)


def test_doubles_stay_doubles():
    with jax.enable_x64(True):
        grads = {"w": jnp.array([1e-9 + 1.0], jnp.float64)}
        tx = gk.chain(gk.ema(0.5), gk.scale(-1.0))
        state = tx.init(grads)
        assert state.inner["ema"]["average"]["w"].dtype == jnp.float64
        updates, _ = tx.update(grads, state)
        np.testing.assert_allclose(updates["w"], [-1.0 - 1e-9], 1e-14)


def test_apply_rounds_once():
    params, grads = {"w": jnp.bfloat16(1.0)}, {"w": jnp.bfloat16(0.0059)}
    tx = gk.chain(gk.scale(1.0))
    new, state = tx.apply(params, tx.init(params), grads)
    assert new["w"].dtype == jnp.bfloat16
    assert new["w"] == jnp.bfloat16(1.0 + float(jnp.bfloat16(0.0059)))
    assert state.step == 1


def test_apply_updates_leaves_a_parameter_with_no_update():
    new = gk.apply_updates({"a": jnp.ones(2), "b": jnp.ones(1)}, {"a": jnp.ones(2), "b": None})
    assert new["a"].tolist() == [2.0, 2.0]
    assert new["b"].tolist() == [1.0]


# ---- parts from elsewhere --------------------------------------------------------------------


def test_ten_lines_make_a_transform():
    @gk.transform
    def heavy_ball(decay, every=1):
        def init(params):
            return {"speed": jax.tree.map(jnp.zeros_like, params)}

        def update(updates, state, params, *, step):
            speed = jax.tree.map(lambda v, u: u + decay * v, state["speed"], updates)
            return speed, {"speed": speed}

        return gk.Rule(init, update)

    tx = gk.chain(heavy_ball(0.5), gk.scale(1.0))
    assert repr(tx) == "chain(heavy_ball(0.5), scale(1.0))"
    state, like = tx.init(ones()), gk.trace(0.5)
    reference = like.init(ones())
    for _ in range(3):
        updates, state = tx.update(ones(), state)
        expected, reference = like.update(ones(), reference)
    np.testing.assert_array_equal(updates["w"], expected["w"])
    assert list(state.inner) == ["heavy_ball"]
    moving = heavy_ball(ramp(0.5))
    assert float(moving.update(ones(), moving.init(ones()))[0]["w"][0]) == 1.0
    with pytest.raises(
        TypeError,
        match=r"heavy_ball: got an unexpected keyword argument 'evry'. Did you mean 'every'\?",
    ):
        heavy_ball(0.5, evry=2)


def halve():
    def update_fn(updates, state, params=None):
        return jax.tree.map(lambda u: u / 2, updates), state + 1

    return gk.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update_fn)


def test_a_wrapped_pair_has_the_name_of_the_enclosing_function():
    tx = gk.chain(halve(), halve())
    updates, state = tx.update(ones(), tx.init(ones()))
    assert updates["w"][0] == 0.25
    assert state.inner == {"halve": 1, "halve_1": 1}


def test_a_wrapped_pair_requires_extras_by_keyword_and_takes_all_by_extra_args():
    def scaled():
        def update_fn(updates, state, params=None, *, value, **extra_args):
            assert "step" not in extra_args
            return jax.tree.map(lambda u: u * value, updates), state

        return gk.GradientTransformation(lambda params: (), update_fn)

    tx = gk.chain(scaled())
    assert tx.update(ones(), tx.init(ones()), value=3.0, whatever=1)[0]["w"][0] == 3.0
    with pytest.raises(TypeError, match=r"^chain\.scaled: the extra argument 'value' is missing"):
        tx.update(ones(), tx.init(ones()))


def test_a_bare_closure_in_a_chain_is_refused_with_the_functions_that_wrap_it():
    with pytest.raises(
        TypeError,
        match=r"^chain: transforms\[1\]=.* is not a transform\. GradientTransformation\(",
    ):
        gk.chain(gk.scale(1.0), lambda updates: updates)


def test_a_pair_from_optax_may_be_in_a_chain():
    tx = gk.chain(optax.trace(0.5), gk.scale(-1.0))
    state, like = tx.init(ones()), gk.chain(gk.trace(0.5), gk.scale(-1.0))
    reference = like.init(ones())
    for _ in range(3):
        updates, state = tx.update(ones(), state)
        expected, reference = like.update(ones(), reference)
    np.testing.assert_array_equal(updates["w"], expected["w"])
    assert list(state.inner) == ["trace"]


def test_a_transform_unpacks_as_the_pair_it_is():
    init, update = gk.chain(gk.trace(0.5))
    assert update(ones(), init(ones()))[0]["w"].tolist() == [1.0, 1.0]


def test_expand_opens_recipes_one_level_and_chains_to_their_parts():
    assert gk.adam(0.1).expand() == gk.chain(gk.scale_by_adam(), gk.scale_by_learning_rate(0.1))
    opened = gk.chain(gk.adam(0.1)).expand()
    assert opened == gk.chain(gk.adam(0.1).expand())
    assert gk.trace(0.5).expand() == gk.trace(0.5)
    run = lambda tx: tx.update(ones(), tx.init(ones()), ones())[0]["w"]
    np.testing.assert_array_equal(run(opened), run(gk.adam(0.1)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_foreign_state_keeps_its_types_under_narrow_parameters(dtype):
    # optax makes its moments in the dtype of the parameters that init is given; the gradients that
    # update is given are wide.
    tx, params = gk.chain(optax.scale_by_adam(), gk.scale(-0.1)), tree_of(0, dtype)
    state = jax.eval_shape(tx.init, params)
    with jax.numpy_dtype_promotion("standard"):  # optax divides its int32 counter by floats
        _, after = jax.eval_shape(tx.update, params, state, params)
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)


def test_arguments_in_the_wrong_order_are_refused_with_the_right_order():
    tx, w = gk.adam(1e-3), jnp.ones(2)
    state = tx.init(w)
    with pytest.raises(
        TypeError,
        match=r"^adam: the updates are a state\. The order is update\(updates, state",
    ):
        tx.update(state, w, w)


def test_a_factory_that_was_not_called_is_refused():
    with pytest.raises(TypeError, match=r"Call the factory: adam\(...\)"):
        gk.chain(gk.adam)


def test_a_named_chain_takes_pairs():
    with pytest.raises(
        TypeError,
        match=r"^named_chain: transforms\[0\]=sgd\(0\.1\) is not a pair\. Expected",
    ):
        gk.named_chain(gk.sgd(0.1))


def test_a_list_is_no_rate():
    with pytest.raises(
        TypeError,
        match=r"^sgd: learning_rate=\[0\.001\] is not a number\. Expected a number, .*",
    ):
        gk.sgd([1e-3])


@pytest.mark.parametrize(
    "make", [lambda: gk.add_noise(1.0, 0.5, None), lambda: gk.stochastic_rounding(None)]
)
def test_noise_without_a_key_is_refused(make):
    with pytest.raises(TypeError, match=r"key is None\. Expected a seed"):
        make()


def test_a_state_of_another_tree_is_refused_where_it_shows():
    tx, params = gk.adam(0.1), {"w": jnp.ones((1, 3))}
    with pytest.raises(
        ValueError,
        match=r"^adam, scale_by_adam\..*w: the state has shape \[2, 3\]\. Expected \[1, 3\]",
    ):
        tx.update(params, tx.init({"w": jnp.ones((2, 3))}), params)


def test_apply_updates_refuses_other_shapes():
    with pytest.raises(
        ValueError,
        match=r"^apply_updates, .*: this update is float32\[2, 3\], but its parameter is",
    ):
        gk.apply_updates(jnp.ones(3), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("update", "error", "words"),
    [
        (
            lambda updates, state, params: updates,
            TypeError,
            r"^chain\.own: update returned dict\. Expected the pair \(updates, state\)",
        ),
        (
            lambda updates, state, params: (state, updates),
            ValueError,
            r"^chain\.own: update returned the tree .* Return \(updates, state\) in this order",
        ),
        (
            lambda updates, state, params: ({"w": jnp.ones((2, 2)), "b": updates["b"]}, state),
            ValueError,
            r"^chain\.own, w: update returned float32\[2, 2\] for float32\[2\]",
        ),
    ],
)
def test_an_update_that_returns_something_else_is_refused(update, error, words):
    @gk.transform
    def own():
        return gk.Rule(lambda params: {"count": jnp.zeros(())}, update)

    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    with pytest.raises(error, match=words):
        gk.chain(gk.scale(1.0), own()).update(params, own().init(params))


@pytest.mark.parametrize("made", [None, lambda updates: updates, [gk.scale(1.0)]])
def test_a_factory_that_makes_no_transform_is_refused(made):
    @gk.transform
    def own():
        return made

    with pytest.raises(
        TypeError, match=r"^own: the factory returned .* Expected a Rule or a transform"
    ):
        own()


def test_a_factory_may_return_an_optax_transform():
    @gk.transform
    def theirs(rate):
        return optax.sgd(rate)

    assert theirs(0.5).update(ones(), theirs(0.5).init(ones()))[0]["w"].tolist() == [-0.5, -0.5]


def test_names_that_were_given_stay_and_others_make_room():
    tx = gk.chain(gk.trace(0.9), gk.trace(0.5), gk.named_chain(("trace_1", gk.trace(0.7))))
    assert list(tx.init(ones()).inner) == ["trace", "trace_2", "trace_1"]
    with pytest.raises(ValueError, match=r"the name 'a' is used twice\. Expected unique names"):
        gk.chain(gk.named_chain(("a", gk.trace(0.9))), gk.named_chain(("a", gk.trace(0.5)))).init(
            ones()
        )


@pytest.mark.parametrize(
    ("part", "fix"),
    [
        ([gk.scale(1.0)], r"Unpack it: chain\(\*transforms\)"),
        (None, r"is identity\(\)"),
        (0.1, "scale_by_learning_rate"),
        (gk.linear_schedule(1.0, 0.0, 9), "scale_by_learning_rate"),
    ],
    ids=["list", "None", "number", "schedule"],
)
def test_what_is_not_a_transform_is_refused_with_a_fix(part, fix):
    with pytest.raises(
        TypeError, match=rf"^chain: transforms\[0\]=.* is not a transform\. .*{fix}"
    ):
        gk.chain(part)


def test_a_state_prints_shapes_and_numbers():
    state = gk.chain(gk.trace(0.5), gk.ema(0.5)).init({"w": jnp.zeros((2, 3))})
    assert repr(state) == (
        "State(step=0, inner={'ema': {'average': {'w': float32[2, 3]}, 'log_unseen': 0.0}, "
        "'trace': {'trace': {'w': float32[2, 3]}}})"
    )
    assert "int32[]" in str(jax.eval_shape(lambda: state))
