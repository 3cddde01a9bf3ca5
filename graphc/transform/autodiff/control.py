"""Derivative rows of loops and branches. The derivative of a loop is a loop of the derivative.

- The jvp of a loop carries the tangents beside the values; which carries have one is found by repeating until nothing
  is added.
- A loop is linearised into a loop that computes what it did and stacks the residuals, and a scan of the linear body.
  What follows from captures alone is computed once and not stacked.
- A scan of a linear body is transposed into a scan in the opposite direction. Cotangents of captures are added up in a
  carry, in the order in which it runs.
- Of a branch, the branches are derived. Residuals are united: those of one type share a place, and are zeros where a
  branch has none.
"""

from collections.abc import Sequence

from graphc.core.errors import GradientError
from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, TensorType, Value
from graphc.graph.ops import control as ops
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs, parts_of_scan
from graphc.graph.prune import dependents, live_nodes
from graphc.transform.autodiff.rows import Derive, LinearisedGraph, Region, Row, Tangent, zeros_for

Flags = tuple[bool, ...]


def _marks(tangents: Sequence[Tangent]) -> Flags:
    return tuple(t is not None for t in tangents)


def _only(values: Sequence[Value], marked: Sequence[bool]) -> list[Value]:
    return [value for value, mark in zip(values, marked, strict=True) if mark]


def _given(tangents: Sequence[Tangent]) -> list[Value]:
    return [t for t in tangents if t is not None]


def _scatter(values: Sequence[Value], marked: Sequence[bool]) -> list[Tangent]:
    rest = iter(values)
    return [next(rest) if mark else None for mark in marked]


def _inputs(builder: GraphBuilder, values: Sequence[Value]) -> list[Value]:
    return [builder.input(value.type, value.name) for value in values]


def _filled(c: Compose, values: Sequence[Tangent], wanted: Sequence[bool], like: Sequence[Value]) -> list[Value]:
    """The values at wanted places, zeros where there is none."""
    return [zeros_for(c, v, x) for v, mark, x in zip(values, wanted, like, strict=True) if mark]


@dataclass(frozen=True, slots=True)
class _Loop:
    """What a scan and a while have in common. `count`: the operand that says how many rows there are, if any does."""

    node: Node
    body: Graph
    count: tuple[Value, ...]
    captures: tuple[Value, ...]
    carries: tuple[Value, ...]
    xs: tuple[Value, ...]

    @staticmethod
    def of(node: Node) -> "_Loop":
        attrs = node.attrs
        if isinstance(attrs, ScanAttrs):
            return _Loop(node, attrs.body, *parts_of_scan(node, attrs))
        assert isinstance(attrs, WhileAttrs)
        split = attrs.num_captures
        return _Loop(node, attrs.body, (), node.operands[:split], node.operands[split:], ())

    def split(self, values: Sequence[Tangent]) -> tuple[Sequence[Tangent], Sequence[Tangent], Sequence[Tangent]]:
        """One value per operand: those of captures, carries, xs."""
        first = len(self.count) + len(self.captures)
        second = first + len(self.carries)
        return values[len(self.count) : first], values[first:second], values[second:]

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
        inputs = _inputs(builder, body.inputs)
        own = [*inputs[: len(self.captures)], *inputs[captures : captures + len(self.carries)]]
        return WhileAttrs(builder.build(builder.inline(attrs.cond, own)), body, captures, attrs.bound)


# -------------------------------------------------------------------------------------------------------- forward mode


