"""Arithmetic with NumPy's meaning, composed from the primitives: division, power, rounding, clipping."""

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops.elementwise import DTypeAttrs
from graphc.tracing.bind import (
    as_array,
    bind1,
    broadcast_to,
    common_dtype,
    dtype_of,
    is_scalar,
    promoted,
    scalar_array,
    staged,
    to_dtype,
)
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import DEFAULT_FLOAT

# x ** n is n - 1 multiplications by repeated squaring up to this exponent, and the `pow` primitive above it.
LARGEST_UNROLLED_EXPONENT = 8


def float_operand(x: ArrayLike) -> Array:
    """`x` as an array; a Python int is taken as a float."""
    return as_array(float(x) if isinstance(x, int) else x)


def float_operands(*xs: ArrayLike) -> list[ArrayLike]:
    """Python numbers as floats, which take the dtype of an array they meet; the rest as it is."""
    return [float(x) if isinstance(x, int) else x for x in xs]


def divide(x: ArrayLike, y: ArrayLike) -> Array:
    """True division. Two integers give float32."""
    return bind1(ops.div, *_as_floats("divide", x, y))


def _as_floats(name: str, x: ArrayLike, y: ArrayLike) -> list[ArrayLike]:
    arrays = [arg for arg in (x, y) if not is_scalar(arg)]
    if not arrays:
        return [float_operand(x), float_operand(y)]
    if any(dtype_of(as_array(arg)).is_bool for arg in arrays):
        raise DTypeError(with_line(f"{name}: bool is not accepted, cast with .astype(...)"))
    if all(dtype_of(as_array(arg)).is_integer for arg in arrays):
        common_dtype(name, arrays)
        return [arg if is_scalar(arg) else to_dtype(arg, DEFAULT_FLOAT) for arg in (x, y)]
    return [x, y]


def negative_zero(dtype: DType) -> Array:
    return as_array(-0.0, dtype)


def remainder(x: ArrayLike, y: ArrayLike) -> Array:
    """`x - floor(x / y) * y`: takes the sign of `y`, like Python's and NumPy's `%`. Integers give 0 for `y == 0`."""
    x, y = promoted("remainder", (x, y))
    rest = bind1(ops.rem, x, y)
    if not dtype_of(x).is_float and dtype_of(x).kind == "uint":
        return rest
    shifted = bind1(ops.select, _signs_differ(rest, y), bind1(ops.add, rest, y), rest)
    if not dtype_of(x).is_float:
        return shifted
    zero = bind1(ops.select, bind1(ops.lt, y, 0.0), negative_zero(dtype_of(x)), 0.0)
    return bind1(ops.select, bind1(ops.eq, rest, 0.0), zero, shifted)


def _signs_differ(rest: Array, y: Array) -> Array:
    """Where a remainder that is not zero has the other sign than the divisor."""
    differ = bind1(ops.ne, bind1(ops.lt, rest, 0), bind1(ops.lt, y, 0))
    return bind1(ops.and_, differ, bind1(ops.ne, rest, 0))


def floor_divide(x: ArrayLike, y: ArrayLike) -> Array:
    """The largest integer not above `x / y`, where one of them is infinite `x / y`. Integers give 0 for `y == 0`."""
    x, y = promoted("floor_divide", (x, y))
    if dtype_of(x).is_float:
        return _float_floor_divide(x, y)
    quotient = bind1(ops.div, x, y)
    if dtype_of(x).kind == "uint":
        return quotient
    low = bind1(ops.sub, quotient, 1)
    return bind1(ops.select, _signs_differ(bind1(ops.rem, x, y), y), low, quotient)


def _float_floor_divide(x: Array, y: Array) -> Array:
    """The algorithm of NumPy's npy_divmod: exact remainder first, so that 1 // 0.1 is 9."""
    rest = bind1(ops.rem, x, y)
    exact = bind1(ops.div, bind1(ops.sub, x, rest), y)
    exact = bind1(ops.select, _signs_differ(rest, y), bind1(ops.sub, exact, 1.0), exact)
    lower = bind1(ops.floor, exact)
    too_low = bind1(ops.gt, bind1(ops.sub, exact, lower), 0.5)
    lower = bind1(ops.select, too_low, bind1(ops.add, lower, 1.0), lower)
    ratio = bind1(ops.div, x, y)
    signed_zero = bind1(ops.mul, ratio, 0.0)
    result = bind1(ops.select, bind1(ops.eq, exact, 0.0), signed_zero, lower)
    infinite = bind1(ops.eq, bind1(ops.max_, bind1(ops.abs_, x), bind1(ops.abs_, y)), float("inf"))
    return bind1(ops.select, bind1(ops.or_, bind1(ops.eq, y, 0.0), infinite), ratio, result)


