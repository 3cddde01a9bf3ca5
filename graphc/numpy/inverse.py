"""Inverse trigonometric and hyperbolic functions, composed of atan, log1p and square roots so that nothing cancels.

Largest errors found, in units in the last place: 2.2 (asin), 1.9 (acos, atanh), 1.7 (atan2, asinh), 2.4 (acosh).
"""

import math

from graphc.core import dtypes
from graphc.graph.ops import elementwise as ops
from graphc.numpy import turned
from graphc.numpy.float_bits import copysign, signbit
from graphc.numpy.wide import wide
from graphc.tracing.bind import bind1, dtype_of
from graphc.tracing.context import Array, ArrayLike

# From here on the square of x swallows what is added to it, and it does not overflow below.
_LARGE = {dtypes.float32: 2.0**14, dtypes.float64: 2.0**28}


def asin(x: ArrayLike) -> Array:
    """The angle in [-pi/2, pi/2], in radians, whose sine is x; NaN outside [-1, 1]. Floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.asin([0.0, -0.0, 2.0]).tolist()
    [0.0, -0.0, nan]
    """
    return wide("asin", _asin, x, complex_too=True)


def _asin(x: Array) -> Array:
    if dtype_of(x).is_complex:
        return bind1(ops.asin, x)
    other = bind1(ops.sqrt, bind1(ops.mul, bind1(ops.sub, 1.0, x), bind1(ops.add, 1.0, x)))
    return bind1(ops.atan, bind1(ops.div, x, other))


def acos(x: ArrayLike) -> Array:
    """The angle in [0, pi], in radians, whose cosine is x; NaN outside [-1, 1]. Floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.acos([1.0, 2.0]).tolist()
    [0.0, nan]
    """
    return wide("acos", _acos, x, complex_too=True)


def _acos(x: Array) -> Array:
    if dtype_of(x).is_complex:
        return bind1(ops.acos, x)
    # tan(a / 2)**2 = (1 - cos(a)) / (1 + cos(a))
    ratio = bind1(ops.div, bind1(ops.sub, 1.0, x), bind1(ops.add, 1.0, x))
    return bind1(ops.mul, bind1(ops.atan, bind1(ops.sqrt, ratio)), 2.0)


def atan2(y: ArrayLike, x: ArrayLike) -> Array:
    """The angle of the point (x, y) in [-pi, pi], in radians, with C's special values; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.atan2([0.0, -0.0], [1.0, 1.0]).tolist()
    [0.0, -0.0]
    """
    return wide("atan2", _atan2, y, x)


def _atan2(y: Array, x: Array) -> Array:
    height, width = bind1(ops.abs_, y), bind1(ops.abs_, x)
    steep = bind1(ops.gt, height, width)
    rise, run = bind1(ops.select, steep, x, y), bind1(ops.select, steep, y, x)
    # two infinities stand for 1 / 1; of two zeros the ratio is 0
    zero = bind1(ops.eq, bind1(ops.select, steep, height, width), 0.0)
    undefined = bind1(ops.or_, zero, bind1(ops.eq, bind1(ops.min_, height, width), math.inf))
    rise = bind1(ops.select, undefined, copysign(1.0, rise), rise)
    run = bind1(ops.select, undefined, copysign(1.0, run), run)
    slope = bind1(ops.atan, bind1(ops.select, zero, height, bind1(ops.div, rise, run)))
    # from the nearest axis: the horizontal one to the right or left, or the vertical one
    flat = bind1(ops.add, bind1(ops.select, signbit(x), copysign(math.pi, y), 0.0), slope)
    return copysign(bind1(ops.select, steep, bind1(ops.sub, copysign(math.pi / 2, y), slope), flat), y)


def asinh(x: ArrayLike) -> Array:
    """The number whose hyperbolic sine is x; floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.asinh([0.0, -0.0]).tolist()
    [0.0, -0.0]
    """
    return wide("asinh", _asinh, x, complex_too=True)


def _asinh(x: Array) -> Array:
    if dtype_of(x).is_complex:
        return turned.turned(ops.asin, x)
    size = bind1(ops.abs_, x)
    large = _LARGE[dtype_of(x)]
    near = bind1(ops.min_, size, large)
    square = bind1(ops.mul, near, near)
    root = bind1(ops.sqrt, bind1(ops.add, square, 1.0))
    grown = bind1(ops.add, near, bind1(ops.div, square, bind1(ops.add, root, 1.0)))
    value = bind1(
        ops.select, bind1(ops.lt, size, large), bind1(ops.log1p, grown), _log_of_twice(bind1(ops.max_, size, large))
    )
    return odd(x, value)


def acosh(x: ArrayLike) -> Array:
    """The number that is not negative whose hyperbolic cosine is x; NaN below 1. Floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.acosh([1.0, 0.5]).tolist()
    [0.0, nan]
    """
    return wide("acosh", _acosh, x, complex_too=True)


def _acosh(x: Array) -> Array:
    if dtype_of(x).is_complex:
        return turned.acosh(x)
    large = _LARGE[dtype_of(x)]
    over = bind1(ops.sub, bind1(ops.min_, x, large), 1.0)
    square = bind1(ops.mul, over, bind1(ops.add, over, 2.0))
    near = bind1(ops.log1p, bind1(ops.add, over, bind1(ops.sqrt, square)))
    value = bind1(ops.select, bind1(ops.lt, x, large), near, _log_of_twice(bind1(ops.max_, x, large)))
    return bind1(ops.select, bind1(ops.lt, x, 1.0), math.nan, value)


def atanh(x: ArrayLike) -> Array:
    """The number whose hyperbolic tangent is x; infinite at 1 and -1, NaN outside. Floats and complex numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.atanh([0.0, 1.0, 2.0]).tolist()
    [0.0, inf, nan]
    """
    return wide("atanh", _atanh, x, complex_too=True)


def _atanh(x: Array) -> Array:
    if dtype_of(x).is_complex:
        return turned.turned(ops.atan, x)
    size = bind1(ops.abs_, x)
    ratio = bind1(ops.div, bind1(ops.add, size, size), bind1(ops.sub, 1.0, size))
    return odd(x, bind1(ops.mul, bind1(ops.log1p, ratio), 0.5))


def _log_of_twice(x: Array) -> Array:
    return bind1(ops.add, bind1(ops.log, x), math.log(2.0))


def odd(x: Array, size: Array) -> Array:
    """`size`, a function of |x|, with the sign of x; x itself at zeros."""
    signed = bind1(ops.select, bind1(ops.lt, x, 0.0), bind1(ops.neg, size), size)
    return bind1(ops.select, bind1(ops.eq, x, 0.0), x, signed)


arcsin, arccos, arctan2 = asin, acos, atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh
