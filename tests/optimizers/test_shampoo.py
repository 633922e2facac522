"""Shampoo against NumPy in float64 along refreshes, and its laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.contracts.programs import equations
from tests.optimizers.trajectories import adam_of, follow, matrices


def power(a, p, epsilon):
    """(A + ε λ I)^(−1/p), the identity of a zero matrix."""
    values, vectors = np.linalg.eigh(a)
    if not a.any():
        return np.eye(len(a))
    shifted = np.maximum(values, 0) + epsilon * values[-1]
    return (vectors * shifted ** (-1 / p)) @ vectors.conj().T


def unfold(x, axis):
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)


def fold_product(matrix, x, axis):
    return np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)


def shampoo_of(grads, b1, b2, epsilon, every=1, p=None, kind=float):
    """Algorithms 1 and 2 of the paper for one block, with averages and refreshes."""
    k = grads[0].ndim
    m, seen1, seen2 = np.zeros(grads[0].shape, kind), 0.0, 0.0
    sums = [np.zeros((n, n), kind) for n in grads[0].shape]
    roots = None
    for t, g in enumerate(grads):
        m, seen1 = b1 * m + (1 - b1) * g, b1 * seen1 + 1 - b1
        keep, new = (1.0, 1.0) if b2 is None else (b2, 1 - b2)
        seen2 = 1.0 if b2 is None else b2 * seen2 + 1 - b2
        sums = [keep * s + new * unfold(g, i) @ unfold(g, i).conj().T for i, s in enumerate(sums)]
        if t % every == 0:
            roots = [power(s / seen2, p or 2 * k, epsilon) for s in sums]
        u = m / seen1
        for i, root in enumerate(roots):
            u = fold_product(root, u, i)
        yield u


def draws(shape, steps=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, *shape)) * np.exp(rng.normal(size=(steps, *[1] * len(shape))))


CASES = {
    "sums, every step": ((4, 3), 0.0, None, 1e-4, 1, None),
    "averages, every third step": ((4, 3), 0.8, 0.9, 1e-6, 3, None),
    "an exponent": ((3, 5), 0.8, 0.9, 1e-2, 5, 2),
    "a cube": ((2, 4, 3), 0.5, 0.7, 1e-3, 4, None),
}


@pytest.mark.parametrize("case", CASES)
def test_shampoo_is_that_of_its_paper(case):
    shape, b1, b2, epsilon, every, p = CASES[case]
    grads = draws(shape)
    tx = gk.scale_by_shampoo(b1, b2, 1e-8, epsilon, 64, every, p, None)
    with jax.enable_x64(True):
        wanted = list(shampoo_of(grads, b1, b2, epsilon, every, p))
        np.testing.assert_allclose(follow(tx, grads), wanted, rtol=1e-8, atol=1e-9)


def test_blocks_are_preconditioned_one_by_one():
    grads = draws((5, 6))  # rows 3 + 2, columns 3 + 3
    tx = gk.scale_by_shampoo(0.5, 0.9, 1e-8, 1e-4, 3, 4, None, None)
    with jax.enable_x64(True):
        found = follow(tx, grads)
        for rows in (slice(0, 3), slice(3, 5)):
            for columns in (slice(0, 3), slice(3, 6)):
                wanted = list(shampoo_of(grads[:, rows, columns], 0.5, 0.9, 1e-4, 4))
                np.testing.assert_allclose(found[:, rows, columns], wanted, rtol=1e-8, atol=1e-9)


def test_merged_axes_are_one_axis():
    grads = draws((2, 3, 4))
    with jax.enable_x64(True):
        merged = follow(gk.scale_by_shampoo(block_size=6, graft=None, merge_dims=True), grads)
        flat = follow(gk.scale_by_shampoo(block_size=6, graft=None), grads.reshape(-1, 6, 4))
        np.testing.assert_allclose(merged.reshape(-1, 6, 4), flat)


def test_complex_shampoo_is_unitarily_equivariant():
    rng = np.random.default_rng(1)
    grads = draws((4, 3)) + 1j * draws((4, 3), seed=2)
    left, right = (
        np.linalg.qr(rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)))[0] for n in (4, 3)
    )
    tx = gk.scale_by_shampoo(0.8, 0.9, matrix_epsilon=1e-3, precondition_frequency=3, graft=None)
    with jax.enable_x64(True):
        start = jnp.zeros((4, 3), complex)
        found, turned = follow(tx, grads, start), follow(tx, left @ grads @ right, start)
        wanted = [left @ u @ right for u in found]
        np.testing.assert_allclose(turned, wanted, rtol=1e-8, atol=1e-9)
        oracle = list(shampoo_of(grads, 0.8, 0.9, 1e-3, 3, kind=complex))
        # Along the second axis the unfolding's Gram matrix is the transpose of gᴴ g.
        np.testing.assert_allclose(found, oracle, rtol=1e-8, atol=1e-9)


def test_on_diagonal_gradients_it_is_adagrad():
    grads = np.array([np.diag(g) for g in draws((3,))])
    tx = gk.scale_by_shampoo(0.0, None, matrix_epsilon=0.0, precondition_frequency=1, graft=None)
    with jax.enable_x64(True):
        wanted = [g / np.sqrt(s + (s == 0)) for g, s in zip(grads, np.cumsum(grads**2, 0))]
        np.testing.assert_allclose(follow(tx, grads), wanted, rtol=1e-8, atol=1e-10)


def test_vectors_are_adam_s_or_full_matrix_adagrad():
    grads = draws((3,))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.scale_by_shampoo(0.8, 0.9, 1e-3, graft=None), grads),
            list(adam_of(grads, 0.8, 0.9, 1e-3)),
            rtol=1e-10,
        )
        whole = gk.scale_by_shampoo(0.8, 0.9, 1e-3, 1e-4, 64, 3, graft=None, precondition_1d=True)
        np.testing.assert_allclose(
            follow(whole, grads), list(shampoo_of(grads, 0.8, 0.9, 1e-4, 3)), rtol=1e-8
        )


@pytest.mark.parametrize("graft", [gk.scale_by_adam(), gk.averages.latest()])
def test_a_graft_gives_the_norm_and_not_the_direction(graft):
    grads = draws((4, 3), 6)
    with jax.enable_x64(True):
        own = follow(gk.scale_by_shampoo(graft=None), grads)
        other = follow(graft, grads)
        found = follow(gk.scale_by_shampoo(graft=graft), grads)
        norms = [np.linalg.norm(x, axis=(1, 2), keepdims=True) for x in (own, other)]
        np.testing.assert_allclose(found, own * norms[1] / norms[0], rtol=1e-9)


def test_newton_s_roots_are_those_of_the_eigenvalues():
    grads = draws((4, 3))
    one, other = (
        follow(gk.scale_by_shampoo(matrix_epsilon=0.01, graft=None, root_method=m), grads)
        for m in ("eigh", "newton")
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_leaf_without_gradient_at_the_refresh_moves_later():
    # Its roots are the identity until they are next computed, not zero and not huge.
    grads = draws((3, 2), 4)
    grads[0] = 0
    found = follow(gk.scale_by_shampoo(b1=0.0, graft=None), np.float32(grads))
    np.testing.assert_allclose(found, grads, rtol=1e-6)


def test_between_refreshes_the_roots_keep_their_buffers():
    tx, g = gk.scale_by_shampoo(precondition_frequency=2, graft=None), jnp.asarray(draws((3, 2))[0])
    step = jax.jit(tx.update)
    states = [tx.init(g)]
    for _ in range(3):
        states.append(step(g, states[-1])[1])
    roots = [np.asarray(s.inner["scale_by_shampoo"]["roots"][0]) for s in states]
    assert not (roots[0] == roots[1]).all()
    assert (roots[1] == roots[2]).all()
    assert not (roots[2] == roots[3]).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: gk.shampoo(0.1, block_size=2),
        lambda: gk.soap(0.1),
        lambda: gk.psgd_kron(0.1),
        lambda: gk.galore(0.1, 2),
    ],
    ids=["shampoo", "soap", "psgd_kron", "galore"],
)
def test_no_decomposition_runs_as_a_batch_on_the_cpu(make):
    # jaxlib waits for a batch in one of the threads that run it: several at a time never end.
    tx, params = make(), {name: jnp.ones((2, 4, 6)) for name in "ab"}

    def update(params):
        return tx.update(params, tx.init(params), params)[0]

    names = {"eigh", "qr", "geqrf", "householder_product", "svd", "triangular_solve"}
    for function in (update, jax.vmap(update)):
        program = jax.make_jaxpr(function)(params)
        found = [e for e in equations(program) if e.primitive.name in names]
        assert all(v.aval.ndim <= 2 for e in found for v in e.invars)
    assert found


def test_one_vmap_serves_many_learning_rates():
    params, grads = (jnp.asarray(x, jnp.float32) for x in matrices(3))
    make = lambda rate: gk.shampoo(rate, matrix_epsilon=0.1)
    run = jax.jit(jax.vmap(lambda tx: follow_last(tx, grads, params)))
    one, two = run(jax.vmap(make)(jnp.array([0.1, 0.2])))
    np.testing.assert_allclose(two - params, 2 * (one - params), rtol=1e-4, atol=1e-5)
    alone = jax.jit(follow_last)(make(0.2), grads, params)
    np.testing.assert_allclose(two, alone, rtol=1e-4, atol=1e-5)


def follow_last(tx, grads, params):
    def body(carry, g):
        params, state = carry
        updates, state = tx.update(g, state, params)
        return (params + updates, state), None

    return jax.lax.scan(body, (params, tx.init(params)), grads)[0][0]
