"""Derivative rows of dynamic_slice and dynamic_update_slice: each is the other's transpose."""

from collections.abc import Sequence

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import windows as ops
from graphc.graph.ops.windows import DimsAttrs, WindowAttrs
from graphc.transform.autodiff.rows import Linear, Row, Tangent


def _slice(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, WindowAttrs)
    x, *starts = node.operands
    placed = c(ops.dynamic_update_slice, c.zeros(x.type), ct, *starts, attrs=DimsAttrs(node.attrs.dims))
    return placed, *(None for _ in starts)


def _update(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, DimsAttrs)
    _, update, *starts = node.operands
    ct_x = ct_update = None
    if linear[0]:
        ct_x = c(ops.dynamic_update_slice, ct, c.zeros(update.type), *starts, attrs=node.attrs)
    if linear[1]:
        sizes = tuple(update.shape[d] for d in node.attrs.dims)
        ct_update = c(ops.dynamic_slice, ct, *starts, attrs=WindowAttrs(node.attrs.dims, sizes))
    return ct_x, ct_update, *(None for _ in starts)


ROWS: dict[Op, Row] = {ops.dynamic_slice: Linear(_slice), ops.dynamic_update_slice: Linear(_update)}
