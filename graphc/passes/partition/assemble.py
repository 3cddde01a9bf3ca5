"""From groups of nodes to a graph of `fusion` nodes.

In: a graph, the role of each node, and groups of core nodes. Out: the graph with one `fusion` node per group, whose
body holds its core nodes and copies of the free nodes they read, between the views and constants left bare.
"""

from collections.abc import Collection, Mapping, Sequence

from graphc.core.errors import VerifyError
from graphc.core.source import UNKNOWN, Loc
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.indexing import SCATTER_NAMES
from graphc.graph.ops.sorting import SORTING_NAMES
from graphc.graph.ops.structural import FusionAttrs, fusion
from graphc.passes.partition.roles import Role


def body_nodes(
    graph: Graph,
    role: Mapping[Node, Role],
    core: Sequence[Node],
    position: Mapping[Node, int],
    recomputed: Collection[Node] = frozenset(),
) -> list[Node]:
    """Core nodes and the free nodes they read, in order; nodes `recomputed` by every reader count as free."""
    found = set(core)
    stack = list(core)
    while stack:
        for value in stack.pop().operands:
            producer = graph.producers.get(value)
            if producer is None or producer in found:
                continue
            if role[producer] == "free" or producer in recomputed:
                found.add(producer)
                stack.append(producer)
    return sorted(found, key=position.__getitem__)


def outside(nodes: Sequence[Node]) -> tuple[Value, ...]:
    """Values nodes read and do not make, in order of first use."""
    made = {value for node in nodes for value in node.results}
    return tuple(dict.fromkeys(v for node in nodes for v in node.operands if v not in made))


def fuse(nodes: Sequence[Node], outputs: Sequence[Value], kind: str) -> Node:
    """One `fusion` node that computes `outputs`."""
    inputs = outside(nodes)
    builder = GraphBuilder(kind)
    mapping = {value: builder.input(value.type, value.name) for value in inputs}
    for node in nodes:
        builder.copy(node, mapping)
    body = builder.build([mapping[value] for value in outputs])
    return Node(fusion, inputs, FusionAttrs(body, kind), tuple(outputs), _line(nodes, outputs))


def _line(nodes: Sequence[Node], outputs: Sequence[Value]) -> Loc:
    """The user's line of the last output that has one."""
    for node in reversed(nodes):
        if node.loc is not UNKNOWN and any(v in outputs for v in node.results):
            return node.loc
    return UNKNOWN


def used_outside(
    graph: Graph, role: Mapping[Node, Role], core: set[Node], recomputed: Collection[Node] = frozenset()
) -> list[Value]:
    """Values of core nodes that something else reads: other groups, bare nodes, the caller.

    Of nodes others recompute, what they are made of is read instead.
    """
    found: list[Value] = []
    for node in core:
        for value in node.results if node not in recomputed else ():
            if value in graph.returned or _read_elsewhere(graph, role, core, value, recomputed):
                found.append(value)
    return found


def _read_elsewhere(
    graph: Graph, role: Mapping[Node, Role], core: set[Node], value: Value, recomputed: Collection[Node]
) -> bool:
    stack = [value]
    seen: set[Value] = set()
    while stack:
        for user in graph.users.get(stack.pop(), ()):
            if user in core and user not in recomputed:
                continue
            if user not in core and role[user] != "free":
                return True
            if user.result not in seen:
                seen.add(user.result)
                stack.append(user.result)
    return False


def kind_of(nodes: Sequence[Node]) -> str:
    """What a group is, for people."""
    ops = {node.op.name for node in nodes}
    if "dot_general" in ops:
        return "contraction"
    if not SCATTER_NAMES.isdisjoint(ops):
        return "scatter"
    if not SORTING_NAMES.isdisjoint(ops):
        return "sort"
    if any(node.op.kind == "cumulative" for node in nodes):
        return "cumulative"
    if any(node.op.kind == "linalg" for node in nodes):
        return "linalg"
    return "reduction" if any(node.op.kind == "reduction" for node in nodes) else "map"


def needed_for(nodes: Sequence[Node], results: Sequence[Value]) -> list[Node]:
    """The nodes results are made of, in order."""
    wanted = set(results)
    kept: list[Node] = []
    for node in reversed(nodes):
        if any(value in wanted for value in node.results):
            kept.append(node)
            wanted.update(node.operands)
    return kept[::-1]


def assemble(
    graph: Graph,
    role: Mapping[Node, Role],
    groups: Sequence[Sequence[Node]],
    recomputed: Collection[Node] = frozenset(),
) -> Graph:
    """The graph of fusions, each placed as early as its operands allow, otherwise in the order of its last node."""
    position = {node: i for i, node in enumerate(graph.nodes)}
    pending: list[tuple[int, Node]] = []
    for core in groups:
        written = used_outside(graph, role, set(core), recomputed)
        if not written:
            continue  # every reader computes it for itself
        results = sorted(written, key=lambda v: position[graph.producers[v]])
        nodes = needed_for(body_nodes(graph, role, core, position, recomputed), results)
        pending.append((max(position[n] for n in core), fuse(nodes, results, kind_of(nodes))))
    pending += [(position[node], node) for node in graph.nodes if role[node] in ("view", "bare")]
    pending.sort(key=lambda item: item[0])
    ordered = topological([node for _, node in pending])
    return Graph(graph.name, graph.inputs, tuple(ordered), graph.outputs, graph.aliases)


def topological(nodes: Sequence[Node]) -> list[Node]:
    """Operands first, otherwise the order given. The nodes must not form a cycle."""
    producers = {value: node for node in nodes for value in node.results}
    done: set[Node] = set()
    entered: set[Node] = set()
    order: list[Node] = []
    for root in nodes:
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [p for v in node.operands if (p := producers.get(v)) is not None and p not in done]
            if node in done or not missing:
                stack.pop()
                if node not in done:
                    done.add(node)
                    order.append(node)
                continue
            if node in entered:
                raise VerifyError(f"{node.op.name} ({node.loc}) needs its own result: the groups form a cycle")
            entered.add(node)
            stack += missing
    return order
