"""Derivative rows of the reductions.

reduce_max and reduce_min give the whole derivative to the first extreme element in row-major order over the reduced
axes (as max pooling does). reduce_prod multiplies by the product of the *other* elements, which is right where some are
zero.
"""

from collections.abc import Callable, Sequence

from graphc.core import dtypes
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import reduction as ops
from graphc.graph.ops.movement import AxesAttrs
from graphc.transform.autodiff.rows import IsConstant, Jvp, Linear, Row, Tangent, Zero


def _sum(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, AxesAttrs)
    return (c.broadcast_over(ct, node.operands[0].shape, node.attrs.axes),)


class _Joined:
    """The reduced axes as one last axis: `join(x)` and its inverse `split`."""

    def __init__(self, c: Compose, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        kept = tuple(d for d in range(len(shape)) if d not in axes)
        self.c = c
        self.kept = tuple(shape[d] for d in kept)
        self.extents = tuple(shape[d] for d in axes)
        self.permutation = (*kept, *axes)
        self.length = 1
        for extent in self.extents:
            self.length *= extent

    def join(self, x: Value) -> Value:
        return self.c.reshape(self.c.transpose(x, self.permutation), (*self.kept, self.length))

    def split(self, x: Value) -> Value:
        inverse = tuple(self.permutation.index(d) for d in range(len(self.permutation)))
        return self.c.transpose(self.c.reshape(x, (*self.kept, *self.extents)), inverse)


def _extremum(arg: Callable[[Compose, Value, int], Value]) -> Jvp:
    def rule(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
        assert isinstance(node.attrs, AxesAttrs)
        (x,), (t,) = node.operands, tangents
        assert t is not None
        if not node.attrs.axes:
            return (t,)
        joined = _Joined(c, x.shape, node.attrs.axes)
        if joined.length == 0:
            return (None,)  # the extreme of nothing is a constant
        counter = dtypes.int32 if joined.length < 2**31 else dtypes.int64
        axis = len(joined.kept)
        first = c.cast(arg(c, joined.join(x), axis), counter)
        shape = (*joined.kept, joined.length)
        chosen = c.eq(c.iota(shape, counter, axis), c.broadcast_over(first, shape, (axis,)))
        return (c.reduce_sum(c.select(joined.split(chosen), t, c.zeros(t.type)), node.attrs.axes),)

    return Jvp(rule)


def _products_before(c: Compose, x: Value, axis: int) -> Value:
    """For each element the product of those before it on the axis; doubles the reach at each step."""
    length = x.shape[axis]
    result = c.slice_axis(c.pad_axis(x, 1, axis, 1, 0), axis, 0, length)
    reach = 1
    while reach < length:
        shifted = c.slice_axis(c.pad_axis(result, 1, axis, reach, 0), axis, 0, length)
        result = c.mul(result, shifted)
        reach *= 2
    return result


def _prod(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
    assert isinstance(node.attrs, AxesAttrs)
    (x,), (t,) = node.operands, tangents
    assert t is not None
    if not node.attrs.axes:
        return (t,)
    joined = _Joined(c, x.shape, node.attrs.axes)
    if joined.length == 0:
        return (None,)
    axis = len(joined.kept)
    row = joined.join(x)
    before = _products_before(c, row, axis)
    after = c.reverse(_products_before(c, c.reverse(row, (axis,)), axis), (axis,))
    return (c.reduce_sum(c.mul(t, joined.split(c.mul(before, after))), node.attrs.axes),)


ROWS: dict[Op, Row] = {
    ops.reduce_sum: Linear(_sum),
    ops.reduce_prod: Jvp(_prod),
    ops.reduce_max: _extremum(lambda c, x, axis: c.argmax(x, axis)),
    ops.reduce_min: _extremum(lambda c, x, axis: c.argmin(x, axis)),
    ops.argmax: Zero(),
    ops.argmin: Zero(),
}
