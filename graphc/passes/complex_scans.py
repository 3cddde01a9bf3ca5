"""Cumulative products and linear recurrences of complex numbers, as arithmetic on real and imaginary parts.

The order: chunks of 16 along the axis, in which elements are taken one after the other; what the chunks give is
combined in the same way, and each element then with what stands before its chunk.
"""

from graphc.core.records import dataclass
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Value
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.passes.complex_functions import Pair, product

CHUNK = 16


@dataclass(frozen=True, slots=True)
class _Axis:
    """The axis that a node combines along, brought to the end and into the direction of growing indices."""

    c: Compose
    attrs: CumulativeAttrs

    def forwards(self, x: Value) -> Value:
        c, axis = self.c, self.attrs.axis
        x = c.transpose(x, (*(d for d in range(x.type.rank) if d != axis), axis))
        return c.reverse(x, (x.type.rank - 1,)) if self.attrs.reverse else x

    def back(self, x: Value) -> Value:
        c, last = self.c, x.type.rank - 1
        x = c.reverse(x, (last,)) if self.attrs.reverse else x
        order = [*range(last)]
        order.insert(self.attrs.axis, last)
        return c.transpose(x, tuple(order))

    def forwards_pair(self, x: Pair) -> Pair:
        return self.forwards(x[0]), self.forwards(x[1])

    def back_pair(self, x: Pair) -> Pair:
        return self.back(x[0]), self.back(x[1])


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Arrays along their last axis in chunks: the elements at one place of every chunk."""

    c: Compose
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return min(self.shape[-1], CHUNK)

    @property
    def count(self) -> int:
        return -(-self.shape[-1] // self.size)

    def cut(self, x: Pair, fill: float) -> list[Pair]:
        c, axis = self.c, len(self.shape) - 1
        length = self.count * self.size - self.shape[-1]
        whole = [c.pad_axis(part, number, axis, 0, length) for part, number in zip(x, (fill, 0.0), strict=True)]
        whole = [c.reshape(part, (*self.shape[:-1], self.count, self.size)) for part in whole]
        places: list[Pair] = []
        for i in range(self.size):
            real, imaginary = (
                c.reshape(c.slice_axis(part, axis + 1, i, i + 1), (*self.shape[:-1], self.count)) for part in whole
            )
            places.append((real, imaginary))
        return places

    def join(self, places: list[Pair]) -> Pair:
        c, axis = self.c, len(self.shape) - 1
        parts: list[Value] = []
        for part in (0, 1):
            columns = [c.reshape(place[part], (*place[part].shape, 1)) for place in places]
            whole = c.reshape(c.concatenate(columns, axis + 1), (*self.shape[:-1], self.count * self.size))
            parts.append(c.slice_axis(whole, axis, 0, self.shape[-1]))
        return parts[0], parts[1]

    def before(self, totals: Pair) -> Pair:
        """What the chunks before each one give; of the first one nothing that is looked at."""
        c, axis = self.c, len(self.shape) - 1
        real, imaginary = (c.slice_axis(c.pad_axis(x, 0, axis, 1, 0), axis, 0, self.count) for x in totals)
        return real, imaginary

    def except_first(self, first: Pair, others: Pair) -> Pair:
        c, axis = self.c, len(self.shape) - 1
        parts: list[Value] = []
        for own, other in zip(first, others, strict=True):
            head, tail = c.slice_axis(own, axis, 0, 1), c.slice_axis(other, axis, 1, self.count)
            parts.append(c.concatenate([head, tail], axis))
        return parts[0], parts[1]


def _sum(c: Compose, x: Pair, y: Pair) -> Pair:
    return c.add(x[0], y[0]), c.add(x[1], y[1])


def _products(c: Compose, x: Pair) -> Pair:
    if not x[0].type.size:
        return x
    chunks = _Chunks(c, x[0].shape)
    found = chunks.cut(x, 1.0)
    for i in range(1, chunks.size):
        found[i] = product(c, found[i - 1], found[i])
    if chunks.count > 1:
        before = chunks.before(_products(c, found[-1]))
        found = [chunks.except_first(each, product(c, before, each)) for each in found]
    return chunks.join(found)


def _recurrence(c: Compose, a: Pair, b: Pair) -> Pair:
    if not b[0].type.size:
        return b
    chunks = _Chunks(c, b[0].shape)
    factors, found = chunks.cut(a, 1.0), chunks.cut(b, 0.0)
    for i in range(1, chunks.size):
        found[i] = _sum(c, product(c, factors[i], found[i - 1]), found[i])
    if chunks.count > 1:
        for i in range(1, chunks.size):
            factors[i] = product(c, factors[i - 1], factors[i])
        before = chunks.before(_recurrence(c, factors[-1], found[-1]))
        found = [
            chunks.except_first(own, _sum(c, product(c, factor, before), own))
            for factor, own in zip(factors, found, strict=True)
        ]
    return chunks.join(found)


def cumulative_product(c: Compose, node: Node, given: list[Pair]) -> Pair:
    """The formula of cumprod."""
    assert isinstance(node.attrs, CumulativeAttrs)
    axis = _Axis(c, node.attrs)
    return axis.back_pair(_products(c, axis.forwards_pair(given[0])))


def linear_recurrence(c: Compose, node: Node, given: list[Pair]) -> Pair:
    """The formula of linear_recurrence."""
    assert isinstance(node.attrs, CumulativeAttrs)
    axis = _Axis(c, node.attrs)
    return axis.back_pair(_recurrence(c, axis.forwards_pair(given[0]), axis.forwards_pair(given[1])))
