"""Every published optimizer in half precision, zero gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

ALL = {
    "adabelief": lambda: gk.adabelief(0.1),
    "acprop": lambda: gk.acprop(
        0.1, eps_root=1e-3
    ),  # by default its second step, after a zero gradient, is beyond float16
    "yogi": lambda: gk.yogi(0.1),
    "radam": lambda: gk.radam(0.1),
    "novograd": lambda: gk.novograd(0.1),
    "adan": lambda: gk.adan(0.1),
    "adopt": lambda: gk.adopt(0.1),
    "ademamix": lambda: gk.ademamix(0.1),
    "simplified_ademamix": lambda: gk.simplified_ademamix(0.1),
    "laprop": lambda: gk.laprop(0.1),
    "mars": lambda: gk.mars(0.1),
    "grokfast": lambda: gk.chain(gk.grokfast(), gk.adam(0.1)),
    "cautious": lambda: gk.cautious(gk.adam(0.1)),
    "signum": lambda: gk.signum(0.1),
    "lion": lambda: gk.lion(0.1),
    "rprop": lambda: gk.rprop(0.1),
    "lars": lambda: gk.lars(0.1),
    "lamb": lambda: gk.lamb(0.1),
    "fromage": lambda: gk.fromage(0.1),
    "optimistic_gradient_descent": lambda: gk.optimistic_gradient_descent(0.1),
    "optimistic_adam": lambda: gk.optimistic_adam(0.1),
    "optimistic_adam_v2": lambda: gk.optimistic_adam_v2(0.1),
    "polyak_sgd": lambda: gk.polyak_sgd(),
    "madgrad": lambda: gk.madgrad(0.1),
    "asgd": lambda: gk.asgd(0.1),
    "normalize": lambda: gk.chain(gk.normalize(), gk.sgd(0.1)),
}


OPTIMIZERS = {
    "adafactor": lambda: gk.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9),
    "adam_mini": lambda: gk.adam_mini(0.1, axis=0),
    "came": lambda: gk.came(0.1),
    "cocob": lambda: gk.cocob(),
    "dadapt_adamw": lambda: gk.dadapt_adamw(),
    "dog": lambda: gk.dog(),
    "dowg": lambda: gk.dowg(),
    "mechanize": lambda: gk.mechanize(gk.sgd(0.1)),
    "momo": lambda: gk.momo(),
    "momo_adam": lambda: gk.momo_adam(),
    "prodigy": lambda: gk.prodigy(),
    "scale_by_distance_over_gradients": lambda: gk.scale_by_distance_over_gradients(),
    "sm3": lambda: gk.sm3(0.1),
    "sophia": lambda: gk.sophia(0.1),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ALL)
def test_1755_zero_gradients_in_half_precision_stay_finite_and_typed(name, dtype):
    tx = ALL[name]()
    params = {"w": jnp.ones((3,), dtype), "zero": jnp.zeros((), dtype)}
    noise = jnp.asarray(np.random.default_rng(0).normal(size=3), dtype)
    grads = {
        "w": jnp.stack([jnp.zeros_like(noise), noise, jnp.zeros_like(noise)]),
        "zero": jnp.zeros((3,), dtype),
    }

    def body(carry, g):
        params, state = tx.apply(*carry, g, value=0.5)
        return (params, state), params

    (last, state), after = jax.jit(lambda: jax.lax.scan(body, (params, tx.init(params)), grads))()
    for tree in (after, state):
        assert all(
            np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in jax.tree.leaves(tree)
        )
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(last))
    assert all(leaf.dtype.itemsize >= 4 for leaf in jax.tree.leaves(state.inner))


SHAPES = {"matrix": (4, 3), "vector": (3,), "scalar": ()}


LOSS_LIKE = {
    "value": 1.5,
    "obj_fn": lambda params: sum(
        jnp.sum(leaf**2).astype(jnp.float32) for leaf in jax.tree.leaves(params)
    ),
}


def tree_of(seed, dtype=jnp.float32, size=1.0):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(size * rng.normal(size=shape), dtype) for name, shape in SHAPES.items()
    }


def extras(tx):
    return {
        name: value
        for name, value in LOSS_LIKE.items()
        if any(name in link.takes or link.takes_all for link in tx.members)
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_kept_and_finite_also_on_zero_gradients(name, dtype):
    tx, params = OPTIMIZERS[name](), tree_of(0, dtype)
    more = extras(tx)
    state = tx.init(params)
    before = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    step = jax.jit(lambda p, s, g: tx.update(g, s, p, **more))
    for grads in (
        jax.tree.map(jnp.zeros_like, params),
        tree_of(1, dtype),
        tree_of(2, dtype, 100.0),
    ):
        updates, state = step(params, state, grads)
        assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
        assert all(
            np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in jax.tree.leaves(updates)
        )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == before
    assert all(leaf.dtype != dtype for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    "name",
    ["adafactor", "adam_mini", "came", "dog", "dowg", "scale_by_distance_over_gradients", "sm3"],
)
def test_complex_leaves_are_divided_by_their_size(name):
    # turning every gradient by a right angle turns every update
    tx, grads = OPTIMIZERS[name](), tree_of(1)
    turned = jax.tree.map(lambda g: g.astype(jnp.complex64) * 1j, grads)

    def first(grads):
        zeros = jax.tree.map(jnp.zeros_like, grads)
        return jax.tree.leaves(tx.update(grads, tx.init(zeros), zeros)[0])

    for a, b in zip(first(turned), first(grads)):
        assert a.dtype == jnp.complex64
        np.testing.assert_allclose(a, b.astype(jnp.complex64) * 1j, 1e-5, 1e-9)
