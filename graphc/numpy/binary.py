"""Functions of two arrays, element by element.

Shapes broadcast and dtypes promote; Python numbers take the array's dtype.
"""

import math

from graphc.core import dtypes
from graphc.graph.ops import elementwise as ops
from graphc.numpy.inspection import check_device
from graphc.numpy.wide import wide
from graphc.tracing.array import elementwise
from graphc.tracing.bind import as_array, bind1, dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike
from graphc.tracing.tracer import DTypeLike


def add(x: ArrayLike, y: ArrayLike) -> Array:
    """`x + y`; any number.

    >>> import graphc.numpy as gnp
    >>> gnp.add([1, 2], 10).tolist()
    [11, 12]
    """
    return bind1(ops.add, x, y)


def subtract(x: ArrayLike, y: ArrayLike) -> Array:
    """`x - y`; any number.

    >>> import graphc.numpy as gnp
    >>> gnp.subtract([1, 2], 10).tolist()
    [-9, -8]
    """
    return bind1(ops.sub, x, y)


def multiply(x: ArrayLike, y: ArrayLike) -> Array:
    """`x * y`; any number.

    >>> import graphc.numpy as gnp
    >>> gnp.multiply([1, 2], 10).tolist()
    [10, 20]
    """
    return bind1(ops.mul, x, y)


def divide(x: ArrayLike, y: ArrayLike) -> Array:
    """True division; two integers give float32.

    >>> import graphc.numpy as gnp
    >>> gnp.divide([1, 2], 2).tolist()
    [0.5, 1.0]
    """
    return elementwise.divide(x, y)


def floor_divide(x: ArrayLike, y: ArrayLike) -> Array:
    """The largest whole number not above `x / y`; integers give 0 for `y == 0`. Where x or y is infinite, it is `x / y`
    as the array API standard has it, and not what NumPy gives (NaN for `inf // 2`, -1 for `-2 // inf`).

    >>> import graphc.numpy as gnp
    >>> gnp.floor_divide([7, -7], 2).tolist()
    [3, -4]
    """
    return elementwise.floor_divide(x, y)


def remainder(x: ArrayLike, y: ArrayLike) -> Array:
    """`x - floor_divide(x, y) * y`: has the sign of y. Integers give 0 for `y == 0`.

    >>> import graphc.numpy as gnp
    >>> gnp.remainder([7, -7], 3).tolist()
    [1, 2]
    """
    return elementwise.remainder(x, y)


def fmod(x: ArrayLike, y: ArrayLike) -> Array:
    """C's remainder: has the sign of x. Integers give 0 for `y == 0`.

    >>> import graphc.numpy as gnp
    >>> gnp.fmod([7, -7], 3).tolist()
    [1, -1]
    """
    return bind1(ops.rem, x, y)


def power(x: ArrayLike, y: ArrayLike) -> Array:
    """`x ** y`; a small whole Python exponent becomes multiplications.

    Integers wrap; to a negative power they are 0, but for 1 and -1. (A Python int below 0 is an error with them.)

    >>> import graphc.numpy as gnp
    >>> gnp.power([2.0, 3.0], 2).tolist()
    [4.0, 9.0]
    """
    return elementwise.power(x, y)


def maximum(x: ArrayLike, y: ArrayLike) -> Array:
    """The larger of two, NaN if one is.

    >>> import graphc.numpy as gnp
    >>> gnp.maximum([1.0, 5.0], 3.0).tolist()
    [3.0, 5.0]
    """
    return bind1(ops.max_, x, y)


def minimum(x: ArrayLike, y: ArrayLike) -> Array:
    """The smaller of two, NaN if one is.

    >>> import graphc.numpy as gnp
    >>> gnp.minimum([1.0, 5.0], 3.0).tolist()
    [1.0, 3.0]
    """
    return bind1(ops.min_, x, y)


def equal(x: ArrayLike, y: ArrayLike) -> Array:
    """`x == y` as bool.

    >>> import graphc.numpy as gnp
    >>> gnp.equal([1, 2], 2).tolist()
    [False, True]
    """
    return bind1(ops.eq, x, y)


def not_equal(x: ArrayLike, y: ArrayLike) -> Array:
    """`x != y` as bool.

    >>> import graphc.numpy as gnp
    >>> gnp.not_equal([1, 2], 2).tolist()
    [True, False]
    """
    return bind1(ops.ne, x, y)


def less(x: ArrayLike, y: ArrayLike) -> Array:
    """`x < y` as bool.

    >>> import graphc.numpy as gnp
    >>> gnp.less([1, 2], 2).tolist()
    [True, False]
    """
    return bind1(ops.lt, x, y)


def less_equal(x: ArrayLike, y: ArrayLike) -> Array:
    """`x <= y` as bool.

    >>> import graphc.numpy as gnp
    >>> gnp.less_equal([1, 2], 2).tolist()
    [True, True]
    """
    return bind1(ops.le, x, y)


