"""Derivative rows of linear algebra, all of them products and triangular solves with the results.

Where a matrix is read as symmetric, of its tangent too only the lower triangle is read.
"""

from collections.abc import Sequence

from graphc.core import dtypes
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops import linalg as ops
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.linalg import TriangleAttrs
from graphc.transform.autodiff.rows import IsConstant, Jvp, Linear, Row, Tangent


class Matrices:
    """Products and parts of matrices in the last two dims."""

    def __init__(self, c: Compose) -> None:
        self.c = c

    def mul(self, a: Value, b: Value) -> Value:
        rank = a.type.rank
        batch = tuple(range(rank - 2))
        return self.c.dot_general(a, b, DotAttrs((rank - 1,), (rank - 2,), batch, batch))

    def transposed(self, a: Value) -> Value:
        rank = a.type.rank
        return self.c.transpose(a, (*range(rank - 2), rank - 1, rank - 2))

    def where(self, compare: Op, a: Value, otherwise: Value | None = None) -> Value:
        """The elements whose row compares so to their column; the others are of `otherwise`, or zero."""
        rank = a.type.rank
        row, column = (self.c.iota(a.shape, dtypes.int32, rank - k) for k in (2, 1))
        other = self.c.like(a, 0) if otherwise is None else otherwise
        return self.c.select(self.c(compare, row, column), a, other)

    def lower(self, a: Value) -> Value:
        return self.where(elementwise.ge, a)

    def below(self, a: Value) -> Value:
        return self.where(elementwise.gt, a)

    def upper(self, a: Value) -> Value:
        return self.where(elementwise.le, a)

    def symmetric(self, a: Value) -> Value:
        """What is read where only the lower triangle is."""
        return self.where(elementwise.ge, a, self.transposed(a))

    def solve(self, a: Value, b: Value, *, lower: bool, transposed: bool = False, unit: bool = False) -> Value:
        return self.c(ops.triangular_solve, a, b, attrs=TriangleAttrs(lower, transposed, unit))

    def solve_right(self, b: Value, a: Value, *, lower: bool, transposed: bool = False, unit: bool = False) -> Value:
        """The x of `x a = b`."""
        found = self.solve(a, self.transposed(b), lower=lower, transposed=not transposed, unit=unit)
        return self.transposed(found)


def _cholesky(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
    (t,), factor, m = tangents, node.result, Matrices(c)
    assert t is not None
    inner = m.solve_right(m.solve(factor, m.symmetric(t), lower=True), factor, lower=True, transposed=True)
    half = m.where(elementwise.eq, c.scale(inner, 0.5), inner)
    return (m.mul(factor, m.lower(half)),)


def _triangular(c: Compose, node: Node, tangents: Sequence[Tangent]) -> Value:
    attrs, m = node.attrs, Matrices(c)
    assert isinstance(attrs, TriangleAttrs)
    t_a, total = tangents
    if t_a is not None:
        keep = (elementwise.gt if attrs.unit else elementwise.ge, elementwise.lt if attrs.unit else elementwise.le)
        read = m.where(keep[0] if attrs.lower else keep[1], t_a)
        term = m.mul(m.transposed(read) if attrs.transposed else read, node.result)
        total = c.neg(term) if total is None else c.sub(total, term)
    assert total is not None
    return c(ops.triangular_solve, node.operands[0], total, attrs=attrs)


def _triangular_transpose(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    attrs = node.attrs
    assert isinstance(attrs, TriangleAttrs)
    turned = TriangleAttrs(attrs.lower, not attrs.transposed, attrs.unit)
    return None, c(ops.triangular_solve, node.operands[0], ct, attrs=turned)


def _lu(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent, ...]:
    (t,), (packed, _, order), m = tangents, node.results, Matrices(c)
    assert t is not None
    rank = t.type.rank
    exchanged = c(indexing.gather, t, order, attrs=GatherAttrs(rank - 2, rank - 2))
    inner = m.solve(packed, exchanged, lower=True, unit=True)
    inner = m.solve_right(inner, packed, lower=False)
    unit = m.where(elementwise.eq, c.like(packed, 1), m.below(packed))
    return c.add(m.mul(unit, m.below(inner)), m.mul(m.upper(inner), m.upper(packed))), None, None


ROWS: dict[Op, Row] = {
    ops.cholesky: Jvp(_cholesky),
    ops.triangular_solve: Linear(_triangular_transpose, jvp=_triangular),
    ops.lu: Jvp(_lu),
}
