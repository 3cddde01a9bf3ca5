"""The scatters. A row is one element of all dims but the axis, and gets its updates in index order.

Many rows: each is owned by one iteration, which makes its updates one after the other. Few rows: places and values of
a block of updates are computed in lanes, then they take effect one after the other. Where the axis is short besides,
the updates are cut into chunks (`chunks_of`), which threads share: each is combined from nothing on, in index order,
and the results with x, in the order of chunks. So sums depend on extents alone.

A row of a half type that is combined is kept in float32, and rounded when all updates are in. Extremes of floats are
found as integers in the same order.
"""

from collections.abc import Callable, Sequence
from math import prod

from graphc.core.dtypes import DType
from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node
from graphc.graph.ops.indexing import SCATTER_NAMES, GatherAttrs
from graphc.graph.ops.reduction import limits
from graphc.kernel.ir import (
    Accumulate,
    Binary,
    Buffer,
    Combine,
    Compare,
    Expr,
    If,
    Kernel,
    Load,
    Select,
    Stmt,
    Store,
    Var,
    index,
)
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Index, add, computing, const, convert, delinear, mul
from graphc.kernel.lower.lanes import float_key, key_of, value_of
from graphc.kernel.lower.movement import nearest
from graphc.kernel.math.scalar import FORMATS

_COMBINE: dict[str, Combine | None] = {  # None: the last update stays
    "scatter": None,
    "scatter_add": "add",
    "scatter_mul": "mul",
    "scatter_min": "min",
    "scatter_max": "max",
}

Target = Callable[[Expr], tuple[Buffer, Index]]  # the element at a position of the axis

MANY_ROWS = 8  # that lanes and threads share
BLOCK = 64  # updates whose places are computed in lanes
CHUNKS = 32  # at most
FEWEST = 8192  # updates of a chunk
SHARE = 4  # updates of a chunk for each element of a row


