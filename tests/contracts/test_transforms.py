"""What is true of every transform, whatever it computes.

Types, traces, transformations of JAX, odd trees, odd numbers, checkpoints. What a program's jaxpr
decides is read from the jaxpr and compiles nothing. What is compiled is compiled once per record
and serves all contracts; the records of one transform stay on one worker.
"""

import functools
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit._splice import all_members
from tests.cases import LINK_CASES, SHAPES, TRANSFORM_CASES, Case, shrunk, tree_of, zeros
from tests.contracts.programs import controls, rounds_narrowly, text


def each(cases: list[Case]) -> Any:
    """A test for every record, on the worker that has compiled the record's program."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, marks=pytest.mark.xdist_group(case.name), id=case.name)
            for case in cases
        ],
    )


every = each(TRANSFORM_CASES)
# A recipe is a chain of transforms that have records of their own. What holds for a chain when it
# holds for its transforms is shown by them, and by one recipe.
RECIPE = "adamw"
every_link = each(LINK_CASES)
every_link_and_a_recipe = each(
    [*LINK_CASES, *(case for case in TRANSFORM_CASES if case.name == RECIPE)]
)


def types(tree: Any) -> Any:
    """Shape and dtype of every leaf, with the structure."""
    return jax.tree.map(
        lambda leaf: (jnp.shape(leaf), jax.dtypes.result_type(leaf)), tree
    ), jax.tree.structure(tree)


def numbers(tree: Any) -> list[np.ndarray]:
    """The leaves as NumPy arrays, keys as their data."""
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in jax.tree.leaves(tree)
    ]


def assert_equal(one: Any, other: Any) -> None:
    """Same types, same bits."""
    assert types(one) == types(other)
    for a, b in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(one: Any, other: Any, rtol: float = 2e-5, atol: float = 2e-6) -> None:
    """Same types, same numbers but for the order of rounding."""
    assert types(one) == types(other)
    for a, b in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_allclose(a, b, rtol, atol)


def step(tx: Any, params: Any, state: Any, grads: Any, case: Case) -> Any:
    """One update with what the case asks for."""
    return tx.update(case.fed(grads), state, params, **case.extras(grads))


@functools.cache
def compiled(case: Case) -> Any:
    """The case's jitted update, the transform an argument of it; and the list of its traces."""
    traces: list[int] = []

    @jax.jit
    def run(tx: Any, params: Any, state: Any, grads: Any) -> Any:
        traces.append(1)
        return step(tx, params, state, grads, case)

    return run, traces


def trace(case: Case, params: Any, grads: Any) -> Any:
    """The program of `init` and one update; the shapes of state, updates and next state."""
    tx, extras = case.transform(), case.extras(grads)

    def run(params: Any, fed: Any) -> Any:
        state = tx.init(params)
        return state, *tx.update(fed, state, params, **extras)

    return jax.make_jaxpr(run, return_shape=True)(params, case.fed(grads))


@functools.cache
def traced(case: Case, dtype: str = "float32") -> Any:
    """`trace` on the shared tree, once for all that is read from it."""
    return trace(case, tree_of(0, dtype), tree_of(1, dtype))


@pytest.fixture(scope="module")
def params() -> Any:
    return tree_of(0)


# Without control flow a program is mapped, scanned and widened equation by equation, which JAX
# tests. Run are those that have some (test_control_flow_is_declared keeps the list true), those
# that draw random numbers, and a few for the rest: an average, a norm of all leaves, a store.
BRANCHING = {
    "MultiSteps",
    "apply_if_finite",
    "conditionally_mask",
    "conditionally_transform",
    "guard",
    "mechanize",
    "polyak_average",
    "prodigy",
    "sam",
    "scale_by_backtracking_linesearch",
    "scale_by_cocob",
    "scale_by_distance_over_gradients",
    "scale_by_dog",
    "scale_by_dowg",
    "scale_by_lbfgs",
    "scale_by_galore",
    "scale_by_levenberg_marquardt",
    "scale_by_madgrad",
    "scale_by_newton_cg",
    "scale_by_psgd_kron",
    "scale_by_shampoo",
    "scale_by_soap",
    "scale_by_sophia",
    "scale_by_zoom_linesearch",
    "swa",
}
REPRESENTATIVE = {"clip_by_global_norm", "scale_by_adam", "scale_by_factored_rms"}
every_branching = each(
    [case for case in LINK_CASES if case.stochastic or case.name in BRANCHING | REPRESENTATIVE]
)


@every_link
def test_control_flow_is_declared(case):
    program, _ = traced(case)
    found = controls(program)
    assert bool(found) == (case.name in BRANCHING), sorted(found)


