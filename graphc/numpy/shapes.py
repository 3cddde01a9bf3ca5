"""Shapes: reshape, transpose, join, split, repeat, flip, roll. Elements move, none is computed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.creation import indices_along
from graphc.tracing.array import contraction, indexing, movement
from graphc.tracing.bind import as_array, bind1, broadcast_shape, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, with_line
from graphc.tracing.spec import static_size


def reshape(x: ArrayLike, shape: int | Sequence[int], copy: bool | None = None) -> Array:
    """The same elements in row-major order; one extent may be -1. copy=True: not in the memory of x.

    >>> import graphc.numpy as gnp
    >>> gnp.reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    found = movement.reshape(x, shape)
    return found.copy() if copy else found


def ravel(x: ArrayLike) -> Array:
    """All elements in one dim, row-major.

    >>> import graphc.numpy as gnp
    >>> gnp.ravel([[1, 2], [3, 4]]).tolist()
    [1, 2, 3, 4]
    """
    return movement.reshape(x, -1)


def shape(x: ArrayLike) -> tuple[int, ...]:
    """The extents of x.

    >>> import graphc.numpy as gnp
    >>> gnp.shape([[1, 2, 3]])
    (1, 3)
    """
    return as_array(x).shape


def ndim(x: ArrayLike) -> int:
    """The number of dims of x.

    >>> import graphc.numpy as gnp
    >>> gnp.ndim([[1, 2, 3]])
    2
    """
    return len(as_array(x).shape)


def size(x: ArrayLike, axis: int | None = None) -> int:
    """The number of elements of x, or its extent along an axis.

    >>> import graphc.numpy as gnp
    >>> gnp.size([[1, 2, 3]]), gnp.size([[1, 2, 3]], 0)
    (3, 1)
    """
    array = as_array(x)
    return int(array.size) if axis is None else array.shape[movement.normal_axis("size", axis, len(array.shape))]


