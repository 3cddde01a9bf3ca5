"""Common subexpression elimination: equal ops on equal operands with equal attributes are one node.

Every primitive is a pure function (random bits follow from their key), so nothing is excepted.
"""

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value, attrs_key
from graphc.passes.rewrite import COMMUTATIVE, with_regions


@dataclass(frozen=True, slots=True)
class Cse:
    """Keep the first of equal nodes.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Cse().run(
    ...         parse('''
    ... graph f(%0: f32[3] x, %1: f32[3] y) {
    ...   %2: f32[3] = add(%0, %1)
    ...   %3: f32[3] = add(%1, %0)
    ...   %4: f32[3] = mul(%2, %3)
    ...   return %4
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[3] x, %1: f32[3] y) {
      %2: f32[3] = add(%0, %1)
      %3: f32[3] = mul(%2, %2)
      return %3
    }
    <BLANKLINE>
    """

    name: str = "cse"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, _run)


def _run(graph: Graph) -> Graph:
    number = {value: i for i, value in enumerate(graph.inputs)}
    first: dict[object, Node] = {}
    replaced: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        if any(v in replaced for v in node.operands):
            node = Node(node.op, tuple(replaced.get(v, v) for v in node.operands), node.attrs, node.results, node.loc)
        operands = [number[v] for v in node.operands]
        if node.op in COMMUTATIVE:
            operands.sort()
        known = first.setdefault((node.op, tuple(operands), attrs_key(node.attrs)), node)
        if known is not node:
            replaced.update(zip(node.results, known.results, strict=True))
            continue
        kept.append(node)
        for value in node.results:
            number[value] = len(number)
    if not replaced:
        return graph
    outputs = tuple(replaced.get(v, v) for v in graph.outputs)
    return Graph(graph.name, graph.inputs, tuple(kept), outputs, graph.aliases)
