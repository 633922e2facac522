"""PSGD Kron against NumPy in float64, its fixed point, and when its factors are updated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from tests.optimizers.trajectories import follow


def draws(shape, steps=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, *shape)) * np.exp(rng.normal(size=(steps, *[1] * len(shape))))


def bound(matrix):
    """A lower bound of the spectral norm."""
    column = matrix[:, np.argmax((matrix**2).sum(0))]
    row = column @ matrix
    return np.linalg.norm(matrix @ (row / np.linalg.norm(row)))


def noise_of(key, shape, leaf=0, leaves=1):
    """The noise of one update for one leaf of several, and the next key."""
    following, now = jax.random.split(key, 2)
    own = jax.random.split(now, leaves)[leaf]
    return following, np.asarray(jax.random.normal(own, shape, float))


def rotated(q):
    """The Procrustes step."""
    r = q.T - q
    if not r.any():
        return q
    r = r / bound(r)
    slope, curvature = np.trace(r @ q), np.trace(r @ r @ q)
    a = min(-slope / curvature, 1 / 8) if curvature < 0 else 1 / 8
    return q + a * (r @ q + a / 2 * r @ r @ q)


def fitted(left, right, m, noise, limits, lr, mode):
    """One update of the factors of a matrix, a vector for a diagonal one."""
    full = [q if q.ndim == 2 else np.diag(q) for q in (left, right)]
    m = m + (np.finfo(np.float32).eps ** 0.5 * np.abs(m).mean() + 1e-9) * noise
    new = []
    if mode == "triangular":
        a = full[0] @ m @ full[1].T
        b = np.linalg.inv(full[0]).T @ noise @ np.linalg.inv(full[1])
        pairs = [(a @ a.T, b @ b.T), (a.T @ a, b.T @ b)]
    else:
        v = full[0].T @ full[0] @ m @ full[1].T @ full[1]
        pairs = [(s, v.size / len(s) * np.eye(len(s))) for s in (v @ v.T, v.T @ v)]
    for i, (q, pair) in enumerate(zip((left, right), pairs, strict=True)):
        one, two = pair if q.ndim == 2 else map(np.diag, pair)
        norm = bound if q.ndim == 2 else np.max
        if mode == "triangular":
            change = lr * (one - two) / norm(one + two)
            new.append(q - (np.triu(change) @ q if q.ndim == 2 else change * q))
        else:
            size = norm(one) + m.size / len(q)
            limits[i] = max(0.9 * limits[i] + 0.1 * size, size)
            step = lr / limits[i]
            new.append(
                rotated(q - step * (one - two) @ q) if q.ndim == 2 else q - step * (one - two) * q
            )
    sizes = [np.abs(q).max() for q in new]
    return [q * np.sqrt(sizes[0] * sizes[1]) / s for q, s in zip(new, sizes, strict=True)]


def psgd_of(
    grads, b1, every, lr, scale, mode, diagonal=(False, False), key=3, momentum=True, at=(0, 1)
):
    """PSGD with two factors, as its authors' code has it."""
    factors = [
        scale**0.5 * (np.ones(n) if one else np.eye(n))
        for n, one in zip(grads[0].shape, diagonal, strict=True)
    ]
    m, limits, key = np.zeros(grads[0].shape), [0.0, 0.0], jax.random.key(key)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        average = m / (1 - b1**t)
        if t % every == 0:
            key, noise = noise_of(key, g.shape, *at)
            factors = fitted(*factors, average if momentum else g, noise, limits, lr, mode)
        left, right = (q if q.ndim == 2 else np.diag(q) for q in factors)
        v = left.T @ left @ average @ right.T @ right
        yield v / max(1.0, np.sqrt(np.mean(v**2)) / 1.1)


