"""Loops and branches made smaller: what nothing needs of them, and those that need not be there.

`trim_control` is what `dce` does to one. `simplify_control` is a pass of its own: a carry that no iteration changes is
a capture; a loop without iterations, or of one, is its first values or its body; a branch whose index is known is that
branch. What bits come out stays as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs, parts_of_scan
from graphc.graph.ops.source import ConstantAttrs
from graphc.graph.prune import live_nodes
from graphc.passes.rewrite import with_regions

Loop = ScanAttrs | WhileAttrs


def _read(graph: Graph, outputs: Sequence[Value]) -> set[Value]:
    """What these outputs are made of, and themselves."""
    nodes = live_nodes(graph.nodes, outputs)
    return {*outputs, *(v for node in nodes for v in node.operands)}


def _cut(graph: Graph, inputs: Sequence[bool], outputs: Sequence[bool]) -> Graph:
    """The graph with some of its inputs and outputs."""
    kept = _only(graph.outputs, outputs)
    return Graph(graph.name, tuple(_only(graph.inputs, inputs)), live_nodes(graph.nodes, kept), tuple(kept))


def _only(values: Sequence[Value], marks: Sequence[bool]) -> list[Value]:
    return [value for value, mark in zip(values, marks, strict=True) if mark]


def trim_control(node: Node, needed: set[Value]) -> Node:
    """The node without results that are not in `needed` and operands that it then does not read."""
    attrs = node.attrs
    if isinstance(attrs, BranchAttrs):
        return _trim_branch(node, attrs, needed)
    assert isinstance(attrs, ScanAttrs | WhileAttrs)
    return _trim_loop(node, attrs, needed)


def _trim_branch(node: Node, attrs: BranchAttrs, needed: set[Value]) -> Node:
    wanted = [v in needed for v in node.results]
    reads = [_read(graph, _only(graph.outputs, wanted)) for graph in attrs.branches]
    kept = [
        any(graph.inputs[k] in read for graph, read in zip(attrs.branches, reads, strict=True))
        for k in range(len(node.operands) - 1)
    ]
    if all(wanted) and all(kept):
        return node
    graphs = tuple(_cut(graph, kept, wanted) for graph in attrs.branches)
    operands = (node.operands[0], *_only(node.operands[1:], kept))
    return Node(node.op, operands, BranchAttrs(graphs), tuple(_only(node.results, wanted)), node.loc)


def _trim_loop(node: Node, attrs: Loop, needed: set[Value]) -> Node:
    """A carry is needed if its last value is, or what something needed is made of."""
    body, captures, carries = attrs.body, attrs.num_captures, attrs.num_carries
    rest = len(node.results) - len(body.outputs)  # the number of iterations of a while stays
    of_ys = [v in needed for v in node.results[carries : carries + attrs.num_ys]]
    of_carries = [v in needed for v in node.results[:carries]]
    asked: set[Value] = set()
    if isinstance(attrs, WhileAttrs):
        asked = _read(attrs.cond, attrs.cond.outputs)
        of_carries = [a or v in asked for a, v in zip(of_carries, attrs.cond.inputs[captures:], strict=True)]
    while True:
        read = _read(body, _only(body.outputs, [*of_carries, *of_ys]))
        more = [a or v in read for a, v in zip(of_carries, body.inputs[captures:], strict=False)]
        if more == of_carries:
            break
        of_carries = more
    kept = [v in read for v in body.inputs]
    kept[captures : captures + carries] = of_carries
    if isinstance(attrs, WhileAttrs):
        kept[:captures] = [a or v in asked for a, v in zip(kept[:captures], attrs.cond.inputs, strict=False)]
    if all(kept) and all(of_ys):
        return node
    smaller = _cut(body, kept, [*of_carries, *of_ys])
    first = len(node.operands) - len(kept)
    operands = (*node.operands[:first], *_only(node.operands[first:], kept))
    results = tuple(_only(node.results, [*of_carries, *of_ys, *([True] * rest)]))
    again = _with_body(attrs, smaller, sum(kept[:captures]), sum(of_carries), kept)
    return Node(node.op, operands, again, results, node.loc)


def _with_body(attrs: Loop, body: Graph, captures: int, carries: int, kept: Sequence[bool]) -> Loop:
    if isinstance(attrs, ScanAttrs):
        return replace(attrs, body=body, num_captures=captures, num_carries=carries)
    cond = _cut(attrs.cond, kept, [True])
    return replace(attrs, body=body, cond=cond, num_captures=captures)


# -------------------------------------------------------------------------------------------------------- simplifying


@dataclass(frozen=True, slots=True)
class SimplifyControl:
    """Loops and branches that need not be there, or not as they are.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     SimplifyControl().run(
    ...         parse('''
    ... graph a(%0: f32[]) { return %0 }
    ... graph b(%0: f32[]) { %1: f32[] = neg(%0) return %1 }
    ... graph f(%0: f32[] x) {
    ...   %1: i32[] = constant() {value=i32[]{1}}
    ...   %2: f32[] = branch(%1, %0) {branches=(@a, @b)}
    ...   return %2
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[] x) {
      %1: i32[] = constant() {value=i32[]{1}}
      %2: f32[] = neg(%0)
      return %2
    }
    <BLANKLINE>
    """

    name: str = "control"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, _simplified)


def _simplified(graph: Graph) -> Graph:
    if not any(isinstance(node.attrs, BranchAttrs | ScanAttrs | WhileAttrs) for node in graph.nodes):
        return graph
    builder = GraphBuilder(graph.name)
    here: dict[Value, Value] = {value: value for value in graph.inputs}
    constants: dict[Value, np.ndarray] = {}
    changed = False
    for node in graph.nodes:
        operands = tuple(here[v] for v in node.operands)
        moved = node if operands == node.operands else Node(node.op, operands, node.attrs, node.results, node.loc)
        results = _instead(builder, moved, constants)
        if results is None:
            builder.nodes.append(moved)
            results = node.results
        changed |= results is not node.results
        here.update(zip(node.results, results, strict=True))
        if isinstance(node.attrs, ConstantAttrs):
            constants[node.result] = node.attrs.value
    if not changed:
        return graph
    return Graph(graph.name, graph.inputs, tuple(builder.nodes), tuple(here[v] for v in graph.outputs), graph.aliases)


def _instead(builder: GraphBuilder, node: Node, constants: Mapping[Value, np.ndarray]) -> Sequence[Value] | None:
    """What the results of a node are without it; None where it stays."""
    attrs = node.attrs
    if isinstance(attrs, BranchAttrs):
        index = constants.get(node.operands[0])
        if index is None and any(graph != attrs.branches[0] for graph in attrs.branches):
            return None
        chosen = 0 if index is None else min(max(int(index), 0), len(attrs.branches) - 1)
        return builder.inline(attrs.branches[chosen], node.operands[1:])
    if isinstance(attrs, ScanAttrs):
        return _short(builder, node, attrs) or _fixed_carries(builder, node, attrs)
    return _fixed_carries(builder, node, attrs) if isinstance(attrs, WhileAttrs) else None


def _short(builder: GraphBuilder, node: Node, attrs: ScanAttrs) -> Sequence[Value] | None:
    """A scan of no row, or of one."""
    if attrs.length > 1 or attrs.counted:
        return None
    _, captures, carries, xs = parts_of_scan(node, attrs)
    c = Compose(builder, node.loc)
    if attrs.length == 0:
        return [*carries, *(c.zeros(v.type) for v in node.results[attrs.num_carries :])]
    made = builder.inline(attrs.body, [*captures, *carries, *(c.reshape(x, x.shape[1:]) for x in xs)])
    return [*made[: attrs.num_carries], *(c.reshape(y, (1, *y.shape)) for y in made[attrs.num_carries :])]


def _fixed_carries(builder: GraphBuilder, node: Node, attrs: Loop) -> Sequence[Value] | None:
    """A loop some of whose carries no iteration changes: these become captures."""
    body, captures, carries = attrs.body, attrs.num_captures, attrs.num_carries
    fixed = [body.outputs[k] is body.inputs[captures + k] for k in range(carries)]
    if not any(fixed):
        return None
    moving = [not mark for mark in fixed]
    first = len(node.operands) - len(body.inputs)

    def turned(values: Sequence[Value]) -> tuple[Value, ...]:
        inner = values[captures : captures + carries]
        return (*values[:captures], *_only(inner, fixed), *_only(inner, moving), *values[captures + carries :])

    outputs = (*_only(body.outputs[:carries], moving), *body.outputs[carries:])
    smaller = Graph(body.name, turned(body.inputs), body.nodes, outputs)
    count = captures + sum(fixed)
    again: Loop
    if isinstance(attrs, ScanAttrs):
        again = replace(attrs, body=smaller, num_captures=count, num_carries=carries - sum(fixed))
    else:
        cond = Graph(attrs.cond.name, turned(attrs.cond.inputs), attrs.cond.nodes, attrs.cond.outputs)
        again = replace(attrs, body=smaller, cond=cond, num_captures=count)
    operands = node.operands[first:]
    made = iter(builder.add(node.op, [*node.operands[:first], *turned(operands)], again, node.loc))
    inits = operands[captures : captures + carries]
    return [*(init if mark else next(made) for init, mark in zip(inits, fixed, strict=True)), *made]
