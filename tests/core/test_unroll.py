"""``unroll``: the run of a loop, and derivatives that are those of finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradkit as gk
from gradkit._unroll import _held_fixed
from tests.cases import TRANSFORM_CASES, factories

# ---- the run ------------------------------------------------------------------------------------

X = jnp.asarray(np.random.default_rng(2).normal(size=(7, 3)), jnp.float32)


def squares(w, x, scale=1.0):
    return scale * jnp.sum((w["w"] - x) ** 2), {"norm": jnp.sum(x**2)}


def test_a_run_is_that_of_a_loop():
    tx = gk.chain(gk.clip_by_global_norm(1.0), gk.adamw(gk.linear_schedule(0.3, 0.1, 5)))
    step = gk.make_step(squares, tx, has_aux=True, donate=False)
    w = {"w": jnp.zeros(3)}
    state, losses, norms = tx.init(w), [], []
    states = []
    for x in X:
        states.append((w, state))
        w, state, loss, aux = step(w, state, x, 2.0)
        losses.append(loss)
        norms.append(aux["norm"])

    @jax.jit
    def runs(states):
        (first, _), (later, after) = states
        batches, of_step = (X, jnp.full(7, 2.0)), lambda t: (X[t + 2], 2.0)
        options = {"has_aux": True, "checkpoint_every": 3}  # and a rest of 1, of 2
        whole = gk.unroll(squares, tx, first, batches, **options)
        part = gk.unroll(squares, tx, later, of_step, steps=5, state=after, **options)
        return whole, part

    whole, part = runs((states[0], states[2]))
    for run, begin in ((whole, 0), (part, 2)):
        np.testing.assert_allclose(run.losses, losses[begin:], 1e-5)
        np.testing.assert_allclose(run.aux["norm"], norms[begin:], 1e-5)
        for one, other in zip(
            jax.tree.leaves((run.params, run.state)), jax.tree.leaves((w, state))
        ):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, 1e-4)
    assert repr(whole).startswith("UnrollResult(params={'w': float32[3]}, state=State(step=7")


def test_derivatives_of_a_bowl_are_those_of_its_closed_form():
    # w ← (1 − 2 α_t) w: with a schedule from a to b in three steps, and w = s at the start.
    def end(tx, start, every):
        run = gk.unroll(lambda w: w**2, tx, start, steps=7, checkpoint_every=every)
        return run.params

    def closed(a, b, s):
        rates = a + (b - a) * np.minimum(np.arange(7), 3) / 3
        return s * np.prod(1 - 2 * rates)

    tx, start = gk.sgd(gk.linear_schedule(0.1, 0.3, 3)), 1.5
    everies = (None, 1, 2, 3, 7, 50, "sqrt")
    differentiate = lambda d, every: d(end, argnums=(0, 1))(tx, start, every)
    forward, *backward = jax.jit(
        lambda: [differentiate(jax.jacfwd, "sqrt"), *[differentiate(jax.grad, e) for e in everies]]
    )()
    point = np.array([0.1, 0.3, 1.5])
    expected = [(closed(*(point + d)) - closed(*(point - d))) / 2e-6 for d in 1e-6 * np.eye(3)]
    for by_tx, by_start in (forward, *backward):
        rate = by_tx.learning_rate
        np.testing.assert_allclose((rate.init_value, rate.end_value, by_start), expected, 1e-5)


def test_reverse_mode_keeps_the_root_of_the_steps_and_forward_mode_nothing():
    def bytes_of(steps, every, forward=False):
        def end(rate):
            loss_fn = lambda w: jnp.sum(jnp.sin(w) ** 2)
            tx = gk.momentum(rate, 0.9)
            run = gk.unroll(loss_fn, tx, jnp.ones(4096), steps=steps, checkpoint_every=every)
            return jnp.sum(run.params)

        slope = lambda rate: jax.jvp(end, (rate,), (1.0,)) if forward else jax.grad(end)(rate)
        return jax.jit(slope).lower(0.1).compile().memory_analysis().temp_size_in_bytes

    state = 2 * 4 * 4096  # parameters and velocity
    whole, root, longer = bytes_of(256, None), bytes_of(256, "sqrt"), bytes_of(1024, "sqrt")
    assert whole > 256 * state
    assert root < whole / 5
    assert 1.5 * root < longer < 2.5 * root
    assert bytes_of(1024, None, forward=True) < 10 * state


def test_a_population_has_the_derivatives_of_its_members():
    def final(tx, x):
        return jnp.sum(gk.unroll(lambda w, x: (w - x) ** 2, tx, jnp.zeros(()), x).params ** 2)

    rates, data = (
        jnp.array([0.05, 0.1, 0.2]),
        jnp.stack([X[:, 0]] * 3) * jnp.arange(1.0, 4)[:, None],
    )
    one = jax.jit(jax.value_and_grad(final))
    tx = gk.momentum(rates, 0.5)
    values, grads = jax.vmap(one, in_axes=(tx.vmap_axes(), 0))(tx, data)
    for i in range(3):
        value, grad = one(gk.momentum(rates[i], 0.5), data[i])
        found = (values[i], grads.learning_rate[i], grads.decay[i])
        np.testing.assert_allclose(found, (value, grad.learning_rate, grad.decay), 1e-5)


# ---- hypergradients of the catalogue -------------------------------------------------------------

STEPS = 4
RNG = np.random.default_rng(0)
START = RNG.normal(size=(2, 2))
DATA = RNG.normal(size=(STEPS, 2, 2))


def loss_fn(params, x):
    return jnp.sum((x @ params["matrix"] - 0.5) ** 4)


def residuals(params, x):
    return {"residual_fn": lambda params: 2**0.5 * (x @ params["matrix"] - 0.5) ** 2}


def in_float64(name):
    """The optimizer of the record, without a search, and with no state in float32."""
    changed = {
        "adafactor": lambda: gk.adafactor(0.1, 2, momentum=0.8, dtype_momentum=jnp.float64),
        "lbfgs": lambda: gk.lbfgs(0.1, 3, linesearch=None),
        "bfgs": lambda: gk.bfgs(0.1, linesearch=None),
    }
    case = next(case for case in TRANSFORM_CASES if case.name == name)
    return changed[name]() if name in changed else case.transform()


def is_optimizer(case):
    room = factories()[case.name].__module__
    return room.startswith("gradkit.optimizers.") and not case.name.startswith("scale_by_")


# Without chains of the same transforms: adam is adamw, or nadam, with other arguments.
SAME = {"adam", "nadam", "nadamw", "adamax"}
OPTIMIZERS = {case.name for case in TRANSFORM_CASES if is_optimizer(case)} - SAME
HELD_FIXED = {"galore", "levenberg_marquardt", "newton_cg", "psgd_kron", "soap"}
PER_EXAMPLE = {"dpsgd"}  # whose gradients are no gradients of a loss
DIFFERENTIABLE = sorted(OPTIMIZERS - HELD_FIXED - PER_EXAMPLE)


def outcome(name, checkpoint_every=None):
    """The last loss plus the earlier ones, as a function of the floats of ``tx`` and the start."""
    tx = in_float64(name)
    data, structure = jax.tree.flatten(tx)
    at = [i for i, leaf in enumerate(data) if isinstance(leaf, float)]

    def function(vector):
        leaves = list(data)
        for i, value in zip(at, vector, strict=False):
            leaves[i] = value
        params = {"matrix": vector[len(at) :].reshape(2, 2)}
        options = {"checkpoint_every": checkpoint_every}
        if name == "gauss_newton":
            options["extras"] = residuals
        run = gk.unroll(loss_fn, structure.unflatten(leaves), params, jnp.asarray(DATA), **options)
        return loss_fn(run.params, DATA[0]) + jnp.dot(run.losses, jnp.arange(0.5, 1.0, 0.125))

    point = np.concatenate([[data[i] for i in at], START.ravel()])
    return function, point


@pytest.mark.parametrize("group", [DIFFERENTIABLE[i::6] for i in range(6)], ids="-".join)
def test_hypergradients_are_central_differences(group):
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        functions, points, directions = [], [], []
        for name in group:
            function, point = outcome(name)
            functions.append(function)
            points.append(point)
            # Every hyperparameter and every parameter moves, in proportion to its size.
            directions.append(np.abs(point) * rng.normal(size=point.size))
        program = jax.jit(
            lambda points: [
                jax.jvp(f, (p,), (d,)) for f, p, d in zip(functions, points, directions)
            ]
        )
        size = 1e-6
        moved = [[p + s * d for p, d in zip(points, directions)] for s in (0, size, -size)]
        now, ahead, back = jax.device_get([program(each) for each in moved])
    for name, (_, slope), (high, _), (low, _) in zip(group, now, ahead, back, strict=True):
        assert abs(slope) > 1e-3, name
        np.testing.assert_allclose(slope, (high - low) / (2 * size), 2e-6, 2e-8, err_msg=name)


def test_reverse_mode_gives_the_derivatives_of_forward_mode():
    names = ["adamw", "lbfgs"]
    with jax.enable_x64(True):
        functions, points = zip(*[outcome(name, checkpoint_every=2) for name in names])
        program = jax.jit(lambda points: [jax.grad(f)(p) for f, p in zip(functions, points)])
        backward = jax.device_get(program(points))
        ahead = jax.jit(lambda points: [jax.jacfwd(f)(p) for f, p in zip(functions, points)])
        for name, one, other in zip(names, backward, jax.device_get(ahead(points))):
            np.testing.assert_allclose(one, other, 1e-9, 1e-12, err_msg=name)


# ---- what has no derivative ---------------------------------------------------------------------


def test_the_optimizers_that_hold_something_fixed_are_known():
    searching = {"bfgs", "dfp", "lbfgs", "nonlinear_cg", "newton", "newton_cg"}
    found = {
        case.name
        for case in TRANSFORM_CASES
        if is_optimizer(case) and [*_held_fixed(case.transform())]
    }
    assert found - searching == HELD_FIXED - searching
    assert found >= HELD_FIXED


def encode(leaf):
    return jnp.round(leaf * 100).astype(jnp.int8)


def decode(stored, like):
    return stored.astype(like.dtype) / 100


@gk.transform
def halve_until_small(limit: float) -> gk.Rule:
    def halve(updates, params):
        return jax.lax.while_loop(lambda u: jnp.sum(u * u) > limit, lambda u: u / 2, updates)

    return gk.stateless(halve)


def end_of(tx):
    return lambda s: jnp.sum(gk.unroll(lambda w, x: jnp.sum((w - x) ** 2), tx, s * X[0], X).params)


NOT_THOSE = "unroll: the derivatives would not be those of the run: "
FIX = (
    ". Take differences of two runs, choose another transform (such as a fixed learning_rate in "
    "place of a line search), or apply jax.lax.stop_gradient to what goes in."
)


@pytest.mark.parametrize(
    ("tx", "said"),
    [
        (gk.lbfgs(), "scale_by_zoom_linesearch holds the step size fixed"),
        (
            gk.lookahead(gk.newton_cg(), 2, 0.5),
            "lookahead.fast_optimizer.scale_by_newton_cg holds the direction fixed, "
            "lookahead.fast_optimizer.scale_by_backtracking_linesearch holds the step size fixed",
        ),
        (
            gk.trace(0.9, accumulator_dtype=gk.stores.Store(encode, decode)),
            "inner.trace.trace is stored in int8",
        ),
    ],
)
@pytest.mark.parametrize("differentiate", [jax.grad, jax.jacfwd])
def test_derivatives_that_would_be_wrong_are_refused(tx, said, differentiate):
    with pytest.raises(TypeError) as error:
        jax.eval_shape(differentiate(end_of(tx)), 1.0)
    assert str(error.value) == NOT_THOSE + said + FIX
    without = lambda s: end_of(tx)(jax.lax.stop_gradient(s))
    assert jax.eval_shape(differentiate(without), 1.0).shape == ()


def test_a_while_loop_is_refused_in_reverse_mode_only():
    tx = gk.chain(gk.cautious(halve_until_small(0.1)), gk.sgd(0.1))
    function = end_of(tx)
    _, slope = jax.jit(jax.vmap(lambda s: jax.jvp(function, (s,), (1.0,))))(jnp.array([1.0]))
    assert np.isfinite(slope).all()
    with pytest.raises(TypeError) as error:
        jax.eval_shape(jax.grad(function), 1.0)
    assert str(error.value) == (
        "unroll: cautious.halve_until_small has a while_loop, which has no derivative in "
        "reverse mode. Use forward mode: jax.jvp, jax.jacfwd."
    )
    fine = gk.chain(gk.stateless(lambda updates, params: updates), gk.sgd(0.1))
    assert jax.eval_shape(jax.grad(end_of(fine)), 1.0).shape == ()


def test_the_sign_of_a_gradient_has_the_derivative_zero():
    grad = jax.grad(end_of(gk.sign_sgd(0.1)))(1.0)
    np.testing.assert_allclose(grad, jnp.sum(X[0]), 1e-6)  # of the start alone


@pytest.mark.parametrize("last", [gk.stochastic_rounding(0), gk.compensated()], ids=repr)
def test_rounding_has_the_derivative_of_the_identity(last):
    def mean_after(rate):
        loss_fn = lambda w: jnp.sum(w.astype(jnp.float32) ** 2) / 2
        tx, start = gk.chain(gk.sgd(rate), last), jnp.ones(400, jnp.bfloat16)
        return jnp.mean(gk.unroll(loss_fn, tx, start, steps=5).params.astype(jnp.float32))

    _, slope = jax.jit(lambda: jax.jvp(mean_after, (0.1,), (1.0,)))()
    np.testing.assert_allclose(slope, -5 * 0.9**4, 0.01)


# ---- what is refused ----------------------------------------------------------------------------


def run(**options):
    loss_fn = options.pop("loss_fn", lambda w, x: jnp.sum((w - x) ** 2))
    tx, batches = options.pop("tx", gk.sgd(0.1)), options.pop("batches", X)
    return gk.unroll(loss_fn, tx, jnp.zeros(3), batches, **options)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"batches": {"a": X, "b": X[:5]}},
            ValueError,
            "unroll, b: this leaf of batches has 5 steps. Expected 7, as a has.",
        ),
        (
            {"batches": X[:0]},
            ValueError,
            "unroll, batches: this leaf float32[0, 3] has no steps.",
        ),
        (
            {"batches": (X, 1.0)},
            ValueError,
            "unroll, 1: this leaf of batches is float. Expected an array with a leading axis of "
            "steps.",
        ),
        (
            {"steps": 5},
            ValueError,
            "unroll, batches: this leaf of batches has 7 steps. Expected 5, as steps has.",
        ),
        (
            {"steps": 0},
            ValueError,
            "unroll: steps=0 is out of range. Expected an integer >= 1.",
        ),
        (
            {"batches": None},
            ValueError,
            "unroll: steps=None. Expected the number of updates, steps=...",
        ),
        (
            {"batches": lambda t: X[t]},
            ValueError,
            "unroll: steps=None, and batches is a function. Expected the number of updates, "
            "steps=...",
        ),
        (
            {"checkpoint_every": 0},
            ValueError,
            "unroll: checkpoint_every=0 is out of range. Expected an integer >= 1.",
        ),
        (
            {"checkpoint_every": 2.5},
            TypeError,
            "unroll: checkpoint_every=2.5 is not an integer. Expected an integer >= 1.",
        ),
        (
            {"checkpoint_every": "log"},
            ValueError,
            "unroll: checkpoint_every='log' is not an option. Expected one of 'sqrt'.",
        ),
        (
            {"tx": 0.1},
            TypeError,
            "unroll: tx=0.1 is not a gradkit transform. gk.chain(tx) makes a gradkit transform of "
            "an optax one.",
        ),
        (
            {"tx": gk.sgd},
            TypeError,
            "unroll: tx=sgd is not a gradkit transform. Call the factory: sgd(...).",
        ),
        (
            {"loss_fn": 0.1},
            TypeError,
            "unroll: loss_fn=0.1 is not a function. Expected a function.",
        ),
        (
            {"loss_fn": lambda w, x: w - x},
            TypeError,
            "unroll: loss_fn returned float32[3]. Expected one real number. Reduce it, as with "
            "jnp.mean; for a pair (loss, aux) pass has_aux=True.",
        ),
        (
            {"has_aux": True},
            TypeError,
            "unroll: loss_fn returned float32[], with has_aux. Expected the pair (loss, aux).",
        ),
        (
            {"batches": (X, X)},
            TypeError,
            "unroll: loss_fn=<lambda> cannot be called: too many positional arguments. It is "
            "called as loss_fn(params, *batch); only a tuple is spread.",
        ),
        (
            {"extras": {"value": 1.0}},
            TypeError,
            "unroll: extras={'value': 1.0} is not a function. Expected a function.",
        ),
        (
            {"extras": lambda w, x: x},
            TypeError,
            "unroll: extras returned float32[3]. Expected a dict of extra arguments by name.",
        ),
        (
            {"extras": lambda w, x: {"vlaue": 1.0}},
            TypeError,
            "sgd: the extra argument 'vlaue' is taken by no transform. Did you mean 'value'?",
        ),
        (
            {"state": gk.adam(0.1).init(jnp.zeros(3))},
            ValueError,
            "sgd: the state has 'scale_by_adam', which no transform here keeps. Expected only []. "
            "Take the state from this transform's init, or delete the entry.",
        ),
        ({"has_aux": 1}, TypeError, "unroll: has_aux=1 is not a bool. Expected True or False."),
    ],
)
def test_what_cannot_be_run_is_refused(options, error, said):
    with pytest.raises(error) as refused:
        jax.eval_shape(lambda: run(**options))
    assert str(refused.value) == said
