"""Factors by LAPACK: qr, svd, eigh. They are of real matrices; the values alone there are of complex ones too."""

from typing import NamedTuple

from graphc.core.errors import ArgumentError
from graphc.graph.ops import linalg as ops
from graphc.graph.ops.linalg import FullAttrs
from graphc.numpy.complexes import complex, conj, real
from graphc.numpy.linalg.embedding import embedded, first_of_each_pair
from graphc.numpy.linalg.operands import REAL, matrix
from graphc.numpy.matrices import tril, triu
from graphc.numpy.shapes import matrix_transpose
from graphc.tracing.bind import bind, dtype_of
from graphc.tracing.context import Array, ArrayLike, with_line


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
    return QRResult(*bind(ops.qr, matrix("qr", x, accepted=REAL), attrs=FullAttrs(mode == "complete")))


def svd(x: ArrayLike, *, full_matrices: bool = True) -> SVDResult:
    """Singular values in descending order, and their vectors: `U * S @ Vh == x`.

    Needs SciPy when compiled, and backend "cpu". The first element of a column of U that is not small is positive.
    Vectors of equal singular values have no derivative (infinite or NaN); the values have.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.svd([[0.0, 2.0], [3.0, 0.0]]).S.tolist()
    [3.0, 2.0]
    """
    return SVDResult(*bind(ops.svd, matrix("svd", x, accepted=REAL), attrs=FullAttrs(full_matrices)))


def svdvals(x: ArrayLike) -> Array:
    """Singular values in descending order.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.svdvals([[0.0, 2.0], [3.0, 0.0]]).tolist()
    [3.0, 2.0]
    """
    array = matrix("svdvals", x)
    if dtype_of(array).is_complex:
        return first_of_each_pair(svdvals(embedded(array)))
    return svd(array, full_matrices=False).S


def eigh(x: ArrayLike) -> EighResult:
    """Eigenvalues in ascending order, and eigenvectors, of symmetric matrices, of which the lower triangle is read.

    Needs SciPy when compiled, and backend "cpu". The first element of a vector that is not small is positive. Vectors
    of equal eigenvalues have no derivative (infinite or NaN); the values have.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues.tolist()
    [1.0, 2.0]
    """
    return EighResult(*bind(ops.eigh, matrix("eigh", x, square=True, accepted=REAL)))


def eigvalsh(x: ArrayLike) -> Array:
    """Eigenvalues of symmetric (complex: Hermitian) matrices in ascending order; the lower triangle is read.

    >>> import graphc.numpy as gnp
    >>> gnp.linalg.eigvalsh([[2.0, 0.0], [0.0, 1.0]]).tolist()
    [1.0, 2.0]
    """
    array = matrix("eigvalsh", x, square=True)
    if dtype_of(array).is_complex:
        below = tril(array, -1)
        whole = below + matrix_transpose(conj(below)) + tril(triu(complex(real(array), 0.0)))
        return first_of_each_pair(eigvalsh(embedded(whole)))
    return eigh(array).eigenvalues
