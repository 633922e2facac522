"""A plan says of a step before it runs what it takes."""

import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import gradkit as gk
from gradkit.inspect import _rates
from gradkit.inspect._accounts import rows_of

PARAMS = {
    "encoder": {"kernel": jnp.ones((6, 4), jnp.bfloat16), "bias": jnp.ones(4)},
    "head": jnp.ones((4, 3)),
}
RATES = _rates.Rates(copy=1e9, matmul=1e10, launch=1e-6, call=1e-5)


def shapes_of(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def nbytes(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def loss_fn(params, x, y):
    hidden = x @ params["encoder"]["kernel"].astype(jnp.float32) + params["encoder"]["bias"][None]
    return jnp.mean((hidden @ params["head"] - y) ** 2)


BATCH = (jax.ShapeDtypeStruct((8, 6), jnp.float32), np.zeros((8, 3), np.float32))


@pytest.fixture
def known_rates(monkeypatch):
    monkeypatch.setattr(_rates, "rates_of", lambda device, leaves: RATES)


OPTIMIZERS = {
    "sgd": lambda: gk.sgd(0.1),
    "adamw": lambda: gk.adamw(1e-3, mu_dtype=jnp.bfloat16),
    "clip": lambda: gk.chain(gk.clip_by_global_norm(1.0), gk.MultiSteps(gk.lion(1e-3), 4)),
    "adafactor": lambda: gk.adafactor(1e-3, min_dim_size_to_factor=3),
    "adam_mini": lambda: gk.adam_mini(1e-3),
    "stacked": lambda: gk.stacked(gk.adam(1e-3)),
    "where": lambda: gk.where(gk.by_rank(2), gk.muon(0.02), gk.adamw(1e-3)),
    "guard": lambda: gk.guard(gk.schedule_free_adamw(1e-3)),
    "noise": lambda: gk.chain(gk.add_noise(0.1, 0.5, 0), gk.sm3(0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_bytes_are_those_of_the_allocated_trees(name):
    tx = OPTIMIZERS[name]()
    shapes = shapes_of(PARAMS)
    rows = list(rows_of(tx, shapes, jax.eval_shape(tx.init, shapes)))
    sums = dict.fromkeys(("parameters", "gradients", "state"), 0)
    for row in rows:
        sums[row.what] += row.bytes
    assert sums["parameters"] == sums["gradients"] == nbytes(PARAMS)
    assert sums["state"] == nbytes(tx.init(PARAMS))
    paths = {node.path or tx.factory.__name__ for node in gk.inspect.walk(tx)} | {"step"}
    assert {row.path for row in rows if row.what == "state"} <= paths


def test_state_is_counted_by_transform_and_group():
    tx = gk.where(gk.by_rank(2), gk.adafactor(1e-3, min_dim_size_to_factor=3), gk.adam(1e-3))
    rows = rows_of(tx, PARAMS, jax.eval_shape(tx.init, PARAMS))
    assert {(row.path, row.group): row.bytes for row in rows if row.what == "state"} == {
        ("step", ""): 4,
        ("otherwise.scale_by_adam.moment", "encoder"): 16,
        ("otherwise.scale_by_adam.moment", ""): 4,
        ("otherwise.scale_by_adam.preconditioner", "encoder"): 16,
        ("otherwise.scale_by_adam.preconditioner", ""): 4,
        ("then.scale_by_factored_rms", "encoder"): 4 * (6 + 4),
        ("then.scale_by_factored_rms", "head"): 4 * (4 + 3),
    }


def test_a_parameter_may_be_named_like_a_field_of_the_state():
    params = {"average": jnp.ones(3), "rows": jnp.ones(5)}
    tx = gk.adam(1e-3)
    rows = rows_of(tx, params, jax.eval_shape(tx.init, params))
    sizes = {(row.path, row.group): row.bytes for row in rows}
    assert sizes["scale_by_adam.moment", "average"] == 12
    assert sizes["scale_by_adam.moment", "rows"] == 20


def test_a_step_is_planned_with_its_loss(known_rates):
    tx = gk.chain(gk.clip_by_global_norm(1.0), gk.adamw(1e-3))
    plan = gk.plan(tx, shapes_of(PARAMS), loss_fn, BATCH)
    assert plan.param_bytes == plan.grad_bytes == nbytes(PARAMS)
    assert plan.state_bytes == nbytes(tx.init(PARAMS)) == plan.state_bytes
    assert plan.count == 40
    products = 2 * 8 * (2 * 6 * 4 + 3 * 4 * 3)  # no gradient of the batch is computed
    assert products * 0.9 < plan.flops < 3 * products
    assert plan.traffic_bytes > plan.param_bytes + plan.state_bytes
    batch = sum(4 * math.prod(x.shape) for x in BATCH)
    assert plan.temp_bytes >= 0
    assert plan.peak_bytes >= plan.param_bytes + plan.state_bytes + batch + plan.temp_bytes
    assert plan.not_donated == plan.devices == ()
    assert plan.loops == 0
    assert plan.measured_seconds is None
    assert plan.parts["traffic"] == plan.traffic_bytes / 1e9
    assert plan.parts["arithmetic"] == plan.flops / 1e10
    assert plan.parts["calls"] > RATES.call + 20 * RATES.launch
    assert plan.predicted_seconds == sum(plan.parts.values())
    again = json.loads(json.dumps(plan.to_dict()))
    assert again["rows"][0] == {
        "what": "parameters", "path": "", "group": "encoder", "bytes": 64
    }  # fmt: skip
    assert again["state_bytes"] == plan.state_bytes
    lines = str(plan).splitlines()
    assert lines[1].split() == ["encoder", "head", "others", "total", "bytes", "a", "parameter"]
    assert lines[2].split() == ["parameters", "64", "B", "48", "B", "112", "B", "2.80"]
    assert lines[-1] == "donation: every leaf is updated in place"


def test_parameters_that_fit_no_machine_are_planned(known_rates):
    params = {"w": jax.ShapeDtypeStruct((1 << 20, 1 << 20), jnp.float32)}
    alive = len(jax.live_arrays())
    plan = gk.plan(gk.sgd(0.1, momentum=0.9), params)
    assert plan.param_bytes == 4 << 40
    assert plan.state_bytes == (4 << 40) + 4
    assert plan.peak_bytes >= 3 * (4 << 40)
    assert len(jax.live_arrays()) == alive
    assert plan.parts["traffic"] > 20_000


def test_a_leaf_that_is_not_updated_in_place_is_named_with_the_reason(known_rates):
    def init(params):
        return {"narrow": jnp.zeros((2, 8), jnp.bfloat16), "kept": jnp.zeros(2)}

    def update(updates, state, params=None):
        return updates, {"narrow": 2.0 * state["narrow"].astype(jnp.float32), "kept": state["kept"]}

    tx = gk.chain(gk.GradientTransformation(init, update), gk.scale(-0.1))
    plan = gk.plan(tx, {"w": jnp.ones(3)})
    (lost,) = plan.not_donated
    assert lost.path.startswith("state.inner.")
    assert lost.path.endswith(".narrow")
    assert lost.bytes == 32
    assert lost.reason == "the step returns float32[2, 8] in place of bfloat16[2, 8]"
    assert "donation: 32 B not updated in place" in str(plan)


def test_loops_are_counted(known_rates):
    def loss(w, x):
        return jnp.sum(jax.lax.scan(lambda c, _: (jnp.tanh(w @ c), None), x, None, length=5)[0])

    plan = gk.plan(gk.sgd(0.1), jnp.ones((4, 4)), loss, jnp.ones((4, 4)))
    assert plan.loops == 2  # forward and backward
    assert "2 loops, the body of each counted once" in str(plan)
    assert {row.group for row in plan.rows} == {"params", ""}


def test_extras_are_arrays_shapes_or_functions(known_rates):
    params = {"w": jnp.ones(3)}
    tx = gk.chain(gk.sgd(0.1), gk.scale_by_backtracking_linesearch(3))
    value = jax.ShapeDtypeStruct((), jnp.float32)
    plan = gk.plan(tx, params, extras={"value": value, "value_fn": lambda p: jnp.sum(p["w"] ** 2)})
    assert plan.flops > 0
    assert gk.plan(gk.polyak_sgd(), params).flops > 0  # value is known without being given


def test_the_step_is_measured_beside_its_prediction(monkeypatch):
    for name, small in (("MATRICES", 1), ("WIDTH", 32), ("SIDE", 16), ("FEWEST", 4)):
        monkeypatch.setattr(_rates, name, small)
    monkeypatch.setattr(_rates, "_LONG", 1e-3)
    params = {**PARAMS, "head": jax.ShapeDtypeStruct((4, 3), jnp.float32)}
    plan = gk.plan(gk.sgd(0.1, momentum=0.9), params, loss_fn, BATCH, measure=True)
    assert 0 < plan.measured_seconds < 10
    assert 0 < plan.predicted_seconds < 10
    assert min(plan.rates["copy"], plan.rates["matmul"]) > 0
    assert not PARAMS["encoder"]["kernel"].is_deleted()
    assert "measured" in str(plan)


def test_on_a_mesh_of_one_device_that_device_holds_everything(known_rates):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    plan = gk.plan(gk.adam(1e-3), shapes_of(PARAMS), loss_fn, BATCH, mesh)
    (device,) = plan.devices
    assert (device.param_bytes, device.grad_bytes) == (nbytes(PARAMS),) * 2
    assert device.state_bytes == plan.state_bytes


ONE = {"w": jax.ShapeDtypeStruct((3,), jnp.float32)}


def on_another_mesh():
    make = lambda name: jax.make_mesh((1,), (name,), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(make("a"), PartitionSpec())
    params = {"w": jax.ShapeDtypeStruct((3,), jnp.float32, sharding=sharding)}
    return gk.plan(gk.sgd(0.1), params, mesh=make("b"))


REFUSED = {
    "no_shapes": (
        lambda: gk.plan(gk.sgd(0.1), {"w": object()}),
        TypeError,
        "plan, w: this leaf of params is object. Expected an array or a jax.ShapeDtypeStruct. "
        "Filter the tree to its arrays first.",
    ),
    "no_params": (
        lambda: gk.plan(gk.sgd(0.1), None),
        TypeError,
        "plan: params is None. Expected a tree of arrays.",
    ),
    "no_transform": (
        lambda: gk.plan(gk.sgd, ONE),
        TypeError,
        "plan: tx=sgd is not a transform. Call the factory: sgd(...).",
    ),
    "batch_without_loss": (
        lambda: gk.plan(gk.sgd(0.1), ONE, batch=3.0),
        TypeError,
        "plan: batch=3.0 is given without loss_fn. "
        "Pass the loss: plan(tx, params, loss_fn, batch).",
    ),
    "loss_of_another_signature": (
        lambda: gk.plan(gk.sgd(0.1), ONE, loss_fn),
        TypeError,
        "plan: loss_fn=loss_fn cannot be called: missing a required argument: 'x'. "
        "Pass its arguments as batch; a tuple is spread over them.",
    ),
    "loss_of_no_scalar": (
        lambda: gk.plan(gk.sgd(0.1), ONE, lambda p: p["w"]),
        TypeError,
        "plan: loss_fn returned float32[3]. Expected one real number. "
        "Reduce it, as with jnp.mean; for a pair (loss, aux) pass has_aux=True.",
    ),
    "loss_is_no_function": (
        lambda: gk.plan(gk.sgd(0.1), ONE, 3.0),
        TypeError,
        "plan: loss_fn=3.0 is not a function. Expected a function.",
    ),
    "text_in_the_batch": (
        lambda: gk.plan(gk.sgd(0.1), ONE, lambda p, x: x, {"x": "text"}),
        TypeError,
        "plan, 0.x: this leaf of batch is str. Expected an array or a jax.ShapeDtypeStruct. "
        "Filter the tree to its arrays first.",
    ),
    "no_mesh": (
        lambda: gk.plan(gk.sgd(0.1), ONE, mesh="data"),
        TypeError,
        "plan: mesh='data' is not a mesh. Expected a jax.sharding.Mesh of devices. "
        "Make one with jax.make_mesh.",
    ),
    "another_mesh": (
        on_another_mesh,
        ValueError,
        "plan, w: this leaf of params is on Mesh('a': 1, axis_types=(Auto,)). "
        "Expected the mesh Mesh('b': 1, axis_types=(Auto,)).",
    ),
    "unknown_extra": (
        lambda: gk.plan(gk.sgd(0.1), ONE, extras={"valeu": 1.0}),
        TypeError,
        "plan: the extra argument 'valeu' is taken by no transform. Did you mean 'value'?",
    ),
    "extras_is_no_dict": (
        lambda: gk.plan(gk.sgd(0.1), ONE, extras=[1.0]),
        TypeError,
        "plan: extras=[1.0] is not a dict.",
    ),
    "shardings_of_another_tree": (
        lambda: gk.plan(gk.sgd(0.1), ONE, state_sharding={"w": None}),
        ValueError,
        "plan: state_sharding={'w': None} does not fit the state. "
        "Expected a tree of shardings like tx.init(params), or a prefix of it.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_plan_is_plotted(known_rates):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    ax = gk.plan(gk.adam(1e-3), {str(i): jnp.ones(i + 1) for i in range(9)}).plot()
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels[:2] == ["parameters", "gradients"]
    assert labels[2:4] == ["scale_by_adam.moment", "scale_by_adam.preconditioner"]
    groups = [text.get_text() for text in ax.get_legend().get_texts()]
    assert groups == ["8", "7", "6", "5", "4", "others"]
    widths = {}
    for container, group in zip(ax.containers, groups, strict=True):
        widths[group] = container.patches[0].get_width()
    assert sum(widths.values()) == 4 * sum(range(1, 10))
    pyplot.close(ax.figure)


def test_without_matplotlib_the_message_says_how_to_get_it(monkeypatch, known_rates):
    plan = gk.plan(gk.identity(), ONE)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plot: matplotlib is missing .*gradkit\[plot\]"):
        plan.plot()
