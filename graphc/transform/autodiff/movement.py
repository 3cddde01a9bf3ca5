"""Derivative rows of the movement ops: all linear."""

from collections.abc import Sequence

from graphc.core import dtypes
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, TensorType, Value
from graphc.graph.ops import movement as ops
from graphc.transform.autodiff.rows import Linear, Row, Tangent


def _reshape(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    return (c.reshape(ct, node.operands[0].shape),)


def _transpose(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, ops.TransposeAttrs)
    permutation = node.attrs.permutation
    return (c.transpose(ct, tuple(permutation.index(d) for d in range(len(permutation)))),)


def _broadcast(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, ops.BroadcastAttrs)
    (x,) = node.operands
    same = {dim for extent, dim in zip(x.shape, node.attrs.dims) if extent == node.attrs.shape[dim]}
    summed = c.reduce_sum(ct, [d for d in range(ct.type.rank) if d not in same])
    return (c.reshape(summed, x.shape),)


def _slice(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, ops.SliceAttrs)
    (x,) = node.operands
    if ct.type.size == 0:
        return (None,)
    start, step = node.attrs.start, node.attrs.step
    ends = tuple(a + (n - 1) * s + 1 for a, n, s in zip(start, ct.shape, step))  # one past the last element taken
    high = tuple(extent - end for extent, end in zip(x.shape, ends))
    return (c.pad(ct, c.scalar(0, ct.dtype), start, high, tuple(s - 1 for s in step)),)


def _pad(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    attrs = node.attrs
    assert isinstance(attrs, ops.PadAttrs)
    x, _ = node.operands
    ct_x: Tangent = None
    if linear[0]:
        step = tuple(i + 1 for i in attrs.interior)
        stop = tuple(a + (n - 1) * s + 1 if n else a for a, n, s in zip(attrs.low, x.shape, step))
        ct_x = c.slice(ct, attrs.low, stop, step)
    if not linear[1]:
        return ct_x, None
    # the padding gets the sum of the elements it became: those not covered by x
    covered = c.full(TensorType(x.shape, dtypes.bool_), False)
    padding = c.pad(covered, c.scalar(True, dtypes.bool_), attrs.low, attrs.high, attrs.interior)
    outside = c.select(padding, ct, c.zeros(ct.type))
    return ct_x, c.reduce_sum(outside, range(ct.type.rank))


def _concatenate(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, ops.AxisAttrs)
    axis, start = node.attrs.axis, 0
    parts: list[Tangent] = []
    for x, wanted in zip(node.operands, linear, strict=True):
        stop = start + x.shape[axis]
        parts.append(c.slice_axis(ct, axis, start, stop) if wanted else None)
        start = stop
    return tuple(parts)


def _reverse(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, ops.AxesAttrs)
    return (c.reverse(ct, node.attrs.axes),)


ROWS: dict[Op, Row] = {
    ops.reshape: Linear(_reshape),
    ops.transpose: Linear(_transpose),
    ops.broadcast: Linear(_broadcast),
    ops.slice_: Linear(_slice),
    ops.pad: Linear(_pad),
    ops.concatenate: Linear(_concatenate),
    ops.reverse: Linear(_reverse),
}
