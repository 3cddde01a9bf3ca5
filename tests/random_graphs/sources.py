"""Steps that make values of their own, and the step that repeats another."""

import numpy as np

from graphc.core import dtypes
from graphc.graph.ir import Op, TensorType
from graphc.graph.ops import elementwise, movement, source
from tests.accepted import accepted
from tests.random_graphs.grower import Grower, Maker, Rejected

_ORDERED = (elementwise.pow_, elementwise.shift_left, elementwise.shift_right)  # operands differ in what they may be


_SOURCES = (source.constant, source.iota, source.iota, source.random_bits, source.shuffle_index)


def _alone(g: Grower, op: Op) -> None:
    """What has no operands."""
    type = g.random_type()
    if g.wish is not None:
        type = type.with_dtype(g.wish.dtype)
    if op is source.constant:
        g.constant(type)
        return
    if type.rank == 0 or type.dtype not in accepted(op):
        raise Rejected
    g.add(op, attrs=source.IotaAttrs(type.shape, type.dtype, g.below(type.rank)))


def _source(g: Grower) -> None:
    op = g.one_of(_SOURCES)
    if op in (source.constant, source.iota):
        _alone(g, op)
        return
    key = g.of_type(TensorType((2,), dtypes.uint32))
    bits = g.add(source.random_bits, key, attrs=movement.ShapeAttrs(g.shapes[g.below(len(g.shapes))]))
    if op is source.shuffle_index:
        keys = g.of_type(TensorType((4, 2), dtypes.uint32))
        eleven = g.add(source.constant, attrs=source.ConstantAttrs(np.full(bits.shape, 11, np.uint32)))
        below = g.add(elementwise.rem, bits, eleven)
        g.add(source.shuffle_index, below, keys, attrs=source.ShuffleAttrs(11))


def _again(g: Grower) -> None:
    """Repeat a node: the same op on the same operands, or on two of one type the other way round."""
    if not g.builder.nodes:
        raise Rejected
    node = g.builder.nodes[g.below(len(g.builder.nodes))]
    operands = node.operands
    if len(operands) == 2 and operands[0].type == operands[1].type and node.op not in _ORDERED:
        operands = operands[::-1] if g.chance(0.5) else operands
    g.add(node.op, *operands, attrs=node.attrs)


MAKERS = {
    "source": Maker(_source, _SOURCES),
    "again": Maker(_again, ()),
}
