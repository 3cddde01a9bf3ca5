"""Batching rows of the reductions: over the same axes, one later. The order of rounding follows from what is reduced,
so every example keeps its bits.
"""

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import reduction as ops
from graphc.graph.ops.movement import AxesAttrs
from graphc.transform.batching.movement import later
from graphc.transform.batching.rows import Batch, Operands, Row


def _reduce(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, AxesAttrs)
    return c(node.op, *operands.values, attrs=AxesAttrs(later(node.attrs.axes)))


def _arg(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ops.ArgAttrs)
    return c(node.op, *operands.values, attrs=ops.ArgAttrs(node.attrs.axis + 1))


ROWS: dict[Op, Row] = {
    **{op: Batch(_reduce) for op in (ops.reduce_sum, ops.reduce_prod, ops.reduce_max, ops.reduce_min)},
    ops.argmax: Batch(_arg),
    ops.argmin: Batch(_arg),
}
