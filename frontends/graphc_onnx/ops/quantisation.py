"""Integers that stand for floats: scale, zero point, saturation."""

from __future__ import annotations

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array, DTypeError
from graphc_onnx.ops.common import cast, dtype_of, element_type, normal
from graphc_onnx.ops.products import matmul_integer
from graphc_onnx.table import Row


def _spread(parameter: Array, x: Array, axis: int, block_size: int) -> Array:
    """A scale or zero point for every element of x: one for all, one along an axis, or one per block of that axis."""
    if len(parameter.shape) <= 1 and (len(parameter.shape) == 0 or parameter.shape[0] == 1):
        return gnp.reshape(parameter, ())
    place = normal(axis, len(x.shape))
    if len(parameter.shape) == 1:
        return gnp.reshape(parameter, tuple(-1 if d == place else 1 for d in range(len(x.shape))))
    block = block_size or -(-x.shape[place] // parameter.shape[place])
    repeated = gnp.repeat(parameter, block, axis=place)
    return repeated[(slice(None),) * place + (slice(0, x.shape[place]),)]


def _saturated(values: Array, dtype: np.dtype[np.generic]) -> Array:
    limits = gnp.iinfo(dtype)
    return cast(gnp.clip(values, float(limits.min), float(limits.max)), dtype)


def quantise(x: Array, scale: Array, zero_point: Array | None, dtype: np.dtype[np.generic]) -> Array:
    """round(x / scale) + zero point, ties to even, within the limits of the dtype."""
    if dtype.kind not in "iu":
        raise DTypeError(f"cannot quantise to {dtype.name}")
    rounded = gnp.rint(cast(gnp.divide(x, scale), np.float32))
    return _saturated(rounded if zero_point is None else rounded + cast(zero_point, np.float32), dtype)


def _quantise(
    x: Array,
    scale: Array,
    zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Array:
    """saturate is about 8-bit floats."""
    dtype: np.dtype[np.generic] = np.dtype(np.uint8)
    if zero_point is not None:
        dtype = dtype_of(zero_point)
    elif output_dtype:
        dtype = element_type(output_dtype)
    exact = element_type(precision) if precision else dtype_of(x) if dtype_of(x).kind == "f" else np.dtype(np.float32)
    factor = _spread(cast(scale, exact), x, axis, block_size)
    zero = None if zero_point is None else _spread(zero_point, x, axis, block_size)
    return quantise(cast(x, exact), factor, zero, dtype)


def _dequantise(
    x: Array,
    scale: Array,
    zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Array:
    dtype = element_type(output_dtype) if output_dtype else dtype_of(scale)
    factor = _spread(scale, x, axis, block_size)
    wide = cast(x, np.int32)
    if zero_point is not None:
        wide = wide - cast(_spread(zero_point, x, axis, block_size), np.int32)
    return cast(cast(wide, dtype_of(scale)) * factor, dtype)


def _column(scale: Array) -> Array:
    """One per row."""
    return gnp.reshape(scale, (-1, 1)) if len(scale.shape) == 1 and scale.shape[0] > 1 else scale


def _matmul(
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> Array:
    product = cast(matmul_integer(a, b, a_zero, b_zero), np.float32)
    scale = cast(_column(a_scale), np.float32) * cast(b_scale, np.float32)
    return quantise(product * scale, cast(y_scale, np.float32), y_zero, dtype_of(y_zero))


ROWS = [
    Row("QuantizeLinear", 10, _quantise),
    Row("DequantizeLinear", 10, _dequantise),
    Row("QLinearMatMul", 10, _matmul),
]
