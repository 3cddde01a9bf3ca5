"""Partition: which nodes become one kernel, and in which order kernels run."""

from graphc.graph.ir import Graph
from graphc.passes.inline import Inline
from graphc.passes.partition.assemble import assemble
from graphc.passes.partition.roles import live_nodes, roles


def partition(graph: Graph) -> Graph:
    """The same function made of `fusion` nodes, with views and constants left bare at the top level."""
    graph = Inline(fusions=True).run(graph)
    graph = Graph(graph.name, graph.inputs, live_nodes(graph), graph.outputs, graph.aliases)
    role = roles(graph)
    return assemble(graph, role, [[node] for node in graph.nodes if role[node] == "core"])


__all__ = ["partition"]
