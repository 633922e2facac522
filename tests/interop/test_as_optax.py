"""``as_optax`` is a true optax pair, and the types answer ``isinstance`` and annotations."""

import subprocess
import sys
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state

import gradkit as gk
from tests.cases import tree_of

SHAPES = {"matrix": (3, 2), "vector": (4,)}


@gk.transform
def times_value():
    """Multiply updates by the extra argument ``value``."""
    return gk.stateless(
        lambda updates, params, *, value: jax.tree.map(lambda u: u * value, updates)
    )


def test_it_is_of_optaxs_type():
    assert isinstance(gk.as_optax(gk.adam(1e-3)), optax.GradientTransformationExtraArgs)
    assert isinstance(gk.as_optax(optax.adam(1e-3)), optax.GradientTransformationExtraArgs)


def test_equal_transforms_make_equal_pairs_that_share_a_compilation():
    traces = []

    @jax.jit
    def run(pair, params):
        traces.append(1)
        return pair.update(params, pair.init(params), params)[0]

    run = jax.jit(run.__wrapped__, static_argnums=0)
    first, second = (run(gk.as_optax(gk.adam(0.1)), jnp.ones(2)) for _ in range(2))
    assert len(traces) == 1
    assert gk.as_optax(gk.adam(0.1)) == gk.as_optax(gk.adam(0.1)) != gk.as_optax(gk.adam(0.2))
    np.testing.assert_array_equal(first, second)


WRAPPERS = {
    "chain": lambda tx: optax.chain(optax.clip(1.0), tx),
    "masked": lambda tx: optax.masked(tx, True),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
    "partition": lambda tx: optax.partition({"a": tx}, "a"),
    "inject_hyperparams": lambda tx: optax.inject_hyperparams(
        lambda rate: optax.chain(tx, optax.scale(rate))
    )(1.0),
    "named_chain": lambda tx: optax.named_chain(("it", tx)),
    "flatten": optax.flatten,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_extra_arguments_pass_through_the_wrappers_of_optax(wrap):
    params = jnp.ones(2)
    tx = wrap(gk.as_optax(times_value()))
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(
            jnp.full(2, 0.5), tx.init(params), params, value=jnp.float32(3.0), unheard_of=1
        )
    np.testing.assert_array_equal(updates, 1.5)


def test_extra_arguments_that_nobody_takes_are_ignored_here_and_refused_by_the_transform():
    tx = gk.adam(0.1)
    pair = gk.as_optax(tx)
    pair.update(jnp.ones(2), pair.init(jnp.ones(2)), None, vlaue=1.0, step=3, leaves=1)
    with pytest.raises(TypeError, match="vlaue"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), None, vlaue=1.0)


def test_a_missing_extra_argument_is_still_asked_for():
    pair = gk.as_optax(times_value())
    with pytest.raises(TypeError, match="value"):
        pair.update(jnp.ones(2), pair.init(jnp.ones(2)))


def test_an_optax_transform_inside_takes_every_extra():
    tx = gk.as_optax(gk.chain(optax.contrib.reduce_on_plateau(), gk.scale(1.0)))
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(
            jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2), value=2.0, anything=1
        )
    np.testing.assert_array_equal(updates, 1.0)


def test_numpyro_fits_with_it_and_passes_the_loss():
    numpyro = pytest.importorskip("numpyro")
    from numpyro.infer import SVI, Trace_ELBO

    def model():
        numpyro.sample("x", numpyro.distributions.Normal(1.0, 1.0))

    def guide():
        numpyro.sample("x", numpyro.distributions.Delta(numpyro.param("loc", 0.0)))

    def fit(tx):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            svi = SVI(model, guide, tx, Trace_ELBO())
            return svi.run(jax.random.key(0), 20, progress_bar=False)

    ours, theirs = fit(gk.as_optax(gk.adam(0.1))), fit(optax.adam(0.1))
    np.testing.assert_allclose(ours.losses, theirs.losses, 1e-4)
    stepped = fit(gk.as_optax(gk.chain(gk.sgd(0.1), gk.reduce_on_plateau())))
    assert stepped.losses[-1] < stepped.losses[0]


