"""Gradient descent with another rate, noise, or another memory.

| | |
|---|---|
| ``noisy_sgd`` | noise that fades is added to the gradient |
| ``polyak_sgd`` | the rate is the gap to the least loss over ‖g‖² |
| ``madgrad`` | sums since the start, dual averaging with a cube root |
| ``asgd`` | the average of the iterates is kept, to evaluate with |
"""

from typing import Any

import jax.numpy as jnp

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._link import Rule
from gradkit._schedule import as_rate
from gradkit._transform import Transform, chain, stateless, transform
from gradkit.optimizers.momentum import sgd
from gradkit.transforms.decay import add_decayed_weights
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.shape import add_noise


@transform
def noisy_sgd(learning_rate: Any, eta: Any = 0.01, gamma: Any = 0.55, key: Any = None, *, seed: int | None = None) -> Transform:
    """Gradient descent on noisy gradients.

    **Rule** Δθ = −α (g + σ_t n), n ~ N(0, 1), σ_t² = η / t^γ, t = step + 1.

    **Remembers** ``add_noise.key``: the data of the next random key.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      eta: η ≥ 0, the variance at the first step.
      gamma: γ ≥ 0, how fast it fades.
      key: a seed or a random key.
      seed: the older name of ``key``.

    Raises:
      ValueError: arguments out of range, neither or both of ``key`` and ``seed``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.noisy_sgd(0.5, eta=4.0, key=0)
      >>> updates, _ = tx.update(jnp.ones(10_000), tx.init(jnp.zeros(10_000)))
      >>> assert abs(float(jnp.mean(updates)) + 0.5) < 0.05 and abs(float(jnp.std(updates)) - 1.0) < 0.05

    **Differs** from optax: a key is required.

    Reference: Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807.
    """
    if (key is None) == (seed is None):
        check.fail("needs a key", "none" if key is None else "a key and a seed", "Pass key=0 or key=jax.random.key(0)", path="key")
    return chain(add_noise(eta, gamma, seed if key is None else key), scale_by_learning_rate(learning_rate))


@transform
def scale_by_polyak(f_min: Any = 0.0, max_learning_rate: Any = 1.0, eps: Any = 0.0, variant: str = "sps") -> Rule:
    """Multiply by Polyak's step size.

    **Rule** u = g · min((f(θ) − f*) / (‖g‖² + ε), γ_max), the norm over the whole tree; u = 0 for g = 0. ``variant="sps+"``: (f − f*)₊ instead.

    **Remembers** nothing. Needs the extra ``value``: the loss f(θ).

    Args:
      f_min: f*, a lower bound of the loss.
      max_learning_rate: γ_max > 0.
      eps: ε ≥ 0.
      variant: ``"sps"`` or ``"sps+"``.

    Raises:
      ValueError: arguments out of range, another variant.
      TypeError: no ``value``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.scale_by_polyak(f_min=1.0)
      >>> assert jnp.allclose(tx.update(jnp.array([6.0, 8.0]), tx.init(jnp.zeros(2)), value=51.0)[0], jnp.array([3.0, 4.0]))

    **Differs** from optax, which takes every gradient shorter than 1.5e-8 for zero.

    Reference: Loizou et al. 2021, https://arxiv.org/abs/2002.10542; Garrigos et al. 2023, https://arxiv.org/abs/2307.14528.
    """
    check.finite(f_min=f_min)
    check.positive(max_learning_rate=max_learning_rate)
    check.non_negative(eps=eps)
    check.one_of(("sps", "sps+"), variant=variant)

    def update(updates: Any, params: Any, *, value: Any) -> Any:
        square = numerics.abs_sq(tree.norm(updates))
        gap = jnp.asarray(value, square.dtype) - f_min
        if variant == "sps+":
            gap = jnp.maximum(gap, 0.0)
        return tree.scale(updates, jnp.where(square == 0, 0.0, jnp.minimum(numerics.divide(gap, square + eps), max_learning_rate)))

    return stateless(update)


