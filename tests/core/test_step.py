"""make_step and hyperparameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import gradkit as gk
from tests.cases import CASES


def loss_fn(w, x):
    return jnp.sum((w - x) ** 2)


def test_a_step_is_value_and_grad_then_apply():
    tx, x = gk.chain(gk.trace(0.5), gk.scale(-0.1)), jnp.array([1.0, 2.0])
    step = gk.make_step(loss_fn, tx)
    w, state = jnp.zeros(2), tx.init(jnp.zeros(2))
    expected, reference = jnp.zeros(2), tx.init(jnp.zeros(2))
    for _ in range(3):
        value = loss_fn(expected, x)
        expected, reference = tx.apply(expected, reference, jax.grad(loss_fn)(expected, x))
        w, state, loss = step(w, state, x)
        np.testing.assert_allclose(loss, value, 1e-6)
    np.testing.assert_allclose(w, expected, 1e-6)
    assert state.step == 3


def test_it_donates_parameters_and_state():
    step = gk.make_step(loss_fn, gk.chain(gk.trace(0.5), gk.scale(-0.1)))
    w, x = jnp.zeros(2), jnp.ones(2)
    state = step.tx.init(w)
    step(w, state, x)
    assert w.is_deleted()
    assert state.inner["trace"]["trace"].is_deleted()
    assert not x.is_deleted()


def test_replace_does_not_compile_again():
    traces = []

    def loss(w, x):
        traces.append(1)
        return loss_fn(w, x)

    step = gk.make_step(loss, gk.chain(gk.trace(0.5), gk.scale(-0.1)))
    w, state, x = jnp.zeros(2), step.tx.init(jnp.zeros(2)), jnp.ones(2)
    w, state, _ = step(w, state, x)
    slower = step.replace(step_size=0.0)
    kept = np.asarray(w)
    w, state, _ = slower(w, state, x)
    np.testing.assert_array_equal(w, kept)
    assert len(traces) == 1
    assert slower.tx == step.tx.replace(step_size=0.0)
    assert step.tx.replace({"scale.step_size": -0.1}) == step.tx
    assert "trace(0.5)" in repr(step)


def test_it_returns_aux_and_passes_value_grad_and_value_fn():
    seen = {}

    @gk.transform
    def scaled():
        def update(updates, state, params, *, value, grad, value_fn):
            seen.update(value=value, grad=grad)
            return jax.tree.map(lambda u: u * (value_fn(params) - value + 1.0), updates), state

        return gk.Rule(lambda params: (), update)

    step = gk.make_step(
        lambda w, *, x: (loss_fn(w, x), {"size": jnp.sum(w)}),
        gk.chain(scaled(), gk.scale(-0.5)),
        has_aux=True,
    )
    w, _state, loss, aux = step(jnp.zeros(2), step.tx.init(jnp.zeros(2)), x=jnp.array([1.0, 2.0]))
    assert loss == 5.0
    assert aux == {"size": 0.0}
    assert w.tolist() == [1.0, 2.0]
    assert set(seen) == {"value", "grad"}


def test_it_refuses_what_is_not_a_transform():
    with pytest.raises(
        TypeError, match=r"^make_step: tx=.* is not a gradkit transform\. gk\.chain\(tx\) makes"
    ):
        gk.make_step(loss_fn, optax.sgd(0.1))


def test_hyperparameters_are_current_values_by_path():
    rate = gk.schedules.function_schedule(lambda step: jnp.asarray(step, jnp.float32) * 0.5)
    tx = gk.chain(
        gk.clip_by_global_norm(1.0),
        gk.trace(0.9),
        gk.trace(0.8),
        gk.precondition(gk.ema(0.7), gk.averages.running_sum()),
        gk.scale(rate),
    )
    state = tx.init(jnp.zeros(2))
    assert gk.hyperparameters(tx, state)["scale.step_size"] == 0.0
    _, state = tx.update(jnp.ones(2), state)
    now = {path: float(value) for path, value in gk.hyperparameters(tx, state).items()}
    assert now["clip_by_global_norm.max_norm"] == 1.0
    assert (now["trace.decay"], now["trace_1.decay"], now["precondition.moment.decay"]) == (
        0.9,
        0.8,
        0.7,
    )
    assert now["scale.step_size"] == 0.0  # the value that the update used
    _, state = tx.update(jnp.ones(2), state)
    now = {path: float(value) for path, value in gk.hyperparameters(tx, state).items()}
    assert now["scale.step_size"] == 0.5
    traced = jax.jit(gk.hyperparameters)(tx, state)
    assert set(traced) == set(now)
    np.testing.assert_allclose([traced[path] for path in now], list(now.values()), 1e-6)


def test_every_hyperparameter_path_is_one_that_replace_takes():
    tx = gk.chain(gk.clip_by_global_norm(1.0), gk.adam(0.1))
    for path, value in gk.hyperparameters(tx, tx.init(jnp.zeros(1))).items():
        if isinstance(value, float):
            assert (
                gk.hyperparameters(tx.replace({path: value / 2}), tx.init(jnp.zeros(1)))[path]
                == value / 2
            )


def test_hyperparameters_refuses_what_is_not_a_state():
    with pytest.raises(
        TypeError, match=r"^hyperparameters: the state is dict\. Expected the State of a transform"
    ):
        gk.hyperparameters(gk.scale(1.0), {})


def test_a_new_number_of_any_kind_compiles_nothing():
    traces = []
    step = gk.make_step(lambda w, x: traces.append(1) or loss_fn(w, x), gk.sgd(0.1))
    w, state = jnp.zeros(2), step.tx.init(jnp.zeros(2))
    for rate in (0.1, 0, 1, np.float32(0.1), jnp.float32(0.1), gk.linear_schedule(0.1, 0.0, 10)(3)):
        w, state, _ = step.replace(learning_rate=rate)(w, state, jnp.ones(2))
    assert len(traces) == 1


@gk.transform
def cool():
    """Divide by a temperature."""

    def update(updates, params, *, temperature):
        return jax.tree.map(lambda u: u / temperature, updates)

    return gk.stateless(update)


COOLED = gk.chain(cool(), gk.scale(-0.5))


def test_extras_go_to_the_transforms_and_not_to_the_loss():
    step = gk.make_step(loss_fn, COOLED, extras=("temperature",))
    w, _, _ = step(jnp.zeros(2), step.tx.init(jnp.zeros(2)), jnp.ones(2), temperature=2.0)
    assert w.tolist() == [0.5, 0.5]
    one = gk.make_step(loss_fn, COOLED, extras="temperature")
    w, _, _ = one(jnp.zeros(2), one.tx.init(jnp.zeros(2)), jnp.ones(2), temperature=1.0)
    assert w.tolist() == [1.0, 1.0]


def test_a_keyword_that_is_not_among_the_extras_goes_to_the_loss_only():
    step = gk.make_step(loss_fn, COOLED)
    with pytest.raises(TypeError, match="unexpected keyword argument 'temperature'"):
        step(jnp.zeros(2), step.tx.init(jnp.zeros(2)), jnp.ones(2), temperature=2.0)
    mine = gk.make_step(lambda w, x, temperature: loss_fn(w, x) * temperature, COOLED)
    with pytest.raises(TypeError, match=r"cool: the extra argument 'temperature' is missing"):
        mine(jnp.zeros(2), step.tx.init(jnp.zeros(2)), jnp.ones(2), temperature=2.0)
    own = gk.make_step(lambda w, x, value: loss_fn(w, x) * value, gk.sgd(0.25))
    _, _, loss = own(jnp.zeros(2), own.tx.init(jnp.zeros(2)), jnp.ones(2), value=3.0)
    assert loss == 6.0


def test_extras_that_no_transform_takes_are_refused_when_the_step_is_made():
    words = r"^make_step: the extra argument 'temperatur' is taken by no transform\. Did you mean"
    with pytest.raises(TypeError, match=words):
        gk.make_step(loss_fn, COOLED, extras=("temperatur",))
    with pytest.raises(TypeError, match=r"^make_step: extras\[0\]=3 is not a string"):
        gk.make_step(loss_fn, COOLED, extras=(3,))


def test_static_arguments_of_the_loss_are_compiled_in():
    traces = []

    def loss(w, x, *, train, shift=0.0):
        traces.append(train)
        return loss_fn(w, x) if train else jnp.sum(w + shift)  # a branch on a concrete bool

    step = gk.make_step(loss, gk.sgd(0.25), static_argnames="train")
    w, state = jnp.zeros(2), step.tx.init(jnp.zeros(2))
    w, state, value = step(w, state, jnp.ones(2), train=True)
    assert value == 2.0
    for _ in range(2):
        w, state, _ = step(w, state, jnp.ones(2), train=False)
    step.replace(learning_rate=0.5)(w, state, jnp.ones(2), train=True, shift=1.0)
    assert traces == [True, False, True]


def test_a_fresh_state_shares_no_buffer_so_that_a_step_may_donate_it():
    @gk.transform
    def shared():
        def init(params):
            zero = jnp.zeros(())
            return {"first": zero, "second": zero, "start": params}

        def update(updates, state, params):
            return updates, {**state, "first": state["first"] + 1.0}

        return gk.Rule(init, update)

    for tx in (gk.guard(gk.sgd(0.25)), shared()):
        step = gk.make_step(lambda w: jnp.sum(w**2), tx)
        w = jnp.ones(2)
        _, state, _ = step(w, tx.init(w))
        assert state.step == 1


def test_a_step_that_does_not_donate_keeps_what_it_was_given():
    step = gk.make_step(
        loss_fn, gk.chain(optax.lbfgs()), donate=False
    )  # whose first state holds the parameters themselves
    w = jnp.zeros(2)
    step(w, step.tx.init(w), jnp.ones(2))
    assert not w.is_deleted()


def falling(step):
    return 1.0 - 0.1 * jnp.asarray(step, jnp.float32)


W = gk.by_path("w")
BY_LABEL = {"w": "a", "b": "b"}
# The updates that the clock of each path has completed after five calls; None for a constant.
CLOCKS = [
    (
        lambda s: gk.where(W, gk.sgd(s), gk.adam(0.1)),
        {"then.learning_rate": 5, "otherwise.learning_rate": None},
    ),
    (
        lambda s: gk.apply_if_finite(gk.sgd(s), 3),
        {"inner.learning_rate": 5, "max_consecutive_errors": None},
    ),
    (
        lambda s: gk.multi_transform({"a": gk.MultiSteps(gk.sgd(s), 4), "b": gk.sgd(s)}, BY_LABEL),
        {"a.opt.learning_rate": 1, "b.learning_rate": 5},
    ),
    (lambda s: gk.guard(gk.MultiSteps(gk.sgd(s), 4)), {"inner.opt.learning_rate": 1}),
    (
        lambda s: gk.MultiSteps(gk.chain(gk.clip(1.0), gk.sgd(s)), 2),
        {"opt.sgd.learning_rate": 2},
    ),
    (
        lambda s: gk.chain(gk.clip(1.0), gk.masked(gk.sgd(s), W)),
        {"masked.learning_rate": 5},
    ),
    (
        lambda s: gk.named_chain(("x", gk.MultiSteps(gk.sgd(s), 2)), ("y", gk.sgd(s))),
        {"x.opt.learning_rate": 2, "y.learning_rate": 5},
    ),
]


@pytest.mark.parametrize(("make", "paths"), CLOCKS, ids=range(len(CLOCKS)))
def test_hyperparameters_inside_wrappers_go_by_the_wrappers_clock(make, paths):
    tx, params = make(gk.schedules.function_schedule(falling)), {"w": jnp.ones(2), "b": jnp.ones(2)}
    state = tx.init(params)
    for _ in range(5):
        _, state = tx.update(params, state, params)
    found = gk.hyperparameters(tx, state)
    assert paths.keys() <= found.keys()
    for path, steps in paths.items():
        if steps is not None:
            np.testing.assert_allclose(found[path], falling(steps - 1), 1e-6, err_msg=path)


@gk.transform
def accumulated(rate: gk.Rate) -> gk.Transform:
    return gk.MultiSteps(gk.chain(gk.clip(9.0), gk.sgd(rate)), 2)


@gk.transform
def accumulated_at_half(rate: gk.Rate) -> gk.Transform:
    return gk.chain(gk.scale(1.0), accumulated(0.5 * rate))


@gk.transform
def on_two_clocks(rate: gk.Rate) -> gk.Transform:
    return gk.chain(gk.MultiSteps(gk.sgd(rate), 2), gk.scale_by_learning_rate(rate))


@gk.transform
def in_a_function(rate: gk.Rate) -> gk.Transform:
    return gk.MultiSteps(gk.sgd(lambda step: rate(step)), 2)


@gk.transform
def without_a_clock(rate: gk.Rate) -> gk.Transform:
    return gk.chain(gk.trace(0.9), gk.scale_by_learning_rate(lambda step: rate(step) / 2))


RECIPES = [
    (accumulated, 2),
    (accumulated_at_half, 2),
    (lambda s: gk.guard(accumulated(s)), 2),
    (lambda s: gk.MultiSteps(without_a_clock(s), 2), 2),
    (without_a_clock, 5),
    (on_two_clocks, None),
    (in_a_function, None),
]


@pytest.mark.parametrize(("make", "steps"), RECIPES, ids=range(len(RECIPES)))
def test_a_scheduled_argument_of_a_recipe_has_the_value_that_was_used(make, steps):
    tx, params = make(gk.schedules.function_schedule(falling)), jnp.ones(2)
    state = tx.init(params)
    for _ in range(5):
        _, state = tx.update(params, state, params)
    found = {p.rpartition(".")[2]: v for p, v in gk.hyperparameters(tx, state).items()}
    if steps is None:
        assert "rate" not in found
    else:
        np.testing.assert_allclose(found["rate"], falling(steps - 1), 1e-6)


def test_the_value_shown_for_a_recipe_is_the_one_in_its_update():
    tx = accumulated(gk.schedules.function_schedule(falling))
    state = tx.init(jnp.zeros(1))
    for _ in range(4):
        updates, state = tx.update(jnp.ones(1), state)
    np.testing.assert_allclose(updates, [-gk.hyperparameters(tx, state)["rate"]], 1e-6)


def test_a_schedule_that_a_wrapper_reads_at_the_step_of_its_part_is_not_shown():
    every = gk.schedules.function_schedule(lambda step: 2.0 + step)
    tx = gk.MultiSteps(gk.sgd(0.5), every)
    assert gk.hyperparameters(tx, tx.init(jnp.zeros(1))).keys() == {"opt.learning_rate"}


def test_the_state_in_an_nnx_optimizer_can_be_read():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    tx = gk.chain(gk.sgd(gk.schedules.function_schedule(falling)), gk.weight_ema(0.5))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    optimizer.update(model, nnx.grad(lambda model: jnp.sum(model(jnp.ones((1, 2)))))(model))
    np.testing.assert_allclose(
        gk.hyperparameters(tx, optimizer.opt_state)["sgd.learning_rate"], 1.0, 1e-6
    )
    params = nnx.state(model, nnx.Param)
    weights = gk.eval_params(tx, optimizer.opt_state, params)
    assert jax.tree.structure(weights) == jax.tree.structure(params)
    np.testing.assert_allclose(
        weights["kernel"].get_value(), params["kernel"].get_value(), 1e-6
    )  # after one step the average is the weights


WRAPPED = [case for case in CASES if isinstance(case.make(), gk.Transform)]


@pytest.mark.parametrize("case", WRAPPED, ids=lambda case: case.name)
def test_replace_takes_every_path_of_hyperparameters(case):
    tx = gk.chain(case.make())
    paths = gk.hyperparameters(tx, gk.State(jnp.zeros((), jnp.int32), {}))
    for path, value in paths.items():
        if isinstance(value, float):
            assert isinstance(tx.replace({path: value}), gk.Transform)


def test_complex_parameters_descend():
    at = jnp.array([1.0 + 2.0j, -3.0 - 1.0j], jnp.complex64)
    step = gk.make_step(lambda z: jnp.sum(jnp.abs(z - at) ** 2), gk.sgd(0.25), donate=False)
    z, state = jnp.zeros(2, jnp.complex64), step.tx.init(jnp.zeros(2, jnp.complex64))
    z, _, loss = step(z, state)
    np.testing.assert_allclose(z, at / 2, rtol=1e-6)
    assert loss == pytest.approx(15.0)
