"""The elementwise catalogue along trajectories in float64: against optax, against torch, and against the papers where optax is wrong."""

import inspect
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradkit as gk

OPTAX = types.SimpleNamespace(**{**vars(optax.contrib), **vars(optax)})
STEPS = 120
SHAPES = {"matrix": (3, 2), "vector": (4,), "scalar": (), "empty": (0,)}


def wide(step):
    """The step as float64: from an int32 one, optax would compute in float32."""
    return jnp.asarray(step, jnp.float64)


def matrices(params):
    return jax.tree.map(lambda p: np.ndim(p) > 1, params)


def start():
    rng = np.random.default_rng(0)
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def gradients(steps=STEPS):
    """Gradients whose size changes; one entry is always zero, one every other time."""
    rng = np.random.default_rng(1)
    size = np.exp(rng.normal(size=steps)) * (0.2 + np.cos(np.arange(steps) / 9) ** 2)
    found = {
        name: size.reshape(-1, *[1] * len(shape)) * rng.normal(size=(steps, *shape))
        for name, shape in SHAPES.items()
    }
    found["vector"][:, 0] = 0.0
    found["vector"][::2, 1] = 0.0
    return {name: jnp.asarray(leaf) for name, leaf in found.items()}


def values(steps=STEPS):
    return jnp.asarray(np.abs(np.random.default_rng(2).normal(size=steps)) - 0.2)


@jax.jit
def ours(tx, grads, seen):
    """The transform is an argument of the compiled function: every number in it is traced."""

    def body(carry, at):
        params, state = carry
        updates, state = tx.update(at[0], state, params, value=at[1])
        return (gk.apply_updates(params, updates), state), updates

    return jax.lax.scan(body, (start(), tx.init(start())), (grads, seen))[1]


def theirs(make, grads, seen):
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        tx = optax.with_extra_args_support(make(OPTAX))

        def body(carry, at):
            params, state = carry
            updates, state = tx.update(at[0], state, params, value=at[1])
            return (optax.apply_updates(params, updates), state), updates

        return jax.jit(lambda: jax.lax.scan(body, (start(), tx.init(start())), (grads, seen))[1])()


def close(got, wanted, rtol=1e-10):
    for name in wanted:
        scale = np.max(np.abs(wanted[name]), initial=0.0)
        np.testing.assert_allclose(
            got[name], wanted[name], rtol=rtol, atol=rtol * scale, err_msg=name
        )


