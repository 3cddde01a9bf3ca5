"""The rewrite engine: rules replace a node by something smaller, until none applies.

A rule is a row: an equation, as a pattern and a replacement. Rules are directional, look at a node and what produces
its operands, and never grow the graph (the engine checks that a rule adds no more nodes than it matched, constants
aside, and that those go away). A rule whose results may differ in their bits says `changes_floats`; `rewrite` skips it
unless asked.

What comes in keeps its inputs, the order of its outputs and its aliases; nodes that nothing uses any more are dropped.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from graphc.core.dtypes import holds_floats
from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose, Scalar
from graphc.graph.ir import Attrs, Graph, Node, Op, TensorType, Value, graphs_of
from graphc.graph.layout import one_number
from graphc.graph.ops import elementwise, movement, source
from graphc.graph.prune import live_nodes

MAX_SWEEPS = 200  # far more than any graph needs: a sweep sees the results of its own rewrites

# max and min are not here: of 0.0 and -0.0 they may return either
COMMUTATIVE = frozenset({getattr(elementwise, name) for name in ("add", "mul", "and_", "or_", "xor", "eq", "ne")})
_REARRANGE = (movement.broadcast, movement.reshape, movement.transpose, movement.slice_, movement.reverse)


class Context:
    """The graph as rewritten so far: who produces a value, which values are constant, and a builder for more."""

    def __init__(self, graph: Graph) -> None:
        self.builder = GraphBuilder(graph.name)
        self.builder.inputs += graph.inputs
        self._producer: dict[Value, Node] = {}
        self._seen = 0
        self._uniform: dict[Value, np.ndarray | None] = {}
        self._constant: set[Value] = set()
        self._uses = Counter(v for node in graph.nodes for v in set(node.operands)) + Counter(graph.outputs)

    def is_shared(self, value: Value) -> bool:
        """Whether more than one node or output reads the value."""
        return self._uses[value] > 1

    def producer(self, value: Value) -> Node | None:
        """The node that defines a value; None for an input."""
        for node in self.builder.nodes[self._seen :]:
            self._producer.update(dict.fromkeys(node.results, node))
            moves = node.op in _REARRANGE or node.op in (source.constant, source.iota)
            if moves and self._constant.issuperset(node.operands):
                self._constant.update(node.results)
        self._seen = len(self.builder.nodes)
        return self._producer.get(value)

    def made_by(self, value: Value, op: Op) -> Node | None:
        """The producer of a value if it is an `op`."""
        node = self.producer(value)
        return node if node is not None and node.op is op else None

    def is_constant(self, value: Value) -> bool:
        """Whether the value is a constant or one rearranged."""
        self.producer(value)
        return value in self._constant

    def uniform(self, value: Value) -> np.ndarray | None:
        """The one number every element of a constant has, as a 0-d array; None when there is no such number."""
        chain: list[Value] = []
        found: np.ndarray | None = None
        while value not in self._uniform:
            chain.append(value)
            node = self.producer(value)
            if node is None or node.op not in (*_REARRANGE, source.constant):
                break
            if node.op is source.constant:
                assert isinstance(node.attrs, source.ConstantAttrs)
                found = one_number(node.attrs.value)
                break
            value = node.operands[0]
        else:
            found = self._uniform[value]
        self._uniform.update(dict.fromkeys(chain, found))
        return found

    def compose(self, node: Node) -> Compose:
        """A composer at a node's line."""
        return Compose(self.builder, node.loc)


# ---------------------------------------------------------------------------------------------------- patterns


@dataclass(frozen=True, slots=True)
class Var:
    """Any value; the same name is the same value. `of`: only results of one of these ops."""

    name: str
    of: tuple[Op, ...] = ()


@dataclass(frozen=True, slots=True)
class Lit:
    """A constant whose elements are all this number, to the bit: -0.0 is not 0.0."""

    number: Scalar


