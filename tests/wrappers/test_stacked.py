"""Stacked leaves compute what the leaves compute, whatever runs inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import _xla as xla
from gradkit._stack import scope_of
from tests.cases import LINK_CASES

SHAPES = {
    "embedding": (3, 2),
    "a": {"kernel": (3, 2), "bias": (2,), "scale": ()},
    "b": {"kernel": (2, 3), "bias": (2,), "frozen": None},
    "c": {"kernel": (3, 2), "bias": (3,), "half": (2,)},
}


def tree_of(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)

    def leaf(path, shape):
        narrow = getattr(path[-1], "key", "") == "half"
        x = rng.normal(size=shape)
        return jnp.asarray(x, jnp.bfloat16 if narrow else jnp.float32)

    is_shape = lambda x: isinstance(x, tuple)
    return jax.tree_util.tree_map_with_path(leaf, shapes, is_leaf=is_shape)


def pair(one, other):
    """Two trees as one, for a scan over them: a step is compiled once."""
    return jax.tree.map(lambda *x: jnp.stack(x), one, other)


def scanned(tx, params, grads, **extras):
    """Parameters and state after a step for each row of the gradients."""

    def body(carry, grad):
        return tx.apply(*carry, grad, **extras), None

    return jax.lax.scan(body, (params, tx.init(params)), grads)[0]


PARAMS, GRADS = tree_of(0), pair(tree_of(1), tree_of(2))
MATRICES = {"a": (3, 2), "b": (2, 3), "c": (3, 2), "d": (2, 3), "e": (3, 2), "v": (2,), "w": (2,)}


def train(tx, params=PARAMS, grads=GRADS, **extras):
    """Parameters and state after two steps in one program."""
    return jax.jit(lambda params, grads: scanned(tx, params, grads, **extras))(params, grads)


def assert_same(one, other, rtol=2e-6, atol=1e-6):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        wide = [np.asarray(x, np.float64) for x in (a, b)]
        np.testing.assert_allclose(*wide, rtol, 1e-2 if a.dtype == jnp.bfloat16 else atol)


DECAYED = ~gk.by_path("embedding", "b.*")
MAKERS = {
    "adamw": lambda: gk.adamw(0.1, weight_decay=0.1, mask=DECAYED),
    "clip, schedule": lambda: gk.chain(
        gk.clip_by_global_norm(0.5, report=True),
        gk.adam(gk.linear_schedule(0.1, 0.0, 10), nesterov=True),
    ),
    "lion": lambda: gk.lion(0.1, mu_dtype="bfloat16", mask=gk.by_rank(2)),
    "lamb": lambda: gk.lamb(0.1, weight_decay=0.1, mask=DECAYED),
    "adafactor": lambda: gk.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9),
    "muon": lambda: gk.muon(0.1, weight_decay=0.1, weight_decay_mask=~gk.by_path("a.*")),
    "cautious": lambda: gk.cautious(gk.chain(gk.clip_by_global_norm(0.1), gk.adam(0.1))),
    "groups": lambda: gk.where(gk.by_rank(2), gk.lamb(0.1), gk.freeze(gk.by_path("c.*"))),
    "accumulated": lambda: gk.MultiSteps(gk.adamw(0.1), 2),
    "noise": lambda: gk.chain(gk.sgd(0.1, 0.9), gk.add_noise(0.1, 0.5, 0), gk.clip(0.5)),
    "averaged": lambda: gk.chain(gk.adam(0.1), gk.weight_ema(0.9)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_makes_the_same_steps_stacked(name):
    plain = MAKERS[name]()
    tx = gk.stacked(plain, transpose=True)

    @jax.jit
    def both(params, grads):
        found, state = scanned(tx, params, grads)
        named = gk.inspect.unstack(tx, state, params)
        again = gk.inspect.restack(tx, named, params)
        return found, state, named, again, *scanned(plain, params, grads)

    found, state, named, again, expected, alone = both(PARAMS, GRADS)
    assert_same(found, expected)
    assert jax.tree.structure(jax.eval_shape(tx.init, PARAMS)) == jax.tree.structure(state)
    # By the names of parameters the state is that of the optimizer alone, and converts back.
    inner = alone.inner if plain.is_chain else next(iter(alone.inner.values()))
    assert_same(named.inner["stacked"], inner)
    assert_same(again, state, 0, 0)


SCOPED = [
    case
    for case in LINK_CASES
    if case.name != "stacked"
    and {scope_of(member.rule) for member in case.transform().members} - {"tree"}
]


@pytest.mark.parametrize("case", SCOPED, ids=repr)
def test_the_declared_scope_of_every_rule_is_true(case):
    shapes = {"matrix": (3, 2), "vector": (2, 3)}
    params, grads = tree_of(0, shapes), tree_of(1, shapes)
    extras = case.extras(grads)

    def run(tx):  # eagerly: the operations are compiled once for all rules
        state = tx.init(params)
        for grad in (grads, tree_of(2, shapes)):
            updates, state = tx.update(case.fed(grad), state, params, **extras)
        return updates

    tx = case.transform()
    assert_same(run(gk.stacked(tx, transpose=True)), run(tx), 1e-5, 1e-5)


def test_a_thousand_leaves_have_a_few_arrays_of_state():
    params = {str(i): jnp.full(3 + i % 2, float(i)) for i in range(1000)}
    state = jax.eval_shape(gk.stacked(gk.adamw(0.1)).init, params)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(state.inner) if leaf.shape)
    assert shapes == [(500, 3), (500, 3), (500, 4), (500, 4)]


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_many_leaves_are_stacked_in_pieces_under_jit(shape):
    params, grads = (
        {str(i): jnp.full(shape, seed + i / 7) for i in range(43)} for seed in (1.0, 2.0)
    )
    tx = gk.stacked(gk.trace(0.5))
    step = jax.jit(tx.update)
    updates, state = step(grads, tx.init(params))
    assert_same(updates, grads, 0, 0)
    assert_same(step(grads, state)[0], jax.tree.map(lambda g: 1.5 * g, grads))
    assert "cond" in str(jax.make_jaxpr(tx.update)(grads, state))  # on CPU
    batch = pair(grads, params)
    mapped, _ = jax.jit(jax.vmap(tx.update))(batch, pair(state, state))
    assert_same(mapped, jax.tree.map(lambda b, g: b + 0.5 * g, batch, pair(grads, grads)))


def test_large_rows_are_computed_one_by_one_on_cpu(monkeypatch):
    expected, _ = train(gk.stacked(MAKERS["muon"]()))
    monkeypatch.setattr(xla, "_LARGE_MATRIX", 4)
    monkeypatch.setattr(xla, "on_cpu", lambda: True)
    tx = gk.stacked(MAKERS["muon"]())
    program = jax.make_jaxpr(lambda: tx.apply(PARAMS, tx.init(PARAMS), PARAMS))()
    assert "scan" in str(program)
    assert_same(train(tx)[0], expected)


def test_a_matrix_is_in_the_stack_of_its_transpose():
    params = tree_of(0, MATRICES)
    tx = gk.stacked(gk.muon(0.1), transpose=True)
    state = tx.init(params).inner["stacked"]["muon"]["scale_by_muon"]
    assert {name: held["moment"]["average"].shape for name, held in state.items()} == {
        "float32_2x3": (5, 2, 3)
    }
    grads = pair(tree_of(1, MATRICES), tree_of(2, MATRICES))
    assert_same(train(tx, params, grads)[0], train(gk.muon(0.1), params, grads)[0])


def test_a_rule_that_tells_rows_from_columns_is_given_the_matrices_as_they_are():
    params = tree_of(0, MATRICES)
    tx = gk.chain(gk.centralize(), gk.sgd(0.1))
    grads = pair(params, params)
    found, _ = train(gk.stacked(tx, transpose=True), params, grads)
    assert_same(found, train(tx, params, grads)[0])


def test_large_leaves_may_be_left_alone():
    tx = gk.stacked(gk.sgd(0.1, 0.9), max_size=3)
    held = tx.init(PARAMS).inner["stacked"]["trace"]["trace"]
    assert held["float32_2"].shape == (3, 2)  # bfloat16 is kept in float32
    assert {name: x.shape for name, x in held.items() if "3x2" in name} == {
        "float32_3x2": (3, 2),
        "float32_3x2_1": (3, 2),
        "float32_3x2_2": (3, 2),
    }
    assert_same(train(tx)[0], train(gk.sgd(0.1, 0.9))[0])


def test_large_leaves_are_left_alone_unless_their_method_is_of_matrices():
    params = {name: jax.ShapeDtypeStruct((256, 128), jnp.float32) for name in "ab"}

    def rows(tx):
        state = jax.eval_shape(tx.init, params)
        return [leaf.shape for leaf in jax.tree.leaves(state.inner) if len(leaf.shape) > 1]

    assert rows(gk.stacked(gk.sgd(0.1, 0.9))) == [(256, 128), (256, 128)]
    assert rows(gk.stacked(gk.sgd(0.1, 0.9), max_size=256 * 128)) == [(2, 256, 128)]
    assert rows(gk.stacked(gk.muon(0.1))) == [(2, 256, 128)]


def test_leaves_on_which_a_mask_differs_are_apart():
    tx = gk.stacked(gk.adamw(0.1, mask=gk.by_path("a.*")))
    held = tx.init(PARAMS).inner["stacked"]["scale_by_adam"]["moment"]["average"]
    assert {name: x.shape for name, x in held.items() if name.startswith("float32_3x2")} == {
        "float32_3x2": (3, 2),
        "float32_3x2_1": (2, 3, 2),
    }
    with pytest.raises(ValueError, match=r"matches no parameter.*Available paths: a\.bias"):
        gk.stacked(gk.adamw(0.1, mask=gk.by_path("kernal"))).init(PARAMS)


def test_every_tool_reads_it():
    rate = gk.linear_schedule(0.1, 0.0, 10)
    inner = gk.chain(
        gk.clip_by_global_norm(1.0, report=True), gk.adamw(rate, mask=DECAYED), gk.weight_ema(0.5)
    )
    tx = gk.chain(gk.clip(5.0), gk.stacked(inner))
    params, state = train(tx)
    found = gk.hyperparameters(tx, state)
    np.testing.assert_allclose(found["stacked.adamw.learning_rate"], rate(1))
    routes = {p: group.route for group in gk.describe(tx, PARAMS).groups for p in group.paths}
    assert routes["a.kernel"] == ("stacked.adamw.add_decayed_weights",)
    assert routes["embedding"] == ()
    plain, alone = train(gk.chain(gk.clip(5.0), inner))
    logged = gk.logged_values(state)
    assert set(logged) == {f"stacked.{name}" for name in gk.logged_values(alone)}
    weights = gk.eval_params(gk.chain(gk.clip(5.0), inner), alone, plain)
    assert_same(gk.eval_params(tx, state, params), weights)
    assert eval(repr(tx), vars(gk) | {"chain": gk.chain}) == tx
    assert tx.replace(b1=0.5).transforms[1].inner == inner.replace(b1=0.5)


def test_a_donated_step_updates_in_place_and_compiles_once():
    traces = []

    def loss(params, x):
        traces.append(1)
        return sum(jnp.sum((p.astype(jnp.float32) - x) ** 2) for p in jax.tree.leaves(params))

    step = gk.make_step(loss, gk.stacked(gk.chain(gk.clip_by_global_norm(1.0), gk.adamw(0.1))))
    params = jax.tree.map(jnp.array, PARAMS)
    state, losses = step.tx.init(params), []
    for _ in range(3):
        params, state, value = step(params, state, jnp.float32(0.5))
        losses.append(float(value))
    assert losses[2] < losses[0]
    assert len(traces) == 1


def test_a_population_and_a_derivative_go_through_it():
    tx = gk.stacked(gk.adam(0.1, eps_root=1e-8)).replace(learning_rate=jnp.array([0.1, 0.2]))

    def first(tx):
        return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]["embedding"]

    together = jax.jit(jax.vmap(first, in_axes=(tx.vmap_axes(),)))(tx)
    signs = jnp.sign(PARAMS["embedding"])
    np.testing.assert_allclose(together, -jnp.array([[[0.1]], [[0.2]]]) * signs[None], 1e-4)
    slope = jax.jit(jax.grad(lambda tx: jnp.sum(first(tx))))(gk.stacked(gk.adam(0.1)))
    np.testing.assert_allclose(slope.inner.learning_rate, -jnp.sum(signs), 1e-5)


def test_trees_among_the_extra_arguments_are_stacked():
    @gk.transform
    def add_other() -> gk.Rule:
        def update(updates, params, *, grad, value):
            return jax.tree.map(lambda u, g: u + value * g.astype(u.dtype), updates, grad)

        return gk.stateless(update, scope="element")

    @gk.transform
    def times_length() -> gk.Rule:
        def update(updates, params, *, grad, value=None):
            return jax.tree.map(lambda u, g: u * jnp.linalg.norm(g.astype(u.dtype)), updates, grad)

        return gk.stateless(update, scope="leaf")

    plain = gk.chain(add_other(), times_length())
    grads, other, params = tree_of(1), tree_of(2), PARAMS
    extras = {"grad": other, "value": jnp.float32(2.0)}
    found, _ = gk.stacked(plain).update(grads, gk.stacked(plain).init(params), params, **extras)
    assert_same(found, plain.update(grads, plain.init(params), params, **extras)[0])


def test_a_norm_of_the_whole_tree_is_never_that_of_a_stack():
    clip = gk.clip_by_global_norm(0.1)
    tx = gk.cautious(gk.chain(clip, gk.sgd(1.0)))  # a leaf's count around a tree's norm
    (member,) = tx.members
    assert scope_of(member.rule) == "tree"
    assert_same(train(gk.stacked(tx))[0], train(tx)[0])


@pytest.mark.parametrize("tx", [gk.shampoo(0.1), gk.galore(0.1, 1)], ids=repr)
def test_a_part_whose_leaves_are_not_the_parameters_runs_on_its_tree(tx):
    stacked, params = (
        gk.stacked(tx),
        {"a": jnp.ones((3, 2)), "b": jnp.ones((3, 2)), "v": jnp.ones(2)},
    )
    grads = jax.tree.map(lambda p: p.at[..., 0].set(0.5), params)
    updates, state = stacked.update(grads, stacked.init(params), params)
    expected, plain = tx.update(grads, tx.init(params), params)
    assert_same(updates, expected)
    named = gk.inspect.unstack(stacked, state, params)
    assert_same(named.inner["stacked"], plain.inner)
    assert_same(gk.inspect.restack(stacked, named, params), state)


def test_a_mesh_without_the_axis_is_refused():
    tx = gk.stacked(gk.lamb(0.1), axis="rows")
    with pytest.raises(ValueError, match=r"^stacked: axis='rows' is not the axis .* no mesh\."):
        tx.init(PARAMS)
    other = tx.replace(axis="other", mesh=jax.sharding.Mesh(jax.devices()[:1], ("rows",)))
    with pytest.raises(ValueError, match=r"axis='other' is not the axis .* the mesh has 'rows'"):
        other.init(PARAMS)
    kinds, whole = (jax.sharding.AxisType.Auto,), jax.sharding.PartitionSpec()
    mapped = jax.shard_map(
        lambda p: tx.update(p, tx.init(p), p)[0],
        mesh=jax.make_mesh((1,), ("rows",), axis_types=kinds),
        in_specs=whole,
        out_specs=whole,
    )
    with pytest.raises(ValueError, match="axis='rows' is mapped by a shard_map around this call"):
        jax.eval_shape(mapped, PARAMS)


def test_an_integer_leaf_is_refused_by_its_path():
    with pytest.raises(TypeError, match=r"^stacked\.trace, n: this parameter is int32\[2\]"):
        gk.stacked(gk.chain(gk.trace(0.9), gk.scale(1.0))).init({"n": jnp.arange(2)})
    mixed = {"n": jnp.arange(2), "w": jnp.ones(2)}
    tx = gk.stacked(gk.masked(gk.sgd(0.1), gk.by_path("w")))
    updates, _ = tx.update(mixed, tx.init(mixed), mixed)
    np.testing.assert_array_equal(updates["n"], mixed["n"])


def test_the_readers_of_a_stacked_state_refuse_what_is_none():
    tx = gk.stacked(gk.sgd(0.1, 0.9))
    with pytest.raises(TypeError, match=r"^unstack: .*Expected the State of a transform"):
        gk.inspect.unstack(tx, tx, PARAMS)
    with pytest.raises(TypeError, match=r"^restack: tx=0\.1 is not a transform"):
        gk.inspect.restack(0.1, tx.init(PARAMS), PARAMS)
