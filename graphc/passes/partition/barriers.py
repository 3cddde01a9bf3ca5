"""Barriers: what is computed a second time waits until it is needed.

A barrier says that its first operand is read again only when the others are there. It is a view while kernels are made,
so that a kernel which computes something again is not the kernel that computed it first; what it waits for says nothing
about kernels and is put aside. When the kernels are there it becomes a wish of the order, where it makes no cycle. Then
barriers have done their work and go.
"""

from collections.abc import Iterable, Mapping, Sequence

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.custom import barrier
from graphc.graph.prune import prune
from graphc.passes.partition.assemble import topological

Waits = Mapping[Value, tuple[Value, ...]]  # by result of a barrier: what it waits for


def put_aside(graph: Graph) -> tuple[Graph, Waits]:
    """Barriers of one operand, and what each waits for; the same object when there are none.

    What only barriers waited for is dead then and goes: who waited for it waits for what it would have been made of.
    """
    waits = {node.result: node.operands[1:] for node in graph.nodes if node.op is barrier}
    if not waits:
        return graph, waits
    nodes = tuple(
        Node(node.op, node.operands[:1], node.attrs, node.results, node.loc) if node.op is barrier else node
        for node in graph.nodes
    )
    live = prune(Graph(graph.name, graph.inputs, nodes, graph.outputs, graph.aliases))
    return live, {v: _alive(graph, live, values) for v, values in waits.items() if v in live.producers}


def _alive(graph: Graph, live: Graph, values: Iterable[Value]) -> tuple[Value, ...]:
    """These values; in place of a dead one what it was made of."""
    found: dict[Value, None] = {}
    stack, seen = list(values)[::-1], set(values)
    while stack:
        value = stack.pop()
        node = graph.producers.get(value)
        if node is None or value in live.producers:
            found[value] = None
            continue
        stack += [v for v in node.operands if v not in seen]
        seen.update(node.operands)
    return tuple(found)


def put_back(fused: Graph, graph: Graph, groups: Sequence[Sequence[Node]], waits: Waits) -> Graph:
    """The fused graph whose barriers wait for kernels: those of `graph` that make, or lead to, what they wait for."""
    if not waits:
        return fused
    return _PutBack(fused, graph, groups, waits).run()


@dataclass(slots=True)
class _PutBack:
    fused: Graph
    graph: Graph
    groups: Sequence[Sequence[Node]]
    waits: Waits

    def run(self) -> Graph:
        group_of = {node: core for core in self.groups for node in core}
        made = {
            id(core): next((v for node in core for v in node.results if v in self.fused.producers), None)
            for core in self.groups
        }
        waiting: dict[tuple[Value, ...], list[Node]] = {}  # barriers by what they wait for
        for node in self.fused.nodes:
            if node.op is barrier:
                waiting.setdefault(self.waits[node.result], []).append(node)
        users = {value: list(nodes) for value, nodes in self.fused.users.items()}
        waited: dict[Node, list[Value]] = {}
        for values, nodes in waiting.items():
            found = dict.fromkeys(v for value in values for v in self._kernels(value, group_of, made))
            reached = _reached(nodes, users)
            wanted = [v for v in found if self.fused.producers[v] not in reached]
            for value in wanted:
                users.setdefault(value, []).extend(nodes)
            waited.update(dict.fromkeys(nodes, wanted))
        ordered = topological(
            [
                Node(n.op, (*n.operands, *waited[n]), n.attrs, n.results, n.loc) if n in waited else n
                for n in self.fused.nodes
            ]
        )
        return Graph(self.fused.name, self.fused.inputs, tuple(ordered), self.fused.outputs, self.fused.aliases)

    def _kernels(
        self, value: Value, group_of: Mapping[Node, Sequence[Node]], made: Mapping[int, Value | None]
    ) -> list[Value]:
        """Results of the kernels nearest before `value`."""
        found: list[Value] = []
        stack, seen = [value], {value}
        while stack:
            current = stack.pop()
            node = self.graph.producers.get(current)
            if node is None:
                continue
            core = group_of.get(node)
            result = made[id(core)] if core is not None else None
            if result is None and current in self.fused.producers and node.op.kind == "structural":
                result = current
            if result is not None:
                found.append(result)
                continue
            stack += [v for v in node.operands if v not in seen]
            seen.update(node.operands)
        return found


def _reached(nodes: Sequence[Node], users: Mapping[Value, Sequence[Node]]) -> set[Node]:
    """Nodes and all that need them."""
    found = set(nodes)
    stack = list(nodes)
    while stack:
        for value in stack.pop().results:
            for user in users.get(value, ()):
                if user not in found:
                    found.add(user)
                    stack.append(user)
    return found


def without_barriers(graph: Graph) -> Graph:
    """The first operand in place of each barrier, in the same order; the same object when there are none."""
    if all(node.op is not barrier for node in graph.nodes):
        return graph
    known: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op is barrier:
            known[node.result] = known.get(node.operands[0], node.operands[0])
            continue
        operands = tuple(known.get(v, v) for v in node.operands)
        nodes.append(node if operands == node.operands else Node(node.op, operands, node.attrs, node.results, node.loc))
    outputs = tuple(known.get(v, v) for v in graph.outputs)
    return Graph(graph.name, graph.inputs, tuple(nodes), outputs, graph.aliases)
