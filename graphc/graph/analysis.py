"""A graph as a networkx graph, for people, drawing and tests. Not used while compiling."""

import networkx

from graphc.graph.ir import Graph, Value


def to_networkx(graph: Graph) -> "networkx.DiGraph[int]":
    """Nodes 0..n-1 are graph nodes (attributes op, type, loc), inputs are negative; edges carry the tensor type."""
    result: networkx.DiGraph[int] = networkx.DiGraph(name=graph.name)
    number: dict[Value, int] = {}
    for position, value in enumerate(graph.inputs):
        number[value] = -1 - position
        result.add_node(-1 - position, op="input", type=str(value.type), loc=value.name)
    for position, node in enumerate(graph.nodes):
        types = ", ".join(str(value.type) for value in node.results)
        result.add_node(position, op=node.op.name, type=types, loc=str(node.loc))
        for operand in node.operands:
            result.add_edge(number[operand], position, type=str(operand.type))
        number.update((value, position) for value in node.results)
    return result
