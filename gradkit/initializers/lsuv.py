"""Layer-sequential unit variance: weights scaled by the outputs on data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.initializers.draws import orthogonal
from gradkit.typing import Key, Params, PyTree


def lsuv(
    outputs: Callable[..., dict[str, jax.Array]],
    params: Params,
    *args: PyTree,
    key: Key | None = None,
    tol: float = 0.01,
    max_steps: int = 10,
) -> Params:
    """Scale the weights of each layer so that its outputs on data have unit variance (LSUV).

    Layer by layer, W ← W / std(z) of the layer's output z before its activation, until
    |Var z − 1| ≤ tol. One compiled loop, which evaluates the network about twice for each layer.

    Args:
      outputs: ``outputs(params, *args)`` returns a dict from the dotted path of each weight in
        ``params`` to the output of its layer, in the order of the layers.
      params: a tree of arrays.
      args: a batch of data, and what else ``outputs`` takes.
      key: a seed or a random key with which the weights are first drawn orthonormal; None to scale
        the weights of ``params``.
      tol: the tolerance of the variance > 0.
      max_steps: the most scalings of a layer, ≥ 1. One is enough where biases are zero.

    Returns:
      a tree like ``params``, with the weights that ``outputs`` names scaled.

    Raises:
      ValueError: a path that is no leaf; a layer whose output is constant, is not finite, or keeps
        another variance (judged only outside jit).
      TypeError: ``outputs`` is not a function or does not return a dict.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> def outputs(p, x):
      ...     first = x @ p["first"]
      ...     return {"first": first, "second": jax.nn.relu(first) @ p["second"]}
      >>> p = {"first": jnp.ones((5, 8)), "second": jnp.ones((8, 3))}
      >>> x = 3 * jax.random.normal(jax.random.key(0), (50, 5))
      >>> p = gk.initializers.lsuv(outputs, p, x, key=1)
      >>> assert all(jnp.isclose(z.var(), 1, atol=0.01) for z in outputs(p, x).values())

    Reference: Mishkin and Matas 2016, https://arxiv.org/abs/1511.06422.
    """
    with check.inside("lsuv"):
        check.function(outputs=outputs)
        check.number("0 < x < inf", lambda v: (v > 0) & np.isfinite(v), tol=tol)
        check.integer(1, max_steps=max_steps)
        check.tree_of_arrays(params, "params")
        treedef: Any
        leaves, treedef = jax.tree.flatten(params)
        paths = [check.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        names = _layers(outputs, params, args)
        for name in names:
            if name not in paths:
                problem = f"outputs names {name!r}, which is no leaf of params"
                check.refuse(problem, fix=check.nearest(name, paths))
        at = [paths.index(name) for name in names]
        if key is not None:
            keys = jax.random.split(numerics.one_key(key), len(at))
            for i, layer_key in zip(at, keys):
                leaves[i] = orthogonal()(layer_key, jnp.shape(leaves[i]), leaves[i].dtype)

        def variances(weights: list[Any]) -> Any:
            full = list(leaves)
            for i, weight in zip(at, weights):
                full[i] = weight
            out = outputs(jax.tree.unflatten(treedef, full), *args)
            wide = [numerics.cast(z, numerics.wide(jnp.asarray(z).dtype)) for z in out.values()]
            return jnp.stack([jnp.var(z).astype(jnp.float32) for z in wide])

        def again(carry: Any) -> Any:
            weights, layer, steps, found = carry
            variance = variances(weights)[layer]
            usable = (variance > 0) & jnp.isfinite(variance)
            done = (jnp.abs(variance - 1) <= tol) | (steps >= max_steps) | ~usable
            factor = jnp.where(done, 1.0, 1 / jnp.sqrt(jnp.where(usable, variance, 1.0)))
            weights = [
                (w.astype(numerics.wide(w.dtype)) * f.astype(numerics.wide(w.dtype))).astype(
                    w.dtype
                )
                for w, f in ((w, jnp.where(layer == i, factor, 1.0)) for i, w in enumerate(weights))
            ]
            found = found.at[layer].set(variance)
            return weights, layer + done.astype(jnp.int32), jnp.where(done, 0, steps + 1), found

        weights = [jnp.asarray(leaves[i]) for i in at]
        start = (weights, jnp.int32(0), jnp.int32(0), jnp.zeros(len(at), jnp.float32))
        weights, _, _, found = lax.while_loop(lambda carry: carry[1] < len(at), again, start)
        _judge(found, names, tol, max_steps)
        for i, weight in zip(at, weights):
            leaves[i] = weight
        return jax.tree.unflatten(treedef, leaves)


def _layers(outputs: Any, params: Any, args: Any) -> list[str]:
    """The paths that ``outputs`` names, in its order."""
    names: list[str] = []

    def run(params: Any, args: Any) -> Any:
        out = outputs(params, *args)
        if not isinstance(out, dict) or not all(isinstance(name, str) for name in out):
            problem = f"outputs={check.shown(outputs)} returns {check.kind_of(out)}"
            expected = "a dict from the path of a weight to the output of its layer"
            check.refuse(problem, expected=expected, error=TypeError)
        names.extend(out)
        return list(out.values())

    jax.eval_shape(run, params, args)
    if not names:
        check.refuse("outputs returns no layers", expected="at least one")
    return names


def _judge(found: Any, names: list[str], tol: float, max_steps: int) -> None:
    if isinstance(found, jax.core.Tracer):
        return
    for name, variance in zip(names, np.asarray(found).tolist()):
        if not (np.isfinite(variance) and variance > 0):
            problem = f"the output of this layer has the variance {variance:.6g}"
            fix = "Pass key= to draw the weights, and more than one example"
            check.refuse(problem, expected="a positive one", fix=fix, path=name)
        if abs(variance - 1) > tol:
            problem = f"the variance is {variance:.6g} after {max_steps} steps"
            fix = "Set the biases to zero, or raise max_steps or tol"
            check.refuse(problem, expected=f"1 to within {tol:g}", fix=fix, path=name)
