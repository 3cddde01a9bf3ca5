"""Derivatives of branches: the branches are derived.

Residuals are united: those of one type share a place, and are zeros where a branch has none.
"""

from collections.abc import Sequence

from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, TensorType, Value
from graphc.graph.ops import control as ops
from graphc.graph.ops.control import BranchAttrs
from graphc.transform.autodiff.marked import Flags, given, inputs_like, marks, only, scatter
from graphc.transform.autodiff.rows import Derive, LinearisedGraph, Tangent


def _branch(c: Compose, index: Value, graphs: Sequence[Graph], operands: Sequence[Value]) -> tuple[Value, ...]:
    return c.builder.add(ops.branch, [index, *operands], BranchAttrs(tuple(graphs)), c.loc)


def _united(marks: Sequence[Flags]) -> Flags:
    return tuple(any(column) for column in zip(*marks, strict=True))


def _completed(graph: Graph, active: Flags, wanted: Flags, first: int, like: Sequence[TensorType], c: Compose) -> Graph:
    """The graph with outputs from number `first` on, which are there where `active`, wherever `wanted`: else zeros."""
    if active == wanted:
        return graph
    builder = GraphBuilder(graph.name)
    made = builder.inline(graph, inputs_like(builder, graph.inputs))
    inside = Compose(builder, c.loc)
    found = scatter(made[first:], active)
    more = [
        inside.zeros(type) if value is None else value
        for value, mark, type in zip(found, wanted, like, strict=True)
        if mark
    ]
    return builder.build([*made[:first], *more])


def jvp(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    assert isinstance(node.attrs, BranchAttrs)
    derived = [derive.jvp(graph, marks(tangents[1:])) for graph in node.attrs.branches]
    active = _united([each.active for each in derived])
    count = len(node.results)
    types = [value.type for value in node.results]
    graphs = [_completed(each.graph, each.active, active, count, types, c) for each in derived]
    results = _branch(c, node.operands[0], graphs, [*node.operands[1:], *given(tangents)])
    return results[:count], scatter(results[count:], active)


def linearise(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    assert isinstance(node.attrs, BranchAttrs)
    derived = [derive.linearise(graph, marks(tangents[1:])) for graph in node.attrs.branches]
    types = [value.type for value in node.results]
    return in_two_branches(c, derived, node.operands, given(tangents), len(node.results), types)


def in_two_branches(
    c: Compose,
    derived: Sequence[LinearisedGraph],
    operands: Sequence[Value],
    tangents: Sequence[Value],
    count: int,
    types: Sequence[TensorType],
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    """The `count` results of the branches and their tangents, of `types`: one branch that does not depend on tangents,
    and one that is linear in them.
    """
    active = _united([each.active for each in derived])
    kept = _Kept(count)
    places = [kept.places(each) for each in derived]
    forwards = [kept.forward(each, where, c) for each, where in zip(derived, places, strict=True)]
    results = _branch(c, operands[0], forwards, operands[1:])
    if not any(active):
        return results[:count], [None] * len(types)
    sources: dict[tuple[str, int], Value] = {}  # what some linear branch reads
    for each in places:
        for where, k in each:
            sources[where, k] = operands[1 + k] if where == "input" else results[k]
    graphs = [
        _linear_branch(each, where, sources, tangents, active, types, c)
        for each, where in zip(derived, places, strict=True)
    ]
    pushed = _branch(c, operands[0], graphs, [*sources.values(), *tangents])
    return results[:count], scatter(pushed, active)


class _Kept:
    """Places for the residuals of branches behind their `count` results: those of one type share one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.types: list[TensorType] = []

    def places(self, derived: LinearisedGraph) -> list[tuple[str, int]]:
        """Where each residual is found: ("input", i) of the branch or ("output", i) of all branches."""
        taken: set[int] = set()
        known: dict[int, int] = {}
        found: list[tuple[str, int]] = []
        for where, k in derived.residuals:
            if where == "output" and k >= self.count:
                if k not in known:
                    known[k] = self._slot(derived.forward.outputs[k].type, taken)
                k = self.count + known[k]
            found.append((where, k))
        return found

    def _slot(self, type: TensorType, taken: set[int]) -> int:
        free = [k for k, known in enumerate(self.types) if known == type and k not in taken]
        if not free:
            self.types.append(type)
        slot = free[0] if free else len(self.types) - 1
        taken.add(slot)
        return slot

    def forward(self, derived: LinearisedGraph, places: Sequence[tuple[str, int]], c: Compose) -> Graph:
        """The branch with its residuals in their places, zeros in the others."""
        builder = GraphBuilder(derived.forward.name)
        made = builder.inline(derived.forward, inputs_like(builder, derived.forward.inputs))
        inside = Compose(builder, c.loc)
        slots: list[Tangent] = [None] * len(self.types)
        for (where, k), (_, slot) in zip(derived.residuals, places, strict=True):
            if where == "output" and k >= self.count:
                slots[slot - self.count] = made[k]
        rest = [inside.zeros(t) if v is None else v for v, t in zip(slots, self.types, strict=True)]
        return builder.build([*made[: self.count], *rest])


def _linear_branch(
    derived: LinearisedGraph,
    places: Sequence[tuple[str, int]],
    sources: dict[tuple[str, int], Value],
    tangents: Sequence[Value],
    active: Flags,
    types: Sequence[TensorType],
    c: Compose,
) -> Graph:
    """The linear part of one branch, which takes what all of them read."""
    builder = GraphBuilder(derived.linear.name)
    given = dict(zip(sources, inputs_like(builder, list(sources.values())), strict=True))
    pushed = inputs_like(builder, tangents)
    made = builder.inline(derived.linear, [*(given[place] for place in places), *pushed])
    linear = Graph(builder.name, tuple(builder.inputs), tuple(builder.nodes), tuple(made))
    return _completed(linear, derived.active, active, 0, types, c)


def transpose(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    assert isinstance(node.attrs, BranchAttrs)
    flags = tuple(linear[1:])
    derived = [derive.transpose(graph, flags, marks(cotangents)) for graph in node.attrs.branches]
    active = _united([each.active for each in derived])
    types = [value.type for value in only(node.operands[1:], flags)]
    graphs = [_completed(each.graph, each.active, active, 0, types, c) for each in derived]
    results: Sequence[Value] = ()
    if any(active):
        fixed = only(node.operands[1:], [not flag for flag in flags])
        results = _branch(c, node.operands[0], graphs, [*fixed, *given(cotangents)])
    of_linear = iter(scatter(results, active))
    return [None, *(next(of_linear) if flag else None for flag in flags)]
