"""Derivative rows of the ops that hold graphs. The derivative of a call is a call of the derivative."""

from collections.abc import Callable, Sequence

from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import structural as ops
from graphc.graph.ops.structural import CallAttrs
from graphc.transform.autodiff.rows import Derive, LinearisedGraph, NoDerivative, Region, Row, Tangent


def call(c: Compose, graph: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
    return c.builder.add(ops.call, operands, CallAttrs(graph), c.loc)


def scatter(values: Sequence[Value], marked: Sequence[bool]) -> list[Tangent]:
    """The values at the marked places, None at the others."""
    rest = iter(values)
    return [next(rest) if mark else None for mark in marked]


def jvp_of(
    derive: Derive, c: Compose, graph: Graph, operands: Sequence[Value], tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    """The results of a call and their tangents."""
    derived = derive.jvp(graph, tuple(t is not None for t in tangents))
    results = call(c, derived.graph, [*operands, *(t for t in tangents if t is not None)])
    count = len(graph.outputs)
    return results[:count], scatter(results[count:], derived.active)


def linearise_of(
    derive: Derive, c: Compose, graph: Graph, operands: Sequence[Value], tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    """The same as two calls: one that does not depend on the tangents, and one that is linear in them."""
    derived = derive.linearise(graph, tuple(t is not None for t in tangents))
    return in_two_calls(c, derived, operands, lambda: [t for t in tangents if t is not None], len(graph.outputs))


def in_two_calls(
    c: Compose,
    derived: LinearisedGraph,
    operands: Sequence[Value],
    tangents: Callable[[], Sequence[Value]],
    count: int,
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    """The call that does not depend on the tangents comes first."""
    results = call(c, derived.forward, operands)
    if not any(derived.active):
        return results[:count], [None] * count
    residuals = [operands[i] if where == "input" else results[i] for where, i in derived.residuals]
    return results[:count], scatter(call(c, derived.linear, [*residuals, *tangents()]), derived.active)


def transpose_of(
    derive: Derive,
    c: Compose,
    graph: Graph,
    operands: Sequence[Value],
    linear: Sequence[bool],
    cotangents: Sequence[Tangent],
) -> Sequence[Tangent]:
    """Cotangents of the operands a call is linear in."""
    derived = derive.transpose(graph, tuple(linear), tuple(ct is not None for ct in cotangents))
    fixed = [v for v, is_linear in zip(operands, linear, strict=True) if not is_linear]
    results: Sequence[Value] = ()
    if any(derived.active):
        results = call(c, derived.graph, [*fixed, *(ct for ct in cotangents if ct is not None)])
    of_linear = iter(scatter(results, derived.active))
    return [next(of_linear) if is_linear else None for is_linear in linear]


def _graph(node: Node) -> Graph:
    assert isinstance(node.attrs, CallAttrs)
    return node.attrs.graph


_call = Region(
    lambda derive, c, node, tangents: jvp_of(derive, c, _graph(node), node.operands, tangents),
    lambda derive, c, node, tangents: linearise_of(derive, c, _graph(node), node.operands, tangents),
    lambda derive, c, node, linear, cts: transpose_of(derive, c, _graph(node), node.operands, linear, cts),
)

ROWS: dict[Op, Row] = {
    ops.call: _call,
    ops.fusion: NoDerivative("fused kernels come after differentiation"),
}
