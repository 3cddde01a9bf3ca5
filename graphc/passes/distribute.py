"""Products of a loop's rows become one product in front of the loop, or behind it.

The input projection of a recurrent network, `x_t @ W`, depends on no carry: for all rows at once it is one product
`xs @ W`, whose results the loop reads row by row. A product that only makes rows of results, `g_t @ W`, is one product
behind the loop, which stacks `g_t` instead. What of movements and elementwise work goes with a product moves with it.

An element adds up what it added up in the loop, in the same order, so bits stay. It is done where the weight would
otherwise be read again in each iteration for few rows, and where the rows that are written to memory instead are not
much more than those that the loop has.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.control import ScanAttrs
from graphc.graph.prune import dependents, live_nodes
from graphc.passes.hoist import with_operands
from graphc.passes.rewrite import with_regions
from graphc.transform.batching.api import batch

MOST_ROWS = 4  # times the bytes of the rows that a loop has: those that may be stacked besides


@dataclass(frozen=True, slots=True)
class Distribute:
    """Move products of rows out of scans.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Distribute().run(
    ...         parse('''
    ... graph b(%0: f32[8,8] w, %1: f32[8] h, %2: f32[8] x) {
    ...   %3: f32[8] = dot_general(%2, %0) {lhs_contract=(0,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
    ...   %4: f32[8] = add(%1, %3)
    ...   return %4
    ... }
    ... graph f(%0: f32[8,8] w, %1: f32[8] h, %2: f32[5,8] xs) {
    ...   %3: f32[8] = scan(%0, %1, %2) {body=@b, num_captures=1, num_carries=1, length=5, reverse=True, counted=False}
    ...   return %3
    ... }''')
    ...     )
    ... )
    graph b(%0: f32[8,8] w, %1: f32[8] h, %2: f32[8] x, %3: f32[8]) {
      %4: f32[8] = add(%1, %3)
      return %4
    }
    <BLANKLINE>
    graph f(%0: f32[8,8] w, %1: f32[8] h, %2: f32[5,8] xs) {
      %3: f32[5,8] = dot_general(%2, %0) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
      %4: f32[8] = scan(%0, %1, %2, %3) {body=@b, num_captures=1, num_carries=1, length=5, reverse=True, counted=False}
      return %4
    }
    <BLANKLINE>
    """

    name: str = "distribute"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, _run)


def _run(graph: Graph) -> Graph:
    if not any(_may_be_cut(node) for node in graph.nodes):
        return graph
    builder = GraphBuilder(graph.name)
    known: dict[Value, Value] = {v: v for v in graph.inputs}
    changed = False
    for node in graph.nodes:
        here = Node(node.op, tuple(known[v] for v in node.operands), node.attrs, node.results, node.loc)
        parts = _Scan.of(here) if _may_be_cut(node) else None
        first = None if parts is None else _in_front(builder, parts)
        results = None if parts is None else _behind(builder, first or parts)
        changed |= first is not None or results is not None
        if results is None:
            builder.nodes.append(here if first is None else first.node)
        known.update(zip(node.results, results or node.results, strict=True))
    if not changed:
        return graph
    return Graph(graph.name, graph.inputs, tuple(builder.nodes), tuple(known[v] for v in graph.outputs), graph.aliases)


def _may_be_cut(node: Node) -> bool:
    attrs = node.attrs
    return isinstance(attrs, ScanAttrs) and attrs.length > 1 and not attrs.counted


@dataclass(frozen=True, slots=True)
class _Scan:
    """A scan that makes all of its iterations."""

    node: Node
    attrs: ScanAttrs

    @staticmethod
    def of(node: Node) -> "_Scan":
        assert isinstance(node.attrs, ScanAttrs)
        return _Scan(node, node.attrs)

    @property
    def captures(self) -> Sequence[Value]:
        return self.attrs.body.inputs[: self.attrs.num_captures]

    @property
    def carries(self) -> Sequence[Value]:
        first = self.attrs.num_captures
        return self.attrs.body.inputs[first : first + self.attrs.num_carries]

    @property
    def xs(self) -> Sequence[Value]:
        return self.attrs.body.inputs[self.attrs.num_captures + self.attrs.num_carries :]

    @property
    def outer(self) -> dict[Value, Value]:
        """The operand of each capture and of each row."""
        found = dict(zip(self.attrs.body.inputs, self.node.operands, strict=True))
        return {v: found[v] for v in (*self.captures, *self.xs)}

    @property
    def row_bytes(self) -> int:
        """The bytes of the rows that the loop reads and writes, once per iteration."""
        ys = self.attrs.body.outputs[self.attrs.num_carries :]
        return sum(v.type.nbytes for v in (*self.xs, *ys))


def _is_cheap(node: Node) -> bool:
    return node.op.kind in ("movement", "elementwise") and not isinstance(node.attrs, DotAttrs)


def _moving_product(node: Node, moving: set[Value]) -> bool:
    """Whether it is a product of what differs between iterations and what does not, worth to be done at once."""
    attrs = node.attrs
    if not isinstance(attrs, DotAttrs) or attrs.lhs_batch:
        return False
    differs = [v in moving for v in node.operands]
    if sum(differs) != 1:
        return False
    varying = node.operands[differs.index(True)]
    length = prod(node.operands[0].shape[d] for d in attrs.lhs_contract)
    rows = varying.type.size // max(length, 1)
    return length > 2 * rows  # else the weight is read for so many rows that it does not matter


# ------------------------------------------------------------------------------------------------- in front of the loop


def _in_front(builder: GraphBuilder, scan: _Scan) -> _Scan | None:
    """The scan whose products of rows are in the builder; None where there are none."""
    body = scan.attrs.body
    carried = dependents(body.nodes, scan.carries)
    rows = dependents(body.nodes, scan.xs) - carried
    taken = _taken(body, rows, carried)
    left = [node for node in body.nodes if taken.isdisjoint(node.results)]
    read = {*body.outputs, *(v for node in left for v in node.operands)}
    crossing = [v for node in body.nodes for v in node.results if v in taken and v in read]
    if not crossing or sum(v.type.nbytes for v in crossing) > MOST_ROWS * scan.row_bytes:
        return None
    stacked = _batched(builder, scan, body.nodes, crossing, scan.outer, scan.xs)
    given = [Value(v.type) for v in crossing]
    inside = dict(zip(crossing, given, strict=True))
    nodes = [with_operands(node, inside) for node in left]
    outputs = tuple(inside.get(v, v) for v in body.outputs)
    smaller = Graph(body.name, (*body.inputs, *given), live_nodes(nodes, outputs), outputs)
    attrs = replace(scan.attrs, body=smaller)
    node = scan.node
    return _Scan(Node(node.op, (*node.operands, *stacked), attrs, node.results, node.loc), attrs)


def _taken(body: Graph, rows: set[Value], carried: set[Value]) -> set[Value]:
    """Products of rows, made by cheap work from them, and what follows from them alone and is cheap."""
    reachable: set[Value] = {v for v in body.inputs if v in rows}  # by cheap work and products that are taken
    taken: set[Value] = set()
    for node in body.nodes:
        if not rows.issuperset(node.results) or any(v in rows and v not in reachable for v in node.operands):
            continue
        follows = not taken.isdisjoint(node.operands) and all(v in taken or v not in rows for v in node.operands)
        if _moving_product(node, rows) or (_is_cheap(node) and follows and _is_smaller(node)):
            taken.update(node.results)
        if _is_cheap(node) or not taken.isdisjoint(node.results):
            reachable.update(node.results)
    return taken


def _is_smaller(node: Node) -> bool:
    """Whether its result is no larger than what it is made of."""
    return node.results[0].type.nbytes <= max((v.type.nbytes for v in node.operands), default=0)


def _batched(
    builder: GraphBuilder,
    scan: _Scan,
    nodes: Sequence[Node],
    outputs: Sequence[Value],
    outer: dict[Value, Value],
    rows: Sequence[Value],
) -> list[Value]:
    """These values of the body for all iterations at once; `outer`: what stands for its inputs, stacked for `rows`."""
    own = live_nodes(nodes, outputs)
    used = {v for node in own for v in node.operands}
    inputs = [v for v in outer if v in used]
    part = Graph(scan.attrs.body.name, tuple(inputs), own, tuple(outputs))
    many = batch(part, scan.attrs.length, [v in rows for v in inputs], [True] * len(outputs))
    return list(builder.inline(many.graph, [outer[v] for v in inputs]))


# -------------------------------------------------------------------------------------------------- behind the loop


def _behind(builder: GraphBuilder, scan: _Scan) -> list[Value] | None:
    """The results of the scan without products that only make rows, which the builder does behind it; None where there
    are none.
    """
    body, carries = scan.attrs.body, scan.attrs.num_carries
    varying = dependents(body.nodes, (*scan.carries, *scan.xs))
    late = _late(body, carries, varying)
    crossing = list(dict.fromkeys(v for node in late for v in node.operands if v in varying))
    crossing = [v for v in crossing if not any(v in node.results for node in late)]
    products = [node for node in late if isinstance(node.attrs, DotAttrs)]
    if not products or sum(v.type.nbytes for v in crossing) > MOST_ROWS * scan.row_bytes:
        return None
    made = {v for node in late for v in node.results}
    given = {v: k for k, v in enumerate(body.outputs) if k >= carries and v in crossing}  # already stacked
    more = [v for v in crossing if v not in given and v not in scan.xs]
    kept = [k for k, v in enumerate(body.outputs) if k < carries or v not in made]
    outputs = (*(body.outputs[k] for k in kept), *more)
    smaller = Graph(body.name, body.inputs, live_nodes(body.nodes, outputs), outputs)
    node = scan.node
    results = builder.add(node.op, node.operands, replace(scan.attrs, body=smaller), node.loc)
    stacked = dict(zip(more, results[len(kept) :], strict=True))
    found = dict(zip(kept, results, strict=False))
    stacked |= {v: found[k] for v, k in given.items() if k in found}
    outer = scan.outer | stacked
    wanted = [k for k in range(len(body.outputs)) if k not in found]
    same = [each for each in body.nodes if varying.isdisjoint(each.results)]
    values = _batched(builder, scan, [*same, *late], [body.outputs[k] for k in wanted], outer, [*scan.xs, *stacked])
    found |= dict(zip(wanted, values, strict=True))
    return [found[k] for k in range(len(body.outputs))]


def _late(body: Graph, carries: int, varying: set[Value]) -> list[Node]:
    """Products whose results are rows of results alone, by way of cheap work, with that work."""
    users: dict[Value, list[Node]] = {}
    for node in body.nodes:
        for v in node.operands:
            users.setdefault(v, []).append(node)
    carried = set(body.outputs[:carries])
    late: list[Node] = []
    found: set[Node] = set()
    for node in reversed(body.nodes):
        if not varying.issuperset(node.results) or not carried.isdisjoint(node.results):
            continue
        if not all(user in found for v in node.results for user in users.get(v, ())):
            continue
        alone = len([v for v in node.operands if v in varying]) == 1
        if _moving_product(node, varying) or (_is_cheap(node) and alone):
            late.append(node)
            found.add(node)
    return _from_products(live_nodes(late[::-1], body.outputs[carries:]))


def _from_products(late: Sequence[Node]) -> list[Node]:
    """Of these nodes the products and what follows from them: cheap work in front of them stays."""
    following: set[Value] = set()
    kept: list[Node] = []
    for node in late:
        if isinstance(node.attrs, DotAttrs) or not following.isdisjoint(node.operands):
            following.update(node.results)
            kept.append(node)
    return kept
