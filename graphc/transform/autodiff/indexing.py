"""Derivative rows of gather and the scatters.

gather and scatter_add are each other's transpose, up to indices outside the axis: gather reads the nearest element for
such an index, so its transpose clamps it; a scatter drops such an update, so its transpose gives it zero.

Of several updates of one element the last one has the derivative of scatter, the first extreme one (the old element
before all updates) that of scatter_max and scatter_min.
"""

from collections.abc import Sequence
from math import prod

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, TensorType, Value
from graphc.graph.ops import cumulative, elementwise, sorting
from graphc.graph.ops import indexing as ops
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.sorting import SortAttrs
from graphc.transform.autodiff.rows import IsConstant, Jvp, Linear, Row, Tangent, zeros_for


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


def _per_update(c: Compose, node: Node, x: Value) -> Value:
    """One number per index, for each element of the updates."""
    assert isinstance(node.attrs, GatherAttrs)
    axis, batch = node.attrs.axis, node.attrs.batch_dims
    rank = node.operands[1].type.rank
    dims = (*range(batch), *range(axis, axis + rank - batch))
    return c.broadcast(x, node.operands[2].shape, dims)


def _numbers(c: Compose, node: Node) -> Value:
    """The number of each index, from 0 in index order in each batch."""
    assert isinstance(node.attrs, GatherAttrs)
    shape, batch = node.operands[1].shape, node.attrs.batch_dims
    count = prod(shape[batch:])
    dtype = dtypes.int32 if count < 2**31 else dtypes.int64
    flat = c.reshape(c.iota((count,), dtype, 0), shape[batch:])
    return c.broadcast(flat, shape, tuple(range(batch, len(shape))))


def _gather(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, GatherAttrs)
    x, indices = node.operands
    if ct.type.size == 0:
        return None, None
    clamped = _clamped(c, indices, x.shape[node.attrs.axis])
    return c(ops.scatter_add, c.zeros(x.type), clamped, ct, attrs=node.attrs), None


def _update_cotangent(c: Compose, node: Node, ct: Value, chosen: Value | None) -> Tangent:
    """What a cotangent of the result gives the updates that are inside, and chosen where that is asked."""
    assert isinstance(node.attrs, GatherAttrs)
    x, indices, updates = node.operands
    extent = x.shape[node.attrs.axis]
    inside = _inside(c, indices, extent)
    if chosen is not None:
        inside = chosen if inside is None else c(elementwise.and_, inside, chosen)
    taken = c(ops.gather, ct, indices, attrs=node.attrs)
    if inside is None:
        return taken
    return c.select(_per_update(c, node, inside), taken, c.zeros(updates.type))


