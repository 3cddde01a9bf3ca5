"""Products with one row or one column become sums of products, which are added up in the order of reductions.

A `dot_general` one operand of which has no free extent reads the other operand once, and so should run at the speed of
memory. A contraction adds each output up in one chain, and where the chain runs along memory (a vector times weights
stored [out][in]) every step waits for the one before it. A reduction has independent lanes and a tree: in both layouts
as fast as memory, and its error grows with the logarithm of the length rather than with the length.

What comes in is canonical; what goes out has mul and reduce_sum in place of such products, bfloat16 cast to float32
before and back after. Whether it happens depends on extents alone, as bits may depend on nothing else.
"""

from math import prod

from graphc.core.dtypes import bfloat16, float32
from graphc.core.records import dataclass
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops import contraction
from graphc.graph.ops.contraction import DotAttrs, free_dims
from graphc.passes.rewrite import Context, NodeRule, rewrite

SHORTEST = 64  # sums with fewer terms stay chains: lanes and a tree would take longer than the terms


def _sum_of_products(context: Context, node: Node) -> Value | None:
    """dot(x, y) = sum(x * y) where x or y has no free extent"""
    assert isinstance(node.attrs, DotAttrs)
    attrs, (lhs, rhs) = node.attrs, node.operands
    if prod(lhs.shape[d] for d in attrs.lhs_contract) < SHORTEST:
        return None
    rows = free_dims(lhs.type.rank, attrs.lhs_contract, attrs.lhs_batch)
    columns = free_dims(rhs.type.rank, attrs.rhs_contract, attrs.rhs_batch)
    if prod(lhs.shape[d] for d in rows) != 1 and prod(rhs.shape[d] for d in columns) != 1:
        return None
    c = context.compose(node)
    kept = node.result.type.rank
    summed = tuple(range(kept, kept + len(attrs.lhs_contract)))
    shape = (*node.result.shape, *(lhs.shape[d] for d in attrs.lhs_contract))
    batch = tuple(range(len(attrs.lhs_batch)))
    left = (*batch, *range(len(batch), len(batch) + len(rows)), *summed)
    right = (*batch, *range(kept - len(columns), kept), *summed)
    a = _spread(c, lhs, (*attrs.lhs_batch, *rows, *attrs.lhs_contract), shape, left)
    b = _spread(c, rhs, (*attrs.rhs_batch, *columns, *attrs.rhs_contract), shape, right)
    return c.cast(c.reduce_sum(c.mul(a, b), summed), node.result.dtype)


def _spread(c: Compose, x: Value, order: tuple[int, ...], shape: tuple[int, ...], dims: tuple[int, ...]) -> Value:
    """An operand with its dims in `order`, as `dims` of `shape`; cast last, so that the kernel of the sum does it."""
    spread = c.broadcast(c.transpose(x, order), shape, dims)
    return c.cast(spread, float32) if x.dtype is bfloat16 else spread


@dataclass(frozen=True, slots=True)
class Matvec:
    """Replace products with one row or one column whose sums have at least 64 terms.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Matvec().run(
    ...         parse('''
    ... graph f(%0: f32[1,64] x, %1: f32[8,64] w) {
    ...   %2: f32[1,8] = dot_general(%0, %1) {lhs_contract=(1,), rhs_contract=(1,), lhs_batch=(), rhs_batch=()}
    ...   return %2
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[1,64] x, %1: f32[8,64] w) {
      %2: f32[1,8,64] = broadcast(%0) {shape=(1, 8, 64), dims=(0, 2)}
      %3: f32[1,8,64] = broadcast(%1) {shape=(1, 8, 64), dims=(1, 2)}
      %4: f32[1,8,64] = mul(%2, %3)
      %5: f32[1,8] = reduce_sum(%4) {axes=(2,)}
      return %5
    }
    <BLANKLINE>
    """

    name: str = "matvec"

    def run(self, graph: Graph) -> Graph:
        return rewrite(graph, (NodeRule((contraction.dot_general,), _sum_of_products, budget=9),))
