"""`csr_dot`: a sparse matrix in compressed rows times a dense one.

The order of rounding: an element of the result is one chain of fused multiply-adds over the stored elements of its row,
in the order in which they are stored. Places that point outside of the arrays are taken to the nearest inside.
"""

from itertools import pairwise

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import DTypeError, ShapeError
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.registry import register

ACCEPTED = (dtypes.float32, dtypes.float64)


def _infer(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    data, indices, indptr, dense = types
    if data.dtype != dense.dtype or data.dtype not in ACCEPTED:
        raise DTypeError(f"csr_dot: elements {data} and dense {dense} are not of one dtype, float32 or float64")
    if not (indices.dtype.is_integer and indptr.dtype.is_integer):
        raise DTypeError(f"csr_dot: columns {indices} and rows {indptr} are not integers")
    if data.rank != 1 or data.shape != indices.shape:
        raise ShapeError(f"csr_dot: elements {data} in columns {indices}")
    if indptr.rank != 1 or indptr.size == 0 or dense.rank != 2:
        raise ShapeError(f"csr_dot: rows {indptr} and dense {dense}")
    if dense.shape[0] == 0 and data.size:
        raise ShapeError(f"csr_dot: dense {dense} is empty")
    return (dense.with_shape((indptr.shape[0] - 1, dense.shape[1])),)


def _meaning(
    attrs: Attrs, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, dense: np.ndarray
) -> tuple[np.ndarray, ...]:
    starts = np.clip(indptr.astype(np.int64), 0, data.size)
    result = np.zeros((len(starts) - 1, dense.shape[1]))
    with np.errstate(all="ignore"):
        for row, (start, stop) in enumerate(pairwise(starts)):
            columns = np.clip(indices[start:stop].astype(np.int64), 0, len(dense) - 1)
            result[row] = data[start:stop].astype(np.float64) @ dense[columns].astype(np.float64)
        return (result.astype(dense.dtype),)


# operands: stored elements, the column of each, where each row starts and the last one ends, the dense matrix.
csr_dot = register("csr_dot", "index", _infer, _meaning)
