"""Float operations, bytes, depth, width and work: one operation per elementwise result or reduced element, two per
multiply-add.
"""

from math import prod

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value, regions
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.control import BranchAttrs, ScanAttrs
from graphc.graph.ops.indexing import SCATTER_NAMES
from graphc.graph.ops.sliding import ConvAttrs, ReduceWindowAttrs

_MOVING = frozenset({"real", "imag", "complex"})
_COMBINING = SCATTER_NAMES - {"scatter"}


@dataclass(frozen=True, slots=True)
class Dimensions:
    """depth: nodes on the longest chain; width: most nodes at one distance from the inputs; work: float operations."""

    depth: int
    width: int
    work: int


def node_flops(node: Node) -> int:
    """Arithmetic operations of one node, its regions included. Movement and sources count nothing."""
    match node.op.kind:
        case "elementwise":
            return 0 if node.op.name in _MOVING else node.result.type.size
        case "cumulative":
            return len(node.operands) * node.result.type.size
        case "reduction":
            return node.operands[0].type.size
        case "contraction":
            assert isinstance(node.attrs, DotAttrs)
            summed = 1
            for dim in node.attrs.lhs_contract:
                summed *= node.operands[0].shape[dim]
            return 2 * summed * node.result.type.size
        case "linalg":
            return node.operands[0].shape[-1] * max(value.type.size for value in node.results)
        case "window":
            if isinstance(node.attrs, ConvAttrs):
                lhs, rhs = node.operands
                return 2 * node.attrs.terms(lhs.shape, rhs.shape) * node.result.type.size
            assert isinstance(node.attrs, ReduceWindowAttrs)
            return prod(node.attrs.size) * node.result.type.size
        case "structural":
            return _structural_flops(node)
        case "movement" | "index" | "source":
            return node.result.type.size if node.op.name in _COMBINING else 0


def _structural_flops(node: Node) -> int:
    """A scan counts its body as often as it has rows, a while each part once, a branch the longest."""
    inside = [graph_flops(region) for region in regions(node)]
    if isinstance(node.attrs, ScanAttrs):
        return node.attrs.length * inside[0]
    return max(inside) if isinstance(node.attrs, BranchAttrs) else sum(inside)


def graph_flops(graph: Graph) -> int:
    """Arithmetic operations of a whole graph."""
    return sum(node_flops(node) for node in graph.nodes)


def node_bytes(node: Node) -> int:
    """Bytes read and written when every operand and result lies in memory; a gather or slice reads what it takes."""
    written = sum(v.type.nbytes for v in node.results)
    read = {v: v.type.nbytes for v in node.operands}
    if node.op.name in ("gather", "slice", "dynamic_slice"):
        taken = node.operands[0]
        read[taken] = min(read[taken], written)
    return sum(read.values()) + written


def dimensions(graph: Graph) -> Dimensions:
    """Depth, width and work of a computation graph."""
    level: dict[Value, int] = dict.fromkeys(graph.inputs, 0)
    per_level: dict[int, int] = {}
    for node in graph.nodes:
        depth = 1 + max((level[v] for v in node.operands), default=0)
        level.update(dict.fromkeys(node.results, depth))
        per_level[depth] = per_level.get(depth, 0) + 1
    work = sum(node_flops(node) for node in graph.nodes)
    return Dimensions(max(per_level, default=0), max(per_level.values(), default=0), work)
