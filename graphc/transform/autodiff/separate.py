"""Functions of tangents and of other things, taken apart: each node depends on no tangent, or is linear in them.

A rule of the user's may hold anything: the jvp of a loop, say, which carries tangents beside the values they belong to.
Such a loop becomes two: one that computes the values and stacks what the other needs, and a scan that is linear in the
tangents; a branch likewise. Calls that give results of both kinds are inlined. What is one of the two already stays as
it is.
"""

from collections.abc import Sequence

import numpy as np

from graphc.core.errors import GradientError
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.ops.source import ConstantAttrs
from graphc.graph.prune import dependents, live_nodes
from graphc.transform.autodiff.branches import in_two_branches
from graphc.transform.autodiff.divide import linearised
from graphc.transform.autodiff.forward import Forward
from graphc.transform.autodiff.loop_residuals import Residuals, needs_bound
from graphc.transform.autodiff.loops import Loop
from graphc.transform.autodiff.marked import Flags, only
from graphc.transform.autodiff.reached import Called, inputs_of_body, reached, results_reached
from graphc.transform.autodiff.rows import LinearisedGraph, Tangent


def separated(graph: Graph, tangents: Sequence[Value]) -> Graph:
    """The graph with each node depending on none of `tangents`, or else with all of its results; itself where it is so
    already. Raises `GradientError` where a tangent decides how a loop or branch goes on.
    """
    builder = GraphBuilder(graph.name)
    known: dict[Value, Value] = {v: v for v in graph.inputs}
    walk = _Walk(builder, set(tangents))
    walk.run(graph.nodes, known)
    if not walk.changed:
        return graph
    return Graph(graph.name, graph.inputs, tuple(builder.nodes), tuple(known[v] for v in graph.outputs))


def is_zero(graph: Graph, value: Value) -> bool:
    """A constant zero, rearranged or not."""
    node = graph.producers.get(value)
    while node is not None and node.op.kind == "movement" and len(node.operands) == 1:
        node = graph.producers.get(node.operands[0])
    return node is not None and isinstance(node.attrs, ConstantAttrs) and not np.any(node.attrs.value)


def _check_choices(node: Node, flags: Flags) -> None:
    """Raise where a marked operand decides how a loop or branch goes on."""
    attrs = node.attrs
    if isinstance(attrs, BranchAttrs) and flags[0]:
        raise GradientError(f"branch: which one is taken depends on a tangent in a derivative rule ({node.loc})")
    if isinstance(attrs, ScanAttrs) and attrs.counted and flags[0]:
        raise GradientError(f"scan: how often it runs depends on a tangent in a derivative rule ({node.loc})")
    if isinstance(attrs, WhileAttrs) and any(reached(attrs.cond, inputs_of_body(Loop.of(node), flags))):
        raise GradientError(f"while_loop: how often it runs depends on a tangent in a derivative rule ({node.loc})")


# --------------------------------------------------------------------------------------------------- taking apart


class _Walk:
    """Copies nodes to a builder, taken apart; `moving`: the values there that depend on tangents."""

    def __init__(self, builder: GraphBuilder, moving: set[Value]) -> None:
        self.builder = builder
        self.moving = moving
        self.changed = False

    def run(self, nodes: Sequence[Node], known: dict[Value, Value]) -> None:
        for node in nodes:
            operands = tuple(known[v] for v in node.operands)
            flags = tuple(v in self.moving for v in operands)
            reached = results_reached(node, flags) if any(flags) else ()
            _check_choices(node, flags)
            if not any(flags) or (all(reached) and not isinstance(node.attrs, WhileAttrs)):
                self.builder.copy(node, known)
                self.moving.update(known[v] for v in node.results if reached)
                continue
            self.changed = True
            here = Node(node.op, operands, node.attrs, node.results, node.loc)
            results = self._apart(here, flags, reached)
            self.moving.update(only(results, reached))
            known.update(zip(node.results, results, strict=True))

    def _apart(self, node: Node, flags: Flags, reached: Flags) -> Sequence[Value]:
        attrs = node.attrs
        if isinstance(attrs, Called):
            inside: dict[Value, Value] = dict(zip(attrs.graph.inputs, node.operands, strict=True))
            self.run(attrs.graph.nodes, inside)
            return [inside[v] for v in attrs.graph.outputs]
        c = Compose(self.builder, node.loc)
        if isinstance(attrs, BranchAttrs):
            return _branches(c, node, attrs, flags, reached)
        return _loops(c, node, flags, reached)


