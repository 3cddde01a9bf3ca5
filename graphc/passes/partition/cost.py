"""What running and keeping costs, in bytes: the common measure of every decision of the partition.

A kernel costs the bytes it reads and writes, its arithmetic and its launch; a value kept between kernels costs the
memory it lies in. Arithmetic and launches are turned into the bytes that could be moved in their time, so that one sum
compares them. The figures are those of a machine with vector units and shared caches; they decide which kernels there
are, never what comes out of them.
"""

from collections.abc import Iterable, Sequence

from graphc.core.records import dataclass
from graphc.graph.cost import node_flops
from graphc.graph.ir import Node, Value
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.elementwise import TRANSCENDENTAL

BYTES_PER_NS = 128.0  # caches shared by the cores
LAUNCH_NS = 300.0  # calling a kernel, handing its work out and waiting for it
FUNCTION = 16  # operations of a function such as exp
RANDOM = 32  # operations of one random word
SHUFFLE = 512  # operations of one position of a shuffled order
OPERATIONS_PER_NS = 32.0  # vector lanes at work, one core
KEPT = 4  # bytes moved that a byte is worth which need not be kept between the passes of a step
RECOMPUTED = 64  # operations an element may cost to be computed again instead of kept

_OPERATIONS = {
    **dict.fromkeys((*TRANSCENDENTAL, "rem"), FUNCTION),
    "div": 4,
    "sqrt": 4,
    "random_bits": RANDOM,
    "shuffle_index": SHUFFLE,
}


def operations(node: Node) -> int:
    """Operations per element of its result (of its operand, for a reduction)."""
    if node.op.kind in ("movement", "index") or node.op.name in ("iota", "constant"):
        return _OPERATIONS.get(node.op.name, 0)
    return _OPERATIONS.get(node.op.name, 1)


def work(node: Node) -> int:
    """Operations of a node."""
    if isinstance(node.attrs, DotAttrs):
        summed = 1
        for dim in node.attrs.lhs_contract:
            summed *= node.operands[0].shape[dim]
        return summed * node.result.type.size
    if node.op.kind == "linalg":
        return node_flops(node)
    size = node.operands[0].type.size if node.op.kind == "reduction" else node.results[0].type.size
    return operations(node) * size


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kernel, or of several after each other."""

    moved: int = 0  # bytes read and written
    operations: int = 0
    launches: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.moved + other.moved, self.operations + other.operations, self.launches + other.launches)

    @property
    def nanoseconds(self) -> float:
        return self.moved / BYTES_PER_NS + self.operations / OPERATIONS_PER_NS + self.launches * LAUNCH_NS

    @property
    def bytes(self) -> float:
        """The bytes that could be moved in its time."""
        return self.nanoseconds * BYTES_PER_NS


def read_bytes(nodes: Sequence[Node], inputs: Iterable[Value]) -> int:
    """Bytes a kernel of these nodes reads: all of its inputs, but of one it gathers from only the rows it takes."""
    taken: dict[Value, int] = {}
    whole: set[Value] = set()
    for node in nodes:
        for position, value in enumerate(node.operands):
            if position == 0 and node.op.name in ("gather", "slice", "dynamic_slice"):
                taken[value] = taken.get(value, 0) + node.result.type.nbytes
            else:
                whole.add(value)
    return sum(value.type.nbytes if value in whole else min(taken[value], value.type.nbytes) for value in inputs)


def kernel_cost(nodes: Sequence[Node], inputs: Iterable[Value], outputs: Iterable[Value]) -> Cost:
    """One kernel that computes `outputs` from `inputs`."""
    moved = read_bytes(nodes, inputs) + sum(value.type.nbytes for value in outputs)
    return Cost(moved, sum(work(node) for node in nodes), 1)
