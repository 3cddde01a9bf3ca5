"""Lowering of dynamic_slice and dynamic_update_slice, element by element: index arithmetic with a clamped start.

An update of a small window may have a kernel of its own (`updates`).
"""

from graphc.graph.ir import Node
from graphc.graph.ops.windows import DimsAttrs, WindowAttrs
from graphc.kernel.ir import Binary, Expr, Select
from graphc.kernel.lower.emit import Emitter, Pull, PullRule
from graphc.kernel.lower.expr import Index, add, all_of, between, clamp
from graphc.kernel.lower.movement import nearest


def first_of(emitter: Emitter, start: Expr, extent: int, size: int) -> Expr:
    """Where a window begins along a dim."""
    return emitter.let(nearest(start, extent - size + 1), "start")


def _slice(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, WindowAttrs)
    x, *starts = node.operands
    found = list(idx)
    for dim, size, start in zip(node.attrs.dims, node.attrs.sizes, starts, strict=True):
        given = yield start, ()
        found[dim] = add(first_of(emitter, given, x.shape[dim], size), idx[dim])
    return (yield x, tuple(found))


def _update(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, DimsAttrs)
    x, update, *starts = node.operands
    old = yield x, idx
    if update.type.size == 0:
        return old
    conditions: list[Expr] = []
    found = list(idx)
    for dim, start in zip(node.attrs.dims, starts, strict=True):
        size = update.shape[dim]
        given = yield start, ()
        offset = Binary("sub", idx[dim], first_of(emitter, given, x.shape[dim], size))
        conditions.append(between(offset, 0, size))
        found[dim] = clamp(offset, size)
    new = yield update, tuple(found)
    condition = all_of(conditions)
    return new if condition is None else Select(condition, new, old)


RULES: dict[str, PullRule] = {"dynamic_slice": _slice, "dynamic_update_slice": _update}
