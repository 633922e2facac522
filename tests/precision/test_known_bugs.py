"""The bugs that others had, by their threads: a bare ``#n`` is google-deepmind/optax.

`BUGS` lists them all, with the tests that hold each one down, here or beside the part they are
about; a test fails when one of these is gone or does not say which bug it is for.
"""

import ast
import functools
import math
import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk


class Bug(NamedTuple):
    """One entry: what went wrong, the threads, the names of the tests, or why there is none."""

    what: str
    threads: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    reason: str = ""


BUGS = {
    1: Bug(
        "zero gradient in float16 gives NaN",
        ("1755", "1768", "1769", "1784", "1789"),
        (
            "test_zero_gradient_in_half_precision_gives_zero_1755",
            "test_1755_zero_gradients_in_half_precision_stay_finite_and_typed",
        ),
    ),
    2: Bug("Rprop is a step late", ("1725",), ("test_1725_rprop_gives_this_step_its_own_update",)),
    3: Bug("Adan has 1 − b2 for b2", ("1715",), ("test_1715_adan_weighs_the_difference_with_b2",)),
    4: Bug(
        "reduce_on_plateau below zero",
        ("1767",),
        (
            "test_values_of_any_sign_follow_the_rule_in_both_modes_optax_1767",
            "test_a_flat_negative_loss_is_a_plateau_optax_1767",
        ),
    ),
    5: Bug(
        "schedule_free skips schedule(0)",
        ("1744",),
        ("test_the_weights_start_at_schedule_of_zero_optax_1744",),
    ),
    6: Bug(
        "Adafactor's offset gives NaN",
        ("1791",),
        (
            "test_adafactor_s_decay_offset_is_finite_1791",
            "test_adafactor_follows_the_paper_also_with_an_offset",
        ),
    ),
    7: Bug(
        "SM3 on a scalar",
        ("1736",),
        ("test_sm3_takes_scalars_1736", "test_sm3_takes_scalars_and_is_adagrad_there"),
    ),
    8: Bug(
        "SAM on a zero gradient",
        ("1743",),
        (
            "test_a_zero_gradient_leads_nowhere_optax_1743",
            "test_1743_a_zero_gradient_is_normalized_to_zero",
        ),
    ),
    9: Bug(
        "injected hyperparameters a step off, and in low precision",
        ("415", "1414"),
        (
            "test_hyperparameters_are_those_that_the_update_used_415",
            "test_hyperparameters_keep_their_precision_beside_bfloat16_1414",
        ),
    ),
    10: Bug(
        "MultiSteps: bools, mixed dtypes, bfloat16 sums",
        ("828", "377", "1038", "1567"),
        tuple(
            "" + name
            for name in (
                "test_the_inner_state_may_hold_bools_optax_828",
                "test_dtypes_may_be_mixed_optax_377_1038",
                "test_bfloat16_gradients_are_summed_in_float32_optax_1567",
            )
        ),
    ),
    11: Bug(
        "clipping every micro-batch",
        ("gpt_jax_2",),
        ("test_k_micro_batches_are_one_large_batch_clip_inside_gpt_jax_2",),
    ),
    12: Bug(
        "Muon orthogonalized the gradient",
        ("1170",),
        ("test_muon_orthogonalizes_the_momentum_not_the_gradient_1170",),
    ),
    13: Bug(
        "Muon's scale of an N-D shape",
        ("timm_2791",),
        ("test_the_scale_of_a_convolution_is_that_of_its_matrix_timm_2791",),
    ),
    14: Bug(
        "Muon on complex leaves",
        ("1494", "1506"),
        ("test_complex_matrices_are_orthogonalized_with_their_conjugates_1494_1506",),
    ),
    15: Bug(
        "complex second moments, complex L-BFGS",
        ("287", "59998", "1141"),
        (
            "test_second_moment_of_complex_gradients_is_the_squared_magnitude_287",
            "test_complex_parameters_are_their_real_and_imaginary_parts_1141",
        ),
    ),
    16: Bug(
        "AMSGrad's maximum, Yogi's square, AdaBelief's ε",
        ("1389", "288", "440"),
        (
            "test_amsgrad_takes_the_peak_after_debiasing_1389",
            "test_288_yogi_moves_by_the_square_of_the_gradient",
            "test_440_adabelief_has_both_epsilons_where_its_paper_has_them",
        ),
    ),
    17: Bug(
        "the debiased average written back",
        ("bug_17",),
        ("test_the_debiased_average_is_not_written_back_bug_17",),
    ),
    18: Bug(
        "DoG's arguments, MoMo's loss",
        ("1500",),
        (
            "test_momo_takes_a_python_float_and_dog_its_arguments_in_order_1500",
            "test_1500_a_loss_may_be_a_python_number",
            "test_distance_methods_take_no_root_of_a_negative",
        ),
    ),
    19: Bug(
        "optimistic gradients: first step, schedules",
        ("1082", "1286"),
        (
            "test_1082_the_first_optimistic_step_is_the_plain_one",
            "test_1286_optimistic_adam_takes_schedules",
        ),
    ),
    20: Bug(
        "schedules: tracer leak, empty first piece, int32 overflow",
        ("503", "1403", "bug_20"),
        (
            "test_a_schedule_made_under_jit_leaks_no_tracer_503",
            "test_a_first_piece_of_no_length_is_skipped_1403",
            "test_a_cosine_does_not_overflow_int32_bug_20",
        ),
    ),
    21: Bug("a NumPy rate promotes", ("1405",), ("test_numpy_rate_does_not_promote_1405",)),
    22: Bug(
        "a wrapper that never advanced its step (OLMo-core)",
        ("317", "bug_22"),
        (
            "test_the_clock_of_the_root_advances_over_nan_olmo_317",
            "test_it_says_whether_the_clock_advances_olmo_bug_22",
            "test_a_step_that_is_taken_advances_the_clock_olmo_bug_22",
        ),
    ),
    23: Bug(
        "weak-type recompiles; RAdam's cond",
        ("1171", "1440", "bug_23"),
        (
            "test_weak_types_do_not_compile_again_1171_1440",
            "test_radam_leaks_no_tracer_bug_23",
            "test_equal_calls_share_their_compilation_1207",
        ),
    ),
    24: Bug(
        "decay by rank on stacked layers",
        ("jaxformer_28",),
        ("test_stacked_layers_are_told_apart_by_path_where_rank_fails_jaxformer_28",),
    ),
    25: Bug(
        "a NaN micro-gradient freezes accumulation",
        ("bug_25",),
        (
            "test_a_nan_micro_gradient_spoils_its_own_step_and_no_other_bug_25",
            "test_one_nan_micro_gradient_does_not_freeze_accumulation_bug_25",
        ),
    ),
    26: Bug(
        "debiasing under a scheduled decay",
        ("bug_26",),
        ("test_scheduled_decay_is_debiased_exactly_bug_26",),
    ),
    27: Bug(
        "donated buffers aliased crosswise",
        ("bug_27",),
        ("test_a_donated_buffer_is_written_where_it_lies_bug_27",),
    ),
    28: Bug(
        "a state that changes its types",
        ("bug_28",),
        (
            "test_ahead_of_time_step_accepts_its_own_output_bug_28",
            "test_types_stand_from_init_on_bug_28",
        ),
    ),
}


