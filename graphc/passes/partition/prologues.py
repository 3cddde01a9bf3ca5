"""Operands of products that are computed while they are packed, and those of scatters that are computed while they take
effect, instead of by a kernel of their own.

In: the groups. Out: the nodes of groups whose values only products read, and that are cheaper to compute again by each
of them than to write once and read: the gather of a batch, a cast, a scale, a mask. What decides is bytes: a kernel
writes its value and every product reads it; in a packing each product reads what the value is made of, and computes it
as often as the operand is packed.

A cast to bfloat16 stays a kernel: products of bfloat16 take elements in pairs, and only from memory is a pair one load.
"""

from collections.abc import Mapping, Sequence

from graphc.core.dtypes import bfloat16
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.indexing import SCATTER_NAMES
from graphc.passes.partition.assemble import body_nodes, outside, used_outside
from graphc.passes.partition.cost import Cost, kernel_cost, read_bytes, work
from graphc.passes.partition.decisions import Decision, Log
from graphc.passes.partition.legal import is_legal
from graphc.passes.partition.roles import Role

PACKED = 2  # times a product computes an element of an operand
KINDS = frozenset({"elementwise", "movement"})


def prologues(
    graph: Graph, role: Mapping[Node, Role], groups: Sequence[Sequence[Node]], log: Log = None
) -> frozenset[Node]:
    """Core nodes that every product which needs them computes for itself."""
    return frozenset(_Prologues(graph, role, groups, log).run())


def _narrows(node: Node) -> bool:
    return node.result.dtype is bfloat16 and any(value.dtype is not bfloat16 for value in node.operands)


def _is_read_once(scatter: Node, value: Value) -> bool:
    """Whether each element of an operand is one of one update."""
    _, indices, updates = scatter.operands
    return value in (indices, updates) and indices.type.size == updates.type.size


class _Prologues:
    def __init__(self, graph: Graph, role: Mapping[Node, Role], groups: Sequence[Sequence[Node]], log: Log) -> None:
        self.graph = graph
        self.role = role
        self.groups = groups
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.group_of = {node: i for i, core in enumerate(groups) for node in core}
        self.outputs = set(graph.outputs)
        self.log = log

    def run(self) -> set[Node]:
        found: set[Node] = set()
        for core in self.groups:
            if all(node.op.kind in KINDS or node.op.name == "gather" for node in core) and not any(map(_narrows, core)):
                readers = self._readers(core)
                if readers and self._pays(core, readers) and self._is_legal(core, readers, found):
                    found |= set(core)
        return found

    def _readers(self, core: Sequence[Node]) -> set[int]:
        """The groups of the products and scatters that read a group; none when anything else does."""
        inside = set(core)
        found: set[int] = set()
        stack = [value for node in core for value in node.results]
        while stack:
            value = stack.pop()
            if value in self.outputs:
                return set()
            for user in self.graph.users.get(value, ()):
                if user.op.kind == "contraction" or (user.op.name in SCATTER_NAMES and _is_read_once(user, value)):
                    found.add(self.group_of[user])
                elif self.role[user] == "free" and user.op.name in ("transpose", "broadcast", "cast"):
                    stack += user.results
                elif user not in inside:
                    return set()
        return found

    def _pays(self, core: Sequence[Node], readers: set[int]) -> bool:
        nodes = body_nodes(self.graph, self.role, core, self.position)
        inputs = outside(nodes)
        written = used_outside(self.graph, self.role, set(core))
        nbytes = sum(value.type.nbytes for value in written)
        kept = kernel_cost(nodes, inputs, written) + Cost(nbytes * len(readers))
        once = Cost(read_bytes(nodes, inputs), PACKED * sum(work(node) for node in nodes))
        longer = sum(value.type.nbytes for value in inputs if not self._is_in_memory(value))
        pays = longer <= nbytes and once.bytes * len(readers) < kept.bytes
        if self.log is not None:
            why = f"computed by its {len(readers)} readers"
            price = int(once.bytes * len(readers)) + max(longer - nbytes, 0)
            self.log.append(Decision("prologue", core[-1], pays, int(kept.bytes), price, why))
        return pays

    def _is_in_memory(self, value: Value) -> bool:
        producer = self.graph.producers.get(value)
        while producer is not None and self.role[producer] == "view":
            value = producer.operands[0]
            producer = self.graph.producers.get(value)
        return producer is None or producer.op.name == "constant"

    def _is_legal(self, core: Sequence[Node], readers: set[int], found: set[Node]) -> bool:
        for number in readers:
            group = set(self.groups[number])
            nodes = body_nodes(self.graph, self.role, self.groups[number], self.position, found | set(core))
            results = used_outside(self.graph, self.role, group)
            if not is_legal(Graph("candidate", outside(nodes), tuple(nodes), tuple(results)), group, alone=False):
                return False
        return True
