"""Norms of vectors and matrices, cross products, and products of many matrices."""

import math
from collections.abc import Sequence

from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import elementwise
from graphc.numpy import reductions, shapes
from graphc.numpy.complexes import imag, real
from graphc.numpy.linalg.operands import ALL, inexact, matrix
from graphc.numpy.linalg.spectral import svdvals
from graphc.numpy.products import matmul
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, broadcast_shape, dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line

Axes = int | tuple[int, ...] | None
Order = int | float | str | None


def _square_of_size(x: Array) -> Array:
    if not dtype_of(x).is_complex:
        return bind1(elementwise.mul, x, x)
    return bind1(elementwise.add, *(bind1(elementwise.mul, part, part) for part in (real(x), imag(x))))


def vector_norm(x: ArrayLike, *, axis: Axes = None, keepdims: bool = False, ord: int | float = 2) -> Array:
    """`sum(abs(x) ** ord) ** (1 / ord)` along axes (all of them); inf and -inf: the extremes; 0: how many are not 0.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.vector_norm([3.0, 4.0]))
    5.0
    """
    array = inexact(x)
    size = bind1(elementwise.abs_, array)
    if ord == math.inf:
        return reductions.max(size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return reductions.min(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return to_dtype(reductions.count_nonzero(array, axis=axis, keepdims=keepdims), dtype_of(size))
    if ord == 1:
        return reductions.sum(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        return bind1(elementwise.sqrt, reductions.sum(_square_of_size(array), axis=axis, keepdims=keepdims))
    powers = reductions.sum(bind1(elementwise.pow_, size, float(ord)), axis=axis, keepdims=keepdims)
    return bind1(elementwise.pow_, powers, 1 / ord)


def matrix_norm(x: ArrayLike, *, keepdims: bool = False, ord: int | float | str | None = "fro") -> Array:
    """Of matrices: "fro", the root of the sum of squares; 1 and inf, the largest sum of a column and of a row of sizes
    (-1 and -inf: the smallest); 2 and -2, the largest and smallest singular value, and "nuc", the sum of them.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.matrix_norm([[1.0, -2.0], [2.0, 4.0]]))
    5.0
    >>> float(gnp.linalg.matrix_norm([[1.0, -2.0], [2.0, 4.0]], ord=1))
    6.0
    """
    array = matrix("matrix_norm", x, accepted=ALL)
    if ord in ("fro", None):
        return vector_norm(array, axis=(-2, -1), keepdims=keepdims)
    if ord in (2, -2, "nuc"):
        values = svdvals(array)
        found = reductions.sum(values, axis=-1) if ord == "nuc" else values[..., 0 if ord == 2 else -1]
        return shapes.expand_dims(found, (-2, -1)) if keepdims else found
    if not isinstance(ord, str | None) and abs(ord) in (1, math.inf):
        sums = reductions.sum(bind1(elementwise.abs_, array), axis=-2 if abs(ord) == 1 else -1, keepdims=True)
        extreme = reductions.max if ord > 0 else reductions.min
        return extreme(sums, axis=(-2, -1), keepdims=keepdims)
    raise ArgumentError(with_line(f"matrix_norm: no norm {ord!r}; there are 'fro', 'nuc', 1, -1, 2, -2, inf and -inf"))


def norm(x: ArrayLike, ord: Order = None, axis: Axes = None, keepdims: bool = False) -> Array:
    """NumPy's norm: of a vector along one axis, of matrices along two, of all elements with neither.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.norm([[1.0, 2.0], [2.0, 4.0]]))
    5.0
    """
    array = inexact(x)
    rank = len(array.shape)
    if axis is None and ord is None:
        return vector_norm(array, keepdims=keepdims)
    listed = range(rank) if axis is None else movement.one_or_more(axis)
    axes = tuple(movement.normal_axis("norm", a, rank) for a in listed)
    if len(axes) == 1:
        if isinstance(ord, str):
            raise ArgumentError(with_line(f"norm: {ord!r} is a norm of matrices, not of vectors"))
        return vector_norm(array, axis=axes, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ArgumentError(with_line(f"norm: {len(axes)} axes; vectors have one, matrices have two"))
    first, second = axes
    found = matrix_norm(shapes.moveaxis(array, (first, second), (-2, -1)), keepdims=keepdims, ord=ord)
    return shapes.moveaxis(found, (-2, -1), (first, second)) if keepdims else found


def cross(x: ArrayLike, y: ArrayLike, *, axis: int = -1) -> Array:
    """Products of vectors of three dims, at right angles to both.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).tolist()
    [0.0, 0.0, 1.0]
    """
    lhs, rhs = promoted("cross", (x, y))
    shape = broadcast_shape("cross", (lhs.shape, rhs.shape))
    lhs, rhs = movement.broadcast_to(lhs, shape), movement.broadcast_to(rhs, shape)
    position = movement.normal_axis("cross", axis, len(shape))
    if shape[position] != 3:
        raise ShapeError(with_line(f"cross: vectors have 3 elements, not {shape[position]}"))

    def turned(array: Array, by: int) -> Array:
        return shapes.roll(array, by, position)

    left = bind1(elementwise.mul, turned(lhs, -1), turned(rhs, -2))
    return bind1(elementwise.sub, left, bind1(elementwise.mul, turned(lhs, -2), turned(rhs, -1)))


def multi_dot(arrays: Sequence[ArrayLike]) -> Array:
    """The product of matrices (the first and last may be vectors), in the order that takes the fewest multiplications.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.multi_dot([gnp.ones((2, 9)), gnp.ones((9, 3)), gnp.ones(3)]).tolist()
    [27.0, 27.0]
    """
    factors = [as_array(x) for x in arrays]
    if len(factors) < 2 or any(len(x.shape) != 2 for x in factors[1:-1]):
        raise ShapeError(with_line("multi_dot: needs two or more factors, all matrices but for the first and last"))
    if any(len(x.shape) not in (1, 2) for x in (factors[0], factors[-1])):
        raise ShapeError(with_line("multi_dot: the first and the last factor are vectors or matrices"))
    first, last = (1, *factors[0].shape)[-2:], (*factors[-1].shape, 1)[:2]
    shapes_ = [first, *(x.shape for x in factors[1:-1]), last]
    return _product(factors, _splits([shape[0] for shape in shapes_] + [last[1]]), 0, len(factors) - 1)


def _splits(extents: list[int]) -> dict[tuple[int, int], int]:
    """Where to split the product of the factors i to j (T. H. Cormen et al., Introduction to Algorithms, 14.2)."""
    count = len(extents) - 1
    cost = {(i, i): 0 for i in range(count)}
    best: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            work = {k: cost[i, k] + cost[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1] for k in range(i, j)}
            best[i, j] = min(work, key=work.__getitem__)
            cost[i, j] = work[best[i, j]]
    return best


def _product(factors: list[Array], splits: dict[tuple[int, int], int], first: int, last: int) -> Array:
    if first == last:
        return factors[first]
    middle = splits[first, last]
    return matmul(_product(factors, splits, first, middle), _product(factors, splits, middle + 1, last))
