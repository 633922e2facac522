"""Constraints: parameters stay in their set, in every dtype, mask, wrapper and population."""

import functools
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit import projections as onto

F32 = np.finfo(np.float32).eps


def steps(tx: Any, params: Any, grads: list[Any]) -> Any:
    """The parameters after every step, by one compiled ``apply``."""
    run, state, found = jax.jit(tx.apply), tx.init(params), []
    for g in grads:
        params, state = run(params, state, g)
        found.append(params)
    return found


def draws(shape: tuple[int, ...], count: int = 3, dtype: Any = jnp.float32) -> list[Any]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(3 * rng.normal(size=shape), dtype) for _ in range(count)]


# ---- the parameters are in the set --------------------------------------------------------------

# Bounds that bfloat16 and float16 do not have, so that rounding to nearest leaves the set.
NORMAL = np.array([0.3, -1.7, 0.9, 0.1, 1.0, -0.7, 0.2, 0.5], np.float32)
SETS = {
    "box": (onto.projection_box, {"lower": -0.4003, "upper": 1.0039}),
    "positive box": (onto.projection_box, {"lower": 0.1003, "upper": 0.5017}),
    "l1 ball": (onto.projection_l1_ball, {"scale": 1.0039}),
    "l2 ball": (onto.projection_l2_ball, {"scale": 1.0039}),
    "linf ball": (onto.projection_linf_ball, {"scale": 1.0039}),
    "halfspace": (onto.projection_halfspace, {"a": NORMAL, "b": 0.7003}),
}


def outside(name: str, w: np.ndarray) -> float:
    """How far a point is outside of a set of `SETS`, in float64."""
    options, w = SETS[name][1], w.astype(np.float64)
    if "box" in name:
        return max((options["lower"] - w).max(), (w - options["upper"]).max())
    if name == "halfspace":
        return w @ NORMAL.astype(np.float64) - options["b"]
    order = {"l1 ball": 1, "l2 ball": 2, "linf ball": np.inf}[name]
    return np.linalg.norm(w, order) - options["scale"]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_parameters_are_in_the_set_also_after_rounding(dtype):
    runs = {
        name: gk.chain(gk.sgd(0.3), gk.project(projection, **options))
        for name, (projection, options) in SETS.items()
    }

    @jax.jit
    def run(params: Any, grads: Any) -> Any:
        return {name: tx.apply(params[name], tx.init(grads), grads)[0] for name, tx in runs.items()}

    slack = 4 * F32 if dtype == jnp.float32 else 1e-9  # exactly, in narrow dtypes
    params, near = dict.fromkeys(SETS, jnp.zeros(8, dtype)), dict.fromkeys(SETS, 0)
    for grads in draws((8,), 4, dtype):
        params = run(params, grads)
        for name, w in params.items():
            assert w.dtype == dtype
            distance = outside(name, np.asarray(w, np.float32))
            assert distance <= slack, name
            near[name] += distance > -8 * 2 * float(jnp.finfo(dtype).eps)
    assert min(near.values()) > 1, "and no further inside than rounding needs"


