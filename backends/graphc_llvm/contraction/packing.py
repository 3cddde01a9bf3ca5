"""Packing: an operand of a contraction evaluated into scratch, in the order in which register tiles read it.

What is packed is the operand's whole expression, so that transposes, gathered rows, casts and masks are paid once per
element and not once per multiply-add. Which loop runs in vector lanes follows from the strides of the expression; where
the source runs along the sum and the destination along the lanes, blocks are transposed in registers (the emitter does
that for loads that move by one element with an unrolled counter: see `transpose`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from graphc.core.dtypes import DType
from graphc.core.records import dataclass
from graphc.kernel.ir import Alloc, Buffer, Const, Expr, For, Load, LoopKind, Space, Stmt, Store, Var, index, walk
from graphc.kernel.schedule.contractions import Contraction, Operand, Sum
from graphc.kernel.schedule.nests import around
from graphc.kernel.schedule.rewrite import Substitution, loop, plus, times
from graphc.kernel.schedule.traverse import expressions
from graphc_llvm.axes import Axis
from graphc_llvm.contraction.jam import LANE_PLACE, ROW_PLACE
from graphc_llvm.contraction.tiles import Strip, Tile

LINE_BYTES = 64
MOST_UNROLLED = 16  # vectors side by side
SHARES = 8  # least pieces that packing for all chunks is cut into
PANEL = Var("@panel")  # the panel a tile lies in, counted from the first one that is packed with it
STRIP = Var("@strip")  # the tile's place among those whose rows are packed with its own


@dataclass(frozen=True, slots=True)
class Packed:
    """Scratch, the statements that fill it, and how the operand reads there."""

    buffer: Buffer
    fill: tuple[Stmt, ...]
    load: Load

    @property
    def statements(self) -> tuple[Stmt, ...]:
        return (Alloc(self.buffer), *self.fill)

    @property
    def reads(self) -> set[str]:
        """Names of the buffers it is made from."""
        return {e.buffer.name for s in walk(self.fill) for e in expressions(s) if isinstance(e, Load)}

    def given(self) -> "Packed":
        """The same as a parameter, which is filled elsewhere."""
        buffer = replace(self.buffer, space="param")
        return replace(self, buffer=buffer, load=replace(self.load, buffer=buffer))


def pack_columns(
    found: Contraction,
    each: Sum,
    operand: Operand,
    lane: Axis,
    tile: Tile,
    panels: int,
    first: Expr,
    outer: Substitution,
    shared: tuple[Axis, ...] | None = None,
) -> Packed:
    """`panels` panels of `tile.width` columns from column `first` on: [panel][summed...][column].

    Columns that do not exist are zero. shared: the axes around the tile; then all panels are packed before any chunk
    runs, by all threads, for each value of the axes that the operand depends on: [axes...][panel][summed...][column].
    """
    names = outer.names
    loops = each.extents(operand) or ()
    around_it = tuple(axis for axis in shared or () if axis.var.name in operand.uses)
    counters = [(names.var(axis.var.name), axis.extent) for axis in around_it]
    outer = outer.binding({axis.var.name: counter for axis, (counter, _) in zip(around_it, counters)})
    shape = (*(axis.extent for axis in around_it), panels, *(extent for _, extent in loops), tile.width)
    space: Space = "worker" if shared is None else "arena"
    buffer = Buffer(names.fresh("columns"), operand.value.dtype, shape, space)
    across = bool(loops) and not operand.moves_by(lane.var.name, found.known)
    across = across and operand.moves_by(loops[-1][0], found.known)
    whole = tile.vectors if tile.last == tile.lanes else tile.vectors - 1
    # Panels side by side are copied step by step of the sum, all of them in each: long runs of memory.
    together = 1 if across else _together(panels, tile.vectors, panels if shared is None else panels // SHARES)
    group, panel = names.var("panels"), names.var("panel")
    number = plus(times(group, together), panel) if together > 1 else group
    start = plus(first, times(number, tile.width))
    beside = (panel, together) if together > 1 else None
    source = _Source(operand, buffer, (*(counter for counter, _ in counters), number), lane, loops, outer, beside)
    copy = source.transposed if across else source.copied
    body: tuple[Stmt, ...] = ()
    if whole:
        body += copy(start, 0, whole, tile.lanes)
    if whole < tile.vectors:
        place = whole * tile.lanes
        body += source.cleared(place, tile.lanes) + copy(plus(start, index(place)), place, 1, tile.last)
    fill = around([*counters, (group, panels // together)], "serial" if shared is None else "parallel", body)
    at = (*(axis.var for axis in around_it), PANEL, *(Var(name) for name, _ in loops), LANE_PLACE)
    return Packed(buffer, fill, Load(buffer, at))


def _together(panels: int, vectors: int, most: int) -> int:
    """How many of the panels are copied side by side."""
    fitting = (n for n in range(1, most + 1) if panels % n == 0 and n * vectors <= MOST_UNROLLED)
    return max(fitting, default=1)


@dataclass(frozen=True, slots=True)
class _Source:
    """Copies of an operand into panels."""

    operand: Operand
    buffer: Buffer
    prefix: tuple[Expr, ...]  # the indices of the panel
    lane: Axis
    loops: tuple[tuple[str, int], ...]
    outer: Substitution
    panels: tuple[Var, int] | None = None  # that are copied side by side

    def copied(self, start: Expr, place: int, vectors: int, lanes: int) -> tuple[Stmt, ...]:
        """Vectors along the columns."""
        names = self.outer.names
        counters = [(names.var(name), extent) for name, extent in self.loops]
        at: list[Expr] = [counter for counter, _ in counters]
        v, l = names.var("v"), names.var("lane")
        body = self._store(start, place, at, plus(times(v, lanes), l))
        body = (loop(v, vectors, "unroll", body),)
        if self.panels is not None:
            body = around([self.panels], "unroll", body)
        return around(counters, "serial", (loop(l, lanes, "vector", body),))

    def transposed(self, start: Expr, place: int, vectors: int, lanes: int) -> tuple[Stmt, ...]:
        """Squares of vectors along the innermost sum, transposed."""
        names = self.outer.names
        counters = [(names.var(name), extent) for name, extent in self.loops[:-1]]
        extent = self.loops[-1][1]
        side = 1 << (lanes - 1).bit_length()
        result: tuple[Stmt, ...] = ()
        for begin, count, steps in ((0, extent // side, side), (extent // side * side, 1, extent % side)):
            if not count * steps:
                continue
            square, step, v, l = names.var("square"), names.var("step"), names.var("v"), names.var("lane")
            k = plus(plus(times(square, steps), step), index(begin))
            body = self._store(start, place, [*(c for c, _ in counters), k], plus(times(v, lanes), l))
            body = (loop(l, lanes, "vector", (loop(step, steps, "unroll", body),)),)
            inner = (loop(square, count, "serial", body),)
            result += (loop(v, vectors, "serial", inner),)
        return around(counters, "serial", result)

    def cleared(self, place: int, lanes: int) -> tuple[Stmt, ...]:
        """A column of vectors set to zero."""
        names = self.outer.names
        counters = [(names.var(name), extent) for name, extent in self.loops]
        l = names.var("lane")
        at = (*self.prefix, *(counter for counter, _ in counters), plus(l, index(place)))
        body: tuple[Stmt, ...] = (Store(self.buffer, at, zero(self.buffer.dtype)),)
        return around(counters, "serial", (loop(l, lanes, "vector", body),))

    def _store(self, start: Expr, place: int, at: list[Expr], column: Expr) -> tuple[Stmt, ...]:
        values: dict[str, Expr] = {name: value for (name, _), value in zip(self.loops, at)}
        values[self.lane.var.name] = plus(start, column)
        to = (*self.prefix, *at, plus(column, index(place)))
        return self.operand.evaluated(self.buffer, to, self.outer.binding(values))


def pack_rows(
    found: Contraction,
    each: Sum,
    operand: Operand,
    row: Axis,
    cut: Sequence[tuple[Strip, Expr]],
    outer: Substitution,
    lanes: int,
    shared: tuple[Axis, ...] | None = None,
) -> tuple[Packed, ...]:
    """The tiles of each strip, whose first row is given with it, one after the other: [tile][summed...][row] when the
    source runs along rows, else [tile][row][summed...]. The last one is filled together with all before it.

    shared: as in `pack_columns`; then each is filled by itself.
    """
    loops = each.extents(operand) or ()
    along_sum = bool(loops) and operand.moves_by(loops[-1][0], found.known)
    along_sum = along_sum and not operand.moves_by(row.var.name, found.known)
    around_it = tuple(axis for axis in shared or () if axis.var.name in operand.uses)
    source = _Rows(operand, row, loops, outer, lanes, around_it, shared is not None)
    if along_sum:
        return source.along_sum(cut)
    return source.across_sum(cut) if shared is None else tuple(p for one in cut for p in source.across_sum([one]))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Copies of an operand into strips of tiles. shared: for all chunks, and for each value of the axes `around_it`."""

    operand: Operand
    row: Axis
    loops: tuple[tuple[str, int], ...]
    outer: Substitution
    lanes: int
    around_it: tuple[Axis, ...]
    shared: bool

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple(extent for _, extent in self.loops)

    @property
    def summed(self) -> tuple[Var, ...]:
        return tuple(Var(name) for name, _ in self.loops)

    def _buffer(self, shape: tuple[int, ...]) -> Buffer:
        axes = tuple(axis.extent for axis in self.around_it)
        space: Space = "arena" if self.shared else "worker"
        return Buffer(self.outer.names.fresh("rows"), self.operand.value.dtype, (*axes, *shape), space)

    def _packed(self, buffer: Buffer, fill: tuple[Stmt, ...], at: tuple[Expr, ...]) -> Packed:
        return Packed(buffer, fill, Load(buffer, (*(axis.var for axis in self.around_it), *at)))

    def _counters(self) -> tuple[list[tuple[Var, int]], dict[str, Expr], LoopKind]:
        """Loops over the axes around, what these are in them, and how such loops run."""
        names = self.outer.names
        counters = [(names.var(axis.var.name), axis.extent) for axis in self.around_it]
        values: dict[str, Expr] = {axis.var.name: var for axis, (var, _) in zip(self.around_it, counters)}
        return counters, values, "parallel" if self.shared else "serial"

    def across_sum(self, cut: Sequence[tuple[Strip, Expr]]) -> tuple[Packed, ...]:
        """All strips step by step of the sum: what lies together is read together, a page may hold no more of it."""
        names = self.outer.names
        axes, values, kind = self._counters()
        counters = [(names.var(name), extent) for name, extent in self.loops]
        values |= {name: counter for (name, _), (counter, _) in zip(self.loops, counters)}
        step: tuple[Stmt, ...] = ()
        buffers: list[Buffer] = []
        for strip, first in cut:
            buffer = self._buffer((strip.count, *self.extents, strip.rows))
            tile = names.var("tile")
            start = plus(first, times(tile, strip.rows))

            def store(r: Expr, buffer: Buffer = buffer, tile: Var = tile, start: Expr = start) -> tuple[Stmt, ...]:
                at = self.outer.binding({**values, self.row.var.name: plus(start, r)})
                place = (*(c for c, _ in axes), tile, *(c for c, _ in counters), r)
                return self.operand.evaluated(buffer, place, at)

            step += in_vectors(tile, strip.count, strip.rows, self.lanes, store, self.outer)
            buffers.append(buffer)
        fills = [*[()] * (len(buffers) - 1), around([*axes, *counters], kind, step)]
        at = (STRIP, *self.summed, ROW_PLACE)
        return tuple(self._packed(buffer, fill, at) for buffer, fill in zip(buffers, fills))

    def along_sum(self, cut: Sequence[tuple[Strip, Expr]]) -> tuple[Packed, ...]:
        """Row by row."""
        return tuple(self._along_sum(strip, first) for strip, first in cut)

    def _along_sum(self, strip: Strip, first: Expr) -> Packed:
        names, loops = self.outer.names, self.loops
        # A line more than needed: rows of pages would lie in the same lines of the first cache.
        *outer, inner = self.extents
        buffer = self._buffer(
            (strip.count, strip.rows, *outer, inner + LINE_BYTES // self.operand.value.dtype.itemsize)
        )
        axes, values, kind = self._counters()
        counters = [(names.var(name), extent) for name, extent in loops]
        values |= {name: counter for (name, _), (counter, _) in zip(loops, counters)}
        tile, r = names.var("tile"), names.var("r")
        start = plus(first, times(tile, strip.rows))

        def store(k: Expr) -> tuple[Stmt, ...]:
            at = self.outer.binding({**values, self.row.var.name: plus(start, r), loops[-1][0]: k})
            place = (*(c for c, _ in axes), tile, r, *(c for c, _ in counters[:-1]), k)
            return self.operand.evaluated(buffer, place, at)

        vectors = in_vectors(names.var("tile"), 1, loops[-1][1], self.lanes, store, self.outer)
        body = around(counters[:-1], "serial", vectors)
        fill = around([*axes, (tile, strip.count), (r, strip.rows)], kind, body)
        return self._packed(buffer, fill, (STRIP, ROW_PLACE, *self.summed))


def in_vectors(
    tile: Var, tiles: int, extent: int, lanes: int, body: Callable[[Expr], tuple[Stmt, ...]], outer: Substitution
) -> tuple[Stmt, ...]:
    """`body` for 0 .. extent of each tile, a vector at a time."""
    names = outer.names
    whole, rest = divmod(extent, lanes)
    # Unrolled, so that the loop around it, which may go from page to page, is the innermost one.
    result: tuple[Stmt, ...] = ()
    if whole:
        strip, lane = names.var("strip"), names.var("lane")
        inner = body(plus(times(strip, lanes), lane))
        if tiles * whole <= MOST_UNROLLED:
            inner = around([(tile, tiles), (strip, whole)], "unroll", inner)
            result += (loop(lane, lanes, "vector", inner),)
        else:
            result += around([(tile, tiles), (strip, whole)], "serial", (loop(lane, lanes, "vector", inner),))
    if rest:
        lane, other = names.var("lane"), names.var(tile.name)
        inner = Substitution(names, {tile.name: other}).block(body(plus(lane, index(whole * lanes))))
        if tiles <= MOST_UNROLLED:
            result += (loop(lane, rest, "vector", (loop(other, tiles, "unroll", inner),)),)
        else:
            result += (loop(other, tiles, "serial", (loop(lane, rest, "vector", inner),)),)
    return result


def zero(dtype: DType) -> Const:
    return Const(0.0 if dtype.is_float else 0, dtype)


def replaced(leaf: tuple[Stmt, ...], changes: Mapping[int, For]) -> tuple[Stmt, ...]:
    """The leaf with some of its loops exchanged, given by identity."""
    result: list[Stmt] = []
    for statement in leaf:
        if isinstance(statement, For):
            new = changes.get(id(statement))
            result.append(new if new is not None else replace(statement, body=replaced(statement.body, changes)))
        else:
            result.append(statement)
    return tuple(result)
