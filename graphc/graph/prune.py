"""Which nodes of a graph count: dead nodes found and dropped, and what follows from what. One walk, no recursion."""

from collections.abc import Iterable, Sequence

from graphc.graph.ir import Graph, Node, Value


def live_nodes(nodes: Sequence[Node], outputs: Iterable[Value]) -> tuple[Node, ...]:
    """The nodes that some output depends on, in their order."""
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if needed.isdisjoint(node.results):
            continue
        needed.update(node.operands)
        kept.append(node)
    return tuple(reversed(kept))


def prune(graph: Graph) -> Graph:
    """The graph without dead nodes; the same object when there are none. Inputs, outputs and aliases stay."""
    kept = live_nodes(graph.nodes, graph.outputs)
    if len(kept) == len(graph.nodes):
        return graph
    return Graph(graph.name, graph.inputs, kept, graph.outputs, graph.aliases)


def dependents(nodes: Sequence[Node], sources: Iterable[Value]) -> set[Value]:
    """`sources` and every value computed from them."""
    found = set(sources)
    for node in nodes:
        if not found.isdisjoint(node.operands):
            found.update(node.results)
    return found
