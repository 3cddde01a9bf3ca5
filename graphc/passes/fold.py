"""Constant folding: a node whose operands are constants becomes a constant, by running the op's meaning.

Only ops whose result is the same bits everywhere are run: movement, integers, comparisons, select, conversions, and the
float operations IEEE 754 rounds exactly. Transcendental functions, float reductions and contractions are left alone,
because a backend may round them differently. A broadcast constant stays one number: elementwise ops on such are folded
to one number, broadcast; no fold makes a constant above `limit` elements.
"""

import numpy as np

from graphc.core.records import dataclass
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import contraction, elementwise, indexing, movement, reduction, sliding, source, windows
from graphc.passes.rewrite import Context, NodeRule, rewrite

_E = elementwise
_EXACT: frozenset[Op] = frozenset(
    {_E.neg, _E.abs_, _E.sign, _E.sqrt, _E.floor, _E.ceil, _E.trunc, _E.round_, _E.is_finite, _E.not_}
    | {_E.add, _E.sub, _E.mul, _E.div, _E.and_, _E.or_, _E.xor, _E.shift_left, _E.shift_right}
    | {_E.eq, _E.ne, _E.lt, _E.le, _E.gt, _E.ge, _E.select, _E.cast, _E.bitcast}
    | {movement.reshape, movement.transpose, movement.slice_, movement.pad, sliding.windows}
    | {movement.concatenate, movement.reverse}
    | {
        reduction.argmax,
        reduction.argmin,
        indexing.gather,
        indexing.scatter,
        windows.dynamic_slice,
        windows.dynamic_update_slice,
    }
    | {source.random_bits, source.shuffle_index}
)
# rem is a library call on floats, and of 0.0 and -0.0 a float max or min may give either
_EXACT_ON_INTEGERS: frozenset[Op] = frozenset(
    {_E.rem, _E.max_, _E.min_, indexing.scatter_add, indexing.scatter_mul, contraction.dot_general}
    | {reduction.reduce_sum, reduction.reduce_prod, reduction.reduce_max, reduction.reduce_min}
)


def _is_exact(node: Node) -> bool:
    return node.op in _EXACT or (node.op in _EXACT_ON_INTEGERS and not node.operands[0].dtype.is_float)


def _array(context: Context, value: Value, limit: int) -> np.ndarray | None:
    """The elements of a constant; None when it is not one or too large."""
    producer = context.producer(value)
    if producer is None:
        return None
    if isinstance(producer.attrs, source.ConstantAttrs):
        return producer.attrs.value
    number = context.uniform(value)
    if number is None or value.type.size > limit:
        return None
    return np.full(value.shape, number, value.dtype.numpy)


def _fold(context: Context, node: Node, limit: int) -> Value | None:
    if not _is_exact(node) or not node.operands:
        return None
    c = context.compose(node)
    if node.op.kind == "elementwise" and node.result.type.rank > 0:
        numbers = [context.uniform(v) for v in node.operands]
        if all(number is not None for number in numbers):
            return _broadcast_number(c, node, [number for number in numbers if number is not None])
    if node.result.type.size > limit or any(v.type.size > limit for v in node.operands):
        return None
    arrays = [_array(context, v, limit) for v in node.operands]
    if any(array is None for array in arrays):
        return None
    (result,) = node.op.meaning(node.attrs, *arrays)
    return c.constant(np.array(result, order="C"))


def _broadcast_number(c: Compose, node: Node, numbers: list[np.ndarray]) -> Value:
    (number,) = node.op.meaning(node.attrs, *numbers)
    return c.spread(c.constant(np.array(number)), node.result.shape)


@dataclass(frozen=True, slots=True)
class Fold:
    """Replace nodes on constants by constants of at most `limit` elements.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Fold().run(
    ...         parse('''
    ... graph f(%0: f32[3] x) {
    ...   %1: f32[] = constant() {value=f32[]{2.0}}
    ...   %2: f32[3] = broadcast(%1) {shape=(3,), dims=()}
    ...   %3: f32[3] = mul(%2, %2)
    ...   %4: f32[3] = add(%0, %3)
    ...   return %4
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[3] x) {
      %1: f32[] = constant() {value=f32[]{4.0}}
      %2: f32[3] = broadcast(%1) {shape=(3,), dims=()}
      %3: f32[3] = add(%0, %2)
      return %3
    }
    <BLANKLINE>
    """

    limit: int = 1024
    name: str = "fold"

    def run(self, graph: Graph) -> Graph:
        return rewrite(
            graph,
            [NodeRule(tuple(_EXACT | _EXACT_ON_INTEGERS), lambda context, node: _fold(context, node, self.limit))],
        )
