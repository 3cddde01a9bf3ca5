"""Batching rows of the sources: constants have no operands; random bits and shuffles take many keys at once."""

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import source as ops
from graphc.graph.ops.movement import ShapeAttrs
from graphc.transform.batching.rows import Batch, NoBatching, Operands, Row


def _random_bits(c: Compose, node: Node, operands: Operands) -> Value:
    return c(node.op, *operands.values, attrs=ShapeAttrs((operands.size, *node.result.shape)))


def _shuffle_index(c: Compose, node: Node, operands: Operands) -> Value:
    indices, keys = operands.values
    if not operands.batched[1] and keys.type.rank == 2:
        return c(node.op, indices, keys, attrs=node.attrs)
    return c(node.op, operands.all(0), operands.all(1), attrs=node.attrs)


ROWS: dict[Op, Row] = {
    ops.constant: NoBatching("it has no operands"),
    ops.iota: NoBatching("it has no operands"),
    ops.random_bits: Batch(_random_bits),
    ops.shuffle_index: Batch(_shuffle_index),
}