@every
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_types_stand_from_init_on(case, dtype):
    program, (state, updates, after) = traced(case, dtype)
    assert types(updates) == types(tree_of(1, dtype))
    assert types(after) == types(state)
    assert case.narrow or all(
        leaf.dtype.itemsize >= 4
        for leaf in jax.tree.leaves(after)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    )
    assert not any(aval.weak_type for aval in program.out_avals if hasattr(aval, "weak_type"))


@every
def test_narrow_gradients_are_computed_on_wide(case):
    program, _ = traced(case, "bfloat16")
    assert not rounds_narrowly(program)


@every_link
def test_float16_is_treated_as_bfloat16(case):
    program, (state, updates, after) = traced(case, "float16")
    assert types(updates) == types(tree_of(1, "float16"))
    assert types(after) == types(state)
    assert not rounds_narrowly(program)


@every_link_and_a_recipe
def test_the_result_has_the_wider_dtype_of_gradient_and_parameter(case, params):
    tx, narrow = case.transform(), tree_of(1, jnp.bfloat16)
    for grads, at in ((narrow, params), (params, narrow)):
        state = jax.eval_shape(tx.init, at)
        updates, after = jax.eval_shape(lambda g, s, p: step(tx, p, s, g, case), grads, state, at)
        assert types(updates) == types(params)
        assert types(after) == types(state)
        new, _ = jax.eval_shape(
            lambda g, s, p: tx.apply(p, s, case.fed(g), **case.extras(g)), grads, state, at
        )
        assert types(new) == types(at)


@every
def test_state_is_the_clock_and_a_dict_by_link_name(case, params):
    tx = case.transform()
    state = jax.eval_shape(tx.init, params)
    assert type(state) is gk.State
    assert state.step.dtype == jnp.int32
    assert set(state.inner) <= {link.name for link in tx.members}
    leaves = jax.tree_util.tree_leaves_with_path(state.inner)
    counting = [path for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.signedinteger)]
    assert bool(counting) == case.counts, (
        "only the root counts, and who decides that time passes differently"
    )


@every
def test_init_takes_shapes_in_place_of_arrays(case, params):
    tx = case.transform()
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    assert types(jax.eval_shape(tx.init, shapes)) == types(tx.init(params))
    if case.from_start:  # what init does not know the first step fills in
        run, _ = compiled(case)
        assert_equal(
            run(tx, params, tx.init(shapes), tree_of(1)),
            run(tx, params, tx.init(params), tree_of(1)),
        )
    else:
        assert_equal(tx.init(shapes), tx.init(params))


@every
def test_one_trace_serves_every_step_and_every_hyperparameter(case, params):
    run, traces = compiled(case)
    tx, grads = case.transform(), tree_of(1)
    state = tx.init(params)
    for now in (tx, tx, shrunk(tx)):
        _, state = run(now, params, state, grads)
    assert len(traces) == 1
    assert state.step == 3


@every_link_and_a_recipe
def test_jit_is_eager_also_with_changed_hyperparameters(case, params):
    run, _ = compiled(case)
    tx = case.transform()
    one = other = tx.init(params)
    for seed, now in ((1, tx), (2, shrunk(tx))):
        grads = tree_of(seed)
        updates, one = run(now, params, one, grads)
        expected, other = step(now, params, other, grads, case)
        assert_close((updates, one), (expected, other))


@every_branching
def test_scan_is_a_loop(case, params):
    run, _ = compiled(case)
    tx, grads = case.transform(), [tree_of(seed) for seed in (1, 2, 3)]
    state, expected = tx.init(params), []
    for g in grads:
        updates, state = run(tx, params, state, g)
        expected.append(updates)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads)

    def body(state, g):
        updates, state = step(tx, params, state, g, case)
        return state, updates

    last, updates = jax.lax.scan(body, tx.init(params), stacked)
    assert_close(last, state)
    assert_close(updates, jax.tree.map(lambda *leaves: jnp.stack(leaves), *expected))


@every_branching
def test_vmap_is_one_tree_at_a_time(case):
    run, _ = compiled(case)
    tx, trees = case.transform(), [(tree_of(seed), tree_of(seed + 10)) for seed in (1, 2)]
    params, grads = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    states = (
        jax.vmap(tx.init, axis_size=2)(params)
        if jax.tree.leaves(tx.init(trees[0][0]).inner)
        else gk.State(jnp.zeros(2, jnp.int32), {})
    )
    together = jax.jit(jax.vmap(lambda p, s, g: step(tx, p, s, g, case)))(params, states, grads)
    for i, (p, g) in enumerate(trees):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], together), run(tx, p, tx.init(p), g))


@every_branching
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cond_takes_an_update_as_a_branch(case, dtype):
    tx, grads = case.transform(), tree_of(1, dtype)
    state = jax.eval_shape(tx.init, grads)

    def maybe(go, state):
        return jax.lax.cond(
            go, lambda s: step(tx, grads, s, grads, case), lambda s: (grads, s), state
        )

    assert types(jax.eval_shape(maybe, True, state)) == types((grads, state))


