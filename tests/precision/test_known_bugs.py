"""The bugs that others had, by their threads: ``#n`` is google-deepmind/optax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


def steps(tx, params, grads, count):
    """The last updates and the state after ``count`` equal gradients."""
    state, step = tx.init(params), jax.jit(tx.update)
    for _ in range(count):
        updates, state = step(grads, state, params)
    return updates, state


def test_second_moment_of_bfloat16_gradients_does_not_stall_1552():
    # With b2 = 0.999 a bfloat16 average of ones stops at 0.5, where an increment falls below half a unit; after 3000 steps it is 0.95.
    one = jnp.ones((), jnp.bfloat16)
    tx = gk.ema(0.999, debias=False)
    updates, state = steps(tx, one, one, 3000)
    (average,) = jax.tree.leaves(state.memory)
    assert average.dtype == jnp.float32
    assert abs(float(average) - (1 - 0.999**3000)) < 1e-4
    assert updates.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("make", [gk.adam, gk.adamw, gk.nadam, gk.amsgrad, gk.adamax, gk.rmsprop, gk.adagrad, gk.adadelta], ids=lambda make: make.__name__)
def test_zero_gradient_in_half_precision_gives_zero_1755(make, dtype):
    # 1e-8 is 0 in float16: 0 / (0 + ε) was NaN.
    tx = make(0.1, weight_decay=0.0) if make is gk.adamw else make(0.1)
    updates, _ = tx.update(jnp.zeros(2, dtype), tx.init(jnp.ones(2, dtype)), jnp.ones(2, dtype))
    assert updates.tolist() == [0.0, 0.0]


def test_scheduled_decay_is_debiased_exactly_26():
    # 1 - decay**count takes the decay of now for that of all steps, and gave 16.6.
    tx = gk.ema(gk.piecewise_constant_schedule(0.5, {5: 1.98}))
    one, state = jnp.ones(()), tx.init(jnp.ones(()))
    for _ in range(8):
        updates, state = tx.update(one, state)
        assert abs(float(updates) - 1.0) < 1e-5


@pytest.mark.parametrize("rate", [np.float32(0.1), np.float64(0.1), np.asarray(0.1), jnp.float32(0.1)], ids=lambda rate: type(rate).__name__)
def test_numpy_rate_does_not_promote_1405(rate):
    p = jnp.ones(3, jnp.bfloat16)
    for tx in (gk.sgd(rate), gk.adam(rate)):
        updates, state = tx.update(p, tx.init(p), p)
        assert updates.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}


def test_norm_of_float16_does_not_overflow_fairscale_263():
    tx = gk.clip_by_global_norm(600.0)
    g = jnp.full(4, 300.0, jnp.float16)  # norm 600; its square is beyond float16
    assert tx.update(g, tx.init(g))[0].tolist() == [300.0] * 4
    half = gk.clip_by_global_norm(300.0)
    assert half.update(g, half.init(g))[0].tolist() == [150.0] * 4


def test_norm_of_many_bfloat16_leaves_does_not_stall():
    # A bfloat16 sum of ones stops at 256: norm 16 instead of √1000.
    g = {f"w{i}": jnp.ones((), jnp.bfloat16) for i in range(1000)}
    tx = gk.clip_by_global_norm(1.0)
    updates, _ = tx.update(g, tx.init(g))
    assert abs(float(updates["w0"]) - 1000**-0.5) < 2**-12


def test_update_of_another_shape_is_refused_291():
    # A (2, 3) gradient broadcast against a (3,) parameter, and both state and parameter grew.
    tx, p = gk.adam(0.1), {"w": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"w: needs an update like its parameter float32\[3\]; got float32\[2, 3\]"):
        tx.update({"w": jnp.ones((2, 3))}, tx.init(p), p)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gk.adam(0.1, b1=1.5), r"adam.*b1: needs a decay in \[0, 1\); got 1.5"),
        (lambda: gk.sgd(-1.0), r"sgd.*learning_rate: needs a finite number >= 0; got -1.0"),
    ],
    ids=["b1", "rate"],
)
def test_hyperparameters_out_of_range_are_refused_808(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_equal_calls_share_their_compilation_1207():
    assert gk.adam(1e-3) == gk.adam(1e-3)
    assert hash(gk.adam(1e-3)) == hash(gk.adam(1e-3))
    traces = []

    @jax.jit
    def step(tx, state, g):
        traces.append(1)
        return tx.update(g, state)

    g = jnp.ones(2)
    for rate in (1e-3, 1e-3, 1e-2):
        tx = gk.adam(rate)
        step(tx, tx.init(g), g)
    assert len(traces) == 1


def test_misspelt_extra_is_refused_1131():
    tx, g = gk.sgd(0.1), jnp.ones(2)
    with pytest.raises(TypeError, match=r"valeu.*Did you mean 'value'"):
        tx.update(g, tx.init(g), g, valeu=1.0)
    with pytest.raises(TypeError, match="Did you mean 'momentum'"):
        gk.sgd(0.1, momentun=0.9)


def test_amsgrad_takes_the_peak_after_debiasing_1389():
    # Before, the first debiased second moment (g², the largest here) would count a thousandth of itself.
    tx, state = gk.scale_by_amsgrad(b1=0.0, b2=0.9, eps=0.0), None
    out = []
    state = tx.init(jnp.ones(()))
    for g in (4.0, 1.0, 1.0):
        updates, state = tx.update(jnp.float32(g), state)
        out.append(float(updates))
    assert np.allclose(out, [1.0, 0.25, 0.25], rtol=1e-6)


def test_second_moment_of_complex_gradients_is_the_squared_magnitude_287():
    # g² instead of |g|² turns the direction: 3+4i would be divided by itself.
    tx, g = gk.scale_by_adam(eps=0.0), jnp.asarray([3.0 + 4.0j])
    with jax.numpy_dtype_promotion("standard"):  # real times complex is a promotion
        updates, state = tx.update(g, tx.init(g))
    assert np.allclose(updates, [0.6 + 0.8j], rtol=1e-6)
    assert {leaf.dtype.kind for leaf in jax.tree.leaves(state.memory) if leaf.shape} == {"c", "f"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    "tx", [gk.sgd(0.1, 0.9), gk.adamw(gk.linear_schedule(0.1, 0.0, 9)), gk.amsgrad(0.1), gk.adadelta(1.0), gk.zero_nans()], ids=lambda tx: tx.factory.__name__
)
def test_ahead_of_time_step_accepts_its_own_output_28(tx, dtype):
    # A state whose types change after the first step is refused by a compiled one (and compiled twice by jit).
    p = {"w": jnp.ones(2, dtype), "b": jnp.ones((), dtype)}
    state = tx.init(p)
    step = jax.jit(tx.apply).lower(p, state, p).compile()
    for _ in range(3):
        p, state = step(p, state, p)
    assert int(state.step) == 3


def test_skipped_link_keeps_the_clock_of_the_root_322():
    # NaN passes through an unguarded optimizer, and the step counts on.
    tx, g = gk.sgd(gk.linear_schedule(1.0, 0.0, 2)), jnp.asarray([jnp.nan, 1.0])
    updates, state = tx.update(g, tx.init(g))
    assert np.isnan(updates[0])
    assert updates[1] == -1.0
    assert tx.update(jnp.ones(2), state)[0].tolist() == [-0.5, -0.5]


def test_variance_is_never_negative():
    # Debiased averages of g² and g differ by a rounding error in the first step: below zero, its root is NaN.
    tx = gk.scale_by_stddev(0.8, eps=0.0, eps_in_sqrt=False, bias_correction=True)
    g = jnp.asarray(np.random.default_rng(0).normal(size=100), jnp.float32)
    updates, _ = steps(tx, g, g, 20)
    assert np.isfinite(updates).all()
