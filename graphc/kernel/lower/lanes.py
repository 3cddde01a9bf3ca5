"""How a reduction adds up: the rounding rule, as loops.

The n elements of a reduction, in row-major order over the reduced axes, are cut into aligned chunks of 1024. In a chunk
lane l of 16 accumulates elements l, l + 16, ... one after the other, starting from the identity (+0 for sums); the
lanes are combined by `l += l + 8`, `+= l + 4`, `+= l + 2`, `+= l + 1`; the chunks by the left-aligned pairwise tree
(strides 1, 2, 4, ...). One element alone is its own result. Bits therefore depend on n alone. Half types are reduced in
float32, and the result rounded by whoever asked.
"""

from collections.abc import Callable, Sequence

import numpy as np

from graphc.core.dtypes import DType, int32, int64
from graphc.core.records import dataclass
from graphc.graph.ir import Node
from graphc.graph.ops.reduction import limits
from graphc.kernel.ir import (
    Accumulate,
    Binary,
    Buffer,
    Cast,
    Combine,
    Compare,
    Expr,
    Load,
    LoopKind,
    Select,
    Space,
    Store,
    Var,
    index,
)
from graphc.kernel.lower.emit import Emitter
from graphc.kernel.lower.expr import Index, add, computing, const, convert, delinear, mul
from graphc.kernel.math.scalar import FORMATS, Emit, Scalar

LANES = 16
CHUNK = 1024

_COMBINE: dict[str, Combine] = {
    "reduce_sum": "add",
    "reduce_prod": "mul",
    "reduce_max": "max",
    "reduce_min": "min",
    "argmax": "argmax",
    "argmin": "argmin",
    "cumsum": "add",
    "cumprod": "mul",
    "cummax": "max",
    "cummin": "min",
}


@dataclass(frozen=True, slots=True)
class Reducer:
    """One reduction: how values combine, from which identity, in buffers of which dtypes."""

    node: Node
    combine: Combine
    identity: tuple[Expr, ...]

    @property
    def picks_index(self) -> bool:
        return self.combine in ("argmax", "argmin")

    @property
    def dtypes(self) -> tuple[DType, ...]:
        return tuple(e.dtype for e in self.identity)

    @property
    def is_ordered(self) -> bool:
        """Whether it combines floats as integers that are in the same order: see `_ordered`."""
        return self.combine in ("max", "min") and self.node.operands[0].dtype.is_float

    def encode(self, values: tuple[Expr, ...], emit: Emit) -> tuple[Expr, ...]:
        """What is combined for these values."""
        if not self.is_ordered:
            return values
        return (key_of(emit(values[0]), self.combine == "max", emit),)

    def decode(self, values: tuple[Expr, ...], emit: Emit) -> tuple[Expr, ...]:
        """The result for what was combined."""
        if not self.is_ordered:
            return values
        return (value_of(values[0], computing(self.node.operands[0].dtype), emit),)


def _ordered(bits: Scalar) -> Scalar:
    """The bits of a float as a signed integer in the order of floats, -0 before +0; and back.

    `max` of floats has to look at signs and for NaN, one step waiting for the other; of integers it is one step. NaN is
    the largest integer, or the smallest for `min`, so it stays.
    """
    width = bits.dtype.bits - 1
    return bits ^ ((bits >> width) & ((1 << width) - 1))


def key_of(x: Expr, nan_is_largest: bool, emit: Emit) -> Expr:
    """A float as a signed integer in the same order; NaN is the largest or smallest."""
    number = Scalar(x, emit)
    signed = FORMATS[x.dtype].signed
    limits = np.iinfo(signed.name)
    key = _ordered(number.bits_as(signed))
    return number.differs(number).select(int(limits.max if nan_is_largest else limits.min), key).expr


def value_of(key: Expr, dtype: DType, emit: Emit) -> Expr:
    """The float of such an integer."""
    return _ordered(Scalar(emit(key), emit)).bits_as(dtype).expr


def reducer(node: Node) -> Reducer:
    """The reducer of a reduction node."""
    combine = _COMBINE[node.op.name]
    dtype = computing(node.operands[0].dtype)
    low, high = limits(dtype)
    nothing = -0.0 if node.op.name == "cumsum" and dtype.is_float else 0  # a reduction of nothing is +0
    start = {"add": nothing, "mul": 1, "max": low, "argmax": low, "min": high, "argmin": high}[combine]
    identity: tuple[Expr, ...] = (const(start, dtype),)
    if combine in ("max", "min") and dtype.is_float:
        identity = (float_key(start, dtype),)
    if combine in ("argmax", "argmin"):
        identity += (const(2**63 - 1, int64),)
    return Reducer(node, combine, identity)


def float_key(number: bool | int | float, dtype: DType) -> Expr:
    """A float as an integer in the order of floats."""
    signed = FORMATS[dtype].signed
    word = int(np.array(number, dtype.numpy).view(signed.numpy))
    return const(word if word >= 0 else word ^ int(np.iinfo(signed.name).max), signed)


