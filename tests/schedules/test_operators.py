"""Sums, differences, products, quotients and powers of schedules: values, code, data, refusals."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

LINE = gk.linear_schedule(1.0, 0.5, 10)
ROOT = gk.schedules.inverse_sqrt_schedule(0.25)
A, B = "linear_schedule(1.0, 0.5, 10)", "schedules.inverse_sqrt_schedule(0.25)"


def harmonic(step):
    return 1.0 / (jnp.asarray(step, jnp.float32) + 1.0)


CODES = [
    (0.5 * LINE + 0.25, f"0.5 * {A} + 0.25"),
    (0.5 * (LINE + 0.25), f"0.5 * ({A} + 0.25)"),
    (LINE - ROOT - 1.0, f"{A} - {B} - 1.0"),
    (LINE - (ROOT - 1.0), f"{A} - ({B} - 1.0)"),
    (1 - LINE, f"1.0 - {A}"),
    (1.0 / LINE, f"1.0 / {A}"),
    (LINE / ROOT, f"{A} / {B}"),
    (LINE / ROOT / 2, f"{A} / {B} / 2.0"),
    (LINE / (ROOT * 2.0), f"{A} / ({B} * 2.0)"),
    (LINE * (ROOT / 2.0), f"{A} * ({B} / 2.0)"),
    (LINE**0.5, f"{A} ** 0.5"),
    (LINE**-0.5, f"{A} ** -0.5"),
    (LINE**2, f"{A} ** 2"),
    ((LINE + 1.0) ** ROOT, f"({A} + 1.0) ** {B}"),
    ((LINE**2.0) ** 3.0, f"({A} ** 2.0) ** 3.0"),
    (LINE ** (ROOT**2.0), f"{A} ** {B} ** 2.0"),
    (LINE ** (ROOT * 2.0), f"{A} ** ({B} * 2.0)"),
    (LINE ** (-ROOT), f"{A} ** -{B}"),
    (0.5**LINE, f"0.5 ** {A}"),
    (-LINE, f"-{A}"),
    (-(-LINE), f"--{A}"),  # noqa: B002
    ((-LINE) ** 2, f"(-{A}) ** 2"),
    (-(LINE**2), f"-{A} ** 2"),
    (-(LINE + ROOT), f"-({A} + {B})"),
    (-(LINE * ROOT), f"-({A} * {B})"),
    (-LINE * ROOT, f"-{A} * {B}"),
    (LINE * -2.0, f"{A} * -2.0"),
    (LINE - -1.0, f"{A} - -1.0"),
    (sum([LINE, ROOT]), f"0.0 + {A} + {B}"),
    (gk.schedules.linear_warmup(0.5 * LINE, 5), f"schedules.linear_warmup(0.5 * {A}, 5)"),
    (gk.adamw(1e-3 * LINE, weight_decay=0.5 / LINE), None),
]


@pytest.mark.parametrize(("made", "code"), CODES, ids=lambda x: x if isinstance(x, str) else "")
def test_the_repr_is_the_expression_and_reads_back(made, code):
    assert code is None or repr(made) == code
    assert eval(repr(made), dict(vars(gk))) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert hash(pickle.loads(pickle.dumps(made))) == hash(made)


def test_an_expression_prints_inside_an_optimizer_too():
    assert f"adamw(0.001 * {A}, weight_decay=0.5 / {A})" == repr(CODES[-1][0])


def test_values_are_those_of_the_operands():
    steps = np.arange(15)
    a, b = np.asarray(LINE(steps)), np.asarray(ROOT(steps))
    pairs = [
        (LINE + ROOT, a + b),
        (LINE - ROOT, a - b),
        (LINE * ROOT, a * b),
        (LINE / ROOT, a / b),
        (LINE**ROOT, a**b),
        (-LINE, -a),
        (2 + LINE, 2 + a),
        (2 - LINE, 2 - a),
        (2 * LINE, 2 * a),
        (2 / LINE, 2 / a),
        (2**LINE, 2**a),
        (LINE / 4, a / 4),
        (LINE**2, a**2),
        ((-LINE) ** 2, a**2),
        (LINE + harmonic, a + 1 / (steps + 1)),
        (harmonic * LINE, a / (steps + 1)),
    ]
    for made, want in pairs:
        got = made(steps)
        assert got.dtype == jnp.float32, made
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=repr(made))
        assert made(3).shape == ()


@pytest.mark.parametrize("two", [np.float64(2), np.float32(2), np.array(2.0), jnp.float32(2)])
def test_array_scalars_stand_on_either_side(two):
    for made, want in [(two * LINE, 2.0), (LINE * two, 2.0), (two / LINE, 2.0), (LINE**two, 1.0)]:
        assert isinstance(made, gk.Schedule)
        assert float(made(0)) == want


def test_operands_are_data_and_one_trace_serves_all():
    traces = []

    @jax.jit
    def value(rate, step):
        traces.append(1)
        return rate(step)

    for factor in (0.5, 1, 2.0):
        assert float(value(factor * LINE**0.5 + 0.25, jnp.int32(0))) == factor + 0.25
    assert len(traces) == 1
    slope = jax.grad(lambda rate: rate(jnp.int32(10)))(3.0 * LINE)
    assert float(slope.left) == 0.5
    assert jax.tree.leaves(LINE**2) == [1.0, 0.5], "an int exponent is structure"


def test_the_square_of_a_negative_schedule_has_a_finite_gradient():
    slope = jax.grad(lambda rate: (rate**2)(0))(gk.constant_schedule(-3.0))
    assert float(slope.value) == -6.0


def test_parts_of_an_expression_are_replaced_by_path():
    tx = gk.sgd(0.5 * LINE)
    assert tx.replace({"learning_rate.right.init_value": 2.0}) == gk.sgd(
        0.5 * gk.linear_schedule(2.0, 0.5, 10)
    )
    assert (0.5 * LINE).replace(left=0.25) == 0.25 * LINE


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LINE + "a", TypeError, "'a' is not an operand of \\+ for a schedule"),
        (lambda: None * LINE, TypeError, "None is not an operand of \\*"),
        (lambda: LINE / [2.0], TypeError, "is not an operand of /"),
        (lambda: LINE**True, TypeError, "True is not an operand of \\*\\*"),
        (lambda: LINE * 1j, TypeError, "1j is not an operand.*a real number"),
        (lambda: LINE * jnp.array(True), TypeError, "is not an operand.*a real number"),
        (lambda: (LINE * np.ones(2))(3), TypeError, r"number .* has the shape \(2,\).*vmap"),
        (lambda: (LINE * np.ones(2))(np.arange(2)), TypeError, r"number .* has the shape \(2,\)"),
        (lambda: LINE - float("nan"), ValueError, "nan is out of range. Expected a finite operand"),
        (lambda: LINE / 0, ZeroDivisionError, "divides by zero"),
        (lambda: LINE * gk.linear_schedule, TypeError, r"Call the factory: linear_schedule\("),
        (lambda: LINE + gk.adam(1e-3), TypeError, "is not an operand"),
    ],
)
def test_what_is_no_operand_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
