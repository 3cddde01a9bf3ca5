"""Several fusions as phases of one kernel, where a kernel of its own is not worth its launch.

In: an ordered graph of fusions. Out: the same graph with some fusions inside one `fusion` of kind "phases", whose body
is those fusions in order. Two kinds of neighbours are joined:

- small ones, whoever reads whom: chains of keys and counters are one kernel instead of one per number. A small fusion
  moves up to the first of its kernel; its results live longer by a few bytes
- a reduction and a contraction that sum the same array over the same dims and do not need each other: the gradient of
  a bias beside that of its weight, while their common operand is near. The first of the two moves down to the second

Nothing is computed twice or in another order, and state is not replaced before its readers have run.
"""

from collections.abc import Sequence

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.control import CONTROL
from graphc.graph.ops.structural import FusionAttrs
from graphc.graph.rows import axes_of
from graphc.passes.partition.assemble import fuse, topological
from graphc.passes.partition.cost import BYTES_PER_NS, LAUNCH_NS, Cost, kernel_cost
from graphc.passes.partition.decisions import Decision, Log
from graphc.passes.partition.grouping import TINY
from graphc.passes.partition.legal import MAX_VALUES
from graphc.passes.partition.places import Places

SMALL_NS = 8 * LAUNCH_NS  # a fusion with less work than this is not worth a launch
SMALL = 4096  # bytes it may read and write, and so keep alive for longer
MAX_PHASES = 16
LOOK_BACK = 8  # kernels looked at for each fusion
MAX_DISTANCE = 64  # nodes between a pair


@dataclass(slots=True)
class Kernel:
    """Fusions that become one, at the place of node number `slot`."""

    slot: int
    nodes: list[Node]


def join_phases(graph: Graph, log: Log = None) -> Graph:
    """The graph with fusions joined; the same object when none are."""
    joining = _Joining(graph)
    joined = joining.run()
    if log is not None:
        kernels = {id(kernel): kernel for kernel in joining.kernel_of.values() if len(kernel.nodes) > 1}
        launch = int(LAUNCH_NS * BYTES_PER_NS)
        for kernel in kernels.values():
            why = f"{len(kernel.nodes)} fusions in one kernel"
            log.append(Decision("phases", kernel.nodes[0], True, launch * (len(kernel.nodes) - 1), 0, why))
    return joined