def _extreme(picks: Reducer) -> Reducer:
    """The reducer of the value whose place is wanted."""
    dtype = picks.dtypes[0]
    low, high = limits(dtype)
    start = low if picks.combine == "argmax" else high
    identity = float_key(start, dtype) if dtype.is_float else const(start, dtype)
    return Reducer(picks.node, "max" if picks.combine == "argmax" else "min", (identity,))


Element = Callable[[Sequence[Expr]], Sequence[tuple[Expr, ...]]]
# from the index along the reduced axes to the values each reducer combines there


@dataclass(frozen=True, slots=True)
class Lanes:
    """Emits the loops of reducers that run over the same elements."""

    emitter: Emitter
    reducers: tuple[Reducer, ...]
    extents: tuple[int, ...]  # of the reduced axes
    element: Element
    twice: bool = False  # whether elements are quickly read again

    @property
    def count(self) -> int:
        total = 1
        for extent in self.extents:
            total *= extent
        return total

    @property
    def chunks(self) -> int:
        return -(-self.count // CHUNK)

    def row(self) -> list[Expr]:
        """The whole reduction in the current block; one result per reducer."""
        if self.count == 0:
            return [r.decode(r.identity, self.emitter.let)[-1] for r in self.reducers]
        if self.count == 1:
            values = self.element([index(0)] * len(self.extents))
            return [index(0) if r.picks_index else v[0] for r, v in zip(self.reducers, values, strict=True)]
        if self.chunks == 1:
            return self._results(self.chunk(index(0), self.count))
        partial = self.buffers("part", (self.chunks,), "worker")
        full, tail = divmod(self.count, CHUNK)
        counter = self.emitter.fresh("q")
        self.emitter.open()
        self.store_chunk(partial, mul(counter, CHUNK), CHUNK, (counter,))
        self.emitter.close_nest([(counter, full, "serial")])
        if tail:
            self.store_chunk(partial, index(full * CHUNK), tail, (index(full),))
        return self.tree(partial, self.chunks, ())

    def buffers(self, name: str, shape: tuple[int, ...], space: Space) -> list[tuple[Buffer, ...]]:
        """Scratch for every reducer."""
        return [tuple(self.emitter.buffer(name, d, shape, space) for d in r.dtypes) for r in self.reducers]

    def store_chunk(self, into: list[tuple[Buffer, ...]], base: Expr, count: int, idx: Index) -> None:
        """Reduce elements [base, base + count) and keep the results at `idx` of scratch."""
        for buffers, values in zip(into, self.chunk(base, count), strict=True):
            for buffer, value in zip(buffers, values, strict=True):
                self.emitter.append(Store(buffer, idx, value))

    def chunk(self, base: Expr, count: int) -> list[tuple[Expr, ...]]:
        """Reduce elements [base, base + count) in the current block."""
        reducers = [_extreme(r) if self._finds(r) else r for r in self.reducers]
        lanes = [tuple(self.emitter.buffer("acc", d, (LANES,), "register") for d in r.dtypes) for r in reducers]
        lane = self.emitter.fresh("l")
        self.emitter.open()
        for reducer, buffers in zip(reducers, lanes, strict=True):
            for buffer, identity in zip(buffers, reducer.identity, strict=True):
                self.emitter.append(Store(buffer, (lane,), identity))
        self.emitter.close_nest([(lane, LANES, "parallel")])
        full, tail = divmod(count, LANES)
        if full:
            step, lane = self.emitter.fresh("c"), self.emitter.fresh("l")
            nest: list[tuple[Var, int, LoopKind]] = [(step, full, "serial"), (lane, LANES, "parallel")]
            self._accumulate(reducers, lanes, add(base, mul(step, LANES)), lane, nest)
        if tail:
            lane = self.emitter.fresh("l")
            self._accumulate(reducers, lanes, add(base, index(full * LANES)), lane, [(lane, tail, "parallel")])
        for half in (8, 4, 2, 1):
            lane = self.emitter.fresh("l")
            self.emitter.open()
            for reducer, buffers in zip(reducers, lanes, strict=True):
                self.emitter.append(_combine(reducer, buffers, (lane,), (add(lane, index(half)),)))
            self.emitter.close_nest([(lane, half, "parallel")])
        found = [tuple(self.emitter.let(Load(b, (index(0),)), "r") for b in buffers) for buffers in lanes]
        return [
            (*inner.decode(values, self.emitter.let), base) if inner is not reducer else values
            for reducer, inner, values in zip(self.reducers, reducers, found, strict=True)
        ]

    def _accumulate(
        self,
        reducers: Sequence[Reducer],
        lanes: list[tuple[Buffer, ...]],
        base: Expr,
        lane: Var,
        nest: list[tuple[Var, int, LoopKind]],
    ) -> None:
        self.emitter.open()
        values = self.element(self._position(base, lane))
        for reducer, buffers, value in zip(reducers, lanes, values, strict=True):
            targets = tuple((b, (lane,)) for b in buffers)
            combined = reducer.encode(value[: len(buffers)], self.emitter.let)
            self.emitter.append(Accumulate(targets, combined, reducer.combine))
        self.emitter.close_nest(nest)

    # ------------------------------------------------------------------------------------------------ places

    def _finds(self, reducer: Reducer) -> bool:
        """Whether the place of an extreme is found after its value: lanes then keep no places, and the value no
        longer waits for them. What stands for a place until then is where its chunk begins.
        """
        return reducer.picks_index and self.twice

    def _results(self, found: Sequence[tuple[Expr, ...]]) -> list[Expr]:
        """One result per reducer of what is combined in the end."""
        return [
            self._place_of(number, *values) if self._finds(r) else r.decode(values, self.emitter.let)[-1]
            for number, (r, values) in enumerate(zip(self.reducers, found, strict=True))
        ]

    def _place_of(self, number: int, best: Expr, base: Expr) -> Expr:
        """The first place in the chunk from `base` on where the value is that of reducer `number`, or both are NaN."""
        emitter, length = self.emitter, min(self.count, CHUNK)
        last = self.count - length  # the chunk at the end is looked at with what comes before it and is not as good
        base = emitter.let(Binary("max", Binary("min", base, index(last)), index(0))) if last else index(0)
        places = emitter.buffer("at", int32, (LANES,), "register")
        lane = emitter.fresh("l")
        emitter.open()
        emitter.append(Store(places, (lane,), const(CHUNK, int32)))
        emitter.close_nest([(lane, LANES, "parallel")])

        def look(begin: Expr, lane: Var) -> None:
            (value, *_) = self.element((add(base, add(begin, lane)),))[number]
            is_best: Expr = Compare("eq", value, best)
            if value.dtype.is_float:
                is_best = Binary("or", is_best, Compare("ne", value, value))
            place = Select(is_best, convert(begin, int32), const(CHUNK, int32))
            emitter.append(Accumulate(((places, (lane,)),), (place,), "min"))

        full, tail = divmod(length, LANES)
        if full:
            step, lane = emitter.fresh("c"), emitter.fresh("l")
            emitter.open()
            look(mul(step, LANES), lane)
            emitter.close_nest([(step, full, "serial"), (lane, LANES, "parallel")])
        if tail:
            lane = emitter.fresh("l")
            emitter.open()
            look(index(full * LANES), lane)
            emitter.close_nest([(lane, tail, "parallel")])
        lane = emitter.fresh("l")
        emitter.open()
        emitter.append(Accumulate(((places, (lane,)),), (Cast(lane, int32),), "add"))
        emitter.close_nest([(lane, LANES, "parallel")])
        for half in (8, 4, 2, 1):
            lane = emitter.fresh("l")
            emitter.open()
            emitter.append(Accumulate(((places, (lane,)),), (Load(places, (add(lane, index(half)),)),), "min"))
            emitter.close_nest([(lane, half, "parallel")])
        return add(base, emitter.let(Cast(emitter.let(Load(places, (index(0),)), "r"), int64)))

    def _position(self, base: Expr, lane: Expr) -> Index:
        """Where element `base + lane` is along the reduced axes; `base` is a multiple of 16."""
        if len(self.extents) == 1:
            return (add(base, lane),)
        if self.extents[-1] % LANES:
            return delinear(add(base, lane), self.extents)
        place = delinear(base, self.extents)
        return (*place[:-1], add(place[-1], lane))

    def tree(self, parts: list[tuple[Buffer, ...]], count: int, idx: Index) -> list[Expr]:
        """Combine `parts[0..count, *idx]` by the left-aligned pairwise tree; the results."""
        stride = 1
        while stride < count:
            pairs = -(-(count - stride) // (2 * stride))
            pair = self.emitter.fresh("t")
            self.emitter.open()
            left = mul(pair, 2 * stride)
            for reducer, buffers in zip(self.reducers, parts, strict=True):
                there = (add(left, index(stride)), *idx)
                self.emitter.append(_combine(reducer, buffers, (left, *idx), there))
            self.emitter.close_nest([(pair, pairs, "parallel")])
            stride *= 2
        return self._results([self._loaded(r, b, idx) for r, b in zip(self.reducers, parts, strict=True)])

    def _loaded(self, reducer: Reducer, buffers: tuple[Buffer, ...], idx: Index) -> tuple[Expr, ...]:
        """What a reducer needs of the first part."""
        wanted = buffers if self._finds(reducer) else buffers[-1:]
        return tuple(self.emitter.let(Load(buffer, (index(0), *idx)), "r") for buffer in wanted)


def _combine(reducer: Reducer, buffers: tuple[Buffer, ...], here: Index, there: Index) -> Accumulate:
    return Accumulate(tuple((b, here) for b in buffers), tuple(Load(b, there) for b in buffers), reducer.combine)
