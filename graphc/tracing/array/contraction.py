"""Products that sum: matmul and dot with NumPy's rules for ranks and batches, on the `dot_general` primitive."""

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ShapeError
from graphc.graph.ir import TensorType
from graphc.graph.ops import elementwise
from graphc.graph.ops.contraction import DotAttrs, dot_general
from graphc.tracing.array.movement import expand_dims, squeeze, transpose
from graphc.tracing.bind import as_array, bind1, broadcast_shape, broadcast_to, dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line


def describe(x: Array) -> str:
    return str(TensorType(x.shape, dtype_of(x)))


def matmul(x: ArrayLike, y: ArrayLike, dtype: DType | None = None) -> Array:
    """`x @ y`: the last dim of x with the second to last of y; leading dims broadcast; a vector loses its dim again.

    dtype: of the result. Half types are added up in float32 and can be returned so; other operands are converted first.
    """
    lhs, rhs = promoted("matmul", (x, y))
    wide = dtype is dtypes.float32 and dtype_of(lhs).is_half
    if dtype is not None and not wide:
        lhs, rhs = to_dtype(lhs, dtype), to_dtype(rhs, dtype)
    asked = dtypes.float32 if wide else None
    if not lhs.shape or not rhs.shape:
        raise ShapeError(with_line(f"matmul: takes no scalars, {describe(lhs)} @ {describe(rhs)}; write * instead"))
    left_vector, right_vector = len(lhs.shape) == 1, len(rhs.shape) == 1
    inner = rhs.shape[0] if right_vector else rhs.shape[-2]
    if lhs.shape[-1] != inner:
        raise ShapeError(with_line(f"matmul: inner sizes differ, {describe(lhs)} @ {describe(rhs)}"))
    if len(rhs.shape) <= 2:
        # one weight matrix (or vector) for every leading dim: a plain contraction, whatever the rank of lhs
        return bind1(dot_general, lhs, rhs, attrs=DotAttrs((len(lhs.shape) - 1,), (0,), dtype=asked))
    if left_vector:
        lhs = expand_dims(lhs, 0)
    result = _batched(lhs, rhs, asked)
    return squeeze(result, -2) if left_vector else result


def _batched(lhs: Array, rhs: Array, dtype: DType | None) -> Array:
    batch = broadcast_shape("matmul", (lhs.shape[:-2], rhs.shape[:-2]))
    lhs = broadcast_to(lhs, (*batch, *lhs.shape[-2:]))
    rhs = broadcast_to(rhs, (*batch, *rhs.shape[-2:]))
    dims = tuple(range(len(batch)))
    return bind1(dot_general, lhs, rhs, attrs=DotAttrs((len(batch) + 1,), (len(batch),), dims, dims, dtype))


def dot(x: ArrayLike, y: ArrayLike) -> Array:
    """NumPy's dot: last dim of x with the second to last of y (the only one of a vector); scalars multiply."""
    lhs, rhs = promoted("dot", (x, y))
    if not lhs.shape or not rhs.shape:
        return bind1(elementwise.mul, lhs, rhs)
    inner = max(len(rhs.shape) - 2, 0)
    if lhs.shape[-1] != rhs.shape[inner]:
        raise ShapeError(with_line(f"dot: inner sizes differ, {describe(lhs)} and {describe(rhs)}"))
    return bind1(dot_general, lhs, rhs, attrs=DotAttrs((len(lhs.shape) - 1,), (inner,)))


def contract(
    lhs: Array,
    rhs: Array,
    lhs_contract: tuple[int, ...],
    rhs_contract: tuple[int, ...],
    lhs_batch: tuple[int, ...] = (),
    rhs_batch: tuple[int, ...] = (),
) -> Array:
    """`dot_general` on operands of one dtype."""
    return bind1(dot_general, lhs, rhs, attrs=DotAttrs(lhs_contract, rhs_contract, lhs_batch, rhs_batch))


def matrix_transpose(x: ArrayLike) -> Array:
    """The last two dims swapped."""
    array = as_array(x)
    rank = len(array.shape)
    if rank < 2:
        raise ShapeError(with_line(f"matrix_transpose: needs at least two dims, got {describe(array)}"))
    return transpose(array, (*range(rank - 2), rank - 1, rank - 2))