class _Joining:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.places = Places(graph)
        self.before = self.places.readers_before()
        self.after: dict[Node, list[Node]] = {}  # kernels that overwrite what a kernel reads
        for writer, readers in self.before.items():
            for reader in readers:
                self.after.setdefault(reader, []).append(writer)
        self.kernel_of: dict[Node, Kernel] = {}
        self.small: list[Kernel] = []
        self.bare: dict[Node, int] = {}  # where a view or a constant can be had from; -1: from the start

    def run(self) -> Graph:
        summing: dict[Value, list[Kernel]] = {}  # reductions and contractions by what they sum
        for number, node in enumerate(self.graph.nodes):
            if node.op in CONTROL:
                self.kernel_of[node] = Kernel(number, [node])
                continue
            if not isinstance(node.attrs, FusionAttrs):
                self.bare[node] = max((self._slot_of(v) for v in node.operands), default=-1)
                continue
            if _is_small(node):
                self._place(node, number)
                if len(self.kernel_of[node].nodes) == 1:
                    self._offer(node, summing)
            elif node.attrs.kind in ("reduction", "contraction"):
                self._pair(node, number, summing)
            else:
                self.kernel_of[node] = Kernel(number, [node])
        kernels = {id(kernel): kernel for kernel in self.kernel_of.values() if len(kernel.nodes) > 1}
        return self._joined(list(kernels.values())) if kernels else self.graph

    def _slot_of(self, value: Value) -> int:
        """Where what makes a value runs."""
        producer = self.graph.producers.get(value)
        if producer is None:
            return -1
        return self.bare[producer] if producer in self.bare else self.kernel_of[producer].slot

    # ---------------------------------------------------------------------------------------------------- small ones

    def _place(self, node: Node, number: int) -> None:
        """Into the latest kernel of small ones that allows it, or a kernel of its own."""
        for kernel in reversed(self.small[-LOOK_BACK:]):
            if self._may_move_up(node, kernel):
                kernel.nodes.append(node)
                self.kernel_of[node] = kernel
                return
        self.kernel_of[node] = Kernel(number, [node])
        self.small.append(self.kernel_of[node])

    def _may_move_up(self, node: Node, kernel: Kernel) -> bool:
        if not _has_room(kernel.nodes, node):
            return False
        for value in node.operands:
            producer = self.graph.producers.get(value)
            if producer is not None and producer not in kernel.nodes and self._slot_of(value) >= kernel.slot:
                return False
        readers = self.before.get(node, ())
        return all(r in self.kernel_of and self.kernel_of[r].slot < kernel.slot for r in readers)

    # ---------------------------------------------------------------------------------------------------------- pairs

    def _pair(self, node: Node, number: int, summing: dict[Value, list[Kernel]]) -> None:
        assert isinstance(node.attrs, FusionAttrs)
        kind = node.attrs.kind
        self.kernel_of[node] = Kernel(number, [node])
        for value, dims in _summed(node):
            for kernel in summing.get(value, [])[-LOOK_BACK:]:
                (first, *others) = kernel.nodes
                assert isinstance(first.attrs, FusionAttrs)
                if others or first.attrs.kind == kind or (value, dims) not in _summed(first):
                    continue
                if self._may_move_down(kernel, node, number):
                    kernel.nodes.append(node)
                    kernel.slot = number
                    self.kernel_of[node] = kernel
                    self.small = [other for other in self.small if other is not kernel]
                    return
        self._offer(node, summing)

    def _offer(self, node: Node, summing: dict[Value, list[Kernel]]) -> None:
        """Let a later fusion that sums the same find this one."""
        for value, _ in _summed(node):
            summing.setdefault(value, []).append(self.kernel_of[node])

    def _may_move_down(self, kernel: Kernel, node: Node, number: int) -> bool:
        """Whether nothing up to node `number`, itself included, needs the kernel or overwrites what it reads."""
        (first,) = kernel.nodes
        if number - kernel.slot > MAX_DISTANCE or not _has_room(kernel.nodes, node):
            return False
        between = {*self.graph.nodes[kernel.slot + 1 : number], node}
        stack = list(first.results)
        while stack:
            for user in self.graph.users.get(stack.pop(), ()):
                if isinstance(user.attrs, FusionAttrs) or user.op in CONTROL:
                    if user in between or (user in self.kernel_of and self.kernel_of[user].slot < number):
                        return False
                else:
                    stack += user.results
        done = (writer for writer in self.after.get(first, ()) if writer in self.kernel_of)
        return not any(writer is node or self.kernel_of[writer].slot <= number for writer in done)

    # -------------------------------------------------------------------------------------------------------- joining

    def _joined(self, kernels: Sequence[Kernel]) -> Graph:
        inside = {node for kernel in kernels for node in kernel.nodes}
        at = {kernel.slot: kernel for kernel in kernels}
        nodes: list[Node] = []
        for number, node in enumerate(self.graph.nodes):
            if number in at:
                nodes.append(self._phases(at[number].nodes))
            elif node not in inside:
                nodes.append(node)
        ordered = topological(nodes)
        return Graph(self.graph.name, self.graph.inputs, tuple(ordered), self.graph.outputs, self.graph.aliases)

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


def _has_room(kernel: Sequence[Node], node: Node) -> bool:
    values = {v for n in (*kernel, node) for v in (*n.operands, *n.results)}
    return len(kernel) < MAX_PHASES and len(values) <= MAX_VALUES


def _is_small(node: Node) -> bool:
    """Little work on little memory, without products."""
    assert isinstance(node.attrs, FusionAttrs)
    body = node.attrs.graph
    cost = kernel_cost(body.nodes, body.inputs, body.outputs)
    if node.attrs.kind in ("contraction", "scatter") or cost.moved > SMALL:
        return False
    return Cost(cost.moved, cost.operations).nanoseconds <= SMALL_NS


def _summed(node: Node) -> list[tuple[Value, tuple[int, ...]]]:
    """What a fusion sums, and along which dims: operands read as they are by its reduction or contraction."""
    assert isinstance(node.attrs, FusionAttrs)
    outer = dict(zip(node.attrs.graph.inputs, node.operands, strict=True))
    found: list[tuple[Value, tuple[int, ...]]] = []
    for inner in node.attrs.graph.nodes:
        if isinstance(inner.attrs, DotAttrs):
            pairs = zip(inner.operands, (inner.attrs.lhs_contract, inner.attrs.rhs_contract), strict=True)
            found += [(outer[v], tuple(sorted(dims))) for v, dims in pairs if v in outer]
        elif inner.op.name == "reduce_sum" and inner.operands[0] in outer:
            found.append((outer[inner.operands[0]], tuple(sorted(axes_of(inner)))))
    return [(value, dims) for value, dims in found if value.type.size > TINY]
