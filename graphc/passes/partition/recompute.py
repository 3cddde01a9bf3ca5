"""Store or recompute: values one kernel would write only for others to read, computed again where they are read.

In: the groups. Out: core nodes whose values are not written; each kernel that reads one holds a copy of the node, as it
does of free nodes. A value is dropped when it follows elementwise from values that lie in memory anyway, at a bounded
cost, and its readers need no more new bytes for it than it has itself. The activations' inner values that backward
passes ask for go this way: what is kept is the pre-activation. So do masks of dropout: random bits are a function of
their key, so what is kept is the key.
"""

from collections.abc import Collection, Mapping, Sequence

from graphc.graph.ir import Graph, Node, Value
from graphc.passes.partition.assemble import body_nodes, needed_for, outside, used_outside
from graphc.passes.partition.cost import RECOMPUTED, operations
from graphc.passes.partition.decisions import Decision, Log
from graphc.passes.partition.legal import is_legal
from graphc.passes.partition.roles import Role

COPIED = frozenset({"random_bits"})  # beside elementwise work: a pure function of key and position


def recomputed(
    graph: Graph,
    role: Mapping[Node, Role],
    groups: Sequence[Sequence[Node]],
    dropped: Collection[Node] = (),
    log: Log = None,
) -> frozenset[Node]:
    """The core nodes that every other kernel computes for itself, those `dropped` already among them."""
    return _Recompute(graph, role, groups, dropped, log).run()


class _Recompute:
    def __init__(
        self,
        graph: Graph,
        role: Mapping[Node, Role],
        groups: Sequence[Sequence[Node]],
        dropped: Collection[Node],
        log: Log,
    ) -> None:
        self.graph = graph
        self.role = role
        self.groups = groups
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.group_of = {node: i for i, core in enumerate(groups) for node in core}
        self.dropped: set[Node] = set(dropped)
        self.outputs = set(graph.outputs)
        self.log = log

    def run(self) -> frozenset[Node]:
        for core in self.groups:
            if len(core) > 1 and not self.dropped.issuperset(core):
                self._group(set(core))
        return frozenset(self.dropped)

    def _group(self, core: set[Node]) -> None:
        written = used_outside(self.graph, self.role, core, frozenset(self.dropped))
        for value in sorted(written, key=lambda v: self.position[self.graph.producers[v]]):
            node = self.graph.producers[value]
            if not _can_copy(node) or value in self.outputs:
                continue
            readers = self._readers(value, core)
            if readers is None:
                continue
            chain = self._chain(node, core, set(written), self._repeats(value, core))
            if chain is None:
                continue
            leaves = {v for n in chain for v in n.operands} - {v for n in chain for v in n.results}
            copied = chain & core
            legal = self._is_legal(copied, readers) and self._leaves_a_kernel(copied, core)
            worth = legal and self._is_worth(value, leaves, readers)
            if self.log is not None:
                price = sum(v.type.nbytes for v in leaves if not self._is_in_memory(v))
                why = "not kept" if worth else "not one kernel, or what it is made of would be kept"
                self.log.append(Decision("recompute", node, worth, value.type.nbytes, price, why))
            if worth:
                self.dropped |= copied

    def _readers(self, value: Value, core: set[Node]) -> set[int] | None:
        """The other groups that read a value; None when one needs it in memory."""
        found: set[int] = set()
        stack = [value]
        seen: set[Value] = set()
        while stack:
            current = stack.pop()
            for user in self.graph.users.get(current, ()):
                if user in core:
                    continue
                if user.op.kind in ("contraction", "index") or self.role[user] in ("view", "bare"):
                    return None
                if self.role[user] == "core" and user not in self.dropped:
                    found.add(self.group_of[user])
                elif user.result not in seen:
                    seen.add(user.result)
                    stack.append(user.result)
        return found

    def _repeats(self, value: Value, core: set[Node]) -> int:
        """How often a reader would compute each element: a number or a row is read in all its loops."""
        largest = value.type.size
        stack = [value]
        seen: set[Value] = set()
        while stack:
            for user in self.graph.users.get(stack.pop(), ()):
                if user in core or user.results[0] in seen:
                    continue
                seen.update(user.results)
                largest = max(largest, *(v.type.size for v in user.results))
                if self.role[user] == "free" or user in self.dropped:
                    stack += user.results
        return largest // max(value.type.size, 1)

    def _chain(self, node: Node, core: set[Node], written: set[Value], repeats: int) -> set[Node] | None:
        """The nodes to copy, down to values in memory; None when they cost too much or are no elementwise work."""
        chain: set[Node] = set()
        cost = 0
        stack = [node]
        while stack:
            current = stack.pop()
            if current in chain:
                continue
            is_free = self.role[current] == "free"
            if not is_free and (current not in core or not _can_copy(current)):
                return None
            chain.add(current)
            cost += 0 if is_free else operations(current)
            if cost * repeats > RECOMPUTED:
                return None
            for value in current.operands:
                producer = self.graph.producers.get(value)
                if producer is None or (value in written and producer not in self.dropped):
                    continue
                if self.role[producer] == "free" or producer in core or producer in self.dropped:
                    if producer in self.dropped and producer not in core:
                        return None  # copied from elsewhere itself: one step is enough
                    stack.append(producer)
        return chain

    def _is_worth(self, value: Value, leaves: set[Value], readers: set[int]) -> bool:
        """Whether no reader must keep more bytes alive than the value has."""
        always = {v for v in leaves if self._is_in_memory(v)}
        for number in readers:
            nodes = body_nodes(self.graph, self.role, self.groups[number], self.position, frozenset(self.dropped))
            known = set(outside(nodes)) - {value}
            if sum(v.type.nbytes for v in leaves - always - known) > value.type.nbytes:
                return False
        return True

    def _is_legal(self, chain: set[Node], readers: set[int]) -> bool:
        """Whether the readers are still one kernel each with the copies inside."""
        for number in readers:
            core = set(self.groups[number])
            nodes = body_nodes(self.graph, self.role, self.groups[number], self.position, self.dropped | chain)
            results = used_outside(self.graph, self.role, core, self.dropped)
            if not is_legal(Graph("candidate", outside(nodes), tuple(nodes), tuple(results)), core, alone=False):
                return False
        return True

    def _leaves_a_kernel(self, chain: set[Node], core: set[Node]) -> bool:
        """Whether what the group still writes is one kernel: the chain may be what held it together."""
        dropped = self.dropped | chain
        results = used_outside(self.graph, self.role, core, dropped)
        nodes = needed_for(body_nodes(self.graph, self.role, list(core), self.position, dropped), results)
        return not results or is_legal(
            Graph("candidate", outside(nodes), tuple(nodes), tuple(results)), core & set(nodes)
        )

    def _is_in_memory(self, value: Value) -> bool:
        """An input of the graph, or a view of one."""
        producer = self.graph.producers.get(value)
        while producer is not None and self.role[producer] == "view":
            value = producer.operands[0]
            producer = self.graph.producers.get(value)
        return producer is None or producer.op.name == "constant"


def _can_copy(node: Node) -> bool:
    return node.op.kind == "elementwise" or node.op.name in COPIED
