"""Uniform floats, which all continuous distributions are made of, and the dtypes they are drawn in.

Half types (bfloat16, float16) are computed in float32 and rounded once at the end.
"""

from collections.abc import Mapping

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.random.keys import draw
from graphc.tracing.array import indexing
from graphc.tracing.bind import bind1, to_dtype
from graphc.tracing.context import Array, with_line
from graphc.tracing.tracer import DTypeLike

# The bits of a uniform number: those of the significand, so that all multiples of one step in [0, 1) are in the dtype.
_UNIFORM_BITS: Mapping[str, int] = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}


def float_dtype(name: str, dtype: DTypeLike) -> DType:
    """The float dtype asked for; raises `DTypeError` for any other."""
    wanted = dtypes.dtype(dtype)
    if not wanted.is_float:
        raise DTypeError(with_line(f"random.{name}: draws floats, not {wanted}; see randint and bits"))
    return wanted


def working(dtype: DType) -> DType:
    """What numbers of a dtype are computed in: float32 for half types."""
    return dtypes.float32 if dtype.bits < 32 else dtype


def unit(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    """In [0, 1), of dtype `working(dtype)`: multiples of 2**-24 (float32), 2**-53, 2**-8 (bfloat16), 2**-11."""
    bits = _UNIFORM_BITS[dtype.name]
    if bits <= 32:
        whole = to_dtype(bind1(ops.shift_right, draw(key, shape), 32 - bits), working(dtype))
        return bind1(ops.mul, whole, 2.0**-bits)
    words = draw(key, (2, *shape))
    high = to_dtype(bind1(ops.shift_right, indexing.getitem(words, 0), 5), dtype)  # 27 bits
    low = to_dtype(bind1(ops.shift_right, indexing.getitem(words, 1), 6), dtype)  # 26 bits
    return bind1(ops.mul, bind1(ops.add, bind1(ops.mul, high, 2.0**26), low), 2.0**-53)


def open_unit(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    """Inside (0, 1), float32 or float64: half a step above the values of `unit`, with one bit less."""
    step = 2.0 ** -_UNIFORM_BITS[dtype.name]
    whole = bind1(ops.mul, unit(key, shape, dtype), 0.5 / step)
    return bind1(ops.mul, bind1(ops.add, bind1(ops.floor, whole), 0.5), 2 * step)


def signed_tail(key: Array, shape: tuple[int, ...], dtype: DType) -> tuple[Array, Array]:
    """A fair coin (bool), and a number in (0, 1/2], not below `smallest_tail(dtype)`; float32 or float64.

    A distribution that is symmetric around 0 is its quantile function of the number, with the sign of the coin.
    """
    words = draw(key, shape) if dtype is dtypes.float32 else draw(key, (2, *shape))
    first = words if dtype is dtypes.float32 else indexing.getitem(words, 0)
    negative = bind1(ops.eq, bind1(ops.and_, first, 1), 1)
    tail = to_dtype(bind1(ops.shift_right, first, 1), dtype)  # 31 bits
    if dtype is dtypes.float32:
        return negative, bind1(ops.mul, bind1(ops.add, tail, 0.5), 2.0**-32)
    rest = bind1(ops.mul, bind1(ops.add, to_dtype(indexing.getitem(words, 1), dtype), 0.5), 2.0**-32)
    return negative, bind1(ops.mul, bind1(ops.add, tail, rest), 2.0**-32)


def smallest_tail(dtype: DType) -> float:
    return 2.0**-33 if dtype is dtypes.float32 else 2.0**-65
