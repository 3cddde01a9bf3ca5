"""Reshape, transpose, squeeze, join, reverse, repeat: elements move, none is computed."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import TypeGuard

import numpy as np

from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import movement as ops
from graphc.graph.ops.movement import (
    AxesAttrs,
    AxisAttrs,
    BroadcastAttrs,
    PadAttrs,
    ShapeAttrs,
    SliceAttrs,
    TransposeAttrs,
)
from graphc.tracing.bind import as_array, bind1, broadcast_to, dtype_of, promoted, scalar_array
from graphc.tracing.context import Array, ArrayLike, Scalar, with_line
from graphc.tracing.spec import is_int, static_advice


def normal_axis(name: str, axis: int, rank: int) -> int:
    """An axis counted from the front; raises `ShapeError` when it is outside."""
    if not is_int(axis):
        raise ArgumentError(with_line(f"{name}: an axis is an int, got {axis!r}{static_advice(axis)}"))
    if not -rank <= axis < rank:
        raise ShapeError(with_line(f"{name}: axis {axis} is outside an array of rank {rank}"))
    return int(axis) % rank


def normal_axes(name: str, axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted, distinct axes counted from the front; None means all of them."""
    if axis is None:
        return tuple(range(rank))
    listed = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    axes = [normal_axis(name, a, rank) for a in listed]
    if len(set(axes)) != len(axes):
        raise ShapeError(with_line(f"{name}: axis {tuple(listed)} names one axis twice"))
    return tuple(sorted(axes))


def is_several(given: object) -> TypeGuard[Iterable[object]]:
    """Whether something can be gone through: a list or an array, not a number or an array of no dims."""
    return isinstance(given, Iterable) and getattr(given, "shape", None) != ()


def one_or_more(given: object) -> list[int]:
    """What may be one number or several, as a list; what the numbers are is checked where each is used."""
    if is_several(given):
        return list(given)  # type: ignore[arg-type]
    return [given[()] if isinstance(given, np.ndarray) else given]  # type: ignore[list-item]


