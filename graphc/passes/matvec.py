"""Products with one row or one column become sums of products, which are added up in the order of reductions.

A `dot_general` one operand of which has no free extent reads the other operand once, and so should run at the speed of
memory. A contraction adds each output up in one chain, and where the chain runs along memory (a vector times weights
stored [out][in]) every step waits for the one before it. A reduction has independent lanes and a tree: in both layouts
as fast as memory, and its error grows with the logarithm of the length rather than with the length.

What comes in is canonical; what goes out has mul and reduce_sum in place of such products, half types cast to float32
before and back after. Whether it happens depends on extents alone, as bits may depend on nothing else.
"""

from math import prod

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
    left = _Operand(lhs, attrs.lhs_batch, attrs.lhs_contract)
    right = _Operand(rhs, attrs.rhs_batch, attrs.rhs_contract)
    if left.is_vector:
        return _multiply(context.compose(node), right, left, node.result)
    return _multiply(context.compose(node), left, right, node.result) if right.is_vector else None


@dataclass(frozen=True, slots=True)
class _Operand:
    value: Value
    batch: tuple[int, ...]
    contract: tuple[int, ...]

    @property
    def free(self) -> tuple[int, ...]:
        return free_dims(self.value.type.rank, self.batch, self.contract)

    @property
    def is_vector(self) -> bool:
        return prod(self.value.shape[d] for d in self.free) == 1


def _multiply(c: Compose, matrix: _Operand, vector: _Operand, result: Value) -> Value:
    """The products lie as the matrix does, but their dims are listed as the product does: the order of the sum."""
    rank = matrix.value.type.rank
    summed = tuple(sorted(matrix.contract))
    kept = free_dims(rank, summed)
    order = [0] * rank
    for place, dim in zip((*kept, *summed), (*matrix.batch, *matrix.free, *matrix.contract), strict=True):
        order[place] = dim
    a = c.transpose(matrix.value, tuple(order))
    x = c.transpose(vector.value, (*vector.free, *vector.batch, *vector.contract))
    x = c.reshape(x, x.shape[len(vector.free) :])
    places = (*kept[: len(vector.batch)], *summed)
    ascending = sorted(range(len(places)), key=places.__getitem__)
    b = c.broadcast(c.transpose(x, tuple(ascending)), a.shape, tuple(sorted(places)))
    total = c.reduce_sum(c.mul(_wide(c, a), _wide(c, b)), summed)
    return c.cast(c.reshape(total, result.shape), result.dtype)


def _wide(c: Compose, x: Value) -> Value:
    """In the dtype that is added up in; cast last, so that the kernel of the sum does it."""
    return c.cast(x, x.dtype.computes_in)


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
      %2: f32[64] = reshape(%0) {shape=(64,)}
      %3: f32[8,64] = broadcast(%2) {shape=(8, 64), dims=(1,)}
      %4: f32[8,64] = mul(%1, %3)
      %5: f32[8] = reduce_sum(%4) {axes=(1,)}
      %6: f32[1,8] = reshape(%5) {shape=(1, 8)}
      return %6
    }
    <BLANKLINE>
    """

    name: str = "matvec"

    def run(self, graph: Graph) -> Graph:
        return rewrite(graph, (NodeRule((contraction.dot_general,), _sum_of_products, budget=11),))