def transpose(x: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """Dim i of the result is dim axes[i] of x; all dims reversed without `axes`.

    >>> import graphc.numpy as gnp
    >>> gnp.transpose([[1, 2], [3, 4]]).tolist()
    [[1, 3], [2, 4]]
    """
    return movement.transpose(x, axes)


def permute_dims(x: ArrayLike, axes: Sequence[int]) -> Array:
    """Dim i of the result is dim axes[i] of x.

    >>> import graphc.numpy as gnp
    >>> gnp.permute_dims(gnp.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return movement.transpose(x, axes)


def matrix_transpose(x: ArrayLike) -> Array:
    """The last two dims swapped.

    >>> import graphc.numpy as gnp
    >>> gnp.matrix_transpose(gnp.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    return contraction.matrix_transpose(x)


def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Array:
    """Two dims swapped.

    >>> import graphc.numpy as gnp
    >>> gnp.swapaxes(gnp.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    return movement.swapaxes(x, axis1, axis2)


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Dims `source` moved to positions `destination`; the others keep their order.

    >>> import graphc.numpy as gnp
    >>> gnp.moveaxis(gnp.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    rank = ndim(x)
    sources, targets = movement.one_or_more(source), movement.one_or_more(destination)
    if len(sources) != len(targets):
        raise ShapeError(with_line(f"moveaxis: {len(sources)} sources and {len(targets)} destinations"))
    pairs = [
        (movement.normal_axis("moveaxis", target, rank), movement.normal_axis("moveaxis", origin, rank))
        for origin, target in zip(sources, targets, strict=True)
    ]
    order = [d for d in range(rank) if d not in [origin for _, origin in pairs]]
    for target, origin in sorted(pairs):
        order.insert(target, origin)
    return movement.transpose(x, order)


def squeeze(x: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """Without dims of extent 1: the given ones, or all.

    >>> import graphc.numpy as gnp
    >>> gnp.squeeze(gnp.zeros((1, 3, 1)), 0).shape
    (3, 1)
    """
    return movement.squeeze(x, axis)


def expand_dims(x: ArrayLike, axis: int | Sequence[int]) -> Array:
    """With new dims of extent 1 at the given positions of the result.

    >>> import graphc.numpy as gnp
    >>> gnp.expand_dims(gnp.zeros((3,)), 0).shape
    (1, 3)
    """
    return movement.expand_dims(x, axis)


def atleast_1d(x: ArrayLike) -> Array:
    """A scalar becomes an array of one element.

    >>> import graphc.numpy as gnp
    >>> gnp.atleast_1d(3.0).shape
    (1,)
    """
    array = as_array(x)
    return array if array.shape else movement.reshape(array, 1)


def atleast_2d(x: ArrayLike) -> Array:
    """Leading dims of extent 1 are added up to rank 2.

    >>> import graphc.numpy as gnp
    >>> gnp.atleast_2d([1.0, 2.0]).shape
    (1, 2)
    """
    array = as_array(x)
    return movement.reshape(array, (1,) * (2 - len(array.shape)) + array.shape)


def broadcast_to(x: ArrayLike, shape: int | Sequence[int]) -> Array:
    """x with leading dims added and dims of extent 1 repeated.

    >>> import graphc.numpy as gnp
    >>> gnp.broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    return movement.broadcast_to(x, movement.as_extents("broadcast_to", shape))


def broadcast_arrays(*arrays: ArrayLike) -> list[Array]:
    """All arrays broadcast to one shape.

    >>> import graphc.numpy as gnp
    >>> [a.shape for a in gnp.broadcast_arrays([1, 2], [[3], [4]])]
    [(2, 2), (2, 2)]
    """
    listed = [as_array(x) for x in arrays]
    common = broadcast_shape("broadcast_arrays", [x.shape for x in listed])
    return [movement.broadcast_to(x, common) for x in listed]


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape several shapes broadcast to.

    >>> import graphc.numpy as gnp
    >>> gnp.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return broadcast_shape("broadcast_shapes", [tuple(given) for given in shapes])


def concatenate(arrays: Sequence[ArrayLike], axis: int | None = 0) -> Array:
    """Arrays one after the other along an axis (flattened if it is None).

    >>> import graphc.numpy as gnp
    >>> gnp.concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    if axis is None:
        return movement.concatenate([ravel(x) for x in arrays], 0)
    return movement.concatenate(_several("concatenate", arrays), axis)


def _several(name: str, arrays: Sequence[ArrayLike]) -> list[ArrayLike]:
    """Raises `ArgumentError` for what is no list of arrays."""
    if not movement.is_several(arrays):
        raise ArgumentError(with_line(f"{name}: takes a list or tuple of arrays, got {arrays!r:.60}"))
    return list(arrays)


def stack(arrays: Sequence[ArrayLike], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis.

    >>> import graphc.numpy as gnp
    >>> gnp.stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    return movement.concatenate([movement.expand_dims(x, axis) for x in _several("stack", arrays)], axis, "stack")


def vstack(arrays: Sequence[ArrayLike]) -> Array:
    """Rows on top of each other.

    >>> import graphc.numpy as gnp
    >>> gnp.vstack([[1, 2], [3, 4]]).tolist()
    [[1, 2], [3, 4]]
    """
    return movement.concatenate([atleast_2d(x) for x in _several("vstack", arrays)], 0, "vstack")


def hstack(arrays: Sequence[ArrayLike]) -> Array:
    """Side by side: vectors along their dim, others along the second.

    >>> import graphc.numpy as gnp
    >>> gnp.hstack([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    listed = [atleast_1d(x) for x in _several("hstack", arrays)]
    return movement.concatenate(listed, 0 if listed and len(listed[0].shape) == 1 else 1, "hstack")


def split(x: ArrayLike, parts: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Equal parts along an axis, or parts that end at the given positions.

    >>> import graphc.numpy as gnp
    >>> [part.tolist() for part in gnp.split([1, 2, 3, 4], 2)]
    [[1, 2], [3, 4]]
    """
    array = as_array(x)
    position = movement.normal_axis("split", axis, len(array.shape))
    extent = array.shape[position]
    ends = [static_size("split", "parts", number) for number in movement.one_or_more(parts)]
    if not movement.is_several(parts):
        (count,) = ends
        if count < 1 or extent % count:
            raise ShapeError(with_line(f"split: axis of extent {extent} has no {count} equal parts"))
        cuts = [extent // count * i for i in range(1, count)]
    else:
        cuts = [min(max(cut + extent if cut < 0 else cut, 0), extent) for cut in ends]
    edges = [0, *cuts, extent]
    return [movement.slice_axis(array, position, a, max(a, b)) for a, b in pairwise(edges)]


def unstack(x: ArrayLike, axis: int = 0) -> tuple[Array, ...]:
    """The slices along an axis, without that axis.

    >>> import graphc.numpy as gnp
    >>> [row.tolist() for row in gnp.unstack([[1, 2], [3, 4]])]
    [[1, 2], [3, 4]]
    """
    array = as_array(x)
    position = movement.normal_axis("unstack", axis, len(array.shape))
    rows = [movement.slice_axis(array, position, i, i + 1) for i in range(array.shape[position])]
    return tuple(movement.squeeze(row, position) for row in rows)


def flip(x: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """The order of the elements reversed along some axes, along all without `axis`.

    >>> import graphc.numpy as gnp
    >>> gnp.flip([1, 2, 3]).tolist()
    [3, 2, 1]
    """
    array = as_array(x)
    return movement.reverse(array, movement.normal_axes("flip", axis, len(array.shape)))


def roll(x: ArrayLike, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Array:
    """Elements moved by `shift` places along an axis, those that fall off come back in front.

    >>> import graphc.numpy as gnp
    >>> gnp.roll([1, 2, 3, 4], 1).tolist()
    [4, 1, 2, 3]
    """
    array = as_array(x)
    if isinstance(shift, TracedValue):
        return _rolled(array, as_array(shift), axis)
    shifts = [static_size("roll", "shift", places) for places in movement.one_or_more(shift)]
    if axis is None:
        if movement.is_several(shift):
            raise ShapeError(with_line("roll: several shifts need as many axes"))
        return movement.reshape(roll(ravel(array), shifts, 0), array.shape)
    axes = movement.one_or_more(axis)
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(with_line(f"roll: {len(shifts)} shifts for {len(axes)} axes"))
    for places, given in zip(shifts, axes, strict=True):
        position = movement.normal_axis("roll", given, len(array.shape))
        extent = array.shape[position]
        cut = (-places) % extent if extent else 0
        if cut:
            parts = [movement.slice_axis(array, position, cut, extent), movement.slice_axis(array, position, 0, cut)]
            array = movement.concatenate(parts, position)
    return array


def _rolled(x: Array, shift: Array, axis: int | Sequence[int] | None) -> Array:
    """By a traced number of places."""
    if axis is None:
        return movement.reshape(_rolled(ravel(x), shift, 0), x.shape)
    if not isinstance(axis, int) or shift.shape != () or not dtype_of(shift).is_integer:
        raise ShapeError(with_line("roll: a traced shift is one integer, along one axis"))
    position = movement.normal_axis("roll", axis, len(x.shape))
    extent = x.shape[position]
    if extent == 0:
        return x
    places = bind1(ops.sub, indices_along((extent,), 0), to_dtype(shift, dtypes.int64))
    rest = bind1(ops.rem, places, extent)  # of the sign of `places`
    negative = bind1(ops.lt, rest, 0)
    return indexing.take(x, bind1(ops.select, negative, bind1(ops.add, rest, extent), rest), position)


def repeat(x: ArrayLike, repeats: int | Sequence[int], axis: int | None = None) -> Array:
    """Each element `repeats` times in a row along an axis (of the flattened array without one); several numbers, known
    while tracing, say it for each element.

    >>> import graphc.numpy as gnp
    >>> gnp.repeat([1, 2], 2).tolist()
    [1, 1, 2, 2]
    """
    array = ravel(x) if axis is None else as_array(x)
    position = movement.normal_axis("repeat", axis or 0, len(array.shape))
    if isinstance(repeats, (int, np.integer)):
        return movement.repeat(array, static_size("repeat", "repeats", repeats, 0), position)
    if isinstance(repeats, TracedValue):
        raise ShapeError(with_line("repeat: the numbers must be known while tracing, they are part of the shape"))
    counts, extent = np.asarray(repeats), array.shape[position]
    if counts.shape not in ((1,), (extent,)) or counts.dtype.kind not in "iu" or counts.min(initial=0) < 0:
        raise ShapeError(with_line(f"repeat: takes one int, or one for each of {extent} elements, none negative"))
    return indexing.take(array, np.repeat(np.arange(extent), counts), position)


def tile(x: ArrayLike, repetitions: int | Sequence[int]) -> Array:
    """The whole array `repetitions[i]` times along dim i.

    >>> import graphc.numpy as gnp
    >>> gnp.tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    array = as_array(x)
    counts = movement.as_extents("tile", repetitions)
    rank = max(len(counts), len(array.shape))
    counts = (1,) * (rank - len(counts)) + counts
    extents = (1,) * (rank - len(array.shape)) + array.shape
    spread = tuple(part for count, extent in zip(counts, extents, strict=True) for part in (count, extent))
    paired = movement.reshape(array, tuple(part for extent in extents for part in (1, extent)))
    wide = movement.broadcast_to(paired, spread)
    return movement.reshape(wide, tuple(c * e for c, e in zip(counts, extents, strict=True)))


concat = concatenate


def copy(x: ArrayLike) -> Array:
    """x itself when traced (values never change), a copy of an array.

    >>> import graphc.numpy as gnp
    >>> gnp.copy([1, 2]).tolist()
    [1, 2]
    """
    array = as_array(x)
    return array.copy()
