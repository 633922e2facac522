"""Distributions as arguments: laws, printing, paths, filling, batches, grids, refusals."""

import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import gradkit as gk
from gradkit import search

RATE = search.log_uniform(1e-4, 1.0)
LAWS = [
    search.uniform(-1.0, 3.0),
    RATE,
    search.log_uniform(0.9, 0.9999, complement=True),
    search.integers(-2, 5),
    search.integers(1, 300, log=True),
    search.choice("a", 2, None, gk.sgd(RATE)),
]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_the_quantile_function_inverts_the_distribution_function_in_numpy_and_under_jit(law):
    u = np.linspace(0, 1, 101)
    x = law.quantile(u)
    assert x.dtype == (np.float64 if law.count is None else np.int64)
    assert (np.diff(x) >= 0).all()
    back = law.cdf(x)
    if law.count is None:
        np.testing.assert_allclose(back, u, atol=1e-12)
    else:
        assert (law.quantile(back) == x).all()
        assert len(set(x)) == min(law.count, len(set(x)))
    traced = jax.jit(jax.vmap(lambda u: (law.quantile(u), law.cdf(law.quantile(u)))))
    values, places = traced(jnp.asarray(u))
    if law.count is None:
        np.testing.assert_allclose(values, x, rtol=2e-5)
        np.testing.assert_allclose(places, u, atol=2e-3)  # 0.9999 has few digits in float32
    else:
        inside = np.arange(1, 100)  # the ends of intervals round either way
        assert np.mean(np.asarray(values)[inside] == x[inside]) > 0.97
    assert law.quantile(-1.0) == x[0]
    assert law.quantile(2.0) == x[-1]


def test_distributions_are_those_of_scipy():
    x = np.array([0.001, 0.03, 0.4])
    np.testing.assert_allclose(RATE.cdf(x), scipy.stats.loguniform(1e-4, 1.0).cdf(x))
    np.testing.assert_allclose(
        search.uniform(-1.0, 3.0).cdf(x), scipy.stats.uniform(-1.0, 4.0).cdf(x)
    )
    decay = search.log_uniform(0.9, 0.999, complement=True)
    wanted = 1 - scipy.stats.loguniform(0.001, 0.1).cdf(1 - (0.9 + x / 10))
    np.testing.assert_allclose(decay.cdf(0.9 + x / 10), wanted, atol=1e-12)
    values, counts = np.unique(
        search.integers(3, 7).quantile(np.linspace(0, 1, 1000, endpoint=False)), return_counts=True
    )
    assert values.tolist() == [3, 4, 5, 6, 7]
    assert counts.tolist() == [200] * 5


def test_a_space_prints_compares_replaces_pickles_and_nests_as_a_transform_does():
    space = gk.adamw(RATE, weight_decay=search.uniform(0, 0.1))
    assert repr(space) == (
        "adamw(search.log_uniform(0.0001, 1.0), weight_decay=search.uniform(0.0, 0.1))"
    )
    assert eval(repr(space), vars(gk)) == space
    assert pickle.loads(pickle.dumps(space)) == space
    assert hash(space) == hash(gk.adamw(RATE, weight_decay=search.uniform(0, 0.1)))
    assert space != gk.adamw(RATE, weight_decay=search.uniform(0, 0.2))
    assert space.replace(weight_decay=0.05) == gk.adamw(RATE, weight_decay=0.05)
    assert space.learning_rate.replace(high=0.1) == search.log_uniform(1e-4, 0.1)
    nested = gk.chain(gk.clip(1.0), space)
    assert nested.replace({"adamw.learning_rate": 0.5, "weight_decay": 0.0}) == gk.chain(
        gk.clip(1.0), gk.adamw(0.5, weight_decay=0.0)
    )
    assert gk.chain(gk.clip(1.0), gk.sgd(0.1)).replace({"sgd.learning_rate": RATE}) == gk.chain(
        gk.clip(1.0), gk.sgd(RATE)
    )
    assert nested.unfilled
    assert not gk.adamw(0.5).unfilled
    scheduled = gk.sgd(gk.cosine_decay_schedule(RATE, 100))
    assert list(search.distributions(scheduled)) == ["learning_rate.init_value"]
    assert search.fill(scheduled, {"learning_rate.init_value": 0.5}) == gk.sgd(
        gk.cosine_decay_schedule(0.5, 100)
    )


SPACE = gk.chain(
    gk.clip(search.uniform(0.5, 2.0)),
    search.choice(
        gk.adam(RATE), gk.adam(RATE, nesterov=search.choice(False, True)), plain=gk.sgd(RATE)
    ),
    gk.chain(gk.scale(search.uniform(0.5, 1.0))),
    gk.MultiSteps(gk.lookahead(gk.sgd(RATE), search.integers(2, 3), 0.5), 2),
    gk.partition({"a": gk.scale(search.uniform(0.1, 0.2))}, lambda params: "a"),
)