SAME = {
    "adabelief": lambda k: k.adabelief(0.05),
    "adabelief, other": lambda k: k.adabelief(0.05, 0.8, 0.95, 1e-4, 1e-5, nesterov=True),
    "acprop": lambda k: k.acprop(0.05),
    "acprop, other": lambda k: k.acprop(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1, matrices),
    "yogi": lambda k: k.yogi(0.05),
    "yogi, other": lambda k: k.yogi(0.05, 0.8, 0.95, 1e-5),
    "scale_by_yogi": lambda k: k.scale_by_yogi(0.7, 0.9, 1e-4, 1e-5, 0.1),
    "radam": lambda k: k.radam(0.05),
    "radam, other": lambda k: k.radam(0.05, 0.8, 0.95, 1e-4, 1e-5, 8.0, nesterov=True),
    "novograd": lambda k: k.novograd(0.05),
    "novograd, other": lambda k: k.novograd(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1),
    "adopt": lambda k: k.adopt(0.05),
    "adopt, other": lambda k: k.adopt(
        0.05, 0.8, 0.95, 1e-3, nesterov=True, clip_value_fn=lambda step: 0.5 + wide(step) ** 0.5
    ),
    "scale_by_adopt": lambda k: k.scale_by_adopt(0.7, 0.9, 1e-1, use_clipping=False),
    "ademamix": lambda k: k.ademamix(0.05),
    "ademamix, other": lambda k: k.ademamix(
        0.05,
        0.8,
        0.95,
        lambda step: 0.9 + 0.05 * jnp.tanh(wide(step) / 50.0),
        lambda step: 0.01 * wide(step),
        1e-4,
        1e-5,
        weight_decay=0.1,
        mask=matrices,
    ),
    "simplified_ademamix": lambda k: k.simplified_ademamix(0.05),
    "simplified_ademamix, other": lambda k: k.simplified_ademamix(
        0.05, 0.8, 0.9, lambda step: 0.01 * wide(step), 1e-4, 1e-5, 0.1, matrices
    ),
    "signum": lambda k: k.signum(0.05),
    "signum, other": lambda k: k.signum(0.05, 0.5),
    "lion": lambda k: k.lion(0.05),
    "lion, other": lambda k: k.lion(0.05, 0.7, 0.8, weight_decay=0.1, mask=matrices),
    "scale_by_lion, smooth": lambda k: k.scale_by_lion(0.7, 0.8, mode="smooth", smooth_beta=2.0),
    "scale_by_lion, refined": lambda k: k.scale_by_lion(0.7, 0.8, mode="refined"),
    "lars": lambda k: k.lars(0.05),
    "lars, other": lambda k: k.lars(0.05, 0.1, matrices, 0.5, 1e-3, matrices, 0.5, True),
    "lamb": lambda k: k.lamb(0.05),
    "lamb, other": lambda k: k.lamb(0.05, 0.8, 0.95, 1e-4, 1e-5, 0.1, matrices),
    "fromage": lambda k: k.fromage(0.05),
    "fromage, other": lambda k: k.fromage(lambda step: 0.1 / (1.0 + wide(step)), 0.5),
    "scale_by_trust_ratio": lambda k: k.chain(
        k.scale_by_trust_ratio(0.1, 0.5, 1e-2), k.scale(-0.1)
    ),
    "scale_by_param_block_norm": lambda k: k.chain(
        k.scale_by_param_block_norm(0.5), k.scale(-0.01)
    ),
    "scale_by_param_block_rms": lambda k: k.chain(k.scale_by_param_block_rms(0.5), k.scale(-0.01)),
    "optimistic_gradient_descent": lambda k: k.optimistic_gradient_descent(0.05),
    "optimistic_gradient_descent, other": lambda k: k.optimistic_gradient_descent(0.05, 0.5, 2.0),
    "optimistic_adam": lambda k: k.optimistic_adam(0.05),
    "optimistic_adam, other": lambda k: k.optimistic_adam(
        0.05, 0.02, 0.8, 0.95, 1e-4, 1e-5, nesterov=False
    ),
    "optimistic_adam_v2": lambda k: k.optimistic_adam_v2(0.05),
    "optimistic_adam_v2, other": lambda k: k.optimistic_adam_v2(
        lambda step: 0.1 / (1.0 + wide(step)), alpha=0.5, beta=2.0, nesterov=False
    ),
    "noisy_sgd": lambda k: k.noisy_sgd(0.05, 0.3, 0.7, 11),
    "polyak_sgd": lambda k: k.polyak_sgd(),
    "polyak_sgd, other": lambda k: k.polyak_sgd(0.1, f_min=-1.0, eps=0.1, variant="sps+"),
    "scale_by_polyak": lambda k: k.scale_by_polyak(-0.5, 0.3, 0.2),
    "madgrad": lambda k: k.madgrad(0.05),
    "madgrad, other": lambda k: k.madgrad(lambda step: 0.1 / (1.0 + wide(step)), 0.0, 0.1, 1e-3),
    "scale_by_madgrad": lambda k: k.scale_by_madgrad(0.05, 0.5, 1e-2),
    "keep_params_nonnegative": lambda k: k.chain(k.sgd(0.5), k.keep_params_nonnegative()),
    "normalize": lambda k: k.chain(k.normalize(), k.sgd(0.5)),
    "selective_transform": lambda k: k.selective_transform(
        k.adam(0.05), freeze_mask={"matrix": True, "vector": False, "scalar": True, "empty": False}
    ),
}


