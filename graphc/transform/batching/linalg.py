"""Batching rows of linear algebra: matrices are many anyway, and there are more of them."""

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import linalg as ops
from graphc.transform.batching.rows import Batch, Operands, Row


def _matrices(c: Compose, node: Node, operands: Operands) -> tuple[Value, ...]:
    values = [operands.all(i) for i in range(len(operands.values))]
    return c.builder.add(node.op, values, node.attrs, c.loc)


ROWS: dict[Op, Row] = {op: Batch(_matrices) for op in ops.LINALG}
