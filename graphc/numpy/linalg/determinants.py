"""Determinants, from the pivots of elimination."""

from typing import NamedTuple

from graphc.core import dtypes
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops import linalg as ops
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.linalg import TriangleAttrs
from graphc.numpy import reductions
from graphc.numpy.binary import where
from graphc.numpy.creation import arange, eye
from graphc.numpy.linalg.operands import REAL, matrix
from graphc.numpy.matrices import diagonal
from graphc.tracing.array import movement
from graphc.tracing.bind import bind, bind1, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike
from graphc.tracing.derivative import with_derivative


class SlogdetResult(NamedTuple):
    """The sign of a determinant, and the logarithm of its size."""

    sign: Array
    logabsdet: Array


def _parity(pivots: Array, like: Array) -> Array:
    """-1 where the number of exchanged rows is odd."""
    exchanged = to_dtype(bind1(elementwise.ne, pivots, arange(pivots.shape[-1], dtype="int32")), dtypes.int32)
    odd = bind1(elementwise.and_, reductions.sum(exchanged, axis=-1, dtype="int32"), 1)
    return bind1(elementwise.sub, 1, bind1(elementwise.mul, 2, to_dtype(odd, dtype_of(like))))


def det(x: ArrayLike) -> Array:
    """The determinant. Its derivative is the matrix of cofactors, where one pivot is zero too; where several are, the
    matrix is taken to have a rank of n - 2 or less, and the derivative is 0. Second derivatives need a regular matrix.

    >>> import graphc.numpy as gnp
    >>> float(gnp.linalg.det([[2.0, 1.0], [0.0, 4.0]]))
    8.0
    """
    return with_derivative("det", _det, _det_rule, matrix("det", x, square=True, accepted=REAL))


def _det(x: Array) -> Array:
    packed, pivots, _ = bind(ops.lu, x)
    return bind1(elementwise.mul, _parity(pivots, packed), reductions.prod(diagonal(packed), axis=-1))


def _det_rule(x: Array, tangent: Array) -> tuple[Array, Array]:
    """The sum of the elements of the tangent, each times its cofactor."""
    packed, pivots, order = bind(ops.lu, x)
    size, axis = x.shape[-1], len(x.shape) - 2
    pivot = diagonal(packed)
    sign, is_zero = _parity(pivots, packed), bind1(elementwise.eq, pivot, 0)
    zeros = reductions.count_nonzero(is_zero, axis=-1)[..., None, None]
    others = bind1(elementwise.mul, sign, reductions.prod(where(is_zero, 1, pivot), axis=-1))
    on_diagonal = bind1(elementwise.eq, arange(size), movement.reshape(arange(size), (size, 1)))
    upper = where(bind1(elementwise.and_, on_diagonal, is_zero[..., None]), 1, packed)
    unit = movement.broadcast_to(eye(size, dtype=dtype_of(x)), x.shape)
    exchanged = bind1(indexing.gather, unit, order, attrs=GatherAttrs(axis, axis))
    found = bind1(ops.triangular_solve, packed, exchanged, attrs=TriangleAttrs(True, False, True))
    # U with 1 for its zeros: it is all there is to solve where there is none, and leads to the row of a single one.
    found = bind1(ops.triangular_solve, upper, found, attrs=TriangleAttrs(False))
    row = where(is_zero[..., None], found, 0)
    single = bind1(ops.triangular_solve, upper, row, attrs=TriangleAttrs(False))
    several = where(bind1(elementwise.eq, zeros, 1), single, 0)
    adjugate = where(bind1(elementwise.eq, zeros, 0), found, several)
    moved = reductions.sum(bind1(elementwise.mul, tangent, adjugate.mT), axis=(-2, -1))
    value = bind1(elementwise.mul, sign, reductions.prod(pivot, axis=-1))
    return value, bind1(elementwise.mul, others, moved)


def slogdet(x: ArrayLike) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its size, which cannot overflow.

    >>> import graphc.numpy as gnp
    >>> [float(part) for part in gnp.linalg.slogdet([[-1.0, 0.0], [0.0, 1.0]])]
    [-1.0, 0.0]
    """
    packed, pivots, _ = bind(ops.lu, matrix("slogdet", x, square=True, accepted=REAL))
    pivot = diagonal(packed)
    sign = reductions.prod(bind1(elementwise.sign, pivot), axis=-1)
    size = reductions.sum(bind1(elementwise.log, bind1(elementwise.abs_, pivot)), axis=-1)
    return SlogdetResult(bind1(elementwise.mul, _parity(pivots, packed), sign), size)