@functools.cache
def names_and_docstrings():
    """What the tests say of themselves, by name; what tests of one name say is joined."""
    found = {}
    for path in Path(__file__).parents[1].rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = f"{node.name} {ast.get_docstring(node) or ''}"
                found[node.name] = f"{found.get(node.name, '')} {text}"
    return found


def test_every_bug_of_the_list_is_there():
    assert sorted(BUGS) == list(range(1, 29))


@pytest.mark.parametrize("number", BUGS)
def test_every_bug_has_a_test_that_names_it_or_a_reason(number):
    bug = BUGS[number]
    assert bool(bug.tests) != bool(bug.reason)
    found = names_and_docstrings()
    assert not [test for test in bug.tests if test not in found], "a test of this bug is gone"
    said = [found[test] for test in bug.tests]
    for thread in bug.threads:
        assert any(re.search(rf"(?<!\d){thread}(?!\d)", text) for text in said), (
            f"no test of bug {number} names {thread}"
        )


def steps(tx, params, grads, count):
    """The last updates and the state after ``count`` equal gradients."""
    state, step = tx.init(params), jax.jit(tx.update)
    for _ in range(count):
        updates, state = step(grads, state, params)
    return updates, state


def test_second_moment_of_bfloat16_gradients_does_not_stall_1552():
    # With b2 = 0.999 a bfloat16 average of ones stops at 0.5, where an increment falls below half a
    # unit; after 3000 steps it is 0.95.
    one = jnp.ones((), jnp.bfloat16)
    tx = gk.ema(0.999, debias=False)
    updates, state = steps(tx, one, one, 3000)
    (average,) = jax.tree.leaves(state.inner)
    assert average.dtype == jnp.float32
    assert abs(float(average) - (1 - 0.999**3000)) < 1e-4
    assert updates.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize(
    "make",
    [gk.adam, gk.adamw, gk.nadam, gk.amsgrad, gk.adamax, gk.rmsprop, gk.adagrad, gk.adadelta],
    ids=lambda make: make.__name__,
)
def test_zero_gradient_in_half_precision_gives_zero_1755(make, dtype):
    """Also #1768, #1769, #1784, #1789: 1e-8 is 0 in float16, and 0 / (0 + ε) was NaN."""
    tx = make(0.1, weight_decay=0.0) if make is gk.adamw else make(0.1)
    updates, _ = tx.update(jnp.zeros(2, dtype), tx.init(jnp.ones(2, dtype)), jnp.ones(2, dtype))
    assert updates.tolist() == [0.0, 0.0]


