"""Sophia: the averaged gradient over an average of the Hessian's diagonal, clipped.

Δθ_t = −α_t · (clip(m̂_t / max(γ h_t, ε), ±c) + λ θ_t)      m = ema(g; b1)      h = ema(ĥ; b2)

φ = ``ema``, ψ = ``ema`` of an estimate ĥ of the Hessian's diagonal, updated every k-th step.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part, gate
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.stores import IDENTITY, averages
from gradkit.transforms.hessian import hutchinson_estimator_diag_hessian
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Mask, Rate, StoreLike


@transform
def scale_by_sophia(
    b1: Rate = 0.965,
    b2: Rate = 0.99,
    eps: Rate = 1e-8,
    gamma: Rate = 0.01,
    clip_threshold: Rate | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: Transform = hutchinson_estimator_diag_hessian(),  # noqa: B008  immutable
    mu_dtype: StoreLike = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Rule:
    """Compute Sophia's direction: the moment over the Hessian's diagonal, clipped elementwise.

    **Update rule** u = clip(m̂ / max(γ h, ε), ±c), m = ema(g; b1), debiased. After every k-th step,
    the first included, h ← b2 h + (1 − b2) ĥ; h is not debiased.

    **State** ``moment`` and ``hessian`` (m and h; float32 or wider; 8 bytes per parameter), and
    ``estimator``: the state of ``hessian_diagonal_fn``. Needs params, and the extra arguments of
    the estimator.

    Args:
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1), applied every k-th step.
      eps: ε > 0, the least curvature.
      gamma: γ > 0; a larger one clips fewer elements.
      clip_threshold: c > 0, or None for no clipping.
      update_interval: k ≥ 1, in steps.
      hessian_diagonal_fn: a transform from gradients to an estimate of the Hessian's diagonal.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      verbose: print the fraction of elements that are not clipped.
      print_win_rate_every_n_steps: the number of steps between two prints; 0 for none.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: complex updates, or a ``hessian_diagonal_fn`` that is not a transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_sophia(b2=0.5, gamma=1.0), jnp.ones(1)
      >>> loss = lambda w: 10 * jnp.sum(w**2)
      >>> updates, state = tx.update(jnp.ones(1), tx.init(w), w, obj_fn=loss)
      >>> assert updates[0] == 1.0  # no curvature yet: clipped
      >>> updates, _ = tx.update(jnp.ones(1), state, w, obj_fn=loss)
      >>> assert jnp.allclose(updates, 1 / 10)  # h = ½ · 20

    **Differs from the paper**, as optax and the authors' code do: an estimate computed at a step is
    used from the next step on, and m is debiased.

    Reference: Liu et al. 2023, https://arxiv.org/abs/2305.14342.
    """
    check.decay(b1=b1, b2=b2)
    check.positive(eps=eps, gamma=gamma)
    if clip_threshold is not None:
        check.positive(clip_threshold=clip_threshold)
    check.integer(1, update_interval=update_interval)
    check.integer(0, print_win_rate_every_n_steps=print_win_rate_every_n_steps)
    if not isinstance(hessian_diagonal_fn, Transform):
        check.refuse(
            f"hessian_diagonal_fn={hessian_diagonal_fn!r} is not a transform",
            expected="a transform from gradients to an estimate of the Hessian's diagonal",
            fix="Pass for example hutchinson_estimator_diag_hessian()",
            error=TypeError,
        )
    first = Part("moment", ema(b1, accumulator_dtype=mu_dtype))
    estimator = Part("estimator", hessian_diagonal_fn)
    every = print_win_rate_every_n_steps if verbose else 0

    def init(params: Any, *, context: Any) -> Any:
        return {
            "moment": first.init(params, context=context),
            "hessian": tree.zeros_like(params),
            "estimator": estimator.init(params, context=context),
        }

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        check.real_leaves(updates)
        check.params(params)
        like = tree.factor_like
        moments, moment = first.update(updates, state["moment"], params, context=context)
        result = tree.map(
            lambda m, h: m / jnp.maximum(like(gamma, h) * h, like(eps, h)),
            moments,
            state["hessian"],
        )
        if clip_threshold is not None:
            if every:
                _print_win_rate(result, clip_threshold, context.step, every)
            result = tree.map(
                lambda u: jnp.clip(u, -like(clip_threshold, u), like(clip_threshold, u)), result
            )

        def average_in(h: Any, diagonal: Any) -> Any:
            return like(b2, h) * h + (1 - like(b2, h)) * diagonal

        def estimate(carry: Any, operands: Any) -> Any:
            hessian, kept = carry
            diagonal, kept = estimator.update(updates, kept, params, context=context)
            return tree.map(average_in, hessian, diagonal), kept

        due = context.step % update_interval == 0
        carry = (state["hessian"], state["estimator"])
        hessian, estimator_state = gate(due, estimate, carry, (), pure=False)
        return result, {"moment": moment, "hessian": hessian, "estimator": estimator_state}

    kept = averages(IDENTITY, "hessian")
    return Rule(init, update, parts=(first, estimator), averages=kept)


def _print_win_rate(updates: Any, threshold: Any, step: Any, every: int) -> None:
    inside = tree.total(tree.map(lambda u: jnp.sum(jnp.abs(u) < threshold), updates), updates)
    share = inside / max(tree.count(updates), 1)
    jax.lax.cond(
        (step + 1) % every == 0,
        lambda: jax.debug.print("sophia: {} of the elements are not clipped", share),
        lambda: None,
    )


@transform
def sophia(
    learning_rate: Rate,
    b1: Rate = 0.965,
    b2: Rate = 0.99,
    eps: Rate = 1e-8,
    weight_decay: Rate = 1e-4,
    weight_decay_mask: Mask | None = None,
    gamma: Rate = 0.01,
    clip_threshold: Rate | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: Transform = hutchinson_estimator_diag_hessian(),  # noqa: B008  immutable
    mu_dtype: StoreLike = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Transform:
    """Sophia: a second-order method that clips a diagonal Newton step, for language models.

    **Update rule** Δθ = −α (clip(m̂ / max(γ h, ε), ±c) + λ θ), as in ``scale_by_sophia``.

    **State** ``scale_by_sophia``: 8 bytes per parameter. Needs params, and the loss as a function
    of params in the extra argument ``obj_fn`` or ``value_fn`` (``make_step`` passes it).

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      b2: Decay of the preconditioner, in [0, 1), applied every k-th step.
      eps: ε > 0, the least curvature.
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      weight_decay_mask: Leaves that decay: see `gradkit.masks`.
      gamma: γ > 0; a larger one clips fewer elements.
      clip_threshold: c > 0, or None for no clipping.
      update_interval: k ≥ 1, in steps.
      hessian_diagonal_fn: a transform from gradients to an estimate of the Hessian's diagonal.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      verbose: print the fraction of elements that are not clipped.
      print_win_rate_every_n_steps: the number of steps between two prints; 0 for none.

    Raises:
      ValueError: an argument out of range, or no params.
      TypeError: no loss function, complex updates, or a ``hessian_diagonal_fn`` that is not a
        transform.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.sophia(0.5, b2=0.5, gamma=1.0, weight_decay=0.0)
      >>> step = gk.make_step(lambda w: 10 * jnp.sum(w**2), tx)
      >>> w, state, _ = step(jnp.ones(1), step.tx.init(jnp.ones(1)))
      >>> assert w[0] == 0.5

    **Differs from the paper** as ``scale_by_sophia`` does.

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
