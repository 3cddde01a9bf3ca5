"""Group core nodes into kernels, greedily in program order.

Each node first stands alone and then joins the groups that make its operands, when the result is one legal kernel,
no cycle appears, and memory gains: a value is no longer kept, or what is written next to it is small, leaves the
kernel anyway, or comes at once. What only a sum reads, and is longer than what it is made of, waits for that sum: they
join the groups before them as one. Afterwards groups side by side that read the same values are joined.
"""

from collections.abc import Iterable, Mapping

from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.control import CONTROL
from graphc.passes.partition.assemble import body_nodes, outside, used_outside
from graphc.passes.partition.cost import KEPT
from graphc.passes.partition.decisions import Decision, Log
from graphc.passes.partition.legal import ALONE, MAX_VALUES, is_legal, wide_extents
from graphc.passes.partition.roles import Role

ANCHORS = ALONE | {"dot_general"}
TINY = 64  # elements: groups of scalars are joined whatever they read
MAX_CORE = 128  # nodes of a kernel; more gain nothing, and each try to join looks at all of them
NEIGHBOURS = 6  # groups looked at on each side by side


def _bytes(values: Iterable[Value]) -> int:
    return sum(value.type.nbytes for value in values)


class Group:
    """Core nodes that become one kernel."""

    __slots__ = ("core", "first", "last", "read", "shape", "written")

    def __init__(self, core: set[Node], first: int, last: int, shape: tuple[int, ...] | None) -> None:
        self.core = core
        self.first = first
        self.last = last
        self.shape = shape  # of all values, where the group is elementwise work on that shape and nothing else
        self.written: list[Value] | None = None  # see `_written`
        self.read: tuple[Value, ...] | None = None  # see `_read`


def groups(graph: Graph, role: Mapping[Node, Role], log: Log = None) -> list[list[Node]]:
    """Core nodes by kernel."""
    return _Grouping(graph, role, log).run()