def test_scheduled_decay_is_debiased_exactly_bug_26():
    # 1 - decay**count takes the decay of now for that of all steps, and gave 16.6.
    tx = gk.ema(gk.piecewise_constant_schedule(0.5, {5: 1.98}))
    one, state = jnp.ones(()), tx.init(jnp.ones(()))
    for _ in range(8):
        updates, state = tx.update(one, state)
        assert abs(float(updates) - 1.0) < 1e-5


@pytest.mark.parametrize(
    "rate",
    [np.float32(0.1), np.float64(0.1), np.asarray(0.1), jnp.float32(0.1)],
    ids=lambda rate: type(rate).__name__,
)
def test_numpy_rate_does_not_promote_1405(rate):
    p = jnp.ones(3, jnp.bfloat16)
    for tx in (gk.sgd(rate), gk.adam(rate)):
        updates, state = tx.update(p, tx.init(p), p)
        assert updates.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {
            jnp.dtype(jnp.float32),
            jnp.dtype(jnp.int32),
        }


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
    with pytest.raises(
        ValueError,
        match=r"^adam, w: this update is float32\[2, 3\], "
        r"but its parameter is float32\[3\]\. Expected",
    ):
        tx.update({"w": jnp.ones((2, 3))}, tx.init(p), p)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gk.adam(0.1, b1=1.5), r"adam.*b1=1.5 is out of range"),
        (lambda: gk.sgd(-1.0), r"sgd.*learning_rate=-1.0 is out of range"),
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
    # Before, the first debiased second moment (g², the largest here) would count a thousandth of
    # itself.
    tx, state = gk.scale_by_amsgrad(b1=0.0, b2=0.9, eps=0.0), None
    out = []
    state = tx.init(jnp.ones(()))
    for g in (4.0, 1.0, 1.0):
        updates, state = tx.update(jnp.float32(g), state)
        out.append(float(updates))
    assert np.allclose(out, [1.0, 0.25, 0.25], rtol=1e-6)