CASES = {
    "triangular": ({}, {}),
    "procrustes": ({"q_update": "procrustes"}, {"mode": "procrustes"}),
    "one diagonal": ({"memory_save_mode": "one_diag"}, {"diagonal": (True, False)}),
    "a long axis": (
        {"max_size_triangular": 3, "q_update": "procrustes"},
        {"diagonal": (True, False), "mode": "procrustes"},
    ),
    "the gradient": ({"momentum_into_precond_update": False}, {"momentum": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_psgd_is_that_of_its_authors(case):
    arguments, more = CASES[case]
    grads = draws((4, 3), 14)
    tx = gk.scale_by_psgd_kron(
        0.8, 1 / 3, preconditioner_lr=0.2, preconditioner_init_scale=0.5, key=3, **arguments
    )
    with jax.enable_x64(True):
        wanted = list(psgd_of(grads, 0.8, 3, 0.2, 0.5, **{"mode": "triangular", **more}))
        np.testing.assert_allclose(follow(tx, grads), wanted, rtol=1e-6, atol=1e-8)


def test_leaves_of_one_shape_are_updated_as_each_alone():
    grads = {"a": draws((4, 3), 6), "b": draws((4, 3), 6, seed=1)}
    tx = gk.scale_by_psgd_kron(0.8, 0.5, key=3)
    with jax.enable_x64(True):
        _, found = jax.jit(
            lambda s: jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], s, grads),
        )(tx.init({name: jnp.zeros((4, 3)) for name in grads}))
        for i, name in enumerate(grads):
            wanted = list(psgd_of(grads[name], 0.8, 2, 0.1, 1.0, "triangular", at=(i, 2)))
            np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("q_update", ["triangular", "procrustes"])
def test_the_factors_come_to_whiten_the_gradient(q_update):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(4, 4)), rng.normal(size=(3, 3))
    grads = jnp.asarray(left @ rng.normal(size=(2500, 4, 3)) @ right, jnp.float32)
    tx = gk.scale_by_psgd_kron(
        0.0, 1.0, preconditioner_lr=0.02, momentum_into_precond_update=False, q_update=q_update
    )

    def body(state, g):
        _, state = tx.update(g, state)
        return state, None

    state, _ = jax.jit(lambda s: jax.lax.scan(body, s, grads))(tx.init(grads[0]))
    one, two = (np.asarray(q) for q in state.inner["scale_by_psgd_kron"]["factors"])
    white = one.T @ one @ left, right @ two.T @ two
    # P = (E g gᵀ)^(−1/2): what it makes of the gradient has the covariance I.
    covariance = np.kron(white[0] @ white[0].T, white[1].T @ white[1])
    assert np.linalg.cond(np.kron(left @ left.T, right.T @ right)) > 1000
    eigenvalues = np.linalg.eigvalsh(covariance)
    assert eigenvalues.min() > 0.5
    assert eigenvalues.max() < 2


@pytest.mark.parametrize("q_update", ["triangular", "procrustes"])
def test_without_gradients_the_factors_stay_finite(q_update):
    zero, tx = jnp.zeros((3, 2)), gk.scale_by_psgd_kron(0.0, 1.0, q_update=q_update)

    @jax.jit
    def run(state):
        grads = jnp.concatenate([jnp.zeros((2000, 3, 2)), jnp.ones((1, 3, 2))])
        return jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], state, grads)[1][-1]

    size = np.sqrt(np.mean(run(tx.init(zero)) ** 2))
    assert 0 < size < 1.2


def test_the_factors_are_updated_as_often_as_the_probability_says():
    def body(tx, state):
        state = tx.update(jnp.ones((2, 2)), state)[1]
        return state, state.inner["scale_by_psgd_kron"]["since"]

    @jax.jit
    def run(tx, state):
        return jax.lax.scan(lambda s, _: body(tx, s), state, length=20)[1]

    for chance, steps in ((1.0, list(range(1, 21))), (0.1, [10, 20]), (0.3, [4, 8, 12, 16, 20])):
        tx = gk.scale_by_psgd_kron(0.0, chance)
        since = run(tx, tx.init(jnp.ones((2, 2))))
        assert [i + 1 for i, n in enumerate(since.tolist()) if n == 0] == steps
    chance = gk.scale_by_psgd_kron().preconditioner_update_probability
    np.testing.assert_allclose(
        [chance(n) for n in (0, 500, 1000, 9000)], [1, 1, np.exp(-0.5), 0.03], rtol=1e-5
    )


def test_the_modes_say_which_factors_are_diagonal():
    params = {"cube": jnp.zeros((2, 4, 4)), "vector": jnp.zeros(3), "scalar": jnp.zeros(())}
    shapes = {
        None: [(2, 2), (4, 4), (4, 4)],
        "one_diag": [(2, 2), (4, 4), (4,)],
        "smart_one_diag": [(2, 2), (4, 4), (4, 4)],
        "all_diag": [(2,), (4,), (4,)],
    }
    for mode, wanted in shapes.items():
        tx = gk.scale_by_psgd_kron(memory_save_mode=mode, precond_dtype="bfloat16")
        factors = tx.init(params).inner["scale_by_psgd_kron"]["factors"]
        assert [q.shape for q in factors["cube"]] == wanted
        assert [q.shape for q in factors["vector"]] == [(3,)]
        assert [q.shape for q in factors["scalar"]] == [(1,)]
        assert factors["vector"][0].dtype == jnp.bfloat16
    whole = gk.scale_by_psgd_kron(min_ndim_triangular=1).init(params)
    assert whole.inner["scale_by_psgd_kron"]["factors"]["vector"][0].shape == (3, 3)
