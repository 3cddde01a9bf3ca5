"""Linear algebra: `import graphc.numpy as gnp`, then `gnp.linalg.solve(a, b)`.

Functions take matrices in the last two dims, and any dims before those. What has no answer (the factor of a matrix that
is not positive definite, the inverse of a singular one) is NaN or infinite where NumPy raises an error.
"""

import math
from typing import NamedTuple

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops import linalg as ops
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.linalg import FullAttrs, TriangleAttrs
from graphc.numpy import reductions, shapes
from graphc.numpy.binary import where
from graphc.numpy.creation import arange, eye
from graphc.numpy.matrices import diagonal, trace, triu
from graphc.numpy.products import matmul, outer, tensordot, vecdot
from graphc.numpy.shapes import matrix_transpose
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind, bind1, broadcast_shape, dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import DEFAULT_FLOAT

__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "lu",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

Axes = int | tuple[int, ...] | None
Order = int | float | str | None


def _floats(x: ArrayLike) -> Array:
    array = as_array(x)
    return array if dtype_of(array).is_float else to_dtype(array, DEFAULT_FLOAT)


def _matrix(name: str, x: ArrayLike, square: bool = False) -> Array:
    array = _floats(x)
    if len(array.shape) < 2 or (square and array.shape[-1] != array.shape[-2]):
        what = "square matrices" if square else "matrices"
        raise ShapeError(with_line(f"{name}: needs {what} in the last two dims, got shape {list(array.shape)}"))
    return array


def _system(name: str, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array, bool]:
    """The matrices, the right sides in columns with the same dims before, and whether b is a vector."""
    lhs, rhs = promoted(name, (_matrix(name, a, square=True), _floats(b)))
    is_vector = len(rhs.shape) == 1
    rhs = movement.reshape(rhs, (*rhs.shape, 1)) if is_vector else rhs
    if len(rhs.shape) < 2 or rhs.shape[-2] != lhs.shape[-1]:
        raise ShapeError(with_line(f"{name}: right sides {list(rhs.shape)} do not fit matrices {list(lhs.shape)}"))
    batch = broadcast_shape(name, (lhs.shape[:-2], rhs.shape[:-2]))
    lhs = movement.broadcast_to(lhs, (*batch, *lhs.shape[-2:]))
    return lhs, movement.broadcast_to(rhs, (*batch, *rhs.shape[-2:])), is_vector


def _vector(x: Array, is_vector: bool) -> Array:
    return movement.reshape(x, x.shape[:-1]) if is_vector else x


# ------------------------------------------------------------------------------------------------ factors, solutions


def cholesky(x: ArrayLike, *, upper: bool = False) -> Array:
    """The lower L with `L @ L.T == x` (the upper U with `U.T @ U == x`), of positive definite matrices.

    Only the lower triangle of x is read. Where x is not positive definite, the triangle is NaN.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.cholesky([[4.0, 2.0], [2.0, 2.0]]).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    factor = bind1(ops.cholesky, _matrix("cholesky", x, square=True))
    return matrix_transpose(factor) if upper else factor


def solve_triangular(
    a: ArrayLike, b: ArrayLike, *, lower: bool = False, trans: bool = False, unit_diagonal: bool = False
) -> Array:
    """The x of `a @ x == b`, of a only one triangle being read. trans: of `a.T @ x == b`. b: a vector, or columns.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0], lower=True).tolist()
    [1.0, 2.0]
    """
    lhs, rhs, is_vector = _system("solve_triangular", a, b)
    attrs = TriangleAttrs(lower, trans, unit_diagonal)
    return _vector(bind1(ops.triangular_solve, lhs, rhs, attrs=attrs), is_vector)


def lu(x: ArrayLike) -> tuple[Array, Array, Array]:
    """L and U with `L @ U == x[p]`, and the order of rows p: elimination with the largest element as pivot.

    >>> import graphc.numpy as gnp
    >>> [part.tolist() for part in gnp.linalg.lu([[1.0, 2.0], [2.0, 2.0]])]
    [[[1.0, 0.0], [0.5, 1.0]], [[2.0, 2.0], [0.0, 1.0]], [1, 0]]
    """
    packed, _, order = bind(ops.lu, _matrix("lu", x, square=True))
    size = packed.shape[-1]
    row, column = arange(size), movement.reshape(arange(size), (size, 1))
    below = where(bind1(elementwise.lt, row, column), packed, 0)
    return where(bind1(elementwise.eq, row, column), 1, below), triu(packed), order


def _solve(lhs: Array, rhs: Array) -> Array:
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
    lhs, rhs, is_vector = _system("solve", a, b)
    return _vector(_solve(lhs, rhs), is_vector)


def inv(x: ArrayLike) -> Array:
    """The inverse; infinite or NaN where x is singular. `solve(x, b)` is quicker and closer than `inv(x) @ b`.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    array = _matrix("inv", x, square=True)
    return _solve(array, movement.broadcast_to(eye(array.shape[-1], dtype=dtype_of(array)), array.shape))