def as_extents(name: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    """The shape of something new: no extent is negative."""
    extents = as_shape(name, shape)
    if any(extent < 0 for extent in extents):
        raise ArgumentError(with_line(f"{name}: the extents of a shape are not negative, got {list(extents)}"))
    return extents


def as_shape(name: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    listed = tuple(one_or_more(shape))
    for extent in listed:
        if not is_int(extent):
            raise ArgumentError(
                with_line(f"{name}: a shape is Python ints, known while tracing; got {extent!r}{static_advice(extent)}")
            )
    return tuple(int(extent) for extent in listed)


def reshape(x: ArrayLike, shape: int | Sequence[int]) -> Array:
    """The same elements in row-major order; one extent may be -1."""
    array = as_array(x)
    wanted = as_shape("reshape", shape)
    if wanted.count(-1) == 1:
        known = prod(extent for extent in wanted if extent != -1)
        size = prod(array.shape)
        if known == 0 or size % known:
            raise ShapeError(with_line(f"reshape: {list(array.shape)} does not fit {list(wanted)}"))
        wanted = tuple(size // known if extent == -1 else extent for extent in wanted)
    if wanted == array.shape:
        return array
    return bind1(ops.reshape, array, attrs=ShapeAttrs(wanted))


def transpose(x: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """Dim i of the result is dim axes[i] of `x`; all dims reversed without `axes`."""
    array = as_array(x)
    rank = len(array.shape)
    order = tuple(reversed(range(rank))) if axes is None else tuple(normal_axis("transpose", a, rank) for a in axes)
    if order == tuple(range(rank)):
        return array
    return bind1(ops.transpose, array, attrs=TransposeAttrs(order))


def swapaxes(x: ArrayLike, first: int, second: int) -> Array:
    rank = len(as_array(x).shape)
    order = list(range(rank))
    a, b = normal_axis("swapaxes", first, rank), normal_axis("swapaxes", second, rank)
    order[a], order[b] = b, a
    return transpose(x, order)


def squeeze(x: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """Without the given axes, which must have extent 1; without all such axes if none is given."""
    array = as_array(x)
    if axis is None:
        return reshape(array, tuple(extent for extent in array.shape if extent != 1))
    axes = normal_axes("squeeze", axis, len(array.shape))
    if any(array.shape[a] != 1 for a in axes):
        raise ShapeError(with_line(f"squeeze: axes {list(axes)} of {list(array.shape)} do not all have extent 1"))
    return reshape(array, tuple(e for d, e in enumerate(array.shape) if d not in axes))


def expand_dims(x: ArrayLike, axis: int | Sequence[int]) -> Array:
    """With new dims of extent 1 at the given positions of the result."""
    array = as_array(x)
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = normal_axes("expand_dims", axis, len(array.shape) + count)
    rest = iter(array.shape)
    return reshape(array, tuple(1 if d in axes else next(rest) for d in range(len(array.shape) + count)))


def static_slice(x: ArrayLike, start: Sequence[int], stop: Sequence[int], step: Sequence[int] | None = None) -> Array:
    """Elements start, start + step, ... below stop, per dim. A slice that takes everything is `x` itself."""
    array = as_array(x)
    step = step or (1,) * len(array.shape)
    if tuple(stop) == array.shape and not any(start) and all(s == 1 for s in step):
        return array
    return bind1(ops.slice_, array, attrs=SliceAttrs(tuple(start), tuple(stop), tuple(step)))


def slice_axis(x: ArrayLike, axis: int, start: int, stop: int) -> Array:
    """`x[:, ..., start:stop, ..., :]`."""
    array = as_array(x)
    low, high = [0] * len(array.shape), list(array.shape)
    low[axis], high[axis] = start, stop
    return static_slice(array, low, high)


def reverse(x: ArrayLike, axes: Sequence[int]) -> Array:
    array = as_array(x)
    return bind1(ops.reverse, array, attrs=AxesAttrs(tuple(axes))) if axes else array


def concatenate(arrays: Sequence[ArrayLike], axis: int = 0, name: str = "concatenate") -> Array:
    """Arrays one after the other along an axis; they are promoted to one dtype."""
    if not arrays:
        raise ShapeError(with_line(f"{name}: needs at least one array"))
    operands = promoted(name, arrays)
    position = normal_axis(name, axis, len(operands[0].shape))
    return operands[0] if len(operands) == 1 else bind1(ops.concatenate, *operands, attrs=AxisAttrs(position))


def pad_constant(
    x: ArrayLike, low: Sequence[int], high: Sequence[int], value: Scalar = 0, interior: Sequence[int] | None = None
) -> Array:
    """`x` with elements of one value around it, and `interior` ones between neighbours."""
    array = as_array(x)
    between = tuple(interior) if interior else (0,) * len(array.shape)
    if not any((*low, *high, *between)):
        return array
    fill = scalar_array(value, dtype_of(array))
    return bind1(ops.pad, array, fill, attrs=PadAttrs(tuple(low), tuple(high), between))


def repeat(x: ArrayLike, repeats: int, axis: int) -> Array:
    """Each slice along `axis` `repeats` times in a row."""
    array = as_array(x)
    shape = array.shape
    inserted = (*shape[: axis + 1], repeats, *shape[axis + 1 :])
    dims = tuple(d for d in range(len(inserted)) if d != axis + 1)
    wide = bind1(ops.broadcast, array, attrs=BroadcastAttrs(inserted, dims))
    return reshape(wide, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))


__all__ = [
    "as_extents",
    "as_shape",
    "broadcast_to",
    "concatenate",
    "expand_dims",
    "is_several",
    "normal_axes",
    "normal_axis",
    "one_or_more",
    "pad_constant",
    "repeat",
    "reshape",
    "reverse",
    "slice_axis",
    "squeeze",
    "static_slice",
    "swapaxes",
    "transpose",
]