class _Grouping:
    def __init__(self, graph: Graph, role: Mapping[Node, Role], log: Log = None) -> None:
        self.graph = graph
        self.log = log
        self.role = role
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.reads = {node: self._core_operands(node) for node in graph.nodes if role[node] == "core"}
        self.readers: dict[Node, list[Node]] = {node: [] for node in self.reads}
        for node, producers in self.reads.items():
            for producer in producers:
                self.readers[producer].append(node)
        self.of: dict[Node, Group] = {}
        self.anchors = [0]
        for node in graph.nodes:
            self.anchors.append(self.anchors[-1] + (node.op.name in ANCHORS or node.op in CONTROL))
        self.outputs = set(graph.outputs)
        self.random = self._random()

    def run(self) -> list[list[Node]]:
        for node in self.reads:
            self.of[node] = Group({node}, self.position[node], self.position[node], self._plain_shape(node))
            if node.op.name not in ANCHORS and not self._waits(node):
                self._join_with_waiting(node)
        self._join_neighbours()
        found = dict.fromkeys(self.of.values())
        return [sorted(group.core, key=self.position.__getitem__) for group in found]

    def _random(self) -> set[Value]:
        """Large values that are functions of random bits alone, such as masks."""
        found: set[Value] = set()
        for node in self.graph.nodes:
            operands = [value for value in node.operands if not self._is_number(value)]
            is_source = node.op.name == "random_bits" and node.result.type.size > TINY
            if is_source or (node.op.kind == "elementwise" and operands and found.issuperset(operands)):
                found.add(node.result)
        return found

    def _is_number(self, value: Value) -> bool:
        """Whether a value is one number, repeated or not."""
        producer = self.graph.producers.get(value)
        return value.type.size == 1 or (
            producer is not None and producer.op.name == "broadcast" and producer.operands[0].type.size == 1
        )

    def _core_operands(self, node: Node) -> list[Node]:
        """Core nodes whose values a node reads, through free nodes, views and bare nodes."""
        found: dict[Node, None] = {}
        seen: set[Node] = set()
        stack = [node]
        while stack:
            for value in stack.pop().operands:
                producer = self.graph.producers.get(value)
                if producer is None or producer in seen:
                    continue
                seen.add(producer)
                if self.role[producer] == "core":
                    found[producer] = None
                else:
                    stack.append(producer)
        return list(found)

    # ------------------------------------------------------------------------------------------------ down the graph

    def _waits(self, node: Node) -> bool:
        """Whether a node joins nothing before the sum it is for: a product with something repeated, or a wider copy.

        Both would be written by a group that the sum cannot join, and are cheaper to compute where they are added up.
        """
        if len(self.readers[node]) != 1 or any(value in self.outputs for value in node.results):
            return False
        if any(self.role[user] not in ("core", "free") for user in self.graph.users.get(node.results[0], ())):
            return False
        if node.op.name == "cast":
            return node.operands[0].type.nbytes < node.result.type.nbytes and self._waits(self.readers[node][0])
        return (
            node.op.name == "mul"
            and self.readers[node][0].op.name == "reduce_sum"
            and any(self._is_repeated(value) for value in node.operands)
        )

    def _is_repeated(self, value: Value) -> bool:
        producer = self.graph.producers.get(value)
        if producer is not None and producer.op.name == "cast":
            producer = self.graph.producers.get(producer.operands[0])
        if producer is None or producer.op.name != "broadcast":
            return False
        return producer.operands[0].type.size < value.type.size

    def _join_with_waiting(self, node: Node) -> None:
        """`_join_producers` of a node, then of those that waited for it."""
        stack = [node]
        while stack:
            current = stack.pop()
            self._join_producers(current)
            stack += [producer for producer in self.reads[current] if self._waits(producer)]

    def _join_producers(self, node: Node) -> None:
        candidates = {self.of[producer]: None for producer in self.reads[node]}
        for group in sorted(candidates, key=self._preference):
            mine = self.of[node]
            if group is mine or len(group.core) + len(mine.core) > MAX_CORE:
                continue
            if self._gains(group, mine, node) and not self._makes_cycle(group, mine) and self._is_legal(group, mine):
                self._merge(group, mine)

    def _preference(self, group: Group) -> tuple[int, int]:
        kinds = {node.op.kind for node in group.core}
        rank = 0 if "contraction" in kinds else 1 if "reduction" in kinds else 2
        return rank, -group.last

    def _written(self, group: Group) -> list[Value]:
        """Values of a group that something else reads."""
        if group.written is None:
            group.written = used_outside(self.graph, self.role, group.core)
        return group.written

    def _read(self, group: Group) -> tuple[Value, ...]:
        """Values a group reads."""
        if group.read is None:
            group.read = outside(body_nodes(self.graph, self.role, list(group.core), self.position))
        return group.read

    def _plain_shape(self, node: Node) -> tuple[int, ...] | None:
        """The shape of elementwise work that reads values as they are, and repeated numbers."""
        if node.op.kind != "elementwise" or node.result.type.size <= 1:
            return None
        for value in node.operands:
            producer = self.graph.producers.get(value)
            if producer is None or self.role[producer] == "core":
                continue
            is_number = producer.op.name == "broadcast" and producer.operands[0].type.rank == 0
            origin = self.graph.producers.get(producer.operands[0]) if is_number else None
            if origin is None or origin.op.name != "constant":
                return None
        return node.result.shape

    def _gains(self, group: Group, mine: Group, node: Node) -> bool:
        """Whether the bytes saved outweigh those kept for longer: what joins a kernel is written when that one runs.

        Random bits stay out of the tiles of products: a loop over memory gets four words from one evaluation.
        """
        is_product = any(member.op.kind == "contraction" for member in group.core)
        if is_product and any(value in self.random for value in (*node.operands, *node.results)):
            return False
        if all(value in self.outputs for value in node.results):
            return True
        if self.anchors[self.position[node]] == self.anchors[group.last + 1]:
            return True
        written = self._written(group)
        after = used_outside(self.graph, self.role, group.core | mine.core)
        held = _bytes(after) - _bytes(written)
        read = [value for value in self._read(mine) if value in written]
        dropped = [value for value in (*written, *self._written(mine)) if value not in after]
        saved = _bytes(read) + _bytes(dropped)
        gains = held <= 0 or saved >= KEPT * held
        if self.log is not None:
            why = "bytes moved; bytes written early are kept for longer"
            self.log.append(Decision("join", node, gains, saved, max(KEPT * held, 0), why))
        return gains

    def _is_legal(self, a: Group, b: Group) -> bool:
        core = a.core | b.core
        if a.shape is not None and a.shape == b.shape:
            values = {*self._read(a), *self._read(b), *self._written(a), *self._written(b)}
            made = {value for node in core for value in node.results}
            if len(values) <= MAX_VALUES and not any(self._is_seen_through(v, core) for v in values - made):
                return True  # one loop over the shape, every value at the same place
        nodes = body_nodes(self.graph, self.role, list(core), self.position)
        inputs = outside(nodes)
        if any(self._is_seen_through(value, core) for value in inputs):
            return False
        outputs = used_outside(self.graph, self.role, core)
        return is_legal(Graph("candidate", inputs, tuple(nodes), tuple(outputs)), core)

    def _is_seen_through(self, value: Value, core: set[Node]) -> bool:
        """Whether a value is a view of something the core itself makes: it cannot be read before it is written."""
        stack = [value]
        while stack:
            producer = self.graph.producers.get(stack.pop())
            if producer is None:
                continue
            if producer in core:
                return True
            if self.role[producer] != "core":
                stack += producer.operands
        return False

    def _makes_cycle(self, a: Group, b: Group) -> bool:
        """Whether one group reaches the other through a third."""
        return self._reaches(a, b) or self._reaches(b, a)

    def _reaches(self, start: Group, goal: Group) -> bool:
        seen = {start}
        stack = [group for group in self._successors(start) if group is not goal]
        while stack:
            group = stack.pop()
            if group is goal:
                return True
            if group in seen:
                continue
            seen.add(group)
            stack += self._successors(group)
        return False

    def _successors(self, group: Group) -> Iterable[Group]:
        return {self.of[user] for node in group.core for user in self.readers[node] if user in self.of} - {group}

    def _merge(self, into: Group, other: Group) -> None:
        into.core |= other.core
        into.shape = into.shape if into.shape == other.shape else None
        into.written = into.read = None
        into.first, into.last = min(into.first, other.first), max(into.last, other.last)
        for node in other.core:
            self.of[node] = into

    # ------------------------------------------------------------------------------------------------ side by side

    def _join_neighbours(self) -> None:
        """Maps over the same shape, and reductions of the same rows, that read the same large values."""
        kinds: dict[object, list[Group]] = {}
        for group in dict.fromkeys(self.of.values()):
            signature = self._signature(group)
            if signature is not None:
                kinds.setdefault(signature, []).append(group)
        for found in kinds.values():
            self._join_alike(found)

    def _join_alike(self, found: list[Group]) -> None:
        kept: list[Group] = []
        for group in found:
            for other in reversed(kept[-NEIGHBOURS:]):
                if (
                    len(other.core) + len(group.core) <= MAX_CORE
                    and self._are_close(other, group)
                    and not self._makes_cycle(other, group)
                    and self._is_legal(other, group)
                ):
                    self._merge(other, group)
                    break
            else:
                kept.append(group)

    def _are_close(self, a: Group, b: Group) -> bool:
        if max(self._largest(a), self._largest(b)) <= TINY:
            return True
        if self.anchors[a.last + 1] != self.anchors[b.first]:
            return False
        left, right = self._read(a), self._read(b)
        return any(v in right and v.type.size > TINY for v in left)

    def _largest(self, group: Group) -> int:
        """Elements of the largest value a group reads or writes."""
        return max((value.type.size for value in (*self._written(group), *self._read(group))), default=0)

    def _signature(self, group: Group) -> object:
        if any(node.op.kind == "contraction" or node.op.name in ALONE for node in group.core):
            return None
        reductions = [node for node in group.core if node.op.kind == "reduction"]
        if reductions:
            first = min(reductions, key=self.position.__getitem__)
            return "rows", wide_extents(first.operands[0]), wide_extents(first.results[0])
        shapes = {wide_extents(value) for value in self._written(group)}
        return ("map", *shapes) if len(shapes) == 1 else None
