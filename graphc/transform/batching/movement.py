"""Batching rows of the movement ops: the batch dim stays in front, the dims of the op come one later."""

from graphc.core import dtypes
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, TensorType, Value
from graphc.graph.ops import movement as ops
from graphc.transform.batching.rows import Batch, Operands, Row


def later(dims: tuple[int, ...]) -> tuple[int, ...]:
    """The same dims behind a batch dim."""
    return tuple(d + 1 for d in dims)


def move_to_front(c: Compose, x: Value, dim: int) -> Value:
    """Dim `dim` first, the others in order."""
    return c.transpose(x, (dim, *(d for d in range(x.type.rank) if d != dim)))


def _reshape(c: Compose, node: Node, operands: Operands) -> Value:
    return c.reshape(operands.values[0], (operands.size, *node.result.shape))


def _transpose(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ops.TransposeAttrs)
    return c.transpose(operands.values[0], (0, *later(node.attrs.permutation)))


def _broadcast(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ops.BroadcastAttrs)
    return c.broadcast(operands.values[0], (operands.size, *node.attrs.shape), (0, *later(node.attrs.dims)))


def _slice(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ops.SliceAttrs)
    a = node.attrs
    return c.slice(operands.values[0], (0, *a.start), (operands.size, *a.stop), (1, *a.step))


def _pad(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ops.PadAttrs)
    low, high, interior = ((0, *widths) for widths in (node.attrs.low, node.attrs.high, node.attrs.interior))
    x = operands.all(0)
    if not operands.batched[1]:
        return c.pad(x, operands.values[1], low, high, interior)
    # each example has its own padding: put it where no element of x comes to lie
    padded = c.pad(x, c.scalar(0, x.dtype), low, high, interior)
    own = node.operands[0]
    mask = c.full(TensorType(own.shape, dtypes.bool_), False)
    outside = c.pad(mask, c.scalar(True, dtypes.bool_), node.attrs.low, node.attrs.high, node.attrs.interior)
    everywhere = c.broadcast(outside, padded.shape, tuple(range(1, padded.type.rank)))
    return c.select(everywhere, c.broadcast(operands.values[1], padded.shape, (0,)), padded)


def _concatenate(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ops.AxisAttrs)
    return c.concatenate([operands.all(i) for i in range(len(operands.values))], node.attrs.axis + 1)


def _reverse(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ops.AxesAttrs)
    return c.reverse(operands.values[0], later(node.attrs.axes))


ROWS: dict[Op, Row] = {
    ops.reshape: Batch(_reshape),
    ops.transpose: Batch(_transpose),
    ops.broadcast: Batch(_broadcast),
    ops.slice_: Batch(_slice),
    ops.pad: Batch(_pad),
    ops.concatenate: Batch(_concatenate),
    ops.reverse: Batch(_reverse),
}