def test_nnx_optimizer_takes_a_rate_that_is_an_array():
    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gk.as_optax(gk.adam(jnp.float32(1e-2))), wrt=nnx.Param)
    before = model.kernel[...]
    optimizer.update(model, nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model))
    np.testing.assert_allclose(model.kernel[...], before - 1e-2, 1e-5)


def test_train_state_passes_keyword_arguments_on():
    state = train_state.TrainState.create(
        apply_fn=None, params=jnp.ones(2), tx=gk.as_optax(times_value())
    )
    assert state.tx.update(jnp.ones(2), state.opt_state, value=2.0)[0][0] == 2.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [(3, "3 is not a transform"), (gk.adam, r"Call the factory: adam\(\.\.\.\)")],
    ids=["number", "factory"],
)
def test_what_is_no_transform_is_refused(wrong, words):
    with pytest.raises(TypeError, match=f"^as_optax: .*{words}"):
        gk.as_optax(wrong)


def test_without_optax_the_message_says_so():
    code = (
        "import sys; sys.modules['optax'] = None\n"
        "import gradkit as gk\n"
        "try: gk.as_optax(gk.adam(1.0))\n"
        "except ImportError as error: print(error)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "as_optax: optax is not installed. Run pip install optax."


# ---- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [gk.GradientTransformation, gk.GradientTransformationExtraArgs])
def test_every_transform_and_every_optax_pair_is_an_instance(kind):
    assert all(
        isinstance(tx, kind)
        for tx in (gk.adam(0.1), gk.chain(), gk.as_optax(gk.sgd(0.1)), optax.adam(0.1))
    )
    assert not any(
        isinstance(x, kind) for x in (gk.adam, 3, None, (1, 2), {}, gk.linear_schedule(1.0, 0.0, 3))
    )


def test_only_some_optax_pairs_take_extra_arguments():
    bare = optax.GradientTransformation(lambda p: (), lambda u, s, p=None: (u, s))
    assert isinstance(bare, gk.GradientTransformation)
    assert not isinstance(bare, gk.GradientTransformationExtraArgs)


def test_types_stand_in_annotations():
    def step(
        tx: gk.GradientTransformation | None,
        state: gk.OptState,
        params: gk.Params | None,
        rate: gk.ScalarOrSchedule,
    ) -> gk.Updates: ...

    assert set(typing.get_type_hints(step)) == {"tx", "state", "params", "rate", "return"}
    for name in (
        "TransformInitFn",
        "TransformUpdateFn",
        "TransformUpdateExtraArgsFn",
        "MaskOrFn",
        "ShouldSkipUpdateFunction",
        "ConditionFn",
    ):
        assert typing.Optional[getattr(gk, name)]  # noqa: UP045


def test_called_it_makes_a_transform_that_reads_back():
    tx = gk.GradientTransformation(lambda params: gk.EmptyState(), halve)
    again = gk.GradientTransformationExtraArgs(
        tx.init_fn if hasattr(tx, "init_fn") else gk.init_empty_state, halve
    )
    assert type(tx) is type(again) is gk.Transform
    grads = tree_of(0, shapes=SHAPES)
    updates, _ = again.update(grads, again.init(grads))
    np.testing.assert_array_equal(updates["vector"], grads["vector"] / 2)
    assert again == eval(
        repr(again), {**vars(gk), "halve": halve, "init_empty_state": gk.init_empty_state}
    )


def halve(updates, state, params=None):
    return jax.tree.map(lambda u: u / 2, updates), state


def test_trees_with_masked_nodes_are_trees():
    assert jax.tree.leaves({"a": gk.MaskedNode(), "b": 1.0}) == [1.0]