@every_link_and_a_recipe
def test_none_leaves_are_left_out(case, params):
    usual, _ = traced(case)
    hole = {"frozen": None, "module": [None, None]}
    for tree in (lambda leaves: {**leaves, **hole}, lambda leaves: {"inside": leaves, **hole}):
        program, (_, updates, _) = trace(case, tree(params), tree(tree_of(1)))
        assert jax.tree.structure(updates) == jax.tree.structure(tree(params))
        assert text(program) == text(usual), "the same program runs over the leaves that are there"
    tx, p, grads = case.transform(), tree(params), tree(tree_of(1))
    new, _ = jax.eval_shape(
        lambda p, g: tx.apply(p, tx.init(p), case.fed(g), **case.extras(g)), p, grads
    )
    assert types(new) == types(p)


@every
def test_an_empty_tree_passes(case):
    tx = case.transform()
    updates, state = step(tx, {}, tx.init({}), {}, case)
    assert updates == {}
    assert state.step == 1
    assert all(np.isfinite(x).all() for x in numbers(state) if x.dtype.kind == "f")


@every_branching
def test_narrow_gradients_give_finite_updates_near_the_wide_ones(case):
    run, _ = compiled(case)
    tx, dtype = case.transform(), "bfloat16"  # float16: test_float16_is_treated_as_bfloat16
    # The widened values go through the compiled step: links see nothing else.
    params, grads = tree_of(0, dtype), tree_of(1, dtype)
    updates, _ = jax.jit(lambda p, g: step(tx, p, tx.init(p), g, case))(params, grads)
    wide = lambda t: jax.tree.map(lambda x: x.astype(jnp.float32), t)
    expected, _ = run(tx, wide(params), tx.init(wide(params)), wide(grads))
    assert types(updates) == types(grads)
    for a, b in zip(numbers(wide(updates)), numbers(expected), strict=True):
        assert np.isfinite(a).all()
        eps = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(
            a, b, eps, 4 * eps if case.rounds else 1e-6
        )  # parameters below 4


@every
def test_complex_leaves_are_taken_or_refused_in_words(case, params):
    tx = case.transform()
    grads, at = tree_of(1, jnp.complex64), tree_of(0, jnp.complex64)
    if not case.complex:
        with pytest.raises(TypeError, match=r"complex64\[.*Expected real numbers") as error:
            jax.eval_shape(lambda: step(tx, at, tx.init(at), grads, case))
        assert {link.name for link in tx.members} & set(
            str(error.value).split(":")[0].split(".")
        ), "the message names the link"
        assert "real and imaginary" in str(error.value)
        return
    _, (state, updates, after) = trace(case, at, grads)
    assert types(updates) == types(grads)
    assert types(after) == types(state)


@each([case for case in LINK_CASES if case.complex and not case.stochastic])
def test_on_the_real_axis_a_complex_rule_is_the_real_one(case, params):
    run, _ = compiled(case)
    tx, real = case.transform(), tree_of(1)
    on_axis = jax.tree.map(lambda x: x.astype(jnp.complex64), (params, real))
    updates, _ = jax.jit(lambda p, g: step(tx, p, tx.init(p), g, case))(*on_axis)
    expected, _ = run(tx, params, tx.init(params), real)
    for a, b in zip(numbers(updates), numbers(expected), strict=True):
        np.testing.assert_allclose(a, b, 2e-5, 2e-6)


@every
def test_zero_gradients_give_finite_updates(case, params):
    run, _ = compiled(case)
    tx, state = case.transform(), None
    state = tx.init(params)
    for _ in range(2):
        updates, state = run(tx, params, state, zeros())
        assert all(np.isfinite(x).all() for x in numbers((updates, state)))


@every_link
def test_derivatives_at_zero_gradients_are_finite(case, params):
    tx = case.transform()
    data, structure = jax.tree.flatten(tx)
    floats = [i for i, leaf in enumerate(data) if isinstance(leaf, float)]

    def size(grads: Any, values: list[Any]) -> Any:
        leaves = list(data)
        for i, value in zip(floats, values, strict=True):
            leaves[i] = value
        moved = structure.unflatten(leaves)
        updates, _ = step(moved, params, moved.init(params), grads, case)
        return sum(jnp.sum(u) for u in jax.tree.leaves(updates))

    slopes = jax.jit(jax.grad(size, argnums=(0, 1)))(zeros(), [data[i] for i in floats])
    assert all(np.isfinite(x).all() for x in numbers(slopes))


