"""Write several nodes with one source line concisely: what derivative rules and passes use instead of `builder.add`.

`Compose(builder, loc)` appends to the builder; every method adds one node (a few add two) and returns its result.
Movements that would change nothing add no node and return their operand.
"""

from collections.abc import Sequence

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN, Loc
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import NO_ATTRS, Attrs, Op, TensorType, Value
from graphc.graph.ops import contraction, elementwise, indexing, movement, reduction, source

Scalar = bool | int | float


@dataclass(frozen=True, slots=True)
class Compose:
    """Appends nodes to `builder`, all at `loc`."""

    builder: GraphBuilder
    loc: Loc = UNKNOWN

    def __call__(self, op: Op, *operands: Value, attrs: Attrs = NO_ATTRS) -> Value:
        """One node that has one result."""
        return self.builder.add1(op, operands, attrs, self.loc)

    # Sources.

    def constant(self, value: np.ndarray) -> Value:
        return self(source.constant, attrs=source.ConstantAttrs(value))

    def scalar(self, value: Scalar, dtype: DType) -> Value:
        return self.constant(np.array(value, dtype.numpy))

    def full(self, type: TensorType, value: Scalar) -> Value:
        """A tensor whose elements are all `value`: one scalar constant, broadcast."""
        return self.spread(self.scalar(value, type.dtype), type.shape)

    def zeros(self, type: TensorType) -> Value:
        return self.full(type, 0)

    def like(self, x: Value, value: Scalar) -> Value:
        """`full` with the type of `x`."""
        return self.full(x.type, value)

    def iota(self, shape: tuple[int, ...], dtype: DType, axis: int) -> Value:
        return self(source.iota, attrs=source.IotaAttrs(shape, dtype, axis))

    # Elementwise.

    def neg(self, x: Value) -> Value:
        return self(elementwise.neg, x)

    def add(self, x: Value, y: Value) -> Value:
        return self(elementwise.add, x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return self(elementwise.sub, x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return self(elementwise.mul, x, y)

    def div(self, x: Value, y: Value) -> Value:
        return self(elementwise.div, x, y)

    def scale(self, x: Value, factor: float) -> Value:
        """x times a number."""
        return self.mul(x, self.like(x, factor))

    def eq(self, x: Value, y: Value) -> Value:
        return self(elementwise.eq, x, y)

    def select(self, condition: Value, on_true: Value, on_false: Value) -> Value:
        return self(elementwise.select, condition, on_true, on_false)

    def cast(self, x: Value, dtype: DType) -> Value:
        if x.dtype == dtype:
            return x
        return self(elementwise.cast, x, attrs=elementwise.DTypeAttrs(dtype))

    # Movement.

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        if x.shape == shape:
            return x
        return self(movement.reshape, x, attrs=movement.ShapeAttrs(shape))

    def transpose(self, x: Value, permutation: tuple[int, ...]) -> Value:
        if permutation == tuple(range(len(permutation))):
            return x
        return self(movement.transpose, x, attrs=movement.TransposeAttrs(permutation))

    def broadcast(self, x: Value, shape: tuple[int, ...], dims: tuple[int, ...]) -> Value:
        if x.shape == shape:
            return x
        return self(movement.broadcast, x, attrs=movement.BroadcastAttrs(shape, dims))

    def spread(self, x: Value, shape: tuple[int, ...]) -> Value:
        """A scalar in every element."""
        return self.broadcast(x, shape, ())

    def broadcast_over(self, x: Value, shape: tuple[int, ...], axes: Sequence[int]) -> Value:
        """Undo a reduction: `axes` of `shape` are new, the others are the dims of `x` in order."""
        return self.broadcast(x, shape, tuple(d for d in range(len(shape)) if d not in axes))

    def slice(self, x: Value, start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...]) -> Value:
        if not any(start) and stop == x.shape and all(s == 1 for s in step):
            return x
        return self(movement.slice_, x, attrs=movement.SliceAttrs(start, stop, step))

    def slice_axis(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """x[..., start:stop, ...] on one axis."""
        starts, stops = [0] * x.type.rank, list(x.shape)
        starts[axis], stops[axis] = start, stop
        return self.slice(x, tuple(starts), tuple(stops), (1,) * x.type.rank)

    def pad(
        self,
        x: Value,
        fill: Value,
        low: tuple[int, ...],
        high: tuple[int, ...],
        interior: tuple[int, ...] | None = None,
    ) -> Value:
        attrs = movement.PadAttrs(low, high, interior or (0,) * x.type.rank)
        return self(movement.pad, x, fill, attrs=attrs)

    def pad_axis(self, x: Value, fill: Scalar, axis: int, low: int, high: int) -> Value:
        """`fill` before and after x on one axis."""
        lows, highs = [0] * x.type.rank, [0] * x.type.rank
        lows[axis], highs[axis] = low, high
        return self.pad(x, self.scalar(fill, x.dtype), tuple(lows), tuple(highs))

    def concatenate(self, xs: Sequence[Value], axis: int) -> Value:
        return self(movement.concatenate, *xs, attrs=movement.AxisAttrs(axis))

    def reverse(self, x: Value, axes: tuple[int, ...]) -> Value:
        return self(movement.reverse, x, attrs=movement.AxesAttrs(axes))

    # Reductions, contractions, indices.

    def reduce_sum(self, x: Value, axes: Sequence[int]) -> Value:
        if not axes:
            return x
        return self(reduction.reduce_sum, x, attrs=movement.AxesAttrs(tuple(axes)))

    def reduce_max(self, x: Value, axes: Sequence[int]) -> Value:
        return self(reduction.reduce_max, x, attrs=movement.AxesAttrs(tuple(axes)))

    def argmax(self, x: Value, axis: int) -> Value:
        return self(reduction.argmax, x, attrs=reduction.ArgAttrs(axis))

    def argmin(self, x: Value, axis: int) -> Value:
        return self(reduction.argmin, x, attrs=reduction.ArgAttrs(axis))

    def dot_general(self, lhs: Value, rhs: Value, attrs: contraction.DotAttrs) -> Value:
        return self(contraction.dot_general, lhs, rhs, attrs=attrs)

    def gather(self, x: Value, indices: Value, axis: int) -> Value:
        return self(indexing.gather, x, indices, attrs=indexing.GatherAttrs(axis))

    def scatter_add(self, x: Value, indices: Value, updates: Value, axis: int) -> Value:
        return self(indexing.scatter_add, x, indices, updates, attrs=indexing.GatherAttrs(axis))
