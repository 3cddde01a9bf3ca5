"""Contractions in tiles: a block of threads computes a tile of the result, each thread a few elements in registers.

In: the axes of a nest of independent loops and its body (the leaf), which sums products into scratch of its own. Out:
block loops around the same statements for all elements of a tile, or None when the leaf is not of that form. The
operands of some steps of the sum are evaluated by all threads together into shared memory first, through the index maps
of the operands: transposes, casts and whatever else is computed on the way in happen there, once per tile. Every
element keeps its chain of multiply-adds in order, so no bit changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from graphc.core.dtypes import DType
from graphc.kernel.affine import stride_of
from graphc.kernel.ir import (
    Alloc,
    Buffer,
    Compare,
    Expr,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    index,
    walk,
)
from graphc.kernel.schedule.contractions import Contraction, Operand, Sum, as_contraction
from graphc.kernel.schedule.edit import Block, Names
from graphc.kernel.schedule.nests import Axis, extent_of, in_order
from graphc.kernel.schedule.rewrite import Substitution, plus, times
from graphc.kernel.schedule.traverse import needed
from graphc_cupy.axes import around

THREADS = 256
SIDE = 16  # threads along each side of a tile, where the result is wide enough
DEPTH = 16  # steps of the sum whose operands are in shared memory at once
ENOUGH_BLOCKS = 264  # two for each processor of a large card
MOST_ELEMENTS = 4096  # of scratch that a thread keeps for its part of the tile


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the tile: the axis it lies along, how many threads share it, how many elements each has."""

    axis: Axis
    block: Var
    threads: int
    each: int

    @property
    def size(self) -> int:
        return self.threads * self.each

    @property
    def blocks(self) -> int:
        return -(-self.axis.extent // self.size)

    def at(self, within: Expr) -> Expr:
        """The place along the axis of an element of the tile."""
        return plus(times(self.block, self.size), within)

    def guarded(self, place: Expr, body: Block) -> Block:
        """`body`, where that place exists."""
        if self.axis.extent % self.size == 0:
            return body
        return (If(Compare("lt", place, index(self.axis.extent)), body),)


def tiled(axes: tuple[Axis, ...], leaf: Block, names: Names) -> Block | None:
    """The phases of a contraction; None when the leaf is none, or one that no tile fits."""
    found = as_contraction(axes, leaf, several=True)
    if found is None or not all(_is_in_order(each) for each in found.sums):
        return None
    sides = _sides(found, names)
    if sides is None:
        return None
    rows, columns = sides
    each = rows.each * columns.each
    if sum(s.buffer.size * each for s in walk(leaf) if isinstance(s, Alloc)) > MOST_ELEMENTS:
        return None
    jam = _Jam(found, rows, columns)
    body = jam.block(leaf, Substitution(names), {})
    others = [(axis.var, axis.extent) for axis in axes if axis not in (rows.axis, columns.axis)]
    blocks = [*others, (rows.block, rows.blocks), (columns.block, columns.blocks)]
    return around(blocks, "block", (*jam.allocations, *body))


def _is_in_order(each: Sum) -> bool:
    """Whether the loops of a sum run one iteration after the other, and it is known how long the innermost one is."""
    return all(loop.kind == "serial" for loop in each.loops) and extent_of(each.loops[-1]) is not None


def _sides(found: Contraction, names: Names) -> tuple[Side, Side] | None:
    """The axes that the left operands alone run along, and the right ones alone; the longest of each."""
    left = {name for each in found.sums for name in each.x.uses}
    right = {name for each in found.sums for name in each.y.uses}
    only_left = [axis for axis in found.axes if axis.var.name in left - right]
    only_right = [axis for axis in found.axes if axis.var.name in right - left]
    if not only_left and not only_right:
        return None

    def longest(found: list[Axis]) -> Axis:
        return max(found, key=lambda axis: axis.extent) if found else Axis(names.var("one"), 1)

    rows, columns = longest(only_left), longest(only_right)
    wide = min(SIDE, _power(columns.extent)) if rows.extent >= SIDE else min(THREADS // _power(rows.extent), 64)
    wide = min(wide, _power(columns.extent))
    tall = min(THREADS // wide, _power(rows.extent))
    others = prod(axis.extent for axis in found.axes) // (rows.extent * columns.extent)
    for each in (8, 4, 2, 1):
        sides = tuple(
            Side(axis, names.var(axis.var.name), threads, min(each, -(-axis.extent // threads)))
            for axis, threads in ((rows, tall), (columns, wide))
        )
        if others * sides[0].blocks * sides[1].blocks >= ENOUGH_BLOCKS:
            break
    return sides[0], sides[1]


def _power(extent: int) -> int:
    """The smallest power of two that is not smaller."""
    return 1 << (max(extent, 1) - 1).bit_length()


@dataclass(frozen=True, slots=True)
class _Jam:
    """The leaf for all elements of a tile. Scratch of the leaf gets a copy per element, held by its thread."""

    found: Contraction
    rows: Side
    columns: Side
    tiles: dict[tuple[int, int, DType], Buffer] = field(default_factory=dict)  # by side, step and dtype

    @property
    def allocations(self) -> Block:
        return tuple(Alloc(buffer) for buffer in self.tiles.values())

    def block(self, statements: Block, outer: Substitution, lets: Mapping[str, Let]) -> Block:
        """Statements in order: sums and the loops around them by all threads together, the rest element by element."""
        result: list[Stmt] = []
        group: list[Stmt] = []
        lets = dict(lets)

        def flush() -> None:
            if any(not isinstance(s, Let) for s in group):
                result.extend(self.everywhere((*needed(tuple(group), lets), *group), outer))
            lets.update({s.var.name: s for s in group if isinstance(s, Let)})
            group.clear()

        for statement in statements:
            if isinstance(statement, Alloc):
                moved = self._private(statement.buffer, outer.names)
                outer = outer.holding(statement.buffer.name, moved)
                result.append(Alloc(moved))
            elif isinstance(statement, For) and any(statement in each.loops for each in self.found.sums):
                flush()
                result += self._loop(statement, outer, lets)
            else:
                group.append(statement)
        flush()
        return tuple(result)

    def _private(self, buffer: Buffer, names: Names) -> Buffer:
        shape = (self.rows.threads, self.columns.threads, self.rows.each, self.columns.each, *buffer.shape)
        return Buffer(names.fresh(buffer.name), buffer.dtype, shape, "register")

    def _loop(self, loop: For, outer: Substitution, lets: Mapping[str, Let]) -> Block:
        """The innermost loop of a sum, or one around sums: that one runs as it does, for the whole tile."""
        steps = [each for each in self.found.sums if each.loops[-1] == loop]
        if steps:
            return self._summed(loop, steps, outer)
        counter = outer.names.var(loop.var.name)
        body = self.block(loop.body, outer.binding({loop.var.name: counter}), lets)
        return (For(counter, outer.expr(loop.extent), "serial", body),)

    # ----------------------------------------------------------------------------------------- element by element

    def everywhere(self, statements: Block, outer: Substitution) -> Block:
        """Statements for each element of the tile that exists."""
        row, column, down, along = (outer.names.var(name) for name in ("row", "column", "down", "along"))
        place = _within(self.rows, row, down), _within(self.columns, column, along)
        values = {side.axis.var.name: side.at(at) for side, at in zip((self.rows, self.columns), place)}
        here = _own(outer.binding(values), (row, column, down, along))
        body = here.block(in_order(statements, most_unrolled=0))
        for side, at in zip((self.rows, self.columns), place):
            body = side.guarded(side.at(at), body)
        body = around([(down, self.rows.each), (along, self.columns.each)], "unroll", body)
        return around([(row, self.rows.threads), (column, self.columns.threads)], "thread", body)

    # -------------------------------------------------------------------------------------------------------- sums

    def _summed(self, loop: For, steps: list[Sum], outer: Substitution) -> Block:
        """The innermost loop of a sum, `DEPTH` of its steps at a time."""
        extent = extent_of(loop) or 0
        depth = min(DEPTH, extent)
        result: Block = ()
        if depth and extent // depth:
            turn = outer.names.var(loop.var.name)
            inside = self._turn(loop, steps, outer, times(turn, depth), depth)
            result += (For(turn, index(extent // depth), "serial", inside),)
        if depth and extent % depth:
            result += self._turn(loop, steps, outer, index(extent // depth * depth), extent % depth)
        return result

    def _turn(self, loop: For, steps: list[Sum], outer: Substitution, first: Expr, depth: int) -> Block:
        """So many steps: their operands brought to shared memory, then the multiply-adds."""
        result: Block = ()
        names = outer.names
        pairs: list[tuple[Buffer, Buffer]] = []
        for number, step in enumerate(steps):
            left = self._tile(0, number, step.x.value.dtype, names)
            right = self._tile(1, number, step.y.value.dtype, names)
            result += self._fill(left, self.rows, step.x, loop.var, outer, first, depth)
            result += self._fill(right, self.columns, step.y, loop.var, outer, first, depth)
            pairs.append((left, right))
        row, column, k = names.var("row"), names.var("column"), names.var(loop.var.name)
        inner: Block = ()
        for step, (left, right) in zip(steps, pairs, strict=True):
            down, along = names.var("down"), names.var("along")
            x = Load(left, (k, _within(self.rows, row, down)))
            y = Load(right, (k, _within(self.columns, column, along)))
            buffer, at = _own(outer, (row, column, down, along)).place(step.store.buffer, step.store.index)
            added = Store(buffer, at, replace(step.value, a=x, b=y, c=Load(buffer, at)))
            inner += around([(down, self.rows.each), (along, self.columns.each)], "unroll", (added,))
        body = (For(k, index(depth), "serial", inner),)
        return result + around([(row, self.rows.threads), (column, self.columns.threads)], "thread", body)

    def _tile(self, which: int, number: int, dtype: DType, names: Names) -> Buffer:
        """Shared memory for one operand of one step; a column more, so that threads meet different banks."""
        key = (which, number, dtype)
        if key not in self.tiles:
            name, side = ("left", self.rows) if which == 0 else ("right", self.columns)
            self.tiles[key] = Buffer(names.fresh(name), dtype, (DEPTH, side.size + 1), "shared")
        return self.tiles[key]

    def _fill(
        self, tile: Buffer, side: Side, operand: Operand, summed: Var, outer: Substitution, first: Expr, depth: int
    ) -> Block:
        """An operand along one side of the tile, for so many steps; neighbouring threads read neighbouring elements."""

        def near_ones(var: Var) -> int:
            steps = (stride_of(load.buffer, load.index, var, self.found.known) for load in operand.loads)
            return sum(step in (0, 1) for step in steps)

        along_sum = near_ones(summed) > near_ones(side.axis.var)
        lengths = (depth, side.size) if along_sum else (side.size, depth)
        threads = self.rows.threads * self.columns.threads
        inner = min(lengths[0], threads)
        rest = min(max(threads // inner, 1), lengths[1])
        a, b, c, d = (outer.names.var(name) for name in ("outer", "inner", "turn", "rest"))
        far, near = plus(times(c, rest), a), plus(times(d, inner), b)
        step, element = (near, far) if along_sum else (far, near)
        values = {summed.name: plus(first, step), side.axis.var.name: side.at(element)}
        body = operand.evaluated(tile, (step, element), outer.binding(values))
        body = side.guarded(side.at(element), body)
        for at, length, size in ((near, lengths[0], inner), (far, lengths[1], rest)):
            if length % size:
                body = (If(Compare("lt", at, index(length)), body),)
        body = around([(c, -(-lengths[1] // rest)), (d, -(-lengths[0] // inner))], "serial", body)
        return around([(a, rest), (b, inner)], "thread", body)


def _own(outer: Substitution, element: tuple[Expr, Expr, Expr, Expr]) -> Substitution:
    """With scratch of the leaf replaced by this element's copy."""
    return replace(outer, buffers={name: (buffer, element) for name, (buffer, _) in outer.buffers.items()})


def _within(side: Side, thread: Expr, number: Expr) -> Expr:
    """Element `number` of a thread: those of neighbouring threads are neighbours."""
    return plus(times(number, side.threads), thread) if side.each > 1 else thread