def test_paths_are_those_of_hyperparameters_and_replace():
    assert list(search.distributions(SPACE)) == [
        "clip.max_delta",
        "choice",
        "choice.adam.learning_rate",
        "choice.adam_1.learning_rate",
        "choice.adam_1.nesterov",
        "choice.plain.learning_rate",
        "scale.step_size",
        "MultiSteps.opt.fast_optimizer.learning_rate",
        "MultiSteps.opt.sync_period",
        "partition.a.step_size",
    ]
    config = search.sample(SPACE, 0, 1).values[0]
    tx = search.fill(SPACE, config)
    found = gk.hyperparameters(tx, tx.init({"w": jnp.ones(2)}))
    for path, value in config.items():
        if not path.startswith("choice"):
            assert float(found[path]) == pytest.approx(value)
            assert tx.replace({path: value}) == tx
    tree = {"optimizer": gk.sgd(RATE), "sizes": [search.integers(4, 8)], "name": "mlp"}
    assert list(search.distributions(tree)) == ["optimizer.learning_rate", "sizes.0"]
    filled = search.fill(tree, {"optimizer.learning_rate": 0.5, "sizes.0": 4})
    assert filled == {"optimizer": gk.sgd(0.5), "sizes": [4], "name": "mlp"}
    assert list(search.distributions(RATE)) == ["log_uniform"]
    assert search.fill(RATE, {"log_uniform": 0.5}) == 0.5


def test_a_configuration_has_what_is_inside_the_options_it_chose_alone():
    configs = search.sample(SPACE, 1, 60)
    chosen = {c["choice"] for c in configs.values}
    assert chosen == {"adam", "adam_1", "plain"}
    for config in configs.values:
        inside = {path.split(".")[1] for path in config if path.startswith("choice.")}
        assert inside == {config["choice"]}
        assert ("choice.adam_1.nesterov" in config) == (config["choice"] == "adam_1")
    mixed = gk.adamw(0.1, weight_decay=search.choice(0, search.log_uniform(1e-5, 1e-2)))
    assert list(search.distributions(mixed)) == ["weight_decay", "weight_decay.log_uniform"]
    assert search.fill(mixed, {"weight_decay": 0}) == gk.adamw(0.1, weight_decay=0.0)
    values = {"weight_decay": "log_uniform", "weight_decay.log_uniform": 1e-3}
    assert search.fill(mixed, values) == gk.adamw(0.1, weight_decay=1e-3)


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        {
            "optimizer": search.choice(gk.sgd(RATE), gk.sgd(0.1), gk.sgd(search.integers(1, 3))),
            "width": search.integers(4, 5),
            "activation": search.choice("relu", "tanh"),
            "dropout": search.choice(0, 0.25, 0.5),
            "fixed": 0,
        },
    ],
    ids=["chain", "tree"],
)
def test_batches_hold_the_configurations_grouped_by_structure(space):
    configs = search.sample(space, 0, 16 if isinstance(space, dict) else 6)
    alone, found = list(configs), []
    for group in configs.groups:
        for row, i in enumerate(group.indices):
            mine = jax.tree.map(
                lambda leaf, axis, row=row: leaf if axis is None else leaf[row],
                jax.tree.leaves(group.config),
                jax.tree.leaves(_axes_like(group), is_leaf=lambda leaf: leaf is None),
            )
            wanted = jax.tree.leaves(alone[i])
            assert [x if isinstance(x, str) else float(x) for x in mine] == pytest.approx(
                [x if isinstance(x, str) else float(x) for x in wanted]
            )
            assert jax.tree.structure(alone[i]) == jax.tree.structure(group.config)
            found.append(i)
    assert sorted(found) == list(range(len(configs)))
    if isinstance(space, dict):  # the three optimizers are one structure
        assert len(configs.groups) == 4
        assert all(g.axes["fixed"] is None and g.axes["dropout"] == 0 for g in configs.groups)
    else:
        assert len(configs.groups) == len({jax.tree.structure(config) for config in alone})


def _axes_like(group):
    """The axes with a None for each leaf that has none."""
    return jax.tree.map(
        lambda axis, part: jax.tree.map(lambda _: axis, part) if axis is None else axis,
        group.axes,
        group.config,
        is_leaf=lambda leaf: leaf is None,
    )


