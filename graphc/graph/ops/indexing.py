"""Primitives whose index depends on data: gather along an axis and its transpose, scatter_add.

An index outside [0, extent) never reads or writes foreign memory: gather takes the nearest valid element, scatter_add
drops the update. Negative indices do not count from the end.
"""

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import DTypeError, ShapeError
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.ops.movement import AxisAttrs
from graphc.graph.registry import register


def _check(name: str, x: TensorType, indices: TensorType, axis: int) -> None:
    if not 0 <= axis < x.rank:
        raise ShapeError(f"{name}: axis {axis} is outside {x}")
    if not indices.dtype.is_integer:
        raise DTypeError(f"{name}: indices must be integers, got {indices}")


def _gathered(x: TensorType, indices: TensorType, axis: int) -> tuple[int, ...]:
    return x.shape[:axis] + indices.shape + x.shape[axis + 1 :]


def _infer_gather(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, AxisAttrs)
    x, indices = types
    _check("gather", x, indices, attrs.axis)
    if x.shape[attrs.axis] == 0 and indices.size > 0:
        raise ShapeError(f"gather: axis {attrs.axis} of {x} is empty")
    return (x.with_shape(_gathered(x, indices, attrs.axis)),)


def _gather(attrs: AxisAttrs, x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    if indices.size == 0:
        shape = x.shape[: attrs.axis] + indices.shape + x.shape[attrs.axis + 1 :]
        return (np.zeros(shape, x.dtype),)
    return (np.take(x, np.clip(indices, 0, x.shape[attrs.axis] - 1).astype(np.int64), axis=attrs.axis),)


# operands: x, indices. result = x[:, ..., indices, ..., :] with the dims of `indices` in place of `axis`.
gather = register("gather", "index", _infer_gather, _gather, AxisAttrs)


def _infer_scatter(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, AxisAttrs)
    x, indices, updates = types
    _check("scatter_add", x, indices, attrs.axis)
    if updates != x.with_shape(_gathered(x, indices, attrs.axis)):
        raise ShapeError(f"scatter_add: updates {updates} do not fit {x} at indices {indices} on axis {attrs.axis}")
    if x.dtype.is_bool:
        raise DTypeError("scatter_add: bool is not accepted")
    return (x,)


def _scatter_add(attrs: AxisAttrs, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> tuple[np.ndarray, ...]:
    axis, dtype = attrs.axis, x.dtype
    if dtype == dtypes.bfloat16:
        x, updates = x.astype(np.float32), updates.astype(np.float32)
    moved = np.moveaxis(np.array(x), axis, 0)  # a view of the copy: writing to it writes the result
    result = np.ascontiguousarray(moved)
    source = np.moveaxis(
        updates.reshape((*x.shape[:axis], indices.size, *x.shape[axis + 1 :])), axis, 0
    )  # one row per index
    flat = indices.reshape(-1)
    inside = (flat >= 0) & (flat < x.shape[axis])
    np.add.at(result, flat[inside].astype(np.int64), source[inside])
    return (np.moveaxis(result, 0, axis).astype(dtype, copy=False),)


# operands: x, indices, updates (shaped like gather's result). Equal indices add up in index order; bfloat16 adds up in
# float32 and is rounded at the end.
scatter_add = register("scatter_add", "index", _infer_scatter, _scatter_add, AxisAttrs)
