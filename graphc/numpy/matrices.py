"""Triangles and diagonals of the last two dims."""

from graphc.core import dtypes
from graphc.core.errors import ShapeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.creation import eye, indices_along
from graphc.tracing.array import movement, reduction
from graphc.tracing.bind import as_array, bind1, dtype_of, scalar_array, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import static_size
from graphc.tracing.tracer import DTypeLike


def _matrix(name: str, x: ArrayLike) -> Array:
    array = as_array(x)
    if len(array.shape) < 2:
        raise ShapeError(with_line(f"{name}: needs at least two dims, got shape {list(array.shape)}"))
    return array


def _below(shape: tuple[int, ...], k: int) -> Array:
    """Where an element is on or below diagonal `k`."""
    return bind1(ops.ge, bind1(ops.add, indices_along(shape, 0), k), indices_along(shape, 1))


def tri(rows: int, columns: int | None = None, k: int = 0, dtype: DTypeLike = "float32") -> Array:
    """Ones on and below diagonal `k`.

    >>> import graphc.numpy as gnp
    >>> gnp.tri(2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    shape = movement.as_extents("tri", (rows, rows if columns is None else columns))
    return to_dtype(_below(shape, static_size("tri", "k", k)), dtypes.dtype(dtype))


def tril(x: ArrayLike, k: int = 0) -> Array:
    """x with zeros above diagonal `k` of the last two dims.

    >>> import graphc.numpy as gnp
    >>> gnp.tril([[1, 2], [3, 4]]).tolist()
    [[1, 0], [3, 4]]
    """
    array, k = _matrix("tril", x), static_size("tril", "k", k)
    return bind1(ops.select, _below(array.shape[-2:], k), array, scalar_array(0, dtype_of(array)))


def triu(x: ArrayLike, k: int = 0) -> Array:
    """x with zeros below diagonal `k` of the last two dims.

    >>> import graphc.numpy as gnp
    >>> gnp.triu([[1, 2], [3, 4]]).tolist()
    [[1, 2], [0, 4]]
    """
    array, k = _matrix("triu", x), static_size("triu", "k", k)
    return bind1(ops.select, _below(array.shape[-2:], k - 1), scalar_array(0, dtype_of(array)), array)


def diagonal(x: ArrayLike, offset: int = 0) -> Array:
    """The diagonal `offset` of the last two dims.

    >>> import graphc.numpy as gnp
    >>> gnp.diagonal([[1, 2], [3, 4]]).tolist()
    [1, 4]
    """
    array, offset = _matrix("diagonal", x), static_size("diagonal", "offset", offset)
    rows, columns = array.shape[-2:]
    first = offset if offset >= 0 else -offset * columns
    length = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    flat = movement.reshape(array, (*array.shape[:-2], rows * columns))
    rank = len(flat.shape)
    start, stop, step = [0] * rank, list(flat.shape), [1] * rank
    if length == 0:
        stop[-1] = 0
    else:
        start[-1], stop[-1], step[-1] = first, first + (length - 1) * (columns + 1) + 1, columns + 1
    return movement.static_slice(flat, start, stop, step)


def diag(x: ArrayLike, k: int = 0) -> Array:
    """A square matrix with the vector x on diagonal `k`, or that diagonal of a matrix.

    >>> import graphc.numpy as gnp
    >>> gnp.diag([1, 2]).tolist(), gnp.diag([[1, 2], [3, 4]]).tolist()
    ([[1, 0], [0, 2]], [1, 4])
    """
    array, k = as_array(x), static_size("diag", "k", k)
    if len(array.shape) == 2:
        return diagonal(array, k)
    if len(array.shape) != 1:
        raise ShapeError(with_line(f"diag: takes a vector or a matrix, got shape {list(array.shape)}"))
    low = [max(-k, 0), max(k, 0)]
    size = array.shape[0]
    zero = scalar_array(0, dtype_of(array))
    square = bind1(ops.select, eye(size, dtype="bool"), movement.reshape(array, (size, 1)), zero)
    return movement.pad_constant(square, low, [low[1], low[0]])


def trace(x: ArrayLike, offset: int = 0, dtype: DTypeLike | None = None) -> Array:
    """The sum of diagonal `offset` of the last two dims, added up in `dtype`.

    >>> import graphc.numpy as gnp
    >>> float(gnp.trace([[1.0, 2.0], [3.0, 4.0]]))
    5.0
    """
    return reduction.sum(diagonal(x, offset), -1, None if dtype is None else dtypes.dtype(dtype))