def test_what_stays_inside_is_rounded_as_without_the_constraint():
    w, grads = jnp.linspace(0, 1, 8, dtype=jnp.bfloat16), draws((8,), 3, jnp.bfloat16)
    free = steps(gk.sgd(1e-2), w, grads)
    for projection in (onto.projection_l2_ball, onto.projection_l1_ball):
        tx = gk.chain(gk.sgd(1e-2), gk.project(projection, scale=50.0))
        for a, b in zip(free, steps(tx, w, grads), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("projection", [onto.projection_simplex, onto.projection_l2_sphere])
def test_where_a_set_has_no_such_point_the_nearest_rounding_is_taken(projection):
    w, grads = jnp.full(16, 1 / 16, jnp.bfloat16), draws((16,), 2, jnp.bfloat16)
    first, last = steps(gk.chain(gk.sgd(0.01), gk.project(projection)), w, grads)
    wide = first.astype(jnp.float32) - jnp.float32(0.01) * grads[1].astype(jnp.float32)
    np.testing.assert_array_equal(last, projection(wide).astype(jnp.bfloat16))


def test_one_leaf_may_be_narrow_and_another_wide():
    params = {"a": jnp.ones(4, jnp.bfloat16), "b": jnp.ones(4)}
    tx = gk.chain(gk.sgd(0.5), gk.project(onto.projection_l2_ball, scale=1.01))
    (new,) = steps(tx, params, [{"a": -jnp.arange(4.0), "b": jnp.ones(4)}])
    assert (new["a"].dtype, new["b"].dtype) == (jnp.bfloat16, jnp.float32)
    norm = np.linalg.norm(np.concatenate([np.asarray(x, np.float64) for x in new.values()]))
    assert 1.0 < norm <= 1.01 * (1 + F32)


def test_added_by_hand_the_updates_lead_to_the_set_but_for_their_rounding():
    tx = gk.project(onto.projection_box, lower=-1.0, upper=1.0)

    @jax.jit
    def run(w: Any) -> Any:
        updates, _ = tx.update(jnp.full(100, 9.0), tx.init(w), w)
        return gk.apply_updates(w, updates)

    w = jnp.asarray(np.random.default_rng(0).normal(size=100), jnp.float32)
    rounding = F32 * np.maximum(1, np.abs(w))  # of a difference as large as the parameter
    assert (np.abs(np.asarray(run(w)) - 1) <= rounding).all()
    assert (run(w.astype(jnp.bfloat16)) == 1).all()


@pytest.mark.parametrize(
    "around",
    [
        lambda inner: gk.MultiSteps(inner, 1),
        lambda inner: gk.guard(inner),
        lambda inner: gk.chain(inner, gk.identity()),
        lambda inner: gk.chain(gk.identity(), gk.masked(inner, gk.by_path("w"))),
    ],
    ids=["MultiSteps", "guard", "chain", "masked"],
)
def test_inside_a_wrapper_the_parameters_are_in_the_set(around):
    tx = around(gk.chain(gk.sgd(0.5), gk.project(onto.projection_box, lower=0.1003, upper=0.5)))
    w = {"w": jnp.full(8, 0.3, jnp.bfloat16)}
    for new in steps(tx, w, [{"w": g} for g in draws((8,), 2, jnp.bfloat16)]):
        assert (new["w"] <= 0.5).all()
        assert (np.asarray(new["w"], np.float64) >= 0.1003).all()


def test_after_stochastic_rounding_a_point_inside_keeps_its_random_bits():
    random = gk.chain(gk.sgd(1e-3), gk.stochastic_rounding(key=0))
    tx = gk.chain(random, gk.project(onto.projection_box, lower=-1.0, upper=1.0))
    w, grads = jnp.full(500, 0.5, jnp.bfloat16), draws((500,), 2, jnp.bfloat16)
    for a, b in zip(steps(random, w, grads), steps(tx, w, grads), strict=True):
        np.testing.assert_array_equal(a, b)


def test_keep_params_nonnegative_is_a_projection():
    w, grads = jnp.linspace(0, 1, 8), draws((8,))
    one = gk.chain(gk.sgd(0.1), gk.keep_params_nonnegative())
    other = gk.chain(gk.sgd(0.1), gk.project(onto.projection_non_negative))
    for a, b in zip(steps(one, w, grads), steps(other, w, grads), strict=True):
        np.testing.assert_allclose(a, b, F32, F32)


def test_projected_gradient_descent_reaches_the_kkt_point_of_a_quadratic_program():
    """min ½ w·Qw − c·w on the simplex: the gradient is λ on the support and ≥ λ off it."""
    rng = np.random.default_rng(0)
    root, c = rng.normal(size=(6, 6)), 3 * rng.normal(size=6)
    q = jnp.asarray(root @ root.T + np.eye(6), jnp.float32)
    c = jnp.asarray(c, jnp.float32)
    tx = gk.chain(gk.sgd(0.03), gk.project(onto.projection_simplex))

    def step(carry: Any, _: Any) -> Any:
        w, state = carry
        return tx.apply(w, state, q @ w - c), None

    w = jnp.full(6, 1 / 6)
    (w, _), _ = jax.jit(lambda w: jax.lax.scan(step, (w, tx.init(w)), length=400))(w)
    slope = np.asarray(q @ w - c)
    support = np.asarray(w) > 0
    assert 1 < support.sum() < 6
    assert abs(float(w.sum()) - 1) < 1e-6
    assert np.ptp(slope[support]) < 1e-4
    assert slope[~support].min() > slope[support].max()


# ---- which vectors ------------------------------------------------------------------------------


def test_a_mask_selects_the_leaves_and_the_others_move_freely():
    params = {"w": jnp.ones(3), "free": jnp.ones(3)}
    mask = gk.by_path("w")
    tx = gk.chain(gk.sgd(1.0), gk.project(onto.projection_simplex, mask))
    (new,) = steps(tx, params, [{"w": jnp.array([0.5, 1.0, 2.0]), "free": jnp.ones(3)}])
    np.testing.assert_allclose(new["w"], [0.75, 0.25, 0], 1e-6)
    assert new["free"].tolist() == [0, 0, 0]
    plan = gk.describe(tx, params)
    assert {g.route: g.paths for g in plan.groups} == {(): ("free",), ("project",): ("w",)}


def test_two_projections_of_other_leaves_may_follow_one_another():
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    first = gk.project(onto.projection_l2_sphere, gk.by_path("a"), scale=5.0)
    tx = gk.chain(first, gk.project(onto.projection_simplex, gk.by_path("b")))
    (new,) = steps(tx, params, [jax.tree.map(jnp.zeros_like, params)])
    np.testing.assert_allclose(np.linalg.norm(new["a"]), 5.0, 1e-6)
    assert new["b"].tolist() == [0.5, 0.5]


def test_bounds_may_be_a_tree_of_the_whole_parameters_under_a_mask():
    params = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    upper = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0, 4.0])}
    tx = gk.project(onto.projection_box, gk.by_path("b"), lower=0.0, upper=upper)
    new, _ = tx.apply(params, tx.init(params), jax.tree.map(lambda x: x + 9, params))
    assert new["a"].tolist() == [9, 9]
    assert new["b"].tolist() == [3, 4]


