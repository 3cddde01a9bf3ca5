"""Derivative rows of the cumulative ops.

The derivative of a product, and of a recurrence, is a recurrence: right where elements are zero, and of any order. The
whole derivative of cummax and cummin belongs to the first extreme element on the way.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from graphc.core import dtypes
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import cumulative as ops
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.reduction import limits
from graphc.transform.autodiff.rows import IsConstant, Jvp, Linear, Row, Tangent


def _before(c: Compose, x: Value, attrs: CumulativeAttrs, start: bool | int | float) -> Value:
    """What x is one place before, in the direction of the axis; `start` at the first place."""
    length = x.shape[attrs.axis]
    if attrs.reverse:
        return c.slice_axis(c.pad_axis(x, start, attrs.axis, 0, 1), attrs.axis, 1, length + 1)
    return c.slice_axis(c.pad_axis(x, start, attrs.axis, 1, 0), attrs.axis, 0, length)


def _backwards(attrs: CumulativeAttrs) -> CumulativeAttrs:
    return replace(attrs, reverse=not attrs.reverse)


def _cumsum(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, CumulativeAttrs)
    return (c(ops.cumsum, ct, attrs=_backwards(node.attrs)),)


def _cumprod(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
    assert isinstance(node.attrs, CumulativeAttrs)
    (x,), (t,) = node.operands, tangents
    assert t is not None
    others = _before(c, node.result, node.attrs, 1)
    return (c(ops.linear_recurrence, x, c.mul(others, t), attrs=node.attrs),)


def _recurrence(c: Compose, node: Node, tangents: Sequence[Tangent]) -> Value:
    assert isinstance(node.attrs, CumulativeAttrs)
    a, _ = node.operands
    t_a, total = tangents
    if t_a is not None:
        term = c.mul(_before(c, node.result, node.attrs, 0), t_a)
        total = term if total is None else c.add(total, term)
    assert total is not None
    return c(ops.linear_recurrence, a, total, attrs=node.attrs)


def _recurrence_transpose(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, CumulativeAttrs)
    backwards = _backwards(node.attrs)
    factors = _before(c, node.operands[0], backwards, 0)
    return None, c(ops.linear_recurrence, factors, ct, attrs=backwards)


def _extremum(is_further: Op, start: Callable[[Value], bool | int | float]) -> Jvp:
    """`start`: what no element of the dtype is beyond."""

    def rule(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
        assert isinstance(node.attrs, CumulativeAttrs)
        (x,), (t,) = node.operands, tangents
        assert t is not None
        length, axis = x.shape[node.attrs.axis], node.attrs.axis
        if x.type.size == 0:
            return (t,)
        before = _before(c, node.result, node.attrs, start(x))
        first_nan = c(elementwise.and_, c(elementwise.ne, x, x), c.eq(before, before))
        is_new = c(elementwise.or_, c(is_further, x, before), first_nan)
        counter = dtypes.int32 if length < 2**31 else dtypes.int64
        places = c.iota(x.shape, counter, axis)
        default = c.like(places, length - 1 if node.attrs.reverse else 0)
        latest = ops.cummin if node.attrs.reverse else ops.cummax
        chosen = c(latest, c.select(is_new, places, default), attrs=node.attrs)
        rank = x.type.rank
        last = (*(d for d in range(rank) if d != axis), axis)
        taken = c(
            indexing.gather,
            c.transpose(t, last),
            c.transpose(chosen, last),
            attrs=GatherAttrs(rank - 1, rank - 1),
        )
        return (c.transpose(taken, tuple(last.index(d) for d in range(rank))),)

    return Jvp(rule)


ROWS: dict[Op, Row] = {
    ops.cumsum: Linear(_cumsum),
    ops.cumprod: Jvp(_cumprod),
    ops.cummax: _extremum(elementwise.gt, lambda x: limits(x.dtype)[0]),
    ops.cummin: _extremum(elementwise.lt, lambda x: limits(x.dtype)[1]),
    ops.linear_recurrence: Linear(_recurrence_transpose, jvp=_recurrence),
}
