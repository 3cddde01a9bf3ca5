"""Batching rows of dynamic_slice and dynamic_update_slice. With starts of its own for each example, a window is taken
by a gather along each of its dims, and put in where coordinates say so.
"""

from collections.abc import Sequence

from graphc.core.dtypes import DType, int32, int64
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops import windows as ops
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.reduction import limits
from graphc.graph.ops.windows import DimsAttrs, WindowAttrs
from graphc.transform.batching.movement import later
from graphc.transform.batching.rows import Batch, Operands, Row


def _first(c: Compose, start: Value, last: int) -> Value:
    """Starts clamped to [0, last], wide enough to count from."""
    dtype = start.dtype
    if last <= limits(dtype)[1]:
        start = c(elementwise.min_, start, c.like(start, last))
    start = c(elementwise.max_, start, c.like(start, 0))
    return c.cast(start, _counter(dtype))


def _counter(dtype: DType) -> DType:
    return int32 if dtype.bits < 32 or dtype is int32 else int64


def _counted(c: Compose, first: Value, extent: int) -> tuple[Value, Value]:
    """For each example its start, and 0, 1, .. below extent: both [size, extent]."""
    shape = (first.shape[0], extent)
    return c.broadcast(first, shape, (0,)), c.iota(shape, first.dtype, 1)


def _slice(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, WindowAttrs)
    dims, sizes = node.attrs.dims, node.attrs.sizes
    x = operands.all(0)
    if not any(operands.batched[1:]):
        return c(ops.dynamic_slice, x, *operands.values[1:], attrs=WindowAttrs(later(dims), sizes))
    for position, (dim, size) in enumerate(zip(dims, sizes, strict=True), 1):
        first = _first(c, operands.all(position), x.shape[dim + 1] - size)
        x = c(indexing.gather, x, c.add(*_counted(c, first, size)), attrs=GatherAttrs(dim + 1, 1))
    return x


def _update(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, DimsAttrs)
    x, update = operands.all(0), operands.all(1)
    starts = operands.values[2:]
    if not any(operands.batched[2:]):
        return c(ops.dynamic_update_slice, x, update, *starts, attrs=DimsAttrs(later(node.attrs.dims)))
    if update.type.size == 0:
        return x
    inside: list[Value] = []
    for position, dim in enumerate(node.attrs.dims, 2):
        extent, size = x.shape[dim + 1], update.shape[dim + 1]
        first, number = _counted(c, _first(c, operands.all(position), extent - size), extent)
        offset = c.sub(number, first)  # gather takes the nearest element where this is outside
        fits = c(elementwise.and_, c(elementwise.ge, offset, c.like(offset, 0)), _below(c, offset, size))
        inside.append(c.broadcast(fits, x.shape, (0, dim + 1)))
        update = c(indexing.gather, update, offset, attrs=GatherAttrs(dim + 1, 1))
    return c.select(_all(c, inside), update, x)


def _below(c: Compose, x: Value, bound: int) -> Value:
    return c(elementwise.lt, x, c.like(x, bound))


def _all(c: Compose, conditions: Sequence[Value]) -> Value:
    total = conditions[0]
    for condition in conditions[1:]:
        total = c(elementwise.and_, total, condition)
    return total


ROWS: dict[Op, Row] = {ops.dynamic_slice: Batch(_slice), ops.dynamic_update_slice: Batch(_update)}
