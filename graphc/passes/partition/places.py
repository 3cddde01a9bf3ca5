"""Which bytes of which memory a value is, and which kernels must run before state is overwritten.

Views are parts of what they are views of; the operands of a concatenate are parts of it, where it is made in place. An
output that is donated an input (where nothing is donated: one in the position of an input of its type) is the new value
of that state, to be written over the old one.
"""

from collections.abc import Iterator

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.layout import slice_offset


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes [start, stop) of the memory of `owner`."""

    owner: Value
    start: int
    stop: int

    def overlaps(self, other: "Place") -> bool:
        return self.owner is other.owner and self.start < other.stop and other.start < self.stop


class Places:
    """The places of all values of a fused graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.parts = self._parts()
        self.of: dict[Value, Place] = {value: Place(value, 0, value.type.nbytes) for value in graph.inputs}
        for node in graph.nodes:
            for value in node.results:
                self.of[value] = self._made(node, value)
        pairs = graph.aliases or [(i, i) for i in range(min(len(graph.outputs), len(graph.inputs)))]
        self.renews = {
            self.memory(new).owner: old
            for new, old in ((graph.outputs[i], graph.inputs[j]) for i, j in pairs)
            if new is not old and new.type == old.type
        }

    def memory(self, value: Value) -> Place:
        """Where a value lies: in the concatenate it is a part of, if it is one."""
        place = self.of[value]
        while place.owner in self.parts:
            whole, offset = self.parts[place.owner]
            place = Place(whole, place.start + offset, place.stop + offset)
        return place

    def _made(self, node: Node, value: Value) -> Place:
        if node.op.name not in ("reshape", "slice", "barrier"):
            return Place(value, 0, value.type.nbytes)
        whole = self.of[node.operands[0]]
        offset = slice_offset(node) if node.op.name == "slice" else 0
        if offset is None:
            return Place(value, 0, value.type.nbytes)
        start = whole.start + offset * value.dtype.itemsize
        return Place(whole.owner, start, start + value.type.nbytes)

    def _parts(self) -> dict[Value, tuple[Value, int]]:
        """By value that is written into a concatenate: the concatenate and where."""
        found: dict[Value, tuple[Value, int]] = {}
        for node in self.graph.nodes:
            offset = 0
            for value in node.operands if node.op.name == "concatenate" else ():
                origin = self._origin(value)
                if origin is not None:
                    found[origin] = (node.result, offset)
                offset += value.type.nbytes
        return found

    def _origin(self, value: Value) -> Value | None:
        """What a part is made as, seen through reshapes; None for what is not made here."""
        producer = self.graph.producers.get(value)
        while producer is not None and producer.op.name == "reshape":
            value = producer.operands[0]
            producer = self.graph.producers.get(value)
        return value if producer is not None and producer.op.name in ("fusion", "concatenate") else None

    # ------------------------------------------------------------------------------------------------ replaced state

    def overwritten(self, node: Node) -> list[Place]:
        """The old state that the results of a node take the place of."""
        found: list[Place] = []
        for value in node.results:
            place = self.memory(value)
            old = self.renews.get(place.owner)
            if old is not None:
                found.append(Place(old, place.start, place.stop))
        return found

    def readers_before(self) -> dict[Node, set[Node]]:
        """By kernel that overwrites state: the kernels that read what it overwrites and do not need its results."""
        inputs = set(self.graph.inputs)
        readers: dict[Value, list[tuple[Place, Node]]] = {}
        for node in self.graph.nodes:
            if node.op.kind == "structural":
                for value in node.operands:
                    place = self.memory(value)
                    if place.owner in inputs:
                        readers.setdefault(place.owner, []).append((place, node))
        found: dict[Node, set[Node]] = {}
        for node in self.graph.nodes:
            for old in self.overwritten(node) if node.op.kind == "structural" else ():
                early = {r for place, r in readers.get(old.owner, ()) if r is not node and place.overlaps(old)}
                if early:
                    found.setdefault(node, set()).update(early)
        for node, early in found.items():
            early -= set(self._needing(node))
        return {node: early for node, early in found.items() if early}

    def _needing(self, node: Node) -> Iterator[Node]:
        """Nodes that need the results of a node."""
        seen: set[Node] = set()
        stack = [node]
        while stack:
            for value in stack.pop().results:
                for user in self.graph.users.get(value, ()):
                    if user not in seen:
                        seen.add(user)
                        stack.append(user)
                        yield user
