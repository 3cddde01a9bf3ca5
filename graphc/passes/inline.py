"""Replace every `call` by the body of the function it calls.

%2 = call(%0, %1) {graph=@f}    becomes    the nodes of @f, with %0 and %1 as its inputs
"""

from dataclasses import dataclass

from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.structural import CallAttrs, FusionAttrs


@dataclass(frozen=True, slots=True)
class Inline:
    """In: any graph. Out: the same function without `call` nodes; the same object when there was none."""

    name: str = "inline"
    fusions: bool = False  # open `fusion` nodes too

    def run(self, graph: Graph) -> Graph:
        ops = ("call", "fusion") if self.fusions else ("call",)
        while any(node.op.name in ops for node in graph.nodes):
            graph = _inline_once(graph, ops)
        return graph


def _inline_once(graph: Graph, ops: tuple[str, ...]) -> Graph:
    builder = GraphBuilder(graph.name)
    builder.inputs = list(graph.inputs)
    mapping: dict[Value, Value] = {value: value for value in graph.inputs}
    for node in graph.nodes:
        operands = tuple(mapping[value] for value in node.operands)
        if node.op.name in ops and isinstance(node.attrs, CallAttrs | FusionAttrs):
            mapping.update(zip(node.results, builder.inline(node.attrs.graph, operands), strict=True))
            continue
        unchanged = operands == node.operands
        builder.nodes.append(node if unchanged else Node(node.op, operands, node.attrs, node.results, node.loc))
        mapping.update((value, value) for value in node.results)
    return builder.build([mapping[value] for value in graph.outputs], graph.aliases)
