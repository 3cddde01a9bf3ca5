"""Functions of one array, element by element."""

import math

from graphc.core import dtypes
from graphc.graph.ir import Op
from graphc.graph.ops import elementwise as ops
from graphc.numpy.complexes import complex, imag, real
from graphc.numpy.inverse import odd
from graphc.numpy.turned import turn, turned
from graphc.numpy.wide import wide
from graphc.tracing.array import elementwise
from graphc.tracing.bind import as_array, bind1, dtype_of
from graphc.tracing.context import Array, ArrayLike


def positive(x: ArrayLike) -> Array:
    """`+x`: x itself.

    >>> import graphc.numpy as gnp
    >>> gnp.positive([1.0, -2.0]).tolist()
    [1.0, -2.0]
    """
    return as_array(x)


def negative(x: ArrayLike) -> Array:
    """`-x`; any number, unsigned integers wrap.

    >>> import graphc.numpy as gnp
    >>> gnp.negative([1.0, -2.0]).tolist()
    [-1.0, 2.0]
    """
    return elementwise.negative(x)


def abs(x: ArrayLike) -> Array:
    """|x|, per element; any number. The derivative at 0 is 0.

    >>> import graphc.numpy as gnp
    >>> gnp.abs([1.0, -2.0]).tolist()
    [1.0, 2.0]
    """
    return elementwise.absolute(x)


def sign(x: ArrayLike) -> Array:
    """-1, 0 or 1 with the sign of x; NaN stays NaN. Any number; of a complex one x / |x|, and 0 at 0.

    >>> import graphc.numpy as gnp
    >>> gnp.sign([-3.0, 0.0, 2.0]).tolist()
    [-1.0, 0.0, 1.0]
    """
    array = as_array(x)
    if not dtype_of(array).is_complex:
        return bind1(ops.sign, array)
    size = bind1(ops.abs_, array)
    is_zero = bind1(ops.eq, size, 0.0)
    size = bind1(ops.select, is_zero, 1.0, size)
    parts = (bind1(ops.div, part, size) for part in (real(array), imag(array)))
    return complex(*(bind1(ops.select, is_zero, 0.0, part) for part in parts))


def square(x: ArrayLike) -> Array:
    """`x * x`; any number.

    >>> import graphc.numpy as gnp
    >>> gnp.square([3.0, -2.0]).tolist()
    [9.0, 4.0]
    """
    return bind1(ops.mul, x, x)


def reciprocal(x: ArrayLike) -> Array:
    """`1 / x`; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.reciprocal([2.0, 4.0]).tolist()
    [0.5, 0.25]
    """
    return elementwise.divide(1.0, x)


def sqrt(x: ArrayLike) -> Array:
    """Square root, correctly rounded; NaN below 0. Floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.sqrt([4.0, 2.25]).tolist()
    [2.0, 1.5]
    """
    return bind1(ops.sqrt, elementwise.float_operand(x))


def rsqrt(x: ArrayLike) -> Array:
    """`1 / sqrt(x)`; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.rsqrt([4.0, 0.25]).tolist()
    [0.5, 2.0]
    """
    return bind1(ops.div, 1.0, sqrt(x))


def exp(x: ArrayLike) -> Array:
    """e to the power x; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.exp([0.0, -1e9]).tolist()
    [1.0, 0.0]
    """
    return bind1(ops.exp, elementwise.float_operand(x))


def exp2(x: ArrayLike) -> Array:
    """2 to the power x; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.exp2([3.0, -1.0]).tolist()
    [8.0, 0.5]
    """
    return bind1(ops.pow_, 2.0, elementwise.float_operand(x))


def expm1(x: ArrayLike) -> Array:
    """`exp(x) - 1` without cancellation near 0; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.expm1([0.0]).tolist()
    [0.0]
    """
    return bind1(ops.expm1, elementwise.float_operand(x))


def log(x: ArrayLike) -> Array:
    """Natural logarithm; NaN below 0, -inf at 0. Floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.log([1.0, 0.0]).tolist()
    [0.0, -inf]
    """
    return bind1(ops.log, elementwise.float_operand(x))


def log1p(x: ArrayLike) -> Array:
    """`log(1 + x)` without cancellation near 0; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.log1p([0.0, -1.0]).tolist()
    [0.0, -inf]
    """
    return bind1(ops.log1p, elementwise.float_operand(x))


def log2(x: ArrayLike) -> Array:
    """Logarithm to base 2, `log(x) / log(2)`; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.log2([1.0, 4.0]).tolist()
    [0.0, 2.0]
    """
    return wide("log2", lambda number: _quotient(log(number), math.log(2.0)), x, complex_too=True)


