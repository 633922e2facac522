"""Projections are the nearest points of their sets, with the right derivatives and messages."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from gradkit import projections as ours

N = 6
A, B = np.array([0.5, -1.0, 2.0, 0.0, 1.5, -0.3]), 0.7
LOW, HIGH = np.array([-1.0, -0.2, 0.0, 0.3, -2.0, 0.5]), np.array([1.0, -0.1, 0.4, 0.3, 2.0, 3.0])


def tree_of(x: Any) -> Any:
    """Six numbers as a tree."""
    return {"w": jnp.reshape(x[:4], (2, 2)), "b": (x[4], x[5:])}


def vector_of(tree: Any) -> Any:
    return jnp.concatenate([jnp.ravel(x) for x in (tree["w"], *tree["b"])])


def shares(rng: Any, count: int) -> Any:
    return rng.dirichlet(np.full(N, 0.5), count)


def signs(rng: Any, count: int) -> Any:
    return rng.choice([-1.0, 1.0], (count, N))


def directions(rng: Any, count: int) -> Any:
    x = rng.normal(size=(count, N))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def inside(rng: Any, count: int) -> Any:
    """Radii of points of a unit ball, some of them on its surface."""
    return np.minimum(1.0, rng.uniform(0, 1.3, (count, 1)))


def plane(rng: Any, count: int) -> Any:
    x = 3 * rng.normal(size=(count, N))
    return x - np.outer((x @ A - B) / (A @ A), A)


@dataclass(frozen=True, eq=False)
class Set:
    """A projection, its arguments, points of its set, and how far a point is from it."""

    name: str
    args: tuple[Any, ...]
    points: Any
    violation: Any
    convex: bool = True

    def ours(self, x: Any) -> Any:
        return vector_of(getattr(ours, self.name)(tree_of(x), *map(_tree, self.args)))

    def theirs(self, x: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return getattr(optax.projections, self.name)(x, *self.args)


def _tree(arg: Any) -> Any:
    return tree_of(jnp.asarray(arg)) if np.ndim(arg) else arg


SETS = [
    Set(
        "projection_non_negative",
        (),
        lambda r, k: np.maximum(r.normal(size=(k, N)), 0),
        lambda p: np.max(-p),
    ),
    Set(
        "projection_box",
        (LOW, HIGH),
        lambda r, k: r.uniform(LOW, HIGH, (k, N)),
        lambda p: np.max(np.maximum(LOW - p, p - HIGH)),
    ),
    Set(
        "projection_hypercube",
        (HIGH + 0.2,),
        lambda r, k: r.uniform(0, HIGH + 0.2, (k, N)),
        lambda p: np.max(np.maximum(-p, p - HIGH - 0.2)),
    ),
    Set(
        "projection_linf_ball",
        (0.8,),
        lambda r, k: r.uniform(-0.8, 0.8, (k, N)),
        lambda p: np.max(np.abs(p)) - 0.8,
    ),
    Set(
        "projection_simplex",
        (1.7,),
        lambda r, k: 1.7 * shares(r, k),
        lambda p: max(np.max(-p), np.max(np.abs(p.sum(-1) - 1.7))),
    ),
    Set(
        "projection_l1_sphere",
        (1.7,),
        lambda r, k: 1.7 * signs(r, k) * shares(r, k),
        lambda p: np.max(np.abs(np.abs(p).sum(-1) - 1.7)),
        convex=False,
    ),
    Set(
        "projection_l1_ball",
        (1.7,),
        lambda r, k: 1.7 * inside(r, k) * signs(r, k) * shares(r, k),
        lambda p: np.max(np.abs(p).sum(-1)) - 1.7,
    ),
    Set(
        "projection_l2_sphere",
        (1.7,),
        lambda r, k: 1.7 * directions(r, k),
        lambda p: np.max(np.abs(np.linalg.norm(p, axis=-1) - 1.7)),
        convex=False,
    ),
    Set(
        "projection_l2_ball",
        (1.7,),
        lambda r, k: 1.7 * inside(r, k) * directions(r, k),
        lambda p: np.max(np.linalg.norm(p, axis=-1)) - 1.7,
    ),
    Set(
        "projection_vector",
        (A,),
        lambda r, k: 2 * r.normal(size=(k, 1)) * A,
        lambda p: np.max(np.abs(p - np.outer(p @ A / (A @ A), A))),
    ),
    Set("projection_hyperplane", (A, B), plane, lambda p: np.max(np.abs(p @ A - B))),
    Set(
        "projection_halfspace",
        (A, B),
        lambda r, k: plane(r, k) - np.outer(r.uniform(0, 2, k) * (r.uniform(size=k) < 0.7), A),
        lambda p: np.max(p @ A - B),
    ),
]
each = pytest.mark.parametrize("each", SETS, ids=lambda s: s.name.removeprefix("projection_"))


def points(count: int = 24) -> Any:
    """Points around the sets: most outside, some inside."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, N)) * rng.choice([0.1, 1.0, 4.0], (count, 1))


