"""Any transform with its averages in fewer bytes."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit.stores import bfloat16_stochastic, factored, host, int4, int8

ALL = gk.masks.by_rank(2)
RNG = np.random.default_rng(0)
PARAMS = {
    name: jnp.asarray(RNG.normal(size=shape), jnp.float32)
    for name, shape in {"a": (16, 8), "b": (16, 8), "c": (3, 7), "bias": (5,)}.items()
}
GRADS = [jax.tree.map(lambda p, i=i: p * 0.1 + 0.05 * i, PARAMS) for i in range(4)]


def small(tx, store=None, where=ALL):
    return gk.compress(tx, int8(16) if store is None else store, where)


def after(tx, state=None, steps=3):
    """Updates and state after some steps, in one program."""

    def run(params, state):
        for grads in GRADS[:steps]:
            updates, state = tx.update(grads, state, params)
        return updates, state

    return jax.jit(run)(PARAMS, tx.init(PARAMS) if state is None else state)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_steps_are_those_of_float32_within_a_code():
    tx = gk.adamw(1e-3)
    one, other = after(small(tx, int8(16, "nearest")))[0], after(tx)[0]
    for name in PARAMS:
        scale = float(jnp.abs(other[name]).max())
        np.testing.assert_allclose(one[name], other[name], atol=0.12 * scale)
    np.testing.assert_array_equal(one["bias"], other["bias"])


def test_every_optimizer_keeps_its_averages_in_codes():
    trees = {
        "adamw": (gk.adamw(1e-3), ["moment", "preconditioner"]),
        "lion": (gk.lion(1e-3), [""]),
        "ademamix": (gk.ademamix(1e-3), ["moment.first", "moment.second", "preconditioner"]),
        "soap": (gk.soap(1e-3, precondition_frequency=2), ["moment", "preconditioner"]),
        "adopt": (gk.adopt(1e-3), []),
        "adafactor": (gk.adafactor(1e-3, momentum=0.9), []),
        "rmsprop": (gk.rmsprop(1e-3, centered=True), []),
        "amsgrad": (gk.amsgrad(1e-3), []),
    }
    for name, (tx, places) in trees.items():
        state = jax.eval_shape(small(tx).init, PARAMS).inner["compress"]
        assert any(leaf.dtype == jnp.uint8 for leaf in jax.tree.leaves(state)), name
        held = state.get(f"scale_by_{name.removesuffix('w')}")
        for place in places:
            average = held
            for key in filter(None, place.split(".")):
                average = average[key]
            assert average["average"]["a"]["codes"].shape == (16, 8), (name, place)
            assert average["average"]["bias"].dtype == jnp.float32, (name, place)


def test_by_default_embeddings_norms_and_small_leaves_stay_float32():
    shapes = {
        "embedding": {"table": (64, 64)},
        "wte": (64, 64),
        "norm_1": {"kernel": (64, 64)},
        "ln_f": (64, 64),
        "dense": {"kernel": (64, 64), "bias": (4096,)},
        "small": (63, 64),
        "linen": (64, 64),
    }
    params = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s, jnp.float32), shapes, is_leaf=lambda x: type(x) is tuple
    )
    state = jax.eval_shape(gk.compress(gk.sgd(0.1, momentum=0.9), int8()).init, params)
    kept = state.inner["compress"]["trace"]["trace"]
    codes = [k for k in ("wte", "ln_f", "small", "linen") if isinstance(kept[k], dict)]
    assert codes == ["linen"]
    assert isinstance(kept["dense"]["kernel"], dict)
    assert not any(
        isinstance(kept[a][b], dict)
        for a, b in (("embedding", "table"), ("norm_1", "kernel"), ("dense", "bias"))
    )


def test_adamw_in_8_bits_is_two_bytes_a_parameter():
    params = {"w": jax.ShapeDtypeStruct((256, 256), jnp.float32)}
    for store, least, most in ((int8(), 2.0, 2.1), (int4(), 1.0, 1.1), (host(int8()), 2.0, 2.1)):
        state = jax.eval_shape(gk.compress(gk.adamw(3e-4), store).init, params)
        held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
        assert least < held / 2**16 < most


def test_stacked_inside_or_outside_it_makes_the_same_steps_and_states():
    plain = small(gk.adam(1e-3))
    updates, state = after(plain)
    for tx, name in (
        (gk.stacked(plain), "stacked"),
        (small(gk.stacked(gk.adam(1e-3))), "compress"),
    ):
        own, kept = after(tx)
        for leaf in PARAMS:
            np.testing.assert_allclose(own[leaf], updates[leaf], rtol=1e-5)
        named = gk.inspect.unstack(tx, kept, PARAMS)
        found, wanted = (
            jax.tree.flatten(named.inner[name]),
            jax.tree.flatten(state.inner["compress"]),
        )
        assert found[1] == wanted[1]
        for a, b in zip(found[0], wanted[0], strict=True):
            assert np.mean(~np.isclose(a, b, rtol=1e-5)) <= 0.02  # codes where one ulp decides
        assert_same(gk.inspect.restack(tx, named, PARAMS), kept)


def test_a_turned_matrix_is_not_unstacked_by_the_blocks_of_its_transpose():
    params = {"a": jnp.ones((4, 8)), "b": jnp.ones((8, 4))}
    tx = gk.stacked(small(gk.adam(0.1)), transpose=True)
    with pytest.raises(ValueError, match="by blocks that are those of its transpose"):
        gk.inspect.unstack(tx, tx.init(params), params)


def test_groups_clocks_and_nested_compressions_take_the_store():
    groups = gk.partition(
        {"x": gk.adam(0.1), "y": gk.trace(0.9)}, {"x": gk.by_path("a"), "y": ~gk.by_path("a")}
    )
    state = small(gk.MultiSteps(groups, 2)).init(PARAMS)
    codes = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if leaf.dtype == jnp.uint8
    ]
    assert len(codes) == 4
    assert not any("accumulated" in path or "bias" in path for path in codes)
    inside = small(gk.chain(small(gk.trace(0.9), jnp.bfloat16), gk.ema(0.9))).init(PARAMS)
    held = inside.inner["compress"]
    assert held["compress"]["trace"]["a"].dtype == jnp.bfloat16
    assert held["ema"]["average"]["a"]["codes"].dtype == jnp.uint8
    own = small(gk.adam(0.1, mu_dtype="bfloat16")).init(PARAMS).inner["compress"]["scale_by_adam"]
    assert own["moment"]["average"]["a"].dtype == jnp.bfloat16


def test_rounding_is_by_the_step_so_a_resumed_run_is_the_same():
    tx = small(gk.adamw(1e-3), bfloat16_stochastic())
    _, state = after(tx, steps=2)
    restored = {"step": state.step, "inner": pickle.loads(pickle.dumps(state.inner))}
    update = jax.jit(tx.update)
    one, two = update(GRADS[2], state, PARAMS), update(GRADS[2], restored, PARAMS)
    assert_same(tuple(one), tuple(two))
    later = state._replace(step=state.step + 1)
    bits = [jax.tree.leaves(update(GRADS[2], s, PARAMS)[1].inner) for s in (state, later)]
    assert any((a != b).any() for a, b in zip(*bits, strict=True))


def test_a_population_and_one_member_of_it_round_alike():
    many = small(gk.sgd(jnp.array([0.1, 0.2]), momentum=0.9))
    axes = (many.vmap_axes(), None)
    init = jax.vmap(lambda tx, p: tx.init(p), axes)(many, PARAMS)

    def step(tx, state):
        return tx.update(GRADS[0], state, PARAMS)

    tx = small(gk.sgd(0.2, momentum=0.9))
    updates, state = jax.jit(jax.vmap(step, (many.vmap_axes(), 0)))(many, init)
    one, alone = jax.jit(step)(tx, tx.init(PARAMS))
    np.testing.assert_allclose(updates["a"][1], one["a"], rtol=1e-6)
    held = (s.inner["compress"]["trace"]["trace"] for s in (state, alone))
    codes, other = (s["a"]["codes"] for s in held)
    assert (codes[1] != other).mean() <= 0.02  # where one ulp decides


def test_make_step_donates_the_codes():
    tx = gk.compress(gk.adamw(1e-3), int8(), where=ALL)
    step = gk.make_step(lambda p, x: jnp.sum((p["a"] - x) ** 2), tx)
    params = jax.tree.map(jnp.copy, PARAMS)
    state = tx.init(params)
    old = jax.tree.leaves(state.inner)
    params, state, _ = step(params, state, 0.5)
    assert all(leaf.is_deleted() for leaf in old)
    assert gk.hyperparameters(tx, state)["learning_rate"] == pytest.approx(1e-3)
    assert str(tx) == "compress(adamw(0.001), stores.int8(256, 'stochastic'), where=by_rank(2))"
    assert eval(str(tx), vars(gk)) == tx


def test_complex_leaves_stay_as_they_are():
    state = small(gk.adam(0.1)).init({"z": jnp.ones((4, 4), jnp.complex64)})
    assert not any(leaf.dtype == jnp.uint8 for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gk.compress(gk.adam(0.1), None), ValueError, "store=None keeps every average"),
        (lambda: gk.compress(gk.adam(0.1), int8), TypeError, "store=int8 is not a dtype"),
        (lambda: gk.compress(gk.adam(0.1), "int8"), TypeError, "'int8' is not a floating dtype"),
        (
            lambda: gk.compress(gk.adam(0.1), factored()),
            ValueError,
            "store=stores.factored(128) keeps means, not elements",
        ),
        (
            lambda: gk.compress(gk.sgd(0.1), int8()),
            ValueError,
            "inner=sgd(0.1) has no average to compress",
        ),
        (
            lambda: gk.compress(gk.adam(0.1), int8(), where=gk.by_path("kernal")).init(
                {"kernel": jnp.ones((2, 2))}
            ),
            ValueError,
            "by_path('kernal') matches no parameter",
        ),
        (
            lambda: gk.swa(1, store=int8()),
            ValueError,
            "store=stores.int8(256, 'stochastic') rounds at random by the step",
        ),
    ],
)
def test_what_cannot_be_compressed_is_refused(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