@dataclass(frozen=True, slots=True)
class Apply:
    """An op without attributes applied to patterns; operands of commutative ops match in either order."""

    op: Op
    operands: "tuple[Pattern, ...]"

    @property
    def nodes(self) -> int:
        return 1 + sum(p.nodes for p in self.operands if isinstance(p, Apply))


Pattern = Var | Lit | Apply
_INNER = "result of an inner node "  # key under which bindings keep what they matched besides variables
Bindings = Mapping[str, Value]


def op(of: Op) -> Callable[..., Apply]:
    """Writes patterns: `mul = op(elementwise.mul)`, then `mul(x, Lit(1))`."""
    return lambda *operands: Apply(of, operands)


def matches(pattern: Pattern, value: Value, context: Context, bound: Bindings) -> Iterator[Bindings]:
    """Every way to match."""
    match pattern:
        case Var(name, of):
            producer = context.producer(value) if of else None
            fits = not of or (producer is not None and producer.op in of)
            if fits and bound.get(name, value) is value:
                yield {**bound, name: value}
        case Lit(number):
            if _is_number(context.uniform(value), number):
                yield bound
        case Apply(of_op, _):
            node = context.made_by(value, of_op)
            if node is not None:
                yield from match_node(pattern, node, context, {**bound, f"{_INNER}{len(bound)}": value})


def match_node(pattern: Apply, node: Node, context: Context, bound: Bindings) -> Iterator[Bindings]:
    """Every way to match a node whose op is the pattern's."""
    orders = [node.operands]
    if node.op in COMMUTATIVE:
        orders.append(node.operands[::-1])
    for order in orders:
        yield from _match_all(pattern.operands, order, context, bound)


def _match_all(
    patterns: Sequence[Pattern], values: Sequence[Value], context: Context, bound: Bindings
) -> Iterator[Bindings]:
    if not patterns:
        yield bound
        return
    for found in matches(patterns[0], values[0], context, bound):
        yield from _match_all(patterns[1:], values[1:], context, found)


def _is_number(found: np.ndarray | None, number: Scalar) -> bool:
    if found is None:
        return False
    if not holds_floats(found):
        wanted = (isinstance(number, bool) or number in (0, 1)) if found.dtype.kind == "b" else number == int(number)
        return wanted and found.item() == number
    return float(found) == number and bool(np.signbit(found)) == bool(np.signbit(np.float64(number)))


# ------------------------------------------------------------------------------------------------------- rules


@dataclass(frozen=True, slots=True)
class Rule:
    """`left = right` for nodes whose first operand has one of `kinds` (dtype kinds; empty: all)."""

    left: Apply
    right: Pattern
    kinds: tuple[str, ...] = ()
    changes_floats: bool = False
    may_grow: bool = False  # the replacement may be larger, and matched nodes may have other users and stay

    @property
    def ops(self) -> tuple[Op, ...]:
        return (self.left.op,)

    @property
    def budget(self) -> int:
        right = self.right.nodes if isinstance(self.right, Apply) else 0
        return right if self.may_grow else self.left.nodes

    def apply(self, context: Context, node: Node) -> Value | None:
        if self.kinds and node.operands[0].dtype.kind not in self.kinds:
            return None
        for bound in match_node(self.left, node, context, {}):
            if not self.may_grow and self._grows(context, bound):
                continue
            return build(self.right, context.compose(node), bound, node.result.type, node.operands[0].type)
        return None

    def _grows(self, context: Context, bound: Bindings) -> bool:
        if not isinstance(self.right, Apply) or self.right.nodes == 1:
            return False
        return any(context.is_shared(value) for name, value in bound.items() if name.startswith(_INNER))


def build(pattern: Pattern, c: Compose, bound: Bindings, type: TensorType, inner: TensorType) -> Value:
    """The nodes of a replacement; numbers get `type` at the top and `inner` further down."""
    match pattern:
        case Var(name, _):
            return bound[name]
        case Lit(number):
            return c.full(type, number)
        case Apply(of, operands):
            return c(of, *(build(p, c, bound, inner, inner) for p in operands))


