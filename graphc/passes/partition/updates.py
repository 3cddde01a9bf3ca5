"""Updates of a slab, part by part: the optimiser's arithmetic where the gradient is made.

In: a graph in which elementwise work runs over a concatenate (the gradients of all parameters, one after the other) and
over arrays of its shape. Out: that work done for each part, right after the node that makes it, and concatenates of the
results. So the gradients of all parameters are never in memory together, and the results are made in place in the new
slabs: names stay views. A part whose arrays fit a core's cache is updated in its own shape, and so inside the kernel
that makes it: its gradient is never written. A larger one is updated by a kernel over its memory from end to end, since
a product's kernel would read old values tile by tile, too scattered to be fetched ahead. Small parts whose producer can
hold no epilogue stay together.

Nothing is done where something else needs the whole concatenate (clipping by the norm of all gradients), or where what
is saved does not pay for the kernels that are added.

    g = concatenate(a, b); w2 = sub(w, g)
    w2 = concatenate(sub(slice(w), a), sub(slice(w), b))
"""

from collections.abc import Sequence
from typing import Literal

from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.prune import prune
from graphc.passes.partition.assemble import topological
from graphc.passes.partition.cost import BYTES_PER_NS, LAUNCH_NS
from graphc.passes.partition.decisions import Decision, Log

LARGE = 16384  # bytes: smaller concatenates are not worth taking apart
CACHE = 1 << 19  # bytes near one core: the arrays of a part that is updated inside the kernel of its gradient
ALONE = 1 << 18  # bytes: a part worth a kernel of its own
EPILOGUES = frozenset({"contraction", "reduction", "elementwise"})  # kinds of producers that the update may follow


