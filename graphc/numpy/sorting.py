"""Sorting and what is found by it. NaN counts as the largest element."""

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import elementwise
from graphc.graph.ops import sorting as ops
from graphc.graph.ops.sorting import SortAttrs, TopAttrs
from graphc.tracing.array import indexing, movement, reduction
from graphc.tracing.bind import as_array, bind1, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import static_size


def sort(x: ArrayLike, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """The elements in ascending order along an axis, NaN last; descending: in descending order, NaN first.

    `stable` is accepted and always true.

    >>> import graphc.numpy as gnp
    >>> gnp.sort([3, 1, 2]).tolist(), gnp.sort([3, 1, 2], descending=True).tolist()
    ([1, 2, 3], [3, 2, 1])
    """
    array = as_array(x)
    return bind1(ops.sort, array, attrs=SortAttrs(movement.normal_axis("sort", axis, len(array.shape)), descending))


def argsort(x: ArrayLike, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """The positions that `sort` takes the elements from (int64); equal elements stay in order.

    >>> import graphc.numpy as gnp
    >>> gnp.argsort([3, 1, 2]).tolist()
    [1, 2, 0]
    """
    array = as_array(x)
    position = movement.normal_axis("argsort", axis, len(array.shape))
    return bind1(ops.argsort, array, attrs=SortAttrs(position, descending))


def top_k(x: ArrayLike, k: int, axis: int = -1, *, largest: bool = True) -> tuple[Array, Array]:
    """The k largest elements along an axis, in descending order, and their positions; of equal ones the first.

    largest=False: the k smallest, in ascending order. NaN counts as the largest element.

    >>> import graphc.numpy as gnp
    >>> values, positions = gnp.top_k([3, 1, 2, 3], 2)
    >>> values.tolist(), positions.tolist()
    ([3, 3], [0, 3])
    """
    array = as_array(x)
    position = movement.normal_axis("top_k", axis, len(array.shape))
    k = static_size("top_k", "k", k)
    if not 0 <= k <= array.shape[position]:
        raise ShapeError(with_line(f"top_k: k is {k}, the axis has {array.shape[position]} elements"))
    places = bind1(ops.arg_top_k, array, attrs=TopAttrs(position, k, largest))
    return indexing.take_along_axis(array, places, position), places


def median(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """The middle element in order, or the mean of the two in the middle.

    >>> import graphc.numpy as gnp
    >>> float(gnp.median([3.0, 1.0, 2.0]))
    2.0
    """
    array = as_array(x)
    flat = movement.reshape(array, -1) if axis is None else array
    position = movement.normal_axis("median", 0 if axis is None else axis, len(flat.shape))
    extent = flat.shape[position]
    if extent == 0:
        raise ShapeError(with_line("median: the axis is empty"))
    ordered = sort(flat, position)
    found = reduction.mean(
        movement.slice_axis(ordered, position, (extent - 1) // 2, extent // 2 + 1), position, None, True
    )
    last = movement.slice_axis(ordered, position, extent - 1, extent)  # NaN where there is one
    found = bind1(elementwise.select, bind1(elementwise.ne, last, last), to_dtype(last, _dtype(found)), found)
    if axis is None:
        return movement.reshape(found, (1,) * len(array.shape) if keepdims else ())
    return found if keepdims else movement.squeeze(found, position)


def _dtype(x: Array) -> dtypes.DType:
    return dtypes.dtype(x.dtype)


def searchsorted(
    sorted_array: ArrayLike, values: ArrayLike, side: str = "left", sorter: ArrayLike | None = None
) -> Array:
    """Where each value belongs in a sorted vector (int64): "left" before equal elements, "right" after them.

    sorter: the positions that put a vector in order which is not (`argsort` of it).

    A binary search of as many steps as the length has bits; NaN belongs at the end.

    >>> import graphc.numpy as gnp
    >>> gnp.searchsorted([1, 3, 3, 5], [3, 4]).tolist(), gnp.searchsorted([1, 3, 3, 5], [3], side="right").tolist()
    ([1, 3], [3])
    """
    if side not in ("left", "right"):
        raise ArgumentError(with_line(f"searchsorted: side is 'left' or 'right', got {side!r}"))
    table, wanted = promoted("searchsorted", (sorted_array, values))
    if len(table.shape) != 1:
        raise ShapeError(with_line(f"searchsorted: takes a sorted vector, got shape {list(table.shape)}"))
    if sorter is not None:
        table = indexing.take(table, sorter, 0, mode="clip")
    length = table.shape[0]
    found = movement.broadcast_to(0, wanted.shape)
    found = to_dtype(found, dtypes.int64)
    step = 1 << max(length.bit_length() - 1, 0)
    while length and step:
        candidate = bind1(elementwise.add, found, step)  # so many elements come before, if the last of them does
        last = indexing.take(table, bind1(elementwise.sub, candidate, 1), 0, mode="clip")
        fits = bind1(elementwise.le, candidate, length)
        found = bind1(
            elementwise.select, bind1(elementwise.and_, fits, _comes_before(last, wanted, side)), candidate, found
        )
        step //= 2
    return found


def _comes_before(element: Array, value: Array, side: str) -> Array:
    """In the order of sort: NaN is larger than all else and equal to itself."""
    if not _dtype(value).is_float:
        return bind1(elementwise.lt if side == "left" else elementwise.le, element, value)
    nan, mine = bind1(elementwise.ne, value, value), bind1(elementwise.ne, element, element)
    if side == "left":
        less = bind1(elementwise.lt, element, value)
        return bind1(elementwise.or_, less, bind1(elementwise.and_, nan, bind1(elementwise.not_, mine)))
    return bind1(elementwise.or_, bind1(elementwise.le, element, value), nan)
