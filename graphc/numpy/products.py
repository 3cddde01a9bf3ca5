"""Products that sum over shared dims: matmul and its relatives. Each is one contraction of the graph."""

from collections.abc import Sequence

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.complexes import conj
from graphc.tracing.array import contraction, movement
from graphc.tracing.array.contraction import contract, describe
from graphc.tracing.bind import bind1, broadcast_shape, promoted
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import static_size
from graphc.tracing.tracer import DTypeLike


def matmul(x: ArrayLike, y: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """`x @ y`: [..., n, k] with [..., k, m] gives [..., n, m]; leading dims broadcast, vectors are [k].

    dtype: of the result; None is that of the operands. A product of a half type is added up in float32 and rounded
    once; with dtype="float32" it is returned as it was added up. Otherwise the operands are converted first, as in
    NumPy.

    >>> import graphc.numpy as gnp
    >>> gnp.matmul([[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    """
    return contraction.matmul(x, y, None if dtype is None else dtypes.dtype(dtype))


def dot(x: ArrayLike, y: ArrayLike) -> Array:
    """NumPy's dot: the last dim of x with the second to last of y (the only one of a vector).

    >>> import graphc.numpy as gnp
    >>> float(gnp.dot([1.0, 2.0], [3.0, 4.0]))
    11.0
    """
    return contraction.dot(x, y)


def vecdot(x: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """Inner products along one axis, of complex numbers with the conjugate of x; the other dims broadcast.

    >>> import graphc.numpy as gnp
    >>> gnp.vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).tolist()
    [3.0, 7.0]
    """
    lhs, rhs = promoted("vecdot", (conj(x), y))
    shape = broadcast_shape("vecdot", (lhs.shape, rhs.shape))
    lhs, rhs = movement.broadcast_to(lhs, shape), movement.broadcast_to(rhs, shape)
    position = movement.normal_axis("vecdot", axis, len(shape))
    batch = tuple(d for d in range(len(shape)) if d != position)
    return contract(lhs, rhs, (position,), (position,), batch, batch)


def inner(x: ArrayLike, y: ArrayLike) -> Array:
    """Sums over the last dim of both; scalars multiply.

    >>> import graphc.numpy as gnp
    >>> float(gnp.inner([1.0, 2.0], [3.0, 4.0]))
    11.0
    """
    lhs, rhs = promoted("inner", (x, y))
    if not lhs.shape or not rhs.shape:
        return bind1(ops.mul, lhs, rhs)
    return tensordot(lhs, rhs, ([-1], [-1]))


def outer(x: ArrayLike, y: ArrayLike) -> Array:
    """All products of an element of x with one of y, both flattened: [n, m].

    >>> import graphc.numpy as gnp
    >>> gnp.outer([1.0, 2.0], [3.0, 4.0]).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    column = movement.reshape(x, (-1, 1))
    row = movement.reshape(y, (1, -1))
    return bind1(ops.mul, column, row)


def tensordot(x: ArrayLike, y: ArrayLike, axes: int | tuple[int | Sequence[int], int | Sequence[int]] = 2) -> Array:
    """Sums over pairs of axes: the last `axes` of x with the first of y, or two lists of axes.

    >>> import graphc.numpy as gnp
    >>> gnp.tensordot(gnp.ones((2, 3)), gnp.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    lhs, rhs = promoted("tensordot", (x, y))
    if not isinstance(axes, Sequence):
        count = static_size("tensordot", "axes", axes, 0)
        if count > len(lhs.shape) or count > len(rhs.shape):
            raise ShapeError(with_line(f"tensordot: axes={count} of {describe(lhs)} and {describe(rhs)}"))
        left = tuple(range(len(lhs.shape) - count, len(lhs.shape)))
        right = tuple(range(count))
    else:
        if len(axes) != 2:
            raise ArgumentError(with_line(f"tensordot: axes is an int, or one list for each array, got {axes!r:.60}"))
        left, right = (_listed(given, array) for given, array in zip(axes, (lhs, rhs), strict=True))
    return contract(lhs, rhs, left, right)


def _listed(axes: int | Sequence[int], array: Array) -> tuple[int, ...]:
    return tuple(movement.normal_axis("tensordot", axis, len(array.shape)) for axis in movement.one_or_more(axes))
