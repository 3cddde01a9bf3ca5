"""Batching row of dot_general. With both operands batched the batch dim is one more batch dim of the product; with one
it is one more free dim, so that many small products are one large one.

An element adds up what it added up alone, in the same order, unless the product was one with a vector: see "Numbers" in
ARCHITECTURE.md.
"""

from dataclasses import replace

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import contraction as ops
from graphc.graph.ops.contraction import DotAttrs
from graphc.transform.batching.movement import later, move_to_front
from graphc.transform.batching.rows import Batch, Operands, Row


def _dot(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, DotAttrs)
    lhs, rhs = operands.values
    a = node.attrs
    left = replace(a, lhs_contract=later(a.lhs_contract), lhs_batch=later(a.lhs_batch))
    if not operands.batched[1]:
        return move_to_front(c, c.dot_general(lhs, rhs, left), len(a.lhs_batch))
    right = replace(a, rhs_contract=later(a.rhs_contract), rhs_batch=later(a.rhs_batch))
    if operands.batched[0]:
        both = replace(right, lhs_contract=left.lhs_contract, lhs_batch=(0, *left.lhs_batch))
        return c.dot_general(lhs, rhs, replace(both, rhs_batch=(0, *right.rhs_batch)))
    free = lhs.type.rank - len(a.lhs_contract)  # dims of the result that come from lhs: batch and free
    return move_to_front(c, c.dot_general(lhs, rhs, right), free)


ROWS: dict[Op, Row] = {ops.dot_general: Batch(_dot)}
