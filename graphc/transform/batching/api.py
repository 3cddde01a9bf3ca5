"""Batching of whole graphs: one walk over the nodes, and a memory of the callees it has batched."""

from collections.abc import Sequence

from graphc.core.errors import ArgumentError
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.prune import prune
from graphc.transform.batching.rows import BatchedGraph, BatchRegion, Operands, with_batch
from graphc.transform.batching.table import row_of

Batched = BatchedGraph


def batch(graph: Graph, size: int, batched: Sequence[bool], outputs: Sequence[bool] | None = None) -> Batched:
    """`graph` for `size` examples at once. Inputs marked in `batched` get a batch dim in front, the others are the same
    for all examples; so do the outputs marked in `outputs`, and those that depend on a batched input.

    Raises `UnsupportedError` for an op without a batching rule. The derived graph declares no donation.
    """
    if len(batched) != len(graph.inputs):
        raise ArgumentError(f"{graph.name} has {len(graph.inputs)} inputs, got {len(batched)} flags")
    return _Batcher(size).batch(graph, batched, outputs)


class _Batcher:
    """Batches graphs for one size; see `rows.Batcher`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._done: dict[tuple[Graph, tuple[bool, ...], tuple[bool, ...]], BatchedGraph] = {}

    def batch(self, graph: Graph, batched: Sequence[bool], outputs: Sequence[bool] | None = None) -> BatchedGraph:
        wanted = tuple(outputs) if outputs is not None else (False,) * len(graph.outputs)
        key = (graph, tuple(batched), wanted)
        if key not in self._done:
            self._done[key] = self._walk(graph, key[1], wanted)
        return self._done[key]

    def _walk(self, graph: Graph, batched: tuple[bool, ...], wanted: tuple[bool, ...]) -> BatchedGraph:
        builder = GraphBuilder(f"{graph.name}.batch")
        value_of: dict[Value, Value] = {}
        marked: set[Value] = set()  # values of `graph` that carry the batch dim here
        for value, is_batched in zip(graph.inputs, batched, strict=True):
            shape = (self.size, *value.shape) if is_batched else value.shape
            value_of[value] = builder.input(value.type.with_shape(shape), value.name)
            if is_batched:
                marked.add(value)
        for node in graph.nodes:
            if marked.isdisjoint(node.operands):
                builder.copy(node, value_of)
                continue
            results, flags = self._apply(Compose(builder, node.loc), node, value_of, marked)
            value_of.update(zip(node.results, results, strict=True))
            marked.update(v for v, flag in zip(node.results, flags, strict=True) if flag)
        c = Compose(builder)
        found = [v in marked for v in graph.outputs]
        values = [
            with_batch(c, value_of[v], is_marked or not want, self.size)
            for v, is_marked, want in zip(graph.outputs, found, wanted, strict=True)
        ]
        return BatchedGraph(prune(builder.build(values)), tuple(a or b for a, b in zip(found, wanted, strict=True)))

    def _apply(
        self, c: Compose, node: Node, value_of: dict[Value, Value], marked: set[Value]
    ) -> tuple[Sequence[Value], Sequence[bool]]:
        row = row_of(node)
        values = tuple(value_of[v] for v in node.operands)
        operands = Operands(c, self.size, values, tuple(v in marked for v in node.operands))
        if isinstance(row, BatchRegion):
            return row.rule(self, c, node, operands)
        results = row.rule(c, node, operands)
        found = results if isinstance(results, tuple) else (results,)
        return found, (True,) * len(found)
