"""Muon and its relatives against their formulas in float64, by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

STEPS = 4


def gradients(shapes, steps=STEPS, kind="float64"):
    rng = np.random.default_rng(0)

    def draw(shape):
        x = rng.normal(size=shape)
        return (x + 1j * rng.normal(size=shape) if kind.startswith("complex") else x).astype(kind)

    return [{name: draw(shape) for name, shape in shapes.items()} for _ in range(steps)]


def updates_of(tx, grads, params=None):
    """The updates of every step in float64, as one compiled loop."""
    with jax.enable_x64(True):
        start = jax.tree.map(jnp.zeros_like if params is None else jnp.asarray, grads[0])
        start = start if params is None else jax.tree.map(jnp.asarray, params)
        stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *grads)

        def body(state, g):
            updates, state = tx.update(g, state, start)
            return state, updates

        state, found = jax.jit(lambda s, g: jax.lax.scan(body, s, g))(tx.init(start), stacked)
    return jax.tree.map(np.asarray, found), state


def newton_schulz(x, table, eps=1e-8):
    x = x / (np.linalg.norm(x) + eps)
    for a, b, c in table:
        gram = x @ x.conj().T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


STANDARD = ((3.4445, -4.7750, 2.0315),) * 5


def moments(grads, beta):
    """The debiased average of the gradients with Nesterov's look ahead, after every step."""
    m, found = 0.0, []
    for t, g in enumerate(grads, 1):
        m = beta * m + (1 - beta) * g
        found.append(beta * m / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t))
    return found


def polar(x):
    u, _, vh = np.linalg.svd(x, full_matrices=False)
    return u @ vh


# ---- which axes are a matrix ---------------------------------------------------------------------

