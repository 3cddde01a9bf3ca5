"""Shapes: reshape, transpose, slices, joins, padding; and arrays made from numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, ShapeError
from graphc_onnx.ops.common import Ints, cast, dtype_of, element_type, integers, none_of, normal, only, size
from graphc_onnx.table import Data, NodeContext, Row


def _reshape(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    wanted = integers(shape)
    if not allowzero:
        wanted = [x.shape[place] if extent == 0 else extent for place, extent in enumerate(wanted)]
    if -1 in wanted:
        rest = size([extent for extent in wanted if extent != -1])
        wanted[wanted.index(-1)] = size(x.shape) // rest if rest else 0
    if size(wanted) != size(x.shape):
        raise ShapeError(f"an array of shape {list(x.shape)} does not have the shape {integers(shape)}")
    return gnp.reshape(x, tuple(wanted))


def _flatten(x: Array, *, axis: int = 1) -> Array:
    place = axis if axis == len(x.shape) else normal(axis, len(x.shape))
    return gnp.reshape(x, (size(x.shape[:place]), size(x.shape[place:])))


def _transpose(x: Array, *, perm: Ints | None = None) -> Array:
    return gnp.transpose(x, perm)


def _squeeze(x: Array, axes_operand: Array | None = None, *, axes: Ints | None = None) -> Array:
    given = axes_operand if axes is None else np.asarray(axes)
    if given is None:
        return gnp.reshape(x, tuple(extent for extent in x.shape if extent != 1))
    return gnp.squeeze(x, tuple(normal(axis, len(x.shape)) for axis in integers(given)))


def _unsqueeze(x: Array, axes_operand: Array | None = None, *, axes: Ints | None = None) -> Array:
    given = integers(axes_operand if axes is None else axes)
    rank = len(x.shape) + len(given)
    new = {normal(axis, rank) for axis in given}
    if len(new) != len(given):
        raise ArgumentError(f"axes {given} name one axis twice")
    old = iter(x.shape)
    return gnp.reshape(x, tuple(1 if place in new else next(old) for place in range(rank)))


def _expand(x: Array, shape: Array) -> Array:
    return gnp.broadcast_to(x, gnp.broadcast_shapes(x.shape, tuple(integers(shape))))


def _tile(x: Array, repeats: Array) -> Array:
    return gnp.tile(x, tuple(integers(repeats)))


def _concat(*operands: Array, axis: int) -> Array:
    return gnp.concatenate(list(operands), axis=normal(axis, len(operands[0].shape)))


def _split(
    x: Array,
    lengths: Array | None = None,
    *,
    axis: int = 0,
    split: Ints | None = None,
    num_outputs: int | None = None,
    node: NodeContext,
) -> tuple[Array, ...]:
    place = normal(axis, len(x.shape))
    extent = x.shape[place]
    if lengths is not None or split is not None:
        sizes = integers(split if lengths is None else lengths)
    else:
        parts = len(node.outputs) if num_outputs is None else num_outputs
        each = -(-extent // parts)
        sizes = [max(0, min(each, extent - part * each)) for part in range(parts)]
    if sum(sizes) != extent:
        raise ShapeError(f"parts of {sizes} do not make up the {extent} elements of dim {place}")
    ends = [sum(sizes[: part + 1]) for part in range(len(sizes))]
    return tuple(
        x[(slice(None),) * place + (slice(end - length, end),)] for end, length in zip(ends, sizes, strict=True)
    )


def _slice_by_attributes(x: Array, *, starts: Ints, ends: Ints, axes: Ints | None = None) -> Array:
    return _slice(x, np.asarray(starts), np.asarray(ends), None if axes is None else np.asarray(axes))


def _slice(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    first, last = integers(starts), integers(ends)
    places = list(range(len(first))) if axes is None else [normal(axis, len(x.shape)) for axis in integers(axes)]
    strides = [1] * len(first) if steps is None else integers(steps)
    index = [slice(None)] * len(x.shape)
    for place, start, stop, step in zip(places, first, last, strides, strict=True):
        extent = x.shape[place]
        low, high = (0, extent) if step > 0 else (-1, extent - 1)
        begin = min(max(start + extent if start < 0 else start, 0), high)
        end = min(max(stop + extent if stop < 0 else stop, low), extent)
        index[place] = slice(begin, None if end < 0 else end, step)
    return x[tuple(index)]


def _widths(x: Array, pads: Sequence[int], axes: Array | None = None) -> list[tuple[int, int]]:
    rank = len(x.shape)
    places = list(range(rank)) if axes is None else [normal(axis, rank) for axis in integers(axes)]
    if len(pads) != 2 * len(places):
        raise ShapeError(f"{len(pads)} pads for {len(places)} dims")
    widths = [(0, 0)] * rank
    for at, place in enumerate(places):
        widths[place] = (pads[at], pads[at + len(places)])
    return widths


def _padded(x: Array, widths: Sequence[tuple[int, int]], mode: str, value: float) -> Array:
    """Negative widths cut off."""
    only("mode", mode, "constant", "reflect", "edge", "wrap")
    cut = tuple(
        slice(max(-low, 0), extent - max(-high, 0)) for (low, high), extent in zip(widths, x.shape, strict=True)
    )
    kept = x[cut] if any(min(pair) < 0 for pair in widths) else x
    return gnp.pad(kept, [(max(low, 0), max(high, 0)) for low, high in widths], mode, value)


def _pad_by_attributes(x: Array, *, pads: Ints, mode: str = "constant", value: float = 0.0) -> Array:
    return _padded(x, _widths(x, pads), mode, value)


def _pad(
    x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, *, mode: str = "constant"
) -> Array:
    filler = 0 if value is None else np.asarray(value).reshape(-1)[0].item()
    return _padded(x, _widths(x, integers(pads), axes), mode, filler)


def _depth_to_space(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    only("mode", mode, "DCR", "CRD")
    n, c, h, w = x.shape
    inner = c // (blocksize * blocksize)
    if mode == "DCR":
        parts = gnp.reshape(x, (n, blocksize, blocksize, inner, h, w))
        moved = gnp.transpose(parts, (0, 3, 4, 1, 5, 2))
    else:
        parts = gnp.reshape(x, (n, inner, blocksize, blocksize, h, w))
        moved = gnp.transpose(parts, (0, 1, 4, 2, 5, 3))
    return gnp.reshape(moved, (n, inner, h * blocksize, w * blocksize))


def _space_to_depth(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    only("mode", mode, "DCR", "CRD")
    n, c, h, w = x.shape
    rows, columns = h // blocksize, w // blocksize
    parts = gnp.reshape(x, (n, c, rows, blocksize, columns, blocksize))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return gnp.reshape(gnp.transpose(parts, order), (n, c * blocksize * blocksize, rows, columns))


def _identity(x: Data) -> Data:
    return x


def _shape(x: Array, *, start: int = 0, end: int | None = None) -> Array:
    return np.asarray(x.shape[start:end], np.int64)


def _size(x: Array) -> Array:
    return np.asarray(size(x.shape), np.int64)


def _trilu(x: Array, k: Array | None = None, *, upper: int = 1) -> Array:
    diagonal = 0 if k is None else integers(k)[0]
    return gnp.triu(x, diagonal) if upper else gnp.tril(x, diagonal)


def _reverse_sequence(x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Array:
    """Each sequence is turned around within its length."""
    time = gnp.indices_along(x.shape, time_axis, "int64")
    shape = tuple(extent if place == batch_axis else 1 for place, extent in enumerate(x.shape))
    count = gnp.reshape(lengths, shape)
    source = gnp.where(gnp.less(time, count), count - 1 - time, time)
    return gnp.take_along_axis(x, source, axis=time_axis)


# ------------------------------------------------------------------------------------------------------- new arrays


def _constant(
    *,
    value: Array | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: Ints | None = None,
    value_string: str | None = None,
    value_strings: tuple[str, ...] | None = None,
    sparse_value: object = None,
) -> Array:
    none_of(sparse_value=sparse_value)
    if value is not None:
        return value
    if value_float is not None or value_floats is not None:
        return np.asarray(value_float if value_floats is None else value_floats, np.float32)
    if value_int is not None or value_ints is not None:
        return np.asarray(value_int if value_ints is None else value_ints, np.int64)
    if value_string is not None or value_strings is not None:
        return np.asarray(value_string if value_strings is None else value_strings, object)
    raise ArgumentError("has no value")


def _constant_of_shape(shape: Array, *, value: Array | None = None) -> Array:
    filler = np.zeros(1, np.float32) if value is None else value
    return gnp.full(tuple(integers(shape)), filler.reshape(()))


def _range(start: Array, limit: Array, delta: Array) -> Array:
    """The count is computed from the numbers as they are; floats of 16 bits are counted in float32."""
    dtype = dtype_of(start)
    first, last, step = (np.asarray(x).reshape(()).astype(np.float64) for x in (start, limit, delta))
    count = max(int(np.ceil((last - first) / step)), 0)
    wide = np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype
    place = gnp.arange(count, dtype=wide)
    by, base = (np.asarray(x).reshape(()).astype(wide) for x in (delta, start))
    return cast(gnp.add(gnp.multiply(place, by), base), dtype)


def _eye_like(x: Array, *, dtype: int | None = None, k: int = 0) -> Array:
    rows, columns = x.shape
    return gnp.eye(rows, columns, k, dtype_of(x) if dtype is None else element_type(dtype))


ROWS = [
    Row("Reshape", 5, _reshape, known=(1,)),
    Row("Flatten", 1, _flatten),
    Row("Transpose", 1, _transpose),
    Row("Squeeze", 1, _squeeze, known=(1,)),
    Row("Unsqueeze", 1, _unsqueeze, known=(1,)),
    Row("Expand", 8, _expand, known=(1,)),
    Row("Tile", 6, _tile, known=(1,)),
    Row("Concat", 4, _concat),
    Row("Split", 2, _split, known=(1,)),
    Row("Slice", 1, _slice_by_attributes, until=9),
    Row("Slice", 10, _slice, known=(1, 2, 3, 4)),
    Row("Pad", 2, _pad_by_attributes, until=10),
    Row("Pad", 11, _pad, known=(1, 2, 3)),
    Row("DepthToSpace", 1, _depth_to_space),
    Row("SpaceToDepth", 1, _space_to_depth),
    Row("Identity", 1, _identity),
    Row("Shape", 1, _shape),
    Row("Size", 1, _size),
    Row("Trilu", 14, _trilu, known=(1,)),
    Row("ReverseSequence", 10, _reverse_sequence),
    Row("Constant", 1, _constant),
    Row("ConstantOfShape", 9, _constant_of_shape, known=(0,), makes=True),
    Row("Range", 11, _range, known=(0, 1, 2), makes=True),
    Row("EyeLike", 9, _eye_like, makes=True),
]
