"""Derivative rows of the sorts: tangents go where their elements go."""

from collections.abc import Sequence

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op
from graphc.graph.ops import indexing
from graphc.graph.ops import sorting as ops
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.sorting import SortAttrs
from graphc.transform.autodiff.rows import IsConstant, Jvp, Row, Tangent, Zero


def _sort(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
    assert isinstance(node.attrs, SortAttrs)
    (x,), (t,) = node.operands, tangents
    assert t is not None
    if x.type.size == 0:
        return (t,)
    rank, axis = x.type.rank, node.attrs.axis
    last = (*(d for d in range(rank) if d != axis), axis)
    order = c.transpose(c(ops.argsort, x, attrs=node.attrs), last)
    taken = c(indexing.gather, c.transpose(t, last), order, attrs=GatherAttrs(rank - 1, rank - 1))
    return (c.transpose(taken, tuple(last.index(d) for d in range(rank))),)


ROWS: dict[Op, Row] = {ops.sort: Jvp(_sort), ops.argsort: Zero(), ops.arg_top_k: Zero()}
