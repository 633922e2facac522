"""One dotted path names a part everywhere: walk, the state, hyperparameters, logs, describe."""

import jax
import jax.numpy as jnp
import pytest

import gradkit as gk

PARAMS = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}


def watched():
    """A lone transform whose rule keeps a state, logs, and has a transform inside."""
    return gk.watch(gk.trace(0.5), "grad_norm")


WRAPPERS = {
    "guard": lambda: gk.guard(watched(), norm_sigma=4.0),
    "guard, of a chain": lambda: gk.guard(gk.chain(gk.clip(1.0), watched()), max_norm=9.0),
    "apply_if_finite": lambda: gk.apply_if_finite(watched(), 2),
    "MultiSteps": lambda: gk.MultiSteps(watched(), 2),
    "MultiSteps, of a guard": lambda: gk.MultiSteps(gk.guard(watched(), 3), 2),
    "lookahead": lambda: gk.lookahead(watched(), 3, 0.5),
    "sam": lambda: gk.sam(watched(), gk.chain(gk.normalize(), watched()), 2),
    "conditionally_transform": lambda: gk.conditionally_transform(watched(), lambda step: step < 3),
    "conditionally_mask": lambda: gk.conditionally_mask(gk.adam(0.1), lambda step: step < 3),
    "partition": lambda: gk.partition({"w": watched(), "b": gk.adam(0.1)}, {"w": "w", "b": "b"}),
    "where": lambda: gk.where(gk.by_rank(2), gk.MultiSteps(watched(), 2), watched()),
    "masked": lambda: gk.masked(watched(), gk.by_rank(2)),
    "cautious": lambda: gk.cautious(watched()),
    "inject_hyperparams": lambda: gk.inject_hyperparams(gk.sgd)(0.1, momentum=0.9),
    "named_chain": lambda: gk.named_chain(("first", watched()), ("second", gk.guard(watched()))),
}


def held(state, path):
    """What a state keeps at a dotted path."""
    for name in path.split("."):
        entries = state.inner if isinstance(state, gk.State) else state
        state = entries[name]
    return state.inner if isinstance(state, gk.State) else state


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_every_prefix_is_a_path_of_walk(wrap):
    tx = gk.chain(gk.scale(1.0), wrap())
    state = tx.init(PARAMS)
    nodes = list(gk.inspect.walk(tx, state))
    paths = {node.path for node in nodes}
    plan = gk.describe(tx, PARAMS)
    of_state = [n for n in nodes if n.path and n.rule and jax.tree.leaves(n.state)]
    assert of_state
    for node in of_state:
        assert held(state, node.path) is node.state, node.path
    for path in (*gk.logged_values(state), *gk.hyperparameters(tx, state)):
        assert path.rpartition(".")[0] in paths, path
    assert plan.hyperparameters.keys() <= paths
    assert {name for group in plan.groups for name in group.route} <= paths


def test_a_lone_transform_and_a_chain_log_where_walk_finds_them():
    def logged(inner):
        tx = gk.chain(gk.scale(1.0), gk.guard(inner))
        paths = {n.path for n in gk.inspect.walk(tx) if n.transform.factory is gk.watch}
        found = {p.removesuffix(".grad_norm") for p in gk.logged_values(tx.init(PARAMS))}
        return paths, found - {"guard.skipped", "guard.consecutive"}

    assert logged(watched()) == ({"guard.inner"}, {"guard.inner"})
    assert logged(gk.chain(watched())) == ({"guard.inner.watch"}, {"guard.inner.watch"})