@transform
def polyak_sgd(max_learning_rate: Any = 1.0, scaling: Any = 1.0, f_min: Any = 0.0, eps: Any = 0.0, variant: str = "sps") -> Transform:
    """Gradient descent with Polyak's step size: as far as the loss could fall if it were linear.

    **Rule** Δθ = −s min((f(θ) − f*) / (‖g‖² + ε), γ_max) g.

    **Remembers** nothing. Needs the extra ``value``: the loss f(θ) (``make_step`` passes it).

    Args:
      max_learning_rate: γ_max > 0.
      scaling: s ≥ 0, a number or a schedule.
      f_min: f*, a lower bound of the loss.
      eps: ε ≥ 0.
      variant: ``"sps"``, or ``"sps+"`` which takes no steps uphill where the loss is below f*.

    Raises:
      ValueError: arguments out of range, another variant.
      TypeError: no ``value``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx = gk.polyak_sgd(scaling=0.5)
      >>> assert jnp.allclose(tx.update(jnp.array([6.0, 8.0]), tx.init(jnp.zeros(2)), value=50.0)[0], jnp.array([-1.5, -2.0]))

    **Differs** from optax, which scales the gradient before it measures its norm, so that half the ``scaling`` gives twice the step.

    Reference: Loizou et al. 2021, https://arxiv.org/abs/2002.10542; Garrigos et al. 2023, https://arxiv.org/abs/2307.14528.
    """
    return chain(scale_by_polyak(f_min, max_learning_rate, eps, variant), sgd(scaling))


@transform
def scale_by_madgrad(learning_rate: Any, momentum: Any = 0.9, eps: Any = 1e-6) -> Rule:
    """MADGRAD's steps: dual averaging from the start, with a cube root.

    **Rule** λ_t = (α + ε) √t, s += λ g, n += λ |g|², z = θ_0 − s / (∛n + ε), Δθ = (1 − ρ)(z − θ).

    **Remembers** ``sum`` (s), ``metric`` (n) and ``start`` (θ_0, from the first step on), float32 or wider: 12 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: ρ in [0, 1).
      eps: ε ≥ 0.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_madgrad(0.5, momentum=0.75, eps=0.0), jnp.full(1, 1.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 4.0), tx.init(w), w)[0], 0.25 * -0.5 * 4 / 8 ** (1 / 3))  # n = 0.5 · 16

    Reference: Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075.
    """
    check.non_negative(learning_rate=learning_rate, eps=eps)
    check.decay(momentum=momentum)

    def init(params: Any) -> Any:
        return {"sum": tree.zeros_like(params), "metric": tree.magnitudes_like(params), "start": tree.zeros_like(params)}

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        check.params(params)
        weight = (learning_rate + eps) * jnp.sqrt((step + 1).astype(numerics.scalar_dtype(updates)))

        begin = tree.from_start(step, memory["start"], params)

        def leaf(g: Any, p: Any, s: Any, n: Any, start: Any) -> Any:
            like = tree.factor_like
            s, n = s + like(weight, s) * g, n + like(weight, n) * numerics.abs_sq(g)
            return like(1 - momentum, p) * (start - numerics.divide(s, numerics.cbrt(n) + like(eps, n)) - p), s, n

        updates, s, n = tree.map(leaf, updates, params, memory["sum"], memory["metric"], begin, outputs=3)
        return updates, {"sum": s, "metric": n, "start": begin}

    return Rule(init, update)


@transform
def madgrad(learning_rate: Any, momentum: Any = 0.9, weight_decay: Any = 0.0, eps: Any = 1e-6) -> Transform:
    """MADGRAD: momentumized, adaptive, dual averaged gradients.

    **Rule** Δθ = (1 − ρ)(z − θ), z as in ``scale_by_madgrad``, fed g + λ θ.

    **Remembers** ``scale_by_madgrad``: 12 bytes per parameter. Needs params.

    Args:
      learning_rate: α ≥ 0, a number or a schedule.
      momentum: ρ in [0, 1).
      weight_decay: λ ≥ 0, coupled.
      eps: ε ≥ 0.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.madgrad(0.5, momentum=0.0, weight_decay=1.0, eps=0.0), jnp.full(1, 1.0)
      >>> assert jnp.allclose(tx.update(jnp.full(1, 3.0), tx.init(w), w)[0], -0.5 * 4 / 8 ** (1 / 3))

    Reference: Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075.
    """
    return chain(add_decayed_weights(weight_decay), scale_by_madgrad(as_rate(learning_rate), momentum, eps))