def test_a_batched_transform_runs_under_vmap_by_its_axes():
    configs = search.sample(gk.adam(RATE, eps=1e-3), 0, 5)
    tx = configs.batched

    def update(tx, grad):
        return tx.update(grad, tx.init(jnp.zeros(2)))[0]

    grad = jnp.array([1.0, -3.0])
    many = jax.jit(jax.vmap(update, in_axes=(tx.vmap_axes(), None)))(tx, grad)
    for one, alone in zip(many, configs, strict=True):
        np.testing.assert_allclose(one, update(alone, grad), rtol=1e-5)


@pytest.mark.parametrize("method", ["random", "sobol", "halton", "latin_hypercube"])
def test_samples_follow_the_distributions_and_repeat_with_the_key(method):
    space = gk.sgd(RATE, momentum=search.uniform(0.0, 0.9))
    configs = search.sample(space, 3, 64, method=method)
    assert configs.values == search.sample(space, 3, 64, method=method).values
    assert configs.values != search.sample(space, 4, 64, method=method).values
    u = search.to_unit(space, configs)
    assert scipy.stats.kstest(u[:, 0], "uniform").pvalue > 1e-3
    assert scipy.stats.kstest(u[:, 1], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.4
    if method in ("sobol", "latin_hypercube"):
        assert sorted(np.floor(u[:, 0] * 64)) == list(range(64))
    back = search.from_unit(space, u)
    np.testing.assert_allclose(search.to_unit(space, back), u, atol=1e-12)


def test_a_grid_has_all_combinations_of_what_belongs_together():
    space = {
        "optimizer": search.choice(gk.sgd(RATE, momentum=search.choice(0.0, 0.9)), gk.adam(RATE)),
        "layers": search.integers(1, 3),
    }
    configs = search.grid(space, 5)
    assert len(configs) == 3 * (5 * 2 + 5)
    assert len({tuple(c.items()) for c in configs.values}) == len(configs)
    rates = [c["optimizer.adam.learning_rate"] for c in configs.values if "adam" in c.values()]
    np.testing.assert_allclose(sorted(set(rates)), [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    ours = [0.01, 0.1, 0.5, 1.0]
    found = search.grid(
        gk.sgd(RATE, momentum=search.uniform(0, 0.9)),
        {
            "learning_rate": ours,
            "momentum": 1,
        },
    )
    assert [c["learning_rate"] for c in found.values] == ours
    assert {c["momentum"] for c in found.values} == {0.45}


def test_refined_ranges_are_those_of_the_best_trials_with_a_margin():
    space = {"x": search.uniform(0, 10), "n": search.integers(1, 9), "o": search.choice(1, 2)}
    configs = [{"x": float(i), "n": 1 + i % 9, "o": 1} for i in range(10)]
    scores = [abs(i - 4.5) if i else np.inf for i in range(10)]
    trials = search.Trials(space, configs, scores)
    finer = search.refine(space, trials, keep=0.2, widen=0.05)
    assert (finer["x"].low, finer["x"].high) == pytest.approx((3.5, 5.5))
    assert finer["n"] == search.integers(5, 6)
    assert finer["o"] == space["o"]
    ends = search.refine(space, [{"x": 0.0, "n": 9, "o": 1}], widen=0.1)
    assert ends["x"] == search.uniform(0.0, 1.0)
    assert ends["n"].high == 9
    chain = search.refine(SPACE, search.sample(SPACE, 0, 3).values)
    assert list(search.distributions(chain)) == list(search.distributions(SPACE))
    assert chain != SPACE


TX = gk.sgd(RATE)
TREE = {"a": search.uniform(0, 1)}
REFUSALS = {
    "an empty range": (
        lambda: search.uniform(1, 1),
        "uniform: low=1.0 is not below high=1.0. Expected low < high.",
    ),
    "an infinite range": (
        lambda: search.uniform(0, np.inf),
        "uniform: high=inf is out of range. Expected a finite high.",
    ),
    "a log scale through zero": (
        lambda: search.log_uniform(0, 1),
        "log_uniform: low=0.0 is out of range. Expected low > 0. "
        "Write uniform(low, high) for a range that includes zero.",
    ),
    "a complement through zero": (
        lambda: search.log_uniform(0.9, 1.0, complement=True),
        "log_uniform: high=1.0 is out of range. Expected high < 1. "
        "The logarithm of 1 − x must exist.",
    ),
    "integers through zero": (
        lambda: search.integers(0, 8, log=True),
        "integers: low=0 is out of range. Expected low >= 1 with log=True.",
    ),
    "integers that are none": (
        lambda: search.integers(1, 2.5),
        "integers: high=2.5 is not an integer.",
    ),
    "a choice of nothing": (
        lambda: search.choice(),
        "choice: options=() is empty. Expected at least one option.",
    ),
    "an option twice": (
        lambda: search.choice(1, 2, 1),
        "choice: the option 1 is given twice.",
    ),
    "a factory as an option": (
        lambda: search.choice(gk.adam, gk.sgd),
        "choice: options: adam is a factory. Call the factory: adam(...).",
    ),
    "a range that the argument refuses": (
        lambda: gk.adam(1e-3, b1=search.uniform(0.5, 1.5)),
        "adam: b1=1.5 is out of range. Expected 0 <= b1 < 1.",
    ),
    "a number for an integer": (
        lambda: gk.MultiSteps(TX, search.uniform(1, 4)),
        "MultiSteps: every_k_schedule=2.11 is not an integer.",
    ),
    "a space as an optimizer": (
        lambda: TX.init(jnp.ones(2)),
        "sgd: learning_rate=search.log_uniform(0.0001, 1.0) is a distribution. "
        "Sample the space first: gradkit.search.sample(space, key, n).",
    ),
    "the update of a space": (
        lambda: gk.chain(gk.clip(1.0), TX).update(jnp.ones(2), gk.sgd(0.1).init(jnp.ones(2))),
        "chain: sgd.learning_rate=search.log_uniform(0.0001, 1.0) is a distribution. "
        "Sample the space first: gradkit.search.sample(space, key, n).",
    ),
    "a schedule with a distribution": (
        lambda: gk.linear_schedule(search.uniform(0, 1), 0.0, 10)(3),
        "linear_schedule: init_value=search.uniform(0.0, 1.0) is a distribution. "
        "Sample the space first: gradkit.search.sample(space, key, n).",
    ),
    "an unknown path": (
        lambda: search.fill(TX, {"learning_rte": 0.1}),
        "fill: 'learning_rte' is no path of a distribution. Did you mean 'learning_rate'?",
    ),
    "a path without a value": (
        lambda: search.fill(TX, {}),
        "fill: 'learning_rate' has no value. Expected one of search.log_uniform(0.0001, 1.0).",
    ),
    "values that are none": (
        lambda: search.fill(TX, 0.1),
        "fill: values=0.1 is not a dict of values by path.",
    ),
    "a value that is no number": (
        lambda: search.fill(TX, {"learning_rate": "fast"}),
        "fill.learning_rate: value='fast' is not a number. Expected a real number.",
    ),
    "an option that there is not": (
        lambda: search.fill({"a": search.choice("b", 1)}, {"a": True}),
        "fill.a: True is not an option. Expected one of 'b', 1.",
    ),
    "paths that are equal": (
        lambda: search.distributions(gk.chain(gk.scale(TREE["a"]), gk.chain(gk.scale(TREE["a"])))),
        "distributions: two distributions have the path 'scale.step_size'. "
        "Give one a name of its own, as in named_chain or a dict.",
    ),
    "a space without distributions": (
        lambda: search.sample(gk.sgd(0.1), 0, 4),
        "sample: space=sgd(0.1) has no distribution. "
        "Write one in place of a number, such as search.log_uniform(1e-5, 1e-1).",
    ),
    "an unknown method": (
        lambda: search.sample(TX, 0, 4, method="sobel"),
        "sample: method='sobel' is not an option. "
        "Expected one of 'random', 'sobol', 'halton', 'latin_hypercube'.",
    ),
    "no samples": (
        lambda: search.sample(TX, 0, 0),
        "sample: n=0 is out of range. Expected an integer >= 1.",
    ),
    "a batch of several structures": (
        lambda: search.Configs({"a": search.choice("b", "c")}, [{"a": "b"}, {"a": "c"}]).batched,
        "Configs: the 2 configurations have 2 structures. Use .groups, a batch for each structure.",
    ),
    "no configurations": (
        lambda: search.Configs(TX, []),
        "Configs: values is empty. Expected at least one configuration.",
    ),
    "points of another space": (
        lambda: search.from_unit(TX, [[0.1, 0.2]]),
        "from_unit: u has the shape [1, 2]. Expected [n, 1], a column for each distribution.",
    ),
    "a grid without a dimension": (
        lambda: search.grid(TX, {}),
        "grid: n has no entry for 'learning_rate'. "
        "Pass how many, or a list of values: {'learning_rate': 5}.",
    ),
    "a grid of another space": (
        lambda: search.grid(TX, {"learning_rat": 3}),
        "grid: 'learning_rat' is no path of a distribution. Did you mean 'learning_rate'?",
    ),
    "an empty axis": (
        lambda: search.grid(TX, {"learning_rate": []}),
        "grid: n['learning_rate']=[] is empty. Expected at least one value.",
    ),
    "nothing to refine about": (
        lambda: search.refine(TREE, search.Trials(TREE, [{"a": 0.5}], [np.inf])),
        "refine: trials has no trial with a finite score. Expected at least one.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_spaces_are_refused(case):
    call, message = REFUSALS[case]
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}$"):
        call()