def greater(x: ArrayLike, y: ArrayLike) -> Array:
    """`x > y` as bool.

    >>> import graphc.numpy as gnp
    >>> gnp.greater([1, 2], 1).tolist()
    [False, True]
    """
    return bind1(ops.gt, x, y)


def greater_equal(x: ArrayLike, y: ArrayLike) -> Array:
    """`x >= y` as bool.

    >>> import graphc.numpy as gnp
    >>> gnp.greater_equal([1, 2], 2).tolist()
    [False, True]
    """
    return bind1(ops.ge, x, y)


def bitwise_and(x: ArrayLike, y: ArrayLike) -> Array:
    """Bits set in both; integers and bool.

    >>> import graphc.numpy as gnp
    >>> gnp.bitwise_and([6, 3], 2).tolist()
    [2, 2]
    """
    return bind1(ops.and_, x, y)


def bitwise_or(x: ArrayLike, y: ArrayLike) -> Array:
    """Bits set in either; integers and bool.

    >>> import graphc.numpy as gnp
    >>> gnp.bitwise_or([6, 3], 1).tolist()
    [7, 3]
    """
    return bind1(ops.or_, x, y)


def bitwise_xor(x: ArrayLike, y: ArrayLike) -> Array:
    """Bits set in one of the two; integers and bool.

    >>> import graphc.numpy as gnp
    >>> gnp.bitwise_xor([6, 3], 2).tolist()
    [4, 1]
    """
    return bind1(ops.xor, x, y)


def left_shift(x: ArrayLike, y: ArrayLike) -> Array:
    """x times 2 to the power y; integers. A y outside 0 <= y < bits shifts all bits out.

    >>> import graphc.numpy as gnp
    >>> gnp.left_shift([1, 3], 2).tolist()
    [4, 12]
    """
    return bind1(ops.shift_left, x, y)


def right_shift(x: ArrayLike, y: ArrayLike) -> Array:
    """x divided by 2 to the power y, rounded down; integers. A y outside 0 <= y < bits shifts all bits out.

    >>> import graphc.numpy as gnp
    >>> gnp.right_shift([8, 3], 1).tolist()
    [4, 1]
    """
    return bind1(ops.shift_right, x, y)


def logical_and(x: ArrayLike, y: ArrayLike) -> Array:
    """Both x and y are not 0; bool.

    >>> import graphc.numpy as gnp
    >>> gnp.logical_and([True, False], True).tolist()
    [True, False]
    """
    return bind1(ops.and_, elementwise.logical(x), elementwise.logical(y))


def logical_or(x: ArrayLike, y: ArrayLike) -> Array:
    """x or y is not 0; bool.

    >>> import graphc.numpy as gnp
    >>> gnp.logical_or([True, False], False).tolist()
    [True, False]
    """
    return bind1(ops.or_, elementwise.logical(x), elementwise.logical(y))


def logical_xor(x: ArrayLike, y: ArrayLike) -> Array:
    """One of x and y is not 0; bool.

    >>> import graphc.numpy as gnp
    >>> gnp.logical_xor([True, False], True).tolist()
    [False, True]
    """
    return bind1(ops.xor, elementwise.logical(x), elementwise.logical(y))


def bitwise_invert(x: ArrayLike) -> Array:
    """`~x`: all bits flipped (integers), or not (bool).

    >>> import graphc.numpy as gnp
    >>> gnp.bitwise_invert([True, False]).tolist()
    [False, True]
    """
    return bind1(ops.not_, x)


def logical_not(x: ArrayLike) -> Array:
    """x is 0; bool.

    >>> import graphc.numpy as gnp
    >>> gnp.logical_not([1, 0]).tolist()
    [False, True]
    """
    return bind1(ops.not_, elementwise.logical(x))


def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    """x where `condition` (bool) holds, y elsewhere. All three broadcast.

    Both sides are computed; a NaN in the derivative of the side not taken is kept out by `where` on its argument too.

    >>> import graphc.numpy as gnp
    >>> gnp.where([True, False], 1.0, [5.0, 6.0]).tolist()
    [1.0, 6.0]
    """
    return bind1(ops.select, elementwise.logical(condition), *promoted("where", (x, y)))


def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Array:
    """Not below `min` and not above `max`; None does not bind.

    >>> import graphc.numpy as gnp
    >>> gnp.clip([1.0, 5.0, 9.0], 2.0, 6.0).tolist()
    [2.0, 5.0, 6.0]
    """
    return elementwise.clip(x, min, max)


def logaddexp(x: ArrayLike, y: ArrayLike) -> Array:
    """`log(exp(x) + exp(y))` without overflow; floats.

    >>> import graphc.numpy as gnp
    >>> round(float(gnp.logaddexp(1000.0, 1000.0)), 3)
    1000.693
    """
    return wide("logaddexp", _logaddexp, x, y)


