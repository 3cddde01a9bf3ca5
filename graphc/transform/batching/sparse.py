"""Batching row of csr_dot: many dense matrices are one with more columns. With elements or places of their own, the
examples are one matrix with more rows: example i has the rows from i times their number on, likewise of the dense one.
"""

from graphc.core.dtypes import int64
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import elementwise
from graphc.graph.ops import sparse as ops
from graphc.transform.batching.rows import Batch, Operands, Row


def _csr_dot(c: Compose, node: Node, operands: Operands) -> Value:
    size = operands.size
    rows, width = node.result.shape
    data, indices, indptr, dense = operands.values
    if not any(operands.batched[:3]):
        inner = dense.shape[1]
        beside = c.reshape(c.transpose(dense, (1, 0, 2)), (inner, size * width))
        found = c(ops.csr_dot, data, indices, indptr, beside)
        return c.transpose(c.reshape(found, (rows, size, width)), (1, 0, 2))
    data, indices, indptr, dense = (operands.all(i) for i in range(4))
    count, inner = data.shape[1], dense.shape[1]
    columns = _offset(c, _clamped(c, indices, inner - 1), inner)
    starts = _offset(c, _clamped(c, indptr, count), count)
    results = []
    flat = (c.reshape(data, (size * count,)), c.reshape(columns, (size * count,)))
    below = c.reshape(dense, (size * inner, width))
    for example in range(size):  # the end of one is the start of the next only where indptr says so
        own = c.reshape(c.slice_axis(starts, 0, example, example + 1), (rows + 1,))
        results.append(c.reshape(c(ops.csr_dot, *flat, own, below), (1, rows, width)))
    return c.concatenate(results, 0)


def _clamped(c: Compose, places: Value, last: int) -> Value:
    wide = c.cast(places, int64)
    return c(elementwise.max_, c(elementwise.min_, wide, c.like(wide, last)), c.like(wide, 0))


def _offset(c: Compose, places: Value, extent: int) -> Value:
    example = c.iota(places.shape, int64, 0)
    return c.add(places, c.mul(example, c.like(example, extent)))


ROWS: dict[Op, Row] = {ops.csr_dot: Batch(_csr_dot)}
