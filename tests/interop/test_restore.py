"""A saved state goes into a changed optimizer, and nothing is lost in silence."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from tests.cases import tree_of

SHAPES = {"matrix": (3, 2), "vector": (4,)}
PARAMS, *GRADS = [tree_of(seed, shapes=SHAPES) for seed in range(9)]


def run(tx, state, params, gradients):
    for grads in gradients:
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def middle(tx):
    """Parameters and state after four steps, the gradients of four more."""
    return (*run(tx, tx.init(PARAMS), PARAMS, GRADS[:4]), GRADS[4:])


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def paths(rows):
    return [row.path for row in rows]


ADAM = gk.adam(gk.cosine_decay_schedule(0.1, 20))


def as_checkpoint(state):
    """As Orbax restores a state without a target: dicts, lists, arrays of NumPy."""
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return {name: as_checkpoint(getattr(state, name)) for name in state._fields}
    if isinstance(state, dict):
        return {name: as_checkpoint(child) for name, child in state.items()}
    if isinstance(state, tuple):
        return [as_checkpoint(child) for child in state] or None
    return np.asarray(state)


# ---- changes of the chain ------------------------------------------------------------------------


@pytest.mark.parametrize("form", [lambda state: state, as_checkpoint], ids=["state", "dicts"])
def test_the_same_optimizer_takes_every_leaf(form):
    tx = gk.chain(gk.MultiSteps(gk.guard(ADAM), 2), gk.add_noise(0.1, 0.5, 3), gk.weight_ema(0.9))
    params, state, _ = middle(tx)
    again, report = gk.restore_into(tx, params, form(state))
    assert_equal(again, state)
    assert {row.kind for row in report.rows} == {"taken"}
    shared = {id(leaf) for leaf in jax.tree.leaves(state)}
    assert shared.isdisjoint(map(id, jax.tree.leaves(again)))


def test_a_clip_in_front_loses_nothing():
    params, state, rest = middle(ADAM)
    tx = gk.chain(gk.clip_by_global_norm(1e6, report=True), ADAM)
    again, report = gk.restore_into(tx, params, state)
    assert paths(report.fresh) == [f"clip_by_global_norm.logged.{x}" for x in ("clipped", "norm")]
    assert_equal(run(tx, again, params, rest)[0], run(ADAM, state, params, rest)[0])


OLD = gk.named_chain(("velocity", gk.trace(0.9)), ("rate", gk.sgd(0.1)))


def test_a_renamed_transform_needs_its_old_name():
    params, state, rest = middle(OLD)
    tx = gk.chain(gk.trace(0.9), gk.sgd(0.1))
    with pytest.raises(ValueError, match=r"; or pass rename=\{'velocity': 'trace'\}:\n") as caught:
        gk.restore_into(tx, params, state)
    assert "2 fresh and 2 dropped" in str(caught.value)
    again, report = gk.restore_into(tx, params, state, rename={"velocity": "trace"})
    sources = ["step", "velocity.trace.matrix", "velocity.trace.vector"]
    assert [row.source for row in report.taken] == sources
    assert str(report).endswith("  taken      trace.trace  (2 leaves)  from velocity.trace")
    assert_equal(run(tx, again, params, rest)[0], run(OLD, state, params, rest)[0])


def test_a_removed_average_is_dropped_by_name_or_by_permission():
    params, state, rest = middle(gk.chain(ADAM, gk.weight_ema(0.9)))
    with pytest.raises(ValueError, match=r"does not fit: 3 dropped.*allow=\('dropped',\)"):
        gk.restore_into(ADAM, params, state)
    again, report = gk.restore_into(ADAM, params, state, allow=["dropped"])
    assert paths(report.dropped)[0] == "weight_ema.average.matrix"
    other, report = gk.restore_into(ADAM, params, state, rename={"weight_ema": None})
    assert {row.note for row in report.dropped} == {"by rename"}
    assert_equal(again, other)
    expected = run(gk.chain(ADAM, gk.weight_ema(0.9)), state, params, rest)[0]
    assert_equal(run(ADAM, again, params, rest)[0], expected)


def test_an_added_average_starts_fresh_and_debiased():
    params, state, rest = middle(ADAM)
    tx = gk.chain(ADAM, gk.weight_ema(0.9))
    again, report = gk.restore_into(tx, params, state, allow=["fresh"])
    assert len(report.fresh) == 3
    new, again = run(tx, again, params, rest[:1])
    average = gk.eval_params(tx, again, new)
    np.testing.assert_allclose(average["vector"], new["vector"], 1e-6)


def test_a_wrapper_added_around_the_run_keeps_the_count_of_its_schedule():
    params, state, rest = middle(ADAM)
    tx = gk.guard(ADAM)
    with pytest.raises(ValueError, match=r"pass rename=\{'': 'guard.inner'\}"):
        gk.restore_into(tx, params, state)
    again, report = gk.restore_into(tx, params, state, rename={"": "guard.inner"}, allow=["fresh"])
    assert set(paths(report.fresh)) == {
        f"guard.{name}" for name in ("consecutive", "last_skipped", "skipped")
    }
    assert int(again.step) == int(again.inner["guard"]["inner"].step) == 4
    assert_equal(run(tx, again, params, rest)[0], run(ADAM, state, params, rest)[0])
    # And off again; the count of the run is then that of the wrapper's part.
    counted = gk.State(jnp.int32(9), again.inner)
    back, report = gk.restore_into(ADAM, params, counted, rename={"guard": None, "guard.inner": ""})
    assert_equal(back, state)
    assert [row.note for row in report.dropped][-1] == "guard.inner.step takes its place"


def test_a_wrapper_around_a_part_of_the_chain_takes_the_count_of_what_it_holds():
    params, state, _ = middle(gk.chain(gk.trace(0.5), ADAM))
    tx = gk.chain(gk.trace(0.5), gk.MultiSteps(ADAM, 2))
    rename = {"scale_by_adam": "MultiSteps.opt.scale_by_adam"}
    again, report = gk.restore_into(tx, params, state, rename=rename, allow=["fresh"])
    assert int(again.inner["MultiSteps"]["opt"].step) == 4
    (row,) = [row for row in report.rows if row.path == "MultiSteps.opt.step"]
    assert row == ("converted", "MultiSteps.opt.step", "", "the count of what was taken", True)


def test_a_wrapper_without_a_clock_leaves_the_count_where_it_is():
    params, state, rest = middle(ADAM)
    tx = gk.masked(ADAM, gk.by_rank(1, 2))
    again, _ = gk.restore_into(tx, params, state, rename={"": "masked"})
    assert int(again.step) == 4
    assert_equal(run(tx, again, params, rest)[0], run(ADAM, state, params, rest)[0])
    assert_equal(gk.restore_into(ADAM, params, again, rename={"masked": ""})[0], state)


# ---- changes of the stores, and of the devices ---------------------------------------------------


def test_a_bfloat16_store_becomes_float32_without_a_loss_and_back_with_one():
    narrow = gk.adam(0.1, mu_dtype="bfloat16")
    params, state, rest = middle(narrow)
    wide, report = gk.restore_into(gk.adam(0.1), params, state)
    assert {row.note for row in report.converted} == {"bfloat16 to float32"}
    updates, _ = run(gk.adam(0.1), wide, params, rest)
    close, _ = run(narrow, state, params, rest)
    np.testing.assert_allclose(updates["vector"], close["vector"], 1e-2)
    with pytest.raises(ValueError, match="does not fit: 2 converted"):
        gk.restore_into(narrow, params, wide)
    back, _ = gk.restore_into(narrow, params, wide, allow=["converted"])
    assert_equal(back, state)


def test_another_store_is_decoded_if_the_transform_that_saved_is_known():
    store = gk.stores.factored(2)
    old = gk.chain(gk.averages.running_sum(store=store), gk.scale(-0.1))
    new = gk.chain(gk.averages.running_sum(), gk.scale(-0.1))
    magnitudes = [jax.tree.map(jnp.abs, grads) for grads in GRADS]
    _, state = run(old, old.init(PARAMS), PARAMS, magnitudes)
    with pytest.raises(ValueError, match=r"pass saved_tx=") as caught:
        gk.restore_into(new, PARAMS, state)
    assert "1 fresh and 2 dropped" in str(caught.value)
    wide, report = gk.restore_into(new, PARAMS, state, saved_tx=old)
    kept = state.inner["running_sum"]["sum"]["matrix"]
    np.testing.assert_array_equal(
        wide.inner["running_sum"]["sum"]["matrix"], store.decode(kept, PARAMS["matrix"])
    )
    (row,) = report.converted
    assert (row.path, row.note) == ("running_sum.sum.matrix", f"{store} to float32")
    back, report = gk.restore_into(old, PARAMS, wide, allow=["converted"])
    for name, one in kept.items():
        np.testing.assert_allclose(back.inner["running_sum"]["sum"]["matrix"][name], one, 1e-6)
    same, report = gk.restore_into(old, PARAMS, state, saved_tx=old)
    assert_equal(same, state)
    assert not report.converted


def test_eight_bits_are_taken_up_and_given_up():
    params, grads = {"w": jnp.ones((64, 64))}, {"w": GRADS[0]["matrix"][0, 0] * jnp.ones((64, 64))}
    plain, small = gk.adam(0.1), gk.compress(gk.adam(0.1), gk.stores.int8())
    _, saved = run(plain, plain.init(params), params, [grads, grads])
    with pytest.raises(ValueError, match=r"pass rename=\{'': 'compress'\}"):
        gk.restore_into(small, params, saved)
    names = {"": "compress"}
    state, report = gk.restore_into(small, params, saved, rename=names, allow=["converted"])
    assert [row.path for row in report.converted] == [
        f"compress.scale_by_adam.{name}.average.w" for name in ("moment", "preconditioner")
    ]
    back = {"rename": {"compress": ""}}
    with pytest.raises(ValueError, match="pass saved_tx="):
        gk.restore_into(plain, params, state, **back)
    wide, report = gk.restore_into(plain, params, state, saved_tx=small, **back)
    for one, other in zip(jax.tree.leaves(wide), jax.tree.leaves(saved), strict=True):
        np.testing.assert_allclose(one, other, 2**-4)


def test_debiasing_that_was_added_counts_the_steps():
    params, state, _ = middle(gk.ema(0.9, debias=False))
    tx = gk.ema(0.9)
    again, report = gk.restore_into(tx, params, state)
    assert [row.note for row in report.converted] == ["from the count of steps"]
    _, expected, _ = middle(tx)
    np.testing.assert_allclose(
        again.inner["ema"]["log_unseen"], expected.inner["ema"]["log_unseen"], 1e-6
    )


def test_random_keys_are_taken_as_keys_or_as_their_data():
    def init(params):
        return jax.random.key(0)

    keyed = gk.chain(gk.Rule(init, lambda updates, state, params: (updates, state), name="keyed"))
    saved = gk.State(jnp.int32(3), {"keyed": jax.random.key(7)})
    data = {"step": 3, "inner": {"keyed": np.asarray(jax.random.key_data(jax.random.key(7)))}}
    for one in (saved, data):
        state, report = gk.restore_into(keyed, PARAMS, one)
        assert state.inner["keyed"] == jax.random.key(7)
        assert len(report.taken) == 2


# ---- states of optax and of torch ----------------------------------------------------------------


def test_the_state_of_optax_goes_on_in_a_changed_chain():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        params, *gradients = [tree_of(seed, jnp.float64, SHAPES) for seed in range(9)]
        theirs = optax.adamw(0.1, weight_decay=0.1)
        params, saved = run(theirs, theirs.init(params), params, gradients[:4])
        expected, _ = run(theirs, saved, params, gradients[4:])
        ours = gk.chain(gk.clip_by_global_norm(1e6), gk.adamw(0.1, weight_decay=0.1))
        state, report = gk.restore_into(ours, params, saved)
        assert [row.source for row in report.taken][:2] == [
            "count",
            "ScaleByAdamState.mu.matrix",
        ]
        found, _ = run(ours, state, params, gradients[4:])
        for name in SHAPES:
            np.testing.assert_allclose(found[name], expected[name], 1e-10)
        # What has no place is in the report.
        both = optax.chain(optax.trace(0.9), optax.lbfgs(), theirs)
        _, report = gk.restore_into(ours, params, both.init(params), strict=False)
        assert {(row.path, row.note) for row in report.dropped} == {
            ("TraceState.trace.matrix", "a TraceState fits nothing that tx keeps"),
            ("TraceState.trace.vector", "a TraceState fits nothing that tx keeps"),
            ("ScaleByLBFGSState", "a ScaleByLBFGSState is not covered"),
            ("ScaleByZoomLinesearchState", "a ScaleByZoomLinesearchState is not covered"),
        }
        momentum = optax.sgd(0.1, momentum=0.9)
        ours = gk.sgd(0.1, momentum=0.9)
        with pytest.raises(ValueError, match="pass step= for a saved state that does not hold it"):
            gk.restore_into(ours, params, momentum.init(params))
        assert gk.restore_into(ours, params, momentum.init(params), step=5)[0].step == 5


TORCH = {
    "AdamW": (
        lambda torch, p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, betas=(0.8, 0.95)),
        lambda: gk.adamw(0.1, 0.8, 0.95, weight_decay=0.1),
    ),
    "SGD": (
        lambda torch, p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda: gk.sgd(0.1, momentum=0.9, nesterov=True),
    ),
}


@pytest.mark.parametrize("named", [False, True], ids=["numbered", "named"])
@pytest.mark.parametrize(("make", "ours"), TORCH.values(), ids=TORCH)
def test_the_state_of_torch_goes_on(make, ours, named):
    torch = pytest.importorskip("torch")
    with jax.enable_x64(True):
        start, *gradients = [tree_of(seed, jnp.float64, SHAPES) for seed in range(9)]
        tensors = {
            "vector": torch.tensor(np.array(start["vector"])),
            "matrix": torch.tensor(np.array(start["matrix"].T)),
        }
        tensors = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
        optimizer = make(torch, tensors.items() if named else tensors.values())

        def step(grads):
            tensors["vector"].grad = torch.tensor(np.array(grads["vector"]))
            tensors["matrix"].grad = torch.tensor(np.array(grads["matrix"].T))
            optimizer.step()

        def weights():
            matrix, vector = (tensors[n].detach().numpy() for n in ("matrix", "vector"))
            return {"matrix": jnp.asarray(matrix.T), "vector": jnp.asarray(vector)}

        for grads in gradients[:4]:
            step(grads)
        params, saved = weights(), optimizer.state_dict()
        keys = ("vector", "matrix") if named else (0, 1)
        layout = lambda arrays: {"vector": arrays[keys[0]], "matrix": arrays[keys[1]].T}
        state, report = gk.restore_into(ours(), params, saved, layout=layout, step=4)
        assert not report.fresh
        assert not report.dropped
        for grads in gradients[4:]:
            step(grads)
        found, _ = run(ours(), state, params, gradients[4:])
        for name, expected in weights().items():
            np.testing.assert_allclose(found[name], expected, 1e-10)


def torch_state(**kept):
    groups = [{"params": [0, 1]}]
    return {"state": {0: kept, 1: kept} if kept else {}, "param_groups": groups}


def test_torch_parameters_in_a_list_need_no_layout():
    saved = torch_state(momentum_buffer=np.ones(2, np.float32))
    state, _ = gk.restore_into(gk.sgd(0.1, momentum=0.9), [jnp.zeros(2)] * 2, saved, step=1)
    assert state.inner["trace"]["trace"][1].tolist() == [1.0, 1.0]
    never = torch_state()
    state, report = gk.restore_into(gk.adam(0.1), [jnp.zeros(2)] * 2, never, step=0, strict=False)
    assert len(report.fresh) == 6


# ---- refusals ------------------------------------------------------------------------------------

STATE = ADAM.init(PARAMS)
MOMENTUM = torch_state(momentum_buffer=np.ones(2))
CALLS = {
    "a factory": (lambda: gk.restore_into(gk.adam, PARAMS, STATE), TypeError, "adam is not a"),
    "no state": (
        lambda: gk.restore_into(ADAM, PARAMS, {"a": 1}),
        TypeError,
        "a dict is not a saved state. Expected a State, a state of optax",
    ),
    "an unknown loss": (
        lambda: gk.restore_into(ADAM, PARAMS, STATE, allow=["frsh"]),
        ValueError,
        "allow='frsh'",
    ),
    "a word for losses": (
        lambda: gk.restore_into(ADAM, PARAMS, STATE, allow="fresh"),
        TypeError,
        "allow='fresh' is not a collection. Expected some of ('fresh', 'dropped', 'converted').",
    ),
    "no dict of names": (
        lambda: gk.restore_into(ADAM, PARAMS, STATE, rename=["a"]),
        TypeError,
        "rename=['a'] is not a dict",
    ),
    "a misspelt name": (
        lambda: gk.restore_into(ADAM, PARAMS, STATE, rename={"scale_by_adm": "x"}),
        ValueError,
        "rename='scale_by_adm' matches nothing in the saved state. Did you mean 'scale_by_adam'?",
    ),
    "two under one name": (
        lambda: gk.restore_into(
            ADAM, PARAMS, STATE, rename={"scale_by_adam.preconditioner": "scale_by_adam.moment"}
        ),
        ValueError,
        "are both 'scale_by_adam.moment.average.matrix'. Drop one with rename={path: None}.",
    ),
    "names for optax": (
        lambda: gk.restore_into(ADAM, PARAMS, optax.adam(0.1).init(PARAMS), rename={"a": "b"}),
        ValueError,
        "rename={'a': 'b'} is for states of gradkit.",
    ),
    "a negative step": (
        lambda: gk.restore_into(ADAM, PARAMS, STATE, step=-1),
        ValueError,
        "step=-1 is out of range",
    ),
    "a transform that saved which is none": (
        lambda: gk.restore_into(ADAM, PARAMS, STATE, saved_tx=3),
        TypeError,
        "saved_tx=3 is not a gradkit transform.",
    ),
    "a strictness that is no flag": (
        lambda: gk.restore_into(ADAM, PARAMS, STATE, strict="yes"),
        TypeError,
        "strict='yes'",
    ),
    "another model": (
        lambda: gk.restore_into(ADAM, {"matrix": jnp.ones((2, 2))}, STATE),
        ValueError,
        "float32[2, 2], saved float32[3, 2]",
    ),
    "complex parameters": (
        lambda: gk.restore_into(gk.trace(0.9), jnp.ones(2, jnp.complex64), gk.trace(0.9).init(1.0)),
        ValueError,
        "complex64[2], saved float32[]",
    ),
    "torch without an order": (
        lambda: gk.restore_into(ADAM, PARAMS, MOMENTUM),
        ValueError,
        "which parameter is which of torch's 0, 1, ... is unknown. Expected layout=",
    ),
    "torch with another optimizer": (
        lambda: gk.restore_into(ADAM, PARAMS, torch_state(step=1, square_avg=np.ones(2))),
        ValueError,
        "a state of torch with square_avg, step is not covered. Expected the state_dict of Adam",
    ),
    "torch with amsgrad": (
        lambda: gk.restore_into(
            ADAM, PARAMS, {"state": {}, "param_groups": [{"params": [0], "amsgrad": True}]}
        ),
        ValueError,
        "param_groups: torch's amsgrad=True is not covered.",
    ),
    "torch with a parameter without a gradient": (
        lambda: gk.restore_into(
            ADAM, PARAMS, {**MOMENTUM, "state": {0: {"momentum_buffer": np.ones(2)}}}
        ),
        ValueError,
        "state.1: torch keeps no state of this parameter, which had no gradient.",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), CALLS.values(), ids=CALLS)
def test_bad_input_is_refused(call, error, words):
    with pytest.raises(error, match=r"^restore_into") as caught:
        call()
    assert words in str(caught.value)


def test_a_refusal_has_the_whole_report():
    with pytest.raises(ValueError, match=r"^restore_into") as caught:
        gk.restore_into(gk.sgd(0.1, momentum=0.9), PARAMS, STATE)
    assert str(caught.value) == (
        "restore_into: the saved state does not fit: 2 fresh and 6 dropped. Expected no losses. To "
        "accept this, pass allow=('fresh', 'dropped') to restore_into:\n"
        "restore_into: 1 taken, 0 converted, 2 fresh, 6 dropped\n"
        "  taken      step\n"
        "  fresh      trace.trace  (2 leaves)                           not in the saved state\n"
        "  dropped    scale_by_adam.moment.average  (2 leaves)          no place in tx\n"
        "  dropped    scale_by_adam.moment.log_unseen                   no place in tx\n"
        "  dropped    scale_by_adam.preconditioner.average  (2 leaves)  no place in tx\n"
        "  dropped    scale_by_adam.preconditioner.log_unseen           no place in tx\n"
        "The paths are those of gk.inspect.walk."
    )


def test_double_precision_from_torch_is_a_loss_where_jax_has_none():
    saved = torch_state(momentum_buffer=np.full(2, 0.1))
    tx, params = gk.sgd(0.1, momentum=0.9), [jnp.zeros(2)] * 2
    with pytest.raises(ValueError, match=r"converted  trace.trace  \(2 leaves\)  .*64 to float32"):
        gk.restore_into(tx, params, saved, step=1)
    state, _ = gk.restore_into(tx, params, saved, step=1, allow=["converted"])
    assert state.inner["trace"]["trace"][0].dtype == jnp.float32
