"""The forward walk: the primal nodes of a graph, and beside them the nodes that push tangents through it.

With `split`, every node either does not depend on tangents or is linear in them (calls are divided in two), so what
depends on the tangent inputs is the linearised function and the rest is the primal one with its residuals.
"""

from collections.abc import Iterable, Sequence

from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN, Loc
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.transform.autodiff.rows import Derive, Jvp, Linear, Partials, Region, Tangent, zeros_for
from graphc.transform.autodiff.table import row_of


@dataclass(frozen=True, slots=True)
class Forward:
    """What the walk leaves: fresh primal and tangent inputs, all nodes in order, outputs and their tangents.

    `primal` holds the nodes that compute what the original graph computes; `constant` the values that depend on no
    input.
    """

    inputs: tuple[Value, ...]
    tangent_inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    primal: frozenset[Node]
    constant: frozenset[Value]
    outputs: tuple[Value, ...]
    tangents: tuple[Tangent, ...]


def located(loc: Loc, role: str) -> Loc:
    """The location in a role; nothing is known about an unknown one."""
    return loc if loc.line == UNKNOWN.line and loc.file == UNKNOWN.file else loc.with_role(role)


def push_forward(graph: Graph, active: Sequence[bool], derive: Derive, role: str, split: bool) -> Forward:
    """Walk `graph` with tangents for the inputs marked in `active`."""
    builder = GraphBuilder(graph.name)
    value_of = {v: builder.input(v.type, v.name) for v in graph.inputs}
    inputs = tuple(builder.inputs)
    tangent_of: dict[Value, Value] = {}
    for value, is_active in zip(inputs, active, strict=True):
        if is_active:
            tangent_of[value] = builder.input(value.type, f"d{value.name}" if value.name else "")
    constant: set[Value] = set()
    primal: set[Node] = set()

    for original in graph.nodes:
        tangents = [tangent_of.get(value_of[v]) for v in original.operands]
        if all(t is None for t in tangents) or not any(v.dtype.is_inexact for v in original.results):
            builder.copy(original, value_of)
            node = builder.nodes[-1]
            primal.add(node)
            if all(v in constant for v in node.operands):
                constant.update(node.results)
            continue
        row = row_of(original)
        c = Compose(builder, located(original.loc, role))
        if isinstance(row, Region):
            operands = tuple(value_of[v] for v in original.operands)
            here = Node(original.op, operands, original.attrs, original.results, original.loc)
            rule = row.linearise if split else row.jvp
            before = len(builder.nodes)
            results, result_tangents = rule(derive, Compose(builder, original.loc), here, tangents)
            primal.update(builder.nodes[before : before + 1])  # the call itself comes first
            value_of.update(zip(original.results, results, strict=True))
        else:
            builder.copy(original, value_of)
            node = builder.nodes[-1]
            primal.add(node)
            results = node.results
            result_tangents = _tangents(c, node, tangents, constant)
        for result, tangent in zip(results, result_tangents, strict=True):
            if tangent is not None and result.dtype.is_inexact:
                tangent_of[result] = tangent

    outputs = tuple(value_of[v] for v in graph.outputs)
    return Forward(
        inputs,
        tuple(builder.inputs[len(inputs) :]),
        tuple(builder.nodes),
        frozenset(primal),
        frozenset(constant),
        outputs,
        tuple(tangent_of.get(v) for v in outputs),
    )


def _tangents(c: Compose, node: Node, tangents: Sequence[Tangent], constant: set[Value]) -> Sequence[Tangent]:
    row = row_of(node)
    if isinstance(row, Jvp):
        return row.rule(c, node, tangents, constant.__contains__)
    if isinstance(row, Partials):
        rules = zip(row.rules, tangents, strict=True)
        terms = [rule(c, t, node.result, *node.operands) for rule, t in rules if rule is not None and t is not None]
        return (_sum(c, terms),)
    if isinstance(row, Linear):
        return (_linear(c, row, node, tangents),)
    return (None,) * len(node.results)


def _linear(c: Compose, row: Linear, node: Node, tangents: Sequence[Tangent]) -> Tangent:
    if row.jvp is not None:
        return row.jvp(c, node, tangents)
    if row.apart:
        return _sum(c, [_one_operand(c, row, node, i, t) for i, t in enumerate(tangents) if t is not None])
    pairs = zip(node.operands, tangents, strict=True)
    return c(node.op, *(zeros_for(c, t, x) if x.dtype.is_inexact else x for x, t in pairs), attrs=node.attrs)


def _one_operand(c: Compose, row: Linear, node: Node, i: int, tangent: Value) -> Value:
    if row.fixed is not None and i in row.fixed:
        return row.fixed[i](c, tangent, node.result, *node.operands)
    operands = list(node.operands)
    operands[i] = tangent
    return c(node.op, *operands, attrs=node.attrs)


def _sum(c: Compose, terms: Iterable[Value]) -> Tangent:
    """The sum from the left; None for no terms."""
    total: Tangent = None
    for term in terms:
        total = term if total is None else c.add(total, term)
    return total
