"""The dropout family: noise of mean one (or zero) on activations and weights.

| | y while training |
|---|---|
| ``dropout`` | x m / (1 − p), P(m = 1) = 1 − p; classic: x m, and x (1 − p) at inference |
| ``drop_path`` | the same with one m per example |
| ``drop_block`` | x m n / Σ m, m zero on blocks |
| ``alpha_dropout`` | a (m ? x : α') + b, which keeps mean 0 and variance 1 |
| ``gaussian_dropout`` | x (1 + √(p / (1 − p)) z), z normal |
| ``gaussian_noise`` | x + σ z |

A rate p is a number or an array, traced or not: a schedule of rates compiles once. 0 gives the input and 1 gives zeros, both exactly and with
finite derivatives. What a mask drops is not multiplied by zero but not taken at all, so NaN and inf under it are gone. The mask is a function of key and
shape: the same eager and compiled, on one device and on many.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.moments import axes_of

_ALPHA = -1.7580993408473766  # −λα of SELU: what a dropped unit saturates to


def _known(rate: Any, value: float) -> bool:
    return isinstance(rate, (int, float)) and rate == value


def _enter(x: Any, rate: Any, key: Any, deterministic: bool = False) -> tuple[Any, Any]:
    """The input as an array, and the rate in float32 or wider with the input's rank (or none)."""
    x = jnp.asarray(x)
    check.probability(rate=rate)
    if jnp.ndim(rate) not in {0, x.ndim}:
        mend = "Give it axes of size one, such as rate[:, None]"
        check.fail(f"needs a rate of no axes, or of the {x.ndim} of the input", check.shape_dtype(rate), mend, path="rate")
    if key is None and not deterministic and not _known(rate, 0) and not _known(rate, 1):
        check.fail("needs a key for its mask", "key=None", "Pass key=jax.random.key(seed), another one each step", path="key", error=TypeError)
    return x, jnp.asarray(rate, numerics.real(numerics.wide(x.dtype)) if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.float32)