@every
def test_nan_gradients_pass_and_the_clock_counts(case, params):
    run, _ = compiled(case)
    tx = case.transform()
    grads = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), params)
    updates, state = run(tx, params, tx.init(params), grads)
    for u in numbers(updates) if case.passes_nan is not None else ():
        assert (np.isnan(u) if case.passes_nan else np.isfinite(u)).all()
    assert state.step == 1
    _, state = run(tx, params, state, tree_of(1))
    assert state.step == 2


@every
def test_a_checkpoint_of_arrays_by_path_restores_the_run(case, params):
    run, _ = compiled(case)
    tx, grads = case.transform(), tree_of(1)
    _, state = run(tx, params, tx.init(params), grads)
    file = io.BytesIO()
    kept = {
        jax.tree_util.keystr(path): x
        for (path, _), x in zip(
            jax.tree_util.tree_leaves_with_path(state), numbers(state), strict=True
        )
    }
    assert len(kept) == len(jax.tree.leaves(state)), "two leaves under one path"
    np.savez(file, **kept)
    file.seek(0)
    read = np.load(file)

    def restore(path: Any, like: Any) -> Any:
        x = jnp.asarray(read[jax.tree_util.keystr(path)])
        return (
            jax.random.wrap_key_data(x)
            if jnp.issubdtype(like.dtype, jax.dtypes.prng_key)
            else x.astype(like.dtype)
        )

    back = jax.tree_util.tree_map_with_path(restore, jax.eval_shape(tx.init, params))
    assert_equal(run(tx, params, back, grads), run(tx, params, state, grads))


@every
def test_a_donating_apply_uses_every_buffer(case, params):
    tx, grads = case.transform(), tree_of(1)
    state = tx.init(params)

    def run(p: Any, s: Any, g: Any) -> Any:
        return tx.apply(p, s, case.fed(g), **case.extras(g))

    # XLA has one buffer of each type to give back for each one it is given.
    assert types(jax.eval_shape(run, params, state, grads)) == types((params, state))
    if case.name in REPRESENTATIVE:  # an unused donation warns here, and a warning is an error
        jax.jit(run, donate_argnums=(0, 1)).lower(params, state, grads)


@every
def test_missing_parameters_are_asked_for(case, params):
    tx, grads = case.transform(), tree_of(1)
    state = tx.init(params)
    if case.needs_params:
        with pytest.raises(
            ValueError,
            match=r": params=None, but this transform needs the parameters\. "
            r"Call update\(updates, state, params\)",
        ) as error:
            tx.update(case.fed(grads), state, **case.extras(grads))
        assert {link.name for link in tx.members} & set(
            str(error.value).split(":")[0].split(".")
        ), "the message names the link"
    else:
        expected = jax.eval_shape(lambda: step(tx, params, state, grads, case))
        assert types(
            jax.eval_shape(lambda: tx.update(case.fed(grads), state, **case.extras(grads)))
        ) == types(expected)


def holds_apart(tx):
    """Whether integer leaves may be kept away from what computes, or nothing computes."""
    members = list(all_members(tx))
    apart = any(part.selects for member in members for part in member.rule.parts)
    return apart or not members or any(member.rule.takes_integers for member in members)


@every
def test_trees_that_do_not_match_are_refused_with_the_path(case, params):
    tx, grads = case.transform(), tree_of(1)
    state = tx.init(params)
    extras = case.extras(grads)
    with pytest.raises(ValueError, match=r", vector: this parameter has no update"):
        tx.update(
            case.fed({k: v for k, v in grads.items() if k != "vector"}), state, params, **extras
        )
    with pytest.raises(
        ValueError,
        match=r", matrix: this update is float32\[2, 3\], but its parameter is float32\[3, 2\]",
    ):
        tx.update(case.fed({**grads, "matrix": grads["matrix"].T}), state, params, **extras)
    if not holds_apart(tx):  # those that do: tests/wrappers/test_partition.py
        with pytest.raises(
            (TypeError, ValueError),
            match=r", scalar: (this (update|parameter) is int32\[\]\. Expected a floating dtype"
            r"|the gradient int32\[\] has no axis)",
        ):
            tx.update({**case.fed(grads), "scalar": jnp.int32(1)}, state, params, **extras)
        with pytest.raises(
            TypeError,
            match=r", matrix: this (update|parameter) is int8\[3, 2\]\. Expected a floating",
        ):
            tx.init({"matrix": jnp.zeros((3, 2), jnp.int8)})
    with pytest.raises(
        TypeError,
        match=r", vector: this update is complex64\[4\], but its parameter is float32\[4\]",
    ):
        tx.update(
            case.fed({**grads, "vector": grads["vector"].astype(jnp.complex64)}),
            state,
            params,
            **extras,
        )


def test_the_shared_tree_holds_every_kind_of_leaf():
    assert {len(shape) for shape in SHAPES.values()} == {0, 1, 2}
    assert any(0 in shape for shape in SHAPES.values())