def test_second_moment_of_complex_gradients_is_the_squared_magnitude_287():
    """Also pytorch#59998: g² for |g|² turns the direction, 3+4i would be divided by itself."""
    tx, g = gk.scale_by_adam(eps=0.0), jnp.asarray([3.0 + 4.0j])
    with jax.numpy_dtype_promotion("standard"):  # real times complex is a promotion
        updates, state = tx.update(g, tx.init(g))
    assert np.allclose(updates, [0.6 + 0.8j], rtol=1e-6)
    assert {leaf.dtype.kind for leaf in jax.tree.leaves(state.inner) if leaf.shape} == {"c", "f"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    "tx",
    [
        gk.sgd(0.1, 0.9),
        gk.adamw(gk.linear_schedule(0.1, 0.0, 9)),
        gk.amsgrad(0.1),
        gk.adadelta(1.0),
        gk.zero_nans(),
    ],
    ids=lambda tx: tx.factory.__name__,
)
def test_ahead_of_time_step_accepts_its_own_output_bug_28(tx, dtype):
    # A state whose types change after the first step is refused by a compiled one (and compiled
    # twice by jit).
    p = {"w": jnp.ones(2, dtype), "b": jnp.ones((), dtype)}
    state = tx.init(p)
    step = jax.jit(tx.apply).lower(p, state, p).compile()
    for _ in range(3):
        p, state = step(p, state, p)
    assert int(state.step) == 3


def test_the_clock_of_the_root_advances_over_nan_olmo_317():
    # NaN passes through an unguarded optimizer, and the step counts on.
    tx, g = gk.sgd(gk.linear_schedule(1.0, 0.0, 2)), jnp.asarray([jnp.nan, 1.0])
    updates, state = tx.update(g, tx.init(g))
    assert np.isnan(updates[0])
    assert updates[1] == -1.0
    assert tx.update(jnp.ones(2), state)[0].tolist() == [-0.5, -0.5]


def test_variance_is_never_negative():
    # Debiased averages of g² and g differ by a rounding error in the first step: below zero, its
    # root is NaN.
    tx = gk.scale_by_stddev(0.8, eps=0.0, eps_in_sqrt=False, bias_correction=True)
    g = jnp.asarray(np.random.default_rng(0).normal(size=100), jnp.float32)
    updates, _ = steps(tx, g, g, 20)
    assert np.isfinite(updates).all()


def test_adafactor_s_decay_offset_is_finite_1791():
    # Before the offset the decay was 1 − (a negative number)^(−0.8).
    tx, w = gk.adafactor(0.1, decay_offset=3), jnp.ones(3)
    state = tx.init(w)
    for _ in range(6):
        updates, state = tx.update(jnp.full(3, 2.0), state, w)
        np.testing.assert_allclose(updates, -0.1, rtol=1e-6)


def test_sm3_takes_scalars_1736():
    tx, w = gk.sm3(0.1, momentum=0.0), jnp.float32(1.0)
    updates, state = tx.update(jnp.float32(3.0), tx.init(w), w)
    assert abs(float(updates) + 0.1) < 1e-6
    assert abs(float(tx.update(jnp.float32(4.0), state, w)[0]) + 0.1 * 4 / 5) < 1e-6


def test_hyperparameters_are_those_that_the_update_used_415():
    # In a log beside the loss of a step, the rate was that of another step.
    rate, w = gk.linear_schedule(1.0, 0.0, 4), jnp.zeros(())
    tx = gk.sgd(rate)
    state = tx.init(w)
    for step in range(4):
        updates, state = tx.update(jnp.ones(()), state, w)
        read = float(gk.hyperparameters(tx, state)["learning_rate"])
        assert (read, float(updates)) == (1 - step / 4, step / 4 - 1)
    # What is put in its place is used at once.
    assert tx.replace(learning_rate=0.25).update(jnp.ones(()), state, w)[0] == -0.25