def test_each_slice_along_the_axes_is_a_vector():
    x, choices = np.asarray(draws((2, 3, 2))[0]), [0, 1, -1, (0, 2), (0, 1, 2)]

    @jax.jit
    def run(x: Any) -> Any:
        each = [gk.project(onto.projection_l2_sphere, axis=axis) for axis in choices]
        return [tx.apply(jnp.zeros_like(x), tx.init(x), x)[0] for tx in each]

    for axis, new in zip(choices, run(x), strict=True):
        axes = axis if isinstance(axis, tuple) else (axis,)
        np.testing.assert_allclose(new, x / np.sqrt((x**2).sum(axes, keepdims=True)), 1e-6)


def test_in_bfloat16_each_unit_is_rounded_inwards_alone():
    w, grads = jnp.zeros((16, 3), jnp.bfloat16), draws((16, 3), 1, jnp.bfloat16)
    quiet = grads[0].at[:, 1].multiply(1e-3)
    (new,) = steps(gk.chain(gk.sgd(1.0), gk.max_norm(1.0039)), w, [quiet])
    (free,) = steps(gk.sgd(1.0), w, [quiet])
    norms = np.linalg.norm(np.asarray(new, np.float64), axis=0)
    assert (norms <= 1.0039).all()
    np.testing.assert_array_equal(new[:, 1], free[:, 1])
    assert (norms[[0, 2]] > 0.98).all()


def test_norm_constraints_take_the_incoming_weights_of_a_unit():
    rng = np.random.default_rng(0)
    params = {
        "conv": rng.normal(size=(3, 3, 2, 4)).astype(np.float32),
        "dense": rng.normal(size=(5, 3)).astype(np.float32),
        "bias": 9 * np.ones(3, np.float32),
        "scale": np.float32(9.0),
    }
    zero = jax.tree.map(jnp.zeros_like, params)
    for tx, wanted in (
        (gk.max_norm(1.5), lambda n: np.minimum(n, 1.5)),
        (gk.unit_norm(), np.ones_like),
    ):
        (new,) = steps(tx, params, [zero])
        for name in ("conv", "dense"):
            axes = tuple(range(params[name].ndim - 1))
            before, after = (np.sqrt((p[name] ** 2).sum(axes)) for p in (params, new))
            np.testing.assert_allclose(after, wanted(before), 1e-6)
        assert (new["bias"] == 9).all()
        assert new["scale"] == 9
        routes = {g.route: g.paths for g in gk.describe(tx, params).groups}
        assert routes[(tx.factory.__name__,)] == ("conv", "dense")
    rows = gk.max_norm(1.0, axis=1, mask=gk.by_path("dense"))
    (new,) = steps(rows, params, [zero])
    assert (np.linalg.norm(new["dense"], axis=1) < 1 + 1e-6).all()


def test_complex_units_are_normalized():
    w = jnp.array([[3.0 + 4.0j], [0.0j]])
    (new,) = steps(gk.unit_norm(), w, [0 * w])
    np.testing.assert_allclose(new, [[0.6 + 0.8j], [0]], 1e-6)


# ---- a transform as data ------------------------------------------------------------------------


def test_it_prints_as_the_code_that_made_it():
    tx = gk.project(onto.projection_box, gk.by_rank(2), lower=-1, upper=np.array([1.0, 2.0]))
    shown = (
        "project(projections.projection_box, mask=by_rank(2), lower=-1.0, upper=array([1., 2.]))"
    )
    assert repr(tx) == shown
    assert eval(repr(tx), {**vars(gk), "array": np.array}) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert tx != gk.project(onto.projection_box, gk.by_rank(2), lower=-1, upper=np.ones(2))
    wide = gk.project(onto.projection_l2_ball, scale=1.0).replace(options={"scale": 2})
    assert wide == gk.project(onto.projection_l2_ball, scale=2.0)


