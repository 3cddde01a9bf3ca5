"""Maxima, means and norms of windows, and over all spatial dims."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array
from graphc_onnx.ops.common import Ints, dtype_of, is_float, size
from graphc_onnx.ops.windows import Window, reduced, taps, windows_of
from graphc_onnx.table import NodeContext, Row


def _pooled(
    x: Array,
    kernel: Ints,
    strides: Ints | None,
    dilations: Ints | None,
    pads: Ints | None,
    auto_pad: str,
    ceil_mode: int,
) -> list[Window]:
    found = windows_of(x.shape[2:], kernel, strides, dilations, pads, auto_pad)
    return [window.rounded_up() for window in found] if ceil_mode else found


def _places(windows: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
    """For each tap and window: the place along each dim, from the first element, [dims, taps, *counts]; and whether it
    is inside."""
    counts = [window.count for window in windows]
    rows = []
    for numbers in product(*(range(w.size) for w in windows)):
        lines = [
            number * w.dilation + np.arange(w.count) * w.stride - w.low
            for number, w in zip(numbers, windows, strict=True)
        ]
        rows.append(np.stack(np.meshgrid(*lines, indexing="ij")))
    places = np.stack(rows, axis=1).reshape(len(windows), -1, *counts)
    extents = np.asarray([w.extent for w in windows]).reshape(-1, *(1,) * (places.ndim - 1))
    return places, np.all((places >= 0) & (places < extents), axis=0)


def _max_pool(
    x: Array,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
    node: NodeContext,
) -> Array | tuple[Array, ...]:
    """With a second result: where in the flattened input the first maximum of each window is."""
    windows = _pooled(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if len(node.outputs) < 2:
        return reduced(x, windows, "max")
    lowest: float = -np.inf if is_float(x) else int(gnp.iinfo(dtype_of(x)).min)
    values = taps(x, windows, lowest)
    best = gnp.max(values, axis=2)
    places, _ = _places(windows)
    extents = list(x.shape[2:])
    order = list(places) if not storage_order else list(places)[::-1]
    flat = np.zeros(places.shape[1:], np.int64)
    for place, extent in zip(order, extents if not storage_order else extents[::-1], strict=True):
        flat = flat * extent + place
    table = gnp.broadcast_to(flat, values.shape)
    chosen = gnp.take_along_axis(table, gnp.argmax(values, axis=2, keepdims=True), axis=2)
    start = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(extents)) * size(extents)
    return best, gnp.reshape(chosen, best.shape) + start


def _average_pool(
    x: Array,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """What ceil_mode adds behind the padding never counts."""
    windows = _pooled(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    total = reduced(x, windows, "sum")
    places, inside = _places(windows)
    if count_include_pad:
        given = windows_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
        ends = np.asarray([w.extent + w.high for w in given]).reshape(-1, *(1,) * (places.ndim - 1))
        inside = np.all(places < ends, axis=0)
    return gnp.divide(total, np.count_nonzero(inside, axis=0).astype(dtype_of(x)))


def _norm_pool(
    x: Array,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    windows = _pooled(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _root(reduced(_power(x, p), windows, "sum"), p)


def _power(x: Array, p: int) -> Array:
    return gnp.abs(x) if p == 1 else x * x if p == 2 else gnp.power(gnp.abs(x), p)


def _root(x: Array, p: int) -> Array:
    return x if p == 1 else gnp.sqrt(x) if p == 2 else gnp.power(x, 1.0 / p)


def _spatial(x: Array) -> Ints:
    return tuple(range(2, len(x.shape)))


def _global_max(x: Array) -> Array:
    return gnp.max(x, axis=_spatial(x), keepdims=True)


def _global_average(x: Array) -> Array:
    return gnp.mean(x, axis=_spatial(x), keepdims=True)


def _global_norm(x: Array, *, p: int = 2) -> Array:
    return _root(gnp.sum(_power(x, p), axis=_spatial(x), keepdims=True), p)


ROWS = [
    Row("MaxPool", 1, _max_pool),
    Row("AveragePool", 1, _average_pool),
    Row("LpPool", 2, _norm_pool),
    Row("GlobalMaxPool", 1, _global_max),
    Row("GlobalAveragePool", 1, _global_average),
    Row("GlobalLpPool", 2, _global_norm),
]