def test_hyperparameters_keep_their_precision_beside_bfloat16_1414():
    # In the dtype of the parameters b2 = 0.999 is 1, and the first debiased second moment 0 / 0.
    w = jnp.ones(2, jnp.bfloat16)
    for b2 in (0.999, jnp.float32(0.999), gk.constant_schedule(0.999)):
        tx = gk.adam(gk.linear_schedule(1e-3, 0.0, 1000), b2=b2)
        state = tx.init(w)
        read = gk.hyperparameters(tx, state)
        assert all(
            abs(float(read[path]) - wanted) < 1e-7
            for path, wanted in (("learning_rate", 1e-3), ("b1", 0.9), ("b2", 0.999), ("eps", 1e-8))
        )
        updates, _ = jax.jit(lambda tx, state: tx.update(w, state, w))(tx, state)
        assert updates.dtype == jnp.bfloat16
        np.testing.assert_allclose(updates.astype(jnp.float32), -1e-3, rtol=2**-8)


@pytest.mark.parametrize(
    "make",
    [gk.ema, lambda b: gk.scale_by_adam(b, 0.0, 0.0), gk.weight_ema],
    ids=["ema", "adam", "weight_ema"],
)
def test_the_debiased_average_is_not_written_back_bug_17(make):
    # What is given is m / (1 − bᵗ); kept is m. Kept debiased, the first gradients would weigh twice
    # and more.
    tx, gradients = make(0.5), (4.0, 1.0, 2.0, 1.0)
    w, state, m = jnp.zeros(()), tx.init(jnp.zeros(())), 0.0
    for t, g in enumerate(gradients, 1):
        after = w + g
        updates, state = tx.update(jnp.float32(g), state, w)
        if make is gk.weight_ema:
            m, w, given = (
                0.5 * m + 0.5 * float(after),
                after,
                float(gk.eval_params(tx, state, after)),
            )
        else:
            # Adam without a decay of its metric divides by |g|.
            m, given = 0.5 * m + 0.5 * g, float(updates) * (1.0 if make is gk.ema else g)
        assert abs(given - m / (1 - 0.5**t)) < 1e-5
        assert any(abs(float(leaf) - m) < 1e-5 for leaf in jax.tree.leaves(state.inner))


def test_momo_takes_a_python_float_and_dog_its_arguments_in_order_1500():
    w, g = jnp.array([1.0, -2.0]), jnp.array([0.5, 0.25])
    for tx in (gk.momo(0.1), gk.momo_adam(0.1)):
        updates, _ = tx.update(g, tx.init(w), w, value=2.5)
        assert np.isfinite(updates).all()
    tx = gk.dog(0.5, ("distance", 0.25), 1e-8)  # the rate, then the first step: 0.5 · 0.25 / ‖g‖
    updates, _ = tx.update(g, tx.init(w), w)
    np.testing.assert_allclose(updates, -0.125 * g / jnp.linalg.norm(g), rtol=1e-5)


PIECES = {
    "piecewise_interpolate_schedule": lambda: gk.piecewise_interpolate_schedule(
        "linear", 1.0, {10: 2.0}
    ),
    "linear_onecycle_schedule": lambda: gk.linear_onecycle_schedule(100, 0.3),
    "cosine_onecycle_schedule": lambda: gk.cosine_onecycle_schedule(100, 0.3),
    "join_schedules": lambda: gk.join_schedules(
        [gk.linear_schedule(0.0, 1.0, 10), gk.exponential_decay(1.0, 10, 0.5)], [10]
    ),
}


@pytest.mark.parametrize("name", PIECES)
def test_a_schedule_made_under_jit_leaks_no_tracer_503(name):
    @jax.jit
    def start():
        tx = gk.scale_by_schedule(PIECES[name]())
        return tx, tx.init(jnp.zeros(2))

    with jax.checking_leaks():
        tx, state = start()
        jax.jit(tx.update)(jnp.ones(2), state)
    wanted = gk.scale_by_schedule(PIECES[name]())
    np.testing.assert_allclose(
        tx.update(jnp.ones(2), state)[0], wanted.update(jnp.ones(2), state)[0], rtol=1e-6
    )