@functools.cache
def found(each: Set) -> dict[str, Any]:
    """What all tests of a set read, in float64, from one program."""

    def one(x: Any, v: Any) -> dict[str, Any]:
        p, moved = jax.jvp(each.ours, (x,), (v,))
        back = jax.vjp(each.ours, x)[1](v[::-1])[0]
        h = 1e-6
        slope = (each.ours(x + h * v) - each.ours(x - h * v)) / (2 * h)
        return {
            "p": p,
            "again": each.ours(p),
            "optax": each.theirs(x),
            "jvp": moved,
            "vjp": back,
            "slope": slope,
        }

    with jax.enable_x64(True):
        x, v = points(), np.random.default_rng(1).normal(size=(26, N))
        x = np.concatenate([x, np.zeros((1, N)), np.full((1, N), np.nan)])  # read apart
        run = {"x": x, "v": v, **jax.jit(jax.vmap(one))(x, v)}
        usual = {name: np.asarray(value)[:24] for name, value in run.items()}
        return {
            **usual,
            "zero": {name: value[24] for name, value in run.items()},
            "nan": run["p"][25],
        }


@each
def test_the_result_is_the_nearest_point_of_the_set(each):
    """Variational inequality: p is nearest if and only if ⟨x − p, y − p⟩ ≤ 0 for all y of C."""
    x, p = found(each)["x"], found(each)["p"]
    y = each.points(np.random.default_rng(2), 200)
    assert each.violation(y) < 1e-12, "the points to compare with are in the set"
    assert each.violation(p) < 1e-12
    assert np.ptp(np.linalg.norm(x - p, axis=1)) > 0.1, "some points were outside"
    if each.convex:
        inner = np.einsum("in,ijn->ij", x - p, y[None] - p[:, None])
        assert inner.max() < 1e-10
    else:
        nearest = np.linalg.norm(x[:, None] - y[None], axis=-1).min(1)
        assert (np.linalg.norm(x - p, axis=1) <= nearest + 1e-12).all()


@each
def test_a_point_of_the_set_stays(each):
    np.testing.assert_allclose(found(each)["again"], found(each)["p"], 1e-12, 1e-14)


@each
def test_the_result_is_that_of_optax(each):
    np.testing.assert_allclose(found(each)["p"], found(each)["optax"], 1e-12, 1e-14)


@each
def test_derivatives_are_those_of_finite_differences(each):
    """Forward, and in reverse of the same matrix."""
    run = found(each)
    smooth = np.abs(run["slope"] - run["jvp"]).max(1) < 1e-6
    assert smooth.mean() > 0.9, "a difference across an edge of the set says nothing"
    np.testing.assert_allclose(run["jvp"][smooth], run["slope"][smooth], 1e-6, 1e-8)
    forward, backward = run["v"][:, ::-1] * run["jvp"], run["v"] * run["vjp"]  # u·(J v) = (Jᵀu)·v
    np.testing.assert_allclose(backward.sum(1), forward.sum(1), 1e-10, 1e-12)


def test_the_names_and_arguments_are_those_of_optax():
    import inspect

    names = {name for name in dir(optax.projections) if name.startswith("projection_")}
    assert names == {each.name for each in SETS}
    for name in names:
        theirs = list(inspect.signature(getattr(optax.projections, name)).parameters)
        assert list(inspect.signature(getattr(ours, name)).parameters) == theirs


# ---- numbers that are hard ----------------------------------------------------------------------


def exact_simplex(x: Any, scale: float) -> Any:
    """By the definition, in float64."""
    x = np.asarray(x, np.float64)
    low, high = x.max() - scale, x.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(x - middle, 0).sum() > scale else (low, middle)
    return np.maximum(x - low, 0)


