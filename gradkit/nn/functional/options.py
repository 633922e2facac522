"""Checks of the constructor arguments that layers share, in NNX and in Linen."""

from typing import Any

from gradkit import _checks as check
from gradkit.nn.functional.arguments import (
    as_dtype,
    as_epsilon,
    axis_integers,
    check_flag,
    check_number,
    describe,
)

_FLAGS = ("use_bias", "use_scale", "use_threshold", "unbiased_running_var")
_AXES = ("axis", "reduction_axes", "feature_axes")
_INITIALIZERS = ("scale_init", "bias_init")


def check_options(**options: Any) -> None:
    """Check the constructor arguments that the normalization layers share, where they are given."""
    if "num_features" in options:
        check.integer(1, num_features=options["num_features"])
    for name, value in options.items():
        if name in _FLAGS:
            check_flag(value, name)
        elif name == "use_running_average":
            check_flag(value, name, optional=True)
        elif name == "epsilon":
            as_epsilon(value, "float32")
        elif name == "momentum":
            check_number(value, name, check.probability)
        elif name == "param_dtype" or (name == "dtype" and value is not None):
            as_dtype(value, name)
        elif name in _AXES and value is not None:
            axis_integers(value, name)
        elif name in _INITIALIZERS and value is not None and not callable(value):
            problem = f"{name}={describe(value)} is not an initializer"
            check.refuse(problem, expected="a function of (key, shape, dtype)", error=TypeError)
