"""Primitives on a window that data places: dynamic_slice takes it out, dynamic_update_slice puts another one in.

A start is clamped so that the whole window lies inside: nothing foreign is read or written. Negative starts do not
count from the end.
"""

import numpy as np

from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True)
class DimsAttrs(Attrs):
    """The dims that have a start; along the others the window is as long as the array."""

    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WindowAttrs(DimsAttrs):
    """`sizes`: of the window along `dims`."""

    sizes: tuple[int, ...]


def _check(name: str, x: TensorType, dims: tuple[int, ...], sizes: tuple[int, ...], starts: list[TensorType]) -> None:
    if list(dims) != sorted(set(dims)) or any(not 0 <= d < x.rank for d in dims):
        raise ShapeError(f"{name}: dims {list(dims)} do not fit {x}")
    if not len(dims) == len(sizes) == len(starts):
        raise ShapeError(f"{name}: {len(starts)} starts and {len(sizes)} sizes for dims {list(dims)}")
    for dim, size in zip(dims, sizes, strict=True):
        if not 0 <= size <= x.shape[dim]:
            raise ShapeError(f"{name}: a window of {size} does not fit dim {dim} of {x}")
    for start in starts:
        if start.rank or not start.dtype.is_integer:
            raise DTypeError(f"{name}: a start is an integer scalar, got {start}")


def _infer_slice(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, WindowAttrs)
    x, *starts = types
    _check("dynamic_slice", x, attrs.dims, attrs.sizes, starts)
    shape = list(x.shape)
    for dim, size in zip(attrs.dims, attrs.sizes, strict=True):
        shape[dim] = size
    return (x.with_shape(tuple(shape)),)


def _window(
    x: np.ndarray, dims: tuple[int, ...], sizes: tuple[int, ...], starts: tuple[np.ndarray, ...]
) -> tuple[slice, ...]:
    window = [slice(None)] * x.ndim
    for dim, size, start in zip(dims, sizes, starts, strict=True):
        first = min(max(int(start), 0), x.shape[dim] - size)
        window[dim] = slice(first, first + size)
    return tuple(window)


def _slice(attrs: WindowAttrs, x: np.ndarray, *starts: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x[_window(x, attrs.dims, attrs.sizes, starts)],)


# operands: x, then a start for each of `dims`.
dynamic_slice = register("dynamic_slice", "index", _infer_slice, _slice, WindowAttrs)


def _infer_update(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, DimsAttrs)
    x, update, *starts = types
    if update.rank != x.rank or update.dtype != x.dtype:
        raise ShapeError(f"dynamic_update_slice: {update} is no window of {x}")
    _check("dynamic_update_slice", x, attrs.dims, tuple(update.shape[d] for d in attrs.dims if d < x.rank), starts)
    if any(a != b for d, (a, b) in enumerate(zip(x.shape, update.shape, strict=True)) if d not in attrs.dims):
        raise ShapeError(f"dynamic_update_slice: {update} and {x} differ in a dim without a start")
    return (x,)


def _update(attrs: DimsAttrs, x: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> tuple[np.ndarray, ...]:
    result = np.array(x)
    result[_window(x, attrs.dims, tuple(update.shape[d] for d in attrs.dims), starts)] = update
    return (result,)


# operands: x, the window to put into it, then a start for each of `dims`.
dynamic_update_slice = register("dynamic_update_slice", "index", _infer_update, _update, DimsAttrs)
