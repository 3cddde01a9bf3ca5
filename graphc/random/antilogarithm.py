"""An exponential function of operations that IEEE 754 defines exactly, the same on every backend; see `logarithm`."""

import math

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.graph.ops import elementwise as ops
from graphc.random.logarithm import polynomial
from graphc.tracing.array import elementwise
from graphc.tracing.bind import bind1, scalar_array, to_dtype
from graphc.tracing.context import Array

# Terms of the Taylor series on [-log(2) / 2, log(2) / 2], whose next term is below half a unit in the last place; the
# number whose exponential rounds to 0; log(2) in two parts, the first so short that its multiples are exact.
_TERMS = {"float32": 9, "float64": 15}
_LOWEST = {"float32": -104.0, "float64": -746.0}
_LOG2 = {
    "float32": (0.693359375, -2.12194440054690583e-4),
    "float64": (6.93147180369123816490e-1, 1.90821492927058770002e-10),
}
# Bits of the mantissa, the bias of the exponent, and the integers as wide as the float.
_LAYOUT = {"float32": (23, 127, dtypes.int32), "float64": (52, 1023, dtypes.int64)}


def exp_below_one(x: Array, dtype: DType) -> Array:
    """exp(x) for x <= 0, with gradual underflow."""
    bounded = bind1(ops.max_, x, _LOWEST[dtype.name])
    k = bind1(ops.round_, bind1(ops.mul, bounded, 1 / math.log(2.0)))
    high, low = _LOG2[dtype.name]
    rest = bind1(ops.sub, bind1(ops.sub, bounded, bind1(ops.mul, k, high)), bind1(ops.mul, k, low))
    series = polynomial(rest, [1.0 / math.factorial(i) for i in range(_TERMS[dtype.name])])
    half = bind1(ops.floor, bind1(ops.mul, k, 0.5))  # 2**k alone may be below the smallest normal number
    scaled = bind1(ops.mul, series, _power_of_two(half, dtype))
    return bind1(ops.mul, scaled, _power_of_two(bind1(ops.sub, k, half), dtype))


def _power_of_two(k: Array, dtype: DType) -> Array:
    mantissa_bits, bias, whole = _LAYOUT[dtype.name]
    exponent = bind1(ops.add, to_dtype(k, whole), scalar_array(bias, whole))
    return elementwise.bitcast(bind1(ops.shift_left, exponent, scalar_array(mantissa_bits, whole)), dtype)
