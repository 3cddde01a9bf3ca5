"""Random numbers from keys: `gc.random.normal(key, shape)` is a function of its arguments and nothing else.

A key is a uint32[2] array, traced or not. Draw from a key once; make more with `split` or `fold_in`. The generator is
Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011). Bits and uniforms are identical on every backend; normals and
the rest are too, because they are made of operations that IEEE 754 defines exactly (add, multiply, divide, square root,
bits): the quantile function of Wichura (AS 241, Applied Statistics 37, 1988), with a logarithm of our own.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError, UnsupportedError
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops.movement import ShapeAttrs
from graphc.graph.ops.source import IotaAttrs, ShuffleAttrs, iota, random_bits, shuffle_index
from graphc.tracing.array import elementwise, indexing, movement, reduction
from graphc.tracing.bind import as_array, bind1, dtype_of, is_scalar, to_dtype
from graphc.tracing.context import Array, ArrayLike, bind_nodes, is_tracing, with_line
from graphc.tracing.tracer import DTypeLike

__all__ = [
    "bernoulli",
    "bits",
    "categorical",
    "exponential",
    "fold_in",
    "gumbel",
    "key",
    "normal",
    "permutation",
    "randint",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
]

Shape = int | Sequence[int]

# Each use of a key has its own stream: what a key is split into has nothing to do with the bits drawn from it.
_SEED, _SPLIT, _FOLD = ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))  # digits of pi


def key(seed: ArrayLike) -> Array:
    """The key of a whole-number seed, a Python int or a traced one.

    >>> import graphc as gc
    >>> gc.random.key(0).shape
    (2,)
    """
    return _draw(_mixed(_words(seed), _SEED), (2,))


def split(key: ArrayLike, n: int = 2) -> Array:
    """`n` independent keys: uint32[n, 2].

    >>> import graphc as gc
    >>> first, second = gc.random.split(gc.random.key(0))
    """
    return _draw(_mixed(_key("split", key), _SPLIT), (n, 2))


def fold_in(key: ArrayLike, *data: ArrayLike | str) -> Array:
    """The key that belongs to `key` and some whole numbers (a step, traced or not) or names (a module's path).

    >>> import graphc as gc
    >>> layer_key = gc.random.fold_in(gc.random.key(0), 17, "encoder.dropout")
    """
    result = _key("fold_in", key)
    for item in data:
        # Drawing before the data are mixed in keeps keys that differ in a few bits apart.
        result = _draw(bind1(ops.xor, _draw(_mixed(result, _FOLD), (2,)), _words(item)), (2,))
    return result


def bits(key: ArrayLike, shape: Shape = ()) -> Array:
    """Random uint32.

    >>> import graphc as gc
    >>> gc.random.bits(gc.random.key(0), (3,)).dtype
    dtype('uint32')
    """
    return _draw(_key("bits", key), movement.as_shape("bits", shape))


def uniform(
    key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32", low: ArrayLike = 0.0, high: ArrayLike = 1.0
) -> Array:
    """Uniform in [low, high): multiples of 2**-24 (float32) or 2**-53 (float64), then scaled.

    >>> import graphc as gc
    >>> x = gc.random.uniform(gc.random.key(0), (100,))
    >>> bool((0 <= x).all() and (x < 1).all())
    True
    """
    wanted = _float("uniform", dtype)
    unit = _unit(_key("uniform", key), movement.as_shape("uniform", shape), wanted)
    if is_scalar(low) and is_scalar(high) and (low, high) == (0, 1):
        return unit
    first, last = as_array(low, wanted), as_array(high, wanted)
    scaled = bind1(ops.add, bind1(ops.mul, unit, bind1(ops.sub, last, first)), first)
    return bind1(ops.select, bind1(ops.lt, scaled, last), scaled, first)  # rounding may reach `high`


def normal(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Standard normal, at most 6.3 (float32) or 9.1 (float64) from 0.

    >>> import graphc as gc
    >>> x = gc.random.normal(gc.random.key(0), (1000,))
    >>> bool(abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1)
    True
    """
    wanted = _float("normal", dtype)
    extents = movement.as_shape("normal", shape)
    checked = _key("normal", key)
    words = _draw(checked, extents) if wanted is dtypes.float32 else _draw(checked, (2, *extents))
    first = words if wanted is dtypes.float32 else indexing.getitem(words, 0)
    negative = bind1(ops.eq, bind1(ops.and_, first, 1), 1)
    tail = to_dtype(bind1(ops.shift_right, first, 1), wanted)  # 31 bits
    rest: ArrayLike = 0.5
    if wanted is dtypes.float64:
        rest = bind1(ops.mul, bind1(ops.add, to_dtype(indexing.getitem(words, 1), wanted), 0.5), 2.0**-32)
    tail = bind1(ops.mul, bind1(ops.add, tail, rest), 2.0**-32)
    size = _normal_quantile(tail, wanted, 2.0**-33 if wanted is dtypes.float32 else 2.0**-65)
    return bind1(ops.select, negative, bind1(ops.neg, size), size)


def truncated_normal(
    key: ArrayLike, lower: float = -2.0, upper: float = 2.0, shape: Shape = (), dtype: DTypeLike = "float32"
) -> Array:
    """Standard normal given that it lies in [lower, upper], which are Python numbers.

    >>> import graphc as gc
    >>> x = gc.random.truncated_normal(gc.random.key(0), -1.0, 1.0, (1000,))
    >>> bool(abs(x).max() <= 1)
    True
    """
    if not lower < upper:
        raise ArgumentError(with_line(f"truncated_normal: lower={lower} is not below upper={upper}"))
    wanted = _float("truncated_normal", dtype)
    unit = _unit(_key("truncated_normal", key), movement.as_shape("truncated_normal", shape), wanted)
    low, high = _normal_distribution(lower), _normal_distribution(upper)
    below = bind1(ops.add, bind1(ops.mul, unit, high - low), low)
    above = bind1(ops.sub, 1.0, below)
    smallest = float(np.finfo(wanted.name).tiny)
    size = _normal_quantile(bind1(ops.max_, bind1(ops.min_, below, above), smallest), wanted, smallest)
    signed = bind1(ops.select, bind1(ops.lt, below, 0.5), bind1(ops.neg, size), size)
    return elementwise.clip(signed, lower, upper)


def bernoulli(key: ArrayLike, p: ArrayLike = 0.5, shape: Shape | None = None) -> Array:
    """True with probability `p` (a number or an array, whose shape is the default); bool.

    >>> import graphc as gc
    >>> gc.random.bernoulli(gc.random.key(0), 0.5, (3,)).dtype
    dtype('bool')
    """
    chance = as_array(float(p) if isinstance(p, int) else p)
    extents = chance.shape if shape is None else movement.as_shape("bernoulli", shape)
    wanted = dtype_of(chance) if dtype_of(chance) in (dtypes.float32, dtypes.float64) else dtypes.float32
    return bind1(ops.lt, _unit(_key("bernoulli", key), extents, wanted), chance)


def randint(key: ArrayLike, shape: Shape, low: int, high: int, dtype: DTypeLike = "int32") -> Array:
    """Whole numbers in [low, high), Python ints at most 2**32 apart; no value is likelier than another by more than
    one part in 2**32 / (high - low).

    >>> import graphc as gc
    >>> x = gc.random.randint(gc.random.key(0), (100,), 1, 7)
    >>> int(x.min()), int(x.max())
    (1, 6)
    """
    wanted = dtypes.dtype(dtype)
    limits = np.iinfo(wanted.name) if wanted.is_integer else None
    if limits is None or not limits.min <= low < high <= int(limits.max) + 1 or high - low > 2**32:
        raise ArgumentError(with_line(f"randint: [{low}, {high}) is empty, wider than 2**32, or not of {wanted}"))
    words = to_dtype(_draw(_key("randint", key), movement.as_shape("randint", shape)), dtypes.uint64)
    offset = bind1(ops.shift_right, bind1(ops.mul, words, high - low), 32)
    shifted = bind1(ops.add, to_dtype(offset, dtypes.int64), low if low < 2**63 else low - 2**64)
    return to_dtype(shifted, wanted)


def exponential(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Exponential with mean 1.

    >>> import graphc as gc
    >>> bool(gc.random.exponential(gc.random.key(0), (10,)).min() > 0)
    True
    """
    wanted = _float("exponential", dtype)
    return bind1(
        ops.neg, _log(_open_unit(_key("exponential", key), movement.as_shape("exponential", shape), wanted), wanted)
    )


def gumbel(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Standard Gumbel, `-log(-log(u))`: the largest of `logits + gumbel` is a sample of softmax(logits).

    >>> import graphc as gc
    >>> gc.random.gumbel(gc.random.key(0), (2,)).shape
    (2,)
    """
    wanted = _float("gumbel", dtype)
    return bind1(ops.neg, _log(exponential(key, shape, wanted), wanted))


def categorical(key: ArrayLike, logits: ArrayLike, axis: int = -1) -> Array:
    """An index (int64) along `axis`, drawn with probabilities softmax(logits).

    >>> import graphc as gc
    >>> int(gc.random.categorical(gc.random.key(0), [-1e9, 0.0, -1e9]))
    1
    """
    scores = as_array(logits)
    return reduction.argmax(bind1(ops.add, scores, gumbel(key, scores.shape, dtype_of(scores))), axis)


def shuffle(key: ArrayLike, indices: ArrayLike, n: int) -> Array:
    """Where each index in [0, n) goes under a random permutation of [0, n): uint32, shaped like `indices`.

    Any part of the permutation is computed on its own (swap-or-not, Hoang, Morris and Rogaway, CRYPTO 2012); n is a
    Python int below 2**31.

    >>> import graphc as gc
    >>> sorted(gc.random.shuffle(gc.random.key(0), np.arange(5), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    rounds = max(24, math.ceil(6 * math.log2(max(n, 2))))
    keys = _draw(_key("shuffle", key), (rounds, 2))
    return bind1(shuffle_index, to_dtype(as_array(indices), dtypes.uint32), keys, attrs=ShuffleAttrs(n))


def permutation(key: ArrayLike, x: ArrayLike, axis: int = 0) -> Array:
    """A random permutation of the numbers below a Python int, or of the slices of an array along an axis.

    >>> import graphc as gc
    >>> sorted(gc.random.permutation(gc.random.key(0), 4).tolist())
    [0, 1, 2, 3]
    """
    if isinstance(x, int):
        return shuffle(key, _positions(x), x)
    array = as_array(x)
    position = movement.normal_axis("permutation", axis, len(array.shape))
    extent = array.shape[position]
    return indexing.take(array, shuffle(key, _positions(extent), extent), position, mode="clip") if extent else array


def _positions(n: int) -> Array:
    attrs = IotaAttrs((n,), dtypes.uint32, 0)
    return bind_nodes(iota, (), attrs)[0] if is_tracing() else bind1(iota, attrs=attrs)


# keys


def _key(name: str, key: ArrayLike) -> Array:
    array = as_array(key)
    if array.shape != (2,) or dtype_of(array) is not dtypes.uint32:
        kind = f"{dtype_of(array)}{list(array.shape)}"
        raise DTypeError(with_line(f"random.{name}: a key is uint32[2] from gc.random.key(seed), got {kind}"))
    return array


def _draw(key: Array, shape: tuple[int, ...]) -> Array:
    return bind1(random_bits, key, attrs=ShapeAttrs(shape))


def _mixed(words: Array, stream: tuple[int, int]) -> Array:
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


# floats


def _float(name: str, dtype: DTypeLike) -> DType:
    wanted = dtypes.dtype(dtype)
    if not wanted.is_float:
        raise DTypeError(with_line(f"random.{name}: draws floats, not {wanted}; see randint and bits"))
    if wanted is dtypes.bfloat16:
        raise UnsupportedError(with_line(f"random.{name}: draws no {wanted}; draw float32 and cast with .astype(...)"))
    return wanted


def _unit(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    """Multiples of 2**-24 or 2**-53 in [0, 1)."""
    if dtype is dtypes.float32:
        return bind1(ops.mul, to_dtype(bind1(ops.shift_right, _draw(key, shape), 8), dtype), 2.0**-24)
    words = _draw(key, (2, *shape))
    high = to_dtype(bind1(ops.shift_right, indexing.getitem(words, 0), 5), dtype)  # 27 bits
    low = to_dtype(bind1(ops.shift_right, indexing.getitem(words, 1), 6), dtype)  # 26 bits
    return bind1(ops.mul, bind1(ops.add, bind1(ops.mul, high, 2.0**26), low), 2.0**-53)


def _open_unit(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    """Inside (0, 1): half a step above `_unit`'s values, with one bit less."""
    step = 2.0**-24 if dtype is dtypes.float32 else 2.0**-53
    whole = bind1(ops.mul, _unit(key, shape, dtype), 0.5 / step)
    return bind1(ops.mul, bind1(ops.add, bind1(ops.floor, whole), 0.5), 2 * step)


def _normal_distribution(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


# The logarithm: x = 2**k m with m in [sqrt(1/2), sqrt(2)), log(m) = 2 atanh(s) with s = (m - 1) / (m + 1), by its
# series in s**2 (at most 0.0295), cut where the next term is below half a unit in the last place.
_LOG_TERMS = {"float32": 6, "float64": 11}
# Bits of the mantissa, and the unsigned dtype as wide as the float.
_LAYOUT = {"float32": (23, dtypes.uint32), "float64": (52, dtypes.uint64)}


def _log(x: Array, dtype: DType) -> Array:
    """log(x) for positive normal floats."""
    mantissa_bits, unsigned = _LAYOUT[dtype.name]
    bits_of = elementwise.bitcast
    root = int(np.asarray(math.sqrt(0.5), dtype.numpy).view(unsigned.numpy))
    one = int(np.asarray(1.0, dtype.numpy).view(unsigned.numpy))
    # Subtracting the bits of sqrt(1/2) makes the exponent field count from there.
    shifted = bind1(ops.add, bits_of(x, unsigned), one - root)
    exponent = to_dtype(bind1(ops.shift_right, shifted, mantissa_bits), dtypes.int32)
    bias = one >> mantissa_bits
    k = to_dtype(bind1(ops.sub, exponent, bias), dtype)
    fraction = bind1(ops.add, bind1(ops.and_, shifted, (1 << mantissa_bits) - 1), root)
    m = bits_of(fraction, dtype)
    s = bind1(ops.div, bind1(ops.sub, m, 1.0), bind1(ops.add, m, 1.0))
    series = _polynomial(bind1(ops.mul, s, s), [2.0 / (2 * i + 1) for i in range(_LOG_TERMS[dtype.name])])
    return bind1(ops.add, bind1(ops.mul, k, math.log(2.0)), bind1(ops.mul, s, series))


def _polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """c0 + c1 x + c2 x**2 + ..., by Horner's rule."""

    total = bind1(ops.add, bind1(ops.mul, x, coefficients[-1]), coefficients[-2])
    for coefficient in reversed(coefficients[:-2]):
        total = bind1(ops.add, bind1(ops.mul, total, x), coefficient)
    return total


# AS 241: numerators and denominators for the centre (in 0.180625 - q**2), the tail up to r = 5 (in r - 1.6) and beyond
# (in r - 5), with r = sqrt(-log(p)). PPND7 has about 7 digits, PPND16 about 16.
_CENTRE = {
    "float32": (
        (3.3871327179e0, 5.0434271938e1, 1.5929113202e2, 5.9109374720e1),
        (1.0, 1.7895169469e1, 7.8757757664e1, 6.7187563600e1),
    ),
    "float64": (
        (
            3.3871328727963666080e0,
            1.3314166789178437745e2,
            1.9715909503065514427e3,
            1.3731693765509461125e4,
            4.5921953931549871457e4,
            6.7265770927008700853e4,
            3.3430575583588128105e4,
            2.5090809287301226727e3,
        ),
        (
            1.0,
            4.2313330701600911252e1,
            6.8718700749205790830e2,
            5.3941960214247511077e3,
            2.1213794301586595867e4,
            3.9307895800092710610e4,
            2.8729085735721942674e4,
            5.2264952788528545610e3,
        ),
    ),
}
_TAIL = {
    "float32": (
        (1.4234372777e0, 2.7568153900e0, 1.3067284816e0, 1.7023821103e-1),
        (1.0, 7.3700164250e-1, 1.2021132975e-1),
    ),
    "float64": (
        (
            1.42343711074968357734e0,
            4.63033784615654529590e0,
            5.76949722146069140550e0,
            3.64784832476320460504e0,
            1.27045825245236838258e0,
            2.41780725177450611770e-1,
            2.27238449892691845833e-2,
            7.74545014278341407640e-4,
        ),
        (
            1.0,
            2.05319162663775882187e0,
            1.67638483018380384940e0,
            6.89767334985100004550e-1,
            1.48103976427480074590e-1,
            1.51986665636164571966e-2,
            5.47593808499534494600e-4,
            1.05075007164441684324e-9,
        ),
    ),
}
_FAR_TAIL = {
    "float32": (
        (6.6579051150e0, 3.0812263860e0, 4.2868294337e-1, 1.7337203997e-2),
        (1.0, 2.4197894225e-1, 1.2258202635e-2),
    ),
    "float64": (
        (
            6.65790464350110377720e0,
            5.46378491116411436990e0,
            1.78482653991729133580e0,
            2.96560571828504891230e-1,
            2.65321895265761230930e-2,
            1.24266094738807843860e-3,
            2.71155556874348757815e-5,
            2.01033439929228813265e-7,
        ),
        (
            1.0,
            5.99832206555887937690e-1,
            1.36929880922735805310e-1,
            1.48753612908506148525e-2,
            7.86869131145613259100e-4,
            1.84631831751005468180e-5,
            1.42151175831644588870e-7,
            2.04426310338993978564e-15,
        ),
    ),
}


def _normal_quantile(p: Array, dtype: DType, smallest: float) -> Array:
    """The x >= 0 that a standard normal exceeds with probability p in (0, 1/2], where no p is below `smallest`."""
    q = bind1(ops.sub, 0.5, p)
    inner = bind1(ops.sub, 0.180625, bind1(ops.mul, q, q))
    centre = bind1(ops.mul, q, _ratio(inner, _CENTRE[dtype.name]))
    r = bind1(ops.sqrt, bind1(ops.neg, _log(p, dtype)))
    tail = _ratio(bind1(ops.sub, r, 1.6), _TAIL[dtype.name])
    if math.sqrt(-math.log(smallest)) <= 5:
        return bind1(ops.select, bind1(ops.le, q, 0.425), centre, tail)
    far = _ratio(bind1(ops.sub, r, 5.0), _FAR_TAIL[dtype.name])
    tail = bind1(ops.select, bind1(ops.le, r, 5.0), tail, far)
    return bind1(ops.select, bind1(ops.le, q, 0.425), centre, tail)


def _ratio(x: Array, coefficients: tuple[Sequence[float], Sequence[float]]) -> Array:
    numerator, denominator = coefficients
    return bind1(ops.div, _polynomial(x, numerator), _polynomial(x, denominator))
