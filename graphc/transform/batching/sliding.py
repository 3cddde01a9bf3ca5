"""Batching rows of windows: the batch dim runs along. A convolution with two batched operands has one more batch dim,
one with one has one more free dim.
"""

from dataclasses import replace

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import sliding as ops
from graphc.graph.ops.contraction import free_dims
from graphc.graph.ops.sliding import ConvAttrs, ReduceWindowAttrs, WindowsAttrs
from graphc.transform.batching.movement import later, move_to_front
from graphc.transform.batching.rows import Batch, Operands, Row


def _windows(c: Compose, node: Node, operands: Operands) -> Value:
    attrs = node.attrs
    assert isinstance(attrs, WindowsAttrs | ReduceWindowAttrs)
    return c(node.op, *operands.values, attrs=replace(attrs, dims=later(attrs.dims)))


def _conv(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, ConvAttrs)
    lhs, rhs = operands.values
    a = node.attrs
    left = replace(
        a, lhs_contract=later(a.lhs_contract), lhs_spatial=later(a.lhs_spatial), lhs_batch=later(a.lhs_batch)
    )
    if not operands.batched[1]:
        return move_to_front(c, c(node.op, lhs, rhs, attrs=left), len(a.lhs_batch))
    right = replace(
        a, rhs_contract=later(a.rhs_contract), rhs_spatial=later(a.rhs_spatial), rhs_batch=later(a.rhs_batch)
    )
    if not operands.batched[0]:
        place = len(a.lhs_batch) + len(free_dims(lhs.type.rank, a.lhs_taken))
        return move_to_front(c, c(node.op, lhs, rhs, attrs=right), place)
    both = replace(right, lhs_contract=left.lhs_contract, lhs_spatial=left.lhs_spatial)
    both = replace(both, lhs_batch=(0, *left.lhs_batch), rhs_batch=(0, *right.rhs_batch))
    return c(node.op, lhs, rhs, attrs=both)


ROWS: dict[Op, Row] = {
    ops.windows: Batch(_windows),
    ops.conv_general: Batch(_conv),
    ops.reduce_window: Batch(_windows),
}
