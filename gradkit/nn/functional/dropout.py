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
shape: the same eager and compiled, on one device and on many. Under explicit sharding it is sharded as its input is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.nn.functional.moments import axes_of

_ALPHA = -1.7580993408473766  # −λα of SELU: what a dropped unit saturates to


def _known(rate: Any, value: float) -> bool:
    return isinstance(rate, (int, float)) and rate == value


def check_rate(
    rate: Any, name: str = "rate", within: Callable[..., None] = check.probability
) -> None:
    """A rate is a number or an array of them, and no schedule: a layer does not know the step."""
    if not numerics.is_number(rate) and not isinstance(rate, bool):
        schedule = callable(rate) or hasattr(rate, "leaves")
        mend = (
            "Evaluate the schedule at the step and pass rate=schedule(step) in the call"
            if schedule
            else ""
        )
        got = (
            "a schedule"
            if schedule
            else "None"
            if rate is None
            else f"{type(rate).__name__} {rate!r}"
        )
        check.fail("needs a number or an array of numbers", got, mend, path=name, error=TypeError)
    within(**{name: rate})


def check_flag(deterministic: Any) -> None:
    """A bool that Python can read, or None for none: what else is true would switch the noise off in silence."""
    if isinstance(deterministic, jax.core.Tracer):
        mend = "Make it a static argument, or pass rate=jnp.where(deterministic, 0.0, rate)"
        check.fail(
            "needs True or False", "a traced value", mend, path="deterministic", error=TypeError
        )
    if (
        deterministic is not None
        and not isinstance(deterministic, bool)
        and (np.shape(deterministic) or getattr(deterministic, "dtype", None) != np.bool_)
    ):
        check.fail(
            "needs True or False", repr(deterministic), path="deterministic", error=TypeError
        )


def check_input(x: Any) -> None:
    """Floating numbers: rescaled integers would be cut off."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        check.fail(
            "needs an input of a floating dtype",
            check.shape_dtype(x),
            "Cast it first: x.astype(jnp.float32)",
            path="x",
            error=TypeError,
        )


def one_key(key: Any, noise: str = "mask") -> Any:
    """A typed key from a key, the data of one or a seed."""
    mend = "Pass key=jax.random.key(seed), another one each step"
    if key is None:
        check.fail(f"needs a key for its {noise}", "key=None", mend, path="key", error=TypeError)
    kind = jax.dtypes.result_type(key) if numerics.is_number(key) else jnp.bool_
    if not (jnp.issubdtype(kind, jnp.integer) or jnp.issubdtype(kind, jax.dtypes.prng_key)):
        got = (
            check.shape_dtype(key)
            if isinstance(key, (jax.Array, np.ndarray))
            else type(key).__name__
        )
        check.fail(f"needs a key for its {noise}", got, mend, path="key", error=TypeError)
    key = numerics.as_key(key)
    if key.ndim:
        check.fail(
            f"needs one key for its {noise}",
            f"{key.size} keys",
            "Take one of them, or jax.vmap over all",
            path="key",
        )
    return key


def _enter(
    x: Any,
    rate: Any,
    key: Any,
    deterministic: Any,
    shared: Any = (),
    *,
    name: str = "rate",
    noise: str = "mask",
) -> tuple[Any, Any, Any, Any]:
    """The input as an array; the rate in float32 or wider with the input's rank (or none); the key; the shape of the mask, one along ``shared``."""
    x = jnp.asarray(x)
    check_rate(rate, name, check.probability if name == "rate" else check.non_negative)
    check_input(x)
    check_flag(deterministic)
    shared = axes_of(x.ndim, shared, "broadcast_dims")
    shape = tuple(1 if axis in shared else size for axis, size in enumerate(x.shape))
    if jnp.ndim(rate) not in {0, x.ndim}:
        mend = f"Give it axes of size one, such as {name}[:, None]"
        check.fail(
            f"needs a {name} of no axes, or of the {x.ndim} of the input",
            check.shape_dtype(rate),
            mend,
            path=name,
        )
    if jnp.ndim(rate) and any(
        size not in {1, full} for size, full in zip(jnp.shape(rate), shape, strict=True)
    ):
        check.fail(
            f"needs a {name} that broadcasts to the shape {list(shape)} of the {noise}",
            check.shape_dtype(rate),
            path=name,
        )
    if not deterministic and not _known(rate, 0) and not (_known(rate, 1) and name == "rate"):
        key = one_key(key, noise)
    p = jnp.asarray(rate, numerics.real(numerics.wide(x.dtype)))
    sharding = _sharding(x, p.shape) if p.ndim else None
    return x, p if sharding is None else jax.sharding.reshard(p, sharding), key, shape


