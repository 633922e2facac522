"""``fit`` beside a Python loop with the same step, batches and rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk

TARGETS = jnp.array([2.0, 1.5, 2.5, 2.0])  # of batches; the development target is 1


def loss_fn(w, y):
    return (w["w"] - y) ** 2


def batches(t):
    return TARGETS[t % 4]


def evaluate(w):
    error = (w["w"] - 1.0) ** 2
    return {"error": error, "accuracy": jnp.exp(-error), "signs": jnp.sign(w["w"])[None] > 0}


STEP = gk.make_step(loss_fn, gk.chain(gk.trace(0.5), gk.scale(-1 / 32)))
START = {"w": jnp.zeros(())}


def in_python(step, steps, every, patience, sign=1):
    """The best weights, the curves and the counts of a loop on the host."""
    w, state = START, step.tx.init(START)
    w, best, kept, wait, losses, scores = dict(w), np.inf, (START["w"], -1), 0, [], []
    for t in range(steps):
        x, state, loss = step(jax.tree.map(jnp.array, w), state, batches(t))
        w = jax.tree.map(np.asarray, x)
        losses.append(float(loss))
        if (t + 1) % every and t + 1 < steps:
            continue
        scores.append(float((w["w"] - 1) ** 2))
        wait += 1
        if scores[-1] < best:
            best, kept, wait = scores[-1], (w["w"], t + 1), 0
        if wait >= patience:
            break
    return kept, len(losses), losses, scores


@pytest.mark.parametrize(
    ("steps", "every", "patience"), [(60, 1, 4), (60, 5, 2), (23, 5, 9), (4, 9, 1)]
)
def test_a_run_is_that_of_a_loop_on_the_host(steps, every, patience):
    (weight, best_step), count, losses, scores = in_python(STEP, steps, every, patience)
    rule = gk.early_stopping(patience)
    options = {"steps": steps, "eval_every": every, "stop": rule, "monitor": "error"}
    run = gk.fit(STEP, START, batches, evaluate, **options)
    assert (int(run.best_step), int(run.steps)) == (best_step, count)
    assert bool(run.stopped) == (count < steps)
    np.testing.assert_allclose(run.best_params["w"], weight, 1e-6)
    np.testing.assert_allclose(run.losses, losses + [np.nan] * (steps - count), 1e-4, 1e-6)
    size = -(-steps // every)
    curve = scores + [np.nan] * (size - len(scores))
    np.testing.assert_allclose(run.scores["error"], curve, 1e-3, 1e-6)
    assert run.eval_steps.tolist() == [*range(every, steps, every), steps]
    assert run.scores["signs"].shape == (size, 1)
    assert run.best_score == jnp.nanmin(run.scores["error"])


def test_a_population_stops_member_by_member():
    def run(rate):  # 4 does not divide 45
        step = STEP.replace({"scale.step_size": -rate})
        rule = gk.early_stopping(2, mode="max")
        options = {"steps": 45, "eval_every": 4, "stop": rule, "monitor": "accuracy"}
        return gk.fit(step, START, batches, evaluate, **options)

    rates = jnp.array([1 / 128, 1 / 32, 1 / 8])
    found, alone = jax.jit(jax.vmap(run))(rates), jax.jit(run)
    assert len(set(found.steps.tolist())) == 3
    for i, rate in enumerate(rates):
        single = alone(rate)
        for name in ("steps", "best_step", "stopped"):
            assert getattr(found, name)[i] == getattr(single, name)
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(single), strict=True):
            np.testing.assert_allclose(ours[i], theirs, 1e-5)


def test_any_step_and_other_weights_to_evaluate():
    tx = gk.chain(gk.sgd(1 / 16), gk.weight_ema(0.5))
    step = gk.make_step(lambda w, y: (loss_fn(w, y), y), tx, has_aux=True)
    average = functools.partial(gk.eval_params, tx)
    error = lambda w: evaluate(w)["error"]
    run = gk.fit(step, START, batches, error, steps=5, eval_params=average)
    assert not run.stopped
    assert run.steps == run.best_step == 5
    np.testing.assert_array_equal(run.best_params["w"], average(run.state, run.params)["w"])
    assert run.best_params["w"] < run.params["w"]
    again = gk.fit(
        lambda w, state, y: step(w, state, y)[:3],
        run.params,
        lambda t: (batches(t + 5),),
        error,
        steps=2,
        state=run.state,
    )
    assert again.state.step == 7
    weak = gk.fit(
        lambda w, s, y: (jnp.where(y > 0, 3.0, w), 0, y), 0.0, batches, abs, steps=1, state=0
    )
    assert (weak.params, weak.best_score, weak.losses[0]) == (3, 3, 2)
    assert repr(again).startswith("FitResult(best_params={'w': 1.")


def call(**changes):
    options = {"step": STEP, "params": START, "batches": batches, "steps": 4} | changes
    return gk.fit(**{"evaluate": lambda w: w["w"], **options})


REFUSED = [
    ({"steps": 0}, ValueError, "fit: steps=0 is out of range. Expected an integer >= 1"),
    ({"eval_every": 0.5}, TypeError, "eval_every=0.5 is not an integer"),
    ({"stop": 3}, TypeError, "stop=3 is not an EarlyStopping. Pass gk.early_stopping"),
    ({"batches": TARGETS}, TypeError, r"batches=float32\[4\] is not a function"),
    ({"evaluate": None}, TypeError, "evaluate=None is not a function"),
    ({"eval_params": 1}, TypeError, "eval_params=1 is not a function"),
    ({"eval_params": lambda w: w}, TypeError, "eval_params=<lambda> cannot be called with 2 pos"),
    ({"batches": lambda: 0}, TypeError, "batches=<lambda> cannot be called with 1 positional arg"),
    ({"evaluate": lambda w: None}, TypeError, "fit: evaluate returned NoneType. Expected a numb"),
    ({"evaluate": lambda w: "low"}, TypeError, "fit: evaluate returned str. Expected a number, or"),
    ({"step": lambda w, s, y: (w, s, 0.0)}, ValueError, "state=None, and step is a function"),
    ({"evaluate": lambda w: jnp.ones(3)}, ValueError, r"what evaluate returned is float32\[3\]"),
    ({"evaluate": evaluate}, ValueError, "monitor=None is not a name that evaluate returns"),
    (
        {"evaluate": evaluate, "monitor": "f1"},
        ValueError,
        "Expected one of 'accuracy', 'error', 'signs'",
    ),
    (
        {"evaluate": evaluate, "monitor": "signs"},
        ValueError,
        r"evaluate's 'signs' is float32\[1\]. Expected one number",
    ),
    ({"monitor": "error"}, ValueError, "monitor='error', and evaluate returned no dict"),
    (
        {"step": lambda w, s, y: w, "state": 0.0},
        TypeError,
        r"fit: step returned dict. Expected \(params, state, loss, ...\)",
    ),
    (
        {"step": lambda w, s, y: ({"w": y[None]}, s, y), "state": 0.0},
        ValueError,
        r"fit, w: step returned float32\[1\] for this leaf of params",
    ),
    (
        {"step": lambda w, s, y: (s, w, y), "state": 0.0},
        ValueError,
        "fit: step returned the params PyTreeDef",
    ),
    (
        {"step": lambda w, s, y: (w, s, y[None]), "state": 0.0},
        ValueError,
        r"the loss that step returned is float32\[1\]",
    ),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(changes, error, message):
    with pytest.raises(error, match=message):
        call(**changes)


def test_a_traced_number_of_steps_is_refused():
    with pytest.raises(TypeError, match=r"fit: steps is traced\. Expected an integer\."):
        jax.eval_shape(lambda steps: call(steps=steps), 3)
