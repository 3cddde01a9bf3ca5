"""Derivatives of loops: a loop of the derivative.

- The jvp of a loop carries the tangents beside the values; which carries have one is found by repeating until nothing
  is added.
- A scan of a linear body is transposed into a scan in the opposite direction. Cotangents of captures are added up in a
  carry, in the order in which it runs, or behind the loop (`loop_sums`).

`loop_residuals` has what is between the two: linearisation.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from graphc.core.errors import GradientError
from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops import control as ops
from graphc.graph.ops.control import ScanAttrs, WhileAttrs, parts_of_scan
from graphc.graph.prune import dependents
from graphc.transform.autodiff.loop_sums import LateSums, summed, without_calls
from graphc.transform.autodiff.marked import Flags, filled, given, inputs_like, marks, only, scatter
from graphc.transform.autodiff.rows import Derive, Tangent


@dataclass(frozen=True, slots=True)
class Loop:
    """What a scan and a while have in common. `count`: the operand that says how many rows there are, if any does."""

    node: Node
    body: Graph
    count: tuple[Value, ...]
    captures: tuple[Value, ...]
    carries: tuple[Value, ...]
    xs: tuple[Value, ...]

    @staticmethod
    def of(node: Node) -> "Loop":
        attrs = node.attrs
        if isinstance(attrs, ScanAttrs):
            return Loop(node, attrs.body, *parts_of_scan(node, attrs))
        assert isinstance(attrs, WhileAttrs)
        split = attrs.num_captures
        return Loop(node, attrs.body, (), node.operands[:split], node.operands[split:], ())

    def split(self, values: Sequence[Tangent]) -> tuple[Sequence[Tangent], Sequence[Tangent], Sequence[Tangent]]:
        """One value per operand: those of captures, carries, xs."""
        first = len(self.count) + len(self.captures)
        second = first + len(self.carries)
        return values[len(self.count) : first], values[first:second], values[second:]

    @property
    def parts(self) -> tuple[Sequence[Value], Sequence[Value], Sequence[Value]]:
        return self.captures, self.carries, self.xs

    def split_flags(self, flags: Flags) -> tuple[Flags, Flags, Flags]:
        """One flag per input of the body: those of captures, carries, xs."""
        first = len(self.captures)
        second = first + len(self.carries)
        return flags[:first], flags[first:second], flags[second:]

    @property
    def body_parts(self) -> tuple[Sequence[Value], Sequence[Value], Sequence[Value]]:
        first = len(self.captures)
        second = first + len(self.carries)
        return self.body.inputs[:first], self.body.inputs[first:second], self.body.inputs[second:]

    @property
    def num_ys(self) -> int:
        return len(self.body.outputs) - len(self.carries)

    def attrs_for(self, body: Graph, captures: int, carries: int) -> ScanAttrs | WhileAttrs:
        """The same loop around another body."""
        attrs = self.node.attrs
        if isinstance(attrs, ScanAttrs):
            return ScanAttrs(body, captures, carries, attrs.length, attrs.reverse, attrs.counted)
        assert isinstance(attrs, WhileAttrs)
        builder = GraphBuilder(attrs.cond.name)
        inputs = inputs_like(builder, body.inputs)
        own = [*inputs[: len(self.captures)], *inputs[captures : captures + len(self.carries)]]
        return WhileAttrs(builder.build(builder.inline(attrs.cond, own)), body, captures, attrs.bound)


class _OfBody(Protocol):
    @property
    def active(self) -> Flags: ...


_Derived = TypeVar("_Derived", bound=_OfBody)


def settled(
    derived: Callable[[Graph, Flags], _Derived], loop: Loop, tangents: Sequence[Tangent]
) -> tuple[_Derived, Flags]:
    """The derivative of the body, and which carries have tangents in some iteration."""
    of_captures, of_carries, of_xs = (marks(each) for each in loop.split(tangents))
    while True:
        found = derived(loop.body, of_captures + of_carries + of_xs)
        more = tuple(a or b for a, b in zip(of_carries, found.active[: len(of_carries)], strict=True))
        if more == of_carries:
            return found, of_carries
        of_carries = more


def jvp(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    loop = Loop.of(node)
    t_captures, t_carries, t_xs = loop.split(tangents)
    derived, of_carries = settled(derive.jvp, loop, tangents)
    of_captures, of_xs = marks(t_captures), marks(t_xs)
    carries = len(loop.carries)
    builder = GraphBuilder(derived.graph.name)
    captures, inner, xs = loop.body_parts
    p_captures, d_captures = inputs_like(builder, captures), inputs_like(builder, only(captures, of_captures))
    p_carries, d_carries = inputs_like(builder, inner), inputs_like(builder, only(inner, of_carries))
    p_xs, d_xs = inputs_like(builder, xs), inputs_like(builder, only(xs, of_xs))
    made = builder.inline(derived.graph, [*p_captures, *p_carries, *p_xs, *d_captures, *d_carries, *d_xs])
    count = len(loop.body.outputs)
    found = scatter(made[count:], derived.active)
    inside = Compose(builder, c.loc)
    of_ys = derived.active[carries:]
    body = builder.build(
        [
            *made[:carries],
            *filled(inside, found[:carries], of_carries, made[:carries]),
            *made[carries:count],
            *given(found[carries:]),
        ]
    )
    attrs = loop.attrs_for(body, len(captures) + sum(of_captures), carries + sum(of_carries))
    operands = [*loop.count, *loop.captures, *given(t_captures), *loop.carries]
    operands += [*filled(c, t_carries, of_carries, loop.carries), *loop.xs, *given(t_xs)]
    results = c.builder.add(node.op, operands, attrs, c.loc)
    first = carries + sum(of_carries)
    second = first + loop.num_ys
    third = second + sum(of_ys)
    tangents_out = [*scatter(results[carries:first], of_carries), *scatter(results[second:third], of_ys)]
    rest = results[third:]  # the number of iterations
    return [*results[:carries], *results[first:second], *rest], [*tangents_out, *(None for _ in rest)]


def transpose(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    attrs = node.attrs
    if not isinstance(attrs, ScanAttrs):
        raise GradientError(f"{node.op.name}: is linear in nothing, so it cannot be transposed ({node.loc})")
    loop = Loop.of(node)
    first, second = len(loop.captures), len(loop.captures) + len(loop.carries)
    flags = list(linear[attrs.first :])
    # A carry of zeros that no tangent reaches is a tangent too, of which nothing is asked; what a rule made that is no
    # tangent is found below, where it meets one in a product, or here, where it is no number that has a derivative.
    carried = _linear_carries(loop, flags)
    flags[first:second] = [known or v.dtype.is_inexact for known, v in zip(carried, loop.carries, strict=True)]
    if not all(flags[k] for k in range(first, second)):
        raise GradientError(
            f"scan: a derivative rule put a carry that is not linear beside those that are ({node.loc})"
        )
    carries = len(loop.carries)
    ct_carries, ct_ys = cotangents[:carries], cotangents[carries:]
    of_carries = marks(ct_carries)
    while True:
        derived = derive.transpose(loop.body, tuple(flags), of_carries + marks(ct_ys))
        of_inputs = _spread(derived.active, flags)
        more = tuple(a or b for a, b in zip(of_carries, of_inputs[first:second], strict=True))
        if more == of_carries:
            break
        of_carries = more

    builder = GraphBuilder(derived.graph.name)
    captures, inner, xs = loop.body_parts
    fixed = [not flag for flag in flags]
    sums = only(captures, of_inputs[:first])
    b_captures = inputs_like(builder, only(captures, fixed[:first]))
    b_carries, b_sums = inputs_like(builder, only(inner, of_carries)), inputs_like(builder, sums)
    b_xs = inputs_like(builder, only(xs, fixed[second:]))
    b_ys = inputs_like(builder, only(loop.body.outputs[carries:], marks(ct_ys)))
    graph = without_calls(derived.graph, derived.graph.outputs[: len(sums)])
    made = builder.inline(graph, [*b_captures, *b_xs, *b_carries, *b_ys])
    found = scatter(made, of_inputs)
    outer = {
        **dict(zip(b_xs, only(loop.xs, fixed[second:]), strict=True)),
        **dict(zip(b_ys, given(ct_ys), strict=True)),
    }
    late = _late_sums(builder, attrs, outer, b_carries)
    behind = [late.of(part) for part in given(found[:first])]
    inside = Compose(builder, c.loc)
    adding = [
        inside.add(total, part)
        for total, part, other in zip(b_sums, given(found[:first]), behind, strict=True)
        if other is None
    ]
    new_carries = filled(inside, found[first:second], of_carries, inner)
    kept = [total for total, other in zip(b_sums, behind, strict=True) if other is None]
    builder.inputs[:] = [v for v in builder.inputs if v not in b_sums or v in kept]
    body = builder.build([*new_carries, *adding, *given(found[second:]), *late.stacked])
    turned = ScanAttrs(
        body, len(b_captures), len(b_carries) + len(kept), attrs.length, not attrs.reverse, attrs.counted
    )
    operands = [*loop.count, *only(loop.captures, fixed[:first])]
    operands += filled(c, ct_carries, of_carries, loop.carries)
    operands += [c.zeros(v.type) for v in kept]
    operands += [*only(loop.xs, fixed[second:]), *given(ct_ys)]
    results = c.builder.add(ops.scan, operands, turned, c.loc)
    one, two = len(b_carries), len(b_carries) + len(kept)
    three = len(results) - len(late.stacked)
    outer |= dict(zip(late.stacked, results[three:], strict=True))
    carried_sums = iter(results[one:two])
    totals = [next(carried_sums) if each is None else summed(c, each, outer) for each in behind]
    of_captures = scatter(totals, of_inputs[:first])
    back = [*of_captures, *scatter(results[:one], of_carries), *scatter(results[two:three], of_inputs[second:])]
    return [None] * attrs.first + [v if flag else None for v, flag in zip(back, linear[attrs.first :], strict=True)]


def _late_sums(
    builder: GraphBuilder, attrs: ScanAttrs, outer: dict[Value, Value], carries: Sequence[Value]
) -> LateSums:
    """What of the body in the builder may be added up behind the loop: not more rows than the loop reads anyway. Rows
    that a counted loop does not make are in nobody's sum.
    """
    room = -1 if attrs.counted else sum(v.type.nbytes for v in outer.values())
    producers = {v: node for node in builder.nodes for v in node.results}
    return LateSums(outer, carries, attrs.length, room, {} if attrs.counted else producers)


def _linear_carries(loop: Loop, flags: Sequence[bool]) -> list[bool]:
    """The carries that are linear: those whose first value is, or that become it."""
    first, second = len(loop.captures), len(loop.captures) + len(loop.carries)
    known = list(flags)
    while True:
        depends = dependents(loop.body.nodes, only(loop.body.inputs, known))
        found = [known[first + k] or v in depends for k, v in enumerate(loop.body.outputs[: second - first])]
        if found == known[first:second]:
            return found
        known[first:second] = found


def _spread(active: Sequence[bool], flags: Sequence[bool]) -> list[bool]:
    """One mark per linear input as one per input."""
    rest = iter(active)
    return [flag and next(rest) for flag in flags]