def log10(x: ArrayLike) -> Array:
    """Logarithm to base 10, `log(x) / log(10)`; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.log10([1.0]).tolist()
    [0.0]
    """
    return wide("log10", lambda number: _quotient(log(number), math.log(10.0)), x, complex_too=True)


def _quotient(x: Array, divisor: float) -> Array:
    if not dtype_of(x).is_complex:
        return bind1(ops.div, x, divisor)
    return complex(*(bind1(ops.div, part, divisor) for part in (real(x), imag(x))))


def sin(x: ArrayLike) -> Array:
    """Sine of x in radians; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.sin([0.0]).tolist()
    [0.0]
    """
    return bind1(ops.sin, elementwise.float_operand(x))


def cos(x: ArrayLike) -> Array:
    """Cosine of x in radians; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.cos([0.0]).tolist()
    [1.0]
    """
    return bind1(ops.cos, elementwise.float_operand(x))


def tan(x: ArrayLike) -> Array:
    """Tangent, `sin(x) / cos(x)`; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.tan([0.0]).tolist()
    [0.0]
    """
    array = as_array(x)
    if dtype_of(array).is_complex:
        return turned(ops.tanh, array)
    return wide("tan", lambda angle: bind1(ops.div, sin(angle), cos(angle)), x)


def arctan(x: ArrayLike) -> Array:
    """The angle in (-pi/2, pi/2), in radians, whose tangent is x; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.arctan([0.0, -0.0]).tolist()
    [0.0, -0.0]
    """
    return bind1(ops.atan, elementwise.float_operand(x))


def tanh(x: ArrayLike) -> Array:
    """Hyperbolic tangent; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.tanh([0.0, 100.0]).tolist()
    [0.0, 1.0]
    """
    return bind1(ops.tanh, elementwise.float_operand(x))


def sigmoid(x: ArrayLike) -> Array:
    """The logistic function `1 / (1 + exp(-x))`, without overflow; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.sigmoid([0.0, -1e9]).tolist()
    [0.5, 0.0]
    """
    return bind1(ops.sigmoid, elementwise.float_operand(x))


def erf(x: ArrayLike) -> Array:
    """The error function; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.erf([0.0, 9.0]).tolist()
    [0.0, 1.0]
    """
    return bind1(ops.erf, elementwise.float_operand(x))


def erfc(x: ArrayLike) -> Array:
    """`1 - erf(x)` without cancellation for large x; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.erfc([0.0]).tolist()
    [1.0]
    """
    return bind1(ops.erfc, elementwise.float_operand(x))


def floor(x: ArrayLike) -> Array:
    """The largest whole number not above x; integers stay as they are.

    >>> import graphc.numpy as gnp
    >>> gnp.floor([1.5, -1.5]).tolist()
    [1.0, -2.0]
    """
    return _whole(ops.floor, x)


def ceil(x: ArrayLike) -> Array:
    """The smallest whole number not below x; integers stay as they are.

    >>> import graphc.numpy as gnp
    >>> gnp.ceil([1.5, -1.5]).tolist()
    [2.0, -1.0]
    """
    return _whole(ops.ceil, x)


def trunc(x: ArrayLike) -> Array:
    """x without its fraction; integers stay as they are.

    >>> import graphc.numpy as gnp
    >>> gnp.trunc([1.5, -1.5]).tolist()
    [1.0, -1.0]
    """
    return _whole(ops.trunc, x)


def rint(x: ArrayLike) -> Array:
    """The nearest whole number, ties to even; integers stay as they are.

    >>> import graphc.numpy as gnp
    >>> gnp.rint([0.5, 1.5, -1.2]).tolist()
    [0.0, 2.0, -1.0]
    """
    return _whole(ops.round_, x)


def deg2rad(x: ArrayLike) -> Array:
    """Degrees to radians; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.deg2rad([0.0]).tolist()
    [0.0]
    """
    return bind1(ops.mul, elementwise.float_operand(x), math.pi / 180)


def rad2deg(x: ArrayLike) -> Array:
    """Radians to degrees; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.rad2deg([0.0]).tolist()
    [0.0]
    """
    return bind1(ops.mul, elementwise.float_operand(x), 180 / math.pi)


def isnan(x: ArrayLike) -> Array:
    """Where x is not a number; False for integers and bool.

    >>> import graphc.numpy as gnp
    >>> gnp.isnan([1.0, float("nan")]).tolist()
    [False, True]
    """
    return bind1(ops.ne, x, x)