def uniform(key: Any, shape: tuple[int, ...]) -> Any:
    """Uniform float32 numbers in [0, 1) for comparing with a rate, two from every 32 random bits.

    Of a pair, one number reads the word from its left half on, the other from its right half. Each is uniform to 24 bits, so no rate is rounded; the two
    depend on each other only where 16 leading bits tie, once in 65536.
    """
    if not shape or shape[-1] % 2:
        words = jax.random.bits(key, shape, jnp.uint32)
    else:
        half = jax.random.bits(key, (*shape[:-1], shape[-1] // 2), jnp.uint32)
        words = jnp.stack([half, (half << 16) | (half >> 16)], axis=-1).reshape(shape)
    return (words >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def keep_mask(key: Any, rate: Any, shape: tuple[int, ...]) -> Any:
    """True with probability 1 − rate; always for 0, never for 1."""
    return uniform(key, shape) >= jnp.asarray(rate, jnp.float32)


def _apply(x: Any, keep: Any, rate: Any, *, rescale: bool = True) -> Any:
    """X / (1 − p) where kept, 0 elsewhere, in the dtype of ``x``."""
    if rescale:
        share = 1 - rate
        share = jnp.where(share > 0, share, jnp.ones_like(share))  # at rate 1 nothing is kept: no division by zero, also in derivatives
        wide = x.astype(numerics.wider(x.dtype, share.dtype))
        kept = (wide / share.astype(wide.dtype)).astype(x.dtype)
    else:
        kept = x
    return jnp.where(jnp.broadcast_to(keep, x.shape), kept, jnp.zeros_like(x))


def dropout(x: Any, rate: Any, key: Any = None, *, broadcast_dims: Sequence[int] = (), deterministic: bool = False, classic: bool = False) -> Any:
    """Set a random share of the input to zero.

    **Rule** y = x m / (1 − p), m ~ Bernoulli(1 − p), and x at inference; ``classic``: y = x m, and x (1 − p) at inference. Either way
    training's mean is inference's.

    Args:
      x: the input.
      rate: p in [0, 1], the share that is dropped; traced if an array, and of any shape that has the rank of ``x``.
      key: a random key; not needed when deterministic.
      broadcast_dims: axes that share a mask: (1, 2) drops whole channels of images [batch, height, width, channel].
      deterministic: inference.
      classic: scale at inference instead of in training.

    Raises:
      ValueError: a rate outside [0, 1], an axis that ``x`` lacks.
      TypeError: no key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.dropout(jnp.ones(1000), 0.75, jax.random.key(0))
      >>> assert set(y.tolist()) == {0.0, 4.0} and abs(float(y.mean()) - 1) < 0.2

    **Differs** from Flax: a rate may be traced, and bfloat16 is divided in float32 (Flax rounds 1 − p to bfloat16 first).

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """
    with check.inside("dropout"):
        x, p = _enter(x, rate, key, deterministic)
        shared = axes_of(x.ndim, broadcast_dims, "broadcast_dims")
    if deterministic:
        return x * (1 - p).astype(x.dtype) if classic else x
    if _known(rate, 0):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    return _apply(x, keep_mask(key, p, tuple(1 if axis in shared else size for axis, size in enumerate(x.shape))), p, rescale=not classic)


def drop_path(x: Any, rate: Any, key: Any = None, *, deterministic: bool = False) -> Any:
    """Drop whole examples of a residual branch: stochastic depth.

    **Rule** y = x m / (1 − p), one m ~ Bernoulli(1 − p) per example along the first axis.

    Args:
      x: the branch, batch first.
      rate: p in [0, 1].
      key: a random key; not needed when deterministic.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.drop_path(jnp.ones((6, 3)), 0.5, jax.random.key(0))
      >>> assert all(row in ([0.0] * 3, [2.0] * 3) for row in y.tolist())

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """
    return dropout(x, rate, key, broadcast_dims=range(1, jnp.ndim(x)), deterministic=deterministic)


def drop_block(x: Any, rate: Any, key: Any = None, *, block_size: int, deterministic: bool = False) -> Any:
    """Drop blocks of neighbouring positions, in every channel its own.

    **Rule** seeds with probability γ = p / b^k · Π s_i / Π (s_i − b + 1) at the centres where a block fits; m is zero on the blocks around them;
    y = x m n / Σ m.

    Args:
      x: [batch, positions..., channels].
      rate: p in [0, 1], about the share that is dropped.
      key: a random key; not needed when deterministic.
      block_size: b, the side of a block; cut to the side of the input. 1 is dropout.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.drop_block(jnp.ones((1, 8, 1)), 0.3, jax.random.key(1), block_size=3)
      >>> runs = "".join("0" if v == 0 else "1" for v in y.ravel().tolist()).strip("1").split("1")
      >>> assert all(len(run) == 0 or len(run) >= 3 for run in runs)

    Reference: Ghiasi, Lin and Le 2018, https://arxiv.org/abs/1810.12890.
    """
    with check.inside("drop_block"):
        x, p = _enter(x, rate, key, deterministic)
        check.integer(1, block_size=block_size)
        if x.ndim < 3:
            check.fail("needs an input [batch, positions..., channels]", check.shape_dtype(x), path="x")
        if p.ndim:
            check.fail("needs one rate for all", check.shape_dtype(rate), path="rate")
    if deterministic or _known(rate, 0):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    sizes = x.shape[1:-1]
    blocks = [min(int(block_size), size) for size in sizes]
    fits = [size - block + 1 for size, block in zip(sizes, blocks, strict=True)]
    share = 1.0
    for size, block, fit in zip(sizes, blocks, fits, strict=True):
        share *= size / (block * fit)
    chance = jnp.where(p >= 1, 1.0, jnp.minimum(p * share, 1.0))
    seeds = ~keep_mask(key, chance, (x.shape[0], *fits, x.shape[-1]))
    # a seed at i drops i … i + b − 1: the maximum over the window that ends at a position
    padding = [(0, 0), *((block - 1, block - 1) for block in blocks), (0, 0)]
    dropped = lax.reduce_window(seeds, False, lax.bitwise_or, (1, *blocks, 1), (1,) * x.ndim, padding)
    kept = jnp.sum(~dropped, dtype=jnp.float32)
    return _apply(x, ~dropped, 1 - jnp.maximum(kept, 1).astype(p.dtype) / x.size)


def alpha_dropout(x: Any, rate: Any, key: Any = None, *, broadcast_dims: Sequence[int] = (), deterministic: bool = False) -> Any:
    """Dropout for SELU networks: a dropped unit saturates, and mean 0 and variance 1 stay.

    **Rule** y = a (m ? x : α') + b, α' = −λα of SELU, a = ((1 − p)(1 + p α'²))^(−1/2), b = −a p α'. At rate 1: zeros.

    Args:
      x: the input, of mean 0 and variance 1.
      rate: p in [0, 1].
      key: a random key; not needed when deterministic.
      broadcast_dims: axes that share a mask.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.alpha_dropout(jax.random.normal(jax.random.key(0), (20000,)), 0.5, jax.random.key(1))
      >>> assert abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05

    Reference: Klambauer et al. 2017, https://arxiv.org/abs/1706.02515, section 3.
    """
    with check.inside("alpha_dropout"):
        x, p = _enter(x, rate, key, deterministic)
        shared = axes_of(x.ndim, broadcast_dims, "broadcast_dims")
    if deterministic or _known(rate, 0):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    keep = keep_mask(key, p, tuple(1 if axis in shared else size for axis, size in enumerate(x.shape)))
    some = jnp.where(p < 1, p, jnp.zeros_like(p))
    a = jnp.where(p < 1, lax.rsqrt((1 - some) * (1 + some * _ALPHA**2)), jnp.zeros_like(p)).astype(x.dtype)
    chosen = jnp.where(jnp.broadcast_to(keep, x.shape), x, jnp.full_like(x, _ALPHA))
    return a * chosen - (a * p.astype(x.dtype) * jnp.asarray(_ALPHA, x.dtype))


def gaussian_dropout(x: Any, rate: Any, key: Any = None, *, deterministic: bool = False) -> Any:
    """Multiply by normal noise with dropout's mean and variance.

    **Rule** y = x (1 + √(p / (1 − p)) z), z ~ N(0, 1). At rate 1, where the noise has no limit: zeros.

    Args:
      x: the input.
      rate: p in [0, 1].
      key: a random key; not needed when deterministic.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.gaussian_dropout(jnp.ones(20000), 0.2, jax.random.key(0))
      >>> assert abs(float(y.mean()) - 1) < 0.02 and abs(float(y.std()) - 0.5) < 0.02

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """
    with check.inside("gaussian_dropout"):
        x, p = _enter(x, rate, key, deterministic)
    if deterministic or _known(rate, 0):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    some = jnp.where(p < 1, p, jnp.zeros_like(p))
    spread = numerics.sqrt(some / (1 - some))
    noise = jnp.where(p < 1, 1 + spread * jax.random.normal(key, x.shape, spread.dtype), jnp.zeros_like(p))
    return (x.astype(numerics.wider(x.dtype, noise.dtype)) * noise.astype(numerics.wider(x.dtype, noise.dtype))).astype(x.dtype)


def gaussian_noise(x: Any, stddev: Any, key: Any = None, *, deterministic: bool = False) -> Any:
    """Add normal noise: to the inputs, the oldest regularizer of all.

    **Rule** y = x + σ z, z ~ N(0, 1).

    Args:
      x: the input.
      stddev: σ >= 0, a number or an array; 0 gives ``x``.
      key: a random key; not needed when deterministic.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> assert abs(float(F.gaussian_noise(jnp.zeros(20000), 0.1, jax.random.key(0)).std()) - 0.1) < 0.005

    Reference: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """
    with check.inside("gaussian_noise"):
        check.non_negative(stddev=stddev)
        x, _ = _enter(x, 0.0, key, deterministic)
        if key is None and not deterministic:
            check.fail("needs a key for its noise", "key=None", "Pass key=jax.random.key(seed), another one each step", path="key", error=TypeError)
    if deterministic:
        return x
    work = numerics.wide(x.dtype)
    return (x.astype(work) + jnp.asarray(stddev, work) * jax.random.normal(key, x.shape, work)).astype(x.dtype)