@dataclass(frozen=True, slots=True)
class NodeRule:
    """A rule written as a function of the node: its replacement, or None. `budget`: nodes it may add."""

    ops: tuple[Op, ...]
    apply: Callable[[Context, Node], Value | None]
    budget: int = 1
    changes_floats: bool = False


AnyRule = Rule | NodeRule


def rewrite(graph: Graph, rules: Sequence[AnyRule], change_floats: bool = False) -> Graph:
    """Apply rules to `graph` and its regions until none applies; the same object when none did."""
    table: dict[Op, list[AnyRule]] = {}
    for rule in rules:
        if change_floats or not rule.changes_floats:
            for root in rule.ops:
                table.setdefault(root, []).append(rule)
    return with_regions(graph, lambda g: _until_stable(g, table))


def _until_stable(graph: Graph, table: Mapping[Op, Sequence[AnyRule]]) -> Graph:
    for _ in range(MAX_SWEEPS):
        swept = _sweep(graph, table)
        if swept is graph:
            return graph
        graph = swept
    raise AssertionError(f"rewriting {graph.name} does not end: some rules undo each other")


def _sweep(graph: Graph, table: Mapping[Op, Sequence[AnyRule]]) -> Graph:
    """One pass over the nodes in order, each with its operands already replaced."""
    context = Context(graph)
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        if any(v in replaced for v in node.operands):
            node = Node(node.op, tuple(replaced.get(v, v) for v in node.operands), node.attrs, node.results, node.loc)
        for rule in table.get(node.op, ()):
            before = len(context.builder.nodes)
            value = rule.apply(context, node)
            if value is None:
                assert len(context.builder.nodes) == before, "a rule that does not apply adds nothing"
                continue
            added = [n for n in context.builder.nodes[before:] if not context.is_constant(n.results[0])]
            assert len(added) <= rule.budget, f"a rule for {node.op.name} grows the graph"
            assert value.type == node.result.type, f"a rule for {node.op.name} changes the type"
            replaced[node.result] = value
            break
        else:
            context.builder.nodes.append(node)
    if not replaced:
        return graph
    outputs = tuple(replaced.get(v, v) for v in graph.outputs)
    return Graph(graph.name, graph.inputs, live_nodes(context.builder.nodes, outputs), outputs, graph.aliases)


# ----------------------------------------------------------------------------------------------------- regions


def with_regions(graph: Graph, run: Callable[[Graph], Graph], memo: dict[Graph, Graph] | None = None) -> Graph:
    """`run` on every region, inner ones first, then on the graph; equal regions are done once and stay shared."""
    known: dict[Graph, Graph] = {} if memo is None else memo
    nodes = tuple(node_with_regions(node, run, known) for node in graph.nodes)
    if any(new is not old for new, old in zip(nodes, graph.nodes, strict=True)):
        graph = Graph(graph.name, graph.inputs, nodes, graph.outputs, graph.aliases)
    return run(graph)


def node_with_regions(node: Node, run: Callable[[Graph], Graph], memo: dict[Graph, Graph]) -> Node:
    """The node with `run` done on its regions; the same object when nothing changed."""
    if node.op.kind != "structural":
        return node
    changed: dict[str, object] = {}
    for f in fields(node.attrs):
        value = getattr(node.attrs, f.name)
        if not graphs_of(value):
            continue
        after = tuple(_region(region, run, memo) for region in graphs_of(value))
        if any(new is not old for new, old in zip(after, graphs_of(value), strict=True)):
            changed[f.name] = after if isinstance(value, tuple) else after[0]
    if not changed:
        return node
    attrs: Attrs = replace(node.attrs, **changed)
    return Node(node.op, node.operands, attrs, node.results, node.loc)


def _region(region: Graph, run: Callable[[Graph], Graph], memo: dict[Graph, Graph]) -> Graph:
    """The region after `run`; the same object when nothing changed."""
    if region not in memo:
        memo[region] = with_regions(region, run, memo)
    return region if memo[region] == region else memo[region]
