"""Elements chosen by integer arrays."""

from graphc.core import dtypes
from graphc.core.errors import ArgumentError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.creation import indices_along
from graphc.tracing.array import indexing, movement
from graphc.tracing.bind import as_array, bind1, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.tracer import DTypeLike


def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None, mode: str = "raise") -> Array:
    """Elements of x along `axis` (of the flattened x without one); the dims of `indices` stand in its place.

    Negative indices count from the end. An index outside is an error if it is known while tracing; a traced one takes
    the nearest valid element. mode="clip" takes the nearest valid element always, negative indices too.

    >>> import graphc.numpy as gnp
    >>> gnp.take([10, 20, 30], [2, 0]).tolist()
    [30, 10]
    """
    if mode not in ("raise", "clip"):
        raise ArgumentError(with_line(f"take: mode is 'raise' or 'clip', got {mode!r}"))
    return indexing.take(x, indices, axis, mode)


def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int = -1) -> Array:
    """`result[i, j] = x[i, indices[i, j]]` for the last axis, and likewise for others.

    >>> import graphc.numpy as gnp
    >>> gnp.take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1).tolist()
    [[2], [3]]
    """
    return indexing.take_along_axis(x, indices, axis)


def one_hot(indices: ArrayLike, num_classes: int, dtype: DTypeLike = "float32") -> Array:
    """1 at each index along a new last dim, 0 elsewhere; an index outside gives a row of zeros.

    >>> import graphc.numpy as gnp
    >>> gnp.one_hot([1, 0], 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    positions = movement.expand_dims(as_array(indices), -1)
    columns = indices_along((num_classes,), 0, dtype_of(positions))
    return to_dtype(bind1(ops.eq, positions, columns), dtypes.dtype(dtype))