def chunks_of(updates: int, extent: int) -> int:
    """In how many chunks the updates of few rows are cut."""
    return max(min(CHUNKS, updates // max(FEWEST, SHARE * extent)), 1)


def lower_scatter(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one scatter; its operands may be computed on the way in."""
    builder = KernelBuilder(original, original, memory)
    node = next(n for n in original.nodes if n.op.name in SCATTER_NAMES)
    scatter = _Scatter(builder, node)
    if scatter.rows >= MANY_ROWS or scatter.count < BLOCK or scatter.x.dtype.is_bool:
        scatter.row_by_row()
    elif scatter.combine is not None and scatter.chunks > 1:
        scatter.by_chunks()
    else:
        scatter.by_blocks()
    return builder.finish(name)


class _Scatter:
    def __init__(self, builder: KernelBuilder, node: Node) -> None:
        assert isinstance(node.attrs, GatherAttrs)
        self.builder = builder
        self.emitter = builder.emitter
        self.x, self.indices, self.updates = node.operands
        self.axis, self.batch = node.attrs.axis, node.attrs.batch_dims
        self.combine = _COMBINE[node.op.name]
        self.extents = [e for d, e in enumerate(self.x.shape) if d != self.axis]
        self.rows = prod(self.extents)
        self.extent = self.x.shape[self.axis]
        self.count = prod(self.indices.shape[self.batch :])  # updates of a row
        self.chunks = chunks_of(self.count, self.extent)

    def open(self) -> list[Var]:
        counters = [self.emitter.fresh("i") for _ in self.extents]
        self.emitter.open()
        self.emitter.floor = len(self.emitter.scopes) - 1
        return counters

    def place(self, counters: Sequence[Expr], position: Expr) -> Index:
        return (*counters[: self.axis], position, *counters[self.axis :])

    # ------------------------------------------------------------------------------------------------ many rows

    def row_by_row(self) -> None:
        """Each row alone, update by update."""
        emitter, x = self.emitter, self.x
        counters = self.open()
        wide = computing(x.dtype) if self.combine else x.dtype
        sums = emitter.buffer("sums", wide, (self.extent,), "worker") if wide != x.dtype else None

        def target(position: Expr) -> tuple[Buffer, Index]:
            return (self.builder.outputs[0], self.place(counters, position)) if sums is None else (sums, (position,))

        row = emitter.fresh("a")
        emitter.open()
        start = emitter.pull(x, self.place(counters, row))
        if sums is None:
            self.builder.store(0, self.place(counters, row), start)
        else:
            emitter.append(Store(*target(row), convert(start, wide)))
        emitter.close_nest([(row, self.extent, "serial")])
        emitter.stage += 1
        if self.indices.type.size:
            self._update(counters, target)
        if sums is not None:
            row = emitter.fresh("a")
            emitter.open()
            self.builder.store(0, self.place(counters, row), convert(Load(*target(row)), x.dtype))
            emitter.close_nest([(row, self.extent, "serial")])
        emitter.close_phase(counters, self.extents)

    def _update(self, counters: Sequence[Expr], target: Target) -> None:
        """Combine `target(index)` with the update of every index in order; those outside of the axis are dropped."""
        emitter = self.emitter
        shape = self.indices.shape[self.batch :]
        steps = [emitter.fresh("u") for _ in shape]
        emitter.open()
        position = emitter.pull(self.indices, (*counters[: self.batch], *steps))
        emitter.open()
        at = emitter.let(nearest(position, self.extent), "at")  # clamped, so that it is in bounds as far as anyone sees
        update = emitter.pull(self.updates, self._update_place(counters, steps))
        if self.combine is None:
            emitter.append(Store(*target(at), update))
        else:
            emitter.append(Accumulate((target(at),), (convert(update, computing(update.dtype)),), self.combine))
        inside = emitter.close()
        emitter.append(If(_inside(position, self.extent), inside))
        emitter.close_nest([(s, e, "serial") for s, e in zip(steps, shape, strict=True)])

    def _update_place(self, counters: Sequence[Expr], steps: Sequence[Expr]) -> Index:
        return (*counters[: self.axis], *steps, *counters[self.axis :])

    # ------------------------------------------------------------------------------------------------ few rows

    def by_blocks(self) -> None:
        """x, then all updates of a row in order."""
        emitter = self.emitter
        element = _Element(self)
        through = (
            emitter.buffer("wide", element.dtype, (*self.extents, self.extent), "arena") if element.differs else None
        )

        def place(counters: Sequence[Expr], position: Expr) -> tuple[Buffer, Index]:
            if through is None:
                return self.builder.outputs[0], self.place(counters, position)
            return through, (*counters, position)

        row, counters = emitter.fresh("a"), self.open()
        start = emitter.pull(self.x, self.place(counters, row))
        if through is None:
            self.builder.store(0, self.place(counters, row), start)
        else:
            emitter.append(Store(*place(counters, row), element.encoded(start)))
        emitter.close_phase([row, *counters], (self.extent, *self.extents))
        emitter.stage += 1
        counters = self.open()
        self._in_blocks(counters, index(0), self.count, lambda at: place(counters, at), element)
        emitter.close_phase(counters, self.extents)
        emitter.stage += 1
        if through is not None:
            row, counters = emitter.fresh("a"), self.open()
            found = emitter.read(Load(*place(counters, row)))
            self.builder.store(0, self.place(counters, row), element.decoded(found))
            emitter.close_phase([row, *counters], (self.extent, *self.extents))

    def by_chunks(self) -> None:
        """The updates of each chunk combined alone, then all of these and x."""
        emitter, element = self.emitter, _Element(self)
        size = -(-self.count // self.chunks)
        whole, rest = divmod(self.count, size)
        chunks = whole + (rest > 0)
        parts = emitter.buffer("parts", element.dtype, (chunks, *self.extents, self.extent), "arena")
        for first, many, count in ((0, whole, size), (whole, 1, rest)):
            if count:
                self._chunk(parts, element, size, (first, many, count))
        emitter.stage += 1
        row, counters = emitter.fresh("a"), self.open()
        total = emitter.buffer("total", element.dtype, (), "register")
        start = emitter.pull(self.x, self.place(counters, row))
        emitter.append(Store(total, (), element.encoded(start)))
        chunk = emitter.fresh("c")
        emitter.open()
        part = emitter.read(Load(parts, (chunk, *counters, row)))
        assert self.combine is not None
        emitter.append(Accumulate(((total, ()),), (part,), self.combine))
        emitter.close_nest([(chunk, chunks, "serial")])
        self.builder.store(0, self.place(counters, row), element.decoded(emitter.read(Load(total, ()))))
        emitter.close_phase([row, *counters], (self.extent, *self.extents))

    def _chunk(self, parts: Buffer, element: "_Element", size: int, share: tuple[int, int, int]) -> None:
        """`share`: the first chunk, how many there are, how many updates each has."""
        emitter = self.emitter
        first, many, count = share
        chunk = emitter.fresh("c")
        counters = self.open()
        number = add(chunk, index(first))
        row = emitter.fresh("a")
        emitter.open()
        emitter.append(Store(parts, (number, *counters, row), element.nothing))
        emitter.close_nest([(row, self.extent, "parallel")])
        self._in_blocks(counters, mul(number, size), count, lambda at: (parts, (number, *counters, at)), element)
        emitter.close_phase([chunk, *counters], (many, *self.extents))

    def _in_blocks(
        self, counters: Sequence[Expr], begin: Expr, count: int, target: Target, element: "_Element"
    ) -> None:
        """Updates from `begin` on take effect in order."""
        emitter = self.emitter
        at = emitter.buffer("at", index(0).dtype, (BLOCK,), "worker")
        values = emitter.buffer("new", element.dtype, (BLOCK,), "worker")
        blocks, rest = divmod(count, BLOCK)
        if blocks:
            block = emitter.fresh("b")
            emitter.open()
            self._block(counters, add(begin, mul(block, BLOCK)), BLOCK, target, element, (at, values))
            emitter.close_nest([(block, blocks, "serial")])
        if rest:
            self._block(counters, add(begin, index(blocks * BLOCK)), rest, target, element, (at, values))

    def _block(
        self,
        counters: Sequence[Expr],
        begin: Expr,
        count: int,
        target: Target,
        element: "_Element",
        scratch: tuple[Buffer, Buffer],
    ) -> None:
        emitter, (places, values) = self.emitter, scratch
        step = emitter.fresh("u")
        emitter.open()
        steps = delinear(add(begin, step), self.indices.shape[self.batch :])
        position = emitter.pull(self.indices, (*counters[: self.batch], *steps))
        at = Select(_inside(position, self.extent), nearest(position, self.extent), index(-1))
        emitter.append(Store(places, (step,), emitter.let(at)))
        update = emitter.pull(self.updates, self._update_place(counters, steps))
        emitter.append(Store(values, (step,), element.encoded(update)))
        emitter.close_nest([(step, count, "parallel")])

        step = emitter.fresh("u")
        emitter.open()
        place = emitter.read(Load(places, (step,)), "at")
        value = emitter.read(Load(values, (step,)))
        where = target(place)
        made: Stmt = Store(*where, value) if self.combine is None else Accumulate((where,), (value,), self.combine)
        emitter.append(If(Compare("ge", place, index(0)), (made,)))
        emitter.close_nest([(step, count, "serial")])


@dataclass(frozen=True, slots=True)
class _Element:
    """What stands for an element while updates are combined."""

    scatter: _Scatter

    @property
    def _is_key(self) -> bool:
        return self.scatter.combine in ("min", "max") and self.scatter.x.dtype.is_float

    @property
    def dtype(self) -> DType:
        x = self.scatter.x.dtype
        if self.scatter.combine is None:
            return x
        return FORMATS[computing(x)].signed if self._is_key else computing(x)

    @property
    def differs(self) -> bool:
        """Whether elements are combined as something else than what they are."""
        return self.dtype != self.scatter.x.dtype

    @property
    def nothing(self) -> Expr:
        """Combined with it, everything stays as it is."""
        low, high = limits(computing(self.scatter.x.dtype))
        zero = -0.0 if self.dtype.is_float else 0
        start = {"add": zero, "mul": 1, "max": low, "min": high}[str(self.scatter.combine)]
        return float_key(start, computing(self.scatter.x.dtype)) if self._is_key else const(start, self.dtype)

    def encoded(self, x: Expr) -> Expr:
        emit = self.scatter.emitter.let
        wide = x if self.scatter.combine is None else convert(x, computing(x.dtype))
        return key_of(emit(wide), str(self.scatter.combine) == "max", emit) if self._is_key else emit(wide)

    def decoded(self, x: Expr) -> Expr:
        emit = self.scatter.emitter.let
        dtype = self.scatter.x.dtype
        return convert(value_of(x, computing(dtype), emit) if self._is_key else x, dtype)


def _inside(position: Expr, extent: int) -> Expr:
    """`0 <= position < extent`, exact for every integer dtype."""
    dtype = position.dtype
    largest = (1 << (dtype.bits - (dtype.kind == "int"))) - 1
    upper = Compare("lt", position, const(extent, dtype)) if extent <= largest else Compare("eq", index(0), index(0))
    if dtype.kind == "uint":
        return upper
    return Binary("and", Compare("ge", position, const(0, dtype)), upper)
