"""Elementwise primitives: one table row each, with accepted dtypes, result dtype and meaning in NumPy.

On half types (bfloat16, float16) every op computes in float32 and rounds its result once.
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
SIGNED = (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, *FLOATS)
NUMERIC = dtypes.NUMERIC
BITS = BOOLS + INTEGERS
ANY = dtypes.ALL


def _same_shape(name: str, types: tuple[TensorType, ...]) -> None:
    if any(t.shape != types[0].shape for t in types):
        raise ShapeError(f"{name}: shapes differ, {' and '.join(map(str, types))}")


def _rule(
    name: str, arity: int, accepted: tuple[DType, ...], to_bool: bool
) -> Callable[[tuple[TensorType, ...], Attrs], tuple[TensorType, ...]]:
    def infer(types: tuple[TensorType, ...], _: Attrs) -> tuple[TensorType, ...]:
        if len(types) != arity:
            raise ShapeError(f"{name}: takes {arity} operands, got {len(types)}")
        _same_shape(name, types)
        if any(t.dtype != types[0].dtype for t in types):
            raise DTypeError(f"{name}: dtypes differ, {' and '.join(map(str, types))}")
        if types[0].dtype not in accepted:
            raise DTypeError(f"{name}: {types[0].dtype} is not accepted, only {', '.join(d.name for d in accepted)}")
        return (types[0].with_dtype(dtypes.bool_) if to_bool else types[0],)

    return infer


def _elementwise(
    name: str, arity: int, accepted: tuple[DType, ...], numpy: Callable[..., np.ndarray], to_bool: bool = False
) -> Op:
    def meaning(_: Attrs, *args: np.ndarray) -> tuple[np.ndarray, ...]:
        kind = np.dtype(np.bool_) if to_bool else args[0].dtype
        with np.errstate(all="ignore"):
            return (np.asarray(numpy(*map(dtypes.widened, args))).astype(kind, copy=False),)

    return register(name, "elementwise", _rule(name, arity, accepted, to_bool), meaning)


_transcendental: list[str] = []


def _function(name: str, arity: int, numpy: Callable[..., np.ndarray]) -> Op:
    """A float function that hardware does not round correctly: a polynomial in the loop IR, dear to compute twice."""
    _transcendental.append(name)
    return _elementwise(name, arity, FLOATS, numpy)


def _through_math(fn: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    return typing_cast(Callable[[np.ndarray], np.ndarray], np.vectorize(fn, otypes=[np.float64]))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    small = np.exp(-np.abs(wide))  # never overflows
    return np.where(wide >= 0, 1 / (1 + small), small / (1 + small))


def _div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
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


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.power(x.astype(np.float64), y.astype(np.float64))


# Unary. The float functions are evaluated in float64 and rounded once, so the float32 meaning is correctly rounded
# up to double rounding: a yardstick for error bounds rather than one more implementation.
def _wide(fn: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: fn(x.astype(np.float64))


neg = _elementwise("neg", 1, SIGNED, np.negative)
abs_ = _elementwise("abs", 1, NUMERIC, np.abs)
sign = _elementwise("sign", 1, NUMERIC, np.sign)
exp = _function("exp", 1, _wide(np.exp))
expm1 = _function("expm1", 1, _wide(np.expm1))
log = _function("log", 1, _wide(np.log))
log1p = _function("log1p", 1, _wide(np.log1p))
sqrt = _elementwise("sqrt", 1, FLOATS, np.sqrt)
sin = _function("sin", 1, _wide(np.sin))
cos = _function("cos", 1, _wide(np.cos))
atan = _function("atan", 1, _wide(np.arctan))
tanh = _function("tanh", 1, _wide(np.tanh))
erf = _function("erf", 1, _through_math(math.erf))
erfc = _function("erfc", 1, _through_math(math.erfc))
sigmoid = _function("sigmoid", 1, _sigmoid)  # 1 / (1 + exp(-x)), never overflowing
floor = _elementwise("floor", 1, FLOATS, np.floor)
ceil = _elementwise("ceil", 1, FLOATS, np.ceil)
trunc = _elementwise("trunc", 1, FLOATS, np.trunc)
round_ = _elementwise("round", 1, FLOATS, np.rint)  # ties to even
is_finite = _elementwise("is_finite", 1, FLOATS, np.isfinite, to_bool=True)
not_ = _elementwise("not", 1, BITS, np.invert)  # logical on bool, bitwise on integers

# Binary. Integers wrap; div and rem truncate towards zero and give 0 for a zero divisor; shift counts stay below the
# width. max and min propagate NaN.
add = _elementwise("add", 2, NUMERIC, np.add)
sub = _elementwise("sub", 2, NUMERIC, np.subtract)
mul = _elementwise("mul", 2, NUMERIC, np.multiply)
div = _elementwise("div", 2, NUMERIC, _div)
rem = _elementwise("rem", 2, NUMERIC, _rem)
pow_ = _function("pow", 2, _power)
max_ = _elementwise("max", 2, ANY, np.maximum)
min_ = _elementwise("min", 2, ANY, np.minimum)
and_ = _elementwise("and", 2, BITS, np.bitwise_and)
or_ = _elementwise("or", 2, BITS, np.bitwise_or)
xor = _elementwise("xor", 2, BITS, np.bitwise_xor)
shift_left = _elementwise("shift_left", 2, INTEGERS, np.left_shift)
shift_right = _elementwise("shift_right", 2, INTEGERS, np.right_shift)  # arithmetic when signed

eq = _elementwise("eq", 2, ANY, np.equal, to_bool=True)
ne = _elementwise("ne", 2, ANY, np.not_equal, to_bool=True)
lt = _elementwise("lt", 2, ANY, np.less, to_bool=True)
le = _elementwise("le", 2, ANY, np.less_equal, to_bool=True)
gt = _elementwise("gt", 2, ANY, np.greater, to_bool=True)
ge = _elementwise("ge", 2, ANY, np.greater_equal, to_bool=True)


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

TRANSCENDENTAL = frozenset(_transcendental)

# The identity; its derivative is zero. Removed by the canonicalise pass.
stop_gradient = _elementwise("stop_gradient", 1, ANY, lambda x: x)

# The identity; what it names is kept by a checkpoint around it. Removed by the canonicalise pass.
saved = _elementwise("saved", 1, ANY, lambda x: x)