def _jvp(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    loop = _Loop.of(node)
    t_captures, t_carries, t_xs = loop.split(tangents)
    of_captures, of_carries, of_xs = _marks(t_captures), _marks(t_carries), _marks(t_xs)
    carries = len(loop.carries)
    while True:
        derived = derive.jvp(loop.body, of_captures + of_carries + of_xs)
        more = tuple(a or b for a, b in zip(of_carries, derived.active[:carries], strict=True))
        if more == of_carries:
            break
        of_carries = more
    builder = GraphBuilder(derived.graph.name)
    captures, inner, xs = loop.body_parts
    p_captures, d_captures = _inputs(builder, captures), _inputs(builder, _only(captures, of_captures))
    p_carries, d_carries = _inputs(builder, inner), _inputs(builder, _only(inner, of_carries))
    p_xs, d_xs = _inputs(builder, xs), _inputs(builder, _only(xs, of_xs))
    made = builder.inline(derived.graph, [*p_captures, *p_carries, *p_xs, *d_captures, *d_carries, *d_xs])
    count = len(loop.body.outputs)
    found = _scatter(made[count:], derived.active)
    inside = Compose(builder, c.loc)
    of_ys = derived.active[carries:]
    body = builder.build(
        [
            *made[:carries],
            *_filled(inside, found[:carries], of_carries, made[:carries]),
            *made[carries:count],
            *_given(found[carries:]),
        ]
    )
    attrs = loop.attrs_for(body, len(captures) + sum(of_captures), carries + sum(of_carries))
    operands = [*loop.count, *loop.captures, *_given(t_captures), *loop.carries]
    operands += [*_filled(c, t_carries, of_carries, loop.carries), *loop.xs, *_given(t_xs)]
    results = c.builder.add(node.op, operands, attrs, c.loc)
    first = carries + sum(of_carries)
    second = first + loop.num_ys
    third = second + sum(of_ys)
    tangents_out = [*_scatter(results[carries:first], of_carries), *_scatter(results[second:third], of_ys)]
    rest = results[third:]  # the number of iterations
    return [*results[:carries], *results[first:second], *rest], [*tangents_out, *(None for _ in rest)]


# -------------------------------------------------------------------------------------------------------- linearising


def _linearise(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    if isinstance(node.attrs, WhileAttrs) and node.attrs.bound is None:
        raise GradientError(
            f"while_loop: reverse mode needs to know how much to keep: declare bound=, the most iterations ({node.loc})"
        )
    loop = _Loop.of(node)
    t_captures, t_carries, t_xs = loop.split(tangents)
    of_captures, of_carries, of_xs = _marks(t_captures), _marks(t_carries), _marks(t_xs)
    carries = len(loop.carries)
    while True:
        derived = derive.linearise(loop.body, of_captures + of_carries + of_xs)
        more = tuple(a or b for a, b in zip(of_carries, derived.active[:carries], strict=True))
        if more == of_carries:
            break
        of_carries = more
    residuals = _Residuals(loop, derived)
    results = residuals.forward(c)
    shown = [*results[: carries + loop.num_ys], *results[len(results) - residuals.rest :]]
    if not any(derived.active):
        return shown, [None] * len(shown)
    fixed, stacked = residuals.found(c, results)

    builder = GraphBuilder(derived.linear.name)
    captures, inner, xs = loop.body_parts
    rows = [derived.linear.inputs[k] for k in residuals.places_stacked]
    once = [derived.linear.inputs[k] for k in residuals.places_fixed]
    r_fixed, d_captures = _inputs(builder, once), _inputs(builder, _only(captures, of_captures))
    d_carries = _inputs(builder, _only(inner, of_carries))
    r_rows, d_xs = _inputs(builder, rows), _inputs(builder, _only(xs, of_xs))
    by_place = dict(zip(residuals.places_fixed, r_fixed, strict=True))
    by_place |= dict(zip(residuals.places_stacked, r_rows, strict=True))
    ordered = [by_place[k] for k in range(len(by_place))]
    made = builder.inline(derived.linear, [*ordered, *d_captures, *d_carries, *d_xs])
    found = _scatter(made, derived.active)
    inside = Compose(builder, c.loc)
    body = builder.build([*_filled(inside, found[:carries], of_carries, inner), *_given(found[carries:])])
    attrs = _scan_like(node, body, len(fixed) + len(d_captures), sum(of_carries))
    counts = loop.count if isinstance(node.attrs, ScanAttrs) else (results[-1],)
    operands = [*counts, *fixed, *_given(t_captures), *_filled(c, t_carries, of_carries, loop.carries)]
    pushed = c.builder.add(ops.scan, [*operands, *stacked, *_given(t_xs)], attrs, c.loc)
    split = sum(of_carries)
    of_ys = derived.active[carries:]
    tangents_out = [*_scatter(pushed[:split], of_carries), *_scatter(pushed[split:], of_ys)]
    return shown, [*tangents_out, *(None for _ in range(residuals.rest))]


def _scan_like(node: Node, body: Graph, captures: int, carries: int) -> ScanAttrs:
    """A scan over as many rows as a loop has, in its direction."""
    attrs = node.attrs
    if isinstance(attrs, ScanAttrs):
        return ScanAttrs(body, captures, carries, attrs.length, attrs.reverse, attrs.counted)
    assert isinstance(attrs, WhileAttrs) and attrs.bound is not None
    return ScanAttrs(body, captures, carries, attrs.bound, reverse=False, counted=True)


class _Residuals:
    """Where the linear body finds its residuals.

    `places_fixed`, `places_stacked`: the numbers of those that are the same in all iterations, and of those of which
    each has its own.
    """

    def __init__(self, loop: _Loop, derived: LinearisedGraph) -> None:
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

    def found(self, c: Compose, results: Sequence[Value]) -> tuple[list[Value], list[Value]]:
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


# --------------------------------------------------------------------------------------------------------- transposing


def _transpose(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    attrs = node.attrs
    if not isinstance(attrs, ScanAttrs):
        raise GradientError(f"{node.op.name}: is linear in nothing, so it cannot be transposed ({node.loc})")
    loop = _Loop.of(node)
    first, second = len(loop.captures), len(loop.captures) + len(loop.carries)
    flags = list(linear[attrs.first :])
    # A carry of zeros that no tangent reaches is a tangent too, of which nothing is asked; what a rule made that is no
    # tangent is found below, where it meets one in a product, or here, where it is no number that has a derivative.
    carried = _linear_carries(loop, flags)
    flags[first:second] = [known or v.dtype.is_float for known, v in zip(carried, loop.carries, strict=True)]
    if not all(flags[k] for k in range(first, second)):
        raise GradientError(
            f"scan: a derivative rule put a carry that is not linear beside those that are ({node.loc})"
        )
    carries = len(loop.carries)
    ct_carries, ct_ys = cotangents[:carries], cotangents[carries:]
    of_carries = _marks(ct_carries)
    while True:
        derived = derive.transpose(loop.body, tuple(flags), of_carries + _marks(ct_ys))
        of_inputs = _spread(derived.active, flags)
        more = tuple(a or b for a, b in zip(of_carries, of_inputs[first:second], strict=True))
        if more == of_carries:
            break
        of_carries = more

    builder = GraphBuilder(derived.graph.name)
    captures, inner, xs = loop.body_parts
    fixed = [not flag for flag in flags]
    sums = _only(captures, of_inputs[:first])
    b_captures = _inputs(builder, _only(captures, fixed[:first]))
    b_carries, b_sums = _inputs(builder, _only(inner, of_carries)), _inputs(builder, sums)
    b_xs = _inputs(builder, _only(xs, fixed[second:]))
    b_ys = _inputs(builder, _only(loop.body.outputs[carries:], _marks(ct_ys)))
    made = builder.inline(derived.graph, [*b_captures, *b_xs, *b_carries, *b_ys])
    found = _scatter(made, of_inputs)
    inside = Compose(builder, c.loc)
    new_sums = [inside.add(total, part) for total, part in zip(b_sums, _given(found[:first]), strict=True)]
    new_carries = _filled(inside, found[first:second], of_carries, inner)
    body = builder.build([*new_carries, *new_sums, *_given(found[second:])])
    turned = ScanAttrs(
        body, len(b_captures), len(b_carries) + len(b_sums), attrs.length, not attrs.reverse, attrs.counted
    )
    operands = [*loop.count, *_only(loop.captures, fixed[:first])]
    operands += _filled(c, ct_carries, of_carries, loop.carries)
    operands += [c.zeros(v.type) for v in _only(loop.captures, of_inputs[:first])]
    operands += [*_only(loop.xs, fixed[second:]), *_given(ct_ys)]
    results = c.builder.add(ops.scan, operands, turned, c.loc)
    one, two = len(b_carries), len(b_carries) + len(b_sums)
    of_captures = _scatter(results[one:two], of_inputs[:first])
    back = [*of_captures, *_scatter(results[:one], of_carries), *_scatter(results[two:], of_inputs[second:])]
    return [None] * attrs.first + [v if flag else None for v, flag in zip(back, linear[attrs.first :], strict=True)]


def _linear_carries(loop: _Loop, flags: Sequence[bool]) -> list[bool]:
    """The carries that are linear: those whose first value is, or that become it."""
    first, second = len(loop.captures), len(loop.captures) + len(loop.carries)
    known = list(flags)
    while True:
        depends = dependents(loop.body.nodes, _only(loop.body.inputs, known))
        found = [known[first + k] or v in depends for k, v in enumerate(loop.body.outputs[: second - first])]
        if found == known[first:second]:
            return found
        known[first:second] = found


def _spread(active: Sequence[bool], flags: Sequence[bool]) -> list[bool]:
    """One mark per linear input as one per input."""
    rest = iter(active)
    return [flag and next(rest) for flag in flags]


# ------------------------------------------------------------------------------------------------------------ branches


def _branch(c: Compose, index: Value, graphs: Sequence[Graph], operands: Sequence[Value]) -> tuple[Value, ...]:
    return c.builder.add(ops.branch, [index, *operands], BranchAttrs(tuple(graphs)), c.loc)


def _united(marks: Sequence[Flags]) -> Flags:
    return tuple(any(column) for column in zip(*marks, strict=True))


def _completed(graph: Graph, active: Flags, wanted: Flags, first: int, like: Sequence[TensorType], c: Compose) -> Graph:
    """The graph with outputs from number `first` on, which are there where `active`, wherever `wanted`: else zeros."""
    if active == wanted:
        return graph
    builder = GraphBuilder(graph.name)
    made = builder.inline(graph, _inputs(builder, graph.inputs))
    inside = Compose(builder, c.loc)
    found = _scatter(made[first:], active)
    more = [
        inside.zeros(type) if value is None else value
        for value, mark, type in zip(found, wanted, like, strict=True)
        if mark
    ]
    return builder.build([*made[:first], *more])


def _branch_jvp(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    assert isinstance(node.attrs, BranchAttrs)
    derived = [derive.jvp(graph, _marks(tangents[1:])) for graph in node.attrs.branches]
    active = _united([each.active for each in derived])
    count = len(node.results)
    types = [value.type for value in node.results]
    graphs = [_completed(each.graph, each.active, active, count, types, c) for each in derived]
    results = _branch(c, node.operands[0], graphs, [*node.operands[1:], *_given(tangents)])
    return results[:count], _scatter(results[count:], active)


def _branch_linearise(
    derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]
) -> tuple[Sequence[Value], Sequence[Tangent]]:
    assert isinstance(node.attrs, BranchAttrs)
    derived = [derive.linearise(graph, _marks(tangents[1:])) for graph in node.attrs.branches]
    active = _united([each.active for each in derived])
    count = len(node.results)
    kept = _Kept(count)
    places = [kept.places(each) for each in derived]
    forwards = [kept.forward(each, where, c) for each, where in zip(derived, places, strict=True)]
    results = _branch(c, node.operands[0], forwards, node.operands[1:])
    if not any(active):
        return results[:count], [None] * count
    sources: dict[tuple[str, int], Value] = {}  # what some linear branch reads
    for each in places:
        for where, k in each:
            sources[where, k] = node.operands[1 + k] if where == "input" else results[k]
    graphs = [
        _linear_branch(each, where, sources, _given(tangents), active, node, c)
        for each, where in zip(derived, places, strict=True)
    ]
    pushed = _branch(c, node.operands[0], graphs, [*sources.values(), *_given(tangents)])
    return results[:count], _scatter(pushed, active)


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
        made = builder.inline(derived.forward, _inputs(builder, derived.forward.inputs))
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
    node: Node,
    c: Compose,
) -> Graph:
    """The linear part of one branch, which takes what all of them read."""
    builder = GraphBuilder(derived.linear.name)
    given = dict(zip(sources, _inputs(builder, list(sources.values())), strict=True))
    pushed = _inputs(builder, tangents)
    made = builder.inline(derived.linear, [*(given[place] for place in places), *pushed])
    linear = Graph(builder.name, tuple(builder.inputs), tuple(builder.nodes), tuple(made))
    return _completed(linear, derived.active, active, 0, [value.type for value in node.results], c)


def _branch_transpose(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    assert isinstance(node.attrs, BranchAttrs)
    flags = tuple(linear[1:])
    derived = [derive.transpose(graph, flags, _marks(cotangents)) for graph in node.attrs.branches]
    active = _united([each.active for each in derived])
    types = [value.type for value in _only(node.operands[1:], flags)]
    graphs = [_completed(each.graph, each.active, active, 0, types, c) for each in derived]
    results: Sequence[Value] = ()
    if any(active):
        fixed = _only(node.operands[1:], [not flag for flag in flags])
        results = _branch(c, node.operands[0], graphs, [*fixed, *_given(cotangents)])
    of_linear = iter(_scatter(results, active))
    return [None, *(next(of_linear) if flag else None for flag in flags)]


ROWS: dict[Op, Row] = {
    ops.scan: Region(_jvp, _linearise, _transpose),
    ops.while_: Region(_jvp, _linearise, _transpose),
    ops.branch: Region(_branch_jvp, _branch_linearise, _branch_transpose),
}
