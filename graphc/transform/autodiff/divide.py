"""A walk that left tangents beside values, cut in two: what does not depend on tangents, and what is linear in them."""

from graphc.graph.ir import Graph, Node, Value
from graphc.graph.prune import dependents, live_nodes
from graphc.transform.autodiff.forward import Forward
from graphc.transform.autodiff.rows import LinearisedGraph


def linearised(name: str, found: Forward) -> LinearisedGraph:
    forward, linear, residuals = divide(found)
    places = {v: ("output", i) for i, v in reversed(list(enumerate(found.outputs)))}
    places |= {v: ("input", i) for i, v in enumerate(found.inputs)}
    extra = [v for v in residuals if v not in places]
    places |= {v: ("output", len(found.outputs) + i) for i, v in enumerate(extra)}
    outputs = (*found.outputs, *extra)
    return LinearisedGraph(
        Graph(f"{name}.forward", found.inputs, live_nodes(forward, outputs), outputs),
        Graph(
            f"{name}.linear",
            (*residuals, *found.tangent_inputs),
            linear,
            tuple(t for t in found.tangents if t is not None),
        ),
        tuple(places[v] for v in residuals),
        tuple(t is not None for t in found.tangents),
    )


def divide(found: Forward) -> tuple[list[Node], tuple[Node, ...], tuple[Value, ...]]:
    """The nodes that do not depend on tangents; those that do and are needed; the values that cross.

    What depends on no input and only moves elements (a broadcast constant) is repeated on the linear side rather than
    handed over.
    """
    depends = dependents(found.nodes, found.tangent_inputs)
    forward = [node for node in found.nodes if depends.isdisjoint(node.operands)]
    tangents = [t for t in found.tangents if t is not None]
    linear = live_nodes([node for node in found.nodes if not depends.isdisjoint(node.operands)], tangents)
    repeated: set[Value] = set()
    sources: list[Node] = []
    for node in forward:
        if node.op.kind in ("source", "movement") and repeated.issuperset(node.operands):
            repeated.update(node.results)
            sources.append(node)
    nodes = live_nodes([*sources, *linear], tangents)
    read = [*(v for node in linear for v in node.operands), *tangents]  # a tangent may be a zero that depends on none
    used = dict.fromkeys(v for v in read if v not in depends)
    return forward, nodes, tuple(v for v in used if v not in repeated)