def _parity(pivots: Array, like: Array) -> Array:
    """-1 where the number of exchanged rows is odd."""
    exchanged = to_dtype(bind1(elementwise.ne, pivots, arange(pivots.shape[-1], dtype="int32")), dtypes.int32)
    odd = bind1(elementwise.and_, reductions.sum(exchanged, axis=-1, dtype="int32"), 1)
    return bind1(elementwise.sub, 1, bind1(elementwise.mul, 2, to_dtype(odd, dtype_of(like))))


def det(x: ArrayLike) -> Array:
    """The determinant. Its derivative is that of the elimination: NaN where x is singular.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.det([[2.0, 1.0], [0.0, 4.0]]))
    8.0
    """
    packed, pivots, _ = bind(ops.lu, _matrix("det", x, square=True))
    return bind1(elementwise.mul, _parity(pivots, packed), reductions.prod(diagonal(packed), axis=-1))


def slogdet(x: ArrayLike) -> tuple[Array, Array]:
    """The sign of the determinant and the logarithm of its size, which cannot overflow.

    >>> import graphc.numpy as gnp
    >>> [float(part) for part in gnp.linalg.slogdet([[-1.0, 0.0], [0.0, 1.0]])]
    [-1.0, 0.0]
    """
    packed, pivots, _ = bind(ops.lu, _matrix("slogdet", x, square=True))
    pivot = diagonal(packed)
    sign = reductions.prod(bind1(elementwise.sign, pivot), axis=-1)
    size = reductions.sum(bind1(elementwise.log, bind1(elementwise.abs_, pivot)), axis=-1)
    return bind1(elementwise.mul, _parity(pivots, packed), sign), size


def matrix_power(x: ArrayLike, n: int) -> Array:
    """x times itself, n factors; with a negative n, of the inverse.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5).tolist()
    [[1.0, 5.0], [0.0, 1.0]]
    """
    array = _matrix("matrix_power", x, square=True)
    square = inv(array) if n < 0 else array
    found: Array | None = None
    for digit in reversed(f"{abs(n):b}"):
        if digit == "1":
            found = square if found is None else matmul(found, square)
        square = matmul(square, square)
    if found is not None:
        return found
    return movement.broadcast_to(eye(array.shape[-1], dtype=dtype_of(array)), array.shape)


# -------------------------------------------------------------------------------------------- by LAPACK: qr, svd, eigh


class QRResult(NamedTuple):
    """`Q @ R` is the matrix."""

    Q: Array
    R: Array


class SVDResult(NamedTuple):
    """`U * S @ Vh` is the matrix."""

    U: Array
    S: Array
    Vh: Array


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and eigenvectors in columns."""

    eigenvalues: Array
    eigenvectors: Array


def qr(x: ArrayLike, *, mode: str = "reduced") -> QRResult:
    """Columns at right angles, and an upper triangle: `Q @ R == x`. mode: "reduced" or "complete" (Q square).

    Needs SciPy when compiled, and backend "cpu". It can be differentiated where x has no more columns than rows.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.qr([[0.0, 2.0], [3.0, 1.0]]).R.round(6).tolist()
    [[-3.0, -1.0], [0.0, -2.0]]
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(with_line(f"qr: no mode {mode!r}; there are 'reduced' and 'complete'"))
    return QRResult(*bind(ops.qr, _matrix("qr", x), attrs=FullAttrs(mode == "complete")))


def svd(x: ArrayLike, *, full_matrices: bool = True) -> SVDResult:
    """Singular values in descending order, and their vectors: `U * S @ Vh == x`.

    Needs SciPy when compiled, and backend "cpu". The first element of a column of U that is not small is positive.
    Vectors of equal singular values have no derivative (infinite or NaN); the values have.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.svd([[0.0, 2.0], [3.0, 0.0]]).S.tolist()
    [3.0, 2.0]
    """
    return SVDResult(*bind(ops.svd, _matrix("svd", x), attrs=FullAttrs(full_matrices)))


def svdvals(x: ArrayLike) -> Array:
    """Singular values in descending order.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.svdvals([[0.0, 2.0], [3.0, 0.0]]).tolist()
    [3.0, 2.0]
    """
    return svd(x, full_matrices=False).S


