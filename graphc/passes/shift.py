"""Shift the exponents of a softmax: exp(a) with a sum over it becomes exp(a - max(a)), wherever nothing can tell.

Multiply exp(a) by a factor k per row, and everything computed from it is multiplied by a power of k: its *degree*. Sums
and broadcasts along the row keep the degree, products add degrees, quotients subtract them. When every path from exp(a)
ends in a value of degree 0 (a quotient: softmax) or in a logarithm (which gains degree * log k), the factor may be
anything, and k = exp(-max(a)) makes overflow impossible. One walk covers softmax, logsumexp, their gradients of any
order, and whatever is written in between. Where some path ends otherwise, nothing is changed.
"""

from collections.abc import Callable
from dataclasses import field

from graphc.core.records import dataclass
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import contraction, elementwise, movement, reduction
from graphc.graph.ops.contraction import DotAttrs, free_dims
from graphc.passes.rewrite import Context


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A value that grows by k^degree; row dim i of the factor is dim rows[i] of the value."""

    degree: int
    rows: tuple[int, ...]


@dataclass(slots=True)
class _Shift:
    """exp node, the axes of its sum, and the logarithms that need correcting."""

    node: Node
    axes: tuple[int, ...]
    logs: dict[Node, _Scaled] = field(default_factory=dict)


class _NotInvariant(Exception):
    """Some path tells the factor apart."""


def shift(graph: Graph) -> Graph:
    """Shift every exponential that can be and needs to be; the same object when there is none."""
    context = Context(graph)
    context.builder.nodes += graph.nodes
    shifts = {node: found for node in graph.nodes if (found := _shift_of(graph, node, context)) is not None}
    if not shifts:
        return graph
    logs: dict[Node, list[tuple[_Shift, _Scaled]]] = {}
    for found in shifts.values():
        for node, scaled in found.logs.items():
            logs.setdefault(node, []).append((found, scaled))
    out = Context(Graph(graph.name, graph.inputs, (), ()))
    value_of: dict[Value, Value] = {v: v for v in graph.inputs}
    largest: dict[Node, Value] = {}
    for node in graph.nodes:
        c = out.compose(node)
        if node in shifts:
            operand = value_of[node.operands[0]]
            top = _finite_max(c, operand, shifts[node].axes)
            largest[node] = top
            lowered = c.sub(operand, c.broadcast_over(top, operand.shape, shifts[node].axes))
            value_of[node.result] = c(elementwise.exp, lowered)
            continue
        out.builder.copy(node, value_of)
        for found, scaled in logs.get(node, ()):
            value_of[node.result] = _corrected(c, value_of[node.result], largest[found.node], scaled)
    outputs = tuple(value_of[v] for v in graph.outputs)
    return Graph(graph.name, graph.inputs, tuple(out.builder.nodes), outputs, graph.aliases)


def _finite_max(c: Compose, x: Value, axes: tuple[int, ...]) -> Value:
    """max over axes; 0 where it is infinite, so that x - max is not NaN."""
    top = c.reduce_max(x, axes)
    return c.select(c(elementwise.is_finite, top), top, c.zeros(top.type))


def _corrected(c: Compose, log: Value, top: Value, scaled: _Scaled) -> Value:
    """log(v) of the shifted v plus degree * max = log of the unshifted v."""
    rows = c.reshape(top, tuple(e for e in top.shape if e != 1))
    if scaled.degree != 1:
        rows = c.scale(rows, scaled.degree)
    return c.add(log, c.broadcast(rows, log.shape, scaled.rows))


def _shift_of(graph: Graph, node: Node, context: Context) -> _Shift | None:
    if node.op is not elementwise.exp or _is_bounded(node.operands[0], context):
        return None
    sums = [user for user in graph.users.get(node.result, ()) if user.op is reduction.reduce_sum]
    if not sums:
        return None
    attrs = sums[0].attrs
    assert isinstance(attrs, movement.AxesAttrs)
    if not attrs.axes or node.result.type.size == 0:
        return None
    found = _Shift(node, attrs.axes)
    rows = tuple(d for d, e in enumerate(node.result.shape) if d not in attrs.axes and e != 1)
    try:
        _walk(graph, found, _Scaled(1, rows), context)
    except _NotInvariant:
        return None
    return found


def _is_bounded(value: Value, context: Context) -> bool:
    """Whether a value is known not to be large: x - max(x) in any guise, or minus something that is not negative."""
    node = context.producer(value)
    if node is None:
        return False
    if node.op is elementwise.sub:
        return _comes_from_max(node.operands[1], node.operands[0], context)
    if node.op is not elementwise.neg:
        return False
    inner = context.producer(node.operands[0])
    if inner is None:
        return False
    is_square = inner.op is elementwise.mul and inner.operands[0] is inner.operands[1]
    return is_square or inner.op in (elementwise.abs_, elementwise.exp, elementwise.sqrt, elementwise.sigmoid)


def _comes_from_max(value: Value, of: Value, context: Context) -> bool:
    node = context.producer(value)
    while node is not None and (node.op.kind == "movement" or node.op is elementwise.select):
        node = context.producer(node.operands[1 if node.op is elementwise.select else 0])
    return node is not None and node.op is reduction.reduce_max and node.operands[0] is of


def _walk(graph: Graph, found: _Shift, start: _Scaled, context: Context) -> None:
    """Follow the factor through the graph; raises `_NotInvariant` when it shows."""
    scaled: dict[Value, _Scaled] = {found.node.result: start}
    for node in graph.nodes:
        if not any(v in scaled for v in node.operands):
            continue
        if node.op is elementwise.log:
            rows = scaled[node.operands[0]].rows
            if list(rows) != sorted(rows):
                raise _NotInvariant
            found.logs[node] = scaled[node.operands[0]]
            continue
        rule = _RULES.get(node.op)
        if rule is None:
            raise _NotInvariant
        result = rule(node, [scaled.get(v) for v in node.operands], context)
        if result.degree != 0:
            scaled[node.result] = result
    if not scaled.keys().isdisjoint(graph.outputs):
        raise _NotInvariant


# How the factor passes an op: (node, operands' factors, context) -> the result's factor.
_Factors = list[_Scaled | None]


def _same(node: Node, factors: _Factors, context: Context) -> _Scaled:
    """All scaled operands alike; other floats zero, which has every degree (the condition of select is no float)."""
    known = [f for f in factors if f is not None]
    if any(f != known[0] for f in known):
        raise _NotInvariant
    for value, factor in zip(node.operands, factors, strict=True):
        if factor is None and value.dtype.is_float and not _is_zero(value, context):
            raise _NotInvariant
    return known[0]


def _is_zero(value: Value, context: Context) -> bool:
    number = context.uniform(value)
    return number is not None and number.item() == 0


def _product(sign: int) -> Callable[[Node, _Factors, Context], _Scaled]:
    def rule(node: Node, factors: _Factors, context: Context) -> _Scaled:
        first, second = factors
        if first is not None and second is not None:
            if first.rows != second.rows:
                raise _NotInvariant
            return _Scaled(first.degree + sign * second.degree, first.rows)
        if first is not None:
            return first
        assert second is not None
        return _Scaled(sign * second.degree, second.rows)

    return rule


def _broadcast(node: Node, factors: _Factors, context: Context) -> _Scaled:
    assert isinstance(node.attrs, movement.BroadcastAttrs)
    (factor,) = factors
    assert factor is not None
    return _Scaled(factor.degree, tuple(node.attrs.dims[d] for d in factor.rows))


def _transpose(node: Node, factors: _Factors, context: Context) -> _Scaled:
    assert isinstance(node.attrs, movement.TransposeAttrs)
    (factor,) = factors
    assert factor is not None
    return _Scaled(factor.degree, tuple(node.attrs.permutation.index(d) for d in factor.rows))


def _reshape(node: Node, factors: _Factors, context: Context) -> _Scaled:
    (factor,), (value,) = factors, node.operands
    assert factor is not None
    before = [d for d, e in enumerate(value.shape) if e != 1]
    after = [d for d, e in enumerate(node.result.shape) if e != 1]
    if [value.shape[d] for d in before] != [node.result.shape[d] for d in after]:
        raise _NotInvariant
    return _Scaled(factor.degree, tuple(after[before.index(d)] for d in factor.rows))


def _reduce(node: Node, factors: _Factors, context: Context) -> _Scaled:
    assert isinstance(node.attrs, movement.AxesAttrs)
    (factor,) = factors
    assert factor is not None
    kept = [d for d in range(node.operands[0].type.rank) if d not in node.attrs.axes]
    if any(d not in kept for d in factor.rows):
        raise _NotInvariant
    return _Scaled(factor.degree, tuple(kept.index(d) for d in factor.rows))


def _dot(node: Node, factors: _Factors, context: Context) -> _Scaled:
    """An unnormalised average, (exp(a) @ v) / sum: rows must be free or batch dims of one operand."""
    attrs, (lhs, rhs) = node.attrs, node.operands
    assert isinstance(attrs, DotAttrs)
    left, right = factors
    if left is not None and right is not None:
        raise _NotInvariant
    batch = len(attrs.lhs_batch)
    lhs_free = free_dims(lhs.type.rank, attrs.lhs_contract, attrs.lhs_batch)
    rhs_free = free_dims(rhs.type.rank, attrs.rhs_contract, attrs.rhs_batch)
    if left is not None:
        factor, place = left, {d: i for i, d in enumerate((*attrs.lhs_batch, *lhs_free))}
    else:
        assert right is not None
        factor, place = right, {d: i for i, d in enumerate(attrs.rhs_batch)}
        place |= {d: batch + len(lhs_free) + i for i, d in enumerate(rhs_free)}
    if any(d not in place for d in factor.rows):
        raise _NotInvariant
    return _Scaled(factor.degree, tuple(place[d] for d in factor.rows))


_RULES: dict[Op, Callable[[Node, _Factors, Context], _Scaled]] = {
    elementwise.neg: _same,
    elementwise.abs_: _same,
    elementwise.add: _same,
    elementwise.sub: _same,
    elementwise.max_: _same,
    elementwise.min_: _same,
    elementwise.select: _same,
    elementwise.mul: _product(1),
    elementwise.div: _product(-1),
    movement.broadcast: _broadcast,
    movement.transpose: _transpose,
    movement.reshape: _reshape,
    reduction.reduce_sum: _reduce,
    reduction.reduce_max: _reduce,
    reduction.reduce_min: _reduce,
    contraction.dot_general: _dot,
}
