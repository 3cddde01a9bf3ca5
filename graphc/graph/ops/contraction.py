"""`dot_general`: every product of two tensors that sums over shared dims (matmul, batched matmul, inner products).

Products of half types are added up in float32. The result is rounded to the half type once, or kept in float32 if
`dtype` of the attributes says so.
"""

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True)
class DotAttrs(Attrs):
    """Dims of lhs and rhs that run together (batch) and are summed over (contract), pairwise.

    The result has the batch dims, then the free dims of lhs, then those of rhs, each in order.
    """

    lhs_contract: tuple[int, ...]
    rhs_contract: tuple[int, ...]
    lhs_batch: tuple[int, ...] = ()
    rhs_batch: tuple[int, ...] = ()
    dtype: DType | None = None  # of the result; None: of the operands


def free_dims(rank: int, *taken: tuple[int, ...]) -> tuple[int, ...]:
    """The dims that are in none of the given lists."""
    gone = {dim for dims in taken for dim in dims}
    return tuple([dim for dim in range(rank) if dim not in gone])


def _infer(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, DotAttrs)
    lhs, rhs = types
    if lhs.dtype != rhs.dtype or lhs.dtype not in (*dtypes.NUMERIC, *dtypes.COMPLEX):
        raise DTypeError(f"dot_general: needs two tensors of one numeric dtype, got {lhs} and {rhs}")
    dtype = attrs.dtype or lhs.dtype
    if dtype not in (lhs.dtype, lhs.dtype.computes_in):
        raise DTypeError(f"dot_general: a product of {lhs.dtype} is not added up in {dtype}; cast the operands")
    for dims, rank in (
        (attrs.lhs_contract + attrs.lhs_batch, lhs.rank),
        (attrs.rhs_contract + attrs.rhs_batch, rhs.rank),
    ):
        if len(set(dims)) != len(dims) or any(not 0 <= d < rank for d in dims):
            raise ShapeError(f"dot_general: dims {list(dims)} do not fit {lhs} @ {rhs}")
    for what, left, right in (
        ("contracted", attrs.lhs_contract, attrs.rhs_contract),
        ("batch", attrs.lhs_batch, attrs.rhs_batch),
    ):
        if len(left) != len(right) or any(lhs.shape[i] != rhs.shape[j] for i, j in zip(left, right, strict=True)):
            raise ShapeError(f"dot_general: {what} sizes differ, {lhs} @ {rhs} over {list(left)} and {list(right)}")
    shape = [lhs.shape[d] for d in attrs.lhs_batch]
    shape += [lhs.shape[d] for d in free_dims(lhs.rank, attrs.lhs_contract, attrs.lhs_batch)]
    shape += [rhs.shape[d] for d in free_dims(rhs.rank, attrs.rhs_contract, attrs.rhs_batch)]
    return (TensorType(tuple(shape), dtype),)


def _meaning(attrs: DotAttrs, lhs: np.ndarray, rhs: np.ndarray) -> tuple[np.ndarray, ...]:
    dtype = lhs.dtype if attrs.dtype is None else attrs.dtype.numpy
    if lhs.dtype.kind == "c":
        lhs, rhs = lhs.astype(np.complex128), rhs.astype(np.complex128)
    elif dtypes.holds_floats(lhs):
        lhs, rhs = lhs.astype(np.float64), rhs.astype(np.float64)
    lhs_free = free_dims(lhs.ndim, attrs.lhs_contract, attrs.lhs_batch)
    rhs_free = free_dims(rhs.ndim, attrs.rhs_contract, attrs.rhs_batch)
    batch = [lhs.shape[d] for d in attrs.lhs_batch]
    left = np.transpose(lhs, (*attrs.lhs_batch, *lhs_free, *attrs.lhs_contract))
    right = np.transpose(rhs, (*attrs.rhs_batch, *attrs.rhs_contract, *rhs_free))
    summed = int(np.prod([lhs.shape[d] for d in attrs.lhs_contract], dtype=np.int64))
    rows = int(np.prod([lhs.shape[d] for d in lhs_free], dtype=np.int64))
    columns = int(np.prod([rhs.shape[d] for d in rhs_free], dtype=np.int64))
    left = np.ascontiguousarray(left.reshape(*batch, rows, summed))  # BLAS adds up by how matrices lie in memory
    right = np.ascontiguousarray(right.reshape(*batch, summed, columns))
    with np.errstate(all="ignore"):
        product = (left @ right).astype(dtype)
    shape = (*batch, *(lhs.shape[d] for d in lhs_free), *(rhs.shape[d] for d in rhs_free))
    return (product.reshape(shape),)


dot_general = register("dot_general", "contraction", _infer, _meaning, DotAttrs)
