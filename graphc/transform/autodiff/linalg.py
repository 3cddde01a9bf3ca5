"""Derivative rows of linear algebra, all of them products and triangular solves with the results.

Where a matrix is read as symmetric, of its tangent too only the lower triangle is read. Vectors of equal eigenvalues or
singular values have no derivative of their own: it is infinite or NaN there. The values themselves have one. So have
functions of the values alone.
"""

from collections.abc import Sequence

from graphc.core import dtypes
from graphc.core.errors import GradientError
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops import linalg as ops
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.linalg import FullAttrs, TriangleAttrs
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
    if t.shape[-2] != t.shape[-1]:
        raise GradientError(f"lu: only of square matrices it can be differentiated, not of {t.type} ({node.loc})")
    rank = t.type.rank
    exchanged = c(indexing.gather, t, order, attrs=GatherAttrs(rank - 2, rank - 2))
    inner = m.solve(packed, exchanged, lower=True, unit=True)
    inner = m.solve_right(inner, packed, lower=False)
    unit = m.where(elementwise.eq, c.like(packed, 1), m.below(packed))
    return c.add(m.mul(unit, m.below(inner)), m.mul(m.upper(inner), m.upper(packed))), None, None


def _gaps(m: Matrices, values: Value) -> Value:
    """1 / (values[j] - values[i]), zero on the diagonal: infinite where two of them are equal."""
    c = m.c
    rank = values.type.rank
    square = (*values.shape, values.shape[-1])
    batch = tuple(range(rank - 1))
    rows, columns = (c.broadcast(values, square, (*batch, rank - 1 + k)) for k in (0, 1))
    apart = m.where(elementwise.ne, c.sub(columns, rows), c.like(rows, 1))
    return m.where(elementwise.ne, c.div(c.like(rows, 1), apart))


def _scaled(m: Matrices, a: Value, values: Value) -> Value:
    """Each column of `a` times its number."""
    rank = a.type.rank
    return m.c.mul(a, m.c.broadcast(values, a.shape, (*range(rank - 2), rank - 1)))


def _diagonal(m: Matrices, a: Value) -> Value:
    return m.c.reduce_sum(m.where(elementwise.eq, a), (a.type.rank - 1,))


def _eigh(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent, ...]:
    (t,), (values, vectors), m = tangents, node.results, Matrices(c)
    assert t is not None
    inner = m.mul(m.transposed(vectors), m.mul(m.symmetric(t), vectors))
    return _diagonal(m, inner), m.mul(vectors, c.mul(_gaps(m, values), inner))


def _svd(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent, ...]:
    (t,), (u, s, vt), m = tangents, node.results, Matrices(c)
    assert t is not None and isinstance(node.attrs, FullAttrs)
    rows, columns = t.shape[-2:]
    if node.attrs.full and rows != columns:
        raise GradientError(f"svd: with full factors only square matrices can be differentiated ({node.loc})")
    v, ut = m.transposed(vt), m.transposed(u)
    image = m.mul(t, v)
    inner = m.mul(ut, image)
    turned = m.transposed(inner)
    gaps = _gaps(m, c.mul(s, s))
    rank = inner.type.rank
    by_row = c.broadcast(s, inner.shape, (*range(rank - 2), rank - 2))
    t_u = m.mul(u, c.mul(gaps, c.add(_scaled(m, inner, s), c.mul(by_row, turned))))
    t_v = m.mul(v, c.mul(gaps, c.add(c.mul(by_row, inner), _scaled(m, turned, s))))
    inverse = c.div(c.like(s, 1), s)
    if rows > columns:
        t_u = c.add(t_u, _scaled(m, c.sub(image, m.mul(u, inner)), inverse))
    if columns > rows:
        image = m.mul(m.transposed(t), u)
        t_v = c.add(t_v, _scaled(m, c.sub(image, m.mul(v, turned)), inverse))
    return t_u, _diagonal(m, inner), m.transposed(t_v)


def _qr(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent, ...]:
    (t,), (q, r), m = tangents, node.results, Matrices(c)
    assert t is not None and isinstance(node.attrs, FullAttrs)
    rows, columns = t.shape[-2:]
    if rows < columns or (node.attrs.full and rows != columns):
        what = "with a square factor" if node.attrs.full else "with fewer rows than columns"
        raise GradientError(f"qr: cannot be differentiated {what}, {rows}x{columns} ({node.loc})")
    whole = m.solve_right(t, r, lower=False)
    inner = m.mul(m.transposed(q), whole)
    below = m.below(inner)
    turn = c.sub(below, m.transposed(below))
    return c.add(m.mul(q, c.sub(turn, inner)), whole), m.mul(c.sub(inner, turn), r)


ROWS: dict[Op, Row] = {
    ops.cholesky: Jvp(_cholesky),
    ops.triangular_solve: Linear(_triangular_transpose, jvp=_triangular),
    ops.lu: Jvp(_lu),
    ops.qr: Jvp(_qr),
    ops.svd: Jvp(_svd),
    ops.eigh: Jvp(_eigh),
}
