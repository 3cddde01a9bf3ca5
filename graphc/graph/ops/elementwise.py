"""Elementwise primitives: one table row each, with accepted dtypes, result dtype and meaning in NumPy.

On half types (bfloat16, float16) every op computes in float32 and rounds its result once. On complex types every op is
real arithmetic on the parts, in the order that `graphc.passes.complexes` writes it: that is where what rounds is said.
"""

import math
from collections.abc import Callable
from typing import cast as typing_cast

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, Op, TensorType
from graphc.graph.registry import register

BOOLS = (dtypes.bool_,)
FLOATS = dtypes.FLOATS
INTEGERS = dtypes.INTEGERS
COMPLEX = dtypes.COMPLEX
SIGNED = (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, *FLOATS, *COMPLEX)
NUMERIC = dtypes.NUMERIC
BITS = BOOLS + INTEGERS
ANY = dtypes.ALL


def _same_shape(name: str, types: tuple[TensorType, ...]) -> None:
    if any(t.shape != types[0].shape for t in types):
        raise ShapeError(f"{name}: shapes differ, {' and '.join(map(str, types))}")


def _rule(
    name: str, arity: int, accepted: tuple[DType, ...], result: Callable[[DType], DType]
) -> Callable[[tuple[TensorType, ...], Attrs], tuple[TensorType, ...]]:
    def infer(types: tuple[TensorType, ...], _: Attrs) -> tuple[TensorType, ...]:
        if len(types) != arity:
            raise ShapeError(f"{name}: takes {arity} operands, got {len(types)}")
        _same_shape(name, types)
        if any(t.dtype != types[0].dtype for t in types):
            raise DTypeError(f"{name}: dtypes differ, {' and '.join(map(str, types))}")
        if types[0].dtype not in accepted:
            raise DTypeError(f"{name}: {types[0].dtype} is not accepted, only {', '.join(d.name for d in accepted)}")
        dtype = result(types[0].dtype)
        return (types[0] if dtype is types[0].dtype else types[0].with_dtype(dtype),)

    return infer


def _same(dtype: DType) -> DType:
    return dtype


def _bool(dtype: DType) -> DType:
    return dtypes.bool_


def _part(dtype: DType) -> DType:
    return dtype.part


def _elementwise(
    name: str,
    arity: int,
    accepted: tuple[DType, ...],
    numpy: Callable[..., np.ndarray],
    result: Callable[[DType], DType] = _same,
) -> Op:
    def meaning(_: Attrs, *args: np.ndarray) -> tuple[np.ndarray, ...]:
        kind = args[0].dtype if result is _same else result(dtypes.dtype(args[0].dtype)).numpy
        with np.errstate(all="ignore"):
            return (np.asarray(numpy(*map(dtypes.widened, args))).astype(kind, copy=False),)

    return register(name, "elementwise", _rule(name, arity, accepted, result), meaning)


_transcendental: list[str] = []


def _function(
    name: str, arity: int, numpy: Callable[..., np.ndarray], accepted: tuple[DType, ...] = dtypes.FLOATS
) -> Op:
    """A float function that hardware does not round correctly: a polynomial in the loop IR, dear to compute twice."""
    _transcendental.append(name)
    return _elementwise(name, arity, accepted, numpy)


