"""Names, order and defaults of the arguments are optax's."""

import inspect
import types

import optax
import optax.contrib
import pytest

import gradkit as gk

OPTAX = types.SimpleNamespace(**{**vars(optax.contrib), **vars(optax)})


NAMES = [
    "acprop",
    "adabelief",
    "adan",
    "ademamix",
    "adopt",
    "dog",
    "dowg",
    "fromage",
    "galore",
    "keep_params_nonnegative",
    "lamb",
    "lars",
    "lion",
    "madgrad",
    "nnls",
    "matrix_inverse_pth_root",
    "noisy_sgd",
    "normalize",
    "novograd",
    "optimistic_adam",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "polyak_sgd",
    "radam",
    "rprop",
    "scale_by_acprop",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_backtracking_linesearch",
    "scale_by_belief",
    "scale_by_lbfgs",
    "scale_by_galore",
    "scale_by_lion",
    "scale_by_madgrad",
    "scale_by_novograd",
    "scale_by_optimistic_gradient",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_polyak",
    "scale_by_radam",
    "scale_by_rprop",
    "scale_by_simplified_ademamix",
    "scale_by_trust_ratio",
    "scale_by_yogi",
    "scale_by_zoom_linesearch",
    "selective_transform",
    "signum",
    "simplified_ademamix",
    "split_real_and_imaginary",
    "value_and_grad_from_state",
    "yogi",
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


def test_the_arguments_of_lbfgs_are_those_of_optax():
    ours, theirs = (inspect.signature(lib.lbfgs).parameters for lib in (gk, optax))
    assert [*ours] == [*theirs]
    for name in ("learning_rate", "memory_size", "scale_init_precond"):
        assert ours[name].default == theirs[name].default
    assert ours["linesearch"].default == gk.scale_by_zoom_linesearch(
        20, initial_guess_strategy="one"
    )