def test_the_simplex_keeps_the_digits_of_large_numbers_and_the_sum_of_bfloat16():
    @jax.jit
    def run(x: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            theirs = optax.projections.projection_simplex(x, 3.0)
        return ours.projection_simplex(x, 3.0), theirs

    rng = np.random.default_rng(0)
    large = (1e6 + rng.normal(size=50)).astype(np.float32)
    mine, theirs = (np.abs(p - exact_simplex(large, 3.0)).max() for p in run(large))
    assert mine < 1e-6
    assert theirs > 1e-3
    many = jnp.asarray(rng.uniform(size=50), jnp.bfloat16)
    mine, theirs = (abs(np.asarray(p, np.float64).sum() - 3) for p in run(many))
    assert mine < 0.01 < theirs


def test_norms_do_not_overflow():
    @jax.jit
    def run(x: Any, scale: Any) -> Any:
        return ours.projection_l2_sphere(x, 5.0), ours.projection_l2_ball(x, scale)

    for size in (1e-30, 1e30):
        p, q = run(size * np.float32([3, 4]), np.float32(2.5 * size))
        np.testing.assert_allclose(p, [3.0, 4.0], 1e-6)
        np.testing.assert_allclose(q, [1.5 * size, 2 * size], 1e-6)


INF = float("inf")


def numbers(tree: Any) -> Any:
    return np.asarray(vector_of(tree))


def test_a_set_of_radius_zero_is_the_origin():
    names = ("l1_ball", "l2_ball", "linf_ball", "simplex", "l1_sphere")

    @jax.jit
    def run(x: Any) -> Any:
        return [vector_of(getattr(ours, f"projection_{name}")(tree_of(x), 0.0)) for name in names]

    for x in (jnp.arange(6.0) - 2, jnp.zeros(6)):
        for p in run(x):
            np.testing.assert_array_equal(p, np.zeros(6))


def test_an_infinite_radius_is_no_bound():
    names = ("l1_ball", "l2_ball", "linf_ball")

    @jax.jit
    def run(x: Any) -> Any:
        each = [getattr(ours, f"projection_{name}") for name in names]
        return [
            (project(x, INF), jax.grad(lambda x, f=project: f(x, INF).sum())(x)) for project in each
        ]

    x = jnp.arange(6.0) - 2
    for p, slope in run(x):
        np.testing.assert_array_equal(p, x)
        np.testing.assert_array_equal(slope, np.ones(6))


def test_from_the_origin_a_sphere_is_reached_at_equal_elements():
    @jax.jit
    def run(x: Any) -> Any:
        return ours.projection_l2_sphere(x, 3.0), ours.projection_l1_sphere(x, 3.0)

    for p, value in zip(run(jnp.zeros(4)), (1.5, 0.75), strict=True):
        np.testing.assert_allclose(p, value)
    _, p = run(jnp.array([0.0, -1.0, 1.0, 0.0]))
    assert p.tolist() == [0.25, -1.25, 1.25, 0.25]


@each
def test_derivatives_at_zero_are_finite_and_nan_stays_nan(each):
    zero = found(each)["zero"]
    assert np.isfinite(zero["jvp"]).all()
    assert np.isfinite(zero["vjp"]).all()
    assert np.isnan(found(each)["nan"]).all()


def test_leaves_keep_their_dtypes_and_none_stays():
    x = {"a": jnp.ones(2, jnp.bfloat16), "b": None, "c": jnp.ones(2), "d": 1.0}
    box = functools.partial(ours.projection_box, lower=0, upper=1)
    for project in (ours.projection_simplex, ours.projection_l2_ball, box):
        p = jax.eval_shape(lambda f=project: f(x))
        assert p["b"] is None
        assert (p["a"].dtype, p["c"].dtype, p["d"].dtype) == (jnp.bfloat16, "float32", "float32")
    assert ours.projection_simplex({}) == ours.projection_l2_sphere({}) == {}


def test_complex_numbers_keep_their_phase():
    @jax.jit
    def run(x: Any, a: Any) -> Any:
        return (
            ours.projection_linf_ball(x, 1.0),
            ours.projection_l1_ball(x, 5.0),
            ours.projection_l2_sphere(x[:1], 1.0),
            ours.projection_vector(x[:2], a),
            ours.projection_hyperplane(x[:1], a[:1], 1.0),
        )

    found = run(np.complex64([3 + 4j, -0.6j, 0]), np.complex64([1j, 1j]))
    wanted = (
        [0.6 + 0.8j, -0.6j, 0],
        [2.82 + 3.76j, -0.3j, 0],
        [0.6 + 0.8j],
        [(3 + 3.4j) / 2] * 2,  # a ⟨a, x⟩ / 2 with ⟨a, x⟩ = −i (3 + 3.4i)
        [3 + 1j],
    )
    for p, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(p, expected, 1e-6, 1e-7)


def test_one_number_bounds_a_whole_tree():
    x = tree_of(jnp.arange(6.0) - 2)
    assert numbers(ours.projection_box(x, -1.0, 2.0)).tolist() == [-1, -1, 0, 1, 2, 2]
    assert numbers(ours.projection_hypercube(x)).tolist() == [0, 0, 0, 1, 1, 1]
    upper = {"w": jnp.array([0.0, 0.5]), "b": 3.0}  # a row for both, and a prefix
    assert numbers(ours.projection_box(x, -1.0, upper)).tolist() == [-1, -1, 0, 0.5, 2, 3]


def test_a_population_is_mapped_over_points_and_radii():
    x, scales = jnp.asarray(points(3), jnp.float32), jnp.array([0.5, 1.0, 2.0])
    for name in ("simplex", "l1_ball"):  # one that sorts, one with a branch
        project = jax.jit(getattr(ours, f"projection_{name}"))
        together = jax.jit(jax.vmap(project))(x, scales)
        for row, scale, p in zip(x, scales, together, strict=True):
            np.testing.assert_allclose(project(row, scale), p, 1e-5, 1e-6)


# ---- bad input ----------------------------------------------------------------------------------

X = {"w": jnp.ones(2), "b": jnp.ones(())}
REFUSED = [
    (lambda: ours.projection_l2_ball(X, -1.0), r"projection_l2_ball: scale=-1.0 is out of range"),
    (lambda: ours.projection_l1_ball(X, float("nan")), r"l1_ball: scale=nan is out of range"),
    (lambda: ours.projection_linf_ball(X, -1), r"linf_ball: scale=-1 is out of range.*scale >= 0"),
    (lambda: ours.projection_hypercube(X, {"w": -1.0, "b": 1.0}), r"scale=-1.0 is out of range"),
    (lambda: ours.projection_simplex(X, -0.5), r"projection_simplex: scale=-0.5 is out of range"),
    (lambda: ours.projection_simplex(X, INF), r"simplex: scale=inf is out of range.*< inf"),
    (lambda: ours.projection_l2_sphere(X, -1.0), r"l2_sphere: scale=-1.0 is out of range"),
    (lambda: ours.projection_l2_ball(X, jnp.ones(2)), r"scale is float32\[2\].*one number.*vmap"),
    (lambda: ours.projection_l1_sphere(X, "big"), r"l1_sphere: scale='big' is not a number"),
    (
        lambda: ours.projection_box(X, 1.0, {"w": 2.0, "b": 0.5}),
        r"projection_box, b: lower=1.0 is above upper=0.5: the box is empty. Expected lower <= upp",
    ),
    (lambda: ours.projection_box(X, 0.0, float("nan")), r"projection_box: upper=nan"),
    (lambda: ours.projection_box(X, None, 1.0), r"lower is None. Expected a number or a tree"),
    (lambda: ours.projection_box(X, 0.0, {"w": 1.0}), r"upper is the tree.*a prefix of it"),
    (lambda: ours.projection_box(X, jnp.ones(3), 4.0), r"box, b: lower is float32\[3\] for float"),
    (
        lambda: ours.projection_halfspace(X, {"w": jnp.zeros(2), "b": 0.0}, -1.0),
        r"projection_halfspace: a is zero and b=-1.0: no point satisfies that. .*or b >= 0",
    ),
    (
        lambda: ours.projection_hyperplane(jnp.ones(2), np.zeros(2), 1.0),
        r"projection_hyperplane: a is zero and b=1.0: no point satisfies that. .*or b = 0",
    ),
    (lambda: ours.projection_hyperplane(X, jnp.ones(2), 1.0), r"b: a is float32\[2\] for float32"),
    (lambda: ours.projection_vector(X, {"w": jnp.ones(2)}), r"projection_vector: a is the tree"),
    (lambda: ours.projection_vector(jnp.ones(2), jnp.array([1j, 1j])), r"complex for float32\[2\]"),
    (lambda: ours.projection_non_negative({"w": 1j}), r"non_negative: the array is complex64\[\]"),
    (lambda: ours.projection_simplex({"w": jnp.arange(3)}), r"simplex, w: this leaf is int32\[3\]"),
    (lambda: ours.projection_l2_ball({"w": "x"}), r"projection_l2_ball, w: this leaf"),
    (lambda: ours.projection_l2_ball(None), r"projection_l2_ball: tree is None"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_empty_sets_and_wrong_kinds_are_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_zero_normal_that_every_point_satisfies_changes_nothing():
    x, zero = jnp.array([1.0, -2.0]), jnp.zeros(2)
    assert (ours.projection_halfspace(x, zero, 0.5) == x).all()
    assert (ours.projection_hyperplane(x, zero, 0.0) == x).all()
    assert (ours.projection_vector(x, zero) == 0).all()


def test_the_room_is_public():
    assert gk.projections is ours
