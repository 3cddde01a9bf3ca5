"""Batching rows of gather and the scatters: with indices of its own for each example the batch dim is one more that x
and the indices run along together.
"""

from dataclasses import replace

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import indexing as ops
from graphc.graph.ops.indexing import GatherAttrs
from graphc.transform.batching.movement import move_to_front
from graphc.transform.batching.rows import Batch, Operands, Row


def _later(attrs: GatherAttrs, shared: bool) -> GatherAttrs:
    """The same behind a batch dim, which the indices have too unless they are shared."""
    return replace(attrs, axis=attrs.axis + 1, batch_dims=0 if shared else attrs.batch_dims + 1)


def _gather(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, GatherAttrs)
    x, indices = operands.values
    if node.attrs.batch_dims == 0:
        if not operands.batched[1]:
            return c(ops.gather, x, indices, attrs=_later(node.attrs, shared=True))
        if not operands.batched[0]:
            return move_to_front(c, c(ops.gather, x, indices, attrs=node.attrs), node.attrs.axis)
    return c(ops.gather, operands.all(0), operands.all(1), attrs=_later(node.attrs, shared=False))


def _scatter(c: Compose, node: Node, operands: Operands) -> Value:
    assert isinstance(node.attrs, GatherAttrs)
    shared = node.attrs.batch_dims == 0 and not operands.batched[1]
    indices = operands.values[1] if shared else operands.all(1)
    return c(node.op, operands.all(0), indices, operands.all(2), attrs=_later(node.attrs, shared))


ROWS: dict[Op, Row] = {ops.gather: Batch(_gather), **{op: Batch(_scatter) for op in ops.SCATTERS}}
