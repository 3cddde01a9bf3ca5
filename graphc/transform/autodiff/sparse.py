"""Derivative row of csr_dot: linear in the stored elements, and in the dense matrix.

By the dense matrix it is the product with the transpose, rows being scattered in the order of the elements; by the
elements, the dense product at their places only.
"""

from collections.abc import Sequence

from graphc.core.dtypes import int64
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import cumulative, elementwise
from graphc.graph.ops import sparse as ops
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.transform.autodiff.rows import Linear, Row, Tangent


def rows_of(c: Compose, indptr: Value, count: int) -> Value:
    """The row of each of `count` stored elements."""
    last = indptr.shape[0] - 1
    starts = c.cast(c.slice_axis(indptr, 0, 1, max(last, 1)), int64)
    begun = c.scatter_add(c.zeros(starts.type.with_shape((count,))), starts, c.like(starts, 1), 0)
    return c(cumulative.cumsum, begun, attrs=CumulativeAttrs(0))


def _clamped(c: Compose, indices: Value, extent: int) -> Value:
    wide = c.cast(indices, int64)
    return c(elementwise.max_, c(elementwise.min_, wide, c.like(wide, extent - 1)), c.like(wide, 0))


def _csr_dot(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    data, indices, indptr, dense = node.operands
    count = data.type.size
    if count == 0 or ct.type.size == 0:
        zeros = [c.zeros(x.type) for x in (data, dense)]
        return (zeros[0], None, None, None) if linear[0] else (None, None, None, zeros[1])
    own = c.gather(ct, rows_of(c, indptr, count), 0)  # the row of the result that each element is added to
    columns = _clamped(c, indices, dense.shape[0])
    if linear[0]:
        return c.reduce_sum(c.mul(own, c.gather(dense, columns, 0)), (1,)), None, None, None
    terms = c.mul(own, c.broadcast(data, own.shape, (0,)))
    return None, None, None, c.scatter_add(c.zeros(dense.type), columns, terms, 0)


ROWS: dict[Op, Row] = {ops.csr_dot: Linear(_csr_dot, apart=True)}
