"""Monte Carlo dropout: the uncertainty of predictions from sampled masks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend
from flax import nnx

from gradkit import _checks as check
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn.functional.arguments import as_key, describe
from gradkit.typing import Key, PyTree


class Prediction(NamedTuple):
    """Mean and variance of a model's output over its noise."""

    mean: PyTree
    var: PyTree


def mc_predict(
    model: nnx.Module | Callable[[Any, jax.Array], PyTree], x: PyTree, samples: int, key: Key
) -> Prediction:
    """Predict with Monte Carlo dropout: mean and variance of the output over sampled masks.

    **Value** mean = Σ_s f(x; m_s) / S, var = Σ_s |f(x; m_s) − mean|² / S.

    Args:
      model: an ``nnx.Module``, or a function of (x, key). A module is viewed with its noise on
        (``deterministic=False``), its batch statistics fixed and every key replaced; it is not
        changed. For Linen pass ``lambda x, key: model.apply(variables, x, deterministic=False,
        rngs={"dropout": key})``. A function is not
        checked: one that draws no noise from its key gives variance 0.
      x: the input of all samples.
      samples: S >= 1; all samples run in one vmap.
      key: a random key or a seed.

    Returns:
      `Prediction` of mean and variance, each like the output of the model, float32 or wider.

    Raises:
      ValueError: an ``nnx.Module`` without keys, or whose output does not depend on its keys,
        because it has no noise or passes ``deterministic`` to its layers itself. A model with a
        layer whose rate is the number 0 or 1 is accepted.
      TypeError: a missing key, a model that is not callable.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> import gradkit.nn as gnn
      >>> model = nnx.Sequential(gnn.Dropout(0.5, rngs=nnx.Rngs(0)))
      >>> mean, var = gnn.mc_predict(model, jnp.ones(4), 4000, jax.random.key(0))
      >>> assert jnp.allclose(mean, 1, atol=0.1) and jnp.allclose(var, 1, atol=0.1)  # 0 or 2

    Reference: Gal and Ghahramani 2016, https://arxiv.org/abs/1506.02142.
    """
    with check.inside("mc_predict"):
        check.integer(1, samples=samples)
        key = as_key(key, "the samples")
        if not callable(model):
            expected = "an nnx.Module, or a function of (x, key)"
            check.refuse(
                f"model={describe(model)} is not a model", expected=expected, error=TypeError
            )
        predict: Callable[[Any, jax.Array], Any] = model
        if isinstance(model, nnx.Module):
            predict = _sampler(model)
            if not _has_static_rate(model) and not _depends(lambda key: predict(x, key), key):
                fix = "Add a noise layer, and pass no deterministic to layers inside the model"
                problem = "model draws no noise: its output does not depend on its keys"
                check.refuse(problem, fix=fix)
    keys = jax.random.split(key, int(samples))
    outputs = jax.vmap(lambda sample: predict(x, sample))(keys)
    leaves, tree = jax.tree.flatten(outputs)
    moments = [F.moments(leaf, 0) for leaf in leaves]
    mean, var = [m.mean for m in moments], [m.var for m in moments]
    return Prediction(jax.tree.unflatten(tree, mean), jax.tree.unflatten(tree, var))


def _has_static_rate(model: nnx.Module) -> bool:
    """Whether a layer has a rate at which it draws nothing."""
    layers = [layer for _, layer in nnx.iter_modules(model) if isinstance(layer, nnx.Dropout)]
    rates = [layer.rate for layer in layers]
    return any(isinstance(rate, (int, float)) and rate in {0, 1} for rate in rates)


def _depends(function: Callable[[Any], Any], argument: Any) -> bool:
    """Whether a path leads from the argument to an output.

    Within one call (such as an inner jit) every input counts as connected to every output.
    """
    program = jax.make_jaxpr(function)(argument).jaxpr
    reached = set(program.invars)

    def reads(atoms: Any) -> bool:
        variables = [atom for atom in atoms if not isinstance(atom, jax.extend.core.Literal)]
        return any(variable in reached for variable in variables)

    for equation in program.eqns:
        if reads(equation.invars):
            reached.update(equation.outvars)
    return reads(program.outvars)


def _sampler(model: nnx.Module) -> Callable[[Any, jax.Array], Any]:
    """A function of (x, key) that runs the model with noise from the key."""
    modes = {"deterministic": False, "use_running_average": True}
    noisy = nnx.view(model, **modes, raise_if_not_found=False)
    graph, keys, rest = nnx.split(noisy, nnx.RngKey, ...)
    if not nnx.to_flat_state(keys):
        problem = "model has no random keys in its state"
        fix = "Pass rngs=nnx.Rngs(0) to its dropout layers"
        check.refuse(problem, expected="random layers that own their rngs", fix=fix)

    def predict(x: Any, key: jax.Array) -> Any:
        replaced = []
        for number, (path, old) in enumerate(nnx.to_flat_state(keys)):
            own = jax.random.fold_in(key, number)
            replaced.append(
                (path, old.replace(jax.random.split(own, old.shape) if old.shape else own))
            )
        return nnx.merge(graph, nnx.from_flat_state(replaced), rest, copy=True)(x)

    return predict
