"""Tools of the conformance room: import a package or skip, convert a transform, compare results."""

import importlib
import warnings
from types import ModuleType

import jax
import numpy as np
import optax
import pytest

import gradkit as gk

# The distribution that brings a module, where the two have different names.
DISTRIBUTIONS = {
    "haiku": "dm-haiku",
    "orbax.checkpoint": "orbax-checkpoint",
    "flax.linen": "flax",
    "flax.nnx": "flax",
}


def needs(module: str) -> ModuleType:
    """Import ``module``, or skip the test file and say why.

    A package that fails while it is imported (many break with each release of JAX) is skipped like
    an absent one: neither says anything about gradkit.
    """
    distribution = DISTRIBUTIONS.get(module, module.partition(".")[0])
    try:
        with (
            warnings.catch_warnings(),
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
        ):
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        reason = f"{distribution} is not installed ({error})"
    except Exception as error:  # whatever a broken package raises
        cause = f"{type(error).__name__}: {error}"
        reason = f"{distribution} cannot be imported with jax {jax.__version__} ({cause})"
    pytest.skip(reason, allow_module_level=True)


def as_optax(tx) -> optax.GradientTransformationExtraArgs:
    """``tx`` for code that accepts instances of optax's own class only."""
    if hasattr(gk, "as_optax"):
        return gk.as_optax(tx)
    return optax.GradientTransformationExtraArgs(*tx)


def leaves(tree) -> list[np.ndarray]:
    """The numbers of a result in float64 or complex128; keys and None are left out."""
    found = [
        leaf
        for leaf in jax.tree.leaves(tree)
        if not jax.dtypes.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.extended)
    ]
    return [
        np.asarray(leaf).astype(np.complex128 if np.iscomplexobj(leaf) else np.float64)
        for leaf in found
    ]


def difference(ours, theirs) -> float:
    """The largest difference of two results, relative to the largest element of each leaf."""
    one, other = leaves(ours), leaves(theirs)
    assert [leaf.shape for leaf in one] == [leaf.shape for leaf in other], (
        "the two results have different shapes"
    )
    assert all(np.isfinite(leaf).all() for leaf in [*one, *other]), "a result is not finite"
    return max(
        (
            float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12))
            for a, b in zip(one, other)
            if a.size
        ),
        default=0.0,
    )