def eigh(x: ArrayLike) -> EighResult:
    """Eigenvalues in ascending order, and eigenvectors, of symmetric matrices, of which the lower triangle is read.

    Needs SciPy when compiled, and backend "cpu". The first element of a vector that is not small is positive. Vectors
    of equal eigenvalues have no derivative (infinite or NaN); the values have.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues.tolist()
    [1.0, 2.0]
    """
    return EighResult(*bind(ops.eigh, _matrix("eigh", x, square=True)))


def eigvalsh(x: ArrayLike) -> Array:
    """Eigenvalues of symmetric matrices in ascending order.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.eigvalsh([[2.0, 0.0], [0.0, 1.0]]).tolist()
    [1.0, 2.0]
    """
    return eigh(x).eigenvalues


def _cutoff(values: Array, shape: tuple[int, ...], rtol: ArrayLike | None) -> Array:
    """Below which size a singular value counts as zero: one number for each matrix, with a dim of extent 1."""
    if rtol is None:
        rtol = max(shape[-2:]) * float(np.finfo(dtype_of(values).name).eps)
    factor = as_array(rtol, dtype_of(values))
    factor = shapes.expand_dims(factor, -1) if factor.shape else factor
    return bind1(elementwise.mul, factor, reductions.max(values, axis=-1, keepdims=True))


def matrix_rank(x: ArrayLike, *, rtol: ArrayLike | None = None) -> Array:
    """How many singular values are above rtol (eps times the larger extent) times the largest one.

    >>> import graphc.numpy as gnp
    >>> int(gnp.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]]))
    1
    """
    array = _matrix("matrix_rank", x)
    values = svdvals(array)
    return reductions.count_nonzero(bind1(elementwise.gt, values, _cutoff(values, array.shape, rtol)), axis=-1)


def pinv(x: ArrayLike, *, rtol: ArrayLike | None = None) -> Array:
    """The pseudo-inverse; singular values up to rtol (eps times the larger extent) times the largest count as zero.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.pinv([[2.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    array = _matrix("pinv", x)
    u, s, vh = svd(array, full_matrices=False)
    kept = bind1(elementwise.gt, s, _cutoff(s, array.shape, rtol))
    inverse = where(kept, bind1(elementwise.div, 1, where(kept, s, 1)), 0)
    scaled = bind1(elementwise.mul, matrix_transpose(vh), shapes.expand_dims(inverse, -2))
    return matmul(scaled, matrix_transpose(u))


def lstsq(a: ArrayLike, b: ArrayLike, *, rtol: ArrayLike | None = None) -> Array:
    """The smallest x with the smallest `vector_norm(a @ x - b)`; b: a vector, or columns.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0]).round(6).tolist()
    [2.0]
    """
    lhs, rhs = promoted("lstsq", (_matrix("lstsq", a), _floats(b)))
    is_vector = len(rhs.shape) == 1
    found = matmul(pinv(lhs, rtol=rtol), movement.reshape(rhs, (*rhs.shape, 1)) if is_vector else rhs)
    return _vector(found, is_vector)


def cond(x: ArrayLike) -> Array:
    """The largest singular value divided by the smallest.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.cond([[4.0, 0.0], [0.0, 2.0]]))
    2.0
    """
    values = svdvals(x)
    return bind1(elementwise.div, values[..., 0], values[..., -1])


# ------------------------------------------------------------------------------------------------------------ norms


def vector_norm(x: ArrayLike, *, axis: Axes = None, keepdims: bool = False, ord: int | float = 2) -> Array:
    """`sum(abs(x) ** ord) ** (1 / ord)` along axes (all of them); inf and -inf: the extremes; 0: how many are not 0.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.vector_norm([3.0, 4.0]))
    5.0
    """
    array = _floats(x)
    size = bind1(elementwise.abs_, array)
    if ord == math.inf:
        return reductions.max(size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return reductions.min(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return to_dtype(reductions.count_nonzero(array, axis=axis, keepdims=keepdims), dtype_of(array))
    if ord == 1:
        return reductions.sum(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        squares = reductions.sum(bind1(elementwise.mul, array, array), axis=axis, keepdims=keepdims)
        return bind1(elementwise.sqrt, squares)
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
    array = _matrix("matrix_norm", x)
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
    array = _floats(x)
    rank = len(array.shape)
    if axis is None and ord is None:
        return vector_norm(array, keepdims=keepdims)
    axes = tuple(range(rank)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if len(axes) == 1:
        if isinstance(ord, str):
            raise ArgumentError(with_line(f"norm: {ord!r} is a norm of matrices, not of vectors"))
        return vector_norm(array, axis=axes, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ArgumentError(with_line(f"norm: {len(axes)} axes; vectors have one, matrices have two"))
    first, second = (movement.normal_axis("norm", a, rank) for a in axes)
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
