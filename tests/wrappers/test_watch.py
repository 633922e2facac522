"""Observation: what is reported, and that nothing is kept that nobody asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

W = {"w": jnp.array([[3.0, 4.0]]), "b": jnp.array([12.0])}
G = {"w": jnp.array([[0.6, 0.8]]), "b": jnp.array([2.0])}


def seen(tx, params=W, grads=G, **extras):
    """The values logged in the first step."""
    _, state = jax.jit(tx.update)(grads, tx.init(params), params, **extras)
    return {name: float(value) for name, value in gk.logged_values(state).items()}


def assert_logged(found, expected):
    assert set(found) == set(expected)
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), 1e-6)


EVERY = ("grad_norm", "update_norm", "update_ratio", "underflow")


def test_of_the_tree():
    norm = np.sqrt(5.0)
    expected = {
        "watch.grad_norm": norm,
        "watch.update_norm": norm / 2,
        "watch.update_ratio": norm / 2 / 13,
        "watch.underflow": 0.0,
    }
    assert_logged(seen(gk.watch(gk.sgd(0.5), *EVERY)), expected)


def test_of_every_leaf():
    expected = {
        "watch.grad_norm.w": 1.0,
        "watch.grad_norm.b": 2.0,
        "watch.update_norm.w": 0.5,
        "watch.update_norm.b": 1.0,
        "watch.update_ratio.w": 0.1,
        "watch.update_ratio.b": 1 / 12,
        "watch.underflow.w": 0.0,
        "watch.underflow.b": 0.0,
    }
    assert_logged(seen(gk.watch(gk.sgd(0.5), *EVERY, per="leaf")), expected)


def test_of_groups():
    tx = gk.watch(
        gk.sgd(0.5),
        "grad_norm",
        "update_ratio",
        per={"matrices": gk.by_rank(2), "all": gk.by_rank(0)},
    )
    expected = {"watch.grad_norm.matrices": 1.0, "watch.grad_norm.all": np.sqrt(5.0)}
    expected |= {"watch.update_ratio.matrices": 0.1, "watch.update_ratio.all": np.sqrt(5.0) / 26}
    assert_logged(seen(tx), expected)


def test_any_function():
    tx = gk.watch(
        gk.sgd(0.5),
        functions={
            "angle": lambda g, u, p: jnp.sum(g["b"] * u["b"]),
            "weight": lambda g, u, p: p["b"][0],
        },
    )
    assert_logged(seen(tx), {"watch.angle": -2.0, "watch.weight": 12.0})


def test_functions_are_per_leaf_and_per_group_too():
    largest = {
        "largest": lambda g, u, p: jnp.max(
            jnp.stack([jnp.max(leaf) for leaf in jax.tree.leaves(u)])
        )
    }
    assert_logged(
        seen(gk.watch(gk.scale(2.0), functions=largest, per="leaf")),
        {"watch.largest.w": 1.6, "watch.largest.b": 4.0},
    )
    groups = {"matrices": gk.by_rank(2), "all": gk.by_rank(0)}
    assert_logged(
        seen(gk.watch(gk.scale(2.0), functions=largest, per=groups)),
        {"watch.largest.matrices": 1.6, "watch.largest.all": 4.0},
    )
    assert_logged(
        seen(gk.watch(gk.sgd(0.5), functions={"max": lambda g, u, p: jnp.max(g)}, per="leaf")),
        {"watch.max.w": 0.8, "watch.max.b": 2.0},
    )


def test_functions_per_leaf_do_without_parameters():
    tx = gk.watch(
        gk.sgd(0.5), "grad_norm", functions={"max": lambda g, u, p: jnp.max(g)}, per="leaf"
    )
    _, state = tx.update(G, tx.init(W))
    assert gk.logged_values(state)["watch.max.b"] == 2.0


def test_nested_watches_have_paths_of_their_own():
    """Names repeat only where several states are read together."""
    tx = gk.watch(
        gk.chain(gk.watch(gk.watch(gk.scale(2.0), "grad_norm"), "grad_norm"), gk.scale(1.0)),
        "grad_norm",
    )
    inner = ("watch.inner.watch.grad_norm", "watch.inner.watch.inner.grad_norm")
    assert set(seen(tx)) == {"watch.grad_norm", *inner}
    tx = gk.watch(
        gk.watch(gk.scale(2.0), "update_norm"),
        "update_norm",
        functions={"grad_norm": lambda g, u, p: 7.0},
    )
    assert_logged(
        seen(tx),
        {
            "watch.update_norm": 2 * np.sqrt(5.0),
            "watch.inner.update_norm": 2 * np.sqrt(5.0),
            "watch.grad_norm": 7.0,
        },
    )
    clipped = gk.clip_by_global_norm(1.0)
    assert_logged(
        seen(gk.watch(gk.watch(clipped, "update_norm"), "grad_norm")),
        {"watch.grad_norm": np.sqrt(5.0), "watch.inner.update_norm": 1.0},
    )
    twice = gk.watch(gk.MultiSteps(gk.watch(gk.sgd(0.5), "grad_norm"), 1), "grad_norm")
    assert (
        gk.logged_values(twice.init(W)).keys()
        == seen(twice).keys()
        == {"watch.grad_norm", "watch.inner.opt.grad_norm"}
    )
    state = gk.watch(gk.sgd(0.5), "grad_norm").init(W)
    assert set(gk.logged_values([state, state])) == {"watch.grad_norm", "watch.grad_norm_1"}


def test_a_guard_reports_its_counts():
    tx = gk.chain(gk.guard(gk.watch(gk.sgd(0.5), "grad_norm"), max_norm=1.0), gk.scale(1.0))
    found = seen(tx)
    assert_logged(found, {"guard.skipped": 1, "guard.consecutive": 1, "guard.inner.grad_norm": 0})
    assert_logged(
        seen(gk.apply_if_finite(gk.sgd(0.5), 2)),
        {"apply_if_finite.skipped": 0, "apply_if_finite.consecutive": 0},
    )


def test_underflow_is_the_share_of_weights_that_rounding_leaves_as_they_are():
    w = jnp.array([1.0, 1.0, 1.0, 0.001], jnp.bfloat16)
    g = jnp.array([1e-3, -1e-2, 0.0, 1e-3], jnp.bfloat16)
    assert_logged(seen(gk.watch(gk.sgd(1.0), "underflow"), w, g), {"watch.underflow": 0.5})


def test_the_ratio_of_zero_weights_is_zero():
    assert_logged(
        seen(gk.watch(gk.sgd(1.0), "update_ratio"), jnp.zeros(2), jnp.ones(2)),
        {"watch.update_ratio": 0.0},
    )


def test_nothing_is_kept_or_computed_that_nobody_asked_for():
    bare, watched = gk.adam(0.1), gk.watch(gk.adam(0.1))
    assert gk.logged_values(watched.init(W)) == {}
    assert len(jax.tree.leaves(watched.init(W))) == len(jax.tree.leaves(bare.init(W)))
    assert gk.logged_values(gk.chain(gk.clip_by_global_norm(1.0), bare).init(W)) == {}
    one = jax.jit(bare.update).lower(G, bare.init(W), W).compile().cost_analysis()
    other = jax.jit(watched.update).lower(G, watched.init(W), W).compile().cost_analysis()
    assert one["flops"] == other["flops"]


def test_watching_changes_no_update():
    one, _ = gk.watch(gk.adam(0.1), *EVERY).update(G, gk.watch(gk.adam(0.1), *EVERY).init(W), W)
    other, _ = gk.adam(0.1).update(G, gk.adam(0.1).init(W), W)
    np.testing.assert_array_equal(one["w"], other["w"])


def test_extras_reach_what_is_watched():
    tx = gk.watch(gk.chain(gk.sgd(1.0), gk.reduce_on_plateau(0.5, patience=1)), "update_norm")
    assert_logged(seen(tx, value=1.0), {"watch.update_norm": np.sqrt(5.0)})


def test_types_stand_from_init_on_and_scan_takes_it():
    tx = gk.chain(
        gk.clip_by_global_norm(1.0, report=True),
        gk.watch(gk.adam(0.1), *EVERY, per="leaf"),
        gk.monitor({"m": gk.measure_with_ema(jnp.sum, 0.5)}),
    )
    w, g = jnp.ones(3), jnp.ones(3)

    def step(carry, _):
        w, state = carry
        w, state = tx.apply(w, state, g)
        return (w, state), gk.logged_values(state)

    _, metrics = jax.lax.scan(step, (w, tx.init(w)), None, 4)
    assert {value.shape for value in metrics.values()} == {(4,)}


def test_clip_reports_its_norm_and_the_share_of_clipped_steps():
    tx = gk.clip_by_global_norm(1.0, report=True)
    state = tx.init(jnp.zeros(1))
    for g in (0.5, 2.0, 0.1, 3.0):
        _, state = tx.update(jnp.full(1, g), state)
    assert {name: float(value) for name, value in gk.logged_values(state).items()} == {
        "clip_by_global_norm.norm": 3.0,
        "clip_by_global_norm.clipped": 0.5,
    }


def test_metrics_are_found_in_any_nesting():
    inner = gk.watch(gk.sgd(0.5), "grad_norm")
    for tx in (
        gk.MultiSteps(inner, 1),
        gk.guard(gk.chain(gk.clip(9.0), inner)),
        gk.masked(inner, True),
        gk.apply_if_finite(gk.MultiSteps(inner, 1), 2),
    ):
        found = seen(tx)
        (name,) = [name for name in found if not name.endswith(("skipped", "consecutive"))]
        assert name.endswith("grad_norm")
        np.testing.assert_allclose(found[name], np.sqrt(5.0), 1e-6)
    assert set(
        seen(gk.partition({"a": inner, "b": inner}, {"a": gk.by_path("w"), "b": gk.by_path("b")}))
    ) == {
        "partition.a.grad_norm",
        "partition.b.grad_norm",
    }


def test_snapshots_stand_for_their_place_in_the_chain():
    tx = gk.chain(gk.snapshot("before", jnp.max), gk.scale(2.0), gk.snapshot("after", jnp.max))
    assert_logged(
        seen(tx, jnp.zeros(2), jnp.array([1.0, 3.0])),
        {"snapshot.before": 3.0, "snapshot_1.after": 6.0},
    )


def test_measures_with_ema_are_debiased():
    tx = gk.monitor(
        {
            "now": jnp.sum,
            "mean": gk.measure_with_ema(jnp.sum, 0.5),
            "plain": gk.measure_with_ema(jnp.sum, 0.5, debias=False),
        }
    )
    state = tx.init(jnp.zeros(2))
    for x in (1.0, 2.0):
        _, state = tx.update(jnp.full(2, x), state)
    expected = {
        "monitor.now": 4.0,
        "monitor.mean": (0.25 * 2 + 0.5 * 4) / 0.75,
        "monitor.plain": 0.25 * 2 + 0.5 * 4,
    }
    assert_logged({name: float(value) for name, value in gk.logged_values(state).items()}, expected)


def test_bad_input_is_refused():
    with pytest.raises(
        ValueError, match=r"watch: names\[0\]='norm' is not an option\. Expected one of"
    ):
        gk.watch(gk.sgd(0.1), "norm")
    with pytest.raises(ValueError, match=r"watch: per='group' is not an option\. Expected one of"):
        gk.watch(gk.sgd(0.1), "grad_norm", per="group")
    tx = gk.watch(gk.sgd(0.1), "update_ratio")
    with pytest.raises(
        ValueError, match=r"watch: params=None, but this transform needs the parameters"
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
    with pytest.raises(ValueError, match=r"measure_with_ema: decay=.* is out of range"):
        gk.measure_with_ema(jnp.sum, 1.0)
    with pytest.raises(
        ValueError,
        match=r"watch: functions has 'grad_norm', which is a measure already\. Choose another",
    ):
        gk.watch(gk.sgd(0.1), "grad_norm", functions={"grad_norm": lambda g, u, p: 1.0})
    with pytest.raises(
        TypeError,
        match=r"watch: functions\['a'\]=3 is not a function",
    ):
        gk.watch(gk.sgd(0.1), functions={"a": 3})
    with pytest.raises(
        TypeError,
        match=r"logged_values: state=sgd\(0\.1\) is not a state\. "
        r"Pass what init or update returned\.",
    ):
        gk.logged_values(gk.sgd(0.1))


@pytest.mark.parametrize(
    ("tx", "words"),
    [
        (
            gk.watch(gk.sgd(0.1), functions={"all": lambda g, u, p: g["w"]}),
            r"watch, functions\['all'\]: .* float32\[1, 2\]\. Expected one number\. Reduce",
        ),
        (
            gk.watch(gk.sgd(0.1), functions={"all": lambda g, u, p: g}),
            r"watch, functions\['all'\]: .* dict",
        ),
        (
            gk.watch(gk.sgd(0.1), functions={"all": lambda g, u, p: g}, per="leaf"),
            r"watch, functions\['all'\]: .* float32\[1\]",
        ),
        (gk.snapshot("all", lambda u: u), r"snapshot, measure: .* float32\[1\]"),
        (
            gk.monitor({"all": lambda u: u["w"]}),
            r"monitor, measures\['all'\]: .* float32\[1, 2\]",
        ),
        (
            gk.monitor({"all": gk.measure_with_ema(lambda u: u["w"], 0.5)}),
            r"monitor, measures\['all'\]: .* float32\[1, 2\]",
        ),
    ],
    ids=["watch", "tree", "leaf", "snapshot", "monitor", "ema"],
)
def test_a_measure_is_one_number(tx, words):
    with pytest.raises(TypeError, match=words.replace(".*", "the function returned")):
        tx.init(W)


def test_measures_may_be_trees_of_numbers_and_chains():
    tx = gk.monitor(
        {
            "sizes": lambda u: {"first": jnp.max(u), "last": 1.0},
            "mean": gk.chain(gk.scale(2.0), gk.measure_with_ema(jnp.sum, 0.5)),
        }
    )
    assert_logged(
        seen(tx, jnp.zeros(2), jnp.ones(2)),
        {"monitor.sizes.first": 1.0, "monitor.sizes.last": 1.0, "monitor.mean": 4.0},
    )