@transform
def scale_by_asgd(learning_rate: Any, lambd: Any = 1e-4, alpha: Any = 0.75, t0: Any = 1e6) -> Rule:
    """Averaged gradient descent's steps, and the average: the last link of a chain.

    **Rule** η_t = η / (1 + λ η t)^a, t = completed updates, Δθ = −η_t (g + λ θ); A ← A + (θ + Δθ − A) / max(1, t − t₀).

    **Remembers** ``average``: A (float32 or wider; 4 bytes per parameter), which ``eval_params`` gives from the first step on. Needs params.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      lambd: λ ≥ 0, decay of the parameters and of the rate.
      alpha: a ≥ 0, the power at which the rate falls.
      t0: t₀ ≥ 0, the step from which on the average is one; before it A is θ.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.scale_by_asgd(1.0, lambd=0.0, t0=0), jnp.zeros(1)
      >>> state = tx.init(w)
      >>> for g in (9.0, -1.0, -2.0, 0.0):  # the parameter goes to −9, −8, −6, −6
      ...     w, state = tx.apply(w, state, jnp.full(1, g))
      >>> assert w[0] == -6.0 and abs(float(gk.eval_params(tx, state, w)[0]) + 20 / 3) < 1e-5  # from −8 on

    Reference: Polyak and Juditsky 1992; torch.optim.ASGD.
    """
    check.non_negative(learning_rate=learning_rate, lambd=lambd, alpha=alpha, t0=t0)

    def update(updates: Any, memory: Any, params: Any, *, step: Any) -> Any:
        check.params(params)
        time = step.astype(numerics.scalar_dtype(updates))
        rate = learning_rate / (1 + lambd * learning_rate * time) ** alpha
        share = 1 / jnp.maximum(1.0, time - t0)

        def leaf(g: Any, p: Any, average: Any) -> Any:
            like = tree.factor_like
            step = -like(rate, g) * (g + like(lambd, p) * p)
            moved = p + step
            return step, jnp.where(share == 1, moved, average + like(share, p) * (moved - average))

        updates, average = tree.map(leaf, updates, params, memory["average"], outputs=2)
        return updates, {"average": average}

    return Rule(lambda params: {"average": tree.zeros_like(params)}, update, evaluate=lambda memory, params: memory["average"])


@transform
def asgd(learning_rate: Any = 0.01, lambd: Any = 1e-4, alpha: Any = 0.75, t0: Any = 1e6, weight_decay: Any = 0.0, mask: Any = None) -> Transform:
    """Averaged gradient descent: the last parameters train, their average is evaluated.

    **Rule** Δθ = −η_t (g + w θ + λ θ), η_t = η / (1 + λ η t)^a; ``eval_params`` gives the average of θ from step t₀ on.

    **Remembers** ``scale_by_asgd.average``: 4 bytes per parameter. Needs params.

    Args:
      learning_rate: η ≥ 0, a number or a schedule.
      lambd: λ ≥ 0, decay of the parameters and of the rate.
      alpha: a ≥ 0, the power at which the rate falls.
      t0: t₀ ≥ 0, the step from which on the average is one.
      weight_decay: w ≥ 0, coupled.
      mask: which leaves that decay is for.

    Raises:
      ValueError: arguments out of range, no params.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, w = gk.asgd(1.0, lambd=0.0, t0=0), jnp.zeros(1)
      >>> state = tx.init(w)
      >>> for g in (9.0, -1.0, -2.0, 0.0):
      ...     w, state = tx.apply(w, state, jnp.full(1, g))
      >>> assert w[0] == -6.0 and abs(float(gk.eval_params(tx, state, w)[0]) + 20 / 3) < 1e-5

    Reference: Polyak and Juditsky 1992; torch.optim.ASGD, whose names and defaults these are.
    """
    return chain(add_decayed_weights(weight_decay, mask), scale_by_asgd(as_rate(learning_rate), lambd, alpha, t0))
