"""Laws of schedules, and textbook formulas written out, at steps that Hypothesis chooses."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gradkit as gk

TOP = 2**31 - 1
close = partial(np.testing.assert_allclose, rtol=2e-6, atol=1e-30)
law = settings(max_examples=25, deadline=None, derandomize=True)
steps = st.one_of(st.integers(0, 200), st.integers(2**24 - 50, 2**24 + 50), st.integers(0, TOP))
lengths = st.one_of(st.integers(1, 60), st.integers(1, TOP))
rates = st.floats(0.01, 1.0)


@law
@given(t=steps, beta=st.floats(1e-9, 1e-3), rate=rates)
def test_decays_per_step_are_the_textbook_formulas(t, beta, rate):
    close(gk.schedules.inverse_time_decay(rate, 1, beta)(t), rate / (1 + beta * t))
    exponent = beta * t
    if exponent < 80:
        close(gk.schedules.natural_exponential_decay(rate, 1, beta)(t), rate * math.exp(-exponent))
        close(
            gk.exponential_decay(rate, 1, 1 - beta)(t),
            rate * math.exp(t * math.log1p(-beta)),
            rtol=1e-5 if beta < 1e-7 else 2e-6,
        )
    close(gk.schedules.inverse_sqrt_schedule(rate)(t), rate / math.sqrt(t + 1))


@law
@given(epoch=st.integers(0, 5000), n=st.integers(1, 4000), inside=st.integers(0, 10**6), rate=rates)
def test_per_epoch_is_constant_within_an_epoch_and_decays_with_it(epoch, n, inside, rate):
    step = epoch * n + inside % n
    close(
        gk.schedules.per_epoch(gk.schedules.inverse_time_decay(rate, 1, 0.5), n)(step),
        rate / (1 + 0.5 * epoch),
    )
    close(
        gk.schedules.per_epoch(gk.schedules.inverse_sqrt_schedule(rate), n)(step),
        rate / math.sqrt(epoch + 1),
    )
    slow = gk.schedules.per_epoch(gk.exponential_decay(rate, 1, 0.95), n)
    assert slow(step) == slow(epoch * n)
    fraction = gk.schedules.per_epoch(
        gk.schedules.inverse_time_decay(rate, 1, 0.5), n, fractional=True
    )
    close(fraction(step), rate / (1 + 0.5 * step / n))


@law
@given(t=steps, length=lengths, rate=rates)
def test_cosine_is_the_formula_and_ends_at_zero(t, length, rate):
    value = float(gk.cosine_decay_schedule(rate, length)(t))
    np.testing.assert_allclose(
        value, 0.5 * rate * (1 + math.cos(math.pi * min(t, length) / length)), atol=1e-6 * rate
    )
    assert (value == 0.0) == (t >= length)


@law
@given(t=steps, half=lengths, low=rates, high=rates, factor=st.sampled_from([1.0, 0.9]))
def test_triangle_is_the_formula(t, half, low, high, factor):
    m = 1 + t // (2 * half)
    b = abs(t - (2 * m - 1) * half) / half
    value = gk.schedules.triangular_schedule(low, high, half, factor)(t)
    close(
        value, max(factor ** (m - 1), 0.0) * (low + (high - low) * (1 - b)), rtol=5e-6, atol=1e-37
    )


@law
@given(
    first=st.integers(1, 10**6),
    growth=st.integers(1, 4),
    m=st.integers(0, 8),
    factor=st.sampled_from([1.0, 0.5]),
)
def test_restart_m_comes_after_the_sum_of_the_periods_with_the_shrunk_bound(
    first, growth, m, factor
):
    rate = gk.schedules.warm_restarts_schedule(1.0, first, growth, factor)
    start, length = first * sum(growth**i for i in range(m)), first * growth**m
    close(rate(start), factor**m, rtol=3e-7)
    if first > 2:
        assert rate(start + length // 2) < 0.8 * factor**m
        last = float(rate(start + length - 1))
        close(last, factor**m * math.sin(math.pi / 2 / length) ** 2, rtol=1e-5)


@law
@given(t=steps, bounds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4))
def test_join_takes_the_piece_of_the_step_and_its_own_time(t, bounds):
    bounds = sorted(bounds)
    pieces = [gk.schedules.inverse_sqrt_schedule(2.0**-i) for i in range(len(bounds) + 1)]
    which = sum(b <= t for b in bounds)
    assert gk.join_schedules(pieces, bounds)(t) == pieces[which](t - ([0, *bounds])[which])


@law
@given(t=steps, a=rates, b=rates)
def test_arithmetic_acts_on_the_values(t, a, b):
    f, g = gk.schedules.inverse_sqrt_schedule(a), gk.cosine_decay_schedule(b, 10**6)
    assert (f + g)(t) == f(t) + g(t)
    assert (f * g)(t) == f(t) * g(t)
    assert (f - g)(t) == f(t) - g(t)
    assert (g / f)(t) == g(t) / f(t)
    assert (f**g)(t) == f(t) ** g(t)
    assert (2.0 - f)(t) == 2.0 - f(t)
    assert (1.0 / f)(t) == 1.0 / f(t)
    assert (-f)(t) == -f(t)
    assert (0.5 * f + 1.0)(t) == 0.5 * f(t) + 1.0
    close((f**0.5)(t), math.sqrt(f(t)))


@law
@given(
    first=st.integers(1, 200), growth=st.integers(1, 3), factor=st.sampled_from([1.0, 0.5]), t=steps
)
def test_warm_restarts_are_sgdr_with_periods_that_grow_and_shrink(first, growth, factor, t):
    periods = [
        {
            "init_value": 0.0,
            "peak_value": 0.5 * factor**m,
            "warmup_steps": 0,
            "decay_steps": first * growth**m,
            "end_value": 0.1 * 0.5 * factor**m,
        }
        for m in range(6)
    ]
    t %= sum(period["decay_steps"] for period in periods)
    short = gk.schedules.warm_restarts_schedule(0.5, first, growth, factor, 0.1)
    close(gk.sgdr_schedule(periods)(t), short(t))


@law
@given(t=st.integers(0, 500), warmup=st.integers(0, 100), rate=rates)
def test_warmup_rises_in_equal_steps_from_the_first_update_to_the_full_rate(t, warmup, rate):
    after = gk.exponential_decay(rate, 50, 0.5)
    got = gk.schedules.linear_warmup(after, warmup)(t)
    close(got, rate * (t + 1) / warmup if t < warmup else float(after(t - warmup)))
    close(gk.schedules.linear_warmup(rate, warmup)(t), rate * min((t + 1) / max(warmup, 1), 1))


@law
@given(t=st.integers(0, 300), warmup=st.integers(0, 50))
def test_warmup_of_optax_s_kinds_is_a_line_and_then_the_decay(t, warmup):
    line = gk.linear_schedule(0.1, 0.8, max(warmup, 1))
    pairs = [
        (gk.warmup_constant_schedule(0.1, 0.8, warmup), gk.constant_schedule(0.8)),
        (
            gk.warmup_cosine_decay_schedule(0.1, 0.8, warmup, warmup + 90, 0.2),
            gk.cosine_decay_schedule(0.8, 90, 0.25),
        ),
        (
            gk.warmup_exponential_decay_schedule(0.1, 0.8, warmup, 9, 0.9),
            gk.exponential_decay(0.8, 9, 0.9),
        ),
        (
            gk.warmup_stable_decay_schedule(0.1, 0.8, warmup, 10, 90),
            gk.linear_schedule(0.8, 0.0, 90, 10),
        ),
    ]
    for whole, rest in pairs:
        close(whole(t), line(t) if t < warmup else rest(t - warmup), atol=1e-9)


def test_a_first_piece_of_length_zero_is_skipped():
    rate = gk.join_schedules([0.7, gk.linear_schedule(1.0, 0.0, 10), 0.1], [0, 5])
    assert [float(rate(t)) for t in (0, 4, 5)] == [
        1.0,
        float(jnp.float32(0.6)),
        float(jnp.float32(0.1)),
    ]
    assert gk.warmup_cosine_decay_schedule(0.0, 1.0, 0, 10)(0) == 1.0


def test_a_piece_out_of_its_time_reaches_no_gradient():
    def loss(k):
        log = gk.schedules.function_schedule(
            lambda step: jnp.log(3.0 - jnp.asarray(step, jnp.float32))
        )
        return gk.join_schedules([log, k * gk.schedules.inverse_sqrt_schedule(1.0)], [3])(
            jnp.int32(50)
        )

    assert np.isfinite(jax.grad(loss)(2.0))


def test_the_linear_scaling_rule_is_linear_and_keeps_schedules():
    assert gk.schedules.linear_scaling_rule(0.1, 256) == 0.1
    assert gk.schedules.linear_scaling_rule(0.1, 64, 32) == 0.2
    scaled = gk.schedules.linear_scaling_rule(gk.cosine_decay_schedule(0.5, 10), 512, 128)
    assert isinstance(scaled, gk.Schedule)
    assert scaled(3) == 4 * gk.cosine_decay_schedule(0.5, 10)(3)
    assert gk.schedules.linear_scaling_rule(lambda step: 1.0 / (step + 1), 2, 1)(3) == 0.5


@law
@given(n=st.integers(1, 30), t=st.integers(0, 40))
def test_wsd_cooldowns_agree_at_both_ends_and_are_ordered(n, t):
    wsd = [
        gk.warmup_stable_decay_schedule(0.0, 1.0, 5, 10, n, 0.1, shape)
        for shape in ("linear", "cosine", "1-sqrt")
    ]
    linear, _, root = (float(rate(t)) for rate in wsd)
    assert root <= linear + 1e-7
    assert all(rate(15) == 1.0 for rate in wsd)
    assert all(abs(float(rate(15 + n)) - 0.1) < 1e-7 for rate in wsd)
