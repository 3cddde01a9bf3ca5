"""Derivative row of dot_general: linear in each operand, and transposed into another dot_general.

The operands of the transposed product are put in the order that needs no transpose of the result, if there is one.
The cotangent of a float32 product of bfloat16 is rounded to bfloat16: the result is no finer, and the product stays one
of bfloat16.
"""

from collections.abc import Sequence
from dataclasses import replace

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import contraction as ops
from graphc.graph.ops.contraction import DotAttrs, free_dims
from graphc.transform.autodiff.rows import Linear, Row, Tangent


def _swapped(attrs: DotAttrs) -> DotAttrs:
    return DotAttrs(attrs.rhs_contract, attrs.lhs_contract, attrs.rhs_batch, attrs.lhs_batch)


def _contract(c: Compose, ct: Value, ct_free: range, other: Value, own: Value, attrs: DotAttrs) -> Value:
    """The cotangent of the operand `own` (lhs of `attrs`); `ct_free` are the dims of `ct` that come from `other`."""
    batch = tuple(range(len(attrs.lhs_batch)))
    own_free = free_dims(own.type.rank, attrs.lhs_contract, attrs.lhs_batch)
    other_free = free_dims(other.type.rank, attrs.rhs_contract, attrs.rhs_batch)
    # `other` keeps its contracted dims in its own order; they are the contracted dims of `own`, paired up
    paired = tuple(own_dim for _, own_dim in sorted(zip(attrs.rhs_contract, attrs.lhs_contract, strict=True)))
    ct_first = (*attrs.lhs_batch, *own_free, *paired)
    other_first = (*attrs.lhs_batch, *paired, *own_free)
    if other_first == tuple(range(own.type.rank)):
        return c.dot_general(other, ct, DotAttrs(other_free, tuple(ct_free), attrs.rhs_batch, batch))
    product = c.dot_general(ct, other, DotAttrs(tuple(ct_free), other_free, batch, attrs.rhs_batch))
    return c.transpose(product, tuple(ct_first.index(d) for d in range(own.type.rank)))


def _dot(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, DotAttrs)
    lhs, rhs = node.operands
    attrs = replace(node.attrs, dtype=None)
    ct = c.cast(ct, lhs.dtype)
    batch = len(attrs.lhs_batch)
    lhs_free = len(free_dims(lhs.type.rank, attrs.lhs_contract, attrs.lhs_batch))
    if linear[0]:
        return _contract(c, ct, range(batch + lhs_free, ct.type.rank), rhs, lhs, attrs), None
    return None, _contract(c, ct, range(batch, batch + lhs_free), lhs, rhs, _swapped(attrs))


ROWS: dict[Op, Row] = {ops.dot_general: Linear(_dot, apart=True)}
