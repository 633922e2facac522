"""A run that began with optax goes on with gradkit as if nothing had happened."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from tests.cases import tree_of

SHAPES = {"matrix": (3, 2), "vector": (4,)}
MASK = {"matrix": True, "vector": False}
LABELS = {"matrix": "a", "vector": "b"}


def both(make):
    return make(optax), make(gk)


PAIRS = {
    "adam": lambda lib: lib.adam(0.1, 0.8, 0.95),
    "adamw with a mask": lambda lib: lib.adamw(0.1, weight_decay=0.1, mask=MASK),
    "adamw with a schedule": lambda lib: lib.adamw(lib.cosine_decay_schedule(0.1, 20)),
    "nadam": lambda lib: lib.nadam(0.1),
    "adamax": lambda lib: lib.adamax(0.1),
    "amsgrad": lambda lib: lib.amsgrad(0.1),
    "adabelief": lambda lib: lib.adabelief(0.1),
    "radam": lambda lib: lib.radam(0.1),
    "yogi": lambda lib: lib.yogi(0.1),
    "lamb": lambda lib: lib.lamb(0.1),
    "lion": lambda lib: lib.lion(0.1),
    "adagrad": lambda lib: lib.adagrad(0.1),
    "adadelta": lambda lib: lib.adadelta(0.1),
    "rmsprop with momentum": lambda lib: lib.rmsprop(0.1, momentum=0.9),
    "sgd with momentum": lambda lib: lib.sgd(
        lib.cosine_decay_schedule(0.1, 20), momentum=0.9, nesterov=True
    ),
    "ema": lambda lib: lib.chain(lib.ema(0.9), lib.scale(-0.1)),
    "nested chains": lambda lib: lib.chain(
        lib.clip_by_global_norm(1.0), lib.chain(lib.trace(0.5), lib.adam(0.1)), lib.trace(0.9)
    ),
    "masked": lambda lib: lib.masked(lib.chain(lib.trace(0.5), lib.adam(0.1)), MASK),
    "partition": lambda lib: lib.partition(
        {"a": lib.adam(0.1), "b": lib.sgd(0.1, momentum=0.9)}, LABELS
    ),
    "muon": lambda lib: getattr(lib, "contrib", lib).muon(0.1),
    "inject_hyperparams": lambda lib: lib.inject_hyperparams(lib.adam)(0.1, eps_root=0.0),
    "inject_hyperparams in a chain": lambda lib: lib.chain(
        lib.clip(1.0),
        lib.inject_hyperparams(lib.sgd)(lib.cosine_decay_schedule(0.1, 20), momentum=0.9),
    ),
}


def run(tx, state, params, gradients):
    for grads in gradients:
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(one, other, rtol=1e-11):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol, 1e-13)


@pytest.fixture
def wide():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def trees(count):
    return [tree_of(seed, jnp.float64, SHAPES) for seed in range(count)]


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_the_trajectory_goes_on(wide, make):
    params, *gradients = trees(10)
    theirs, ours = both(make)
    middle, saved = run(theirs, theirs.init(params), params, gradients[:5])
    expected, _ = run(theirs, saved, middle, gradients[5:])
    state = gk.from_optax_state(ours, saved, middle)
    assert jax.tree.structure(state) == jax.tree.structure(ours.init(params))
    result, _ = run(ours, state, middle, gradients[5:])
    # optax computes schedules, and accumulates, in float32.
    assert_close(result, expected, 1e-6 if "schedule" in str(ours) else 1e-11)


@pytest.mark.parametrize("calls", [4, 5], ids=["between two steps", "within an accumulation"])
@pytest.mark.parametrize("mean", [True, False])
def test_the_trajectory_of_multi_steps_goes_on(wide, calls, mean):
    params, *gradients = trees(12)
    theirs = optax.MultiSteps(
        optax.adam(optax.cosine_decay_schedule(0.1, 10)), 2, use_grad_mean=mean
    )
    ours = gk.MultiSteps(
        gk.adam(gk.cosine_decay_schedule(0.1, 10)),
        2,
        use_grad_mean=mean,
        accumulator_dtype=jnp.float64,
    )
    middle, saved = run(theirs, theirs.init(params), params, gradients[:calls])
    expected, _ = run(theirs, saved, middle, gradients[calls:])
    state = gk.from_optax_state(ours, saved, middle)
    assert state.step == calls
    assert_close(run(ours, state, middle, gradients[calls:])[0], expected, 1e-6)


@pytest.mark.parametrize("name", ["ema", "trace", "scale_by_adam"])
def test_the_trajectory_of_multi_steps_around_one_transform_goes_on(wide, name):
    params, *gradients = trees(8)
    theirs = optax.MultiSteps(getattr(optax, name)(0.9), 2)
    ours = gk.MultiSteps(getattr(gk, name)(0.9), 2, accumulator_dtype=jnp.float64)
    middle, saved = run(theirs, theirs.init(params), params, gradients[:3])
    expected, _ = run(theirs, saved, middle, gradients[3:])
    state = gk.from_optax_state(ours, saved, middle)
    assert_close(run(ours, state, middle, gradients[3:])[0], expected, 1e-6)


def test_a_state_that_was_never_used_is_the_one_that_init_makes():
    params = tree_of(0, shapes=SHAPES)
    state = gk.from_optax_state(gk.adam(0.1), optax.adam(0.1).init(params), params)
    assert_close(state, gk.adam(0.1).init(params))


REFUSED = {
    "a transform that is not covered": (
        optax.lbfgs(),
        gk.adam(0.1),
        ValueError,
        "a ScaleByLBFGSState is not covered",
    ),
    "another transform": (
        optax.adam(0.1),
        gk.sgd(0.1, momentum=0.9),
        ValueError,
        "a ScaleByAdamState fits nothing that tx keeps",
    ),
    "a transform that keeps more": (
        optax.sgd(0.1),
        gk.adam(0.1),
        ValueError,
        "fresh      scale_by_adam.moment.average  (2 leaves)",
    ),
    "a scheduled decay": (
        optax.adam(0.1),
        gk.adam(0.1, b1=gk.linear_schedule(0.9, 0.5, 10)),
        ValueError,
        "scheduled decay is not covered",
    ),
    "a state kept narrow": (
        optax.scale_by_adam(),
        gk.scale_by_adam(mu_dtype=gk.stores.blockwise_mean()),
        ValueError,
        f"float32 to {gk.stores.blockwise_mean()}",
    ),
}


@pytest.mark.parametrize(("theirs", "ours", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_covered_is_refused_by_name(theirs, ours, error, words):
    params = tree_of(0, shapes=SHAPES)
    with jax.numpy_dtype_promotion("standard"):
        _, saved = run(
            theirs,
            theirs.init(params),
            params,
            [] if words.startswith("a ScaleByLBFGS") else [params, params],
        )
    with pytest.raises(error, match=r"^from_optax_state") as caught:
        gk.from_optax_state(ours, saved, params)
    assert words in str(caught.value)


def test_counts_that_differ_need_a_step():
    params = tree_of(0, shapes=SHAPES)
    tx = optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(lambda step: 1.0))
    adam, schedule = tx.init(params)
    saved = (adam._replace(count=jnp.int32(3)), schedule._replace(count=jnp.int32(5)))
    ours = gk.chain(gk.scale_by_adam(), gk.scale_by_schedule(lambda step: 1.0))
    with pytest.raises(ValueError, match=r"counts \[3, 5\] differ. Pass step="):
        gk.from_optax_state(ours, saved, params)
    assert gk.from_optax_state(ours, saved, params, step=3).step == 3


def test_a_state_that_lost_its_classes_is_refused():
    with pytest.raises(TypeError, match="a dict is not a state of optax"):
        gk.from_optax_state(gk.adam(0.1), {"0": {"mu": 1}}, jnp.zeros(2))


def test_parameters_of_another_model_are_refused_by_path():
    params, other = tree_of(0, shapes=SHAPES), tree_of(0, shapes={"matrix": (3, 2), "vector": (5,)})
    with pytest.raises(
        ValueError, match=r"moment.average.vector  +float32\[5\], saved float32\[4\]"
    ):
        gk.from_optax_state(gk.adam(0.1), optax.adam(0.1).init(params), other)
