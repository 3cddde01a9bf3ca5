"""Factors by elimination, and what is solved with them. Complex systems are solved as real ones of twice the size."""

from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops import linalg as ops
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.linalg import TriangleAttrs
from graphc.numpy.binary import where
from graphc.numpy.creation import arange, eye
from graphc.numpy.linalg.embedding import embedded, stacked, unstacked
from graphc.numpy.linalg.operands import ALL, REAL, as_vector, matrix, system
from graphc.numpy.matrices import triu
from graphc.numpy.products import matmul
from graphc.numpy.shapes import matrix_transpose
from graphc.tracing.array import movement
from graphc.tracing.bind import bind, bind1, dtype_of
from graphc.tracing.context import Array, ArrayLike
from graphc.tracing.spec import static_size


def cholesky(x: ArrayLike, *, upper: bool = False) -> Array:
    """The lower L with `L @ L.T == x` (the upper U with `U.T @ U == x`), of positive definite matrices.

    Only the lower triangle of x is read. Where x is not positive definite, the triangle is NaN.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.cholesky([[4.0, 2.0], [2.0, 2.0]]).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    factor = bind1(ops.cholesky, matrix("cholesky", x, square=True, accepted=REAL))
    return matrix_transpose(factor) if upper else factor


def solve_triangular(
    a: ArrayLike, b: ArrayLike, *, lower: bool = False, trans: bool = False, unit_diagonal: bool = False
) -> Array:
    """The x of `a @ x == b`, of a only one triangle being read. trans: of `a.T @ x == b`. b: a vector, or columns.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0], lower=True).tolist()
    [1.0, 2.0]
    """
    lhs, rhs, is_vector = system("solve_triangular", a, b, REAL)
    attrs = TriangleAttrs(lower, trans, unit_diagonal)
    return as_vector(bind1(ops.triangular_solve, lhs, rhs, attrs=attrs), is_vector)


def lu(x: ArrayLike) -> tuple[Array, Array, Array]:
    """L and U with `L @ U == x[p]`, and the order of rows p: elimination with the largest element as pivot.

    >>> import graphc.numpy as gnp
    >>> [part.tolist() for part in gnp.linalg.lu([[1.0, 2.0], [2.0, 2.0]])]
    [[[1.0, 0.0], [0.5, 1.0]], [[2.0, 2.0], [0.0, 1.0]], [1, 0]]
    """
    packed, _, order = bind(ops.lu, matrix("lu", x, square=True, accepted=REAL))
    size = packed.shape[-1]
    row, column = arange(size), movement.reshape(arange(size), (size, 1))
    below = where(bind1(elementwise.lt, row, column), packed, 0)
    return where(bind1(elementwise.eq, row, column), 1, below), triu(packed), order


def _solve(lhs: Array, rhs: Array) -> Array:
    if dtype_of(lhs).is_complex:
        return unstacked(_solve(embedded(lhs), stacked(rhs)))
    packed, _, order = bind(ops.lu, lhs)
    axis = len(rhs.shape) - 2
    found = bind1(indexing.gather, rhs, order, attrs=GatherAttrs(axis, axis))
    found = bind1(ops.triangular_solve, packed, found, attrs=TriangleAttrs(True, False, True))
    return bind1(ops.triangular_solve, packed, found, attrs=TriangleAttrs(False))


def solve(a: ArrayLike, b: ArrayLike) -> Array:
    """The x of `a @ x == b`; b: a vector, or columns. Infinite or NaN where a is singular.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.solve([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0]).tolist()
    [1.0, 2.0]
    """
    lhs, rhs, is_vector = system("solve", a, b)
    return as_vector(_solve(lhs, rhs), is_vector)


def inv(x: ArrayLike) -> Array:
    """The inverse; infinite or NaN where x is singular. `solve(x, b)` is quicker and closer than `inv(x) @ b`.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    array = matrix("inv", x, square=True)
    return _solve(array, movement.broadcast_to(eye(array.shape[-1], dtype=dtype_of(array)), array.shape))


def matrix_power(x: ArrayLike, n: int) -> Array:
    """x times itself, n factors; with a negative n, of the inverse.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5).tolist()
    [[1.0, 5.0], [0.0, 1.0]]
    """
    array = matrix("matrix_power", x, square=True, accepted=ALL)
    n = static_size("matrix_power", "n", n)
    square = inv(array) if n < 0 else array
    found: Array | None = None
    for digit in reversed(f"{abs(n):b}"):
        if digit == "1":
            found = square if found is None else matmul(found, square)
        square = matmul(square, square)
    if found is not None:
        return found
    return movement.broadcast_to(eye(array.shape[-1], dtype=dtype_of(array)), array.shape)
