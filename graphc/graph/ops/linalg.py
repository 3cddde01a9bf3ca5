"""Linear algebra on the matrices in the last two dims; all dims before those count matrices.

The order of rounding: an element of a factor, or of a solution, is one chain of fused multiply-adds in the order of the
elimination (ascending k, descending where a triangle is solved from below), then one division or square root. What
has no answer is NaN, never something else: the factor of a matrix that is not positive definite is NaN throughout.
"""

from collections.abc import Callable

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.registry import register

ACCEPTED = (dtypes.float32, dtypes.float64)


@dataclass(frozen=True, slots=True)
class TriangleAttrs(Attrs):
    """`lower`: which triangle of the matrix is read. `transposed`: its transpose is solved with. `unit`: its diagonal
    is taken to be 1, and not read.
    """

    lower: bool = True
    transposed: bool = False
    unit: bool = False


def _check(name: str, x: TensorType, square: bool = True) -> None:
    if x.dtype not in ACCEPTED:
        raise DTypeError(f"{name}: {x.dtype} is not accepted, only {', '.join(d.name for d in ACCEPTED)}; cast it")
    if x.rank < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeError(f"{name}: needs {'square ' if square else ''}matrices in the last two dims, got {x}")


def _each(
    fn: Callable[..., tuple[np.ndarray, ...]], results: tuple[TensorType, ...], *arrays: np.ndarray
) -> tuple[np.ndarray, ...]:
    """`fn` on each matrix, in float64: the oracle is closer to the true value."""
    made = tuple(np.empty(t.shape, t.dtype.numpy) for t in results)
    with np.errstate(all="ignore"):
        for place in np.ndindex(*arrays[0].shape[:-2]):
            found = fn(*(x[place].astype(np.float64) for x in arrays))
            for whole, part in zip(made, found, strict=True):
                whole[place] = part
    return made


def _type_of(x: np.ndarray) -> TensorType:
    return TensorType(x.shape, dtypes.dtype(x.dtype))


# ------------------------------------------------------------------------------------------------------- cholesky


