"""PSGD Kron: Kronecker factors that are fitted by gradient descent to whiten the gradient.

Δθ_t = −α_t · clip(Q_Lᵀ Q_L m̂_t Q_Rᵀ Q_R)        m = ema(g; b1)
Q ← Q − μ (A Aᵀ − B Bᵀ) Q / ‖A Aᵀ + B Bᵀ‖ for each side
A = Q_L m̂ Q_Rᵀ        B = Q_L^(−T) n Q_R^(−1)

φ is ``ema``; P = QᵀQ takes the place of ψ. It needs no matrix root and no eigenvectors: at its
fixed point P is the inverse root of the covariance of the gradient. n is white noise.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit import _tree as tree
from gradkit._chain import chain
from gradkit._part import Part, gate
from gradkit._rule import Rule
from gradkit._transform import Transform, transform
from gradkit.averages.ema import ema
from gradkit.linalg import axes, whitening
from gradkit.schedules.decay import exponential_decay
from gradkit.stores import as_store
from gradkit.transforms.scale import scale_by_learning_rate
from gradkit.transforms.weight_decay import add_decayed_weights
from gradkit.typing import Key, Mask, Rate, StoreLike

_MODES = ("smart_one_diag", "one_diag", "all_diag")
# 1 for 500 steps, then exp(−(step − 500) / 1000), at least 0.03.
_PROBABILITY = exponential_decay(1.0, 1000, math.exp(-1.0), 500, end_value=0.03)


@transform
def scale_by_psgd_kron(
    b1: Rate = 0.9,
    preconditioner_update_probability: Rate = _PROBABILITY,
    max_size_triangular: int = 8192,
    min_ndim_triangular: int = 2,
    memory_save_mode: str | None = None,
    momentum_into_precond_update: bool = True,
    preconditioner_lr: Rate = 0.1,
    preconditioner_init_scale: float = 1.0,
    mu_dtype: StoreLike = None,
    precond_dtype: StoreLike = None,
    *,
    q_update: str = "triangular",
    key: Key = 0,
) -> Rule:
    """Precondition by PSGD: multiply by Kronecker factors that are fitted to whiten the gradient.

    **Update rule** u = v / max(1, rms(v) / 1.1), v = m̂ ×₁ Q₁ᵀQ₁ ... ×_k Q_kᵀQ_k, m = ema(g; b1)
    debiased. An update of the factors draws white noise n and, with ``q_update="triangular"``, for
    each axis takes Q_i ← Q_i − μ triu(A_(i) A_(i)ᵀ − B_(i) B_(i)ᵀ) Q_i / ‖A_(i) A_(i)ᵀ + B_(i)
    B_(i)ᵀ‖, where A = m̂ ×₁ Q₁ ... ×_k Q_k and B = n ×₁ Q₁^(−T) ... ×_k Q_k^(−T). With
    ``q_update="procrustes"``, Q_i ← Q_i − (μ / L_i)(v_(i) v_(i)ᵀ − (N / n_i) I) Q_i for a leaf of
    N elements, and a rotation moves Q_i towards a symmetric matrix; L_i is a running bound of the
    norm. A diagonal factor is updated in the same way, elementwise.

    The factors are updated when 1/p steps have passed since the last time.

    **State** ``moment.average`` (as the leaf; 4 bytes per parameter); ``factors``, a tuple with one
    array for each axis of length n (n × n, or n where it is diagonal; float32 or wider, or
    ``precond_dtype``); ``lipschitz`` (procrustes: one number for each factor); ``since``, the steps
    since the last update of the factors; ``key``. For an m × n matrix 4 + 4 (m/n + n/m) bytes per
    parameter, for a square one 12.

    Args:
      b1: Decay of the moment, in [0, 1).
      preconditioner_update_probability: p in (0, 1]: the share of steps that update the factors. By
        default 1 for 500 steps, then falling to 0.03.
      max_size_triangular: Longest axis with a matrix factor, ≥ 1; longer ones have diagonal ones.
      min_ndim_triangular: Least rank of a leaf with matrix factors, ≥ 0; others have diagonal ones.
      memory_save_mode: None; ``"one_diag"`` for a diagonal factor of the longest axis;
        ``"smart_one_diag"`` only if it is longer than all others; ``"all_diag"`` for all.
      momentum_into_precond_update: Fit the factors to m̂, otherwise to g.
      preconditioner_lr: μ > 0, the rate at which the factors are fitted.
      preconditioner_init_scale: The factors start so that Q₁ ⊗ ... ⊗ Q_k is this number times I.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      precond_dtype: Dtype of the factors, or a `Store`.
      q_update: ``"triangular"`` (dQ = E Q in the group of triangular matrices, with triangular
        solves) or ``"procrustes"`` (dQ = Q^½ E Q^(3/2), products only).
      key: A seed, a random key, or the data of one, for the noise.

    Raises:
      ValueError: An argument out of range.
      TypeError: Complex updates; ``key`` is not a key.

    Example:
      >>> import gradkit as gk, jax, jax.numpy as jnp
      >>> tx = gk.scale_by_psgd_kron(b1=0.0, preconditioner_update_probability=1.0)
      >>> g = jnp.diag(jnp.array([100.0, 1.0]))
      >>> noise = jax.random.rademacher(jax.random.key(0), (300, 2, 2), float)
      >>> state, _ = jax.lax.scan(lambda s, n: (tx.update(n @ g, s)[1], None), tx.init(g), noise)
      >>> u, _ = tx.update(g, state)  # both directions have the same size
      >>> assert 0.5 < u[0, 0] / u[1, 1] < 2.0

    Derivatives take the factors as constants.

    **Differs from the authors' code**: the noise comes from ``key`` and its state; the factors are
    balanced at every update, which does not change their product; the damping has an absolute part
    of 1e-9, so that they stay finite without gradients.

    Reference: Li 2018, https://arxiv.org/abs/1512.04202; Pooladzandi and Li 2024,
    https://arxiv.org/abs/2402.04553; https://github.com/lixilinx/psgd_torch.
    """
    check.decay(b1=b1)
    check.number(
        "0 < x <= 1",
        lambda v: (v > 0) & (v <= 1),
        preconditioner_update_probability=preconditioner_update_probability,
    )
    check.integer(1, max_size_triangular=max_size_triangular)
    check.integer(0, min_ndim_triangular=min_ndim_triangular)
    if memory_save_mode is not None:
        check.one_of(_MODES, memory_save_mode=memory_save_mode)
    check.positive(
        preconditioner_lr=preconditioner_lr, preconditioner_init_scale=preconditioner_init_scale
    )
    check.one_of(("triangular", "procrustes"), q_update=q_update)
    store = as_store(precond_dtype, "precond_dtype", keyed=False)
    first = numerics.as_key(key)
    part = Part("moment", ema(b1, accumulator_dtype=mu_dtype))
    bounded = q_update == "procrustes"

    def start(p: Any) -> Any:
        """The factors of a leaf: multiples of the identity."""
        if p.size == 0:
            return ()
        scale = preconditioner_init_scale ** (1 / max(p.ndim, 1))
        if p.ndim == 1 and diagonals(p.shape)[0]:
            return (scale * tree.zeros_like(p, 1.0),)
        return tuple(
            scale * (jnp.ones(n, p.dtype) if diagonal else jnp.eye(n, dtype=p.dtype))
            for n, diagonal in zip(p.shape or (1,), diagonals(p.shape), strict=True)
        )

    def diagonals(shape: tuple[int, ...]) -> list[bool]:
        """Which axes of a leaf have diagonal factors."""
        rank, longest = len(shape), int(np.argsort(shape)[-1]) if shape else 0
        saved = {
            None: lambda i: False,
            "one_diag": lambda i: i == longest,
            "smart_one_diag": lambda i: i == longest and rank > 1 and shape.count(shape[i]) == 1,
            "all_diag": lambda i: True,
        }[memory_save_mode]
        return [
            n == 1 or n > max_size_triangular or rank < min_ndim_triangular or saved(i)
            for i, n in enumerate(shape or (1,))
        ]

    def init(params: Any, *, context: Any) -> Any:
        factors = jax.tree.map(start, params)
        state = {
            "moment": part.init(params, context=context),
            "factors": jax.tree.map(store.encode, factors),
            "since": jnp.zeros((), jnp.int32),
            "key": numerics.key_data(first),
        }
        if bounded:
            state["lipschitz"] = jax.tree.map(lambda q: jnp.zeros((), q.dtype), factors)
        return state

    def decoded(x: Any, stored: Any) -> Any:
        """The factors of a leaf in its dtype."""
        shapes = ((n,) if one else (n, n) for n, one in zip(x.shape or (1,), diagonals(x.shape)))
        return tuple(
            store.decode(axes.whole(kept), jnp.zeros(shape, x.dtype))
            for kept, shape in zip(stored, shapes)
        )

    def fit(carry: Any, operands: Any) -> Any:
        """One update of all factors."""
        factors, bounds, data = carry
        inputs, rate = lax.stop_gradient(operands)
        following, (now,) = numerics.split_key(data, first, 1)
        treedef: Any
        leaves, treedef = jax.tree.flatten(inputs)
        keys = jax.random.split(now, max(len(leaves), 1))

        def single(x: Any, key: Any, stored: Any, bound: Any) -> Any:
            old = decoded(x, stored)
            x = x.reshape(x.shape or (1,))
            noise = jax.random.normal(key, x.shape, x.dtype)
            damping = _SQRT_EPS * jnp.mean(jnp.abs(x)) + 1e-9
            rule = whitening.procrustes if bounded else whitening.triangular
            new, limit = rule(old, x + damping * noise, noise, bound, tree.factor_like(rate, x))
            return tuple(map(store.encode, whitening.balanced(new))), limit

        columns = map(treedef.flatten_up_to, lax.stop_gradient((factors, bounds)))
        inside = [map(axes.whole, leaves), keys, *columns]
        rows = jax.tree.map(axes.whole, list(zip(*inside, strict=len(leaves) > 0)))
        groups: dict[Any, list[int]] = {}
        for i, x in enumerate(leaves):
            groups.setdefault((x.shape, x.dtype), []).append(i)
        results: dict[int, Any] = {}
        for members in groups.values():  # leaves of one shape are compiled once
            if leaves[members[0]].size == 0:
                results |= dict.fromkeys(members, ((), ()))
            elif len(members) == 1:
                results[members[0]] = single(*rows[members[0]])
            else:
                stack = jax.tree.map(lambda *x: jnp.stack(x), *(rows[i] for i in members))
                found = jax.vmap(single)(*stack)
                for j, i in enumerate(members):
                    results[i] = jax.tree.map(lambda x, j=j: x[j], found)
        pairs = [results[i] for i in range(len(leaves))]
        after = zip(*pairs, strict=True) if pairs else ((), ())
        new = lax.stop_gradient(tuple(treedef.unflatten(each) for each in after))
        return (*jax.tree.map(axes.placed, new, (factors, bounds)), following)

    def update(updates: Any, state: Any, params: Any, *, context: Any) -> Any:
        check.real_leaves(updates)
        moments, moment = part.update(updates, state["moment"], params, context=context)
        since = state["since"] + 1
        chance = tree.scalar(preconditioner_update_probability, updates)
        due = since.astype(chance.dtype) >= 1.0 / chance
        inputs = moments if momentum_into_precond_update else updates
        bounds = state["lipschitz"] if bounded else jax.tree.map(lambda x: (), updates)
        factors, bounds, data = gate(
            due,
            fit,
            (state["factors"], bounds, state["key"]),
            (inputs, preconditioner_lr),
            pure=True,
        )

        def leaf(m: Any, stored: Any) -> Any:
            if m.size == 0:
                return m
            v = axes.whole(m).reshape(m.shape or (1,))
            for axis, q in enumerate(decoded(m, stored)):
                v = whitening.times(whitening.times(v, q, axis), q.T, axis)
            v = (v / jnp.maximum(1.0, numerics.rms(v) / 1.1)).reshape(m.shape)
            return axes.placed(v, m)

        after = {
            "moment": moment,
            "factors": factors,
            "since": jnp.where(due, 0, since),
            "key": data,
        }
        return tree.map(leaf, moments, factors), after | ({"lipschitz": bounds} if bounded else {})

    return Rule(init, update, parts=(part,), held_fixed="the preconditioner")


_SQRT_EPS = float(np.finfo(np.float32).eps ** 0.5)


@transform
def psgd_kron(
    learning_rate: Rate,
    b1: Rate = 0.9,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask | None = None,
    preconditioner_update_probability: Rate = _PROBABILITY,
    max_size_triangular: int = 8192,
    min_ndim_triangular: int = 2,
    memory_save_mode: str | None = None,
    momentum_into_precond_update: bool = True,
    preconditioner_lr: Rate = 0.1,
    preconditioner_init_scale: float = 1.0,
    mu_dtype: StoreLike = None,
    precond_dtype: StoreLike = None,
    *,
    q_update: str = "triangular",
    key: Key = 0,
) -> Transform:
    """PSGD Kron: Kronecker-factored preconditioned SGD, whose factors whiten the gradient.

    **Update rule** Δθ = −α (u + λ θ), u as in ``scale_by_psgd_kron``: for a matrix
    u = Q_Lᵀ Q_L m̂ Q_Rᵀ Q_R, its rms at most 1.1.

    **State** That of ``scale_by_psgd_kron``: 4 + 4 (m/n + n/m) bytes per parameter of an m × n
    matrix.

    Common learning rates are a third of those of Adam.

    Args:
      learning_rate: α ≥ 0, or a schedule.
      b1: Decay of the moment, in [0, 1).
      weight_decay: λ ≥ 0, decoupled: λ θ is added before the learning rate is applied.
      weight_decay_mask: Leaves that decay: see `gradkit.masks`.
      preconditioner_update_probability: p in (0, 1]: the share of steps that update the factors. By
        default 1 for 500 steps, then falling to 0.03.
      max_size_triangular: Longest axis with a matrix factor, ≥ 1; longer ones have diagonal ones.
      min_ndim_triangular: Least rank of a leaf with matrix factors, ≥ 0; others have diagonal ones.
      memory_save_mode: None, ``"one_diag"``, ``"smart_one_diag"`` or ``"all_diag"``: see
        ``scale_by_psgd_kron``.
      momentum_into_precond_update: Fit the factors to m̂, otherwise to g.
      preconditioner_lr: μ > 0, the rate at which the factors are fitted.
      preconditioner_init_scale: The factors start so that Q₁ ⊗ ... ⊗ Q_k is this number times I.
      mu_dtype: Dtype of the moment's state, or a `Store`; by default that of the update, at least
        float32.
      precond_dtype: Dtype of the factors, or a `Store`.
      q_update: ``"triangular"`` or ``"procrustes"``: see ``scale_by_psgd_kron``.
      key: A seed, a random key, or the data of one, for the noise.

    Raises:
      ValueError: An argument out of range; missing params with weight decay.
      TypeError: Complex updates; ``key`` is not a key.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> tx, g = gk.psgd_kron(0.5, b1=0.0), jnp.full((3, 3), 1e3)
      >>> u, _ = tx.update(g, tx.init(g))  # the first factors are near I, and the rms is clipped
      >>> assert jnp.allclose(u, -0.5 * 1.1, rtol=0.2)

    **Differs from the authors' code** as ``scale_by_psgd_kron`` does. Pass stacked layers through
    ``jax.vmap`` of ``update``, or as leaves of their own, in place of its ``scanned_layers``.

    Reference: Li 2018, https://arxiv.org/abs/1512.04202; https://github.com/lixilinx/psgd_torch.
    """
    return chain(
        scale_by_psgd_kron(
            b1,
            preconditioner_update_probability,
            max_size_triangular,
            min_ndim_triangular,
            memory_save_mode,
            momentum_into_precond_update,
            preconditioner_lr,
            preconditioner_init_scale,
            mu_dtype,
            precond_dtype,
            q_update=q_update,
            key=key,
        ),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
