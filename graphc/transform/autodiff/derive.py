"""Derived graphs: jvp, linearisation and transpose of a whole graph, memoised by structure.

Tangents and cotangents that are zero by structure have no place in these graphs; the functions in `api` put zeros where
a caller expects every one.
"""

from collections.abc import Sequence

from graphc.core.errors import GradientError
from graphc.core.source import Loc
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, Node
from graphc.graph.prune import dependents, prune
from graphc.transform.autodiff.affine import check_sums
from graphc.transform.autodiff.backward import pull_back
from graphc.transform.autodiff.divide import linearised
from graphc.transform.autodiff.forward import Forward, push_forward
from graphc.transform.autodiff.rows import JvpGraph, LinearisedGraph, Tangent, TransposedGraph
from graphc.transform.autodiff.separate import is_zero, separated

Flags = tuple[bool, ...]


class Deriver:
    """Makes derived graphs for one transformation; `role` is what its nodes are to the user's line."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._jvps: dict[tuple[Graph, Flags], JvpGraph] = {}
        self._linearised: dict[tuple[Graph, Flags], LinearisedGraph] = {}
        self._divided: dict[tuple[Graph, int], LinearisedGraph] = {}
        self._transposed: dict[tuple[Graph, Flags, Flags], TransposedGraph] = {}

    def forward(self, graph: Graph, active: Flags, split: bool) -> Forward:
        return push_forward(graph, active, self, self.role, split)

    def jvp(self, graph: Graph, active: Flags) -> JvpGraph:
        key = (graph, active)
        if key not in self._jvps:
            found = self.forward(graph, active, split=False)
            tangents = [t for t in found.tangents if t is not None]
            outputs = (*found.outputs, *tangents)
            derived = Graph(f"{graph.name}.jvp", found.inputs + found.tangent_inputs, found.nodes, outputs)
            self._jvps[key] = JvpGraph(prune(derived), tuple(t is not None for t in found.tangents))
        return self._jvps[key]

    def linearise(self, graph: Graph, active: Flags) -> LinearisedGraph:
        key = (graph, active)
        if key not in self._linearised:
            self._linearised[key] = linearised(graph.name, self.forward(graph, active, split=True))
        return self._linearised[key]

    def divide(self, rule: Graph, primals: int, loc: Loc) -> LinearisedGraph:
        if (rule, primals) not in self._divided:
            self._divided[rule, primals] = linearised(rule.name, _of_rule(rule, primals, loc))
        return self._divided[rule, primals]

    def transpose(self, graph: Graph, linear: Flags, cotangents: Flags) -> TransposedGraph:
        key = (graph, linear, cotangents)
        if key not in self._transposed:
            self._transposed[key] = self._transpose(graph, linear, cotangents)
        return self._transposed[key]

    def transpose_rule(self, rule: Graph, residuals: int) -> TransposedGraph:
        linear = tuple(position >= residuals for position in range(len(rule.inputs)))
        check_sums(rule, linear, rule.outputs)
        return self.transpose(rule, linear, (True,) * len(rule.outputs))

    def _transpose(self, given: Graph, linear: Flags, cotangents: Flags) -> TransposedGraph:
        graph = separated(given, [v for v, is_linear in zip(given.inputs, linear, strict=True) if is_linear])
        unknowns = [v for v, is_linear in zip(graph.inputs, linear, strict=True) if is_linear]
        depends = dependents(graph.nodes, unknowns)
        builder = GraphBuilder(f"{graph.name}.transpose")
        builder.inputs += [v for v, is_linear in zip(graph.inputs, linear, strict=True) if not is_linear]
        builder.nodes += [node for node in graph.nodes if depends.isdisjoint(node.operands)]
        marked = [v for v, has in zip(graph.outputs, cotangents, strict=True) if has]
        seeds = [(v, builder.input(v.type)) for v in marked]
        nodes = [node for node in graph.nodes if not depends.isdisjoint(node.operands)]
        found = pull_back(builder, nodes, depends, [s for s in seeds if s[0] in depends], self, self.role)
        outputs = [found[v] for v in unknowns if v in found]
        return TransposedGraph(prune(builder.build(outputs)), tuple(v in found for v in unknowns))


def _of_rule(rule: Graph, primals: int, loc: Loc) -> Forward:
    """A rule for tangents as the walk would have left it."""
    opened = separated(rule, rule.inputs[primals:])
    count = 0
    while count + sum(v.dtype.is_inexact for v in opened.outputs[:count]) < len(opened.outputs):
        count += 1
    outputs, given = opened.outputs[:count], iter(opened.outputs[count:])
    depends = dependents(opened.nodes, opened.inputs[primals:])
    tangents: list[Tangent] = []
    for value in outputs:
        tangent = next(given) if value.dtype.is_inexact else None
        if value in depends:
            raise GradientError(f"custom_jvp: a result of the rule of {rule.name} depends on the tangents ({loc})")
        if tangent is not None and tangent not in depends and not is_zero(opened, tangent):
            raise GradientError(
                f"custom_jvp: a tangent that the rule of {rule.name} gives is not linear in the tangents ({loc})"
            )
        tangents.append(tangent if tangent in depends else None)
    check_sums(rule, [position >= primals for position in range(len(rule.inputs))], rule.outputs[count:])
    return Forward(
        opened.inputs[:primals],
        opened.inputs[primals:],
        opened.nodes,
        frozenset(),
        frozenset(),
        outputs,
        tuple(tangents),
    )


def order_late(first: Sequence[Node], others: Sequence[Node], last: Sequence[Node]) -> tuple[Node, ...]:
    """`first`, then `last`, with the nodes of `others` they need just before their first user.

    Derivative coefficients are emitted beside the forward pass; computed late, they do not live across it.
    """
    order = list(first)
    done = set(order)
    producer = {v: node for node in (*others, *last) for v in node.results}
    for root in last:
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [producer[v] for v in node.operands if v in producer and producer[v] not in done]
            if missing:
                stack += reversed(missing)
                continue
            stack.pop()
            if node not in done:
                done.add(node)
                order.append(node)
    return tuple(order)
