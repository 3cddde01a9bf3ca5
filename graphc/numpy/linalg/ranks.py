"""Ranks, pseudo-inverses and least squares, from singular values."""

from typing import NamedTuple

from graphc.core import dtypes
from graphc.graph.ops import elementwise
from graphc.numpy import reductions, shapes
from graphc.numpy.binary import where
from graphc.numpy.linalg.embedding import embedded, unstacked
from graphc.numpy.linalg.operands import as_vector, inexact, matrix
from graphc.numpy.linalg.spectral import svd, svdvals
from graphc.numpy.products import matmul
from graphc.numpy.shapes import matrix_transpose
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, dtype_of, promoted
from graphc.tracing.context import Array, ArrayLike
from graphc.tracing.derivative import with_derivative


def _default(array: Array) -> float:
    """The relative size below which singular values count as zero."""
    return max(array.shape[-2:]) * float(dtypes.finfo(dtype_of(array).part).eps)


def _cutoff(values: Array, array: Array, rtol: ArrayLike | None) -> Array:
    """Below which size a singular value counts as zero: one number for each matrix, with a dim of extent 1."""
    factor = as_array(_default(array) if rtol is None else rtol, dtype_of(values))
    factor = shapes.expand_dims(factor, -1) if factor.shape else factor
    return bind1(elementwise.mul, factor, reductions.max(values, axis=-1, keepdims=True))


def matrix_rank(x: ArrayLike, *, rtol: ArrayLike | None = None) -> Array:
    """How many singular values are above rtol (eps times the larger extent) times the largest one.

    >>> import graphc.numpy as gnp
    >>> int(gnp.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]]))
    1
    """
    array = matrix("matrix_rank", x)
    values = svdvals(array)
    return reductions.count_nonzero(bind1(elementwise.gt, values, _cutoff(values, array, rtol)), axis=-1)


def pinv(x: ArrayLike, *, rtol: ArrayLike | None = None) -> Array:
    """The pseudo-inverse; singular values up to rtol (eps times the larger extent) times the largest count as zero.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.pinv([[2.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    array = matrix("pinv", x)
    if dtype_of(array).is_complex:
        rtol = _default(array) if rtol is None else rtol
        return unstacked(pinv(embedded(array), rtol=rtol)[..., : array.shape[-2]])
    kind = dtype_of(array)
    factor = as_array(_default(array) if rtol is None else rtol, kind)
    return with_derivative("pinv", lambda *of: _inverted(*of).matrix(), _pinv_rule, array, factor)


class _Inverted(NamedTuple):
    """Singular values and vectors (in columns) of a matrix, which of the values count, and one over these, else 0."""

    u: Array
    s: Array
    v: Array
    kept: Array
    inverse: Array

    def matrix(self) -> Array:
        return matmul(bind1(elementwise.mul, self.v, self.inverse[..., None, :]), matrix_transpose(self.u))


def _inverted(x: Array, rtol: Array) -> _Inverted:
    u, s, vh = svd(x, full_matrices=False)
    kept = bind1(elementwise.gt, s, _cutoff(s, x, rtol))
    inverse = where(kept, bind1(elementwise.div, 1, where(kept, s, 1)), 0)
    return _Inverted(u, s, matrix_transpose(vh), kept, inverse)


def _pinv_rule(x: Array, rtol: Array, tangent: Array, _: Array) -> tuple[Array, Array]:
    """Of U f(S) V': what f(s) = 1/s makes of pairs of singular values by its divided differences, which exist where
    values are equal too, and apart from these what the tangent has outside of the spaces that U and V span.
    """
    found = _inverted(x, rtol)
    u, s, v, kept, inverse = found
    row, column = inverse[..., :, None], inverse[..., None, :]
    both = bind1(elementwise.mul, row, column)
    mixed = bind1(elementwise.ne, kept[..., :, None], kept[..., None, :])
    either = bind1(elementwise.add, row, column)  # where one of them counts
    apart = bind1(elementwise.abs_, bind1(elementwise.sub, s[..., :, None], s[..., None, :]))
    total = bind1(elementwise.add, s[..., :, None], s[..., None, :])
    even = where(mixed, bind1(elementwise.div, either, where(mixed, apart, 1)), bind1(elementwise.neg, both))
    odd = where(mixed, bind1(elementwise.div, either, where(mixed, total, 1)), both)

    right = matmul(tangent, v)
    inner = matmul(matrix_transpose(u), right)
    left = bind1(elementwise.sub, matmul(matrix_transpose(u), tangent), matmul(inner, matrix_transpose(v)))
    right = bind1(elementwise.sub, right, matmul(u, inner))
    turned = matrix_transpose(inner)
    symmetric = bind1(elementwise.mul, even, bind1(elementwise.add, inner, turned))
    other = bind1(elementwise.mul, odd, bind1(elementwise.sub, inner, turned))
    middle = bind1(elementwise.mul, 0.5, bind1(elementwise.add, symmetric, other))
    squared = bind1(elementwise.mul, inverse, inverse)
    rows = bind1(
        elementwise.add, matmul(middle, matrix_transpose(v)), bind1(elementwise.mul, squared[..., :, None], left)
    )
    outside = matmul(bind1(elementwise.mul, right, squared[..., None, :]), matrix_transpose(v))
    return found.matrix(), matrix_transpose(bind1(elementwise.add, matmul(u, rows), outside))


def lstsq(a: ArrayLike, b: ArrayLike, *, rtol: ArrayLike | None = None) -> Array:
    """The smallest x with the smallest `vector_norm(a @ x - b)`; b: a vector, or columns.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0]).round(6).tolist()
    [2.0]
    """
    lhs, rhs = promoted("lstsq", (matrix("lstsq", a), inexact(b)))
    is_vector = len(rhs.shape) == 1
    found = matmul(pinv(lhs, rtol=rtol), movement.reshape(rhs, (*rhs.shape, 1)) if is_vector else rhs)
    return as_vector(found, is_vector)


def cond(x: ArrayLike) -> Array:
    """The largest singular value divided by the smallest.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.cond([[4.0, 0.0], [0.0, 2.0]]))
    2.0
    """
    values = svdvals(matrix("cond", x))
    return bind1(elementwise.div, values[..., 0], values[..., -1])
