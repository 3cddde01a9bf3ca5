"""Scalar arithmetic of the loop IR on NumPy arrays, bit for bit as `graphc.kernel.ir` defines it.

In: arrays of any (broadcastable) shapes, all of one dtype per operation. Out: arrays of the result dtype.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any
from typing import cast as _as

import numpy as np
import numpy.typing as npt

from graphc.core.dtypes import DType
from graphc.kernel.ir import BinaryOp, Combine, CompareOp, UnaryOp

Value = npt.NDArray[Any]
_F64 = npt.NDArray[np.float64]


# ----------------------------------------------------------------------------------------------- one and two operands


def _not(x: Value) -> Value:
    return np.asarray(np.invert(x))


_UNARY: dict[UnaryOp, Callable[[Value], Value]] = {
    "neg": lambda x: np.asarray(np.negative(x)),
    "abs": lambda x: np.asarray(np.abs(x)),
    "sqrt": lambda x: np.asarray(np.sqrt(x)),
    "floor": lambda x: np.asarray(np.floor(x)),
    "ceil": lambda x: np.asarray(np.ceil(x)),
    "trunc": lambda x: np.asarray(np.trunc(x)),
    "rint": lambda x: np.asarray(np.rint(x)),
    "not": _not,
}

_COMPARE: dict[CompareOp, Callable[[Value, Value], Value]] = {
    "eq": lambda a, b: np.asarray(np.equal(a, b)),
    "ne": lambda a, b: np.asarray(np.not_equal(a, b)),
    "lt": lambda a, b: np.asarray(np.less(a, b)),
    "le": lambda a, b: np.asarray(np.less_equal(a, b)),
    "gt": lambda a, b: np.asarray(np.greater(a, b)),
    "ge": lambda a, b: np.asarray(np.greater_equal(a, b)),
}


def unary(op: UnaryOp, x: Value) -> Value:
    """`op(x)`."""
    return _UNARY[op](x)


def compare(op: CompareOp, a: Value, b: Value) -> Value:
    """`a op b` as bool."""
    return _COMPARE[op](a, b)


def binary(op: BinaryOp, a: Value, b: Value) -> Value:
    """`a op b` in the operands' dtype."""
    return _BINARY[op](a, b)


def _div(a: Value, b: Value) -> Value:
    if a.dtype.kind == "f":
        return np.asarray(np.divide(a, b))
    safe = np.where((b == 0) | _minus_one(b), np.ones_like(b), b)
    quotient = (a - np.fmod(a, safe)) // safe
    quotient = np.where(_minus_one(b), np.negative(a), quotient)  # INT_MIN / -1 wraps
    return np.where(b == 0, np.zeros_like(a), quotient)


def _rem(a: Value, b: Value) -> Value:
    if a.dtype.kind == "f":
        return np.asarray(np.fmod(a, b))
    trivial = (b == 0) | _minus_one(b)
    return np.where(trivial, np.zeros_like(a), np.fmod(a, np.where(trivial, np.ones_like(b), b)))


def _minus_one(b: Value) -> Value:
    return np.asarray(b == -1) if b.dtype.kind == "i" else np.zeros(b.shape, np.bool_)


def _extremum(pick: np.ufunc, zeros: np.ufunc) -> Callable[[Value, Value], Value]:
    def apply(a: Value, b: Value) -> Value:
        result = np.asarray(pick(a, b))
        if a.dtype.kind != "f":
            return result
        bits = np.dtype(f"u{a.dtype.itemsize}")  # equal operands differ in the sign of zero at most
        return np.where(a == b, zeros(a.view(bits), b.view(bits)).view(a.dtype), result)

    return apply


def _shift(shift: np.ufunc) -> Callable[[Value, Value], Value]:
    return lambda a, b: np.asarray(shift(a, b))


_BINARY: dict[BinaryOp, Callable[[Value, Value], Value]] = {
    "add": lambda a, b: np.asarray(np.add(a, b)),
    "sub": lambda a, b: np.asarray(np.subtract(a, b)),
    "mul": lambda a, b: np.asarray(np.multiply(a, b)),
    "div": _div,
    "rem": _rem,
    "min": _extremum(np.minimum, np.bitwise_or),
    "max": _extremum(np.maximum, np.bitwise_and),
    "and": lambda a, b: np.asarray(np.bitwise_and(a, b)),
    "or": lambda a, b: np.asarray(np.bitwise_or(a, b)),
    "xor": lambda a, b: np.asarray(np.bitwise_xor(a, b)),
    "shl": _shift(np.left_shift),
    "shr": _shift(np.right_shift),
}


def cast(x: Value, dtype: DType) -> Value:
    """Convert; float to integer truncates, saturates and turns NaN into 0, integer to integer wraps."""
    to = dtype.numpy
    if x.dtype == to:
        return x
    if dtype.is_bool:
        return np.asarray(x != 0)
    if x.dtype.kind not in "fV" or dtype.is_float:
        return x.astype(to)
    limits = np.iinfo(dtype.name)
    above = x >= x.dtype.type(2.0 ** (dtype.bits - (dtype.kind == "int")))
    below = x < x.dtype.type(limits.min)
    inside = np.where(above | below | np.isnan(x), x.dtype.type(0), x).astype(to)
    return np.where(above, to.type(limits.max), np.where(below, to.type(limits.min), inside))


