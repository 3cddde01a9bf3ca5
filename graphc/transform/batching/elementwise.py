"""Batching row of the elementwise ops, one for all: the op itself, on operands that all have the batch dim."""

import graphc.graph.ops  # noqa: F401  registers the primitives
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.registry import all_ops
from graphc.transform.batching.rows import Batch, Operands, Row


def _elementwise(c: Compose, node: Node, operands: Operands) -> Value:
    return c(node.op, *(operands.all(i) for i in range(len(operands.values))), attrs=node.attrs)


ROWS: dict[Op, Row] = {op: Batch(_elementwise) for op in all_ops() if op.kind == "elementwise"}
