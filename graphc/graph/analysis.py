"""Views of a graph for people and tests: as a networkx graph; its depth, width and work. Not used while compiling."""

from dataclasses import dataclass

import networkx

from graphc.graph.cost import node_flops
from graphc.graph.ir import Graph, Value


@dataclass(frozen=True, slots=True)
class Dimensions:
    """depth: nodes on the longest chain; width: most nodes at one distance from the inputs; work: float operations."""

    depth: int
    width: int
    work: int


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


def dimensions(graph: Graph) -> Dimensions:
    """Depth, width and work of a computation graph."""
    level: dict[Value, int] = dict.fromkeys(graph.inputs, 0)
    per_level: dict[int, int] = {}
    for node in graph.nodes:
        depth = 1 + max((level[v] for v in node.operands), default=0)
        level.update(dict.fromkeys(node.results, depth))
        per_level[depth] = per_level.get(depth, 0) + 1
    work = sum(node_flops(node) for node in graph.nodes)
    return Dimensions(max(per_level, default=0), max(per_level.values(), default=0), work)
