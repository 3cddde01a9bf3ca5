"""Derivative rows of gather and scatter_add: each is the other's transpose, up to indices outside the axis.

gather reads the nearest element for an index outside, so its transpose clamps the index; scatter_add drops such an
update, so its transpose gives it zero.
"""

from collections.abc import Sequence

from graphc.core.dtypes import DType
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import elementwise
from graphc.graph.ops import indexing as ops
from graphc.graph.ops.movement import AxisAttrs
from graphc.transform.autodiff.rows import Linear, Row, Tangent


def _may_pass(dtype: DType, extent: int) -> bool:
    """Whether an index of this dtype can be at or above the extent."""
    bits = dtype.bits - 1 if dtype.kind == "int" else dtype.bits
    return 1 << bits > extent


def _clamped(c: Compose, indices: Value, extent: int) -> Value:
    if indices.dtype.kind == "int":
        indices = c(elementwise.max_, indices, c.like(indices, 0))
    if _may_pass(indices.dtype, extent):
        indices = c(elementwise.min_, indices, c.like(indices, extent - 1))
    return indices


def _inside(c: Compose, indices: Value, extent: int) -> Value | None:
    """Which indices are in [0, extent); None when all are."""
    tests: list[Value] = []
    if indices.dtype.kind == "int":
        tests.append(c(elementwise.ge, indices, c.like(indices, 0)))
    if _may_pass(indices.dtype, extent):
        tests.append(c(elementwise.lt, indices, c.like(indices, extent)))
    if len(tests) == 2:
        return c(elementwise.and_, *tests)
    return tests[0] if tests else None


def _gather(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, AxisAttrs)
    x, indices = node.operands
    axis = node.attrs.axis
    if indices.type.size == 0:
        return None, None
    return c.scatter_add(c.zeros(x.type), _clamped(c, indices, x.shape[axis]), ct, axis), None


def _scatter_add(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, AxisAttrs)
    x, indices, updates = node.operands
    axis = node.attrs.axis
    ct_x = ct if linear[0] else None
    if not linear[2] or x.shape[axis] == 0 or indices.type.size == 0:
        return ct_x, None, None
    taken = c.gather(ct, indices, axis)
    inside = _inside(c, indices, x.shape[axis])
    if inside is None:
        return ct_x, None, taken
    dims = tuple(range(axis, axis + indices.type.rank))
    return ct_x, None, c.select(c.broadcast(inside, updates.shape, dims), taken, c.zeros(updates.type))


ROWS: dict[Op, Row] = {ops.gather: Linear(_gather), ops.scatter_add: Linear(_scatter_add)}