def _loops(c: Compose, node: Node, flags: Flags, reached: Flags) -> Sequence[Value]:
    needs_bound(node)
    loop = Loop.of(node)
    moving = inputs_of_body(loop, flags)
    fixed = tuple(not flag for flag in moving)
    made = len(loop.body.outputs)
    derived = _divided(loop.body, moving, reached[:made], f"{node.op.name} ({node.loc})")
    inputs, outputs = only(loop.body.inputs, fixed), only(loop.body.outputs, [not mark for mark in reached[:made]])
    own = Loop.of(_kept(loop, inputs, outputs, fixed, reached))
    residuals = Residuals(own, derived)
    results = residuals.forward(c)
    parts = [only(values, marks) for values, marks in zip(loop.parts, loop.split_flags(moving), strict=True)]
    like = [v for v, mark in zip(loop.body.outputs, reached[:made], strict=True) if mark]

    def complete(inside: Compose, found: Sequence[Value]) -> list[Value]:
        rest = iter(found)
        return [next(rest) if mark else inside.zeros(v.type) for v, mark in zip(like, derived.active, strict=True)]

    pushed = residuals.push(c, results, derived.linear, (parts[0], parts[1], parts[2]), complete) if like else ()
    return _merged(residuals.shown(results), pushed, reached)


def _kept(loop: Loop, inputs: Sequence[Value], outputs: Sequence[Value], fixed: Flags, reached: Flags) -> Node:
    """The loop without what depends on tangents."""
    captures, carries, _ = loop.split_flags(fixed)
    body = Graph(loop.body.name, tuple(inputs), live_nodes(loop.body.nodes, outputs), tuple(outputs))
    results = only(loop.node.results, [not mark for mark in reached])
    operands = [*loop.count, *only((*loop.captures, *loop.carries, *loop.xs), fixed)]
    attrs: ScanAttrs | WhileAttrs
    given = loop.node.attrs
    if isinstance(given, ScanAttrs):
        attrs = ScanAttrs(body, sum(captures), sum(carries), given.length, given.reverse, given.counted)
    else:
        assert isinstance(given, WhileAttrs)
        cond = given.cond
        asked = Graph(cond.name, tuple(only(cond.inputs, fixed)), cond.nodes, cond.outputs)
        attrs = WhileAttrs(_without_dead(asked), body, sum(captures), given.bound)
    return Node(loop.node.op, tuple(operands), attrs, tuple(results), loop.node.loc)


def _without_dead(graph: Graph) -> Graph:
    return Graph(graph.name, graph.inputs, live_nodes(graph.nodes, graph.outputs), graph.outputs)


def _branches(c: Compose, node: Node, attrs: BranchAttrs, flags: Flags, reached: Flags) -> Sequence[Value]:
    moving = flags[1:]
    place = f"branch ({node.loc})"
    derived = [_divided(graph, moving, reached, place) for graph in attrs.branches]
    fixed = [node.operands[0], *only(node.operands[1:], [not flag for flag in moving])]
    types = [v.type for v in only(node.results, reached)]
    count = len(node.results) - len(types)
    shown, pushed = in_two_branches(c, derived, fixed, only(node.operands[1:], moving), count, types)
    tangents = [c.zeros(type) if t is None else t for t, type in zip(pushed, types, strict=True)]
    return _merged(shown, tangents, reached)


def _divided(graph: Graph, moving: Flags, reached: Flags, place: str) -> LinearisedGraph:
    """The graph in two; the tangents are the outputs marked in `reached`."""
    apart = separated(graph, only(graph.inputs, moving))
    depends = dependents(apart.nodes, only(apart.inputs, moving))
    tangents: list[Tangent] = []
    for value in only(apart.outputs, reached):
        if value not in depends and not is_zero(apart, value):
            raise GradientError(f"a derivative rule adds to a tangent what is none, in {place}")
        tangents.append(value if value in depends else None)
    found = Forward(
        tuple(only(apart.inputs, [not flag for flag in moving])),
        tuple(only(apart.inputs, moving)),
        apart.nodes,
        frozenset(),
        frozenset(),
        tuple(only(apart.outputs, [not mark for mark in reached])),
        tuple(tangents),
    )
    return linearised(graph.name, found)


def _merged(others: Sequence[Value], tangents: Sequence[Value], reached: Flags) -> list[Value]:
    """Results in their order, from those that depend on tangents and the others."""
    of_tangents, rest = iter(tangents), iter(others)
    return [next(of_tangents) if mark else next(rest) for mark in reached]
