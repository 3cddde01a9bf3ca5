"""Keys: what a seed gives, what a key is split into, and the bits drawn from one. Whole numbers only."""

import hashlib
from collections.abc import Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops.movement import ShapeAttrs
from graphc.graph.ops.source import random_bits
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import static_size

Shape = int | Sequence[int]

# Each use of a key has its own stream: what a key is split into has nothing to do with the bits drawn from it.
_SEED, _SPLIT, _FOLD = ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))  # digits of pi


def checked(name: str, key: ArrayLike) -> Array:
    """A key as an array; raises `DTypeError` for what is none."""
    array = as_array(key)
    if array.shape != (2,) or dtype_of(array) is not dtypes.uint32:
        kind = f"{dtype_of(array)}{list(array.shape)}"
        raise DTypeError(with_line(f"random.{name}: a key is uint32[2] from gc.random.key(seed), got {kind}"))
    return array


def draw(key: Array, shape: tuple[int, ...]) -> Array:
    return bind1(random_bits, key, attrs=ShapeAttrs(shape))


def mixed(words: Array, stream: tuple[int, int]) -> Array:
    return bind1(ops.xor, words, np.array(stream, np.uint32))


def _words(value: ArrayLike | str) -> Array:
    """A whole number modulo 2**64, or a name, as two 32-bit words."""
    if isinstance(value, str):
        value = int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little")
    if isinstance(value, (int, np.integer)):
        whole = int(value) % 2**64
        return np.array([whole & 0xFFFFFFFF, whole >> 32], np.uint32)
    array = as_array(value)
    if array.shape != () or not dtype_of(array).is_integer:
        raise DTypeError(with_line(f"random: a seed is one whole number, got {dtype_of(array)}{list(array.shape)}"))
    wide = array if dtype_of(array) is dtypes.uint64 else to_dtype(array, dtypes.int64)
    low = to_dtype(bind1(ops.and_, wide, 0xFFFFFFFF), dtypes.uint32)
    high = to_dtype(bind1(ops.and_, bind1(ops.shift_right, wide, 32), 0xFFFFFFFF), dtypes.uint32)
    return movement.concatenate([movement.reshape(low, 1), movement.reshape(high, 1)])


def key(seed: ArrayLike) -> Array:
    """The key of a whole-number seed, a Python int or a traced one.

    >>> import graphc as gc
    >>> gc.random.key(0).shape
    (2,)
    """
    return draw(mixed(_words(seed), _SEED), (2,))


def split(key: ArrayLike, n: int = 2) -> Array:
    """`n` independent keys: uint32[n, 2].

    >>> import graphc as gc
    >>> first, second = gc.random.split(gc.random.key(0))
    """
    return draw(mixed(checked("split", key), _SPLIT), (static_size("random.split", "n", n, 0), 2))


def fold_in(key: ArrayLike, *data: ArrayLike | str) -> Array:
    """The key that belongs to `key` and some whole numbers (a step, traced or not) or names (a module's path).

    >>> import graphc as gc
    >>> layer_key = gc.random.fold_in(gc.random.key(0), 17, "encoder.dropout")
    """
    result = checked("fold_in", key)
    for item in data:
        # Drawing before the data are mixed in keeps keys that differ in a few bits apart.
        result = draw(bind1(ops.xor, draw(mixed(result, _FOLD), (2,)), _words(item)), (2,))
    return result


def bits(key: ArrayLike, shape: Shape = ()) -> Array:
    """Random uint32.

    >>> import graphc as gc
    >>> gc.random.bits(gc.random.key(0), (3,)).dtype
    dtype('uint32')
    """
    return draw(checked("bits", key), movement.as_extents("bits", shape))
