"""Sophia."""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._transform import Transform, chain, transform
from gradkit.averages.ema import ema
from gradkit.transforms.hessian import hutchinson_estimator_diag_hessian
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights


@transform
def scale_by_sophia(
    b1: Any = 0.965,
    b2: Any = 0.99,
    eps: Any = 1e-8,
    gamma: Any = 0.01,
    clip_threshold: Any = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: Any = hutchinson_estimator_diag_hessian(),  # noqa: B008  a call is data, and cannot change
    mu_dtype: Any = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Rule:
    """Divide the averaged gradient by the averaged diagonal of the Hessian, and clip: Sophia's direction.

    **Rule** u = clip(m̂ / max(γ h, ε), ±c), m = ema(g; b1), debiased; h ← b2 h + (1 − b2) ĥ after every k-th step, from the first on; not debiased.

    **Remembers** ``moment`` and ``hessian`` (m and h; 8 bytes per parameter), and ``estimator``: what ``hessian_diagonal_fn`` does. Needs params, and what
    the estimator asks for.

    Args:
      b1: decay of the moment, in [0, 1).
      b2: decay of the diagonal, in [0, 1), applied every k-th step.
      eps: ε > 0, the least curvature.
      gamma: γ > 0; a larger one clips less.
      clip_threshold: c > 0, or None.
      update_interval: k ≥ 1.
      hessian_diagonal_fn: a transform from gradients to an estimate of the diagonal.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      verbose: print the share of numbers that are not clipped,
      print_win_rate_every_n_steps: every so many steps; 0 never.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_sophia(b2=0.5, gamma=1.0), jnp.ones(1)
      >>> loss = lambda w: 10 * jnp.sum(w**2)
      >>> updates, state = tx.update(jnp.ones(1), tx.init(w), w, obj_fn=loss)
      >>> assert updates[0] == 1.0  # no curvature yet: clipped
      >>> assert jnp.allclose(tx.update(jnp.ones(1), state, w, obj_fn=loss)[0], 1 / 10)  # h = ½ · 20

    **Differs** from the paper, as optax and the authors' code do: an estimate made at a step acts from the next one on, and m is debiased.

    Reference: Liu et al. 2023, https://arxiv.org/abs/2305.14342.
    """
    check.decay(b1=b1, b2=b2)
    check.positive(eps=eps, gamma=gamma)
    if clip_threshold is not None:
        check.positive(clip_threshold=clip_threshold)
    check.integer(1, update_interval=update_interval)
    check.integer(0, print_win_rate_every_n_steps=print_win_rate_every_n_steps)
    if not isinstance(hessian_diagonal_fn, Transform):
        check.fail(
            "needs a transform",
            repr(hessian_diagonal_fn),
            "Such as hutchinson_estimator_diag_hessian()",
            path="hessian_diagonal_fn",
            error=TypeError,
        )
    average, estimator = ema(b1, accumulator_dtype=mu_dtype).rule, hessian_diagonal_fn.rule
    every = print_win_rate_every_n_steps if verbose else 0

    def init(params: Any) -> Any:
        return {
            "moment": average.init(params),
            "hessian": tree.zeros_like(params),
            "estimator": estimator.init(params),
        }

    def update(updates: Any, state: Any, params: Any, *, step: Any, **extras: Any) -> Any:
        check.real_leaves(updates)
        check.params(params)
        like = tree.factor_like
        moments, moment = average.update(updates, state["moment"], params)
        result = tree.map(
            lambda m, h: m / jnp.maximum(like(gamma, h) * h, like(eps, h)),
            moments,
            state["hessian"],
        )
        if clip_threshold is not None:
            if every:
                _print_win_rate(result, clip_threshold, step, every)
            result = tree.map(
                lambda u: jnp.clip(u, -like(clip_threshold, u), like(clip_threshold, u)), result
            )

        def estimate(hessian: Any, kept: Any) -> Any:
            diagonal, kept = estimator.update(updates, kept, params, step=step, **extras)
            return tree.map(
                lambda h, d: like(b2, h) * h + like(1 - b2, h) * d, hessian, diagonal
            ), kept

        due = step % update_interval == 0
        hessian, kept = jax.lax.cond(
            due,
            estimate,
            lambda hessian, kept: (hessian, kept),
            state["hessian"],
            state["estimator"],
        )
        return result, {"moment": moment, "hessian": hessian, "estimator": kept}

    return Rule(init, update)


def _print_win_rate(updates: Any, threshold: Any, step: Any, every: int) -> None:
    inside = tree.total(tree.map(lambda u: jnp.sum(jnp.abs(u) < threshold), updates), updates)
    share = inside / max(tree.count(updates), 1)
    jax.lax.cond(
        (step + 1) % every == 0,
        lambda: jax.debug.print("sophia: {} of the numbers are not clipped", share),
        lambda: None,
    )


@transform
def sophia(
    learning_rate: Any,
    b1: Any = 0.965,
    b2: Any = 0.99,
    eps: Any = 1e-8,
    weight_decay: Any = 1e-4,
    weight_decay_mask: Any = None,
    gamma: Any = 0.01,
    clip_threshold: Any = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: Any = hutchinson_estimator_diag_hessian(),  # noqa: B008  a call is data, and cannot change
    mu_dtype: Any = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Transform:
    """Sophia: a diagonal Newton method with clipped steps.

    **Rule** Δθ = −α (clip(m̂ / max(γ h, ε), ±c) + λ θ), as in ``scale_by_sophia``.

    **Remembers** ``scale_by_sophia``: 8 bytes per parameter. Needs params, and the loss as ``obj_fn`` or ``value_fn``.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      b1: decay of the moment, in [0, 1).
      b2: decay of the diagonal, in [0, 1), applied every k-th step.
      eps: ε > 0, the least curvature.
      weight_decay: λ ≥ 0, a number or a schedule; decoupled.
      weight_decay_mask: which leaves decay.
      gamma: γ > 0; a larger one clips less.
      clip_threshold: c > 0, or None.
      update_interval: k ≥ 1.
      hessian_diagonal_fn: a transform from gradients to an estimate of the diagonal.
      mu_dtype: dtype of the moment's memory, or a `Store`.
      verbose: print the share of numbers that are not clipped,
      print_win_rate_every_n_steps: every so many steps; 0 never.

    Raises:
      ValueError: a number out of range, no params.
      TypeError: no loss function, complex updates.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> step = gk.make_step(lambda w: 10 * jnp.sum(w**2), gk.sophia(0.5, b2=0.5, gamma=1.0, weight_decay=0.0))
      >>> w, state, _ = step(jnp.ones(1), step.tx.init(jnp.ones(1)))
      >>> assert w[0] == 0.5

    **Differs** from the paper as ``scale_by_sophia`` does.

    Reference: Liu et al. 2023, https://arxiv.org/abs/2305.14342.
    """
    direction = scale_by_sophia(
        b1,
        b2,
        eps,
        gamma,
        clip_threshold,
        update_interval,
        hessian_diagonal_fn,
        mu_dtype,
        verbose,
        print_win_rate_every_n_steps,
    )
    return chain(
        direction,
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
