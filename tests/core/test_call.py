"""A factory call is data."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.cases import factories


@gk.transform
def mixed(rate, count=3, flag=False, name="a", parts=(), *, table=None):
    return gk.stateless(lambda updates, params: updates)


def test_floats_arrays_and_calls_are_data_and_all_else_is_structure():
    tx = mixed(0.5, 2, True, "b", (gk.scale(2.0), 1.5), table={"x": 0.25, "n": 7})
    leaves, structure = jax.tree.flatten(tx)
    assert leaves == [0.5, 2.0, 1.5, 0.25]
    assert structure == jax.tree.structure(
        mixed(9.0, 2, True, "b", (gk.scale(3.0), 8.0), table={"x": 7.0, "n": 7})
    )
    assert structure != jax.tree.structure(
        mixed(0.5, 3, True, "b", (gk.scale(2.0), 1.5), table={"x": 0.25, "n": 7})
    )
    assert (
        next(jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tx))
        == ".rate"
    )


def test_a_traced_leaf_is_not_judged_and_not_kept():
    tx = gk.clip_by_global_norm(1.0)
    grads = {"w": jnp.array([3.0, 4.0])}

    @jax.jit
    def run(tx):
        return tx.update(grads, tx.init(grads))[0]

    np.testing.assert_allclose(run(tx)["w"], [0.6, 0.8], 1e-6)
    np.testing.assert_allclose(run(tx.replace(max_norm=2.0))["w"], [1.2, 1.6], 1e-6)
    run(jax.tree.map(lambda x: -x, tx))  # out of range, but not known to be
    with pytest.raises(ValueError, match=r"max_norm=.* is out of range"):
        tx.replace(max_norm=-1.0)


def test_unflatten_takes_anything():
    structure = jax.tree.structure(gk.ema(0.9))
    for leaf in (None, 0, object(), "x"):
        assert structure.unflatten([leaf] * structure.num_leaves) is not None


def test_repr_leaves_out_defaults_and_names_what_follows_one():
    assert repr(gk.ema(0.9)) == "ema(0.9)"
    assert repr(gk.ema(0.9, True)) == "ema(0.9)"
    assert repr(gk.ema(0.9, nesterov=True)) == "ema(0.9, nesterov=True)"
    assert repr(gk.ema(0.9, True, "bfloat16")) == "ema(0.9, accumulator_dtype='bfloat16')"
    assert repr(gk.chain(gk.scale(1.0), gk.clip(2.0))) == "chain(scale(1.0), clip(2.0))"
    assert repr(gk.named_chain(("a", gk.scale(1.0)))) == "named_chain(('a', scale(1.0)))"
    assert repr(gk.scale(jnp.float32(0.5))) == "scale(0.5)"
    assert repr(mixed(1.0, table={"x": [1.0, (2,)]})) == "mixed(1.0, table={'x': [1.0, (2,)]})"


def test_repr_of_a_traced_call_does_not_fail():
    seen = []
    jax.jit(lambda tx: seen.append(repr(tx)) or 0)(gk.scale(2.0))
    assert seen[0].startswith("scale(")


def test_equality_tells_factory_structure_and_numbers_apart():
    assert gk.scale(2.0) == gk.scale(2.0)
    assert gk.scale(2.0) != gk.scale(3.0)
    assert gk.ema(0.9) != gk.trace(0.9)
    assert gk.ema(0.9, debias=False) != gk.ema(0.9)
    assert gk.scale(np.float32(2.0)) == gk.scale(2.0)
    assert gk.scale(jnp.array([1.0, 2.0])) == gk.scale(jnp.array([1.0, 2.0]))
    assert gk.scale(jnp.array([1.0, 2.0])) != gk.scale(jnp.array([1.0, 3.0]))
    assert (
        len({gk.scale(jnp.array([1.0, 2.0])), gk.scale(jnp.array([1.0, 2.0])), gk.scale(1.0)}) == 2
    )


def test_dtypes_are_kept_by_name_whatever_way_they_are_said():
    calls = [
        gk.ema(0.9, accumulator_dtype=dtype)
        for dtype in ("bfloat16", jnp.bfloat16, jnp.dtype("bfloat16"))
    ]
    assert len(set(calls)) == 1
    assert len({repr(call) for call in calls}) == 1


def test_an_unknown_argument_is_answered_with_the_nearest():
    with pytest.raises(
        TypeError,
        match=r"^ema: got an unexpected keyword argument 'debiased'. Did you mean 'debias'\?",
    ):
        gk.ema(0.9, debiased=False)
    with pytest.raises(TypeError, match=r"^scale: missing a required argument: 'step_size'"):
        gk.scale()
    with pytest.raises(
        AttributeError, match=r"ema has no argument 'decays'. Did you mean 'decay'\?"
    ):
        _ = gk.ema(0.9).decays


def test_replace_by_unique_name_by_path_and_by_name_in_the_chain():
    tx = gk.chain(gk.clip_by_global_norm(1.0), gk.scale_by_adam(0.8), gk.scale(-0.1))
    assert tx.replace(max_norm=2.0) == gk.chain(
        gk.clip_by_global_norm(2.0), gk.scale_by_adam(0.8), gk.scale(-0.1)
    )
    assert tx.replace({"scale_by_adam.b1": 0.5}) == tx.replace(b1=0.5)
    assert tx.replace(b1=0.5, step_size=-1.0) == gk.chain(
        gk.clip_by_global_norm(1.0), gk.scale_by_adam(0.5), gk.scale(-1.0)
    )
    assert not hasattr(tx, "max_norm"), "a chain has its parts' arguments by path, not as its own"
    twice = gk.chain(gk.trace(0.9), gk.trace(0.8))
    assert twice.replace({"trace_1.decay": 0.5}) == gk.chain(gk.trace(0.9), gk.trace(0.5))
    assert twice.replace({"trace.decay": 0.5}) == gk.chain(gk.trace(0.5), gk.trace(0.8))
    named = gk.named_chain(("slow", gk.trace(0.9)), ("fast", gk.trace(0.1)))
    assert named.replace({"fast.decay": 0.2}) == gk.named_chain(
        ("slow", gk.trace(0.9)), ("fast", gk.trace(0.2))
    )
    deep = gk.chain(gk.chain(gk.clip(1.0)), gk.precondition(gk.ema(0.9), gk.averages.running_sum()))
    assert deep.replace(max_delta=3.0, decay=0.5) == gk.chain(
        gk.chain(gk.clip(3.0)), gk.precondition(gk.ema(0.5), gk.averages.running_sum())
    )


def test_replace_of_an_ambiguous_or_unknown_name_lists_the_candidates():
    tx = gk.chain(gk.trace(0.9), gk.ema(0.8))
    with pytest.raises(
        ValueError,
        match=r"^chain: replace: 'decay' is ambiguous: 2 arguments match\. "
        r"Use one of: trace\.decay, ema\.decay\.$",
    ):
        tx.replace(decay=0.5)
    with pytest.raises(
        ValueError, match=r"'ema\.decays' matches no argument\. Did you mean 'ema\.decay'\?"
    ):
        tx.replace({"ema.decays": 0.5})


def test_replace_judges_the_new_value():
    with pytest.raises(ValueError, match=r"decay=1.5 is out of range"):
        gk.chain(gk.ema(0.9), gk.scale(1.0)).replace(decay=1.5)


def test_own_arguments_come_before_those_of_parts():
    tx = gk.adam(0.1, 0.8)
    assert tx.replace(b1=0.5) == gk.adam(0.1, 0.5)
    assert tx.b1 == 0.8
    assert tx.expand() != tx
    assert tx.expand() == gk.chain(gk.scale_by_adam(0.8), gk.scale_by_learning_rate(0.1))


def test_pickle_keeps_arrays_schedules_and_nested_calls():
    tx = gk.chain(
        gk.scale(jnp.array(2.0)),
        gk.named_chain(
            ("m", gk.ema(0.5 + gk.constant_schedule(0.25), accumulator_dtype="bfloat16"))
        ),
    )
    back = pickle.loads(pickle.dumps(tx))
    assert back == tx
    assert hash(back) == hash(tx)


def test_axes_marks_the_arrays_of_a_population():
    tx = gk.chain(gk.clip(1.0), gk.scale(jnp.array([0.1, 0.2])))
    assert jax.tree.leaves(tx.vmap_axes(), is_leaf=lambda x: x is None) == [None, 0]


def test_a_population_is_its_members():
    rates, grads, params = (
        jnp.array([0.1, 0.2, 0.3]),
        {"w": jnp.array([3.0, 4.0])},
        {"w": jnp.zeros(2)},
    )
    tx = gk.chain(gk.trace(0.5), gk.scale(1.0)).replace(step_size=rates)

    def train(tx, params):
        state = tx.init(params)
        for _ in range(2):
            params, state = tx.apply(params, state, grads)
        return params

    together = jax.jit(jax.vmap(train, in_axes=(tx.vmap_axes(), None)))(tx, params)
    for i, rate in enumerate(rates):
        alone = train(tx.replace(step_size=float(rate)), params)
        np.testing.assert_allclose(together["w"][i], alone["w"], 1e-6)


def test_grad_reaches_a_hyperparameter():
    grads, params = jnp.array([3.0, -2.0]), jnp.array([1.0, 1.0])

    def loss(tx):
        new, _ = tx.apply(params, tx.init(params), grads)
        return jnp.sum(new**2)

    slope = jax.grad(loss)(gk.chain(gk.trace(0.5), gk.scale(-0.1)))
    assert isinstance(slope, gk.Transform)
    np.testing.assert_allclose(
        slope.replace({"scale.step_size": 0.0}).leaves[0].leaves[0], 0.0
    )  # the state of trace is still zero
    np.testing.assert_allclose(
        slope.leaves[1].leaves[0],
        2 * np.sum((np.array([1.0, 1.0]) - 0.1 * np.array([3.0, -2.0])) * np.array([3.0, -2.0])),
        1e-5,
    )


def test_every_factory_is_found_by_its_own_name():
    for name, factory in factories().items():
        assert factory.__name__ == name
        assert factory.__wrapped__ is not factory


def test_a_whole_number_in_the_place_of_a_float_is_data_too():
    assert jax.tree.leaves(gk.adamw(0.1, weight_decay=0)) == jax.tree.leaves(
        gk.adamw(0.1, weight_decay=0.0)
    )
    assert jax.tree.structure(gk.sgd(0.1).replace(learning_rate=0)) == jax.tree.structure(
        gk.sgd(0.1)
    )
    assert type(mixed(0.5, count=7).count) is int


def test_replace_finds_its_place_where_one_call_stands_in_two():
    inner = gk.adamw(1e-3)
    assert gk.where(gk.by_rank(2), inner, inner).replace(
        {"otherwise.learning_rate": 1e-5}
    ) == gk.where(gk.by_rank(2), inner, gk.adamw(1e-5))
    clip = gk.clip(1.0)
    assert gk.chain(clip, gk.sgd(0.1), clip).replace({"clip_1.max_delta": 2.0}) == gk.chain(
        clip, gk.sgd(0.1), gk.clip(2.0)
    )


def test_a_random_key_prints():
    assert (
        repr(gk.stochastic_rounding(jax.random.key(3)))
        == "stochastic_rounding(wrap_key_data(array([0, 3])))"
    )
    assert "key" in str(
        jax.make_jaxpr(lambda key: repr(gk.stochastic_rounding(key)) and key)(jax.random.key(3))
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: gk.adam(lr=0.1),
            r"adam: got an unexpected keyword argument 'lr'\. Did you mean 'learning_rate'\?",
        ),
        (lambda: gk.adam(0.1, beta1=0.9), "Did you mean 'b1'"),
        (lambda: gk.adamw(0.1, wd=0.1), "Did you mean 'weight_decay'"),
        (lambda: gk.adamw(0.1, weight_decay_mask=None), "Did you mean 'mask'"),
        (
            lambda: gk.adam(gk.sgd(0.1)),
            r"^adam: learning_rate=sgd\(0\.1\) is not a number\. Expected a number, .*",
        ),
        (
            lambda: gk.sgd(gk.cosine_decay_schedule),
            r"^sgd: .*=cosine_decay_schedule is a factory\. Call the factory: cosine_decay_",
        ),
        (
            lambda: gk.MultiSteps(gk.adam, 4),
            r"^MultiSteps: opt=adam is not a transform\. Call the factory: adam\(\.\.\.\)",
        ),
    ],
)
def test_names_of_other_libraries_and_uncalled_factories_are_answered(make, words):
    with pytest.raises(TypeError, match=words) as error:
        make()
    assert len(error.traceback) <= 3  # the message says where: the frames in between are left out


def test_an_error_in_a_users_own_factory_keeps_its_traceback():
    @gk.transform
    def broken(rate):
        return {}["missing"]

    with pytest.raises(KeyError) as error:
        broken(1.0)
    assert error.traceback[-1].name == "broken"
