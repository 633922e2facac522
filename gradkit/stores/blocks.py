"""Stores of 8 and 4 bits: a scale for each block of elements, a code for each element.

A code is a small float without a wasted value. The largest stands for the largest magnitude of the
block, which is kept in float32, so it is exact. The next lower codes follow in equal ratios of
exponent and mantissa, like the floats they are cut from: encoding shifts the bits of a float32, and
decoding shifts them back. A block without negative elements, such as one of a second moment, gives
its sign bit to the exponent, and to no element above zero the code of zero; the sign of its scale
tells so.

| | signed block | block ≥ 0 |
|---|---|---|
| ``int8`` | 3 bits of mantissa over 15.75 octaves, and 0 | 3 bits over 31.75 octaves, and 0 |
| ``int4`` | 1 bit of mantissa over 3 octaves, and 0 | 1 bit over 7 octaves, and 0 |
| ``float8`` | e4m3fn: 3 bits over 14.8 octaves, then 3 octaves in equal steps | the same |
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.stores._random import bits, keyed
from gradkit.stores.store import NAMES, Store, With


def int8(block: int = 256, rounding: str = "stochastic") -> Store:
    """Keep state in 8 bits by blocks: signed codes for moments, magnitudes for second moments.

    Encode: s = max|x| of each block, codes c(x / s). Decode: s · value(c). In a block with negative
    elements a code has a sign and covers 2⁻¹⁵·⁷⁵ … 1 with 3 bits of mantissa; smaller elements are
    rounded to 0 or to the smallest. In a block without, it covers 2⁻³¹·⁷⁵ … 1, and only an exact 0
    is kept as 0: a smaller element becomes the smallest value, so that no quotient by a second
    moment blows up.

    **Error** relative to the element, at most 5.9 % to nearest and 12.5 % at random, on average
    2.2 % and 3.0 %, at every scale from 2⁻⁴⁰ to 2⁴⁰, while elements are in the range of the codes.
    The largest element of a block is exact.

    **Stalls** no: at random, an average reaches its limit from anywhere, and stays within one code
    of it. To nearest, an ``ema`` of a decay near 1 cannot leave a code while the largest element of
    its block stays: it reaches its limit from zero, but stalls after the gradient has changed.

    Args:
      block: the number of elements that share a scale, ≥ 2, in the row-major order of the leaf.
      rounding: ``"stochastic"``, at random by the step, without bias; or ``"nearest"``.

    Returns:
      The store. It keeps ``codes`` (uint8, the shape of the leaf) and ``scale`` (float32 or wider,
      one for each block): 1 + 4 / block bytes per parameter, 1.016 for 256. A complex leaf keeps
      twice as many.

    Raises:
      ValueError: a block below 2, an unknown rounding.
      TypeError: a block that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.stores.int8(block=4), jnp.array([3.0, 1.6, 1e-7, 0.0, -8.0, 2.0, 1e-7, 0.0])
      >>> kept = store.encode(x)
      >>> assert kept["codes"].dtype == jnp.uint8 and kept["scale"].shape == (2,)
      >>> back = store.decode(kept, x)
      >>> assert back[0] == 3 and back[4] == -8 and back[6] == 0.0  # too small beside -8
      >>> assert jnp.allclose(back[:3], x[:3], rtol=2**-4) and back[3] == 0.0

    **Differs from bitsandbytes and torchao**, which look codes up in a table, the dynamic map: its
    error is 1.4 % within a factor of 2 of the largest element, 11 % two decades below and 28 % four
    decades below. There a second moment may round to 0, and rounding is to nearest.

    Reference: Dettmers et al. 2022, https://arxiv.org/abs/2110.02861.
    """
    return _made("int8", _encode8, _decode8, block, rounding)


def int4(block: int = 128, rounding: str = "stochastic") -> Store:
    """Keep state in 4 bits by blocks: signed codes for moments, magnitudes for second moments.

    As ``int8``, with one bit of mantissa: a signed code has the magnitudes 1, ¾, ½, ⅜, ¼, 3/16, ⅛
    and 0 of the largest of its block; without a sign they go on down to 2⁻⁷.

    **Error** at most 20 % to nearest and 50 % at random, relative to elements down to 2⁻³ (signed)
    or 2⁻⁷ of the largest of the block; a smaller one is rounded to 0 or 2⁻³, or (in a block without
    negative elements) to 2⁻⁷.

    **Stalls** as ``int8``: not at random. Elements below 2⁻⁷ of the largest of a block of a second
    moment are kept at 2⁻⁷, so their steps are shorter than those of Adam.

    Args:
      block: the number of elements that share a scale, even and ≥ 2.
      rounding: ``"stochastic"``, at random by the step, without bias; or ``"nearest"``.

    Returns:
      The store. It keeps ``codes`` (uint8, two in each byte, ``(blocks, block / 2)``) and ``scale``
      (float32 or wider): 0.5 + 4 / block bytes per parameter, 0.531 for 128.

    Raises:
      ValueError: an odd block or one below 2, an unknown rounding.
      TypeError: a block that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.stores.int4(), jnp.array([1.0, 0.7, 0.01, 0.0])
      >>> assert store.decode(store.encode(x), x).tolist() == [1.0, 0.75, 2**-6 * 0.75, 0.0]

    **Differs from torchao**, whose second moment has the 16 values k/16, k ≥ 1, and no 0, and whose
    moment has a table of 16 values; rounding is to nearest there.

    Reference: Li et al. 2023, https://arxiv.org/abs/2309.01507.
    """
    with check.inside("int4"):
        check.integer(2, block=block)
        if block % 2:
            check.refuse(f"block={block} is odd", expected="an even block: two codes fill a byte")
    return _made("int4", _encode4, _decode4, block, rounding)


def float8(block: int = 256, rounding: str = "stochastic") -> Store:
    """Keep state in float8_e4m3fn by blocks, scaled so that the largest element is 448.

    Encode: s = max|x| / 448 of each block, x / s in float8. Decode: s · float8. In a block without
    negative elements only an exact 0 is kept as 0.

    **Error** as that of ``int8`` for elements down to 2⁻¹⁴·⁸ of the largest of the block; below,
    steps of 2⁻¹⁷·⁸ of the largest. The smallest second moment is 2⁻¹⁷·⁸ of the largest of its
    block, 2⁻³¹·⁷⁵ in ``int8``, which is the better store where hardware does not decide.

    **Stalls** as ``int8``: not at random.

    Args:
      block: the number of elements that share a scale, ≥ 2.
      rounding: ``"stochastic"``, at random by the step, without bias; or ``"nearest"``.

    Returns:
      The store. It keeps ``codes`` (float8_e4m3fn, the shape of the leaf) and ``scale`` (float32 or
      wider): 1 + 4 / block bytes per parameter.

    Raises:
      ValueError: a block below 2, an unknown rounding.
      TypeError: a block that is not a whole number.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.stores.float8(), jnp.array([448.0, -1.0, 17.0, 5e-4])
      >>> back = store.decode(store.encode(x), x)
      >>> assert jnp.allclose(back, jnp.array([448.0, -1.0, 18.0, 0.0]))

    **Differs from torchao**, where a second moment may round to 0, and rounding is to nearest.

    Reference: Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433.
    """
    return _made("float8", _encode_float8, _decode_float8, block, rounding)


def _made(name: str, encode: Any, decode: Any, block: int, rounding: str) -> Store:
    with check.inside(name):
        check.integer(2, block=block)
        at_random = keyed(rounding)
    return Store(With(encode, int(block), rounding), With(decode, int(block)), at_random)


# ---- blocks -----------------------------------------------------------------------------


def _blocks(leaf: Any, block: int) -> Any:
    """The elements in rows of ``block``, the last one filled with zeros."""
    flat = leaf.reshape(-1)
    if jnp.iscomplexobj(leaf):
        flat = jnp.concatenate([flat.real, flat.imag])
    rows = -(-flat.size // block)
    if rows * block != flat.size:
        flat = jnp.pad(flat, (0, rows * block - flat.size))
    return flat.reshape(rows, block)


def _leaf(rows: Any, like: Any) -> Any:
    """What was put into rows, as a leaf like another."""
    size, flat = math.prod(like.shape), rows.reshape(-1)
    if jnp.iscomplexobj(like):
        return lax.complex(flat[:size], flat[size : 2 * size]).reshape(like.shape)
    return (flat if flat.size == size else flat[:size]).reshape(like.shape)


def _shape(leaf: Any) -> Any:
    """What the codes of a leaf are like: a complex one has two for each element."""
    pair = (2,) if jnp.iscomplexobj(leaf) else ()
    return np.broadcast_to(np.uint8(0), (*pair, *leaf.shape))


def _scaled(rows: Any) -> tuple[Any, Any, Any]:
    """|x| / max|x| in float32, max|x| of each row, and which rows have no negative element."""
    # Of the two extremes, not of |x|, which XLA for CPU would write to memory beside x.
    most, least = (f(rows, axis=1, keepdims=True) for f in (jnp.max, jnp.min))
    scale = jnp.maximum(most, -least)
    sizes = jnp.abs(rows) / jnp.where(scale == 0, 1, scale)
    return numerics.cast(sizes, jnp.float32), scale, least >= 0


# ---- codes of our own -------------------------------------------------------------------


class _Code(NamedTuple):
    """Floats of few bits in (0, 1], counted from the smallest: 0 is 0, ``top`` is 1."""

    mantissa: int
    top: int

    @property
    def shift(self) -> int:
        return 23 - self.mantissa

    @property
    def offset(self) -> int:
        """The bits of the float of code 0, were it one of the series."""
        return (127 << self.mantissa) - self.top

    @property
    def least(self) -> float:
        """The value of code 1."""
        word = np.int32((self.offset + 1) << self.shift)
        return float(word.view(np.float32))

    def rounded(self, word: Any, noise: Any) -> Any:
        """The code of a float by its bits, rounded; below 1 where it is too small."""
        return ((word + noise) >> self.shift).astype(jnp.int32) - self.offset

    def value(self, code: Any) -> Any:
        word = (code + self.offset) << self.shift
        return jnp.where(code == 0, 0.0, lax.bitcast_convert_type(word, jnp.float32))


_SIGNED = {8: _Code(3, 127), 4: _Code(1, 7)}
_POSITIVE = {8: _Code(3, 255), 4: _Code(1, 15)}


def _codes(width: int, rows: Any, key: Any) -> tuple[Any, Any]:
    """The codes of rows as uint8, and their scales, negative where the codes are magnitudes."""
    signed, positive = _SIGNED[width], _POSITIVE[width]
    sizes, scale, only_positive = _scaled(rows)
    word = lax.bitcast_convert_type(sizes, jnp.uint32)
    noise = bits(key, sizes.shape, signed.shift)
    # Below the smallest code: 0 or 1 by the distance, as in a series of equal steps.
    chance = np.float32(signed.least / (1 << signed.shift)) * noise.astype(jnp.float32)
    below = (sizes > chance).astype(jnp.int32)
    code = jnp.where(sizes < np.float32(signed.least), below, signed.rounded(word, noise))
    code = code + jnp.where(rows < 0, signed.top + 1, 0)
    magnitude = jnp.maximum(positive.rounded(word, noise), 1)
    magnitude = jnp.where(rows == 0, 0, magnitude)
    code = jnp.where(only_positive, magnitude, code).astype(jnp.uint8)
    return code, jnp.where(only_positive, -scale, scale)[:, 0]


def _values(width: int, codes: Any, scale: Any) -> Any:
    signed, positive = _SIGNED[width], _POSITIVE[width]
    scale = scale[:, None]
    code, only_positive = codes.astype(jnp.int32), jnp.signbit(scale)
    offset = jnp.where(only_positive, positive.offset, signed.offset)
    size = jnp.where(only_positive, code, code & signed.top)
    value = lax.bitcast_convert_type((size + offset) << signed.shift, jnp.float32)
    value = jnp.where(size == 0, 0.0, value).astype(scale.dtype)
    return value * jnp.where(code == size, jnp.abs(scale), -scale)


def _encode8(block: int, rounding: str, leaf: Any, key: Any = None) -> Any:
    codes, scale = _codes(8, _blocks(leaf, block), key)
    return {"codes": _leaf(codes, _shape(leaf)), "scale": scale}


def _decode8(block: int, stored: Any, like: Any) -> Any:
    return _leaf(_values(8, _blocks(stored["codes"], block), stored["scale"]), like)


def _encode4(block: int, rounding: str, leaf: Any, key: Any = None) -> Any:
    codes, scale = _codes(4, _blocks(leaf, block), key)
    low, high = jnp.split(codes, 2, axis=1)
    return {"codes": low | (high << np.uint8(4)), "scale": scale}


def _decode4(block: int, stored: Any, like: Any) -> Any:
    both = stored["codes"]
    codes = jnp.concatenate([both & np.uint8(15), both >> np.uint8(4)], axis=1)
    return _leaf(_values(4, codes, stored["scale"]), like)


# ---- float8 -----------------------------------------------------------------------------

_MOST, _NORMAL, _STEP = 448.0, 2.0**-6, 2.0**-9  # of e4m3fn: largest, smallest normal, smallest
_DROPPED = 20  # of the 23 bits of the mantissa of a float32


def _encode_float8(block: int, rounding: str, leaf: Any, key: Any = None) -> Any:
    rows = _blocks(leaf, block)
    sizes, scale, only_positive = _scaled(rows)
    sizes = sizes * np.float32(_MOST)
    noise = bits(key, sizes.shape, _DROPPED)
    word = lax.bitcast_convert_type(sizes, jnp.uint32) + noise
    normal = lax.bitcast_convert_type(
        (word >> np.uint32(_DROPPED)) << np.uint32(_DROPPED), jnp.float32
    )
    share = noise.astype(jnp.float32) * np.float32(2.0**-_DROPPED)
    tiny = jnp.floor(sizes / _STEP + share) * _STEP
    found = jnp.where(sizes < _NORMAL, tiny, normal)
    found = jnp.where(only_positive & (rows != 0), jnp.maximum(found, _STEP), found)
    codes = jnp.where(rows < 0, -found, found).astype(jnp.float8_e4m3fn)
    like = np.broadcast_to(np.zeros((), jnp.float8_e4m3fn), _shape(leaf).shape)
    return {"codes": _leaf(codes, like), "scale": scale[:, 0]}


def _decode_float8(block: int, stored: Any, like: Any) -> Any:
    scale = stored["scale"][:, None]
    # The quotient of the scale would underflow; that of a code by 448 is rounded once.
    values = _blocks(stored["codes"], block).astype(jnp.float32) / np.float32(_MOST)
    return _leaf(values.astype(scale.dtype) * scale, like)


NAMES.update({_encode8: "int8", _encode4: "int4", _encode_float8: "float8"})
