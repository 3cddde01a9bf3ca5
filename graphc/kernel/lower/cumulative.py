"""Cumulative ops: a chain along the axis for each row. A row is one element of all other dims.

In a chunk of the axis elements are combined one after the other; a result is what its chunk gives combined with the
total of the chunks before. Where there are rows enough each goes its way alone; else the chunks of a row are shared
out: one phase finds their totals, one combines those in order, the last one writes results. Rows that lie beside each
other in memory are taken together, some *lanes* at a time, so that memory is read in runs.
"""

from collections.abc import Callable, Sequence

from graphc.graph.ir import Graph, Node
from graphc.graph.ops.cumulative import CHUNK, CumulativeAttrs
from graphc.kernel.ir import Accumulate, Binary, Buffer, Expr, Fma, Kernel, Load, Space, Store, Var, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Index, add, computing, convert, mul
from graphc.kernel.lower.lanes import Reducer, reducer
from graphc.kernel.lower.merge import merge_dims

WIDE = 64  # rows beside each other taken together
SQUARE = 16  # steps along a row
FEW_ROWS = 16  # fewer rows than this leave threads without work


def lower_cumulative(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one cumulative op; its operands may be computed on the way in."""
    builder = KernelBuilder(merge_dims(original), original, memory)
    node = next(n for n in builder.body.nodes if n.op.kind == "cumulative")
    shape, attrs = node.result.shape, node.attrs
    assert isinstance(attrs, CumulativeAttrs)
    beside = shape[-1] if attrs.axis < len(shape) - 1 else 1
    if beside == 1:
        _write(builder, node, None, 0, 1)
        return builder.finish(name)
    whole, rest = divmod(beside, WIDE)
    if whole:
        _write(builder, node, WIDE, 0, whole)
    if rest:
        _write(builder, node, rest, whole * WIDE, 1)
    return builder.finish(name)


def _write(builder: KernelBuilder, node: Node, lanes: int | None, start: int, blocks: int) -> None:
    """Rows from `start` on of the last dim, `lanes` of them together; None: the last dim is the axis or has one row."""
    kind = _Recurrence if node.op.name == "linear_recurrence" else _Chunks
    kind(builder, node, lanes, start, blocks).lower()


class _Rows:
    """Where the rows are that are taken together, and loops over them."""

    def __init__(self, builder: KernelBuilder, node: Node, lanes: int | None, start: int, blocks: int) -> None:
        assert isinstance(node.attrs, CumulativeAttrs)
        self.builder = builder
        self.emitter = builder.emitter
        self.node = node
        self.attrs = node.attrs
        self.lanes = lanes
        self.start = start
        shape = node.result.shape
        self.length = shape[node.attrs.axis]
        self.dtype = computing(node.result.dtype)
        last = len(shape) - 1
        self.outer = [d for d in range(len(shape)) if d != node.attrs.axis and (lanes is None or d != last)]
        self.extents = [shape[d] for d in self.outer] + ([] if lanes is None else [blocks])

    def open(self) -> list[Var]:
        counters = [self.emitter.fresh("i") for _ in self.extents]
        self.emitter.open()
        self.emitter.floor = len(self.emitter.scopes) - 1
        return counters

    def buffer(self, base: str, reducer: Reducer | None = None) -> Buffer:
        """One number for each row."""
        dtype = self.dtype if reducer is None else reducer.dtypes[0]
        shape = () if self.lanes is None else (self.lanes,)
        space: Space = "register" if self.lanes is None else "worker"
        return self.emitter.buffer(base, dtype, shape, space)

    def each(self, write: Callable[[Index], None]) -> None:
        """`write` for each row, given the place of its number."""
        if self.lanes is None:
            write(())
            return
        lane = self.emitter.fresh("l")
        self.emitter.open()
        write((lane,))
        self.emitter.close_nest([(lane, self.lanes, "parallel")])

    def place(self, counters: Sequence[Expr], lane: Index, position: Expr) -> Index:
        """Where an element is; `position` is counted in the direction of the axis."""
        where: dict[int, Expr] = dict(zip(self.outer, counters, strict=False))
        if self.attrs.reverse:
            position = Binary("sub", index(self.length - 1), position)
        where[self.attrs.axis] = position
        if lane:
            where[self.node.result.type.rank - 1] = add(
                add(mul(counters[-1], self.lanes or 1), index(self.start)), lane[0]
            )
        return tuple(where[d] for d in range(self.node.result.type.rank))

    def along(self, count: int, write: Callable[[Expr], None]) -> None:
        """`write` for each of `count` steps, in order; where rows follow each other in memory, in blocks of steps, so
        that several rows in lanes can be read as squares.
        """
        blocks, rest = divmod(count, SQUARE) if self.lanes is None else (0, count)
        if blocks:
            block, step = self.emitter.fresh("b"), self.emitter.fresh("j")
            self.emitter.open()
            write(add(mul(block, SQUARE), step))
            self.emitter.close_nest([(block, blocks, "serial"), (step, SQUARE, "serial")])
        if rest:
            step = self.emitter.fresh("j")
            self.emitter.open()
            write(add(step, index(blocks * SQUARE)))
            self.emitter.close_nest([(step, rest, "serial")])

    def store(self, place: Index, value: Expr) -> None:
        self.builder.store(0, place, convert(value, self.node.result.dtype))


class _Chunks(_Rows):
    """Sums, products and extremes, chunk by chunk."""

    def lower(self) -> None:
        self.reducer = reducer(self.node)
        full, tail = divmod(self.length, CHUNK)
        count = 1
        for extent in self.extents:
            count *= extent
        if full + (tail > 0) > 1 and count < FEW_ROWS:
            self._lower_cut(full, tail)
        else:
            self._lower_whole(full, tail)

    def _encoded(self, place: Index) -> Expr:
        emitter = self.emitter
        x = self.node.operands[0]
        value = emitter.let(convert(emitter.pull(x, place), self.dtype))
        return self.reducer.encode((value,), emitter.let)[0]

    def _identity(self, buffer: Buffer) -> None:
        self.each(lambda lane: self.emitter.append(Store(buffer, lane, self.reducer.identity[0])))

    def _combine(self, buffer: Buffer, place: Index, value: Expr) -> None:
        self.emitter.append(Accumulate(((buffer, place),), (value,), self.reducer.combine))

    def _chunk(self, counters: Sequence[Expr], base: Expr, count: int, before: "Before", stored: bool) -> Buffer:
        """Combine `count` elements from `base` on, write what is found with what is before; the total of the chunk."""
        emitter = self.emitter
        total = self.buffer("acc", self.reducer)
        self._identity(total)
        result = self.buffer("res", self.reducer) if stored and before is not None else None

        def element(lane: Index, step: Expr) -> None:
            place = self.place(counters, lane, add(base, step))
            self._combine(total, lane, self._encoded(place))
            if not stored:
                return
            found: Expr = Load(total, lane)
            if result is not None and before is not None:
                emitter.append(Store(result, lane, before(lane)))
                self._combine(result, lane, found)
                found = Load(result, lane)
            found = emitter.read(found) if isinstance(found, Load) else found
            self.store(place, self.reducer.decode((found,), emitter.let)[0])

        self.along(count, lambda step: self.each(lambda lane: element(lane, step)))
        return total

    def _lower_whole(self, full: int, tail: int) -> None:
        emitter = self.emitter
        counters = self.open()
        if full + (tail > 0) <= 1:
            self._chunk(counters, index(0), self.length, None, stored=True)
            emitter.close_phase(counters, self.extents)
            return
        before = self.buffer("before", self.reducer)
        self._identity(before)
        number = emitter.fresh("q")
        emitter.open()
        total = self._chunk(counters, mul(number, CHUNK), CHUNK, lambda lane: Load(before, lane), stored=True)
        self.each(lambda lane: self._combine(before, lane, Load(total, lane)))
        emitter.close_nest([(number, full, "serial")])
        if tail:
            self._chunk(counters, index(full * CHUNK), tail, lambda lane: Load(before, lane), stored=True)
        emitter.close_phase(counters, self.extents)

    def _lower_cut(self, full: int, tail: int) -> None:
        emitter = self.emitter
        chunks = full + (tail > 0)
        lanes = () if self.lanes is None else (self.lanes,)
        totals = emitter.buffer("totals", self.reducer.dtypes[0], (chunks, *self.extents, *lanes), "arena")
        number = emitter.fresh("q")
        counters = self.open()
        total = self._chunk(counters, mul(number, CHUNK), CHUNK, None, stored=False)
        after = add(number, index(1))
        self.each(lambda lane: emitter.append(Store(totals, (after, *counters, *lane), Load(total, lane))))
        emitter.close_phase([number, *counters], (chunks - 1, *self.extents))
        emitter.stage += 1

        counters = self.open()
        self.each(lambda lane: emitter.append(Store(totals, (index(0), *counters, *lane), self.reducer.identity[0])))

        def next_total(step: Expr) -> None:
            def write(lane: Index) -> None:
                here = (add(step, index(1)), *counters, *lane)
                mine = emitter.read(Load(totals, here))
                emitter.append(Store(totals, here, Load(totals, (step, *counters, *lane))))
                self._combine(totals, here, mine)

            self.each(write)

        self.along(chunks - 1, next_total)
        emitter.close_phase(counters, self.extents)
        emitter.stage += 1
        for base, count, many in ((0, CHUNK, full), (full, tail, 1)):
            if count and many:
                self._write_chunks(totals, base, count, many)

    def _write_chunks(self, totals: Buffer, base: int, count: int, many: int) -> None:
        emitter = self.emitter
        step = emitter.fresh("q")
        counters = self.open()
        number = add(step, index(base))
        self._chunk(
            counters, mul(number, CHUNK), count, lambda lane: Load(totals, (number, *counters, *lane)), stored=True
        )
        emitter.close_phase([step, *counters], (many, *self.extents))


Before = Callable[[Index], Expr] | None


class _Recurrence(_Rows):
    """h = fma(a, h, b), one after the other."""

    def lower(self) -> None:
        emitter = self.emitter
        a, b = self.node.operands
        counters = self.open()
        state = self.buffer("state")

        def first(lane: Index) -> None:
            place = self.place(counters, lane, index(0))
            emitter.append(Store(state, lane, convert(emitter.pull(b, place), self.dtype)))
            self.store(place, Load(state, lane))

        def further(lane: Index, step: Expr) -> None:
            place = self.place(counters, lane, add(step, index(1)))
            factor, term = (convert(emitter.pull(x, place), self.dtype) for x in (a, b))
            emitter.append(Store(state, lane, Fma(factor, Load(state, lane), term)))
            self.store(place, Load(state, lane))

        self.each(first)
        if self.length > 1:
            self.along(self.length - 1, lambda step: self.each(lambda lane: further(lane, step)))
        emitter.close_phase(counters, self.extents)
