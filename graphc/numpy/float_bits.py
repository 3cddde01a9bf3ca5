"""Floats by their bits: sign, and neighbours. Signs of zeros and of NaN count."""

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.tracing.array import elementwise
from graphc.tracing.bind import bind1, dtype_of, promoted, scalar_array
from graphc.tracing.context import Array, ArrayLike, with_line


def _layout(name: str, x: Array) -> DType:
    """The signed integers as wide as the floats of x."""
    kind = dtype_of(x)
    if not kind.is_float:
        raise DTypeError(with_line(f"{name}: takes floats, got {kind}; cast with .astype(...)"))
    return dtypes.dtype(f"int{kind.bits}")


def signbit(x: ArrayLike) -> Array:
    """Where the sign bit of a float is set: for negative numbers and -0.0; bool.

    >>> import graphc.numpy as gnp
    >>> gnp.signbit([1.0, -0.0]).tolist()
    [False, True]
    """
    array = elementwise.float_operand(x)
    return bind1(ops.lt, elementwise.bitcast(array, _layout("signbit", array)), 0)


def copysign(x: ArrayLike, y: ArrayLike) -> Array:
    """|x| with the sign of y, of zeros and NaN too; floats.

    >>> import graphc.numpy as gnp
    >>> gnp.copysign([1.0, -2.0], -0.0).tolist()
    [-1.0, -2.0]
    """
    size, sign = promoted("copysign", elementwise.float_operands(x, y))
    return bind1(ops.select, bind1(ops.eq, signbit(size), signbit(sign)), size, bind1(ops.neg, size))


def nextafter(x: ArrayLike, y: ArrayLike) -> Array:
    """The next float after x in the direction of y, y itself where both are equal; its derivative is 0.

    >>> import graphc.numpy as gnp
    >>> gnp.nextafter([1.0], 2.0).item() - 1.0 == 2.0**-23
    True
    """
    start, end = promoted("nextafter", elementwise.float_operands(x, y))
    kind = _layout("nextafter", start)
    bits = elementwise.bitcast(start, kind)
    # counted from zero: away from it the bits of a number grow, whatever its sign
    away = bind1(ops.eq, bind1(ops.lt, start, end), bind1(ops.gt, start, 0.0))
    stepped = elementwise.bitcast(
        bind1(ops.add, bits, bind1(ops.select, away, scalar_array(1, kind), scalar_array(-1, kind))), dtype_of(start)
    )
    smallest = float(dtypes.finfo(dtype_of(start)).smallest_subnormal)
    from_zero = bind1(ops.select, bind1(ops.gt, end, 0.0), smallest, -smallest)
    moved = bind1(ops.select, bind1(ops.eq, start, 0.0), from_zero, stepped)
    result = bind1(ops.select, bind1(ops.eq, start, end), end, moved)
    unordered = bind1(ops.or_, bind1(ops.ne, start, start), bind1(ops.ne, end, end))
    return bind1(ops.stop_gradient, bind1(ops.select, unordered, bind1(ops.add, start, end), result))
