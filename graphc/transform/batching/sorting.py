"""Batching rows of the sorts: the axis comes one later."""

from dataclasses import replace

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import sorting as ops
from graphc.graph.ops.sorting import SortAttrs, TopAttrs
from graphc.transform.batching.rows import Batch, Operands, Row


def _sort(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, SortAttrs | TopAttrs)
    return c(node.op, operands.values[0], attrs=replace(node.attrs, axis=node.attrs.axis + 1))


ROWS: dict[Op, Row] = {op: Batch(_sort) for op in ops.SORTING}
