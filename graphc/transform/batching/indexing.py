"""Batching rows of gather and scatter_add. With indices of its own for each example, the axis and the batch dim become
one axis, in which example b begins at b times the extent; an index outside the axis must not reach another example.
"""

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import elementwise
from graphc.graph.ops import indexing as ops
from graphc.graph.ops.movement import AxisAttrs
from graphc.graph.ops.reduction import limits
from graphc.transform.batching.movement import move_to_front
from graphc.transform.batching.rows import Batch, Operands, Row


def _holding(dtype: DType, number: int) -> DType:
    """An index dtype that holds `number`: this one if it does."""
    if number <= limits(dtype)[1]:
        return dtype
    return dtypes.int32 if number < 2**31 else dtypes.int64


def _in_rows(c: Compose, indices: Value, extent: int) -> Value:
    """The indices counted in the joined axis, clamped as gather does; `indices` have the batch dim."""
    wide = _holding(indices.dtype, indices.shape[0] * extent)
    if extent - 1 <= limits(indices.dtype)[1]:
        indices = c(elementwise.min_, indices, c.like(indices, extent - 1))
    indices = c.cast(indices, wide)
    return c.add(c(elementwise.max_, indices, c.like(indices, 0)), _starts(c, indices, extent))


def _in_rows_or_dropped(c: Compose, indices: Value, extent: int) -> Value:
    """The indices counted in the joined axis; one outside its row is outside the joined axis."""
    end = indices.shape[0] * extent
    inside: Value | None = None
    if extent <= limits(indices.dtype)[1]:
        inside = c(elementwise.lt, indices, c.like(indices, extent))
    if indices.dtype.kind == "int":
        positive = c(elementwise.ge, indices, c.like(indices, 0))
        inside = positive if inside is None else c(elementwise.and_, inside, positive)
    indices = c.cast(indices, _holding(indices.dtype, end))
    counted = c.add(indices, _starts(c, indices, extent))
    return counted if inside is None else c.select(inside, counted, c.like(indices, end))


def _starts(c: Compose, indices: Value, extent: int) -> Value:
    number = c.iota(indices.shape, indices.dtype, 0)
    return c.mul(number, c.like(number, extent))


def _joined(c: Compose, x: Value, axis: int) -> Value:
    """[size, .., n, ..] with n at `axis` -> [size * n, .., ..]."""
    first = c.transpose(x, (0, axis, *(d for d in range(1, x.type.rank) if d != axis)))
    return c.reshape(first, (first.shape[0] * first.shape[1], *first.shape[2:]))


def _gather(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, AxisAttrs)
    x, indices = operands.values
    axis = node.attrs.axis
    if not operands.batched[1]:
        return c.gather(x, indices, axis + 1)
    if not operands.batched[0]:
        return move_to_front(c, c.gather(x, indices, axis), axis)
    if indices.type.size == 0:
        return c.zeros(node.result.type.with_shape((operands.size, *node.result.shape)))
    taken = c.gather(_joined(c, x, axis + 1), _in_rows(c, indices, x.shape[axis + 1]), 0)
    # [size, indices.., dims before the axis.., dims after it..] -> the dims before the axis come before the indices
    rank = indices.type.rank
    before = range(rank, rank + axis)
    return c.transpose(taken, (0, *before, *range(1, rank), *range(rank + axis, taken.type.rank)))


def _scatter_add(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, AxisAttrs)
    x, updates = operands.all(0), operands.all(2)
    axis, indices = node.attrs.axis, operands.values[1]
    if not operands.batched[1]:
        return c.scatter_add(x, indices, updates, axis + 1)
    if indices.type.size == 0 or x.type.size == 0:
        return x
    rank = indices.type.rank
    extent = x.shape[axis + 1]
    # [size, dims before the axis.., indices.., dims after it..] -> the indices first
    found = range(axis + 1, axis + rank)
    first = c.transpose(updates, (0, *found, *range(1, axis + 1), *range(axis + rank, updates.type.rank)))
    added = c.scatter_add(_joined(c, x, axis + 1), _in_rows_or_dropped(c, indices, extent), first, 0)
    split = c.reshape(added, (operands.size, extent, *added.shape[1:]))
    return c.transpose(split, (0, *range(2, axis + 2), 1, *range(axis + 2, x.type.rank)))


ROWS: dict[Op, Row] = {ops.gather: Batch(_gather), ops.scatter_add: Batch(_scatter_add)}