def _sharding(x: Any, shape: tuple[int, ...]) -> Any:
    """How an array of ``shape`` lies beside ``x``: as ``x`` along the axes of its size, whole along the others. None where shardings are no part of types."""
    of = jax.typeof(x).sharding
    if AxisType.Explicit not in of.mesh.axis_types:
        return None
    return NamedSharding(
        of.mesh,
        PartitionSpec(
            *(
                axis if size == full else None
                for axis, size, full in zip(of.spec, shape, x.shape, strict=True)
            )
        ),
    )


def drawn(draw: Callable[..., Any], x: Any, shape: tuple[int, ...], *args: Any) -> Any:
    """``draw(*args)``, which is of ``shape``, beside ``x``. XLA shards what happens within, so the numbers are those of one device."""
    sharding = _sharding(x, shape)
    if sharding is None:
        return draw(*args)
    explicit = tuple(
        name
        for name, kind in zip(sharding.mesh.axis_names, sharding.mesh.axis_types, strict=True)
        if kind == AxisType.Explicit
    )
    return jax.sharding.auto_axes(draw, axes=explicit, out_sharding=sharding)(*args)


def uniform(key: Any, shape: tuple[int, ...]) -> Any:
    """Uniform float32 numbers in [0, 1) for comparing with a rate, two from every 32 random bits.

    Of a pair, one number reads the word from its left half on, the other from its right half. Each is uniform to 24 bits, so no rate is rounded; the two
    depend on each other only where 16 leading bits tie, once in 65536. An odd last axis has no pairs: every number takes a word of its own.
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


def _kept(x: Any, key: Any, rate: Any, shape: tuple[int, ...]) -> Any:
    return drawn(lambda key, rate: keep_mask(key, rate, shape), x, shape, key, rate)


def _apply(x: Any, keep: Any, rate: Any, *, rescale: bool = True) -> Any:
    """X / (1 − p) where kept, 0 elsewhere, in the dtype of ``x``."""
    if rescale:
        share = 1 - rate
        share = jnp.where(
            share > 0, share, jnp.ones_like(share)
        )  # at rate 1 nothing is kept: no division by zero, also in derivatives
        wide = x.astype(numerics.wider(x.dtype, share.dtype))
        kept = (wide / share.astype(wide.dtype)).astype(x.dtype)
    else:
        kept = x
    return jnp.where(keep, kept, jnp.zeros_like(x))


def dropout(
    x: Any,
    rate: Any,
    key: Any = None,
    *,
    broadcast_dims: Sequence[int] = (),
    deterministic: bool = False,
    classic: bool = False,
) -> Any:
    """Set a random share of the input to zero.

    **Rule** y = x m / (1 − p), m ~ Bernoulli(1 − p), and x at inference; ``classic``: y = x m, and x (1 − p) at inference. Either way
    training's mean is inference's.

    Args:
      x: the input.
      rate: p in [0, 1], the share that is dropped: a number, or an array, traced or not, with the axes of ``x``, each whole or of size one.
      key: a random key or a seed; not needed when deterministic.
      broadcast_dims: axes that share a mask: (1, 2) drops whole channels of images [batch, height, width, channel].
      deterministic: inference.
      classic: scale at inference instead of in training.

    Raises:
      ValueError: a rate outside [0, 1] or of a shape that the mask has not, an axis that ``x`` lacks.
      TypeError: no key, an input of integers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.dropout(jnp.ones(1000), 0.75, jax.random.key(0))
      >>> assert set(y.tolist()) == {0.0, 4.0} and abs(float(y.mean()) - 1) < 0.2

    **Differs** from Flax: a rate may be traced, and bfloat16 is divided in float32 (Flax rounds 1 − p to bfloat16 first).

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """
    with check.inside("dropout"):
        x, p, key, shape = _enter(x, rate, key, deterministic, broadcast_dims)
    if _known(rate, 0) or (deterministic and not classic):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    if deterministic:
        work = numerics.wider(x.dtype, p.dtype)
        some = jnp.where(
            p < 1, x, jnp.zeros_like(x)
        )  # at rate 1 nothing is taken: zero times inf is no zero
        return (some.astype(work) * (1 - p).astype(work)).astype(x.dtype)
    return _apply(x, _kept(x, key, p, shape), p, rescale=not classic)


def drop_path(x: Any, rate: Any, key: Any = None, *, deterministic: bool = False) -> Any:
    """Drop whole examples of a residual branch: stochastic depth.

    **Rule** y = x m / (1 − p), one m ~ Bernoulli(1 − p) per example along the first axis.

    Args:
      x: the branch, batch first.
      rate: p in [0, 1].
      key: a random key or a seed; not needed when deterministic.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.drop_path(jnp.ones((6, 3)), 0.5, jax.random.key(0))
      >>> assert all(row in ([0.0] * 3, [2.0] * 3) for row in y.tolist())

    Reference: Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """
    return dropout(x, rate, key, broadcast_dims=range(1, jnp.ndim(x)), deterministic=deterministic)


def drop_block(
    x: Any, rate: Any, key: Any = None, *, block_size: int, deterministic: bool = False
) -> Any:
    """Drop blocks of neighbouring positions, in every channel its own.

    **Rule** seeds with probability γ at the centres where a block fits; m is zero on the blocks around them; y = x m n / Σ m. γ solves
    mean (1 − γ)^c = 1 − p over the positions, c the number of blocks that cover one.

    Args:
      x: [batch, positions..., channels].
      rate: p in [0, 1], the share that is dropped, in the mean over masks.
      key: a random key or a seed; not needed when deterministic.
      block_size: b, the side of a block; cut to the side of the input. 1 is dropout.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.drop_block(jnp.ones((1, 8, 1)), 0.3, jax.random.key(1), block_size=3)
      >>> runs = "".join("0" if v == 0 else "1" for v in y.ravel().tolist()).strip("1").split("1")
      >>> assert all(len(run) == 0 or len(run) >= 3 for run in runs)

    **Differs** from the paper, whose γ = p / b^k · Π s_i / Π (s_i − b + 1) is that of small rates: at p = 0.9 it drops about 0.6.

    Reference: Ghiasi, Lin and Le 2018, https://arxiv.org/abs/1810.12890.
    """
    with check.inside("drop_block"):
        x, p, key, _ = _enter(x, rate, key, deterministic)
        check.integer(1, block_size=block_size)
        if x.ndim < 3:
            check.fail(
                "needs an input [batch, positions..., channels]", check.shape_dtype(x), path="x"
            )
        if p.ndim:
            check.fail("needs one rate for all", check.shape_dtype(rate), path="rate")
    if deterministic or _known(rate, 0):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    sizes = x.shape[1:-1]
    blocks = [min(int(block_size), size) for size in sizes]
    fits = [size - block + 1 for size, block in zip(sizes, blocks, strict=True)]

    def draw(key: Any, chance: Any) -> Any:
        seeds = ~keep_mask(key, chance, (x.shape[0], *fits, x.shape[-1]))
        # a seed at i drops i … i + b − 1: the maximum over the window that ends at a position
        padding = [(0, 0), *((block - 1, block - 1) for block in blocks), (0, 0)]
        return ~lax.reduce_window(
            seeds, False, lax.bitwise_or, (1, *blocks, 1), (1,) * x.ndim, padding
        )

    keep = drawn(
        draw, x, x.shape, key, _chance(rate if isinstance(rate, (int, float)) else p, fits, blocks)
    )
    kept = jnp.sum(keep, dtype=jnp.float32)
    return _apply(x, keep, 1 - jnp.maximum(kept, 1).astype(p.dtype) / x.size)


def _chance(rate: Any, fits: Sequence[int], blocks: Sequence[int]) -> Any:
    """γ of a seed such that positions are dropped at the rate: mean (1 − γ)^c = 1 − p, c the number of seeds that reach a position.

    Newton's method for log(1 − γ). log mean exp(c ·) is convex and rises, so from 0 on each step comes closer and none goes too far.
    """
    if max(blocks, default=1) == 1:
        return rate
    reach = np.ones(1)
    for fit, block in zip(fits, blocks, strict=True):
        reach = np.outer(reach, np.convolve(np.ones(fit), np.ones(block))).ravel()
    seeds, times = np.unique(reach, return_counts=True)
    xp: Any = (
        np if isinstance(rate, (int, float)) else jnp
    )  # a rate that is a number gives one γ, compiled or not
    dtype = np.float64 if xp is np else rate.dtype
    seeds, share = xp.asarray(seeds, dtype), xp.asarray(times / reach.size, dtype)
    target = xp.log1p(-xp.minimum(rate, 1 - float(jnp.finfo(jnp.float32).eps)))
    log_stay = 0 * target
    for _ in range(10):
        free = share * xp.exp(seeds * log_stay)
        log_stay = log_stay - (xp.log(xp.sum(free)) - target) * xp.sum(free) / xp.sum(seeds * free)
    return xp.where(rate < 1, -xp.expm1(log_stay), xp.ones_like(target))


def alpha_dropout(
    x: Any,
    rate: Any,
    key: Any = None,
    *,
    broadcast_dims: Sequence[int] = (),
    deterministic: bool = False,
) -> Any:
    """Dropout for SELU networks: a dropped unit saturates, and mean 0 and variance 1 stay.

    **Rule** y = a (m ? x : α') + b, α' = −λα of SELU, a = ((1 − p)(1 + p α'²))^(−1/2), b = −a p α'. At rate 1: zeros.

    Args:
      x: the input, of mean 0 and variance 1.
      rate: p in [0, 1].
      key: a random key or a seed; not needed when deterministic.
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
        x, p, key, shape = _enter(x, rate, key, deterministic, broadcast_dims)
    if deterministic or _known(rate, 0):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    work = numerics.wider(x.dtype, p.dtype)
    some = jnp.where(p < 1, p, jnp.zeros_like(p))
    a = jnp.where(p < 1, lax.rsqrt((1 - some) * (1 + some * _ALPHA**2)), jnp.zeros_like(p)).astype(
        work
    )
    chosen = jnp.where(_kept(x, key, p, shape), x.astype(work), jnp.full_like(x, _ALPHA, work))
    return (a * (chosen - (p * _ALPHA).astype(work))).astype(x.dtype)


def gaussian_dropout(x: Any, rate: Any, key: Any = None, *, deterministic: bool = False) -> Any:
    """Multiply by normal noise with dropout's mean and variance.

    **Rule** y = x (1 + √(p / (1 − p)) z), z ~ N(0, 1). At rate 1, where the noise has no limit: zeros.

    Args:
      x: the input.
      rate: p in [0, 1].
      key: a random key or a seed; not needed when deterministic.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> y = F.gaussian_dropout(jnp.ones(20000), 0.2, jax.random.key(0))
      >>> assert abs(float(y.mean()) - 1) < 0.02 and abs(float(y.std()) - 0.5) < 0.02

    Reference: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """
    with check.inside("gaussian_dropout"):
        x, p, key, _ = _enter(x, rate, key, deterministic, noise="noise")
    if deterministic or _known(rate, 0):
        return x
    if _known(rate, 1):
        return jnp.zeros_like(x)
    work = numerics.wider(x.dtype, p.dtype)
    some = jnp.where(p < 1, p, jnp.zeros_like(p))
    spread = numerics.sqrt(some / (1 - some))
    noise = jnp.where(p < 1, 1 + spread * _normal(x, key, spread.dtype), jnp.zeros_like(p))
    taken = jnp.where(p < 1, x, jnp.zeros_like(x)).astype(
        work
    )  # at rate 1 nothing is taken: zero times inf is no zero
    return (taken * noise.astype(work)).astype(x.dtype)


def _normal(x: Any, key: Any, dtype: Any) -> Any:
    return drawn(lambda key: jax.random.normal(key, x.shape, dtype), x, x.shape, key)


def gaussian_noise(x: Any, stddev: Any, key: Any = None, *, deterministic: bool = False) -> Any:
    """Add normal noise: to the inputs, the oldest regularizer of all.

    **Rule** y = x + σ z, z ~ N(0, 1).

    Args:
      x: the input.
      stddev: σ >= 0, a number or an array; 0 gives ``x``.
      key: a random key or a seed; not needed when deterministic.
      deterministic: inference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gradkit.nn import functional as F
      >>> assert abs(float(F.gaussian_noise(jnp.zeros(20000), 0.1, jax.random.key(0)).std()) - 0.1) < 0.005

    Reference: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """
    with check.inside("gaussian_noise"):
        x, sigma, key, _ = _enter(x, stddev, key, deterministic, name="stddev", noise="noise")
    if deterministic or _known(stddev, 0):
        return x
    work = numerics.wide(x.dtype)
    return (x.astype(work) + sigma.astype(work) * _normal(x, key, work)).astype(x.dtype)
