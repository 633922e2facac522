"""Arguments of type ``Rate``: how they are read, and that eager and jitted updates never differ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.cases import CASES

G = {"w": jnp.array([3.0, -4.0])}


def falling(step):
    return 0.5 - 0.1 * jnp.asarray(step, jnp.float32)


def updates_of(tx, count, mode):
    """The updates of several steps: eagerly, under jit, or with jit disabled."""
    update = jax.jit(tx.update) if mode == "jit" else tx.update
    found = []
    with jax.disable_jit(mode == "disable_jit"):
        state = tx.init(G)
        for _ in range(count):
            updates, state = update(G, state, G)
            found.append(np.asarray(updates["w"]))
    return found


def nan_at_2(step):
    return jnp.where(jnp.asarray(step) == 2, jnp.nan, 0.5)


# Values that leave the range which a constant is held to.
OUTSIDE = {
    "norm 0": lambda: gk.clip_by_global_norm(gk.linear_schedule(1.0, 0.0, 3)),
    "norm below 0": lambda: gk.clip_by_global_norm(gk.linear_schedule(1.0, -1.0, 3)),
    "clip 0": lambda: gk.clip(gk.linear_schedule(1.0, 0.0, 3)),
    "decay 1": lambda: gk.ema(gk.linear_schedule(0.9, 1.0, 3)),
    "decay above 1": lambda: gk.trace(gk.linear_schedule(0.9, 1.3, 3)),
    "adam's decay 1": lambda: gk.adam(0.1, b1=gk.linear_schedule(0.9, 1.0, 2)),
    "rate below 0": lambda: gk.sgd(gk.linear_schedule(1.0, -1.0, 3)),
    "rate nan": lambda: gk.sgd(nan_at_2),
    "decay nan": lambda: gk.ema(nan_at_2),
    "weight decay nan": lambda: gk.adamw(0.1, weight_decay=nan_at_2),
    "eps below 0": lambda: gk.adam(0.1, eps=gk.linear_schedule(1.0, -1.0, 3)),
    "in a wrapper": lambda: gk.guard(gk.clip_by_global_norm(gk.linear_schedule(1.0, 0.0, 3))),
    "of a wrapper": lambda: gk.guard(gk.sgd(0.1), max_norm=gk.linear_schedule(9.0, -1.0, 3)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_scheduled_value_out_of_range_does_the_same_eagerly_and_under_jit(name):
    jitted, *others = (updates_of(OUTSIDE[name](), 5, m) for m in ("jit", "eager", "disable_jit"))
    for other in others:
        for one, two in zip(jitted, other, strict=True):
            np.testing.assert_allclose(one, two, 1e-6, equal_nan=True)


@pytest.mark.parametrize("mode", ["eager", "jit", "disable_jit"])
@pytest.mark.parametrize("make", [gk.sgd, gk.ema, gk.clip_by_global_norm, gk.trace])
def test_a_schedule_that_returns_an_array_is_refused_however_it_runs(make, mode):
    words = r"(learning_rate|decay|max_norm)=.*"
    with pytest.raises(TypeError, match=words):
        updates_of(make(lambda step: jnp.full((2,), 0.5)), 1, mode)

    @gk.schedule
    def arrays():
        return lambda step: jnp.full((2,), 0.5)

    with pytest.raises((TypeError, ValueError), match=r"array|float32\[2\]|one (real )?number"):
        updates_of(make(arrays()), 1, mode)


# ---- functions, integers, factories ------------------------------------------------------------


def rates_of(case):
    """The arguments of a record that may be scheduled, where the record gives them a number."""
    tx = case.make()
    return [
        name
        for name, value in tx.arguments.items()
        if name in tx.factory.movable and isinstance(value, float)
    ]


PLACES = [
    (case, name)
    for case in CASES
    if isinstance(case.make(), gk.Transform)
    for name in rates_of(case)
    # Their records have warmup_steps, which a schedule takes the place of.
    if not (case.name.startswith("schedule_free_") and name == "learning_rate")
]


@pytest.mark.parametrize(
    ("case", "name"), PLACES, ids=lambda value: getattr(value, "name", str(value))
)
def test_every_rate_takes_a_lambda_an_integer_and_an_array_but_no_factory(case, name):
    tx = case.make()
    value = tx.arguments[name]
    moving = tx.replace({name: lambda step: value})
    assert isinstance(moving.arguments[name], gk.Schedule)
    assert float(moving.arguments[name](0)) == np.float32(value)
    assert moving == moving.replace({name: moving.arguments[name]})
    # A scalar array is the number it holds, so that a transform may be a static attribute.
    assert tx.replace({name: jnp.asarray(value)}).arguments[name] == np.float32(value)
    with pytest.raises(TypeError, match=rf"{name}=cosine_decay_schedule is a factory\. Call"):
        tx.replace({name: gk.cosine_decay_schedule})
    with pytest.raises(TypeError, match=rf"{name}=.* cannot be called with 1 positional argument"):
        tx.replace({name: lambda: value})


def test_a_lambda_is_the_schedule_of_its_values():
    tx, moved = gk.sgd(falling), gk.sgd(lambda step: falling(step))
    found, expected = updates_of(tx, 3, "eager"), updates_of(moved, 3, "jit")
    for step, (one, two) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(one, -(0.5 - 0.1 * step) * np.array([3.0, -4.0]), 1e-6)
        np.testing.assert_allclose(two, one, 1e-6)


def test_integers_are_floats_where_a_rate_is_expected():
    assert gk.sgd(0) == gk.sgd(0.0)
    assert hash(gk.sgd(1)) == hash(gk.sgd(1.0))
    assert repr(gk.sgd(1)) == "sgd(1.0)"
    assert type(gk.adam(1, b1=0, eps=0).b1) is float
    assert gk.clip(np.int32(2)) == gk.clip(2.0)
    assert jax.tree.structure(gk.adamw(0)) == jax.tree.structure(gk.adamw(0.5))
    assert gk.sgd(0.1).replace(learning_rate=0) == gk.sgd(0.0)
    assert type(gk.MultiSteps(gk.sgd(0.1), 2).every_k_schedule) is int


def test_an_integer_and_a_float_share_one_compilation():
    traces = []

    @jax.jit
    def run(tx):
        traces.append(1)
        return tx.update(G, tx.init(G))[0]["w"]

    assert (run(gk.sgd(1)) == run(gk.sgd(1.0))).all()
    run(gk.sgd(0))
    assert len(traces) == 1


@pytest.mark.parametrize(
    "value", ["fast", None, [0.1], {"a": 1}, True, 1j, gk.sgd(0.1), np.array("a")]
)
def test_what_is_not_a_rate_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"^sgd: learning_rate=.* is not a number"):
        gk.sgd(value)


# ---- arguments of a user's own factory ---------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["init", "update", "apply", "rule", "replace", "expand", "body", "leaves", "arguments"]
)
def test_an_argument_that_would_hide_a_method_is_refused_when_the_factory_is_made(name):
    scope = {}
    exec(f"def mine({name}=1.0): ...", scope)
    words = rf"mine: the parameter '{name}' would hide Transform\.{name}\. Choose another name"
    with pytest.raises(TypeError, match=words):
        gk.transform(scope["mine"])


@pytest.mark.parametrize("name", ["replace", "children", "body"])
def test_an_argument_that_would_hide_a_method_of_a_schedule_is_refused_too(name):
    scope = {}
    exec(f"def mine({name}=1.0): ...", scope)
    with pytest.raises(TypeError, match=rf"mine: the parameter '{name}' would hide Schedule"):
        gk.schedule(scope["mine"])


def test_an_argument_of_type_rate_is_read_in_a_users_factory_too():
    @gk.transform
    def grow(factor: gk.Rate, count: int = 1, name: str = "a") -> gk.Rule:
        return gk.stateless(lambda updates, params: jax.tree.map(lambda u: factor * u, updates))

    assert grow(2) == grow(2.0)
    assert grow(2).count == 1
    np.testing.assert_allclose(updates_of(grow(falling), 2, "jit")[1], [1.2, -1.6], 1e-6)
    with pytest.raises(TypeError, match=r"^grow: factor=constant_schedule is a factory"):
        grow(gk.constant_schedule)
    with pytest.raises(TypeError, match=r"^grow: count=1\.5 is not an integer"):
        grow(1.0, 1.5)
    with pytest.raises(TypeError, match=r"^grow: name=3 is not a string"):
        grow(1.0, 1, 3)