# ------------------------------------------------------------------------------------------------ fused multiply-add


def fma(a: Value, b: Value, c: Value) -> Value:
    """`a * b + c` rounded once (IEEE 754 fusedMultiplyAdd); integers wrap."""
    if c.dtype == np.float32:
        return _fma32(a.astype(np.float64), b.astype(np.float64), c.astype(np.float64))
    if c.dtype == np.float64:
        return _fma64(_as(_F64, a), _as(_F64, b), _as(_F64, c))
    return np.asarray(a * b + c)


def dot_pair(a: Value, b: Value, c: Value) -> Value:
    """Both products of pairs of bfloat16, the high one first, added to `c` with one rounding each."""

    def half(pair: Value, shift: int) -> Value:
        return np.asarray((pair >> np.uint32(shift)) << np.uint32(16), np.uint32).view(np.float32)

    return fma(half(a, 0), half(b, 0), fma(half(a, 16), half(b, 16), c))


def _two_sum(a: _F64, b: _F64) -> tuple[_F64, _F64]:
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _odd_sum(a: _F64, b: _F64) -> _F64:
    """`a + b` rounded to odd: an inexact sum takes the neighbour whose last bit is 1."""
    total, error = _two_sum(a, b)
    bits = np.asarray(total).view(np.int64)
    inexact_even = (error != 0) & np.isfinite(error) & (bits & 1 == 0)
    outwards = (error > 0) == (total > 0)
    return np.asarray(bits + np.where(inexact_even, np.where(outwards, 1, -1), 0)).view(np.float64)


def _fma32(a: _F64, b: _F64, c: _F64) -> Value:
    # The product of two float32 is exact in float64; a sum rounded to odd with 53 >= 24 + 2 bits rounds right again.
    return _odd_sum(np.asarray(a * b), c).astype(np.float32)


def _split(x: _F64) -> tuple[_F64, _F64]:
    scaled = x * 134217729.0  # 2**27 + 1 (Veltkamp)
    high = scaled - (scaled - x)
    return high, x - high


def _fma64(a: _F64, b: _F64, c: _F64) -> Value:
    """Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd",
    2008; exact rational arithmetic where something could overflow or underflow on the way.
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    product = a * b
    (ah, al), (bh, bl) = _split(a), _split(b)
    error = al * bl - (((product - ah * bh) - al * bh) - ah * bl)
    uh, ul = _two_sum(c, error)
    th, tl = _two_sum(np.asarray(product), uh)
    result = np.asarray(th + _odd_sum(tl, ul))
    size = np.abs(product)
    safe = (size > 2.0**-900) & (size < 2.0**1000) & (np.abs(a) < 2.0**990) & (np.abs(b) < 2.0**990)
    safe &= (np.abs(c) < 2.0**1000) & ((np.abs(c) > 2.0**-900) | (c == 0))
    if safe.all():
        return result
    # zeros, infinities and NaN: the plain expression is exact
    plain = ~np.isfinite(a) | ~np.isfinite(b) | ~np.isfinite(c) | (a == 0) | (b == 0)
    result = np.where(plain, product + c, result)
    if result.ndim == 0:
        return result if plain | safe else np.asarray(_fma_exact(float(a), float(b), float(c)))
    for i in np.flatnonzero(~(plain | safe)):
        result[i] = _fma_exact(float(a[i]), float(b[i]), float(c[i]))
    return result


def _fma_exact(a: float, b: float, c: float) -> float:
    total = Fraction(a) * Fraction(b) + Fraction(c)
    if total == 0:
        return 0.0  # a nonzero product and its opposite: +0 when rounding to nearest
    try:
        result = total.numerator / total.denominator  # correctly rounded by the language
    except OverflowError:
        return float("inf") if total > 0 else float("-inf")
    return result if result else (0.0 if total > 0 else -0.0)


# --------------------------------------------------------------------------------------------------------- combines


def combine(how: Combine, targets: tuple[Value, ...], values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The new targets of `Accumulate`."""
    if how in ("argmax", "argmin"):
        return _arg_combine(how == "argmax", targets, values)
    return (_BINARY[_as(BinaryOp, how)](targets[0], values[0]),)


def _arg_combine(largest: bool, targets: tuple[Value, ...], values: tuple[Value, ...]) -> tuple[Value, ...]:
    (best, best_index), (value, value_index) = targets, values
    nan, best_nan = value != value, best != best
    better = np.greater(value, best) if largest else np.less(value, best)
    tie = (value == best) | (nan & best_nan)
    replace = ((better | nan) & ~best_nan) | (tie & (value_index < best_index))
    return np.where(replace, value, best), np.where(replace, value_index, best_index)
