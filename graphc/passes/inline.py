"""Inlining: the body of a call in place of the call, so that fusion does not stop at function borders.

Functions with derivatives of their own and checkpoints are calls by now. What a checkpoint computes a second time
stands behind barriers, which keep it apart from the first.
"""

from collections import Counter
from collections.abc import Sequence

from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import NO_ATTRS, Graph, Node, Value
from graphc.graph.ops.custom import (
    CheckpointAttrs,
    CustomJvpAttrs,
    CustomVjpAttrs,
    LinearCallAttrs,
    barrier,
    linear_graph,
)
from graphc.graph.ops.structural import CallAttrs, FusionAttrs
from graphc.passes.rewrite import with_regions

LARGE = 64  # nodes; smaller bodies are always inlined


@dataclass(frozen=True, slots=True)
class Inline:
    """Inline calls. `keep_repeated`: large callees that are called more than once stay calls, so that compile time does
    not grow with the depth of a net.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Inline().run(
    ...         parse('''
    ... graph twice(%0: f32[3]) {
    ...   %1: f32[3] = add(%0, %0)
    ...   return %1
    ... }
    ...
    ... graph f(%0: f32[3] x) {
    ...   %1: f32[3] = call(%0) {graph=@twice}
    ...   %2: f32[3] = call(%1) {graph=@twice}
    ...   return %2
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[3] x) {
      %1: f32[3] = add(%0, %0)
      %2: f32[3] = add(%1, %1)
      return %2
    }
    <BLANKLINE>
    """

    keep_repeated: bool = False
    fusions: bool = False  # open `fusion` nodes too
    name: str = "inline"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, self._run)

    def _run(self, graph: Graph) -> Graph:
        count = Counter(callee for node in graph.nodes if (callee := self._callee(node)) is not None)
        kept: set[Graph] = set()
        if self.keep_repeated:
            calls = {node.attrs.graph for node in graph.nodes if isinstance(node.attrs, CallAttrs)}
            kept = {callee for callee in calls if count[callee] > 1 and len(callee.nodes) >= LARGE}
        if len(kept) == len(count):
            return graph
        builder = GraphBuilder(graph.name)
        replaced: dict[Value, Value] = {value: value for value in graph.inputs}
        for node in graph.nodes:
            callee = self._callee(node)
            if callee is not None and callee not in kept:
                before = len(builder.nodes)
                results = builder.inline(callee, _operands(builder, node, [replaced[v] for v in node.operands]))
                _adopt(builder, before, node.loc.role)
                replaced.update(zip(node.results, results, strict=True))
            else:
                builder.copy(node, replaced)
        outputs = tuple(replaced[v] for v in graph.outputs)
        return Graph(graph.name, graph.inputs, tuple(builder.nodes), outputs, graph.aliases)

    def _callee(self, node: Node) -> Graph | None:
        if isinstance(node.attrs, (CallAttrs, CustomJvpAttrs, CustomVjpAttrs, CheckpointAttrs)):
            return node.attrs.graph
        if isinstance(node.attrs, LinearCallAttrs):
            return linear_graph(node.attrs, node.loc)
        return node.attrs.graph if self.fusions and isinstance(node.attrs, FusionAttrs) else None


def _adopt(builder: GraphBuilder, first: int, role: str) -> None:
    """What a derivative calls is part of it, also where it is the user's: the rule of a function with its own."""
    if role:
        builder.nodes[first:] = [
            Node(node.op, node.operands, node.attrs, node.results, node.loc.with_role(role))
            if node.loc is not UNKNOWN
            else node
            for node in builder.nodes[first:]
        ]


def _operands(builder: GraphBuilder, node: Node, values: Sequence[Value]) -> Sequence[Value]:
    """The operands of a call; of a checkpoint some are behind a barrier until the others are there."""
    if not isinstance(node.attrs, CheckpointAttrs):
        return values
    first = [v for v, is_late in zip(values, node.attrs.late, strict=True) if not is_late]
    if not first:
        return values
    return [
        builder.add1(barrier, (v, *first), NO_ATTRS, node.loc) if is_late else v
        for v, is_late in zip(values, node.attrs.late, strict=True)
    ]