def power(x: ArrayLike, y: ArrayLike) -> Array:
    """`x ** y`. A small whole Python exponent becomes multiplications, 0.5 a square root."""
    if isinstance(y, (int, float)) and not isinstance(y, (bool, np.generic)) and not is_scalar(x):
        base = as_array(x)
        dtype = dtype_of(base)
        if dtype.is_integer and isinstance(y, int):
            return _integer_power(base, y)
        if dtype.is_inexact and y == 0.5:
            return bind1(ops.sqrt, base)
        if dtype.is_inexact and float(y).is_integer() and abs(y) <= LARGEST_UNROLLED_EXPONENT:
            return _float_power(base, int(y))
    if common_dtype("power", (x, y)).is_integer:
        return _power_of_integers(*promoted("power", (x, y)))
    return bind1(ops.pow_, x, y)


def _float_power(x: Array, exponent: int) -> Array:
    if exponent < 0:
        return bind1(ops.div, 1.0, _float_power(x, -exponent))
    return _by_squaring(x, exponent)


def _integer_power(x: Array, exponent: int) -> Array:
    if exponent < 0:
        raise DTypeError(with_line(f"power: an integer to the power of {exponent} is not an integer; cast it to float"))
    return _by_squaring(x, exponent)


def _power_of_integers(x: Array, y: Array) -> Array:
    """By squaring, one step per bit of the exponent; a negative exponent gives what is left of 1 / x**-y when it is
    rounded towards zero, and 0 for x == 0."""
    kind = dtype_of(y)
    one, zero = (scalar_array(value, kind) for value in (1, 0))
    result: Array = one
    square = x
    bits = kind.bits - (kind.kind == "int")
    for bit in range(bits):
        taken = bind1(ops.eq, bind1(ops.and_, bind1(ops.shift_right, y, bit), one), one)
        result = bind1(ops.select, taken, bind1(ops.mul, result, square), result)
        if bit + 1 < bits:
            square = bind1(ops.mul, square, square)
    if kind.kind == "uint":
        return result
    # of 1 and -1 the lowest bit of the exponent is all that counts
    odd = bind1(ops.eq, bind1(ops.and_, y, one), one)
    unit = bind1(ops.eq, bind1(ops.abs_, x), one)
    inverse = bind1(ops.select, unit, bind1(ops.select, odd, x, one), zero)
    return bind1(ops.select, bind1(ops.lt, y, zero), inverse, result)


def negative(x: ArrayLike) -> Array:
    """`-x`; unsigned integers wrap."""
    array = as_array(x)
    if dtype_of(array).kind == "uint":
        return bind1(ops.sub, scalar_array(0, dtype_of(array)), array)
    return bind1(ops.neg, array)


def _by_squaring(x: Array, exponent: int) -> Array:
    if exponent == 0:
        return broadcast_to(staged(scalar_array(1, dtype_of(x))), x.shape)
    result: Array | None = None
    square = x
    while exponent:
        if exponent & 1:
            result = square if result is None else bind1(ops.mul, result, square)
        exponent >>= 1
        if exponent:
            square = bind1(ops.mul, square, square)
    assert result is not None
    return result


def clip(x: ArrayLike, low: ArrayLike | None, high: ArrayLike | None) -> Array:
    """`min(max(x, low), high)`; a bound that is None does not bind."""
    result = as_array(x)
    if low is not None:
        result = bind1(ops.max_, *promoted("clip", (result, low)))
    if high is not None:
        result = bind1(ops.min_, *promoted("clip", (result, high)))
    return result


def round_to(x: ArrayLike, decimals: int = 0) -> Array:
    """Rounds to `decimals` places, ties to even; integers are returned as they are for `decimals >= 0`."""
    array = as_array(x)
    if dtype_of(array).is_integer and decimals >= 0:
        return array
    if decimals == 0:
        return bind1(ops.round_, array)
    scale = float(10 ** abs(decimals))
    if decimals < 0:
        return bind1(ops.mul, bind1(ops.round_, bind1(ops.div, array, scale)), scale)
    return bind1(ops.div, bind1(ops.round_, bind1(ops.mul, array, scale)), scale)


def absolute(x: ArrayLike) -> Array:
    """|x|; bool is returned as it is."""
    array = as_array(x)
    return array if dtype_of(array).is_bool else bind1(ops.abs_, array)


def bitcast(x: ArrayLike, dtype: DType) -> Array:
    """The same bits read as another dtype of the same width."""
    return bind1(ops.bitcast, as_array(x), attrs=DTypeAttrs(dtype))


def logical(x: ArrayLike) -> Array:
    """`x != 0` as bool."""
    return to_dtype(as_array(x), dtypes.bool_)
