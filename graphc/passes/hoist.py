"""What is the same in all iterations of a loop is computed once, in front of it.

A node of a body moves out when it depends on captures and constants alone and is worth it: a product, a reduction, a
function or a gather, or elementwise work whose result is no larger than what it is made of, which the loop would read
instead. Movements and constants move along with what needs them; alone they stay, since they cost nothing inside a
kernel. Loops and branches stay, because one might not end or fail where no iteration asks for it.
"""

from dataclasses import replace

from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.control import ScanAttrs, WhileAttrs
from graphc.graph.prune import dependents, live_nodes
from graphc.passes.rewrite import with_regions


@dataclass(frozen=True, slots=True)
class Hoist:
    """Move loop-invariant work out of loops, inner ones first.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Hoist().run(
    ...         parse('''
    ... graph body(%0: f32[3] w, %1: f32[3] c) {
    ...   %2: f32[3] = exp(%0)
    ...   %3: f32[3] = add(%1, %2)
    ...   return %3
    ... }
    ... graph f(%0: f32[3] w, %1: f32[3] c) {
    ...   %2: f32[3] = scan(%0, %1) {body=@body, num_captures=1, num_carries=1, length=9, reverse=False, counted=False}
    ...   return %2
    ... }''')
    ...     )
    ... )
    graph body(%0: f32[3] w, %1: f32[3], %2: f32[3] c) {
      %3: f32[3] = add(%2, %1)
      return %3
    }
    <BLANKLINE>
    graph f(%0: f32[3] w, %1: f32[3] c) {
      %2: f32[3] = exp(%0)
      %3: f32[3] = scan(%0, %2, %1) {body=@body, num_captures=2, num_carries=1, length=9, reverse=False, counted=False}
      return %3
    }
    <BLANKLINE>
    """

    name: str = "hoist"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, _run)


def _run(graph: Graph) -> Graph:
    builder = GraphBuilder(graph.name)
    for node in graph.nodes:
        moved = _moved(builder, node) if isinstance(node.attrs, ScanAttrs | WhileAttrs) else node
        builder.nodes.append(moved)
    if len(builder.nodes) == len(graph.nodes):
        return graph
    return Graph(graph.name, graph.inputs, tuple(builder.nodes), graph.outputs, graph.aliases)


def _moved(builder: GraphBuilder, node: Node) -> Node:
    """The loop without the work that is added to the builder in front of it; itself where there is none."""
    attrs = node.attrs
    assert isinstance(attrs, ScanAttrs | WhileAttrs)
    body, captures = attrs.body, attrs.num_captures
    values = _worth_moving(body, captures)
    if not values:
        return node
    first = len(node.operands) - len(body.inputs)
    outside = dict(zip(body.inputs, node.operands[first : first + captures], strict=False))
    for each in live_nodes(body.nodes, values):
        builder.copy(each, outside)
    added = [Value(value.type) for value in values]
    inside = dict(zip(values, added, strict=True))
    inputs = (*body.inputs[:captures], *added, *body.inputs[captures:])
    outputs = tuple(inside.get(v, v) for v in body.outputs)
    nodes = [with_operands(each, inside) for each in body.nodes]
    count = captures + len(values)
    smaller = Graph(body.name, inputs, live_nodes(nodes, outputs), outputs)
    again: ScanAttrs | WhileAttrs
    if isinstance(attrs, ScanAttrs):
        again = replace(attrs, body=smaller, num_captures=count)
    else:
        asked = attrs.cond
        more = tuple(Value(value.type) for value in values)
        cond = Graph(
            asked.name, (*asked.inputs[:captures], *more, *asked.inputs[captures:]), asked.nodes, asked.outputs
        )
        again = replace(attrs, body=smaller, cond=cond, num_captures=count)
    split = first + captures
    operands = (*node.operands[:split], *(outside[v] for v in values), *node.operands[split:])
    return Node(node.op, operands, again, node.results, node.loc)


def with_operands(node: Node, replaced: dict[Value, Value]) -> Node:
    """The node reading other values in the place of some; itself where it reads none of these."""
    if not any(v in replaced for v in node.operands):
        return node
    return Node(node.op, tuple(replaced.get(v, v) for v in node.operands), node.attrs, node.results, node.loc)


def _worth_moving(body: Graph, captures: int) -> list[Value]:
    """The values that the rest of the body reads of what moves out."""
    varying = dependents(body.nodes, body.inputs[captures:])
    held = {v for node in body.nodes if node.op.kind == "structural" for v in node.results}
    stays = varying | dependents(body.nodes, held)
    same = [node for node in body.nodes if stays.isdisjoint(node.results)]
    constant = dependents(body.nodes, body.inputs)  # what is not in it depends on nothing
    moving: set[Value] = set()
    for node in same:
        if constant.isdisjoint(node.results):
            continue
        if _is_work(node) or (_is_cheap(node) and any(v in moving for v in node.operands)):
            moving.update(node.results)
    left = [node for node in body.nodes if moving.isdisjoint(node.results)]
    read = {*body.outputs, *(v for node in left for v in node.operands)}
    return [v for node in same for v in node.results if v in moving and v in read]


def _is_cheap(node: Node) -> bool:
    """Whether its result is no larger than what it is made of."""
    return node.results[0].type.nbytes <= max((v.type.nbytes for v in node.operands), default=0)


def _is_work(node: Node) -> bool:
    """Whether it is worth memory of its own."""
    if node.op.kind in ("contraction", "reduction", "index"):
        return True
    return node.op.kind == "elementwise" and _is_cheap(node)
