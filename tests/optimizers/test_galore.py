"""GaLore against NumPy in float64 along refreshes, its dimension numbers, what it refuses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

import gradkit as gk
from tests.optimizers.trajectories import assert_same, follow


def draws(shape, steps=12, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, *shape))


def galore_of(grads, rank, gap, scale, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 2 of the paper with Adam, the longer side projected as optax does."""
    m = v = 0.0
    for t, g in enumerate(grads, 1):
        tall = g.shape[0] >= g.shape[1]
        if (t - 1) % gap == 0:
            left, _, right = np.linalg.svd(g, full_matrices=False)
            p = left[:, :rank] if tall else right[:rank].conj().T
        low = p.conj().T @ g if tall else g @ p
        m, v = b1 * m + (1 - b1) * low, b2 * v + (1 - b2) * np.abs(low) ** 2
        n = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        yield scale * (p @ n if tall else n @ p.conj().T)


@pytest.mark.parametrize(("shape", "rank"), [((5, 3), 2), ((3, 5), 2), ((4, 3), 9)])
def test_galore_is_that_of_its_paper(shape, rank):
    grads, tx = draws(shape), gk.scale_by_galore(rank, 4, 0.25)
    with jax.enable_x64(True):
        wanted = list(galore_of(grads, min(rank, *shape), 4, 0.25))
        np.testing.assert_allclose(follow(tx, grads), wanted, rtol=1e-8, atol=1e-10)


def test_complex_gradients_are_projected_with_the_adjoint():
    grads = draws((4, 3)) + 1j * draws((4, 3), seed=1)
    with jax.enable_x64(True):
        found = follow(gk.scale_by_galore(3, 4), grads, jnp.zeros((4, 3), complex))
        plain = follow(
            gk.scale_by_galore(3, 1, base_optimizer=gk.identity()),
            grads,
            jnp.zeros((4, 3), complex),
        )
        np.testing.assert_allclose(found, list(galore_of(grads, 3, 4, 1.0)), rtol=1e-7)
        np.testing.assert_allclose(plain, grads, rtol=1e-10)  # of full rank


HEADS = gk.GaLoreDimensionNumbers(0, (1, 2))
NUMBERS = {
    "one for all": (lambda d: d(0, (1, 2)), {"cube": (4, 2, 3), "vector": (4,)}),
    "a tree": (
        lambda d: {"cube": d((-1, 0), 1), "matrix": None, "vector": None},
        {"cube": (4, 2, 3), "matrix": (5, 3), "vector": (4,)},
    ),
    "a function": (
        lambda d: lambda params: {"cube": None, "matrix": d(1, 0)},
        {"cube": (4, 2, 3), "matrix": (5, 3)},
    ),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_dimension_numbers_are_those_of_optax(case):
    numbers, shapes = NUMBERS[case]
    rng = np.random.default_rng(0)
    trees = [{k: rng.normal(size=s) for k, s in shapes.items()} for _ in range(7)]
    ours, theirs = (
        k.scale_by_galore(2, 3, 0.5, weight_dimension_numbers=numbers(k.GaLoreDimensionNumbers))
        for k in (gk, optax.contrib)
    )
    # optax computes the singular vectors in float32.
    assert_same(ours, theirs, trees[1:], trees[0], rtol=1e-3, atol=1e-5)


def test_a_predicate_selects_the_matrices():
    params = {"a": jnp.zeros((6, 4)), "b": jnp.zeros((6, 4)), "c": jnp.zeros(3)}
    tx = gk.scale_by_galore(2, weight_dimension_numbers=gk.by_path("a"))
    kept = tx.init(params).inner["scale_by_galore"]
    assert kept["projector"]["a"].shape == (6, 2)
    assert kept["projector"]["b"] == kept["projector"]["c"] == ()
    shapes = jax.tree.map(jnp.shape, kept["base_optimizer"]["moment"]["average"])
    assert shapes == {"a": (2, 4), "b": (6, 4), "c": (3,)}


def test_between_refreshes_the_projector_stays():
    tx, grads = gk.scale_by_galore(2, 3), np.float32(draws((4, 3), 5))
    step, seen = jax.jit(tx.update), []
    state = tx.init(grads[0])
    for g in grads:
        _, state = step(g, state)
        seen.append(np.asarray(state.inner["scale_by_galore"]["projector"]))
    same = [(a == b).all() for a, b in itertools.pairwise(seen)]
    assert same == [True, True, False, True]


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        (
            {"w": HEADS, "b": None},
            ValueError,
            r"scale_by_galore, w: GaLoreDimensionNumbers\(reduction_axis=0, output_axis=\(1, 2\)\)"
            r" does not fit float32\[3, 2\]\. Expected every axis once",
        ),
        (
            {"w": None, "b": HEADS},
            ValueError,
            r"scale_by_galore, b: this leaf is float32\[2\], which is no matrix\. Expected a leaf "
            r"of rank two or more\. Give it None in weight_dimension_numbers",
        ),
        ({"w": None}, ValueError, r"is not a tree like the parameters"),
        (
            {"w": "rows", "b": None},
            TypeError,
            r"weight_dimension_numbers holds 'rows'\. Expected GaLoreDimensionNumbers, None or a",
        ),
    ],
)
def test_dimension_numbers_that_do_not_fit_are_refused(numbers, error, message):
    tx = gk.scale_by_galore(1, weight_dimension_numbers=numbers)
    with pytest.raises(error, match=message):
        tx.init({"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)})


def test_a_base_optimizer_that_needs_params_is_refused():
    tx, w = gk.galore(0.1, base_optimizer=gk.adamw(0.1)), jnp.ones((3, 2))
    with pytest.raises(
        ValueError,
        match=r"scale_by_galore: base_optimizer needs the parameters, which have no counterpart in "
        r"the subspace\. Expected a transform of the gradient alone, such as scale_by_adam\(\)\. "
        r"Pass weight_decay=\.\.\. to galore",
    ):
        tx.update(w, tx.init(w), w)