def _scatter_add(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    ct_x = ct if linear[0] else None
    if not linear[2] or node.operands[0].type.size == 0 or node.operands[2].type.size == 0:
        return ct_x, None, None
    return ct_x, None, _update_cotangent(c, node, ct, None)


def _scatter(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, GatherAttrs)
    x, indices, updates = node.operands
    if x.type.size == 0 or updates.type.size == 0:
        return ct if linear[0] else None, None, None
    ct_x = c(ops.scatter, ct, indices, c.zeros(updates.type), attrs=node.attrs) if linear[0] else None
    if not linear[2]:
        return ct_x, None, None
    batch = node.attrs.batch_dims
    numbers = _numbers(c, node)
    nobody = c.full(TensorType((*x.shape[:batch], x.shape[node.attrs.axis]), numbers.dtype), -1)
    attrs = GatherAttrs(batch, batch)
    last = c(ops.gather, c(ops.scatter, nobody, indices, numbers, attrs=attrs), indices, attrs=attrs)
    return ct_x, None, _update_cotangent(c, node, ct, c.eq(last, numbers))


def _extremum(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
    assert isinstance(node.attrs, GatherAttrs)
    x, indices, updates = node.operands
    t_x, t_updates = zeros_for(c, tangents[0], x), zeros_for(c, tangents[2], updates)
    if x.type.size == 0 or updates.type.size == 0:
        return (t_x,)
    kept = c.eq(x, node.result)
    t_kept = c.select(kept, t_x, c.zeros(t_x.type))
    numbers = _per_update(c, node, _numbers(c, node))
    nobody = prod(indices.shape)  # larger than every number
    candidates = c.eq(updates, c(ops.gather, node.result, indices, attrs=node.attrs))
    owners = x.type.with_dtype(numbers.dtype)
    start = c.select(kept, c.full(owners, -1), c.full(owners, nobody))
    asked = c.select(candidates, numbers, c.like(numbers, nobody))
    first = c(ops.gather, c(ops.scatter_min, start, indices, asked, attrs=node.attrs), indices, attrs=node.attrs)
    t_won = c.select(c.eq(first, asked), t_updates, c.zeros(updates.type))
    t_won = c.select(candidates, t_won, c.zeros(updates.type))
    return (c(ops.scatter_add, t_kept, indices, t_won, attrs=node.attrs),)


def _neighbour(c: Compose, x: Value, axis: int, forward: bool) -> Value:
    """What stands before each place of x on the axis, or after it; what is beyond the end is 0."""
    length = x.shape[axis]
    if forward:
        return c.slice_axis(c.pad_axis(x, 0, axis, 1, 0), axis, 0, length)
    return c.slice_axis(c.pad_axis(x, 0, axis, 0, 1), axis, 1, length + 1)


def _product(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
    """Each update times the product of the old element and all other updates of it.

    Sorted by index, updates of one element lie beside each other; the products of those before and behind in a group
    are recurrences that begin anew with each group.
    """
    assert isinstance(node.attrs, GatherAttrs)
    x, indices, updates = node.operands
    t_x, t_updates = zeros_for(c, tangents[0], x), zeros_for(c, tangents[2], updates)
    if x.type.size == 0 or updates.type.size == 0:
        return (t_x,)
    axis, batch = node.attrs.axis, node.attrs.batch_dims
    count = prod(indices.shape[batch:])
    flat = c.reshape(indices, (*indices.shape[:batch], count))
    rows = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    order = c(sorting.argsort, flat, attrs=SortAttrs(batch))
    here = c(ops.gather, flat, order, attrs=GatherAttrs(batch, batch))
    attrs = GatherAttrs(axis, batch)
    given, t_given = (c(ops.gather, c.reshape(v, rows), order, attrs=attrs) for v in (updates, t_updates))

    number = c.iota(here.shape, dtypes.int64, batch)
    others: Value | None = None
    for forward in (True, False):
        is_end = c.eq(number, c.like(number, 0 if forward else count - 1))
        begins = c(elementwise.or_, is_end, c(elementwise.ne, here, _neighbour(c, here, batch, forward)))
        begins = c.broadcast(begins, rows, (*range(batch), axis))
        first = c(ops.gather, x, here, attrs=attrs) if forward else c.like(given, 1)
        factors = c.select(begins, c.zeros(given.type), _neighbour(c, given, axis, forward))
        terms = c.select(begins, first, c.zeros(given.type))
        products = c(cumulative.linear_recurrence, factors, terms, attrs=CumulativeAttrs(axis, not forward))
        others = products if others is None else c.mul(others, products)
    assert others is not None
    factor = c(ops.scatter_mul, c.like(x, 1), indices, updates, attrs=node.attrs)
    return (c(ops.scatter_add, c.mul(t_x, factor), here, c.mul(others, t_given), attrs=attrs),)


ROWS: dict[Op, Row] = {
    ops.gather: Linear(_gather),
    ops.scatter: Linear(_scatter),
    ops.scatter_add: Linear(_scatter_add),
    ops.scatter_mul: Jvp(_product),
    ops.scatter_min: Jvp(_extremum),
    ops.scatter_max: Jvp(_extremum),
}
