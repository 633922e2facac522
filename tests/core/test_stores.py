"""Stores: what is decoded is what was encoded, as far as the store keeps it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


def test_a_cover_is_never_below_what_it_keeps():
    for shape in ((), (3,), (4, 3), (2, 3, 4), (0, 3)):
        x = jnp.abs(jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32))
        store = gk.stores.sm3_cover()
        assert (store.decode(store.encode(x), x) >= x).all()


def test_a_factored_store_keeps_the_means_of_rows_and_columns():
    x = jnp.asarray(np.random.default_rng(1).random(size=(2, 5, 3)), jnp.float32)
    store = gk.stores.factored(3)
    back = store.decode(store.encode(x), x)
    for axis in (1, 2):
        np.testing.assert_allclose(back.mean(axis), x.mean(axis), 1e-6)
    assert sum(leaf.size for leaf in jax.tree.leaves(store.encode(x))) == 2 * (5 + 3)


# ---- codes by blocks ---------------------------------------------------------------------------

KEYS = (None, jnp.uint32(3))
BITS = {
    "int8": (gk.stores.int8(64), 2**-4, 15),
    "float8": (gk.stores.float8(64), 2**-4, 14),
    "int4": (gk.stores.int4(64), 0.25, 3),
}


def decoded(store, x, key=None):
    return np.asarray(jax.jit(lambda x: store.decode(store.encode(x, key), x))(x), np.float64)


def test_codes_are_within_their_stated_error_at_every_scale():
    rng = np.random.default_rng(0)
    scales = 2.0 ** np.arange(-40, 41)[:, None]
    for name, (store, error, octaves) in BITS.items():
        sizes = 2.0 ** rng.uniform(-octaves, 0, (81, 64)) * scales
        for x in (sizes, sizes * rng.choice([-1.0, 1.0], (81, 64))):
            top = np.abs(x) == np.abs(x).max(1, keepdims=True)
            for key, most in zip(KEYS, (error, 2 * error), strict=True):
                found = np.abs(decoded(store, jnp.asarray(x, jnp.float32), key) / x - 1)
                assert found.max() <= most, name
                assert (found[top] < 1e-6).all(), name


def test_a_second_moment_above_zero_is_never_zero_and_zero_stays():
    x = jnp.zeros(64).at[0].set(1.0).at[1:40].set(2.0 ** -jnp.arange(39.0))
    least = {"int8": 2.0**-31.75, "float8": 2.0**-18, "int4": 2.0**-7}
    for name, (store, _, _) in BITS.items():
        for key in KEYS:
            back = decoded(store, x, key)
            assert (back[:40] >= least[name]).all(), name
            assert (back[40:] == 0).all(), name
        zeros = jnp.zeros((5, 3))
        assert (decoded(store, zeros) == 0).all()
        negative = jnp.full(64, -(2.0**-30)).at[0].set(-1.0)  # a moment may round to 0
        assert (decoded(store, negative)[1:] == 0).all()


def test_rounding_at_random_is_unbiased_and_changes_with_the_key():
    x = jnp.full(4096, -0.7).at[::64].set(1.0)
    stores = {name: store for name, (store, _, _) in BITS.items()}
    for name, store in (stores | {"half": gk.stores.bfloat16_stochastic()}).items():
        one, two = (decoded(store, x, jnp.uint32(k)) for k in (1, 2))
        rest = np.arange(4096) % 64 != 0
        assert abs(one[rest].mean() + 0.7) < 6 * one[rest].std() / 64 + 1e-6, name
        assert set(one[rest]) == set(two[rest]), name
        assert len(set(one[rest])) == 2, name
        assert (one != two).any(), name


def test_codes_have_the_size_and_the_types_that_they_state():
    x = jnp.ones((100, 7), jnp.float64 if jax.config.jax_enable_x64 else jnp.float32)
    for name, (store, _, _) in BITS.items():
        kept = jax.eval_shape(store.encode, x)
        assert kept["scale"].shape == (11,)
        assert kept["scale"].dtype == x.dtype
        assert kept["codes"].shape == ((11, 32) if name == "int4" else x.shape)
        z = jnp.full((3, 5), 1 - 2j)
        back = store.decode(store.encode(z), z)
        assert back.dtype == z.dtype
        assert jnp.allclose(back, z)
        empty = jnp.zeros((0, 3))
        assert store.decode(store.encode(empty), empty).shape == (0, 3)
    assert not np.isfinite(decoded(gk.stores.int8(), jnp.array([1.0, jnp.nan]))).any()


def test_averages_do_not_stall_in_stores_that_round_at_random():
    values = 2.0 ** jnp.linspace(-3, 3, 64) * jnp.where(jnp.arange(64) % 2, 1, -1)
    stores = [
        gk.stores.int8(64),
        gk.stores.int8(64, "nearest"),
        gk.stores.float8(64),
        gk.stores.bfloat16_stochastic(),
    ]
    starts = jnp.array([0.0, 8.0])

    def worst(store, start, x):
        tx = gk.ema(0.999, debias=False, accumulator_dtype=store)
        # The largest element begins where it ends, so that the scale of the block does not fall.
        first = (start * x).at[-1].set(jnp.where(start > 0, x[-1], 0.0))
        state = gk.State(jnp.zeros((), jnp.int32), {"ema": {"average": store.encode(first)}})
        state, _ = jax.lax.scan(lambda s, _: (tx.update(x, s)[1], None), state, length=10_000)
        return jnp.max(jnp.abs(store.decode(state.inner["ema"]["average"], x) / x - 1))

    # Elements of 8 times their value are at most the largest.
    x = jnp.where(jnp.abs(values) * 8 > values[-1], jnp.sign(values), values).at[-1].set(8.0)
    found = jax.jit(
        lambda x: [jax.vmap(lambda start, s=s: worst(s, start, x))(starts) for s in stores]
    )(x)
    errors = np.array(found)
    assert (errors[:, 0] < 0.13).all()  # from zero none stalls: the largest element leads
    assert (errors[[0, 2, 3], 1] < 0.13).all()
    assert errors[1, 1] > 1.0


def test_the_host_is_where_the_device_is_on_cpu():
    store, x = gk.stores.host(gk.stores.int8(4)), jnp.arange(8.0)
    assert store.keyed
    assert store == gk.stores.host(gk.stores.int8(4))
    kept = jax.jit(store.encode)(x)
    assert kept["codes"].sharding.memory_kind == x.sharding.memory_kind
    assert (store.decode(kept, x) == gk.stores.int8(4).decode(kept, x)).all()


REFUSED = {
    "int8: block=1 is out of range. Expected": lambda: gk.stores.int8(1),
    "float8: block=0 is out of range. Expected": lambda: gk.stores.float8(0),
    "int4: block=5 is odd. Expected an even block": lambda: gk.stores.int4(5),
    "int8: rounding='up' is": lambda: gk.stores.int8(rounding="up"),
    "host: store=stores.host(None) is kept on the host already": lambda: gk.stores.host(
        gk.stores.host()
    ),
    "host: store=int8 is not a dtype": lambda: gk.stores.host(gk.stores.int8),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_store_that_cannot_be_is_refused(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        REFUSED[message]()
    assert str(caught.value).startswith(message)
