"""Linearising loops: a loop that computes what it did and stacks the residuals, and a scan of the linear body.

What follows from captures alone is computed once and not stacked.
"""

from collections.abc import Callable, Sequence

from graphc.core.errors import GradientError
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops import control as ops
from graphc.graph.ops.control import BELOW_UPPER, ScanAttrs, WhileAttrs
from graphc.graph.prune import dependents, live_nodes
from graphc.transform.autodiff.loops import Loop, settled
from graphc.transform.autodiff.marked import filled, given, inputs_like, scatter
from graphc.transform.autodiff.rows import Derive, LinearisedGraph, Tangent


def linearise(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    needs_bound(node)
    loop = Loop.of(node)
    t_captures, t_carries, t_xs = loop.split(tangents)
    derived, of_carries = settled(derive.linearise, loop, tangents)
    carries = len(loop.carries)
    residuals = Residuals(loop, derived)
    results = residuals.forward(c)
    shown = residuals.shown(results)
    if not any(derived.active) and not (any(of_carries) and _may_make_none(node)):
        return shown, [None] * len(shown)
    inits = filled(c, t_carries, of_carries, loop.carries)
    inner = loop.body_parts[1]

    def complete(inside: Compose, made: Sequence[Value]) -> list[Value]:
        found = scatter(made, derived.active)
        return [*filled(inside, found[:carries], of_carries, inner), *given(found[carries:])]

    pushed = residuals.push(c, results, derived.linear, (given(t_captures), inits, given(t_xs)), complete)
    split = sum(of_carries)
    of_ys = derived.active[carries:]
    tangents_out = [*scatter(pushed[:split], of_carries), *scatter(pushed[split:], of_ys)]
    return shown, [*tangents_out, *(None for _ in range(residuals.rest))]


def needs_bound(node: Node) -> None:
    """Raise for a loop of which nobody knows how much to keep."""
    if not isinstance(node.attrs, WhileAttrs) or node.attrs.bound is not None:
        return
    if node.attrs.cond.name.startswith(BELOW_UPPER):
        raise GradientError(
            "fori_loop: reverse mode and linearize need to know how much to keep, and here a limit is only known when "
            "the program runs: give limits that are Python ints, or write gc.while_loop(..., bound=), whose bound is "
            f"the most iterations ({node.loc})"
        )
    raise GradientError(
        "while_loop: reverse mode and linearize need to know how much to keep: declare bound=, the most iterations; "
        f"of a fori_loop, limits that are known while tracing ({node.loc})"
    )


def _may_make_none(node: Node) -> bool:
    """Whether there may be no iteration, so that a carry is what it was in front of the loop."""
    return not isinstance(node.attrs, ScanAttrs) or node.attrs.counted or node.attrs.length == 0


def _scan_like(node: Node, body: Graph, captures: int, carries: int) -> ScanAttrs:
    """A scan over as many rows as a loop has, in its direction."""
    attrs = node.attrs
    if isinstance(attrs, ScanAttrs):
        return ScanAttrs(body, captures, carries, attrs.length, attrs.reverse, attrs.counted)
    assert isinstance(attrs, WhileAttrs) and attrs.bound is not None
    return ScanAttrs(body, captures, carries, attrs.bound, reverse=False, counted=True)


class Residuals:
    """Where the linear body finds its residuals.

    `places_fixed`, `places_stacked`: the numbers of those that are the same in all iterations, and of those of which
    each has its own.
    """

    def __init__(self, loop: Loop, derived: LinearisedGraph) -> None:
        self.loop = loop
        self.graph = derived.forward
        self.rest = len(loop.node.results) - len(loop.body.outputs)
        self.invariant = _invariant(derived.forward, len(loop.captures))
        values = [self.graph.inputs[k] if where == "input" else self.graph.outputs[k] for where, k in derived.residuals]
        self.values = values
        self.places_fixed = [k for k, v in enumerate(values) if v in self.invariant]
        self.places_stacked = [k for k, v in enumerate(values) if v not in self.invariant]
        rows = {v: i for i, v in enumerate(self.graph.inputs) if i >= len(loop.captures) + len(loop.carries)}
        self.xs = {v: loop.xs[i - len(loop.captures) - len(loop.carries)] for v, i in rows.items()}
        given = self.graph.outputs[: len(loop.body.outputs)]
        self.ys = {v: k for k, v in reversed(list(enumerate(given))) if k >= len(loop.carries)}
        needed = dict.fromkeys(values[k] for k in self.places_stacked)
        self.more = [v for v in needed if v not in self.xs and v not in self.ys]

    def forward(self, c: Compose) -> tuple[Value, ...]:
        """Add the loop that also stacks what is needed; its results, the stacked ones behind the ys."""
        outputs = (*self.graph.outputs[: len(self.loop.body.outputs)], *self.more)
        body = Graph(self.graph.name, self.graph.inputs, self.graph.nodes, outputs)
        attrs = self.loop.attrs_for(body, len(self.loop.captures), len(self.loop.carries))
        return c.builder.add(self.loop.node.op, self.loop.node.operands, attrs, c.loc)

    def shown(self, results: Sequence[Value]) -> list[Value]:
        """What the loop gave before it was told to stack."""
        return [*results[: len(self.loop.body.outputs)], *results[len(results) - self.rest :]]

    def push(
        self,
        c: Compose,
        results: Sequence[Value],
        linear: Graph,
        tangents: tuple[Sequence[Value], Sequence[Value], Sequence[Value]],
        complete: Callable[[Compose, Sequence[Value]], Sequence[Value]],
    ) -> tuple[Value, ...]:
        """Add the scan of the linear body: `tangents` of captures, first carries and xs -> those of carries and ys, as
        `complete` makes them of what `linear` gives.
        """
        captures, carries, xs = tangents
        fixed, stacked = self._found(c, results)
        count = len(self.values)
        first, second = count + len(captures), count + len(captures) + len(carries)
        builder = GraphBuilder(linear.name)
        r_fixed = inputs_like(builder, [linear.inputs[k] for k in self.places_fixed])
        d_captures = inputs_like(builder, linear.inputs[count:first])
        d_carries = inputs_like(builder, linear.inputs[first:second])
        r_rows = inputs_like(builder, [linear.inputs[k] for k in self.places_stacked])
        d_xs = inputs_like(builder, linear.inputs[second:])
        by_place = dict(zip(self.places_fixed, r_fixed, strict=True))
        by_place |= dict(zip(self.places_stacked, r_rows, strict=True))
        ordered = [by_place[k] for k in range(count)]
        made = builder.inline(linear, [*ordered, *d_captures, *d_carries, *d_xs])
        body = builder.build(complete(Compose(builder, c.loc), made))
        attrs = _scan_like(self.loop.node, body, len(fixed) + len(captures), len(carries))
        counts = self.loop.count if isinstance(self.loop.node.attrs, ScanAttrs) else (results[-1],)
        return c.builder.add(ops.scan, [*counts, *fixed, *captures, *carries, *stacked, *xs], attrs, c.loc)

    def _found(self, c: Compose, results: Sequence[Value]) -> tuple[list[Value], list[Value]]:
        """The residuals that are the same in all iterations, computed here, and the stacked ones."""
        behind = len(self.loop.body.outputs)
        stacked = {v: results[behind + k] for k, v in enumerate(self.more)}
        stacked |= {v: results[k] for v, k in self.ys.items()} | self.xs
        here: dict[Value, Value] = dict(zip(self.graph.inputs, self.loop.captures, strict=False))
        wanted = [self.values[k] for k in self.places_fixed]
        for node in live_nodes(self.graph.nodes, wanted):
            c.builder.copy(node, here)
        return [here[v] for v in wanted], [stacked[self.values[k]] for k in self.places_stacked]


def _invariant(graph: Graph, captures: int) -> set[Value]:
    """What follows from captures alone."""
    varying = dependents(graph.nodes, graph.inputs[captures:])
    return {v for v in (*graph.inputs, *(r for node in graph.nodes for r in node.results)) if v not in varying}
