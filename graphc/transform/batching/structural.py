"""Batching rows of the ops that hold graphs. A call is a call of the batched graph."""

from collections.abc import Sequence

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import structural as ops
from graphc.graph.ops.structural import CallAttrs
from graphc.transform.batching.rows import Batcher, BatchRegion, NoBatching, Operands, Row


def _call(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> tuple[Sequence[Value], Sequence[bool]]:
    assert isinstance(node.attrs, CallAttrs)
    found = batcher.batch(node.attrs.graph, operands.batched)
    return c.builder.add(ops.call, operands.values, CallAttrs(found.graph), c.loc), found.outputs


ROWS: dict[Op, Row] = {
    ops.call: BatchRegion(_call),
    ops.fusion: NoBatching("fused kernels come after batching"),
}