def _infer_cholesky(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    _check("cholesky", types[0])
    return types


def _cholesky_of(x: np.ndarray) -> tuple[np.ndarray]:
    try:
        found = np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        found = np.full(x.shape, np.nan, x.dtype)
    fine = np.all(np.diagonal(found) > 0)  # a pivot of NaN is no error for every LAPACK
    return (found if fine else np.tril(np.full_like(found, np.nan)),)


def _cholesky(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return _each(_cholesky_of, (_type_of(x),), x)


# L of x = L L^T; of x the lower triangle is read. NaN in the triangle of a matrix that is not positive definite.
cholesky = register("cholesky", "linalg", _infer_cholesky, _cholesky)


# ----------------------------------------------------------------------------------------------- triangular_solve


def _infer_triangular(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    a, b = types
    _check("triangular_solve", a)
    if a.dtype != b.dtype:
        raise DTypeError(f"triangular_solve: the matrix {a} and the right sides {b} differ in dtype")
    if b.rank != a.rank or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(f"triangular_solve: right sides {b} do not fit matrices {a}")
    return (b,)


def _triangular(attrs: TriangleAttrs, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    def solve(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray]:
        triangle = np.tril(matrix) if attrs.lower else np.triu(matrix)
        triangle = triangle.T if attrs.transposed else triangle
        order = range(len(triangle))
        forward = attrs.lower != attrs.transposed
        solution = right.copy()
        for i in order if forward else reversed(order):
            known = slice(0, i) if forward else slice(i + 1, None)
            solution[i] -= triangle[i, known] @ solution[known]
            if not attrs.unit:
                solution[i] /= triangle[i, i]
        return (solution,)

    return _each(solve, (_type_of(b),), a, b)


# operands: the matrix a, right sides b in columns. The solution x of a x = b.
triangular_solve = register("triangular_solve", "linalg", _infer_triangular, _triangular, TriangleAttrs)


# ------------------------------------------------------------------------------------------------------------- lu


def _infer_lu(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    (x,) = types
    _check("lu", x, square=False)
    if x.shape[-2] < x.shape[-1]:
        raise ShapeError(f"lu: needs square matrices, or more rows than columns, got {x}")
    rows, columns = (TensorType((*x.shape[:-2], x.shape[axis]), dtypes.int32) for axis in (-2, -1))
    return x, columns, rows


def _lu_of(x: np.ndarray) -> tuple[np.ndarray, ...]:
    rows, columns = x.shape
    packed, pivots, order = x.copy(), np.arange(columns), np.arange(rows)
    for k in range(columns):
        pivots[k] = k + np.argmax(np.abs(packed[k:, k]))
        for each in (packed, order):
            each[[k, pivots[k]]] = each[[pivots[k], k]]
        if packed[k, k] != 0:
            packed[k + 1 :, k] /= packed[k, k]
        packed[k + 1 :, k + 1 :] -= np.outer(packed[k + 1 :, k], packed[k, k + 1 :])
    return packed, pivots, order


def _lu(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return _each(_lu_of, _infer_lu((_type_of(x),), attrs), x)


# results: L (below the diagonal, which is 1) and U (on and above it) in one matrix; the row each row was exchanged
# with; the order of rows `p` with `x[p] = L U`. The pivot is the largest of its column, the first one among equals.
# There may be more rows than columns; so has L.
lu = register("lu", "linalg", _infer_lu, _lu)

# ---------------------------------------------------------------------------------------- qr, svd, eigh: by LAPACK


@dataclass(frozen=True, slots=True)
class FullAttrs(Attrs):
    """`full`: square orthogonal factors, rather than as many columns as the smaller extent."""

    full: bool = False


def _library(
    results: Callable[[Attrs, np.ndarray], tuple[np.ndarray, ...]],
    infer: Callable[..., tuple[TensorType, ...]],
    read: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Callable[..., tuple[np.ndarray, ...]]:
    """The meaning of an op by LAPACK, in the dtype it has: the signs of what it finds depend on how it is found.
    `read`: the part of a matrix that matters.
    """

    def meaning(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
        types = infer((_type_of(x),), attrs)
        made = tuple(np.full(t.shape, np.nan, t.dtype.numpy) for t in types)
        for place in np.ndindex(*x.shape[:-2]):
            if np.isfinite(read(x[place])).all():
                for whole, part in zip(made, _or_nan(results, attrs, x[place]), strict=True):
                    whole[place] = part
        return made

    return meaning


def _or_nan(
    results: Callable[[Attrs, np.ndarray], tuple[np.ndarray, ...]], attrs: Attrs, x: np.ndarray
) -> tuple[np.ndarray, ...]:
    try:
        return results(attrs, x)
    except np.linalg.LinAlgError:  # it does not converge
        return tuple(np.full_like(part, np.nan) for part in results(attrs, np.eye(*x.shape, dtype=x.dtype)))


def _check_sizes(name: str, x: TensorType, square: bool = False) -> tuple[int, int]:
    _check(name, x, square)
    if 0 in x.shape[-2:]:
        raise ShapeError(f"{name}: matrices without elements, {x}")
    return x.shape[-2], x.shape[-1]


def _infer_qr(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, FullAttrs)
    (x,) = types
    rows, columns = _check_sizes("qr", x)
    inner = rows if attrs.full else min(rows, columns)
    batch = x.shape[:-2]
    return x.with_shape((*batch, rows, inner)), x.with_shape((*batch, inner, columns))


def _infer_svd(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, FullAttrs)
    (x,) = types
    rows, columns = _check_sizes("svd", x)
    inner = min(rows, columns)
    left, right = (rows, columns) if attrs.full else (inner, inner)
    batch = x.shape[:-2]
    return x.with_shape((*batch, rows, left)), x.with_shape((*batch, inner)), x.with_shape((*batch, right, columns))


def _infer_eigh(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    (x,) = types
    _check_sizes("eigh", x, square=True)
    return x.with_shape(x.shape[:-1]), x


def _qr(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    assert isinstance(attrs, FullAttrs)
    return tuple(np.linalg.qr(x, mode="complete" if attrs.full else "reduced"))


def _svd(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    assert isinstance(attrs, FullAttrs)
    u, s, vt = np.linalg.svd(x, full_matrices=attrs.full)
    left, right = _signs(u), _signs(vt.T)
    right[: len(s)] = left[: len(s)]
    return u * left, s, vt * right[:, None]


def _eigh(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    values, vectors = np.linalg.eigh(x)
    return values, vectors * _signs(vectors)


SMALL = 0.437  # no element of a vector that people write down is at this size exactly


def _signs(vectors: np.ndarray) -> np.ndarray:
    """What each column is multiplied by to have the sign it is to have."""
    first = np.argmax(np.abs(vectors) > SMALL / len(vectors) ** 0.5, axis=0)
    return np.where(vectors[first, np.arange(vectors.shape[1])] < 0, -1, 1).astype(vectors.dtype)


# What these three find is what LAPACK finds on this machine: its last bits differ from processor to processor. A
# matrix with an element that is not finite, or for which LAPACK does not converge, gives NaN throughout. The sign of a
# vector is such that its first element above SMALL / sqrt(length) is positive; of u and v^T, that of u decides.
qr = register("qr", "linalg", _infer_qr, _library(_qr, _infer_qr), FullAttrs)
# u, s in descending order, the transpose of v.
svd = register("svd", "linalg", _infer_svd, _library(_svd, _infer_svd), FullAttrs)
# values in ascending order, vectors in columns; of the matrix the lower triangle is read.
eigh = register("eigh", "linalg", _infer_eigh, _library(_eigh, _infer_eigh, np.tril))

BY_LIBRARY = (qr, svd, eigh)
LINALG = (cholesky, triangular_solve, lu, *BY_LIBRARY)
