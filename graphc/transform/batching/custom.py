"""Batching rows of functions with derivative rules of their own, of linear calls, and of checkpoints: all their graphs
are batched alike, so that differentiating and batching may come in any order.

Tangents are batched where their primals are. The cotangent of an operand that all examples share is the sum of theirs.
"""

from collections.abc import Sequence

from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import custom as ops
from graphc.graph.ops.custom import CheckpointAttrs, CustomJvpAttrs, CustomVjpAttrs, LinearCallAttrs
from graphc.transform.batching.rows import Batch, Batcher, BatchRegion, Operands, Row

Results = tuple[Sequence[Value], Sequence[bool]]


def _custom_jvp(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> Results:
    attrs = node.attrs
    assert isinstance(attrs, CustomJvpAttrs)
    every = [True] * len(node.results)
    graph = batcher.batch(attrs.graph, operands.batched, every).graph
    moving = _moving(node, attrs.captures, operands.batched)
    rule = attrs.rule
    if rule is not None:
        rule = batcher.batch(rule, [*operands.batched, *moving], [True] * len(rule.outputs)).graph
    return c.builder.add(ops.custom_jvp, operands.values, CustomJvpAttrs(graph, rule, attrs.captures), c.loc), every


def _custom_vjp(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> Results:
    attrs = node.attrs
    assert isinstance(attrs, CustomVjpAttrs)
    count = len(node.results)
    every = [True] * count
    graph = batcher.batch(attrs.graph, operands.batched, every).graph
    residuals = len(attrs.forward.outputs) - count
    forward = batcher.batch(attrs.forward, operands.batched, [*every, *([False] * residuals)])
    cotangents = [True] * (len(attrs.backward.inputs) - residuals)
    flags = [*forward.outputs[count:], *cotangents]
    backward = _summed(batcher, attrs.backward, flags, _moving(node, attrs.captures, operands.batched))
    again = CustomVjpAttrs(graph, forward.graph, backward, attrs.captures)
    return c.builder.add(ops.custom_vjp, operands.values, again, c.loc), every


def _moving(node: Node, captures: int, batched: Sequence[bool]) -> list[bool]:
    """Which operands that have tangents are batched."""
    pairs = zip(node.operands, batched[: len(batched) - captures])
    return [is_batched for value, is_batched in pairs if value.dtype.is_inexact]


def _summed(batcher: Batcher, graph: Graph, batched: Sequence[bool], wanted: Sequence[bool]) -> Graph:
    """The batched graph, with outputs that are not wanted batched summed over the batch."""
    found = batcher.batch(graph, batched, [True] * len(graph.outputs)).graph
    builder = GraphBuilder(found.name)
    builder.inputs += found.inputs
    builder.nodes += found.nodes
    c = Compose(builder)
    pairs = zip(found.outputs, wanted, strict=True)
    return builder.build([value if want else c.reduce_sum(value, (0,)) for value, want in pairs])


def _linear_call(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> Results:
    attrs = node.attrs
    assert isinstance(attrs, LinearCallAttrs)
    count = attrs.residuals
    flags = operands.batched[:count]
    moving = [operands.all(i) for i in range(count, len(operands.values))]
    every = [True] * len(node.results)
    transpose = batcher.batch(attrs.transpose, [*flags, *every], [True] * len(moving)).graph
    graph = attrs.graph
    if graph is not None:
        graph = batcher.batch(graph, [*flags, *([True] * len(moving))], every).graph
    again = LinearCallAttrs(graph, transpose, count, attrs.why)
    return c.builder.add(ops.linear_call, [*operands.values[:count], *moving], again, c.loc), every


def _checkpoint(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> Results:
    assert isinstance(node.attrs, CheckpointAttrs)
    found = batcher.batch(node.attrs.graph, operands.batched)
    again = CheckpointAttrs(found.graph, node.attrs.late)
    return c.builder.add(ops.checkpoint, operands.values, again, c.loc), found.outputs


def _barrier(c: Compose, node: Node, operands: Operands) -> Value:
    return c(node.op, operands.all(0), *operands.values[1:], attrs=node.attrs)


ROWS: dict[Op, Row] = {
    ops.custom_jvp: BatchRegion(_custom_jvp),
    ops.custom_vjp: BatchRegion(_custom_vjp),
    ops.linear_call: BatchRegion(_linear_call),
    ops.checkpoint: BatchRegion(_checkpoint),
    ops.barrier: Batch(_barrier),
}
