"""Derivative rows of the ops that hold graphs. The derivative of a call is a call of the derivative."""

from collections.abc import Sequence

from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import structural as ops
from graphc.graph.ops.structural import CallAttrs
from graphc.transform.autodiff.rows import Derive, NoDerivative, Region, Row, Tangent


def _call(c: Compose, graph: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
    return c.builder.add(ops.call, operands, CallAttrs(graph), c.loc)


def _scatter(values: Sequence[Value], marked: Sequence[bool]) -> list[Tangent]:
    """The values at the marked places, None at the others."""
    rest = iter(values)
    return [next(rest) if mark else None for mark in marked]


def _jvp(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    assert isinstance(node.attrs, CallAttrs)
    derived = derive.jvp(node.attrs.graph, tuple(t is not None for t in tangents))
    results = _call(c, derived.graph, [*node.operands, *(t for t in tangents if t is not None)])
    count = len(node.results)
    return results[:count], _scatter(results[count:], derived.active)


def _linearise(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    assert isinstance(node.attrs, CallAttrs)
    derived = derive.linearise(node.attrs.graph, tuple(t is not None for t in tangents))
    results = _call(c, derived.forward, node.operands)
    residuals = [node.operands[i] if where == "input" else results[i] for where, i in derived.residuals]
    count = len(node.results)
    if not any(derived.active):
        return results[:count], [None] * count
    outputs = _call(c, derived.linear, [*residuals, *(t for t in tangents if t is not None)])
    return results[:count], _scatter(outputs, derived.active)


def _transpose(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    assert isinstance(node.attrs, CallAttrs)
    derived = derive.transpose(node.attrs.graph, tuple(linear), tuple(ct is not None for ct in cotangents))
    fixed = [v for v, is_linear in zip(node.operands, linear, strict=True) if not is_linear]
    results: Sequence[Value] = ()
    if any(derived.active):
        results = _call(c, derived.graph, [*fixed, *(ct for ct in cotangents if ct is not None)])
    of_linear = iter(_scatter(results, derived.active))
    return [next(of_linear) if is_linear else None for is_linear in linear]


ROWS: dict[Op, Row] = {
    ops.call: Region(_jvp, _linearise, _transpose),
    ops.fusion: NoDerivative("fused kernels come after differentiation"),
}