def test_a_first_piece_of_no_length_is_skipped_1403():
    rest = gk.cosine_decay_schedule(1.0, 10)
    for rate in (
        gk.join_schedules([gk.constant_schedule(7.0), rest], [0]),
        gk.warmup_cosine_decay_schedule(0.0, 1.0, 0, 10),
        gk.piecewise_interpolate_schedule("linear", 1.0, {0: 0.5, 10: 1.0}),
    ):
        assert rate(0) in (0.5, 1.0)
        assert np.isfinite([float(rate(t)) for t in range(12)]).all()
    assert [float(gk.warmup_cosine_decay_schedule(0.0, 1.0, 0, 10)(t)) for t in range(11)] == [
        float(rest(t)) for t in range(11)
    ]


@pytest.mark.parametrize("length", [2**31 - 1, 2**33])
def test_a_cosine_does_not_overflow_int32_bug_20(length):
    # A product of two int32 counts wraps; so does a length beyond them.
    for step in (2**16, 2**30, 2**31 - 1):
        wanted = 0.5 * (1 + math.cos(math.pi * min(1.0, step / length)))
        assert abs(float(gk.cosine_decay_schedule(1.0, length)(jnp.int32(step))) - wanted) < 1e-6


@pytest.mark.parametrize(
    "make",
    [gk.sgd, gk.adamw, gk.radam, lambda rate: gk.MultiSteps(gk.adam(rate), 2)],
    ids=["sgd", "adamw", "radam", "MultiSteps"],
)
def test_weak_types_do_not_compile_again_1171_1440(make):
    """What init makes has the types that update gives, weak ones too.

    A Python float, a NumPy and a JAX number are one kind of rate.
    """
    traces, w = [], {"w": jnp.ones(2), "b": jnp.asarray(1.0)}  # a weak scalar, as one writes it

    @jax.jit
    def step(tx, w, state, g):
        traces.append(1)
        return tx.apply(w, state, g)

    tx = make(0.1)
    state, g = tx.init(w), {"w": jnp.ones(2), "b": jnp.ones(())}
    before = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    w, state = step(tx, {"w": w["w"], "b": jnp.ones(())}, state, g)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state) == before
    for rate in (0.1, 0.2, np.float32(0.1)):
        w, state = step(make(rate), w, state, g)
    assert len(traces) == 1


def test_radam_leaks_no_tracer_bug_23():
    tx = gk.radam(0.1)
    with jax.checking_leaks():
        _, state = jax.jit(tx.update)(jnp.ones(2), tx.init(jnp.ones(2)))
        jax.jit(tx.update)(jnp.ones(2), state)


def aliases(compiled):
    """Of every output that is written into an argument: (output, argument)."""
    return [
        (int(a), int(b))
        for a, b in re.findall(
            r"\{(\d+)\}: \((\d+), \{\}", compiled.as_text().split("entry_computation_layout")[0]
        )
    ]


@pytest.mark.parametrize(
    "make",
    [gk.adamw, lambda rate: gk.sgd(rate, 0.9), gk.schedule_free_adamw],
    ids=["adamw", "sgd", "schedule_free_adamw"],
)
def test_a_donated_buffer_is_written_where_it_lies_bug_27(make):
    # XLA gives a donated buffer to the next result of its shape. With (grads, state, params)
    # against (params, state) everything crosses, and is copied.
    w = {"a": jnp.ones((3, 4)), "b": jnp.ones((3, 4)), "c": jnp.ones(4)}
    tx = make(0.1)
    state = tx.init(w)
    straight = [(i, i) for i in range(len(jax.tree.leaves((w, state))))]
    assert (
        aliases(jax.jit(tx.apply, donate_argnums=(0, 1)).lower(w, state, w).compile()) == straight
    )
    step = gk.make_step(lambda w, x: jnp.sum(w["a"] * w["b"]) * jnp.sum(w["c"]) * x, tx)
    assert (
        aliases(step._run.lower(w, state, step._data, (jnp.float32(1),), {}, ()).compile())
        == straight
    )

    def crossed(g, state, w):
        return tx.apply(w, state, g)

    inner = len(jax.tree.leaves(state))
    home = [(i, 3 + inner + i) for i in range(3)] + [(3 + i, 3 + i) for i in range(inner)]
    assert aliases(jax.jit(crossed, donate_argnums=(1, 2)).lower(w, state, w).compile()) != home
