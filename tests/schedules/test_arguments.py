"""What schedules accept as lengths, and which arguments and steps they refuse, in words."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk

STEPS = np.concatenate([np.arange(30), [10**6, 2**31 - 1]])

# ---- lengths ------------------------------------------------------------------------------------

LENGTHS = {  # each with one length left open: (a factory of it, whether 0 is allowed)
    "linear": (lambda n: gk.linear_schedule(1.0, 0.25, n), True),
    "linear begin": (lambda n: gk.linear_schedule(1.0, 0.25, 8, n), True),
    "polynomial": (lambda n: gk.polynomial_schedule(1.0, 0.25, 2.0, n, 3), True),
    "cosine": (lambda n: gk.cosine_decay_schedule(1.0, n, 0.1), False),
    "exponential": (lambda n: gk.exponential_decay(1.0, n, 0.5, 2, end_value=0.01), True),
    "natural": (lambda n: gk.schedules.natural_exponential_decay(1.0, n, 0.5), True),
    "inverse time": (lambda n: gk.schedules.inverse_time_decay(1.0, n, 0.5, 1), True),
    "inverse sqrt": (lambda n: gk.schedules.inverse_sqrt_schedule(1.0, n), True),
    "linear warmup": (
        lambda n: gk.schedules.linear_warmup(gk.exponential_decay(1.0, 9, 0.5), n),
        True,
    ),
    "warmup constant": (lambda n: gk.warmup_constant_schedule(0.1, 1.0, n), True),
    "warmup cosine": (lambda n: gk.warmup_cosine_decay_schedule(0.1, 1.0, n, 20, 0.2), True),
    "warmup cosine end": (lambda n: gk.warmup_cosine_decay_schedule(0.1, 1.0, 0, n), False),
    "warmup exponential": (lambda n: gk.warmup_exponential_decay_schedule(0.1, 1, n, 5, 0.5), True),
    "stable": (lambda n: gk.warmup_stable_decay_schedule(0.1, 1.0, 2, n, 7, 0.1), True),
    "cooldown": (lambda n: gk.warmup_stable_decay_schedule(0.1, 1.0, 2, 3, n, 0.1), False),
    "joined": (lambda n: gk.join_schedules([gk.linear_schedule(0.0, 1.0, n), 0.5], [n]), True),
    "linear onecycle": (lambda n: gk.linear_onecycle_schedule(n, 1.0), False),
    "cosine onecycle": (lambda n: gk.cosine_onecycle_schedule(n, 1.0), False),
    "triangular": (lambda n: gk.schedules.triangular_schedule(0.1, 1.0, n, 0.9), False),
    "restarts": (lambda n: gk.schedules.warm_restarts_schedule(1.0, n, 2, 0.9, 0.1), False),
    "equal restarts": (lambda n: gk.schedules.warm_restarts_schedule(1.0, n, 1, 0.9, 0.1), False),
    "sgdr": (
        lambda n: gk.sgdr_schedule(
            [{"init_value": 0.0, "peak_value": 1.0, "warmup_steps": n, "decay_steps": 20}] * 2
        ),
        True,
    ),
    "per epoch": (lambda n: gk.schedules.per_epoch(gk.exponential_decay(1.0, 1, 0.5), n), False),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_is_an_int_a_float_or_data_with_the_same_values(name):
    make, zero = LENGTHS[name]
    known = [0, 1, 7, 7.5] if zero else [1, 7, 7.5]
    want = np.stack([np.asarray(make(n)(STEPS)) for n in known])
    assert np.isfinite(want).all()
    # As an argument of a jitted function a length is a tracer: integers and floats.
    every = jax.jit(jax.vmap(lambda n: make(n)(jnp.asarray(STEPS, jnp.int32))))
    np.testing.assert_allclose(every(jnp.array(known, jnp.float32)), want, rtol=3e-6, atol=1e-7)
    whole = [i for i, n in enumerate(known) if isinstance(n, int)]
    got = every(jnp.array([known[i] for i in whole], jnp.int32))
    np.testing.assert_allclose(got, want[whole], rtol=3e-6, atol=1e-7)
    for seven in (np.int64(7), jnp.int32(7), np.array(7), jnp.float32(7.0), 7.0):
        seen, expected = make(seven)(STEPS), want[known.index(7)]
        np.testing.assert_allclose(seen, expected, rtol=3e-6, atol=1e-7)
    if not zero:
        assert np.isfinite(every(jnp.zeros(1, jnp.int32))).all(), "an unseen 0 divides nothing"


def test_the_joined_warmup_idiom_runs_without_warmup():
    def joined(module, warmup):
        pieces = [module.linear_schedule(0.0, 0.5, warmup), module.cosine_decay_schedule(0.5, 20)]
        return module.join_schedules(pieces, [warmup])

    for warmup in (0, 5):
        with jax.numpy_dtype_promotion("standard"):
            want = joined(optax, warmup)(jnp.arange(30))
        np.testing.assert_allclose(joined(gk, warmup)(np.arange(30)), want, rtol=1e-5, atol=1e-7)


def test_a_transition_of_zero_steps_stays_at_its_first_value():
    for rate in (
        gk.linear_schedule(0.5, 0.0, 0),
        gk.polynomial_schedule(0.5, 0.0, 2.0, 0, 3),
        gk.exponential_decay(0.5, 0, 0.5, end_value=0.125),
        gk.schedules.natural_exponential_decay(0.5, 0, 0.5),
        gk.schedules.inverse_time_decay(0.5, 0, 0.5, staircase=True),
    ):
        assert set(np.asarray(rate(STEPS))) == {0.5}, rate
        assert np.isfinite(jax.tree.leaves(jax.grad(lambda r: r(3))(rate))).all()


def test_boundaries_are_a_list_of_floats_or_an_array_too():
    want = gk.join_schedules([0.5, 0.25, 0.125], [3, 8])(STEPS)
    for boundaries in ([2.5, 7.5], np.array([3, 8]), jnp.array([3, 8]), (3, np.int64(8))):
        got = gk.join_schedules([0.5, 0.25, 0.125], boundaries)(STEPS)
        np.testing.assert_array_equal(got, want)
    fractional = gk.piecewise_constant_schedule(1.0, {2.5: 0.5})
    assert [float(fractional(t)) for t in (2, 3, 2.5)] == [1.0, 0.5, 0.5]


def test_lengths_and_rates_are_injected_by_optax():
    def make(learning_rate, warmup, length):
        rate = gk.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, length)
        return gk.chain(gk.scale(rate))

    with jax.numpy_dtype_promotion("standard"):
        tx = optax.inject_hyperparams(make)(learning_rate=0.5, warmup=2, length=7)
        eager, jitted = tx.init(jnp.ones(1)), tx.init(jnp.ones(1))
        update, seen = jax.jit(tx.update), []
        for _ in range(9):
            one, eager = tx.update(jnp.ones(1), eager)
            other, jitted = update(jnp.ones(1), jitted)
            seen.append(float(one[0]))
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
    want = gk.warmup_cosine_decay_schedule(0.0, 0.5, 2, 7)(np.arange(9))
    np.testing.assert_allclose(seen, want, rtol=1e-6, atol=1e-8)


# ---- steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [None, "3", 1j, np.array([True]), [1, 2], True, gk.identity()])
def test_what_is_no_step_is_refused(step):
    for rate in (
        gk.linear_schedule(1.0, 0.0, 10),
        gk.schedules.function_schedule(lambda step: 1.0),
    ):
        with pytest.raises(TypeError, match=r"_schedule: step=.* is not a step. Expected an int"):
            rate(step)


@pytest.mark.parametrize("step", [-1, -0.5, float("nan"), float("inf")])
def test_a_python_step_below_0_is_refused(step):
    with pytest.raises(ValueError, match=r"^schedule: step=.* out of range. Expected step >= 0"):
        (0.5 * gk.linear_schedule(1.0, 0.0, 10))(step)


def test_a_step_in_an_array_is_never_judged():
    rate = gk.linear_schedule(1.0, 0.0, 10)
    for step in (np.int32(-3), jnp.int32(-3), jnp.float32(-3.0)):
        assert rate(step) == jax.jit(rate)(step) == 1.0


# ---- bad arguments ------------------------------------------------------------------------------

NO_NUMBER = [
    None, "0.1", b"1", [0.1], (0.1,), {"a": 0.1}, {0.1}, 1j, True, np.array("a"), jnp.array(True),
    np.array(1j), object(), len, lambda step: 0.1, gk.linear_schedule, gk.adam, gk.sgd(0.1),
    gk.constant_schedule(0.1), slice(3), ..., float, range(3), np.ones(2), jnp.ones((1, 2)),
]  # fmt: skip
NO_REAL = [float("nan"), float("inf"), float("-inf"), np.float32("nan"), jnp.array(jnp.nan)]
VALUE = [*NO_NUMBER, *NO_REAL]
POSITIVE = [*VALUE, 0, 0.0, -1, -0.5, jnp.float32(-1.0), np.array(0.0)]
AT_LEAST_0 = [*VALUE, -1, -0.5, jnp.float32(-1.0)]
FRACTION = [*VALUE, -0.1, 1.5, 2, jnp.array(1.5)]
LENGTH = POSITIVE
LENGTH_0 = AT_LEAST_0
OPTIONAL = [value for value in VALUE if value is not None]
FLAG = [None, "yes", 1, 0, 0.0, 1.0, [True], len, jnp.ones(2), gk.adam]
WORD = [None, 3, "cubic", "", ["linear"], True, 0.5, len, np.ones(2), b"linear"]
NO_RATE = [
    None, "0.1", [0.1], {"a": 0.1}, 1j, True, np.array("a"), object(), gk.linear_schedule, gk.adam,
    gk.sgd(0.1), *NO_REAL, np.ones(2), {1}, slice(3), ...,
]  # fmt: skip
SCALES = [
    3, "a", 0.5, True, len, [(3, 0.5)], np.ones(2), gk.constant_schedule, {-1: 0.5}, {"a": 0.5},
    {3: -0.5}, {3: None}, {3: "a"}, {3: [0.5]}, {3: len}, {float("nan"): 0.5}, {True: 0.5},
    {float("inf"): 0.5}, {None: 0.5}, {3: float("nan")}, {3: np.ones(2)}, {3: gk.adam},
    {3: gk.constant_schedule(0.5)},
]  # fmt: skip
GROWTH = [None, "2", 1.5, True, 0, -1, [2], len, 1j, np.ones(2)]
PIECES = [None, 3, "ab", len, [], {}, [0.1], [0.1, None], ["a", 0.1], [gk.adam, 0.1], np.ones(2)]
BOUNDARIES = [
    None, 3, "a", {5}, {5: 1}, [], [1, 2], [-1], [None], ["a"], [True], [1j], [float("nan")],
    [np.ones(2)], np.array([-1]), np.ones((1, 2)), len, [len], [gk.linear_schedule],
]  # fmt: skip
PERIOD = {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 2, "decay_steps": 8}
PERIODS = [
    None, 3, "ab", [], [3], [None], {}, PERIOD, len, [{}], [{**PERIOD, "decay_steps": 1}],
    [{**PERIOD, "nonsense": 1}], [{**PERIOD, "peak_value": None}], [{3: 4}],
    [{**PERIOD, "warmup_steps": -1}], [PERIOD, {**PERIOD, "exponent": 0.0}], np.ones(2),
]  # fmt: skip

DECAY = {
    "init_value": (0.5, VALUE),
    "transition_steps": (4, LENGTH_0),
    "decay_rate": (0.5, AT_LEAST_0),
    "transition_begin": (0, LENGTH_0),
    "staircase": (False, FLAG),
    "end_value": (None, OPTIONAL),
}
WARMUP = {"init_value": (0.1, VALUE), "peak_value": (0.5, VALUE), "warmup_steps": (4, LENGTH_0)}
ONE_CYCLE = {
    "transition_steps": (20, LENGTH),
    "peak_value": (0.5, VALUE),
    "pct_start": (0.3, FRACTION),
    "div_factor": (25.0, POSITIVE),
    "final_div_factor": (1e4, POSITIVE),
}
LINE = {
    "init_value": (0.5, VALUE),
    "end_value": (0.1, VALUE),
    "transition_steps": (10, LENGTH_0),
    "transition_begin": (0, LENGTH_0),
}
# Every argument of every factory: a good value, and the bad ones.
TABLE = {
    "constant_schedule": {"value": (0.5, VALUE)},
    "linear_schedule": LINE,
    "polynomial_schedule": {**LINE, "power": (2.0, POSITIVE)},
    "cosine_decay_schedule": {
        "init_value": (0.5, VALUE),
        "decay_steps": (10, LENGTH),
        "alpha": (0.0, VALUE),
        "exponent": (1.0, POSITIVE),
    },
    "exponential_decay": {**DECAY, "decay_rate": (0.5, POSITIVE)},
    "natural_exponential_decay": DECAY,
    "inverse_time_decay": DECAY,
    "inverse_sqrt_schedule": {"peak_value": (0.5, VALUE), "warmup_steps": (4, LENGTH_0)},
    "adafactor_decay_schedule": {
        "decay_rate": (0.8, [*NO_RATE, -0.5]),
        "step_offset": (0, LENGTH_0),
        "decay_rate_fn": (lambda i, c: c, [None, 3, "a", [len], np.ones(2), gk.adam]),
    },
    "piecewise_constant_schedule": {
        "init_value": (0.5, VALUE),
        "boundaries_and_scales": ({3: 0.5}, SCALES),
    },
    "piecewise_interpolate_schedule": {
        "interpolate_type": ("linear", WORD),
        "init_value": (0.5, VALUE),
        "boundaries_and_scales": ({3: 0.5}, SCALES),
    },
    "linear_onecycle_schedule": {**ONE_CYCLE, "pct_final": (0.85, [*FRACTION, 0.1])},
    "cosine_onecycle_schedule": ONE_CYCLE,
    "join_schedules": {"schedules": ([0.1, 0.2], PIECES), "boundaries": ([3], BOUNDARIES)},
    "linear_warmup": {"schedule": (0.5, NO_RATE), "warmup_steps": (4, LENGTH_0)},
    "warmup_constant_schedule": WARMUP,
    "warmup_cosine_decay_schedule": {
        **WARMUP,
        "decay_steps": (20, [*LENGTH, 3, 4]),
        "end_value": (0.0, VALUE),
        "exponent": (1.0, POSITIVE),
    },
    "warmup_exponential_decay_schedule": {
        **WARMUP,
        **{name: bad for name, bad in DECAY.items() if name != "init_value"},
        "decay_rate": (0.5, POSITIVE),
    },
    "warmup_stable_decay_schedule": {
        **WARMUP,
        "stable_steps": (4, LENGTH_0),
        "decay_steps": (5, LENGTH),
        "end_value": (0.0, VALUE),
        "cooldown": ("linear", WORD),
    },
    "triangular_schedule": {
        "init_value": (0.1, VALUE),
        "peak_value": (0.5, VALUE),
        "transition_steps": (4, LENGTH),
        "decay_rate": (1.0, POSITIVE),
    },
    "warm_restarts_schedule": {
        "init_value": (0.5, VALUE),
        "decay_steps": (4, LENGTH),
        "t_mul": (2, GROWTH),
        "m_mul": (1.0, POSITIVE),
        "alpha": (0.0, VALUE),
    },
    "sgdr_schedule": {"cosine_kwargs": ([PERIOD], PERIODS)},
    "per_epoch": {
        "schedule": (0.5, NO_RATE),
        "steps_per_epoch": (5, LENGTH),
        "fractional": (False, FLAG),
    },
    "function_schedule": {"function": (abs, [None, 3, "a", [len], 0.5, gk.adam, np.ones(2)])},
}
SCHEDULES = [
    name
    for name, value in vars(gk.schedules).items()
    if getattr(value, "makes", None) is gk.Schedule or name in TABLE
]


def refusal(name, kwargs):
    """The message with which a schedule refuses its arguments, at the latest at its first step."""
    try:
        getattr(gk.schedules, name)(**kwargs)(0)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_bad_argument_is_refused_by_name(name):
    table = TABLE[name]
    good = {argument: value for argument, (value, _) in table.items()}
    assert refusal(name, good) is None
    wrong = []
    for argument, (_, values) in table.items():
        for value in values:
            message = refusal(name, {**good, argument: value})
            if message is None or not message.startswith(name) or argument not in message:
                if argument == "cosine_kwargs" and message and "cosine_decay_schedule" in message:
                    continue  # the message names the argument of the period
                wrong.append((argument, value, message))
    assert not wrong


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_wrong_number_of_arguments_is_refused_by_name(name):
    factory = getattr(gk.schedules, name)
    many = [0.5] * 12
    for args, kwargs in ([], {}), (many, {}), ([], {"nonsense": 1}), ([0.5], {"nonsense": 1}):
        if name in ("piecewise_constant_schedule", "adafactor_decay_schedule") and not (
            args or kwargs
        ):
            continue
        with pytest.raises(TypeError, match=f"^{name}: "):
            factory(*args, **kwargs)


def test_the_table_has_every_schedule_and_about_two_thousand_bad_values():
    assert set(SCHEDULES) == set(TABLE)
    bad = itertools.chain.from_iterable(table.values() for table in TABLE.values())
    assert sum(len(values) for _, values in bad) > 1800


def test_a_population_of_schedules_holds_arrays_and_runs_under_vmap():
    many = gk.linear_schedule(jnp.array([1.0, 0.5]), 0.0, jnp.array([10.0, 5.0]))
    run = jax.vmap(lambda rate, step: rate(step), in_axes=(many.vmap_axes(), None))
    assert run(many, jnp.int32(5)).tolist() == [0.5, 0.0]
    with pytest.raises(TypeError, match=r"^linear_schedule: init_value has the shape \(2,\)"):
        many(jnp.int32(5))
    with pytest.raises(TypeError, match="init_value has the shape"):
        jax.jit(lambda rate: rate(5))(many)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda step: None, "returned None at a step of shape"),
        (lambda step: "a", "returned 'a'"),
        (lambda step: 1j, r"returned complex64\[\]"),
        (lambda step: step > 3, r"returned bool\[\]"),
        (lambda step: jnp.ones(2), r"returned float32\[2\] at a step of shape \(\)"),
    ],
)
def test_a_function_that_returns_no_real_number_is_refused(function, message):
    with pytest.raises(TypeError, match=message):
        gk.schedules.function_schedule(function)(jnp.int32(5))
    # Where it stands for a rate it is refused at once.
    with pytest.raises(TypeError, match=r"^linear_warmup: schedule=<lambda> "):
        gk.schedules.linear_warmup(function, 3)


def test_a_number_of_labels_is_told_with_what_is_expected():
    with pytest.raises(ValueError, match=r"plot_schedule: schedules=\[\] is empty"):
        gk.schedules.plot_schedule([], 5)
    with pytest.raises(TypeError, match=r"plot_schedule: schedules\[0\]='x' is not a schedule"):
        gk.schedules.plot_schedule(["x"], 5)


def test_the_scaling_rule_refuses_bad_arguments():
    for args, name in [((0.1, 0), "batch_size"), ((0.1, 8, None), "base_batch_size")]:
        with pytest.raises((TypeError, ValueError), match=f"^linear_scaling_rule: {name}="):
            gk.schedules.linear_scaling_rule(*args)
    for rate in (-0.1, None, "a", gk.linear_schedule):
        with pytest.raises(
            (TypeError, ValueError), match=r"^linear_scaling_rule[:,] learning_rate"
        ):
            gk.schedules.linear_scaling_rule(rate, 32)