NUMBERS = {
    "the kernel of a convolution": ((3, 2, 2, 4), (0, 1, 2), 3, lambda x: x.reshape(12, 4)),
    "outputs first": ((5, 3), 1, 0, lambda x: x.T),
    "negative axes": ((5, 3), -2, -1, lambda x: x),
    "several outputs": ((2, 3, 4), 0, (1, 2), lambda x: x.reshape(2, 12)),
    "a stack": ((3, 2, 4), 1, 2, None),
    "a stack in the middle": ((2, 3, 4), 0, 2, None),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_leaf_is_orthogonalized_along_its_dimension_numbers(name):
    shape, rows, columns, see = NUMBERS[name]
    grads = gradients({"w": shape})
    numbers = gk.MuonDimensionNumbers(rows, columns)
    tx = gk.scale_by_muon(beta=0.8, weight_dimension_numbers={"w": numbers})
    found, _ = updates_of(tx, grads)
    for g, u in zip(moments([g["w"] for g in grads], 0.8), found["w"], strict=True):
        if see is None:
            stack = shape.index(3)
            pairs = zip(np.moveaxis(g, stack, 0), np.moveaxis(u, stack, 0), strict=True)
        else:
            pairs = [(see(g), see(u))]
        for one, out in pairs:
            np.testing.assert_allclose(out, newton_schulz(one, STANDARD), rtol=1e-9, atol=1e-11)


def test_muon_orthogonalizes_the_momentum_not_the_gradient_1170():
    grads = gradients({"w": (3, 5)})
    found, _ = updates_of(gk.scale_by_muon(beta=0.8, nesterov=False, method="svd"), grads)
    m = 0.0
    for g, u in zip(grads, found["w"], strict=True):
        m = 0.8 * m + 0.2 * g["w"]
        np.testing.assert_allclose(u, polar(m), atol=1e-12)
    assert np.abs(found["w"][-1] - polar(grads[-1]["w"])).max() > 0.1


def test_the_scale_of_a_convolution_is_that_of_its_matrix_timm_2791():
    params = {"w": jnp.ones((3, 3, 2, 72)), "dense": jnp.ones((2, 8))}
    numbers = {"w": gk.MuonDimensionNumbers((0, 1, 2), 3), "dense": gk.MuonDimensionNumbers()}
    scaled, _ = gk.scale_by_shape(numbers).update(params, gk.scale_by_shape(numbers).init(params))
    np.testing.assert_allclose(scaled["w"], 2.0)  # 72 outputs of 18 inputs
    np.testing.assert_allclose(scaled["dense"], 2.0)
    wide = gk.scale_by_shape(numbers, 0.5)
    scaled, _ = wide.update(params, wide.init(params))
    np.testing.assert_allclose(scaled["w"], 0.5 * 72**0.5, rtol=1e-6)


@pytest.mark.parametrize("normalization", ["frobenius", "schatten"])
def test_complex_matrices_are_orthogonalized_with_their_conjugates_1494_1506(normalization):
    grads = gradients({"w": (3, 5)}, kind="complex128")
    how = {"ns_coeffs": "polar_express", "ns_steps": 10, "preconditioning": normalization}
    found, _ = updates_of(gk.scale_by_muon(beta=0.8, adaptive=True, **how), grads)
    for m, u in zip(moments([g["w"] for g in grads], 0.8), found["w"], strict=True):
        size = np.linalg.svd(m, compute_uv=False).sum()
        np.testing.assert_allclose(u, size * polar(m), atol=1e-9)


def test_a_predicate_or_a_function_says_which_leaves_are_matrices():
    params = {"embedding": jnp.ones((4, 2)), "w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    chosen = gk.by_rank(2, 2) & ~gk.by_path("embedding")

    def numbers(params):
        return {"embedding": None, "w": gk.MuonDimensionNumbers(), "b": False}

    states = [
        gk.muon(0.1, muon_weight_dimension_numbers=given).init(params)
        for given in (chosen, numbers, numbers(params))
    ]
    for state in states:
        groups = state.inner["muon"]
        average = groups["muon"]["scale_by_muon"]["moment"]["average"]
        assert [leaf is None for leaf in (average["embedding"], average["b"])] == [True, True]
        assert average["w"].shape == (3, 2)
        assert groups["adam"]["scale_by_adam"]["moment"]["average"]["w"] is None
    with pytest.raises(ValueError, match=r"by_path\('embeding'\) matches no parameter"):
        gk.muon(0.1, muon_weight_dimension_numbers=gk.by_path("embeding")).init(params)


def test_dimension_numbers_may_be_a_prefix_of_the_tree():
    kernels = {"a": jnp.ones((3, 2)), "b": jnp.ones((2, 3, 2))}
    params = {"layers": kernels, "head": {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}}
    numbers = {"layers": gk.MuonDimensionNumbers(-2, -1), "head": None}
    groups = gk.muon(0.1, muon_weight_dimension_numbers=numbers).init(params).inner["muon"]
    average = groups["muon"]["scale_by_muon"]["moment"]["average"]
    assert jax.tree.map(jnp.shape, average["layers"]) == {"a": (3, 2), "b": (2, 3, 2)}
    assert average["head"] == {"w": None, "b": None}


@pytest.mark.parametrize("params", [{"w": jnp.ones((3, 2))}, {"b": jnp.ones(2)}, {}])
def test_a_tree_may_have_leaves_on_one_side_only(params):
    for tx in (gk.muon(0.1, ns_steps=1), gk.scion(0.1, steps=1)):
        updates, state = tx.update(params, tx.init(params), params)
        assert jax.tree.structure(updates) == jax.tree.structure(params)
        assert state.step == 1


def test_a_function_of_the_whole_tree_works_inside_a_mask():
    params = {"a": jnp.ones((3, 2)), "b": jnp.ones((2, 3, 2))}

    def numbers(tree):
        return {
            "a": gk.MuonDimensionNumbers() if tree["a"].ndim == 2 else None,
            "b": gk.MuonDimensionNumbers(1, 2) if tree["b"].ndim == 3 else None,
        }

    tx = gk.masked(gk.scale_by_muon(weight_dimension_numbers=numbers), gk.by_path("b"))
    updates, _ = tx.update(params, tx.init(params))
    np.testing.assert_array_equal(updates["a"], params["a"])
    assert np.abs(updates["b"] - params["b"]).max() > 0.1


def test_the_moment_may_be_any_average_with_any_store():
    grads = gradients({"w": (3, 5)})
    tx = gk.chain(gk.trace(0.8), gk.orthogonalize_updates(method="svd"))
    found, _ = updates_of(tx, grads)
    heavy = 0.0
    for g, u in zip(grads, found["w"], strict=True):
        heavy = 0.8 * heavy + g["w"]
        np.testing.assert_allclose(u, polar(heavy), atol=1e-12)
    state = gk.scale_by_muon(mu_dtype="bfloat16").init(jnp.ones((3, 2)))
    assert state.inner["scale_by_muon"]["moment"]["average"].dtype == jnp.bfloat16


def test_many_leaves_of_a_shape_are_traced_once():
    params = {f"w{i}": jnp.ones((4, 2)) * i for i in range(40)}
    tx = gk.muon(0.1, ns_steps=1)
    text = str(jax.make_jaxpr(tx.update)(params, tx.init(params), params))
    assert text.count("dot_general") < 20
    updates = jax.jit(tx.update)(params, tx.init(params), params)[0]
    alone = gk.muon(0.1, ns_steps=1)
    one = {"w7": params["w7"]}
    np.testing.assert_allclose(
        updates["w7"], alone.update(one, alone.init(one), one)[0]["w7"], rtol=1e-5
    )


# ---- the relatives -------------------------------------------------------------------------------


def test_normuon_is_its_formula():
    grads = gradients({"w": (3, 6)})
    found, state = updates_of(gk.normuon(0.1, beta=0.8, beta2=0.9, eps=1e-3), grads)
    v = np.zeros(6)
    for m, u in zip(moments([g["w"] for g in grads], 0.8), found["w"], strict=True):
        o = newton_schulz(m, STANDARD, 1e-3)
        v = 0.9 * v + 0.1 * np.mean(o**2, axis=0)
        w = o / (np.sqrt(v) + 1e-3)
        w = w * np.linalg.norm(o) / np.linalg.norm(w)
        np.testing.assert_allclose(u, -0.1 * np.sqrt(2.0) * w, rtol=1e-9, atol=1e-12)
    kept = state.inner["normuon"]["muon"]["scale_by_normuon"]["neurons"]["w"]
    np.testing.assert_allclose(kept, v, rtol=1e-10)


def test_the_neurons_of_a_stack_are_those_of_its_matrices():
    grads = gradients({"w": (2, 3, 5)})
    both, _ = updates_of(
        gk.scale_by_normuon(weight_dimension_numbers=gk.MuonDimensionNumbers(1, 2)), grads
    )
    for i in range(2):
        one, _ = updates_of(gk.scale_by_normuon(), [{"w": g["w"][i]} for g in grads])
        np.testing.assert_allclose(both["w"][:, i], one["w"], rtol=1e-8)


def test_scion_is_its_formula():
    shapes = {"hidden": (3, 5), "head": (5, 2), "bias": (4,), "zero": (2,)}
    grads = [{**g, "zero": np.zeros(2)} for g in gradients(shapes)]
    params = gradients(shapes, 1)[0]
    for constrained in (True, False):
        tx = gk.scion(
            0.1,
            0.8,
            2.0,
            30.0,
            sign=gk.by_path("head"),
            constrained=constrained,
            coefficients="polar_express",
            steps=10,
        )
        found, _ = updates_of(tx, grads, params)
        m = dict.fromkeys(shapes, 0.0)
        for t, g in enumerate(grads):
            m = {name: 0.8 * m[name] + 0.2 * g[name] for name in shapes}
            lmo = {
                "hidden": 2.0 * np.sqrt(5 / 3) * polar(m["hidden"]),
                "head": 30.0 * np.sign(m["head"]) / 5,
                "bias": 2.0 * m["bias"] / np.sqrt(np.mean(m["bias"] ** 2)),
                "zero": np.zeros(2),
            }
            for name in shapes:
                pull = params[name] if constrained else 0.0
                np.testing.assert_allclose(
                    found[name][t], -0.1 * (lmo[name] + pull), rtol=1e-8, atol=1e-10
                )


def test_every_norm_has_the_steepest_direction_of_its_ball():
    with jax.enable_x64(True):
        g = jnp.asarray(gradients({"w": (3, 5)}, 1)[0]["w"])
        sizes = {
            "spectral": lambda x: np.linalg.norm(x, 2) * np.sqrt(3 / 5),
            "sign": lambda x: np.abs(x).max() * 3,
            "column": lambda x: np.sqrt(3 * (x**2).sum(0)).max(),
            "rms": lambda x: np.sqrt(np.mean(x**2)),
        }
        for norm, size in sizes.items():
            tx = gk.scale_by_lmo(norm, 2.0, method="svd")
            best = np.asarray(tx.update(g, tx.init(g))[0])
            assert size(best) == pytest.approx(2.0)
            rng = np.random.default_rng(1)
            for _ in range(50):
                other = rng.normal(size=g.shape)
                assert (g * other).sum() * 2 / size(other) < (np.asarray(g) * best).sum()


def dion_oracle(grads, basis, beta, rank):
    """Algorithm 1 of the paper on (out, in) matrices, for gradients of shape (in, out)."""
    m, found = np.zeros(grads[0].T.shape), []
    for g in grads:
        b = m + g.T
        p, _ = np.linalg.qr(b @ basis)
        r = b.T @ p
        m = b - (1 - beta) * p @ r.T
        basis = r / np.linalg.norm(r, axis=0)
        found.append(np.sqrt(b.shape[0] / b.shape[1]) * (p @ basis.T).T)
    return found


def test_dion_is_its_formula():
    grads = gradients({"w": (6, 4)})
    with jax.enable_x64(True):
        tx = gk.scale_by_dion(2, 0.8, key=3)
        basis = np.asarray(tx.init({"w": jnp.zeros((6, 4))}).inner["scale_by_dion"]["basis"]["w"])
    found, _ = updates_of(tx, grads)
    for u, expected in zip(
        found["w"], dion_oracle([g["w"] for g in grads], basis, 0.8, 2), strict=True
    ):
        np.testing.assert_allclose(u, expected, rtol=1e-9, atol=1e-12)


def test_dion_of_full_rank_comes_to_the_polar_factor():
    g = gradients({"w": (6, 4)}, 1)[0]
    found, _ = updates_of(gk.scale_by_dion(4, 0.0), [g] * 60)
    np.testing.assert_allclose(found["w"][-1], np.sqrt(4 / 6) * polar(g["w"]), atol=1e-4)


def test_dion_gives_no_update_where_the_momentum_is_zero_but_for_rounding():
    tx = gk.scale_by_dion(3)
    for g, rank in ((jnp.zeros((5, 4)), 0), (jnp.ones((5, 4)), 1)):
        state = tx.init(g)
        before = state.inner["scale_by_dion"]["basis"]
        updates, state = tx.update(g, state)
        assert np.linalg.matrix_rank(np.asarray(updates), tol=1e-3) == rank
        same = np.all(np.asarray(before == state.inner["scale_by_dion"]["basis"]), axis=0)
        assert same.sum() == 3 - rank


def test_dion_s_first_basis_is_that_of_its_key():
    def basis(key):
        return gk.scale_by_dion(2, key=key).init(jnp.ones((5, 4))).inner["scale_by_dion"]["basis"]

    np.testing.assert_array_equal(basis(3), basis(jax.random.key(3)))
    assert np.abs(basis(3) - basis(4)).max() > 0.1


@pytest.mark.parametrize("each", [False, True])
def test_a_clip_of_the_spectral_norm_bounds_it(each):
    params = jnp.stack([4.0 * jnp.eye(3), jnp.diag(jnp.array([3.0, 0.5, 0.0])), 0.1 * jnp.eye(3)])
    tx = gk.clip_by_spectral_norm(
        2.0, each=each, weight_dimension_numbers=gk.MuonDimensionNumbers(1, 2)
    )
    clipped, _ = tx.update(params, tx.init(params))
    expected = [0.5, 2.0 / 3.0, 1.0]
    for before, after, factor in zip(params, clipped, expected, strict=True):
        aim = jnp.minimum(before, 2.0) if each else before * factor
        np.testing.assert_allclose(after, aim, atol=1e-6)
