"""SOAP against NumPy in float64 along refreshes, and its laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.optimizers.trajectories import adam_of, follow


def along(matrix, x, axis):
    return np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)


def soap_of(grads, b1, b2, beta, eps, every, sides):
    """Algorithm 3 of the paper, as its authors run it: the first step computes the bases only."""
    kind, shape = grads.dtype, grads[0].shape
    m, v = np.zeros(shape, kind), np.zeros(shape)
    sums, bases = {i: np.zeros((shape[i], shape[i]), kind) for i in sides}, {}
    for step, g in enumerate(grads):
        if step:
            inside = g
            for i in sides:
                inside = along(bases[i].conj().T, inside, i)
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * np.abs(inside) ** 2
            u = m / (1 - b1**step)
            for i in sides:
                u = along(bases[i].conj().T, u, i)
            u = u / (np.sqrt(v / (1 - b2**step)) + eps)
            for i in sides:
                u = along(bases[i], u, i)
            yield u
        else:
            yield np.zeros(shape, kind)
        for i in sides:
            flat = np.moveaxis(g, i, 0).reshape(shape[i], -1)
            sums[i] = beta * sums[i] + (1 - beta) * flat @ flat.conj().T
        if step == 0:
            bases = {i: np.linalg.eigh(sums[i])[1][:, ::-1] for i in sides}
        elif step % every == 0:
            for i in sides:
                eigenvalues = np.diag(bases[i].conj().T @ sums[i] @ bases[i]).real
                order = np.argsort(-eigenvalues, kind="stable")
                v = np.take(v, order, axis=i)
                bases[i] = np.linalg.qr(sums[i] @ bases[i][:, order])[0]


def draws(shape, steps=14, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, *shape)) * np.exp(rng.normal(size=(steps, *[1] * len(shape))))


# A null space has no basis of its own: all that it multiplies is zero, but for rounding that Adam
# makes a sign of. So the matrices have no axis that is longer than all others together.
CASES = {
    "both sides": ((3, 3), {}, (0, 1)),
    "one side": ((3, 4), {"one_sided": True}, (0,)),
    "a long axis": ((5, 3), {"max_precond_dim": 4}, (1,)),
    "a cube": ((2, 4, 3), {}, (0, 1, 2)),
    "a vector": ((3,), {}, ()),
}


@pytest.mark.parametrize("case", CASES)
def test_soap_is_that_of_its_paper(case):
    shape, arguments, sides = CASES[case]
    grads = draws(shape)
    tx = gk.scale_by_soap(0.8, 0.9, 0.7, 1e-3, 4, **arguments)
    with jax.enable_x64(True):
        wanted = list(soap_of(grads, 0.8, 0.9, 0.7, 1e-3, 4, sides))
        np.testing.assert_allclose(follow(tx, grads), wanted, rtol=1e-8, atol=1e-10)


def test_complex_soap_is_that_of_its_paper():
    grads = draws((3, 3)) + 1j * draws((3, 3), seed=2)
    with jax.enable_x64(True):
        found = follow(gk.scale_by_soap(0.8, 0.9, None, 1e-3, 4), grads, jnp.zeros((3, 3), complex))
        wanted = list(soap_of(grads, 0.8, 0.9, 0.9, 1e-3, 4, (0, 1)))
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)


def test_with_the_identity_for_a_basis_it_is_adam_from_the_second_gradient_on():
    grads = draws((4, 3))
    with jax.enable_x64(True):
        found = follow(gk.scale_by_soap(0.8, 0.9, max_precond_dim=1, eps=1e-3), grads)
        assert not found[0].any()
        wanted = list(adam_of(grads[1:], 0.8, 0.9, 1e-3))
        np.testing.assert_allclose(found[1:], wanted, rtol=1e-10)


def test_it_is_equivariant_under_rotations_of_both_sides():
    rng, grads = np.random.default_rng(1), draws((3, 3))
    left, right = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    tx = gk.scale_by_soap(0.8, 0.9, precondition_frequency=3)
    with jax.enable_x64(True):
        found, turned = follow(tx, grads), follow(tx, left @ grads @ right)
        np.testing.assert_allclose(turned, left @ found @ right, rtol=1e-6, atol=1e-7)


def test_merged_axes_are_one_axis_and_a_narrow_moment_stays_close():
    grads = draws((2, 2, 4))
    with jax.enable_x64(True):
        merged = follow(gk.scale_by_soap(max_precond_dim=4, merge_dims=True), grads)
        flat = follow(gk.scale_by_soap(max_precond_dim=4), grads.reshape(-1, 4, 4))
        np.testing.assert_allclose(merged.reshape(-1, 4, 4), flat, rtol=1e-8)
        narrow = gk.scale_by_soap(max_precond_dim=4, merge_dims=True, mu_dtype="bfloat16")
        assert np.abs(follow(narrow, grads) - merged).max() < 0.05


def test_the_bases_stay_orthogonal_and_are_updated_every_few_steps():
    grads = jnp.asarray(draws((4, 3)), jnp.float32)
    tx = gk.scale_by_soap(precondition_frequency=3)
    step, bases = jax.jit(tx.update), []
    state = tx.init(grads[0])
    for g in grads:
        _, state = step(g, state)
        bases.append([np.asarray(q) for q in state.inner["scale_by_soap"]["bases"]])
    for t, (left, right) in enumerate(bases):
        np.testing.assert_allclose(left.T @ left, np.eye(4), atol=1e-5)
        np.testing.assert_allclose(right.T @ right, np.eye(3), atol=1e-5)
        if t:
            assert (left == bases[t - 1][0]).all() == (t % 3 != 0)
