"""Sums over the iterations of a loop as one product or reduction behind it.

The cotangent of a weight that all iterations read is a sum: of products `x_t^T g_t`, say. Added up in a carry, each
iteration would read and write an array as large as the weight. Where the rows x_t and g_t are smaller, they are stacked
and the sum is one product over iterations and rows: per element one chain of fused multiply-adds in the order of the
rows, whichever way the loop ran (see "Contractions" under "Numbers" in ARCHITECTURE.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Attrs, Graph, Node, Value
from graphc.graph.ops import contraction, reduction
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.movement import AxesAttrs
from graphc.graph.ops.structural import CallAttrs


@dataclass(frozen=True, slots=True)
class LateSum:
    """`node`: the product or reduction of one iteration; `moves` rearrange what it gives, in order."""

    node: Node
    moves: tuple[Node, ...]


@dataclass(slots=True)
class LateSums:
    """Decides which sums of a body are made behind the loop.

    `rows`: inputs of the body that are stacked in front of the loop, with what stacks them. `carries`: others that
    differ between iterations. `room`: bytes that further stacked rows may have. `stacked`: values of the body that the
    loop is to stack.
    """

    rows: Mapping[Value, Value]
    carries: Sequence[Value]
    length: int
    room: int
    producers: Mapping[Value, Node]
    stacked: list[Value] = field(default_factory=list)

    def of(self, part: Value) -> LateSum | None:
        """How the sum of `part` over all iterations is made behind the loop; None where it is not worth it."""
        moves: list[Node] = []
        node = self.producers.get(part)
        while node is not None and node.op.kind == "movement" and len(node.operands) == 1:
            moves.insert(0, node)
            node = self.producers.get(node.operands[0])
        if node is None or node.op not in (contraction.dot_general, reduction.reduce_sum):
            return None
        more = [v for v in dict.fromkeys(node.operands) if v not in self.rows and v not in self.stacked]
        nbytes = sum(v.type.nbytes for v in more)
        if any(v not in self.producers and v not in self.carries for v in more):
            return None
        if nbytes >= part.type.nbytes or nbytes * self.length > self.room:
            return None
        self.room -= nbytes * self.length
        self.stacked += more
        return LateSum(node, tuple(moves))


def summed(c: Compose, late: LateSum, rows: Mapping[Value, Value]) -> Value:
    """The sum over all iterations; `rows`: what stacks the operands."""
    node = late.node
    (total,) = c.builder.add(node.op, [rows[v] for v in node.operands], _over_rows(node.attrs), c.loc)
    known = {node.result: total}
    for move in late.moves:
        c.builder.copy(move, known)
    return known[late.moves[-1].result if late.moves else node.result]


def _over_rows(attrs: Attrs) -> Attrs:
    """The same over operands whose rows are stacked, and over the rows."""
    if isinstance(attrs, DotAttrs):
        return replace(
            attrs,
            lhs_contract=(0, *_later(attrs.lhs_contract)),
            rhs_contract=(0, *_later(attrs.rhs_contract)),
            lhs_batch=_later(attrs.lhs_batch),
            rhs_batch=_later(attrs.rhs_batch),
        )
    assert isinstance(attrs, AxesAttrs)
    return AxesAttrs((0, *_later(attrs.axes)))


def _later(dims: Sequence[int]) -> tuple[int, ...]:
    return tuple(dim + 1 for dim in dims)


def without_calls(graph: Graph, outputs: Sequence[Value]) -> Graph:
    """The graph with the calls inlined that make some of its outputs; itself where none does."""
    while any(isinstance(node.attrs, CallAttrs) for v in outputs if (node := graph.producers.get(v)) is not None):
        places = [graph.outputs.index(v) for v in outputs]
        builder = GraphBuilder(graph.name)
        known: dict[Value, Value] = {v: builder.input(v.type, v.name) for v in graph.inputs}
        for node in graph.nodes:
            if isinstance(node.attrs, CallAttrs):
                results = builder.inline(node.attrs.graph, [known[v] for v in node.operands])
                known.update(zip(node.results, results, strict=True))
            else:
                builder.copy(node, known)
        graph = builder.build([known[v] for v in graph.outputs])
        outputs = [graph.outputs[place] for place in places]
    return graph
