"""Early stopping: the rule beside a Python loop, under scan, while_loop and vmap, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gradkit as gk

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(0)
SEQUENCES = np.float32(
    [
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2],
        [1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1],
        [NAN, NAN, 3, NAN, 3, 3, 2, NAN, NAN, NAN, 1, 0],
        [INF, -1, INF, INF, 2, 1, 0, -2, -3, -4, -5, -6],
        [NAN] * 12,
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7],
        *np.round(RNG.normal(size=(6, 12)) * 4) / 4,  # with ties
        *np.where(RNG.random((3, 12)) < 0.3, NAN, np.round(RNG.normal(size=(3, 12)) * 4) / 4),
    ]
)
RULES = {
    "plain": {"patience": 3},
    "at once": {"patience": 0},
    "never": {"patience": None},
    "delta": {"patience": 2, "min_delta": 0.5},
    "highest": {"patience": 3, "mode": "max", "min_delta": 0.25},
    "baseline": {"patience": 4, "baseline": 0.5, "min_delta": 0.25},
    "late": {"patience": 2, "start_from": 3, "mode": "max", "baseline": 1.0},
}


def in_python(scores, *, patience, min_delta=0.0, mode="min", baseline=None, start_from=0):
    """The rule as a loop that stops, with the fields of the state."""
    sign = 1 if mode == "min" else -1
    best, best_step, wait, count, improved = sign * INF, -1, 0, 0, False
    for i, score in enumerate(scores):
        count, improved = i + 1, False
        if i < start_from:
            continue
        wait += 1
        if sign * (best - score) > min_delta:
            improved, best, best_step = True, score, i
            if baseline is None or sign * (baseline - score) > min_delta:
                wait = 0
        if patience is not None and wait >= max(patience, 1):
            return best, best_step, count, wait, True, improved
    return best, best_step, count, wait, False, improved


def weights(i):
    return {"w": jnp.full((2,), i, jnp.float32), "count": i}


def fields(state):
    return (*state[:2], *state[3:])


@pytest.mark.parametrize("name", RULES)
def test_a_scan_of_many_runs_gives_what_a_python_loop_that_stops_gives(name):
    rule = gk.early_stopping(**RULES[name])

    @jax.jit
    @jax.vmap
    def run(scores):
        def one(state, given):
            return rule.update(state, given[0], weights(given[1])), None

        steps = jnp.arange(len(scores), dtype=jnp.int32)
        return lax.scan(one, rule.init(weights(jnp.int32(-1))), (scores, steps))[0]

    found = run(SEQUENCES)
    wanted = [in_python(scores.tolist(), **RULES[name]) for scores in SEQUENCES]
    for ours, theirs in zip(fields(found), zip(*wanted, strict=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.best_params["count"], found.best_step)
    np.testing.assert_array_equal(found.best_params["w"], np.stack([found.best_step] * 2, 1))
    if name not in ("never", "late"):
        assert len(set(found.evaluations.tolist())) > 2  # members stop at different times


def test_a_while_loop_and_one_by_one_are_the_same_and_patience_is_data():
    def run(patience, scores):
        rule = gk.early_stopping(patience)

        def more(carry):
            i, state = carry
            return (i < len(scores)) & ~state.should_stop

        def body(carry):
            i, state = carry
            return i + 1, rule.update(state, scores[i], weights(i), step=10 * i)

        return lax.while_loop(more, body, (jnp.int32(0), rule.init(weights(jnp.int32(0)))))

    patiences, scores = jnp.array([1, 2, 4]), jnp.asarray(SEQUENCES[2])
    ends, found = jax.jit(jax.vmap(run, (0, None)))(patiences, scores)
    for i, patience in enumerate(patiences.tolist()):
        best, step, *rest = in_python(SEQUENCES[2].tolist(), patience=patience)
        assert ends[i] == rest[0]
        wanted = (best, 10 * step if step >= 0 else -1, *rest)
        assert [x[i].item() for x in fields(found)] == list(wanted)
        state, rule = gk.early_stopping(patience).init(), gk.early_stopping(patience)
        for score in SEQUENCES[2].tolist():
            state = rule.update(state, score)
        assert [x.item() for x in fields(state)] == [best, step, *rest]
    assert jax.eval_shape(rule.init, weights(jnp.int32(0))).best_params["w"].shape == (2,)


def test_a_state_is_its_own_copy_and_prints_without_arrays():
    step = gk.make_step(lambda w: jnp.sum(w**2), gk.sgd(0.25))
    w, rule = jnp.ones(3), gk.early_stopping(2)
    opt_state, state = step.tx.init(w), rule.init(w)
    state = rule.update(state, 1.0, w)
    w, opt_state, _ = step(w, opt_state)  # donates the weights that are kept
    state = rule.update(state, jnp.bfloat16(2.0), w)
    w, opt_state, _ = step(w, opt_state)
    assert state.best_params.tolist() == [1.0, 1.0, 1.0]
    assert repr(state) == (
        "EarlyStoppingState(best_score=1.0, best_step=0, best_params=float32[3], evaluations=2, "
        "wait=1, should_stop=False, has_improved=False)"
    )
    key = rule.init({"key": jax.random.key(0), "none": None})
    assert rule.update(key, 1, {"key": jax.random.key(1), "none": None}).has_improved


def test_flax_stops_one_score_later():
    theirs = pytest.importorskip("flax.training.early_stopping").EarlyStopping
    for scores in np.where(np.isfinite(SEQUENCES), SEQUENCES, 0.0)[:8].tolist():
        flax, rule = theirs(min_delta=0.25, patience=2), gk.early_stopping(3, min_delta=0.25)
        state = rule.init()
        for score in scores:
            flax, state = flax.update(score), rule.update(state, score)
            stopped = bool(state.should_stop)
            assert (flax.best_metric, flax.patience_count, flax.should_stop, flax.has_improved) == (
                state.best_score,
                state.wait,
                stopped,
                state.has_improved,
            )
            if stopped:
                break


KEPT = {"a": jnp.ones(2), "b": jnp.ones(2)}
RULE = gk.early_stopping(1)
STATE = RULE.init(KEPT)
REFUSED = [
    (
        lambda: gk.early_stopping(1).update(gk.early_stopping(1).init(), None),
        TypeError,
        "EarlyStopping.update: score=None is not a number. Expected one real number",
    ),
    (lambda: gk.early_stopping(-1), ValueError, "patience=-1 is out of range. Expected an int"),
    (lambda: gk.early_stopping(1.5), TypeError, "early_stopping: patience=1.5 is not an integer"),
    (
        lambda: jax.jit(gk.early_stopping)(1.5),
        TypeError,
        r"patience is float32\[\]. Expected one integer",
    ),
    (lambda: gk.early_stopping(1, min_delta=-0.1), ValueError, "min_delta=-0.1 is out of range"),
    (
        lambda: gk.early_stopping(1, min_delta=gk.cosine_decay_schedule(1.0, 9)),
        TypeError,
        "min_delta=.* is not a number. Expected a real number",
    ),
    (lambda: gk.early_stopping(1, baseline=NAN), ValueError, "baseline=nan is out of range"),
    (
        lambda: gk.early_stopping(1, baseline=jnp.ones(2)),
        ValueError,
        r"baseline is float32\[2\]. Expected one number",
    ),
    (lambda: gk.early_stopping(1, mode="top"), ValueError, "mode='top' is not an option. Expected"),
    (lambda: gk.early_stopping(1, start_from=-1), ValueError, "start_from=-1 is out of range"),
    (
        lambda: RULE.update(STATE, jnp.ones(3), KEPT),
        ValueError,
        r"EarlyStopping.update: score is float32\[3\]. Expected one number. Take the mean",
    ),
    (lambda: RULE.update(STATE, 1j, KEPT), TypeError, "score=1j is not a number"),
    (lambda: RULE.update(STATE, "low", KEPT), TypeError, "score='low' is not a number"),
    (lambda: RULE.update(0.5, STATE, KEPT), TypeError, "The order is update.state, score, params"),
    (lambda: RULE.update(STATE, 1.0), ValueError, "params is missing"),
    (lambda: RULE.update(RULE.init(), 1.0, KEPT), ValueError, "params is given, and init had none"),
    (
        lambda: RULE.update(STATE, 1.0, {"a": jnp.ones(2)}),
        ValueError,
        "EarlyStopping.update, b: params has no leaf here",
    ),
    (
        lambda: RULE.update(STATE, 1.0, {**KEPT, "c": 1.0}),
        ValueError,
        "c: init had no leaf here",
    ),
    (
        lambda: RULE.update(STATE, 1.0, {**KEPT, "b": jnp.ones(3)}),
        ValueError,
        r"b: this leaf of params is float32\[3\]. Expected float32\[2\], as in init",
    ),
    (
        lambda: RULE.update(STATE, 1.0, {**KEPT, "b": jnp.ones(2, jnp.bfloat16)}),
        TypeError,
        r"b: this leaf of params is bfloat16\[2\]",
    ),
    (
        lambda: RULE.update(STATE, 1.0, tuple(KEPT.values())),
        ValueError,
        "Expected a tree like that of init",
    ),
    (lambda: RULE.update(STATE, 1.0, KEPT, step=0.5), TypeError, "step=0.5 is not an integer"),
    (lambda: RULE.init({"a": 1.0, "f": max}), TypeError, "params has the leaf max"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error, match=message):
        call()
