"""Dropout and its relatives: noise of mean one (or zero) on activations and weights.

| | y in training |
|---|---|
| ``dropout`` | x m / (1 − p), P(m = 1) = 1 − p; classic: x m, and x (1 − p) at inference |
| ``drop_path`` | the same with one m per example |
| ``drop_block`` | x m n / Σ m, m zero on blocks |
| ``alpha_dropout`` | a (m ? x : α') + b, which keeps mean 0 and variance 1 |
| ``gaussian_dropout`` | x (1 + √(p / (1 − p)) z), z normal |
| ``gaussian_noise`` | x + σ z |

A rate p is a number or an array, traced or not, so a schedule of rates compiles once. 0 gives the
input and 1 gives zeros, both exactly and with finite derivatives. A dropped value is replaced, not
multiplied by zero, so a dropped NaN or infinity has no effect. The mask is a function of key and
shape: it is the same eager and compiled, on one device and on many. Under explicit sharding it is
sharded like its input.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.arguments import (
    as_array,
    as_axes,
    as_key,
    check_flag,
    check_number,
    is_static,
)
from gradkit.nn.functional.random import bernoulli, draw_like, sharding_like
from gradkit.typing import Key

_ALPHA = -1.7580993408473766  # −λα of SELU: the limit of a saturated unit


def _prepare(
    x: Any,
    rate: Any,
    key: Any,
    deterministic: Any,
    broadcast_dims: Any = (),
    *,
    name: str = "rate",
    use: str = "the mask",
) -> tuple[jax.Array, jax.Array, Any, tuple[int, ...]]:
    """Input, rate (float32 or wider, of rank 0 or of the input's), key, and shape of the mask."""
    x = as_array(x, floating=True)
    check_number(rate, name, check.probability if name == "rate" else check.non_negative)
    check_flag(deterministic, "deterministic")
    shared = as_axes(x.ndim, broadcast_dims, "broadcast_dims")
    shape = tuple(1 if axis in shared else size for axis, size in enumerate(x.shape))
    sizes = jnp.shape(rate)
    if len(sizes) not in {0, x.ndim}:
        problem = f"{name} has {len(sizes)} axes"
        fix = f"Add axes of size one, such as {name}[:, None]"
        check.refuse(problem, expected=f"none, or the {x.ndim} of the input", fix=fix)
    if any(size not in {1, full} for size, full in zip(sizes, shape, strict=False)):
        problem = f"{name} of shape {list(sizes)} does not broadcast to the shape of {use}"
        check.refuse(problem, expected=f"axes of size one or of {list(shape)}")
    needless = is_static(rate, 0) or (is_static(rate, 1) and name == "rate")
    if key is not None or not (deterministic or needless):
        key = as_key(key, use)
    p = jnp.asarray(rate, numerics.real(numerics.wide(x.dtype)))
    sharding = sharding_like(x, p.shape) if p.ndim else None
    return x, p if sharding is None else jax.sharding.reshard(p, sharding), key, shape


def _draw_mask(x: jax.Array, key: jax.Array, rate: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return draw_like(x, shape, lambda key, rate: bernoulli(key, rate, shape), key, rate)


def _draw_normal(x: jax.Array, key: jax.Array, dtype: Any) -> jax.Array:
    return draw_like(x, x.shape, lambda key: jax.random.normal(key, x.shape, dtype), key)


def _drop(x: jax.Array, mask: jax.Array, rate: jax.Array, *, rescale: bool = True) -> jax.Array:
    """``x`` / (1 − p) where the mask is True, 0 elsewhere, in the dtype of ``x``."""
    scaled = x
    if rescale:
        share = 1 - rate
        # At rate 1 the mask is all False: no division by zero, also in derivatives.
        share = jnp.where(share > 0, share, jnp.ones_like(share))
        wide = x.astype(numerics.wider(x.dtype, share.dtype))
        scaled = (wide / share.astype(wide.dtype)).astype(x.dtype)
    return jnp.where(mask, scaled, jnp.zeros_like(x))


def _zero_at_rate_one(x: jax.Array, p: jax.Array) -> jax.Array:
    """``x``, or zeros at rate 1, where zero times infinity would be NaN."""
    return jnp.where(p < 1, x, jnp.zeros_like(x))


def dropout(
    x: jax.Array,
    rate: ArrayLike,
    key: Key | None = None,
    *,
    broadcast_dims: Sequence[int] = (),
    deterministic: bool = False,
    classic: bool = False,
) -> jax.Array:
    """Apply dropout: set each element to zero with probability ``rate``.

    **Value** y = x m / (1 − p), m ~ Bernoulli(1 − p), and x at inference; ``classic``: y = x m, and
    x (1 − p) at inference. In both forms the mean in training is the value at inference.

    Args:
      x: the input, floating, of any shape.
      rate: p in [0, 1], the probability of zero: a number, or an array with the rank of ``x`` whose
        axes have size one or that of the mask. It may be traced.
      key: a random key or a seed; not needed when deterministic or when the rate is the number 0 or
        1.
      broadcast_dims: axes that share a mask: (1, 2) drops whole channels of images [batch, height,
        width, channel].
      deterministic: True at inference.
      classic: scale at inference instead of in training.

    Returns:
      y, of the shape and dtype of ``x``.

    Raises:
      ValueError: a rate outside [0, 1] or of a shape that does not broadcast to the mask, an axis
        that ``x`` does not have.
      TypeError: a missing key, an input of integers, a flag that is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.dropout(jnp.ones(1000), 0.75, jax.random.key(0))
      >>> assert set(y.tolist()) == {0.0, 4.0} and abs(float(y.mean()) - 1) < 0.2

    **Differs from Flax**: a rate may be traced, and bfloat16 is divided in float32 (Flax rounds 1 −
    p to bfloat16 first).

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """
    with check.inside("dropout"):
        x, p, used, shape = _prepare(x, rate, key, deterministic, broadcast_dims)
        check_flag(classic, "classic")
    if is_static(rate, 0) or (deterministic and not classic):
        return x
    if is_static(rate, 1):
        return jnp.zeros_like(x)
    if deterministic:
        work = numerics.wider(x.dtype, p.dtype)
        return (_zero_at_rate_one(x, p).astype(work) * (1 - p).astype(work)).astype(x.dtype)
    return _drop(x, _draw_mask(x, used, p, shape), p, rescale=not classic)


def drop_path(
    x: jax.Array, rate: ArrayLike, key: Key | None = None, *, deterministic: bool = False
) -> jax.Array:
    """Apply stochastic depth (drop path): drop whole examples of a residual branch.

    **Value** y = x m / (1 − p), one m ~ Bernoulli(1 − p) per example of the first axis.

    Args:
      x: the branch, floating, of shape [batch, ...].
      rate: p in [0, 1]; may be traced.
      key: a random key or a seed; not needed when deterministic or when the rate is the number 0 or
        1.
      deterministic: True at inference.

    Returns:
      y, of the shape and dtype of ``x``.

    Raises:
      ValueError: a rate outside [0, 1] or of a shape that does not broadcast to the mask.
      TypeError: a missing key, an input of integers, a flag that is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.drop_path(jnp.ones((6, 3)), 0.5, jax.random.key(0))
      >>> assert all(row in ([0.0] * 3, [2.0] * 3) for row in y.tolist())

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """
    with check.inside("drop_path"):
        array = as_array(x, floating=True)
        shared = range(1, array.ndim)
        x, p, used, shape = _prepare(array, rate, key, deterministic, shared)
    if deterministic or is_static(rate, 0):
        return x
    if is_static(rate, 1):
        return jnp.zeros_like(x)
    return _drop(x, _draw_mask(x, used, p, shape), p)


def drop_block(
    x: jax.Array,
    rate: ArrayLike,
    key: Key | None = None,
    *,
    block_size: int,
    deterministic: bool = False,
) -> jax.Array:
    """Apply DropBlock: drop blocks of neighbouring positions, independently in every channel.

    **Value** seeds with probability γ at the centres where a block fits; m is zero on the blocks
    around them; y = x m n / Σ m. γ solves mean (1 − γ)^c = 1 − p over the positions, c the number
    of blocks that cover one.

    Args:
      x: the input, floating, of shape [batch, positions..., channels].
      rate: p in [0, 1], the expected share of dropped positions; one number, may be traced.
      key: a random key or a seed; not needed when deterministic or when the rate is the number 0 or
        1.
      block_size: b >= 1, the side of a block, in positions; cut to the side of the input. 1 is
        dropout.
      deterministic: True at inference.

    Returns:
      y, of the shape and dtype of ``x``.

    Raises:
      ValueError: a rate outside [0, 1] or not one number, a block size below 1, an input without
        positions.
      TypeError: a missing key, an input of integers, a flag that is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.drop_block(jnp.ones((1, 8, 1)), 0.3, jax.random.key(1), block_size=3)
      >>> runs = "".join("0" if v == 0 else "1" for v in y.ravel().tolist()).strip("1").split("1")
      >>> assert all(len(run) == 0 or len(run) >= 3 for run in runs)

    **Differs from the paper**, whose γ = p / b^k · Π s_i / Π (s_i − b + 1) holds for small rates
    only: at p = 0.9 it drops about 0.6.

    Reference: Ghiasi, Lin and Le 2018, https://arxiv.org/abs/1810.12890.
    """
    with check.inside("drop_block"):
        x, p, used, _ = _prepare(x, rate, key, deterministic)
        check.integer(1, block_size=block_size)
        if x.ndim < 3:
            problem = f"x has the shape {list(x.shape)}"
            check.refuse(problem, expected="[batch, positions..., channels]")
        if p.ndim:
            check.refuse(f"rate has the shape {list(p.shape)}", expected="one number")
    if deterministic or is_static(rate, 0):
        return x
    if is_static(rate, 1):
        return jnp.zeros_like(x)
    sizes = x.shape[1:-1]
    blocks = [min(int(block_size), size) for size in sizes]
    fits = [size - block + 1 for size, block in zip(sizes, blocks, strict=True)]

    def draw(key: jax.Array, chance: jax.Array) -> jax.Array:
        seeds = ~bernoulli(key, chance, (x.shape[0], *fits, x.shape[-1]))
        # A seed at i drops i … i + b − 1: the maximum over the window that ends at a position.
        padding = [(0, 0), *((block - 1, block - 1) for block in blocks), (0, 0)]
        window = (1, *blocks, 1)
        return ~lax.reduce_window(seeds, False, lax.bitwise_or, window, (1,) * x.ndim, padding)

    chance = _seed_probability(rate if isinstance(rate, (int, float)) else p, fits, blocks)
    mask = draw_like(x, x.shape, draw, used, chance)
    count = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1)
    return _drop(x, mask, 1 - count.astype(p.dtype) / x.size)


def _seed_probability(rate: Any, fits: Sequence[int], blocks: Sequence[int]) -> Any:
    """γ such that mean (1 − γ)^c = 1 − p, c the number of seeds that reach a position.

    Newton's method for log(1 − γ). log mean exp(c ·) is convex and increasing, so from 0 each
    iteration comes closer and none overshoots.
    """
    if max(blocks, default=1) == 1:
        return rate
    reach = np.ones(1)
    for fit, block in zip(fits, blocks, strict=True):
        reach = np.outer(reach, np.convolve(np.ones(fit), np.ones(block))).ravel()
    values, times = np.unique(reach, return_counts=True)
    # A rate that is a Python number gives one γ in float64, compiled or not.
    xp: Any = np if isinstance(rate, (int, float)) else jnp
    dtype = np.float64 if xp is np else rate.dtype
    seeds, share = xp.asarray(values, dtype), xp.asarray(times / reach.size, dtype)
    target = xp.log1p(-xp.minimum(rate, 1 - float(jnp.finfo(jnp.float32).eps)))
    log_stay = 0 * target
    for _ in range(10):
        free = share * xp.exp(seeds * log_stay)
        total = xp.sum(free)
        log_stay = log_stay - (xp.log(total) - target) * total / xp.sum(seeds * free)
    return xp.where(rate < 1, -xp.expm1(log_stay), xp.ones_like(target))


def alpha_dropout(
    x: jax.Array,
    rate: ArrayLike,
    key: Key | None = None,
    *,
    broadcast_dims: Sequence[int] = (),
    deterministic: bool = False,
) -> jax.Array:
    """Apply alpha dropout, for SELU networks: a dropped unit saturates; mean and variance are kept.

    **Value** y = a (m ? x : α') + b, α' = −λα of SELU, a = ((1 − p)(1 + p α'²))^(−1/2), b = −a p
    α'. At rate 1: zeros.

    Args:
      x: the input, floating, of mean 0 and variance 1, of any shape.
      rate: p in [0, 1]: a number, or an array with the rank of ``x``; may be traced.
      key: a random key or a seed; not needed when deterministic or when the rate is the number 0 or
        1.
      broadcast_dims: axes that share a mask.
      deterministic: True at inference.

    Returns:
      y, of the shape and dtype of ``x``.

    Raises:
      ValueError: a rate outside [0, 1] or of a shape that does not broadcast to the mask.
      TypeError: a missing key, an input of integers, a flag that is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> x = jax.random.normal(jax.random.key(0), (20000,))
      >>> y = F.alpha_dropout(x, 0.5, jax.random.key(1))
      >>> assert abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05

    Reference: Klambauer et al. 2017, https://arxiv.org/abs/1706.02515, section 3.
    """
    with check.inside("alpha_dropout"):
        x, p, used, shape = _prepare(x, rate, key, deterministic, broadcast_dims)
    if deterministic or is_static(rate, 0):
        return x
    if is_static(rate, 1):
        return jnp.zeros_like(x)
    work = numerics.wider(x.dtype, p.dtype)
    rest = _zero_at_rate_one(p, p)
    a = lax.rsqrt((1 - rest) * (1 + rest * _ALPHA**2))
    a = _zero_at_rate_one(a, p).astype(work)
    mask = _draw_mask(x, used, p, shape)
    mixed = jnp.where(mask, x.astype(work), jnp.full_like(x, _ALPHA, work))
    return (a * (mixed - (p * _ALPHA).astype(work))).astype(x.dtype)


def gaussian_dropout(
    x: jax.Array, rate: ArrayLike, key: Key | None = None, *, deterministic: bool = False
) -> jax.Array:
    """Apply Gaussian dropout: multiply by normal noise with the mean and variance of dropout.

    **Value** y = x (1 + √(p / (1 − p)) z), z ~ N(0, 1). At rate 1, where the noise is unbounded:
    zeros.

    Args:
      x: the input, floating, of any shape.
      rate: p in [0, 1]: a number, or an array with the rank of ``x``; may be traced.
      key: a random key or a seed; not needed when deterministic or when the rate is the number 0 or
        1.
      deterministic: True at inference.

    Returns:
      y, of the shape and dtype of ``x``.

    Raises:
      ValueError: a rate outside [0, 1] or of a shape that does not broadcast to the noise.
      TypeError: a missing key, an input of integers, a flag that is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.gaussian_dropout(jnp.ones(20000), 0.2, jax.random.key(0))
      >>> assert abs(float(y.mean()) - 1) < 0.02 and abs(float(y.std()) - 0.5) < 0.02

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """
    with check.inside("gaussian_dropout"):
        x, p, used, _ = _prepare(x, rate, key, deterministic, use="the noise")
    if deterministic or is_static(rate, 0):
        return x
    if is_static(rate, 1):
        return jnp.zeros_like(x)
    work = numerics.wider(x.dtype, p.dtype)
    rest = _zero_at_rate_one(p, p)
    spread = numerics.sqrt(rest / (1 - rest))
    noise = 1 + spread * _draw_normal(x, used, spread.dtype)
    noise = jnp.where(p < 1, noise, jnp.zeros_like(p))
    return (_zero_at_rate_one(x, p).astype(work) * noise.astype(work)).astype(x.dtype)


def gaussian_noise(
    x: jax.Array, stddev: ArrayLike, key: Key | None = None, *, deterministic: bool = False
) -> jax.Array:
    """Add normal noise, for example to the inputs of a network.

    **Value** y = x + σ z, z ~ N(0, 1).

    Args:
      x: the input, floating, of any shape.
      stddev: σ >= 0, in the units of ``x``: a number, or an array with the rank of ``x``; may be
        traced. 0 gives ``x``.
      key: a random key or a seed; not needed when deterministic or when ``stddev`` is the number 0.
      deterministic: True at inference.

    Returns:
      y, of the shape and dtype of ``x``.

    Raises:
      ValueError: a negative ``stddev`` or one of a shape that does not broadcast to the noise.
      TypeError: a missing key, an input of integers, a flag that is not a bool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.gaussian_noise(jnp.zeros(20000), 0.1, jax.random.key(0))
      >>> assert abs(float(y.std()) - 0.1) < 0.005

    Reference: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """
    with check.inside("gaussian_noise"):
        x, sigma, used, _ = _prepare(x, stddev, key, deterministic, name="stddev", use="the noise")
    if deterministic or is_static(stddev, 0):
        return x
    work = numerics.wide(x.dtype)
    return (x.astype(work) + sigma.astype(work) * _draw_normal(x, used, work)).astype(x.dtype)