def _logaddexp(first: Array, second: Array) -> Array:
    larger = bind1(ops.stop_gradient, bind1(ops.max_, first, second))
    shift = bind1(ops.select, bind1(ops.is_finite, larger), larger, 0.0)  # inf - inf
    left, right = bind1(ops.sub, first, shift), bind1(ops.sub, second, shift)
    # exp(left) + exp(right) - 1 with the -1 taken from the larger one, which is 1: small sums keep their digits, and
    # the derivative is right where both are equal
    sum_less_one = bind1(
        ops.select,
        bind1(ops.ge, first, second),
        bind1(ops.add, bind1(ops.expm1, left), bind1(ops.exp, right)),
        bind1(ops.add, bind1(ops.exp, left), bind1(ops.expm1, right)),
    )
    return bind1(ops.add, shift, bind1(ops.log1p, sum_less_one))


def hypot(x: ArrayLike, y: ArrayLike) -> Array:
    """`sqrt(x * x + y * y)` without overflow; floats. Its gradient at (0, 0) is 0.

    >>> import graphc.numpy as gnp
    >>> float(gnp.hypot(3.0, 4.0))
    5.0
    """
    return wide("hypot", _hypot, x, y)


def _hypot(first: Array, second: Array) -> Array:
    larger = bind1(ops.stop_gradient, bind1(ops.max_, bind1(ops.abs_, first), bind1(ops.abs_, second)))
    usable = bind1(ops.and_, bind1(ops.is_finite, larger), bind1(ops.gt, larger, 0.0))
    scale = bind1(ops.select, usable, larger, 1.0)
    left, right = bind1(ops.div, first, scale), bind1(ops.div, second, scale)
    squares = bind1(ops.add, bind1(ops.mul, left, left), bind1(ops.mul, right, right))
    is_zero = bind1(ops.eq, larger, 0.0)  # where the root has no derivative
    root = bind1(ops.sqrt, bind1(ops.select, is_zero, 1.0, squares))
    size = bind1(ops.select, is_zero, 0.0, bind1(ops.mul, scale, root))
    infinite = bind1(ops.or_, *(bind1(ops.eq, bind1(ops.abs_, side), math.inf) for side in (first, second)))
    return bind1(ops.select, infinite, math.inf, size)  # even beside NaN


def isclose(x: ArrayLike, y: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Where `|x - y| <= atol + rtol * |y|`, or both are equal (infinities); bool.

    >>> import graphc.numpy as gnp
    >>> gnp.isclose([1.0, 2.0], [1.0, 2.1]).tolist()
    [True, False]
    """
    first, second = promoted("isclose", (x, y))
    same = bind1(ops.eq, first, second)
    if not dtype_of(first).is_float:
        return same
    bound = bind1(ops.add, bind1(ops.mul, bind1(ops.abs_, second), rtol), atol)
    near = bind1(ops.le, bind1(ops.abs_, bind1(ops.sub, first, second)), bound)
    near = bind1(ops.and_, near, bind1(ops.and_, bind1(ops.is_finite, first), bind1(ops.is_finite, second)))
    result = bind1(ops.or_, same, near)
    if equal_nan:
        result = bind1(ops.or_, result, bind1(ops.and_, bind1(ops.ne, first, first), bind1(ops.ne, second, second)))
    return result


def astype(x: ArrayLike, dtype: DTypeLike, copy: bool = True, device: str | None = None) -> Array:
    """x converted to a dtype. What a value becomes that the dtype cannot hold:

    | from \\ to | bool | integer | half type | float | complex |
    |---|---|---|---|---|---|
    | bool | | 0, 1 | 0, 1 | 0, 1 | 0, 1 |
    | integer | x != 0 | wraps | nearest, or infinite | nearest | nearest; imaginary part 0 |
    | float, half type | x != 0, so NaN is True | truncated, saturates, NaN 0 | nearest, or infinite | same | same |
    | complex | x != 0 | an error | an error | an error | part by part |

    Nearest is ties to even, and small numbers are not flushed. Half types (float16, bfloat16) are reached through
    float32. The real part of complex numbers is `real(x)`.

    copy: a new array even if x has that dtype.

    >>> import graphc.numpy as gnp
    >>> gnp.astype([1.7, -2.9], gnp.int32).tolist()
    [1, -2]
    """
    check_device("astype", device)
    found = to_dtype(as_array(x), dtypes.dtype(dtype))
    return found.copy() if copy and found is x else found


true_divide = divide
mod = remainder
pow = power
invert = bitwise_invert
bitwise_not = bitwise_invert
bitwise_left_shift = left_shift
bitwise_right_shift = right_shift
