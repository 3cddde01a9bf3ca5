"""Dead code elimination: nodes no output depends on, and results and operands of calls,
loops and branches that nobody needs."""

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops import control, structural
from graphc.graph.ops.structural import CallAttrs
from graphc.passes.control import trim_control
from graphc.passes.rewrite import node_with_regions, with_regions

# (callee, which results are wanted) -> the smaller callee, and which operands it still takes
_Memo = dict[tuple[Graph, tuple[bool, ...]], tuple[Graph, tuple[bool, ...]]]


@dataclass(frozen=True, slots=True)
class Dce:
    """Drop what nothing needs. Inputs, outputs and aliases of the graph itself stay.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Dce().run(
    ...         parse('''
    ... graph f(%0: f32[3] x) {
    ...   %1: f32[3] = exp(%0)
    ...   %2: f32[3] = neg(%0)
    ...   return %2
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[3] x) {
      %1: f32[3] = neg(%0)
      return %1
    }
    <BLANKLINE>
    """

    name: str = "dce"

    def run(self, graph: Graph) -> Graph:
        memo: _Memo = {}
        return with_regions(graph, lambda g: _run(g, memo))


def _run(graph: Graph, memo: _Memo) -> Graph:
    """Backwards, so that an operand a call no longer takes is not counted as needed."""
    needed = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.results):
            continue
        trimmed = _trimmed(node, needed, memo)
        needed.update(trimmed.operands)
        kept.append(trimmed)
    kept.reverse()
    if len(kept) == len(graph.nodes) and all(a is b for a, b in zip(kept, graph.nodes, strict=True)):
        return graph
    return Graph(graph.name, graph.inputs, tuple(kept), graph.outputs, graph.aliases)


def _trimmed(node: Node, needed: set[Value], memo: _Memo) -> Node:
    """The node without what it need not take or make."""
    if node.op is structural.call:
        return _trim(node, needed, memo)
    if node.op not in control.CONTROL:
        return node
    known: dict[Graph, Graph] = {}
    while True:  # what is dropped may have been all that something inside was for
        trimmed = trim_control(node, needed)
        if trimmed is node:
            return node
        node = node_with_regions(trimmed, lambda g: _run(g, memo), known)


def _trim(node: Node, needed: set[Value], memo: _Memo) -> Node:
    """The call without results that are not needed and operands its callee does not read."""
    assert isinstance(node.attrs, CallAttrs)
    wanted = tuple(v in needed for v in node.results)
    key = (node.attrs.graph, wanted)
    if key not in memo:
        memo[key] = _smaller(node.attrs.graph, wanted, memo)
    callee, read = memo[key]
    if all(wanted) and all(read):
        return node
    operands = tuple(v for v, is_read in zip(node.operands, read, strict=True) if is_read)
    results = tuple(v for v, is_wanted in zip(node.results, wanted, strict=True) if is_wanted)
    return Node(node.op, operands, CallAttrs(callee), results, node.loc)


def _smaller(graph: Graph, wanted: tuple[bool, ...], memo: _Memo) -> tuple[Graph, tuple[bool, ...]]:
    """The callee with only the wanted outputs, and which of its inputs that takes."""
    outputs = tuple(v for v, is_wanted in zip(graph.outputs, wanted, strict=True) if is_wanted)
    body = _run(Graph(graph.name, graph.inputs, graph.nodes, outputs), memo)
    used = {*outputs, *(v for node in body.nodes for v in node.operands)}
    read = tuple(v in used for v in graph.inputs)
    inputs = tuple(v for v in graph.inputs if v in used)
    return Graph(graph.name, inputs, body.nodes, outputs), read