def isfinite(x: ArrayLike) -> Array:
    """Where x is neither infinite nor NaN, both parts of complex numbers; True for integers and bool.

    >>> import graphc.numpy as gnp
    >>> gnp.isfinite([1.0, float("inf")]).tolist()
    [True, False]
    """
    array = as_array(x)
    if dtype_of(array).is_complex:
        return bind1(ops.and_, isfinite(real(array)), isfinite(imag(array)))
    return bind1(ops.is_finite, array) if dtype_of(array).is_float else bind1(ops.eq, array, array)


def isinf(x: ArrayLike) -> Array:
    """Where x is plus or minus infinity, or a part of it is; False for integers and bool.

    >>> import graphc.numpy as gnp
    >>> gnp.isinf([1.0, float("-inf")]).tolist()
    [False, True]
    """
    array = as_array(x)
    if dtype_of(array).is_complex:
        return bind1(ops.or_, isinf(real(array)), isinf(imag(array)))
    if not dtype_of(array).is_float:
        return bind1(ops.ne, array, array)
    return bind1(ops.eq, bind1(ops.abs_, array), math.inf)


def sinh(x: ArrayLike) -> Array:
    """Hyperbolic sine, without cancellation near 0 and without early overflow; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.sinh([0.0]).tolist()
    [0.0]
    """
    array = as_array(x)
    return turned(ops.sin, array) if dtype_of(array).is_complex else wide("sinh", _sinh, x)


def _sinh(x: Array) -> Array:
    size = bind1(ops.abs_, x)
    grown = bind1(ops.expm1, bind1(ops.min_, size, _HYPERBOLIC_SPLIT))
    near = bind1(ops.mul, bind1(ops.add, grown, bind1(ops.div, grown, bind1(ops.add, grown, 1.0))), 0.5)
    value = bind1(ops.select, bind1(ops.lt, size, _HYPERBOLIC_SPLIT), near, _half_exp(size))
    return odd(x, value)


def cosh(x: ArrayLike) -> Array:
    """Hyperbolic cosine, without early overflow; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.cosh([0.0]).tolist()
    [1.0]
    """
    array = as_array(x)
    return bind1(ops.cos, turn(array)) if dtype_of(array).is_complex else wide("cosh", _cosh, x)


def _cosh(x: Array) -> Array:
    size = bind1(ops.abs_, x)
    grown = bind1(ops.exp, bind1(ops.min_, size, _HYPERBOLIC_SPLIT))
    near = bind1(ops.mul, bind1(ops.add, grown, bind1(ops.div, 1.0, grown)), 0.5)
    return bind1(ops.select, bind1(ops.lt, size, _HYPERBOLIC_SPLIT), near, _half_exp(size))


# Above this the smaller exponential no longer counts, and exp(x) / 2 is formed so that it does not overflow early.
_HYPERBOLIC_SPLIT = 20.0


def _half_exp(size: Array) -> Array:
    root = bind1(ops.exp, bind1(ops.mul, size, 0.5))
    return bind1(ops.mul, bind1(ops.mul, root, 0.5), root)


def round(x: ArrayLike, decimals: int = 0) -> Array:
    """Rounded to `decimals` places, ties to even; integers stay as they are for `decimals >= 0`. Complex numbers: both
    parts.

    >>> import graphc.numpy as gnp
    >>> gnp.round([0.5, 1.5, 2.6]).tolist()
    [0.0, 2.0, 3.0]
    """
    array = as_array(x)
    if dtype_of(array).is_complex:
        return complex(*(elementwise.round_to(part, decimals) for part in (real(array), imag(array))))
    return elementwise.round_to(array, decimals)


def nan_to_num(x: ArrayLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Array:
    """NaN replaced by `nan`, infinities by the largest and smallest finite number or the given values; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.nan_to_num([float("nan"), 1.0, float("inf")], posinf=9.0).tolist()
    [0.0, 1.0, 9.0]
    """
    array = as_array(x)
    if dtype_of(array).is_complex:
        parts = (nan_to_num(part, nan, posinf, neginf) for part in (real(array), imag(array)))
        return complex(*parts)
    if not dtype_of(array).is_float:
        return array
    limit = float(dtypes.finfo(dtype_of(array)).max)
    high, low = limit if posinf is None else posinf, -limit if neginf is None else neginf
    result = bind1(ops.select, bind1(ops.eq, array, math.inf), high, array)
    result = bind1(ops.select, bind1(ops.eq, array, -math.inf), low, result)
    return bind1(ops.select, bind1(ops.ne, array, array), nan, result)


def _whole(op: Op, x: ArrayLike) -> Array:
    array = as_array(x)
    return array if dtype_of(array).is_integer else bind1(op, array)


absolute = abs
atan = arctan
fabs = abs
radians = deg2rad
degrees = rad2deg
