"""Several fusions as phases of one kernel, where a kernel of its own is not worth its launch.

In: an ordered graph of fusions. Out: the same graph with some fusions inside one `fusion` of kind "phases", whose body
is those fusions in order. Two kinds of neighbours are joined:

- small ones, whoever reads whom: chains of keys and counters are one kernel instead of one per number
- a reduction and a contraction that read the same array and do not need each other: the gradient of a bias beside that
  of its weight, while their common operand is near

Nothing is computed twice or in another order. A fusion moves to the place of the first of its kernel, so what it reads
is made before that, its results live longer by a few bytes, and no state is replaced before its readers have run.
"""

from collections.abc import Iterable, Sequence

from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.structural import FusionAttrs
from graphc.passes.partition.assemble import fuse, topological
from graphc.passes.partition.cost import LAUNCH_NS, Cost, kernel_cost
from graphc.passes.partition.legal import MAX_VALUES

SMALL_NS = 8 * LAUNCH_NS  # a fusion with less work than this is not worth a launch
SMALL = 4096  # bytes it may read and write, and so keep alive for longer
MAX_PHASES = 16
LOOK_BACK = 8  # kernels looked at for each fusion


def join_phases(graph: Graph) -> Graph:
    """The graph with fusions joined; the same object when none are."""
    return _Joining(graph).run()


class _Joining:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.slot: dict[Node, int] = {}  # where a node runs; -1: before everything
        self.kernel_of: dict[Node, list[Node]] = {}
        self.renewed = self._renewed()

    def run(self) -> Graph:
        small: list[list[Node]] = []
        sums: list[list[Node]] = []
        products: list[list[Node]] = []
        for number, node in enumerate(self.graph.nodes):
            if not isinstance(node.attrs, FusionAttrs):
                self.slot[node] = max((self._slot_of(v) for v in node.operands), default=-1)
                continue
            if _is_small(node):
                self._place(node, number, small, small)
            elif node.attrs.kind == "reduction":
                self._place(node, number, products, sums)
            elif node.attrs.kind == "contraction":
                self._place(node, number, sums, products)
            else:
                self.slot[node] = number
        joined = {id(kernel): kernel for kernel in self.kernel_of.values() if len(kernel) > 1}
        if not joined:
            return self.graph
        inside = {node for kernel in joined.values() for node in kernel}
        nodes: list[Node] = []
        for node in self.graph.nodes:
            if node not in inside:
                nodes.append(node)
            elif node is self.kernel_of[node][0]:
                nodes.append(self._phases(self.kernel_of[node]))
        ordered = topological(nodes)
        return Graph(self.graph.name, self.graph.inputs, tuple(ordered), self.graph.outputs, self.graph.aliases)

    # -------------------------------------------------------------------------------------------------- where it goes

    def _slot_of(self, value: Value) -> int:
        producer = self.graph.producers.get(value)
        return -1 if producer is None else self.slot[producer]

    def _place(self, node: Node, number: int, candidates: list[list[Node]], own: list[list[Node]]) -> None:
        """Into the latest of the candidates that allows it, or a kernel of its own."""
        for kernel in reversed(candidates[-LOOK_BACK:]):
            if self._may_join(node, number, kernel):
                kernel.append(node)
                self.kernel_of[node] = kernel
                self.slot[node] = self.slot[kernel[0]]
                if candidates is not own:
                    candidates.remove(kernel)  # a sum and a product are a pair
                return
        self.slot[node] = number
        self.kernel_of[node] = [node]
        own.append(self.kernel_of[node])

    def _may_join(self, node: Node, number: int, kernel: list[Node]) -> bool:
        at = self.slot[kernel[0]]
        for value in node.operands:
            producer = self.graph.producers.get(value)
            if producer is not None and self.slot[producer] >= at and producer not in kernel:
                return False
        if not _is_small(node) and not self._is_pair(kernel[0], node, number):
            return False
        if (
            len(kernel) >= MAX_PHASES
            or len({v for n in (*kernel, node) for v in (*n.operands, *n.results)}) > MAX_VALUES
        ):
            return False
        return not self._replaces_early(node, at, number)

    def _is_pair(self, first: Node, node: Node, number: int) -> bool:
        """Whether both read one array that is not small, and what moves up keeps little alive."""
        common = set(first.operands) & set(node.operands)
        if not any(value.type.nbytes > SMALL for value in common):
            return False
        if any(value in first.results for value in node.operands):
            return False
        moved = sum(value.type.nbytes for value in node.results)
        between = [n for n in self.graph.nodes[self.slot[first] + 1 : number] if isinstance(n.attrs, FusionAttrs)]
        return moved <= SMALL or not between

    # ---------------------------------------------------------------------------------------------------------- state

    def _renewed(self) -> dict[Value, Value]:
        """By value that becomes new state, or a part of it: the old state."""
        found: dict[Value, Value] = {}
        for new, old in zip(self.graph.outputs, self.graph.inputs, strict=False):
            stack = [new] if new is not old and new.type == old.type else []
            while stack:
                value = stack.pop()
                found[value] = old
                producer = self.graph.producers.get(value)
                if producer is not None and not isinstance(producer.attrs, FusionAttrs):
                    stack += producer.operands
        return found

    def _replaces_early(self, node: Node, at: int, number: int) -> bool:
        """Whether a fusion that moves up would replace state that a kernel on the way still reads."""
        old = {self.renewed[value] for value in node.results if value in self.renewed}
        return any(
            at <= self.slot.get(reader, number) and reader is not node
            for value in old
            for reader in self._readers(value)
        )

    def _readers(self, value: Value) -> Iterable[Node]:
        stack = [value]
        while stack:
            for user in self.graph.users.get(stack.pop(), ()):
                if isinstance(user.attrs, FusionAttrs):
                    yield user
                else:
                    stack += user.results

    # ---------------------------------------------------------------------------------------------------------- joining

    def _phases(self, kernel: Sequence[Node]) -> Node:
        inside = set(kernel)
        kept = set(self.graph.outputs)
        outputs = [
            value
            for node in kernel
            for value in node.results
            if value in kept or any(user not in inside for user in self.graph.users.get(value, ()))
        ]
        return fuse(kernel, outputs, "phases")


def _is_small(node: Node) -> bool:
    """Little work on little memory, without products."""
    assert isinstance(node.attrs, FusionAttrs)
    body = node.attrs.graph
    cost = kernel_cost(body.nodes, body.inputs, body.outputs)
    if node.attrs.kind in ("contraction", "scatter") or cost.moved > SMALL:
        return False
    return Cost(cost.moved, cost.operations).nanoseconds <= SMALL_NS
