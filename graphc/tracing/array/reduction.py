"""Reductions over axes with `keepdims`: sum, prod, mean, var, std, max, min, argmax, argmin, any, all."""

from collections.abc import Sequence
from math import prod as product

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError, ShapeError
from graphc.graph.ir import Op
from graphc.graph.ops import elementwise, reduction
from graphc.graph.ops.movement import AxesAttrs
from graphc.graph.ops.reduction import ArgAttrs
from graphc.tracing.array.movement import normal_axes, normal_axis, reshape
from graphc.tracing.bind import as_array, bind1, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import DEFAULT_FLOAT

Axis = int | Sequence[int] | None


def _reduce(name: str, op: Op, x: Array, axis: Axis, keepdims: bool) -> Array:
    axes = normal_axes(name, axis, len(x.shape))
    result = bind1(op, x, attrs=AxesAttrs(axes)) if axes else x
    return with_kept(result, x.shape, axes) if keepdims else result


def with_kept(result: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """A reduction's result with its reduced axes back as dims of extent 1."""
    return reshape(result, tuple(1 if d in axes else extent for d, extent in enumerate(shape)))


def _accumulated(x: ArrayLike, dtype: DType | None) -> Array:
    """The operand of a sum or product: small integers and bool are widened to 64 bits, as NumPy does."""
    array = as_array(x)
    if dtype is not None:
        return to_dtype(array, dtype)
    if dtype_of(array).is_inexact:
        return array
    return to_dtype(array, dtypes.uint64 if dtype_of(array).kind == "uint" else dtypes.int64)


def sum(x: ArrayLike, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    return _reduce("sum", reduction.reduce_sum, _accumulated(x, dtype), axis, keepdims)


def prod(x: ArrayLike, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    return _reduce("prod", reduction.reduce_prod, _accumulated(x, dtype), axis, keepdims)


def _float_array(name: str, x: ArrayLike) -> Array:
    array = as_array(x)
    if dtype_of(array).is_bool:
        raise DTypeError(with_line(f"{name}: bool is not accepted, cast with .astype(...)"))
    return array if dtype_of(array).is_inexact else to_dtype(array, DEFAULT_FLOAT)


def mean(x: ArrayLike, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    """The sum divided by the number of elements; integers give float32. Half types are rounded once, at the end."""
    array = _float_array("mean", x if dtype is None else to_dtype(as_array(x), dtype))
    axes = normal_axes("mean", axis, len(array.shape))
    count = product(array.shape[a] for a in axes)
    total = sum(_wide(array), axes, None, keepdims)
    return to_dtype(bind1(elementwise.div, total, float(count)), dtype_of(array))


def _wide(array: Array) -> Array:
    """Statistics of half types are computed in float32."""
    return to_dtype(array, dtype_of(array).computes_in)


def var(x: ArrayLike, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Array:
    """Mean squared distance from the mean, in two passes; the divisor is the count less `correction`. Real."""
    given = _float_array("var", x)
    array = _wide(given)
    axes = normal_axes("var", axis, len(array.shape))
    count = product(array.shape[a] for a in axes)
    centred = bind1(elementwise.sub, array, mean(array, axes, None, True))
    squares = sum(_squared(centred), axes, None, keepdims)
    if not isinstance(correction, (int, float, np.integer, np.floating)):
        raise ArgumentError(with_line(f"var: correction (ddof) is a number, got {correction!r:.60}"))
    divisor = float(count - correction)
    return to_dtype(bind1(elementwise.div, squares, divisor if divisor > 0 else 0.0), dtype_of(given).part)


def _squared(x: Array) -> Array:
    """|x|^2"""
    if not dtype_of(x).is_complex:
        return bind1(elementwise.mul, x, x)
    real, imag = bind1(elementwise.real, x), bind1(elementwise.imag, x)
    return bind1(elementwise.add, bind1(elementwise.mul, real, real), bind1(elementwise.mul, imag, imag))


def std(x: ArrayLike, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Array:
    given = _float_array("std", x)
    return to_dtype(bind1(elementwise.sqrt, var(_wide(given), axis, correction, keepdims)), dtype_of(given).part)


def _check_not_empty(name: str, x: Array, axis: Axis) -> None:
    if 0 in [x.shape[a] for a in normal_axes(name, axis, len(x.shape))]:
        raise ShapeError(with_line(f"{name}: no largest or smallest element of no elements, shape {list(x.shape)}"))


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    array = as_array(x)
    _check_not_empty("max", array, axis)
    return _reduce("max", reduction.reduce_max, array, axis, keepdims)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    array = as_array(x)
    _check_not_empty("min", array, axis)
    return _reduce("min", reduction.reduce_min, array, axis, keepdims)


def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    return _reduce("any", reduction.reduce_max, to_dtype(as_array(x), dtypes.bool_), axis, keepdims)


def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    return _reduce("all", reduction.reduce_min, to_dtype(as_array(x), dtypes.bool_), axis, keepdims)


def _arg(name: str, op: Op, x: ArrayLike, axis: int | None, keepdims: bool) -> Array:
    array = as_array(x)
    shape = array.shape
    if dtype_of(array).is_bool:
        array = to_dtype(array, dtypes.uint8)
    if axis is None:
        flat = bind1(op, reshape(array, -1), attrs=ArgAttrs(0))
        return reshape(flat, (1,) * len(shape)) if keepdims else flat
    position = normal_axis(name, axis, len(shape))
    result = bind1(op, array, attrs=ArgAttrs(position))
    return with_kept(result, shape, (position,)) if keepdims else result


def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index (int64) of the first largest element; NaN counts as largest."""
    return _arg("argmax", reduction.argmax, x, axis, keepdims)


def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index (int64) of the first smallest element; NaN counts as smallest."""
    return _arg("argmin", reduction.argmin, x, axis, keepdims)