# fused: inside the kernel that makes the part; alone: by a kernel of its own; rest: with its neighbours
How = Literal["fused", "alone", "rest"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Operands of the concatenate that are updated together, from element `start` on."""

    values: tuple[Value, ...]
    start: int
    how: How

    @property
    def size(self) -> int:
        return sum(value.type.size for value in self.values)


def split_updates(graph: Graph, log: Log = None) -> Graph:
    """The graph with updates of concatenates taken apart; the same object when there are none to take apart."""
    for node in graph.nodes:
        if node.op.name != "concatenate" or node.result.type.rank != 1 or node.result.type.nbytes < LARGE:
            continue
        cone = _cone(graph, node)
        segments = _segments(graph, node, cone)
        if not cone:
            continue
        gain, price = _sums(segments)
        pays = len(segments) > 1 and gain > price
        if log is not None:
            why = ", ".join(f"{sum(s.how == how for s in segments)} {how}" for how in ("fused", "alone", "rest"))
            log.append(Decision("update", node, pays, gain, price, f"parts: {why}"))
        if pays:
            graph = _Split(graph, node, cone, segments).run()
    return graph


def _cone(graph: Graph, whole: Node) -> list[Node]:
    """Elementwise nodes that need the concatenate, and those of its shape that only they read; none if it cannot be
    taken apart.
    """
    shape = whole.result.shape
    needing: set[Value] = {whole.result}
    cone: set[Node] = set()
    outputs = set(graph.outputs)
    if whole.result in outputs:
        return []
    for node in graph.nodes:
        if any(value in needing for value in node.operands):
            if node.op.kind != "elementwise" or node.result.shape != shape:
                return []
            needing.add(node.result)
            cone.add(node)
    for node in reversed(graph.nodes):
        if node in cone or node.op.kind != "elementwise" or node.result.shape != shape or node.result in outputs:
            continue
        if all(user in cone for user in graph.users.get(node.result, ())):
            cone.add(node)
    return [node for node in graph.nodes if node in cone]


def _segments(graph: Graph, whole: Node, cone: Sequence[Node]) -> list[Segment]:
    arrays = _arrays(graph, whole, cone)
    found: list[Segment] = []
    start = 0
    for value in whole.operands:
        how: How = "alone" if value.type.nbytes >= ALONE else "rest"
        if value.type.nbytes * arrays <= CACHE and _can_follow(graph, value):
            how = "fused"
        if found and how == "rest" and found[-1].how == "rest":
            found[-1] = Segment((*found[-1].values, value), found[-1].start, "rest")
        else:
            found.append(Segment((value,), start, how))
        start += value.type.size
    return found


def _arrays(graph: Graph, whole: Node, cone: Sequence[Node]) -> int:
    """How many arrays of the slab's shape an update reads and writes, the gradient not counted."""
    made = {node.result for node in cone} | {whole.result}
    read = {v for node in cone for v in node.operands if v not in made and not _is_repeated(graph, v)}
    return len(read | {v for v in made if v in graph.outputs})


def _is_repeated(graph: Graph, value: Value) -> bool:
    """Whether an array is one number everywhere."""
    node = graph.producers.get(value)
    return node is not None and node.op.name == "broadcast" and node.operands[0].type.rank == 0


def _can_follow(graph: Graph, value: Value) -> bool:
    """Whether the update can be the end of the kernel that makes a part: nothing else reads it."""
    while True:
        node = graph.producers.get(value)
        if node is None or len(graph.users.get(value, ())) != 1 or value in graph.outputs:
            return False
        if node.op.name not in ("reshape", "transpose"):
            return node.op.kind in EPILOGUES
        value = node.operands[0]


def _sums(segments: Sequence[Segment]) -> tuple[int, int]:
    """Bytes that are not written and read again, or not kept; and what the kernels that are added cost."""
    fused = sum(value.type.nbytes for s in segments if s.how == "fused" for value in s.values)
    alone = sum(value.type.nbytes for s in segments if s.how == "alone" for value in s.values)
    kernels = sum(s.how != "fused" for s in segments) - 1
    return 2 * fused + alone, int(kernels * LAUNCH_NS * BYTES_PER_NS)


class _Split:
    def __init__(self, graph: Graph, whole: Node, cone: Sequence[Node], segments: Sequence[Segment]) -> None:
        self.graph = graph
        self.whole = whole
        self.cone = cone
        self.segments = segments
        self.results = [node.result for node in cone if node.result in graph.outputs]
        self.position = {node: i for i, node in enumerate(graph.nodes)}

    def run(self) -> Graph:
        """The graph with the concatenate gone, unless something else reads it."""
        following: dict[Node, list[Node]] = {}
        parts: dict[Value, list[Value]] = {value: [] for value in self.results}
        for segment in self.segments:
            nodes, results = self._update(segment)
            following.setdefault(self._made_by(segment), []).extend(nodes)
            for value, result in zip(self.results, results, strict=True):
                parts[value].append(result)
        last = GraphBuilder("")
        new = {
            value: Compose(last, self.graph.producers[value].loc).concatenate(parts[value], 0) for value in self.results
        }
        dropped = {self.whole, *self.cone}
        nodes = [each for node in self.graph.nodes for each in (node, *following.get(node, ())) if each not in dropped]
        outputs = tuple(new.get(value, value) for value in self.graph.outputs)
        ordered = topological([*nodes, *last.nodes])
        return prune(Graph(self.graph.name, self.graph.inputs, tuple(ordered), outputs, self.graph.aliases))

    def _update(self, segment: Segment) -> tuple[list[Node], list[Value]]:
        """The nodes that update one segment, and the flat results in the order of `results`."""
        builder = GraphBuilder("")
        compose = Compose(builder, self.whole.loc)
        own = segment.values[0] if len(segment.values) == 1 else compose.concatenate(segment.values, 0)
        own = self._origin(own) if segment.how == "fused" else compose.reshape(self._origin(own), own.shape)
        shape = own.shape
        mapping = {self.whole.result: own}
        for node in self.cone:
            here = Compose(builder, node.loc)
            for value in node.operands:
                if value not in mapping:
                    mapping[value] = self._slice(value, segment, shape, here)
            mapping[node.result] = builder.add1(node.op, [mapping[v] for v in node.operands], node.attrs, node.loc)
        flat = [compose.reshape(mapping[value], (segment.size,)) for value in self.results]
        return builder.nodes, flat

    def _made_by(self, segment: Segment) -> Node:
        """The node after which a segment can be updated."""
        made = [self.graph.producers[v] for v in map(self._origin, segment.values) if v in self.graph.producers]
        return max(made, key=self.position.__getitem__, default=self.whole)

    def _origin(self, value: Value) -> Value:
        """A part in the shape in which it is made."""
        while (node := self.graph.producers.get(value)) is not None and node.op.name == "reshape":
            value = node.operands[0]
        return value

    def _slice(self, value: Value, segment: Segment, shape: tuple[int, ...], compose: Compose) -> Value:
        """The part of an array of the slab's shape; one repeated value is repeated as often as is needed here."""
        if _is_repeated(self.graph, value):
            return compose.broadcast(self.graph.producers[value].operands[0], shape, ())
        stop = segment.start + segment.size
        return compose.reshape(compose.slice(value, (segment.start,), (stop,), (1,)), shape)
