"""Derivative row of csr_dot: linear in the stored elements, and in the dense matrix.

By the dense matrix it is the product with the transpose, rows being scattered in the order of the elements; by the
elements, the dense product at their places only. Elements before the first row and after the last are in no product.
"""

from collections.abc import Sequence

from graphc.core.dtypes import int64
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import cumulative, elementwise
from graphc.graph.ops import sparse as ops
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.transform.autodiff.rows import Linear, Row, Tangent


def _begun(c: Compose, indptr: Value, count: int) -> Value:
    """For each of `count` stored elements how many places of `indptr` are at it or before it: its row, from 1 on."""
    starts = _clamped(c, indptr, count + 1)
    begun = c.scatter_add(c.zeros(starts.type.with_shape((count + 1,))), starts, c.like(starts, 1), 0)
    return c.slice_axis(c(cumulative.cumsum, begun, attrs=CumulativeAttrs(0)), 0, 0, count)


def _clamped(c: Compose, indices: Value, extent: int) -> Value:
    wide = c.cast(indices, int64)
    return c(elementwise.max_, c(elementwise.min_, wide, c.like(wide, extent - 1)), c.like(wide, 0))


def _csr_dot(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    data, indices, indptr, dense = node.operands
    count = data.type.size
    if count == 0 or ct.type.size == 0:
        zeros = [c.zeros(x.type) for x in (data, dense)]
        return (zeros[0], None, None, None) if linear[0] else (None, None, None, zeros[1])
    begun, rows = _begun(c, indptr, count), ct.shape[0]
    row = c.sub(begun, c.like(begun, 1))
    own = c.gather(ct, _clamped(c, row, rows), 0)  # the row of the result that each element is added to
    columns = _clamped(c, indices, dense.shape[0])
    factors = c.gather(dense, columns, 0) if linear[0] else c.broadcast(data, own.shape, (0,))
    inside = c.broadcast(c.eq(row, _clamped(c, row, rows)), own.shape, (0,))
    terms = c.select(inside, c.mul(own, factors), c.like(own, 0))
    if linear[0]:
        return c.reduce_sum(terms, (1,)), None, None, None
    return None, None, None, c.scatter_add(c.zeros(dense.type), columns, terms, 0)


ROWS: dict[Op, Row] = {ops.csr_dot: Linear(_csr_dot, apart=True)}