def test_numbers_are_data_one_trace_serves_them_and_vmap_maps_them():
    traces = []

    @jax.jit
    def radius(tx: Any, w: Any) -> Any:
        traces.append(1)
        new, _ = tx.apply(w, tx.init(w), jnp.zeros_like(w))
        return jnp.sqrt(jnp.sum(new**2))

    w = jnp.array([3.0, 4.0])
    make = functools.partial(gk.project, onto.projection_l2_ball)
    assert [float(radius(make(scale=s), w)) for s in (1, 2.0, 7.0)] == [1, 2, 5]
    assert len(traces) == 1
    population = make(scale=jnp.array([1.0, 2.0]))
    together = jax.vmap(radius, in_axes=(population.vmap_axes(), None))(population, w)
    np.testing.assert_allclose(together, [1, 2], 1e-6)
    slope = jax.grad(lambda s: gk.max_norm(s, axis=0).apply(w, gk.State(0, {}), 0 * w)[0].sum())(
        2.0
    )
    np.testing.assert_allclose(slope, 1.4, 1e-6)


def test_a_radius_may_be_a_schedule():
    falling = gk.linear_schedule(4.0, 2.0, 2)
    w = jnp.array([3.0, 4.0])
    for tx in (gk.project(onto.projection_l2_ball, scale=falling), gk.max_norm(falling, axis=0)):
        found = steps(tx, w, [0 * w] * 3)
        np.testing.assert_allclose([np.linalg.norm(p) for p in found], [4, 3, 2], 1e-6)


def test_any_function_of_a_tree_is_a_projection():
    def symmetric(tree: Any) -> Any:
        return jax.tree.map(lambda x: (x + x.T) / 2, tree)

    tx, w = gk.chain(gk.sgd(1.0), gk.project(symmetric)), jnp.zeros((2, 2))
    new, _ = tx.apply(w, tx.init(w), jnp.array([[0.0, -2.0], [0.0, 0.0]]))
    assert new.tolist() == [[0, 1], [1, 0]]


# ---- bad input ----------------------------------------------------------------------------------

P = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
REFUSED = [
    (
        lambda: gk.project(onto.projection_l2_ball, radius=1.0),
        r"project: projection_l2_ball has no",
    ),
    (lambda: gk.project(onto.projection_box, lower=0.0), r"'upper' of projection_box is missing"),
    (lambda: gk.project(onto.projection_l2_ball, scale=-1.0), r"project: scale=-1.0 is out of"),
    (lambda: gk.project(onto.projection_box, lower=2.0, upper=1.0), r"lower=2.0 is above upper=1"),
    (lambda: gk.project(onto.projection_simplex, axis=0.5), r"axis=0.5 is not an axis"),
    (lambda: gk.project(0.5), r"project: projection=0.5 is not a function"),
    (lambda: gk.project(gk.adam), r"projection=adam is a factory"),
    (lambda: gk.project(lambda: 0), r"project: projection=<lambda> takes no positional argument"),
    (
        lambda: gk.project(onto.projection_simplex, axis=1).init(P),
        r"project, b: axis=1 is not in float32\[2\]. Pass a mask such as by_rank\(2\)",
    ),
    (
        lambda: gk.project(onto.projection_box, lower={"w": 0.0}, upper=9.0).init(P),
        r"project.projection_box: lower is the tree",
    ),
    (
        lambda: gk.project(onto.projection_halfspace, a={"w": np.ones(2), "b": 0.0}, b=1).init(P),
        r"projection_halfspace, b: a is float32\[\] for float32\[2\]",
    ),
    (lambda: gk.project(lambda t: t["w"]).init(P), r"projection=<lambda> returned the tree"),
    (
        lambda: gk.project(lambda t: jax.tree.map(jnp.sum, t)).init(P),
        r"project, b: projection=<lambda> returned float32\[\] for float32\[2\]",
    ),
    (
        lambda: gk.project(onto.projection_simplex).update(P, gk.State(0, {})),
        r"project: params=None, but this transform needs the parameters",
    ),
    (lambda: gk.project(onto.projection_simplex, gk.by_path("x")).init(P), r"matches no parameter"),
    (lambda: gk.max_norm(-1.0), r"max_norm: max_value=-1.0 is out of range. Expected max_value >="),
    (
        lambda: gk.max_norm(1.0, axis=(0, 3)).init(P),
        r"max_norm, b: axis=\(0, 3\) is not in float32",
    ),
    (lambda: gk.unit_norm("rows"), r"unit_norm: axis='rows' is not an axis"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_bad_calls_are_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