def _through_math(fn: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    return typing_cast(Callable[[np.ndarray], np.ndarray], np.vectorize(fn, otypes=[np.float64]))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    small = np.exp(-np.abs(wide))  # never overflows
    return np.where(wide >= 0, 1 / (1 + small), small / (1 + small))


def _div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "fc":
        return x / y
    return np.where(y == 0, np.zeros_like(x), _trunc_div(x, np.where(y == 0, np.ones_like(y), y)))


def _trunc_div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "u":
        return x // y
    quotient = x // y  # floors; one too low where signs differ and the division is not exact
    return quotient + ((quotient * y != x) & ((x < 0) != (y < 0))).astype(x.dtype)


def _rem(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.fmod(x, y)
    safe = np.where(y == 0, np.ones_like(y), y)
    return np.where(y == 0, np.zeros_like(x), x - _trunc_div(x, safe) * safe)


def _expm1(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.expm1(x)
    found = np.asarray(np.exp(x))
    real = np.expm1(x.real) * np.cos(x.imag) - 2 * np.sin(x.imag / 2) ** 2
    found.real = np.where(np.abs(x.real) < 64, real, found.real - 1)
    return found


def _log1p(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.log1p(x)
    found = np.asarray(np.log(1 + x))  # NumPy's log1p is no closer near 0
    wide = x.astype(np.clongdouble)
    excess = 2 * wide.real + wide.real**2 + wide.imag**2
    found.real = np.where(np.abs(excess) < 0.5, np.log1p(excess) / 2, found.real)
    found.imag = np.arctan2(x.imag, 1 + x.real)
    return found


def _widest(x: np.ndarray) -> type:
    return np.complex128 if x.dtype.kind == "c" else np.float64


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.power(x.astype(_widest(x)), y.astype(_widest(y)))


# Unary. The float functions are evaluated in float64 and rounded once, so the float32 meaning is correctly rounded
# up to double rounding: a yardstick for error bounds rather than one more implementation.
def _wide(fn: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: fn(x.astype(_widest(x)))


neg = _elementwise("neg", 1, SIGNED, np.negative)
abs_ = _elementwise("abs", 1, (*NUMERIC, *COMPLEX), np.abs, _part)  # of complex numbers real
sign = _elementwise("sign", 1, NUMERIC, np.sign)
exp = _function("exp", 1, _wide(np.exp), (*FLOATS, *COMPLEX))
expm1 = _function("expm1", 1, _wide(_expm1), (*FLOATS, *COMPLEX))
log = _function("log", 1, _wide(np.log), (*FLOATS, *COMPLEX))
log1p = _function("log1p", 1, _wide(_log1p), (*FLOATS, *COMPLEX))
sqrt = _elementwise("sqrt", 1, (*FLOATS, *COMPLEX), np.sqrt)
sin = _function("sin", 1, _wide(np.sin), (*FLOATS, *COMPLEX))
cos = _function("cos", 1, _wide(np.cos), (*FLOATS, *COMPLEX))
atan = _function("atan", 1, _wide(np.arctan), (*FLOATS, *COMPLEX))
tanh = _function("tanh", 1, _wide(np.tanh), (*FLOATS, *COMPLEX))
erf = _function("erf", 1, _through_math(math.erf))
erfc = _function("erfc", 1, _through_math(math.erfc))
sigmoid = _function("sigmoid", 1, _sigmoid)  # 1 / (1 + exp(-x)), never overflowing
floor = _elementwise("floor", 1, FLOATS, np.floor)
ceil = _elementwise("ceil", 1, FLOATS, np.ceil)
trunc = _elementwise("trunc", 1, FLOATS, np.trunc)
round_ = _elementwise("round", 1, FLOATS, np.rint)  # ties to even
is_finite = _elementwise("is_finite", 1, FLOATS, np.isfinite, _bool)
not_ = _elementwise("not", 1, BITS, np.invert)  # logical on bool, bitwise on integers


def _larger(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    larger = np.maximum(x, y)
    return np.where((x == 0) & (y == 0), x + y, larger) if x.dtype.kind == "f" else larger  # -0 + 0 is 0


def _smaller(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -_larger(-x, -y) if x.dtype.kind == "f" else np.minimum(x, y)


# Binary. Integers wrap; div and rem truncate towards zero and give 0 for a zero divisor; a shift count that is negative
# or not below the width shifts everything out. max and min propagate NaN and take -0 for less than 0.
add = _elementwise("add", 2, (*NUMERIC, *COMPLEX), np.add)
sub = _elementwise("sub", 2, (*NUMERIC, *COMPLEX), np.subtract)
mul = _elementwise("mul", 2, (*NUMERIC, *COMPLEX), np.multiply)
div = _elementwise("div", 2, (*NUMERIC, *COMPLEX), _div)
rem = _elementwise("rem", 2, NUMERIC, _rem)
pow_ = _function("pow", 2, _power, (*FLOATS, *COMPLEX))
max_ = _elementwise("max", 2, ANY, _larger)
min_ = _elementwise("min", 2, ANY, _smaller)
and_ = _elementwise("and", 2, BITS, np.bitwise_and)
or_ = _elementwise("or", 2, BITS, np.bitwise_or)
xor = _elementwise("xor", 2, BITS, np.bitwise_xor)
shift_left = _elementwise("shift_left", 2, INTEGERS, np.left_shift)
shift_right = _elementwise("shift_right", 2, INTEGERS, np.right_shift)  # arithmetic when signed

eq = _elementwise("eq", 2, dtypes.EVERY, np.equal, _bool)
ne = _elementwise("ne", 2, dtypes.EVERY, np.not_equal, _bool)
lt = _elementwise("lt", 2, ANY, np.less, _bool)
le = _elementwise("le", 2, ANY, np.less_equal, _bool)
gt = _elementwise("gt", 2, ANY, np.greater, _bool)
ge = _elementwise("ge", 2, ANY, np.greater_equal, _bool)


def _infer_select(types: tuple[TensorType, ...], _: Attrs) -> tuple[TensorType, ...]:
    if len(types) != 3:
        raise ShapeError(f"select: takes 3 operands, got {len(types)}")
    _same_shape("select", types)
    condition, on_true, on_false = types
    if condition.dtype is not dtypes.bool_:
        raise DTypeError(f"select: the condition must be bool, got {condition}")
    if on_true.dtype != on_false.dtype:
        raise DTypeError(f"select: dtypes differ, {on_true} and {on_false}")
    return (on_true,)


def _meaning_select(_: Attrs, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.where(condition, x, y),)


select = register("select", "elementwise", _infer_select, _meaning_select)


@dataclass(frozen=True, slots=True)
class DTypeAttrs(Attrs):
    """The dtype to convert to."""

    dtype: DType


def _infer_cast(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, DTypeAttrs)
    if types[0].dtype.is_complex and not (attrs.dtype.is_complex or attrs.dtype.is_bool):
        raise DTypeError(f"cast: {types[0]} is complex and {attrs.dtype} is not; take real(x), imag(x) or abs(x)")
    return (types[0].with_dtype(attrs.dtype),)


def _meaning_cast(attrs: DTypeAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    target = attrs.dtype.numpy
    with np.errstate(all="ignore"):
        if attrs.dtype.is_half or dtypes.dtype(x.dtype).is_half:
            x = x.astype(np.float32)
        if not (x.dtype.kind == "f" and attrs.dtype.is_integer):
            return (x.astype(target),)
        limits = np.iinfo(target.name)
        clipped = np.trunc(np.where(np.isnan(x), 0, x))
        inside = (clipped > limits.min) & (clipped < float(limits.max))
        result = np.where(inside, clipped, 0).astype(target)
        result = np.where(clipped >= float(limits.max), np.array(limits.max, target), result)
        return (np.where(clipped <= limits.min, np.array(limits.min, target), result).astype(target),)


# Float to integer truncates towards zero, saturates, and turns NaN into 0; anything to bool is x != 0; what is too
# large for a float is infinite. Between a half type and anything else the way is through float32.
cast = register("cast", "elementwise", _infer_cast, _meaning_cast, DTypeAttrs)


def _infer_bitcast(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, DTypeAttrs)
    if types[0].dtype.is_complex or attrs.dtype.is_complex:
        raise DTypeError(f"bitcast: {types[0]} to {attrs.dtype}: take real(x) or imag(x)")
    if dtypes.bool_ in (types[0].dtype, attrs.dtype) or types[0].dtype.bits != attrs.dtype.bits:
        raise DTypeError(f"bitcast: {types[0]} and {attrs.dtype} differ in width")
    return (types[0].with_dtype(attrs.dtype),)


bitcast = register(
    "bitcast",
    "elementwise",
    _infer_bitcast,
    lambda attrs, x: (np.ascontiguousarray(x).reshape(x.shape).view(attrs.dtype.numpy),),
    DTypeAttrs,
)

# Of complex numbers alone; of floats they are compositions.
asin = _function("asin", 1, _wide(np.arcsin), COMPLEX)
acos = _function("acos", 1, _wide(np.arccos), COMPLEX)

# Complex numbers and their parts.
real = _elementwise("real", 1, COMPLEX, np.real, _part)
imag = _elementwise("imag", 1, COMPLEX, np.imag, _part)


def _of_parts(dtype: DType) -> DType:
    return dtypes.promote(dtypes.complex64, dtype)


def _joined(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    result = np.empty(x.shape, _of_parts(dtypes.dtype(x.dtype)).numpy)
    result.real, result.imag = x, y
    return result


complex_ = _elementwise("complex", 2, (dtypes.float32, dtypes.float64), _joined, _of_parts)


@dataclass(frozen=True, slots=True)
class WithinAttrs(Attrs):
    """An index that `what` expects in [low, high)."""

    low: int
    high: int
    what: str


def _infer_within(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    (x,) = types
    if not x.dtype.is_integer:
        raise DTypeError(f"within: an index is an integer, got {x}")
    return (x,)


# The identity, in programs that are traced with `sanitize=True`: what is checked there stands as the user wrote it,
# before negative indices are counted from the end and indices outside are clamped or dropped.
within = register("within", "elementwise", _infer_within, lambda attrs, x: (x,), WithinAttrs)

TRANSCENDENTAL = frozenset(_transcendental)

# The identity; its derivative is zero. Removed by the canonicalise pass.
stop_gradient = _elementwise("stop_gradient", 1, dtypes.EVERY, lambda x: x)

# The identity; what it names is kept by a checkpoint around it. Removed by the canonicalise pass.
saved = _elementwise("saved", 1, dtypes.EVERY, lambda x: x)
