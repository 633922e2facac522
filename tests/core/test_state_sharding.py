"""What ``state_sharding``, ``placement`` and ``make_step(trainable=)`` do on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

import gradkit as gk

P = PartitionSpec
ONE = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
# Shapes alone: no device is needed.
POD = AbstractMesh((256, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
OTHER = AbstractMesh((8,), ("data",), axis_types=(AxisType.Auto,))
SHAPES = {
    "table": jax.ShapeDtypeStruct(
        (50257, 1024), jnp.bfloat16, sharding=NamedSharding(POD, P(None, "model"))
    ),
    "bias": jax.ShapeDtypeStruct((1024,), jnp.bfloat16),
    "gain": jax.ShapeDtypeStruct((6,), jnp.bfloat16),
}


def moment(state):
    return state.inner["scale_by_adam"]["moment"]["average"]


@pytest.mark.parametrize(
    ("options", "table", "bias"),
    [
        ({}, P(None, "model"), P()),
        ({"axis": "data"}, P(None, ("model", "data")), P("data")),
        ({"axis": ("data", "model")}, P(None, ("model", "data")), P(("data", "model"))),
        ({"axis": "data", "indivisible": "replicate"}, P(None, "model"), P("data")),
        ({"axis": "data", "min_size": 2000}, P(None, ("model", "data")), P()),
    ],
)
def test_a_state_is_spread_by_the_rule_that_is_given(options, table, bias):
    found = moment(gk.state_sharding(gk.adam(1e-3), SHAPES, POD, **options))
    assert found["table"].spec == table
    assert found["bias"].spec == bias
    assert found["gain"].spec == P()
    assert found["table"].mesh == POD


def test_every_array_of_a_state_has_a_sharding():
    tx = gk.chain(gk.clip_by_global_norm(1.0, report=True), gk.adafactor(1e-3, momentum=0.9))
    tx = gk.MultiSteps(gk.guard(tx, norm_sigma=3.0), 2)
    found = gk.state_sharding(tx, SHAPES, POD, axis="data")
    shapes = jax.eval_shape(tx.init, SHAPES)
    for leaf, sharding in zip(jax.tree.leaves(shapes), jax.tree.leaves(found), strict=True):
        sharding.shard_shape(leaf.shape)  # raises unless it divides


def test_one_device_and_the_mesh_that_is_set_will_do():
    params = {"w": jnp.ones((16, 16)), "b": np.ones(3, np.float32)}
    tx = gk.adamw(0.1)
    spread = gk.state_sharding(tx, params, ONE, axis="data")
    with jax.set_mesh(ONE):
        assert jax.tree.leaves(gk.state_sharding(tx, params, axis="data")) == jax.tree.leaves(
            spread
        )
    state = jax.jit(tx.init, out_shardings=spread)(params)
    assert moment(state)["w"].sharding.spec == P("data")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gk.state_sharding(gk.sgd, SHAPES, POD),
            "state_sharding: tx=",
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), SHAPES),
            "state_sharding: mesh=None, and no mesh is set. Pass mesh=, or call it inside `with "
            "jax.set_mesh(mesh)`.",
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), SHAPES, ("data",)),
            "state_sharding: mesh=('data',) is not a mesh. Expected a mesh, as of jax.make_mesh.",
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), SHAPES, POD, axis="batch"),
            "state_sharding: axis='batch' is not an axis of the mesh. Expected one of the axes of "
            "the mesh: 'data', 'model'.",
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), SHAPES, POD, axis=0),
            "state_sharding: axis=0 is not the name of an axis. Expected a name, or a tuple of "
            "names.",
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), SHAPES, POD, axis=("data", "data")),
            "state_sharding: axis=('data', 'data') names an axis twice. Expected different axes.",
        ),
        (
            lambda: gk.state_sharding(gk.adam(0.1), SHAPES, OTHER),
            "state_sharding, table: the parameter is on a mesh with 'data': 256, 'model': 4. "
            "Expected the mesh with 'data': 8.",
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), {"w": "x"}, POD),
            "state_sharding, w: this leaf of params is 'x'. Expected a tree of arrays.",
        ),
        (
            lambda: gk.state_sharding(
                gk.trace(0.9), SHAPES, POD, axis="data", indivisible="refuse", min_size=0
            ),
            "state_sharding, inner.trace.trace.gain: no dimension of float32[6] can be divided by "
            '256 devices. Pass indivisible="next" to replicate it.',
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), SHAPES, POD, axis="data", indivisible="pad"),
            "state_sharding: indivisible='pad'",
        ),
        (
            lambda: gk.state_sharding(gk.sgd(0.1), SHAPES, POD, min_size=-1),
            "state_sharding: min_size=-1 is out of range. Expected an integer >= 0.",
        ),
        (
            lambda: gk.inspect.placement(lambda p, s: p, SHAPES, None),
            "placement: step=",
        ),
        (
            lambda: gk.inspect.Placement(1, 0, 0, 0, {}, ()).assert_placed(collectives={"psum": 1}),
            "assert_placed: collectives has 'psum'. Expected names among all-reduce, "
            "reduce-scatter, all-gather, all-to-all, collective-permute.",
        ),
        (
            lambda: gk.tree.split({"a": 1.0}, gk.by_path("b")),
            "split: mask=by_path('b') matches no parameter",
        ),
        (
            lambda: gk.tree.merge({"a": 1.0}, {"a": 2.0}),
            "merge, a: both trees have this leaf. Pass the two trees of split.",
        ),
        (
            lambda: gk.make_step(lambda p: p["a"], gk.sgd(0.1), trainable=gk.by_path),
            "make_step: trainable=by_path is not a predicate",
        ),
        (
            lambda: gk.make_step(lambda p: p["a"], gk.sgd(0.1), trainable=gk.by_path("b")).init(
                {"a": jnp.ones(())}
            ),
            "make_step: trainable=by_path('b') matches no parameter",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(call, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_placement_raises_for_all_that_differs():
    found = gk.inspect.Placement(8, 100, 200, 300, {"all-reduce": 2}, ("state.inner['trace']",))
    found.assert_placed(param_bytes=100, state_bytes=200, collectives={"all-reduce": 2}, moved=True)
    with pytest.raises(AssertionError) as caught:
        found.assert_placed(state_bytes=199, temp_bytes=0, collectives={})
    assert str(caught.value) == (
        "state_bytes is 200, more than 199; temp_bytes is 300, more than 0; the collectives are "
        "{'all-reduce': 2}, not {}; another sharding after the step: state.inner['trace']"
    )


def test_the_gradients_of_frozen_parameters_are_not_computed():
    params = {f"layer_{i}": jnp.full((32, 32), 0.1) for i in range(4)}
    params["table"] = jnp.arange(32)  # of integers, which have no gradient

    def loss_fn(params, x):
        x = x[:, params["table"]]
        for i in range(4):
            x = x @ params[f"layer_{i}"]
        return jnp.mean(x**2)

    x = jnp.ones((32, 32))

    def run(trainable):
        step = gk.make_step(loss_fn, gk.adam(0.1), trainable=trainable)
        state = step.init(params)
        flops = step.lower(params, state, x).compile().cost_analysis()["flops"]
        return step, state, flops

    _, _, every = run(gk.by_rank(2))
    step, state, last = run(gk.by_path("layer_3"))
    # Of twelve products of matrices (four forward, four of each kind backward, less the gradient of
    # x) the forward ones and one backward are left.
    assert last < 0.55 * every
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 2 * 1024 + 8
    before = jax.tree.map(np.asarray, params)
    new, state, _ = step(jax.tree.map(jnp.array, params), state, x)
    assert not np.allclose(new["layer_3"], before["layer_3"])
    for name in ("layer_0", "layer_1", "layer_2", "table"):
        assert np.array_equal(new[name], before[name])
        assert new[name].dtype == before[name].dtype


def test_a_step_of_some_parameters_names_what_cannot_be_trained():
    params = {"table": jnp.arange(3), "head": jnp.ones(3)}
    state = gk.State(jnp.zeros((), jnp.int32), {})
    both = gk.by_path("table") | gk.by_path("head")
    step = gk.make_step(lambda p: jnp.sum(p["head"]), gk.sgd(0.1), trainable=both)
    with pytest.raises(TypeError, match=r"make_step, table: this leaf of params is int32\[3\]"):
        step(params, state)
    step = gk.make_step(lambda p: p["head"], gk.sgd(0.1), trainable=gk.by_path("head"))
    with pytest.raises(TypeError, match=r"make_step: loss_fn returned float32\[3\]"):
        step(params, state)


def test_a_step_of_some_parameters_has_the_updates_of_a_frozen_chain():
    params = {"body": jnp.ones(3), "head": jnp.full(3, 2.0)}
    loss_fn = lambda params: jnp.sum(params["body"] * params["head"] ** 2)
    some = gk.make_step(loss_fn, gk.adam(0.1), trainable=gk.by_path("head"), donate=False)
    frozen = gk.chain(gk.adam(0.1), gk.freeze(gk.by_path("body")))
    every = gk.make_step(loss_fn, frozen, donate=False)
    one, other = some(params, some.init(params)), every(params, every.init(params))
    assert gk.tree.allclose(one[0], other[0])
    faster = some.replace(learning_rate=1.0)(params, some.init(params))
    np.testing.assert_allclose(faster[0]["head"], 1.0, rtol=1e-5)
    assert float(one[2]) == 12.0
