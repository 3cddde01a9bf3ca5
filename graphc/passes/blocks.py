"""Large matrices are factored in blocks: most of the work becomes a product, which has the schedule of products.

In: any graph. Out: the same function, in which `cholesky` and `lu` of matrices with more than `LEAF` rows are of small
ones, `lu` of `PANEL` columns and all rows. The parts follow from the extents alone, and with them the order of
rounding: the lower right half, less the product of what stands left of it, is factored as if it were a matrix of its
own.
"""

from graphc.core import dtypes
from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops import linalg as ops
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.linalg import TriangleAttrs
from graphc.passes.rewrite import with_regions

LEAF = 192  # rows of a matrix that is factored as it is
PANEL = 64  # columns that are eliminated together in a larger one
_ALIGNED = 64


@dataclass(frozen=True, slots=True)
class Blocks:
    """Factor large matrices in blocks.

    >>> from graphc.graph.parser import parse
    >>> small = parse('''
    ... graph f(%0: f32[8,8] x) {
    ...   %1: f32[8,8] = cholesky(%0)
    ...   return %1
    ... }''')
    >>> Blocks().run(small) is small
    True
    >>> large = parse('''
    ... graph f(%0: f32[300,300] x) {
    ...   %1: f32[300,300] = cholesky(%0)
    ...   return %1
    ... }''')
    >>> [node.result.shape for node in Blocks().run(large).nodes if node.op.name in ("cholesky", "dot_general")]
    [(192, 192), (108, 108), (108, 108)]
    """

    name: str = "blocks"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, _in_blocks)


def _in_blocks(graph: Graph) -> Graph:
    if not any(_is_large(node) for node in graph.nodes):
        return graph
    builder = GraphBuilder(graph.name)
    replaced: dict[Value, Value] = {value: value for value in graph.inputs}
    for node in graph.nodes:
        if not _is_large(node):
            builder.copy(node, replaced)
            continue
        c, x = Compose(builder, node.loc), replaced[node.operands[0]]
        found = (_cholesky(c, x),) if node.op is ops.cholesky else _lu(c, x)
        replaced.update(zip(node.results, found, strict=True))
    outputs = tuple(replaced[v] for v in graph.outputs)
    return Graph(graph.name, graph.inputs, tuple(builder.nodes), outputs, graph.aliases)


def _is_large(node: Node) -> bool:
    if node.op not in (ops.cholesky, ops.lu):
        return False
    rows, columns = node.operands[0].shape[-2:]
    return rows == columns and columns > LEAF


def _part(c: Compose, x: Value, rows: slice, columns: slice) -> Value:
    rank = x.type.rank
    start, stop = [0] * rank, list(x.shape)
    for dim, taken in ((rank - 2, rows), (rank - 1, columns)):
        start[dim], stop[dim], _ = taken.indices(x.shape[dim])
    return c.slice(x, tuple(start), tuple(stop), (1,) * rank)


def _transposed(c: Compose, x: Value) -> Value:
    rank = x.type.rank
    return c.transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def _cholesky(c: Compose, x: Value) -> Value:
    size, rank = x.shape[-1], x.type.rank
    if size <= LEAF:
        return c(ops.cholesky, x)
    half = -(-size // (2 * _ALIGNED)) * _ALIGNED
    first, second = slice(0, half), slice(half, size)
    corner = _cholesky(c, _part(c, x, first, first))
    across = c(ops.triangular_solve, corner, _transposed(c, _part(c, x, second, first)), attrs=TriangleAttrs(True))
    batch = tuple(range(rank - 2))
    known = c.dot_general(across, across, DotAttrs((rank - 2,), (rank - 2,), batch, batch))
    rest = _cholesky(c, c.sub(_part(c, x, second, second), known))
    # what is not positive definite is NaN throughout, and the rest shows it in its first element
    failed = _part(c, rest, slice(0, 1), slice(0, 1))
    failed = c(elementwise.ne, failed, failed)
    corner = _where_lower(c, failed, corner)
    below = _transposed(c, across)
    below = c.select(_spread(c, failed, below.shape), c.like(below, float("nan")), below)
    zeros = c.zeros(x.type.with_shape((*x.shape[:-2], half, size - half)))
    upper = c.concatenate([corner, zeros], rank - 1)
    return c.concatenate([upper, c.concatenate([below, rest], rank - 1)], rank - 2)


def _spread(c: Compose, flag: Value, shape: tuple[int, ...]) -> Value:
    rank = len(shape)
    return c.broadcast(c.reshape(flag, flag.shape[:-2]), shape, tuple(range(rank - 2)))


def _where_lower(c: Compose, failed: Value, factor: Value) -> Value:
    """NaN on and below the diagonal where `failed`."""
    rank = factor.type.rank
    row, column = (c.iota(factor.shape, dtypes.int32, rank - k) for k in (2, 1))
    lower = c(elementwise.and_, _spread(c, failed, factor.shape), c(elementwise.ge, row, column))
    return c.select(lower, c.like(factor, float("nan")), factor)


def _rows(c: Compose, x: Value, order: Value) -> Value:
    """The rows of x (its elements, if they are no rows) in another order."""
    axis = order.type.rank - 1
    return c(indexing.gather, x, order, attrs=GatherAttrs(axis, axis))


def _lu(c: Compose, x: Value) -> tuple[Value, Value, Value]:
    size, rank = x.shape[-1], x.type.rank
    if size <= PANEL:
        packed, pivots, order = c.builder.add(ops.lu, [x], loc=c.loc)
        return packed, pivots, order
    half = -(-size // (2 * PANEL)) * PANEL
    first, second, everything = slice(0, half), slice(half, None), slice(None)
    left, left_pivots, left_order = _lu(c, _part(c, x, everything, first))
    right = _rows(c, _part(c, x, everything, second), left_order)
    corner, below = _part(c, left, first, everything), _part(c, left, second, everything)
    across = c(ops.triangular_solve, corner, _part(c, right, first, everything), attrs=TriangleAttrs(True, False, True))
    batch = tuple(range(rank - 2))
    known = c.dot_general(below, across, DotAttrs((rank - 1,), (rank - 2,), batch, batch))
    rest, rest_pivots, rest_order = _lu(c, c.sub(_part(c, right, second, everything), known))
    lower = c.concatenate([_rows(c, below, rest_order), rest], rank - 1)
    packed = c.concatenate([c.concatenate([corner, across], rank - 1), lower], rank - 2)
    pivots = c.concatenate([left_pivots, c.add(rest_pivots, c.like(rest_pivots, half))], rank - 2)
    kept, moved = (c.slice_axis(left_order, rank - 2, *bounds) for bounds in ((0, half), (half, x.shape[-2])))
    return packed, pivots, c.concatenate([kept, _rows(c, moved, rest_order)], rank - 2)
