"""Every schedule of optax, at float64, over twice its length."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk

CASES = [
    ("constant_schedule", {"value": 0.3}, 10),
    ("linear_schedule", {"init_value": 0.0, "end_value": 0.7, "transition_steps": 37}, 37),
    (
        "linear_schedule",
        {"init_value": 1.0, "end_value": 1e-4, "transition_steps": 60, "transition_begin": 9},
        69,
    ),
    ("linear_schedule", {"init_value": -1.0, "end_value": 2.0, "transition_steps": 1}, 5),
    (
        "polynomial_schedule",
        {"init_value": 1.0, "end_value": 0.1, "power": 1, "transition_steps": 41},
        41,
    ),
    (
        "polynomial_schedule",
        {
            "init_value": 0.2,
            "end_value": 1.1,
            "power": 2.5,
            "transition_steps": 41,
            "transition_begin": 3,
        },
        44,
    ),
    (
        "polynomial_schedule",
        {"init_value": 1.0, "end_value": 0.0, "power": 0.5, "transition_steps": 64},
        64,
    ),
    (
        "polynomial_schedule",
        {"init_value": 1.0, "end_value": 0.0, "power": 3, "transition_steps": 50},
        50,
    ),
    ("exponential_decay", {"init_value": 0.3, "transition_steps": 10, "decay_rate": 0.96}, 60),
    (
        "exponential_decay",
        {
            "init_value": 0.3,
            "transition_steps": 10,
            "decay_rate": 0.5,
            "transition_begin": 7,
            "staircase": True,
            "end_value": 0.01,
        },
        60,
    ),
    (
        "exponential_decay",
        {
            "init_value": 0.3,
            "transition_steps": 9,
            "decay_rate": 1.5,
            "transition_begin": 3,
            "end_value": 4.0,
        },
        60,
    ),
    ("cosine_decay_schedule", {"init_value": 0.3, "decay_steps": 50}, 50),
    (
        "cosine_decay_schedule",
        {"init_value": 0.3, "decay_steps": 77, "alpha": 0.05, "exponent": 2.0},
        77,
    ),
    ("cosine_decay_schedule", {"init_value": 0.3, "decay_steps": 1, "alpha": 0.5}, 3),
    ("piecewise_constant_schedule", {"init_value": 0.3}, 10),
    (
        "piecewise_constant_schedule",
        {"init_value": 0.3, "boundaries_and_scales": {40: 0.1, 20: 0.5, 60: 3.0, 70: 0.0}},
        80,
    ),
    ("piecewise_interpolate_schedule", {"interpolate_type": "linear", "init_value": 0.3}, 10),
    (
        "piecewise_interpolate_schedule",
        {
            "interpolate_type": "linear",
            "init_value": 0.3,
            "boundaries_and_scales": {40: 0.1, 20: 0.5, 60: 3.0},
        },
        60,
    ),
    (
        "piecewise_interpolate_schedule",
        {
            "interpolate_type": "cosine",
            "init_value": 0.3,
            "boundaries_and_scales": {0: 2.0, 20: 0.5, 33: 3.0},
        },
        40,
    ),
    ("linear_onecycle_schedule", {"transition_steps": 100, "peak_value": 0.3}, 100),
    (
        "linear_onecycle_schedule",
        {
            "transition_steps": 83,
            "peak_value": 0.3,
            "pct_start": 0.41,
            "pct_final": 0.6,
            "div_factor": 10.0,
            "final_div_factor": 30.0,
        },
        83,
    ),
    ("cosine_onecycle_schedule", {"transition_steps": 100, "peak_value": 0.3}, 100),
    (
        "cosine_onecycle_schedule",
        {
            "transition_steps": 71,
            "peak_value": 0.3,
            "pct_start": 0.5,
            "div_factor": 7.0,
            "final_div_factor": 300.0,
        },
        71,
    ),
    ("warmup_constant_schedule", {"init_value": 0.1, "peak_value": 0.3, "warmup_steps": 20}, 30),
    (
        "warmup_cosine_decay_schedule",
        {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 20, "decay_steps": 90},
        90,
    ),
    (
        "warmup_cosine_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.3,
            "warmup_steps": 0,
            "decay_steps": 50,
            "end_value": 0.02,
            "exponent": 1.7,
        },
        50,
    ),
    (
        "warmup_exponential_decay_schedule",
        {
            "init_value": 0.0,
            "peak_value": 0.3,
            "warmup_steps": 20,
            "transition_steps": 10,
            "decay_rate": 0.8,
        },
        90,
    ),
    (
        "warmup_exponential_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.3,
            "warmup_steps": 7,
            "transition_steps": 10,
            "decay_rate": 0.5,
            "transition_begin": 11,
            "staircase": True,
            "end_value": 0.02,
        },
        90,
    ),
    (
        "sgdr_schedule",
        {
            "cosine_kwargs": [
                {
                    "init_value": 0.0,
                    "peak_value": 0.3,
                    "warmup_steps": 5,
                    "decay_steps": 30,
                    "end_value": 0.01,
                },
                {
                    "init_value": 0.01,
                    "peak_value": 0.2,
                    "warmup_steps": 0,
                    "decay_steps": 40,
                    "exponent": 2.0,
                },
                {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 1, "decay_steps": 20},
            ]
        },
        90,
    ),
]


# Twice the longest.
STEPS = np.arange(2 * max(length for _, _, length in CASES) + 1)


@functools.cache
def values(module):
    """What every schedule of CASES gives in float64: one program for all."""
    made = [getattr(module, name)(**kwargs) for name, kwargs, _ in CASES]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        return jax.jit(lambda steps: [each_step(rate, steps) for rate in made])(STEPS)


def each_step(rate, steps):
    return jax.vmap(lambda step: jnp.asarray(rate(step)), out_axes=0)(steps)


@pytest.mark.xdist_group("schedules of optax")
@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}-{i}")
def test_agrees_with_optax_at_float64(case):
    got, want = (np.asarray(values(module)[case]) for module in (gk, optax))
    # Near its end optax's 1 + cos(π t/T) has an absolute error of a rounding of 1: the tolerance is
    # relative to the largest value. Its polynomial of power 2.5, jitted, is NaN from the end on.
    known = np.isfinite(want) if CASES[case][1].get("power") == 2.5 else ...
    assert np.isfinite(got).all()
    atol = 2e-16 * np.abs(want[known]).max()
    np.testing.assert_allclose(got[known], want[known], rtol=1e-12, atol=atol)


# Lengths of 0 and fractions, ends above the peak, values of 0 and below, boundaries at 0, arrays.
ODD = [
    ("linear_schedule", (0.0, 0.7, 0)),
    ("linear_schedule", (1.0, 0.0, 312.5)),
    ("linear_schedule", (1.0, 0.0, 312.5, 7.25)),
    ("linear_schedule", (1.0, 0.0, 0.5)),
    ("linear_schedule", (1, 0, 10, 5)),
    ("linear_schedule", (0.0, 0.0, 10)),
    ("linear_schedule", (-1.0, -2.0, 10)),
    ("linear_schedule", (1.0, 0.0, jnp.int32(100))),
    ("linear_schedule", (1.0, 0.0, np.int64(100), np.array(3))),
    ("polynomial_schedule", (1.0, 0.1, 2, 0)),
    ("polynomial_schedule", (1.0, 0.1, 2.5, 31.5, 3.5)),
    ("polynomial_schedule", (0.1, 1.0, 0.5, 30)),
    ("polynomial_schedule", (1.0, 0.1, 1, 30, 5)),
    ("exponential_decay", (1.0, 0, 0.5)),
    ("exponential_decay", (1.0, 0, 0.5, 0, False, 2.0)),
    ("exponential_decay", (1.0, 10, 0.5, 3, False, 2.0)),
    ("exponential_decay", (1.0, 10.5, 0.5, 2.5, True, 0.01)),
    ("exponential_decay", (1.0, 10, 1.0, 0, False, 0.5)),
    ("exponential_decay", (1.0, 10, 1.5, 0, True, 0.5)),
    ("exponential_decay", (-1.0, 10, 0.5, 0, True, 0.5)),
    ("exponential_decay", (1.0, 0.25, 0.9)),
    ("cosine_decay_schedule", (1.0, 312.5, 0.1)),
    ("cosine_decay_schedule", (1.0, 0.5)),
    ("cosine_decay_schedule", (1.0, 10, 2.0)),
    ("cosine_decay_schedule", (0.0, 10, 2.0)),
    ("cosine_decay_schedule", (1.0, 10, -1.0, 0.5)),
    ("piecewise_constant_schedule", (1.0, {0: 0.5, 10: 0.5})),
    ("piecewise_constant_schedule", (1.0, {2.5: 0.5, 10: 0})),
    ("piecewise_constant_schedule", (-1.0, {2: 3})),
    ("piecewise_constant_schedule", (1.0, {})),
    ("piecewise_interpolate_schedule", ("linear", 1.0, {0: 0.5, 10: 0.5})),
    ("piecewise_interpolate_schedule", ("cosine", 1.0, {2.5: 0.5, 3.0: 2.0, 10: 0.0})),
    ("piecewise_interpolate_schedule", ("cosine", 1.0, {0: 3.0})),
    ("linear_onecycle_schedule", (312.5, 1.0)),
    ("cosine_onecycle_schedule", (312.5, 1.0)),
    ("cosine_onecycle_schedule", (10, 1.0, 0.0)),
    ("linear_onecycle_schedule", (2, 1.0)),
    ("cosine_onecycle_schedule", (1, 1.0)),
    ("linear_onecycle_schedule", (100, 1.0, 0.3, 0.85, 0.5, 0.5)),
    ("warmup_constant_schedule", (0.1, 0.5, 12.5)),
    ("warmup_constant_schedule", (0.5, 0.1, 12)),
    ("warmup_cosine_decay_schedule", (0.2, 0.0, 50, 100, -3.0)),
    ("warmup_cosine_decay_schedule", (0.2, 0.1, 0, 100, 0.5)),
    ("warmup_cosine_decay_schedule", (0.2, 0.1, 10.5, 100.25, 0.05, 2.0)),
    ("warmup_cosine_decay_schedule", (0.2, -1.0, 10, 100, 0.05)),
    ("warmup_cosine_decay_schedule", (0.2, 1.0, jnp.int32(10), jnp.int32(100), 0.05)),
    ("warmup_cosine_decay_schedule", (0.2, 1.0, jnp.int32(0), 100, 0.05)),
    ("warmup_cosine_decay_schedule", (0.2, jnp.float32(0.0), 5, 100, 0.05)),
    ("warmup_exponential_decay_schedule", (0.1, 1.0, 0, 10, 0.5)),
    ("warmup_exponential_decay_schedule", (0.1, 1.0, 10, 0, 0.5)),
    ("warmup_exponential_decay_schedule", (0.1, 1.0, 7.5, 10.5, 0.5, 2.5, True, 0.05)),
    ("warmup_exponential_decay_schedule", (0.1, 1.0, 7, 10, 0.5, 2, False, 3.0)),
    (
        "sgdr_schedule",
        (
            [
                {
                    "init_value": 0.1,
                    "peak_value": 0.0,
                    "warmup_steps": 0,
                    "decay_steps": 20,
                    "end_value": 2.0,
                },
                {
                    "init_value": 0.1,
                    "peak_value": 0.3,
                    "warmup_steps": 2.5,
                    "decay_steps": 20.5,
                    "end_value": 2.0,
                    "exponent": 0.5,
                },
            ],
        ),
    ),
]


@functools.cache
def odd_values():
    """What every schedule of ODD gives, of optax and of gradkit: one program for each library."""
    with jax.enable_x64(True):
        steps = jnp.concatenate([jnp.arange(120), jnp.array([312, 313, 10**4, 2**31 - 1])])
        ours = [getattr(gk, name)(*args) for name, args in ODD]
        got = jax.jit(lambda steps: [rate(steps) for rate in ours])(steps)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            theirs = [getattr(optax, name)(*args) for name, args in ODD]
            want = jax.jit(lambda steps: [each_step(rate, steps) for rate in theirs])(steps)
    return got, want


@pytest.mark.xdist_group("odd schedules of optax")
@pytest.mark.parametrize("case", range(len(ODD)), ids=lambda i: f"{ODD[i][0]}{ODD[i][1]}"[:60])
def test_agrees_with_optax_at_odd_arguments_and_far_beyond_the_end(case):
    got, want = (np.asarray(side[case]) for side in odd_values())
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


def test_join_agrees_with_optax_and_takes_its_schedules():
    ours = gk.join_schedules(
        [
            gk.linear_schedule(0.0, 1.0, 10),
            optax.cosine_decay_schedule(1.0, 20),
            gk.constant_schedule(0.2),
        ],
        [10, 35],
    )
    theirs = optax.join_schedules(
        [
            optax.linear_schedule(0.0, 1.0, 10),
            optax.cosine_decay_schedule(1.0, 20),
            optax.constant_schedule(0.2),
        ],
        [10, 35],
    )
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        steps = jnp.arange(50)
        np.testing.assert_allclose(
            np.asarray(ours(steps)), np.asarray(theirs(steps)), rtol=1e-12, atol=1e-16
        )


def test_names_order_and_defaults_are_optax_s():
    import inspect

    for name in sorted({name for name, _, _ in CASES} | {"join_schedules"}):
        ours, theirs = (
            inspect.signature(getattr(module, name)).parameters for module in (gk, optax)
        )
        assert [(p.name, p.default) for p in ours.values()] == [
            (p.name, p.default) for p in theirs.values()
        ], name


def test_without_warmup_the_value_is_the_peak_where_optax_stays_at_the_start():
    assert float(optax.warmup_constant_schedule(0.1, 0.5, 0)(100)) == pytest.approx(0.1)
    assert gk.warmup_constant_schedule(0.1, 0.5, 0)(0) == 0.5


def test_one_cycle_boundary_is_the_nearest_whole_step_eager_and_jitted():
    rate = gk.cosine_onecycle_schedule(100, 1.0, pct_start=0.29)
    assert rate(29) == 1.0
    assert jax.jit(lambda rate: rate(29))(rate) == 1.0
    with jax.numpy_dtype_promotion("standard"):
        assert (
            float(optax.cosine_onecycle_schedule(100, 1.0, pct_start=0.29)(29)) < 1.0
        )  # int(0.29 * 100) is 28


def test_one_cycle_phases_of_length_zero_keep_the_scales_that_a_dict_would_lose():
    rate = gk.linear_onecycle_schedule(10, 1.0, 0.5, 0.5, div_factor=4.0, final_div_factor=2.0)
    assert [float(rate(t)) for t in (0, 5, 10, 99)] == [0.25, 0.25, 0.125, 0.125]
    rate = gk.linear_onecycle_schedule(1, 1.0, div_factor=4.0, final_div_factor=2.0)
    assert [float(rate(t)) for t in (0, 1, 5)] == [0.25, 0.125, 0.125]