NAMES = [
    *sorted(
        {case.split(",")[0] for case in SAME}
        | {
            "scale_by_belief",
            "scale_by_acprop",
            "scale_by_radam",
            "scale_by_novograd",
            "scale_by_ademamix",
        }
    ),
    "scale_by_simplified_ademamix",
    "adan",
    "scale_by_adan",
    "rprop",
    "scale_by_rprop",
    "scale_by_optimistic_gradient",
    "split_real_and_imaginary",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_order_and_defaults_of_the_arguments_are_those_of_optax(name):
    def arguments(function):
        parameters = inspect.signature(function).parameters.values()
        return [
            (p.name, p.kind, "a function" if inspect.isfunction(p.default) else p.default)
            for p in parameters
        ]

    assert arguments(getattr(gk, name)) == arguments(
        getattr(OPTAX, name, None) or getattr(optax.contrib, name)
    )


@pytest.mark.parametrize("case", SAME)
def test_the_trajectory_is_that_of_optax(case):
    with jax.enable_x64(True):
        rtol = (
            1e-6 if "madgrad" in case else 1e-10
        )  # optax's madgrad has the root of its int32 counter in float32
        close(
            ours(SAME[case](gk), gradients(), values()),
            theirs(SAME[case], gradients(), values()),
            rtol,
        )


@pytest.mark.parametrize("inner", ["adam", "rmsprop"])
def test_complex_leaves_split_as_in_optax(inner):
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        grads = jnp.asarray(rng.normal(size=(30, 3)) + 1j * rng.normal(size=(30, 3)))

        def run(k):
            tx = k.split_real_and_imaginary(getattr(k, inner)(0.1))
            params = {"z": jnp.zeros(3, complex), "x": jnp.zeros(3)}

            def body(state, g):
                updates, state = tx.update({"z": g, "x": g.real}, state, params)
                return state, updates

            return jax.lax.scan(body, tx.init(params), grads)[1]

        got = run(gk)
        with jax.numpy_dtype_promotion("standard"):
            wanted = run(OPTAX)
        close(got, wanted)
        # What it is for: the parts go their own ways, and a real leaf its usual one.
        np.testing.assert_allclose(got["z"].real, got["x"], rtol=1e-12)


# ---- torch ----------------------------------------------------------------------------------------------------------


TORCH = {
    "RAdam": (
        lambda: gk.radam(0.05, 0.8, 0.99, eps=0.0),
        lambda optim, p: optim.RAdam(p, lr=0.05, betas=(0.8, 0.99), eps=0.0),
    ),
    "Rprop": (lambda: gk.rprop(0.01), lambda optim, p: optim.Rprop(p, lr=0.01)),
    "Rprop, other": (
        lambda: gk.rprop(0.01, 0.3, 1.5, 1e-3, 0.2),
        lambda optim, p: optim.Rprop(p, lr=0.01, etas=(0.3, 1.5), step_sizes=(1e-3, 0.2)),
    ),
    "ASGD": (lambda: gk.asgd(), lambda optim, p: optim.ASGD(p)),
    "ASGD, other": (
        lambda: gk.asgd(0.05, 0.01, 0.5, 20, 0.1),
        lambda optim, p: optim.ASGD(p, lr=0.05, lambd=0.01, alpha=0.5, t0=20, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("case", TORCH)
def test_the_trajectory_is_that_of_torch(case):
    torch = pytest.importorskip("torch")
    make, reference = TORCH[case]
    with jax.enable_x64(True):
        grads = gradients()["vector"][:, 2:]  # never zero: torch's RAdam divides by the root alone
        params, tx = jnp.asarray([0.5, -1.5]), make()

        def body(carry, g):
            params, state = tx.apply(*carry, g)
            return (params, state), params

        (last, state), got = jax.lax.scan(body, (params, tx.init(params)), grads)
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # in which ASGD keeps its rate
        try:
            tensor = torch.tensor(np.array(params), requires_grad=True)
            optimizer, wanted = reference(torch.optim, [tensor]), []
            for g in np.array(grads):
                tensor.grad = torch.tensor(g)
                optimizer.step()
                wanted.append(tensor.detach().numpy().copy())
        finally:
            torch.set_default_dtype(usual)
        np.testing.assert_allclose(got, wanted, rtol=1e-10)
        if case.startswith("ASGD"):
            np.testing.assert_allclose(
                gk.eval_params(tx, state, last), optimizer.state[tensor]["ax"].numpy(), rtol=1e-10
            )


# ---- the papers -----------------------------------------------------------------------------------------------------


def follow(tx, grads, params=None):
    """The updates for a sequence of gradients of one leaf."""

    @jax.jit
    def run(tx, grads, params):
        def body(carry, g):
            params, state = carry
            updates, state = tx.update(g, state, params)
            return (params + updates, state), updates

        return jax.lax.scan(body, (params, tx.init(params)), grads)[1]

    return np.array(
        run(tx, jnp.asarray(grads), jnp.zeros(np.shape(grads)[1:]) if params is None else params)
    )


def one_leaf(steps=100, size=3):
    return np.array(
        np.random.default_rng(5).normal(size=(steps, size))
        * np.exp(np.random.default_rng(6).normal(size=(steps, 1)))
    )


def adam_of(grads, b1, b2, eps):
    m = v = np.zeros_like(grads[0])
    for t, g in enumerate(grads, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        yield m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def test_adan_is_algorithm_1_of_its_paper():
    # The paper's β are the weights of what is new: 0.02, 0.08, 0.01 where b1, b2, b3 are 0.98, 0.92, 0.99.
    beta1, beta2, beta3, grads = 0.05, 0.2, 0.1, one_leaf()
    m = v = n = np.zeros(3)
    wanted, before = [], grads[0]
    for t, g in enumerate(grads, 1):
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * (g - before)
        n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * (g - before)) ** 2
        m_hat, v_hat, n_hat = (
            m / (1 - (1 - beta1) ** t),
            v / (1 - (1 - beta2) ** t),
            n / (1 - (1 - beta3) ** t),
        )
        wanted.append(-0.1 * (m_hat + (1 - beta2) * v_hat) / (np.sqrt(n_hat + 1e-8) + 1e-6))
        before = g
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.adan(0.1, 0.95, 0.8, 0.9, 1e-6), grads), wanted, rtol=1e-10
        )


def test_rprop_is_the_rule_of_its_paper():
    grads, wanted = one_leaf(), []
    length, before = np.full(3, 0.1), np.zeros(3)
    for gradient in grads:
        agree = gradient * before
        length = np.where(
            agree > 0,
            np.minimum(length * 1.3, 2.0),
            np.where(agree < 0, np.maximum(length * 0.4, 1e-3), length),
        )
        before = np.where(agree < 0, 0.0, gradient)
        wanted.append(-length * np.sign(before))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.rprop(0.1, 0.4, 1.3, 1e-3, 2.0), grads), wanted, rtol=1e-10
        )


