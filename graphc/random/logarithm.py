"""A logarithm of operations that IEEE 754 defines exactly (add, multiply, divide, bits), the same on every backend."""

import math
from collections.abc import Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.graph.ops import elementwise as ops
from graphc.tracing.array import elementwise
from graphc.tracing.bind import bind1, to_dtype
from graphc.tracing.context import Array

# The logarithm: x = 2**k m with m in [sqrt(1/2), sqrt(2)), log(m) = 2 atanh(s) with s = (m - 1) / (m + 1), by its
# series in s**2 (at most 0.0295), cut where the next term is below half a unit in the last place.
_LOG_TERMS = {"float32": 6, "float64": 11}
# Bits of the mantissa, and the unsigned dtype as wide as the float.
_LAYOUT = {"float32": (23, dtypes.uint32), "float64": (52, dtypes.uint64)}


def log(x: Array, dtype: DType) -> Array:
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
    series = polynomial(bind1(ops.mul, s, s), [2.0 / (2 * i + 1) for i in range(_LOG_TERMS[dtype.name])])
    return bind1(ops.add, bind1(ops.mul, k, math.log(2.0)), bind1(ops.mul, s, series))


def polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """c0 + c1 x + c2 x**2 + ..., by Horner's rule."""

    total = bind1(ops.add, bind1(ops.mul, x, coefficients[-1]), coefficients[-2])
    for coefficient in reversed(coefficients[:-2]):
        total = bind1(ops.add, bind1(ops.mul, total, x), coefficient)
    return total
