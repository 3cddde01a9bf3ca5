"""Batching rows of the cumulative ops: the axis comes one later."""

from dataclasses import replace

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import cumulative as ops
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.transform.batching.rows import Batch, Operands, Row


def _cumulative(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, CumulativeAttrs)
    values = [operands.all(i) for i in range(len(operands.values))]
    return c(node.op, *values, attrs=replace(node.attrs, axis=node.attrs.axis + 1))


ROWS: dict[Op, Row] = {op: Batch(_cumulative) for op in ops.CUMULATIVE}