def test_laprop_divides_before_it_averages():
    grads, wanted = one_leaf(), []
    m = v = np.zeros(3)
    for t, g in enumerate(grads, 1):
        v = 0.9 * v + 0.1 * g**2
        m = 0.8 * m + 0.2 * g / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
        wanted.append(-0.1 * m / (1 - 0.8**t))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.laprop(0.1, 0.8, 0.9, 1e-3), grads), wanted, rtol=1e-10
        )


def test_mars_is_adam_on_corrected_and_clipped_gradients():
    grads = one_leaf()
    before = np.concatenate([grads[:1], grads[:-1]])
    corrected = grads + 0.05 * 0.8 / 0.2 * (grads - before)
    corrected /= np.maximum(1, np.linalg.norm(corrected, axis=1, keepdims=True) / 0.7)
    wanted = [-0.1 * u for u in adam_of(corrected, 0.8, 0.9, 1e-6)]
    with jax.enable_x64(True):
        got = follow(gk.mars(0.1, 0.8, 0.9, 1e-6, gamma=0.05, max_norm=0.7), grads)
        moving = follow(
            gk.mars(
                0.1, gk.constant_schedule(0.8), 0.9, 1e-6, gamma=lambda step: 0.05, max_norm=0.7
            ),
            grads,
        )
    np.testing.assert_allclose(got, wanted, rtol=1e-10)
    np.testing.assert_allclose(moving, got, rtol=1e-10)


def test_grokfast_adds_an_average_that_begins_with_the_first_gradient():
    grads, wanted, h = one_leaf(), [], None
    for g in grads:
        h = g if h is None else 0.9 * h + 0.1 * g
        wanted.append(-0.1 * (g + 1.5 * h))
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.chain(gk.grokfast(0.9, 1.5), gk.sgd(0.1)), grads), wanted, rtol=1e-10
        )


def test_cautious_adam_is_algorithm_2_of_its_paper():
    grads = one_leaf(size=5)
    wanted = []
    for g, u in zip(grads, adam_of(grads, 0.8, 0.9, 1e-6), strict=True):
        agree = u * g > 0
        wanted.append(-0.1 * u * agree * 5 / (agree.sum() + 1))
    with jax.enable_x64(True):
        whole = follow(gk.cautious(gk.adam(0.1, 0.8, 0.9, 1e-6)), grads)
        before_the_rate = follow(
            gk.chain(
                gk.cautious(gk.scale_by_adam(0.8, 0.9, 1e-6), direction=True),
                gk.scale_by_learning_rate(0.1),
            ),
            grads,
        )
    np.testing.assert_allclose(whole, wanted, rtol=1e-10)
    np.testing.assert_allclose(before_the_rate, wanted, rtol=1e-10)
    assert any((u == 0).any() for u in wanted)


def test_madgrad_is_algorithm_1_of_its_paper():
    grads, wanted = one_leaf(), []
    first = theta = np.array([1.0, -2.0, 0.5])
    total = metric = np.zeros(3)
    for k, gradient in enumerate(grads):
        g = gradient + 0.1 * theta
        weight = (0.05 + 1e-3) * np.sqrt(k + 1)
        total, metric = total + weight * g, metric + weight * g**2
        moved = 0.7 * theta + 0.3 * (first - total / (np.cbrt(metric) + 1e-3))
        wanted.append(moved - theta)
        theta = moved
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            follow(gk.madgrad(0.05, 0.7, 0.1, 1e-3), grads, jnp.asarray(first)), wanted, rtol=1e-9
        )


def test_polyak_sgd_steps_scaling_times_as_far():
    # optax measures the norm of the scaled gradient: there half the scaling is twice the step.
    with jax.enable_x64(True):
        full, half = (
            ours(gk.polyak_sgd(1e9, scaling), gradients(), jnp.abs(values()))
            for scaling in (1.0, 0.5)
        )
        close(half, jax.tree.map(lambda u: u / 2, full))
