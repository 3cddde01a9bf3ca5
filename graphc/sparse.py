"""Sparse matrices in compressed rows, times dense arrays: `from graphc import sparse`.

`csr_dot` adds up the elements of a row in the order in which they are stored. Its derivatives are products too: by the
dense array that with the transpose, by the elements the dense product at their places only (nothing dense is made).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError
from graphc.core.pytree import Tree, register
from graphc.graph.ops import sparse as ops
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, dtype_of, promoted
from graphc.tracing.context import Array, ArrayLike, with_line

__all__ = ["CSR", "csr_dot"]


def csr_dot(data: ArrayLike, indices: ArrayLike, indptr: ArrayLike, dense: ArrayLike) -> Array:
    """The sparse matrix with elements `data` in columns `indices`, row i being [indptr[i], indptr[i + 1]), times
    `dense`, a vector or matrix. A column outside of `dense` counts as the nearest one.

    >>> from graphc.sparse import csr_dot
    >>> csr_dot([1.0, 2.0, 3.0], [0, 2, 1], [0, 2, 3], [1.0, 10.0, 100.0]).tolist()
    [201.0, 30.0]
    """
    values, columns, starts, right = (as_array(x) for x in (data, indices, indptr, dense))
    if len(values.shape) != 1 or values.shape != columns.shape:
        raise ShapeError(with_line(f"csr_dot: {list(values.shape)} elements in {list(columns.shape)} columns"))
    if len(starts.shape) != 1 or starts.shape[0] < 1 or len(right.shape) not in (1, 2):
        raise ShapeError(with_line(f"csr_dot: indptr {list(starts.shape)} and dense array {list(right.shape)}"))
    if not (dtype_of(columns).is_integer and dtype_of(starts).is_integer):
        raise DTypeError(with_line(f"csr_dot: indices are integers, got {dtype_of(columns)} and {dtype_of(starts)}"))
    values, right = promoted("csr_dot", (values, right))
    if len(right.shape) == 2:
        return bind1(ops.csr_dot, values, columns, starts, right)
    found = bind1(ops.csr_dot, values, columns, starts, movement.reshape(right, (*right.shape, 1)))
    return movement.reshape(found, found.shape[:1])


@dataclass(frozen=True, slots=True)
class CSR:
    """A sparse matrix: `csr @ dense`. A pytree whose leaves are the three arrays; the shape is fixed.

    Where the arrays are known, what they say is checked when they are used: `ArgumentError` for rows that are not in
    order and for columns outside of the matrix, `ShapeError` for another number of rows than the shape has.

    >>> import numpy as np
    >>> from graphc.sparse import CSR
    >>> matrix = CSR.from_dense(np.array([[0.0, 2.0], [3.0, 0.0]]))
    >>> (matrix @ np.array([1.0, 10.0])).tolist()
    [20.0, 3.0]
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]

    @staticmethod
    def from_dense(matrix: np.ndarray) -> CSR:
        """The elements of a NumPy array that are not zero."""
        if matrix.ndim != 2:
            raise ArgumentError("CSR.from_dense: takes a NumPy array of two dims")
        rows, columns = np.nonzero(matrix)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=matrix.shape[0]))])
        return CSR(matrix[rows, columns], columns.astype(np.int32), indptr.astype(np.int32), matrix.shape)

    def __matmul__(self, dense: ArrayLike) -> Array:
        self._check()
        right = as_array(dense)
        if right.shape[:1] != self.shape[1:]:
            raise ShapeError(with_line(f"CSR: a {self.shape[0]}x{self.shape[1]} matrix times {list(right.shape)}"))
        return csr_dot(self.data, self.indices, self.indptr, right)

    __array_ufunc__ = None  # so that NumPy's arrays leave `dense @ csr` to what follows

    def __rmatmul__(self, dense: ArrayLike) -> NoReturn:
        raise UnsupportedError(
            with_line("CSR: a dense array times a sparse matrix is not there; multiply its transpose with dense.T")
        )

    def to_dense(self) -> Array:
        """All elements. Those stored more than once are added up."""
        self._check()
        identity = gnp.eye(self.shape[1], dtype=dtype_of(as_array(self.data)))
        return csr_dot(self.data, self.indices, self.indptr, identity)

    def _check(self) -> None:
        if len(self.shape) != 2:
            raise ShapeError(with_line(f"CSR: the shape of a matrix has two extents, got {self.shape}"))
        rows, columns = self.shape
        starts = as_array(self.indptr).shape
        if starts != (rows + 1,):
            raise ShapeError(with_line(f"CSR: indptr of {rows} rows has {rows + 1} elements, got {list(starts)}"))
        stored = as_array(self.indices).shape
        if isinstance(self.indptr, np.ndarray):
            ends = (int(self.indptr[0]), int(self.indptr[-1]))
            if np.any(np.diff(self.indptr) < 0) or len(stored) != 1 or ends != (0, stored[0]):
                whole = f"goes up from 0 to the number of elements, {stored[0]}" if stored else "goes up from 0"
                raise ArgumentError(with_line(f"CSR: indptr {whole}, got {self.indptr.tolist()}"))
        if isinstance(self.indices, np.ndarray) and np.any((self.indices < 0) | (self.indices >= columns)):
            raise ArgumentError(with_line(f"CSR: a column outside of a matrix of {columns} columns"))


def _leaves(csr: CSR) -> tuple[list[tuple[str, Tree]], object]:
    return [("data", csr.data), ("indices", csr.indices), ("indptr", csr.indptr)], csr.shape


def _rebuilt(shape: object, parts: Sequence[Tree]) -> CSR:
    data, indices, indptr = parts
    return CSR(data, indices, indptr, shape)  # type: ignore[arg-type]  # whatever stands for the arrays


register(CSR, _leaves, _rebuilt)
