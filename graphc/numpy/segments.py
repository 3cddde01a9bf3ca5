"""Reductions by group: `segment_ids` says which group each row of the data belongs to, in any order.

The ids may have several dims; those are the first dims of the data. A row whose id is outside [0, num_segments) belongs
to no group. Rows of a group are combined in order.
"""

from graphc.core.errors import ArgumentError, DTypeError, ShapeError
from graphc.graph.ir import Op
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.reduction import limits
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, dtype_of, scalar_array, to_dtype
from graphc.tracing.context import Array, ArrayLike, Scalar, with_line
from graphc.tracing.spec import DEFAULT_FLOAT, static_size


def _operands(name: str, data: ArrayLike, segment_ids: ArrayLike, num_segments: int) -> tuple[Array, Array]:
    if static_size(name, "num_segments", num_segments) < 0:
        raise ArgumentError(with_line(f"{name}: num_segments is {num_segments}"))
    array, ids = as_array(data), as_array(segment_ids)
    rank = len(ids.shape)
    if not dtype_of(ids).is_integer:
        raise DTypeError(with_line(f"{name}: segment_ids are integers, got {dtype_of(ids)}"))
    if rank == 0 or array.shape[:rank] != ids.shape:
        shapes = f"{list(ids.shape)} are not the first dims of data {list(array.shape)}"
        raise ShapeError(with_line(f"{name}: segment_ids {shapes}"))
    return array, ids


def _scattered(op: Op, data: Array, ids: Array, num_segments: int, start: Scalar) -> Array:
    shape = (num_segments, *data.shape[len(ids.shape) :])
    nothing = movement.broadcast_to(scalar_array(start, dtype_of(data)), shape)
    return bind1(op, nothing, ids, data, attrs=GatherAttrs(0))


def segment_sum(data: ArrayLike, segment_ids: ArrayLike, num_segments: int) -> Array:
    """The sum of each group; 0 for an empty one.

    >>> import graphc.numpy as gnp
    >>> gnp.segment_sum([1, 2, 3], [0, 2, 0], 3).tolist()
    [4, 0, 2]
    """
    array, ids = _operands("segment_sum", data, segment_ids, num_segments)
    return _scattered(indexing.scatter_add, array, ids, num_segments, 0)


def segment_prod(data: ArrayLike, segment_ids: ArrayLike, num_segments: int) -> Array:
    """The product of each group; 1 for an empty one.

    >>> import graphc.numpy as gnp
    >>> gnp.segment_prod([1, 2, 3], [0, 2, 0], 3).tolist()
    [3, 1, 2]
    """
    array, ids = _operands("segment_prod", data, segment_ids, num_segments)
    return _scattered(indexing.scatter_mul, array, ids, num_segments, 1)


def segment_max(data: ArrayLike, segment_ids: ArrayLike, num_segments: int) -> Array:
    """The largest element of each group; the smallest number of the dtype for an empty one.

    >>> import graphc.numpy as gnp
    >>> gnp.segment_max([1.0, 2.0, 3.0], [0, 2, 0], 3).tolist()
    [3.0, -inf, 2.0]
    """
    array, ids = _operands("segment_max", data, segment_ids, num_segments)
    return _scattered(indexing.scatter_max, array, ids, num_segments, limits(dtype_of(array))[0])


def segment_min(data: ArrayLike, segment_ids: ArrayLike, num_segments: int) -> Array:
    """The smallest element of each group; the largest number of the dtype for an empty one.

    >>> import graphc.numpy as gnp
    >>> gnp.segment_min([1.0, 2.0, 3.0], [0, 2, 0], 3).tolist()
    [1.0, inf, 2.0]
    """
    array, ids = _operands("segment_min", data, segment_ids, num_segments)
    return _scattered(indexing.scatter_min, array, ids, num_segments, limits(dtype_of(array))[1])


def _floats(data: Array) -> Array:
    return data if dtype_of(data).is_float else to_dtype(data, DEFAULT_FLOAT)


def segment_mean(data: ArrayLike, segment_ids: ArrayLike, num_segments: int) -> Array:
    """The mean of each group; 0 for an empty one.

    >>> import graphc.numpy as gnp
    >>> gnp.segment_mean([1.0, 2.0, 3.0], [0, 2, 0], 3).tolist()
    [2.0, 0.0, 2.0]
    """
    array, ids = _operands("segment_mean", data, segment_ids, num_segments)
    array = _floats(array)
    total = segment_sum(array, ids, num_segments)
    ones = movement.broadcast_to(scalar_array(1, DEFAULT_FLOAT), ids.shape)
    count = bind1(elementwise.max_, segment_sum(ones, ids, num_segments), 1.0)
    per_group = movement.reshape(to_dtype(count, dtype_of(array)), (num_segments, *(1 for _ in total.shape[1:])))
    return bind1(elementwise.div, total, per_group)


def segment_softmax(data: ArrayLike, segment_ids: ArrayLike, num_segments: int) -> Array:
    """The softmax over the rows of each group, shaped like the data.

    >>> import graphc.numpy as gnp
    >>> gnp.segment_softmax([1.0, 1.0, 5.0], [0, 0, 1], 2).tolist()
    [0.5, 0.5, 1.0]
    """
    array, ids = _operands("segment_softmax", data, segment_ids, num_segments)
    array = _floats(array)
    largest = bind1(elementwise.stop_gradient, segment_max(array, ids, num_segments))
    powers = bind1(elementwise.exp, bind1(elementwise.sub, array, _of_group(largest, ids)))
    return bind1(elementwise.div, powers, _of_group(segment_sum(powers, ids, num_segments), ids))


def _of_group(values: Array, ids: Array) -> Array:
    return bind1(indexing.gather, values, ids, attrs=GatherAttrs(0))
