"""Contractions in tiles: a block of threads computes a tile of the result, each thread a few elements in registers.

In: the axes of a nest of independent loops and its body (the leaf), which sums products into scratch of its own. Out:
block loops around the same statements for all elements of a tile, or None when the leaf is not of that form. The
operands of some steps of the sum are evaluated by all threads together into shared memory first, through the index maps
of the operands: transposes, casts and whatever else is computed on the way in happen there, once per tile. Every
element keeps its chain of multiply-adds in order, so no bit changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from graphc.core.dtypes import DType
from graphc.kernel.affine import Facts, loads, stride_of, variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import (
    Alloc,
    Buffer,
    Compare,
    Const,
    Expr,
    Fma,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    index,
    walk,
)
from graphc.kernel.schedule.edit import Block, Names, fresh_copy, map_block, map_expr, substitute
from graphc.kernel.schedule.nests import Axis
from graphc.kernel.schedule.rewrite import plus, times
from graphc.kernel.schedule.traverse import facts
from graphc_cupy.axes import around

THREADS = 256
SIDE = 16  # threads along each side of a tile, where the result is wide enough
DEPTH = 16  # steps of the sum whose operands are in shared memory at once
ENOUGH_BLOCKS = 264  # two for each processor of a large card
MOST_ELEMENTS = 4096  # of scratch that a thread keeps for its part of the tile


@dataclass(frozen=True, slots=True)
class Step:
    """One multiply-add of the innermost loop of a sum."""

    store: Store
    x: Expr
    y: Expr

    @staticmethod
    def of(statement: Stmt) -> "Step | None":
        match statement:
            case Store(buffer, at, Fma(x, y, Load() as old)) if old == Load(buffer, at):
                return Step(statement, x, y)
            case _:
                return None


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


def tiled(axes: Sequence[Axis], leaf: Block, names: Names) -> Block | None:
    """The phases of a contraction; None when the leaf is none."""
    sums = _sums(leaf)
    if not sums or any(isinstance(s, While) for s in walk(leaf)):
        return None
    sides = _sides(axes, leaf, sums, names)
    if sides is None:
        return None
    rows, columns = sides
    jam = _Jam(names, rows, columns, frozenset(s.buffer.name for s in walk(leaf) if isinstance(s, Alloc)))
    if jam.held(leaf) > MOST_ELEMENTS:
        return None
    body = jam.block(leaf, ())
    if body is None:
        return None
    others = [(axis.var, axis.extent) for axis in axes if axis not in (rows.axis, columns.axis)]
    blocks = [*others, (rows.block, rows.blocks), (columns.block, columns.blocks)]
    return around(blocks, "block", (*jam.allocations, *body))


def _sums(leaf: Block) -> list[For]:
    """The innermost loops of sums: `Let`s, then multiply-adds."""
    return [s for s in walk(leaf) if isinstance(s, For) and s.kind == "serial" and _steps(s)]


def _steps(loop: For) -> tuple[Step, ...]:
    """The multiply-adds a loop consists of; none when it holds something else, or when their place moves with it."""
    steps = [Step.of(s) for s in loop.body if not isinstance(s, Let)]
    known = Facts({}, {s.var.name: s.value for s in loop.body if isinstance(s, Let)})
    found = tuple(step for step in steps if step is not None)
    moves = any(loop.var.name in variables(i, known) for step in found for i in step.store.index)
    return () if len(found) < len(steps) or moves or not isinstance(loop.extent, Const) else found


def _sides(axes: Sequence[Axis], leaf: Block, sums: Sequence[For], names: Names) -> tuple[Side, Side] | None:
    """The axes that the left operands alone run along, and the right ones alone; the longest of each."""
    known = facts(leaf)
    left: set[str] = set()
    right: set[str] = set()
    for loop in sums:
        for step in _steps(loop):
            left |= variables(step.x, known)
            right |= variables(step.y, known)
    only_left = [axis for axis in axes if axis.var.name in left - right]
    only_right = [axis for axis in axes if axis.var.name in right - left]
    if not only_left and not only_right:
        return None

    def longest(found: list[Axis]) -> Axis:
        return max(found, key=lambda axis: axis.extent) if found else Axis(names.var("one"), 1)

    rows, columns = longest(only_left), longest(only_right)
    wide = min(SIDE, _power(columns.extent)) if rows.extent >= SIDE else min(THREADS // _power(rows.extent), 64)
    wide = min(wide, _power(columns.extent))
    tall = min(THREADS // wide, _power(rows.extent))
    others = prod(axis.extent for axis in axes) // (rows.extent * columns.extent)
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


@dataclass(slots=True)
class _Jam:
    """The leaf for all elements of a tile. Scratch of the leaf, `own`, gets a copy per element, held by its thread."""

    names: Names
    rows: Side
    columns: Side
    own: frozenset[str]
    buffers: dict[str, Buffer] = field(default_factory=dict)  # own ones by name, as they are now
    tiles: dict[tuple[int, int, DType], Buffer] = field(default_factory=dict)  # by side, step and dtype

    @property
    def allocations(self) -> Block:
        return tuple(Alloc(buffer) for buffer in self.tiles.values())

    def held(self, leaf: Block) -> int:
        """Elements of scratch of one thread."""
        each = self.rows.each * self.columns.each
        return sum(s.buffer.size * each for s in walk(leaf) if isinstance(s, Alloc))

    def block(self, statements: Block, lets: tuple[Let, ...]) -> Block | None:
        """Statements in order: sums and the loops around them by all threads together, the rest element by element."""
        result: list[Stmt] = []
        group: list[Stmt] = []

        def flush() -> bool:
            nonlocal lets
            if any(not isinstance(s, Let) for s in group):
                result.extend(self.everywhere((*_needed(lets, group), *group)))
            fresh = tuple(s for s in group if isinstance(s, Let))
            group.clear()
            lets = (*lets, *fresh)
            return all(load.buffer.name not in self.own for let in fresh for load in loads(let.value))

        for statement in statements:
            if isinstance(statement, Alloc):
                made = self._private(statement.buffer)
                result.append(Alloc(made))
            elif isinstance(statement, For) and _sums((statement,)):
                if not flush():
                    return None
                inside = self.summed(statement, lets) if _steps(statement) else self.around_sum(statement, lets)
                if inside is None:
                    return None
                result += inside
            else:
                group.append(statement)
        flush()
        return tuple(result)

    def around_sum(self, loop: For, lets: tuple[Let, ...]) -> Block | None:
        """A loop that holds sums runs as it does, for the whole tile."""
        counter = self.names.var(loop.var.name)
        if loop.kind != "serial":
            return None
        body = self.block(substitute(loop.body, {loop.var.name: counter}), lets)
        return None if body is None else (For(counter, loop.extent, "serial", body),)

    def _private(self, buffer: Buffer) -> Buffer:
        shape = (self.rows.threads, self.columns.threads, self.rows.each, self.columns.each, *buffer.shape)
        self.buffers[buffer.name] = Buffer(self.names.fresh(buffer.name), buffer.dtype, shape, "register")
        return self.buffers[buffer.name]

    # ----------------------------------------------------------------------------------------- element by element

    def everywhere(self, statements: Block) -> Block:
        """Statements for each element of the tile that exists."""
        row, column, down, along = (self.names.var(name) for name in ("row", "column", "down", "along"))
        place = _within(self.rows, row, down), _within(self.columns, column, along)
        body = self._moved(statements, (row, column, down, along))
        values = {side.axis.var.name: side.at(at) for side, at in zip((self.rows, self.columns), place)}
        body = fresh_copy(substitute(body, values), self.names)
        for side, at in zip((self.rows, self.columns), place):
            body = side.guarded(side.at(at), body)
        body = around([(down, self.rows.each), (along, self.columns.each)], "unroll", body)
        return around([(row, self.rows.threads), (column, self.columns.threads)], "thread", body)

    def _moved(self, statements: Block, element: tuple[Var, Var, Var, Var]) -> Block:
        """With scratch of the leaf replaced by this element's copy."""

        def place(buffer: Buffer, idx: tuple[Expr, ...]) -> tuple[Buffer, tuple[Expr, ...]]:
            return (self.buffers[buffer.name], (*element, *idx)) if buffer.name in self.buffers else (buffer, idx)

        def node(expr: Expr) -> Expr:
            return Load(*place(expr.buffer, expr.index)) if isinstance(expr, Load) else expr

        return map_block(_in_order(statements), lambda e: map_expr(e, node), place)

    # -------------------------------------------------------------------------------------------------------- sums

    def summed(self, loop: For, lets: tuple[Let, ...]) -> Block | None:
        """The innermost loop of a sum, `DEPTH` of its steps at a time."""
        steps = _steps(loop)
        assert isinstance(loop.extent, Const)
        extent = int(loop.extent.value)
        lets = (*lets, *(s for s in loop.body if isinstance(s, Let)))
        depth = min(DEPTH, extent)
        result: Block = ()
        if depth and extent // depth:
            turn = self.names.var(loop.var.name)
            inside = self._turn(loop, steps, lets, times(turn, depth), depth)
            result += (For(turn, index(extent // depth), "serial", inside),)
        if depth and extent % depth:
            result += self._turn(loop, steps, lets, index(extent // depth * depth), extent % depth)
        return result

    def _turn(self, loop: For, steps: Sequence[Step], lets: tuple[Let, ...], first: Expr, depth: int) -> Block:
        """So many steps: their operands brought to shared memory, then the multiply-adds."""
        result: Block = ()
        pairs: list[tuple[Buffer, Buffer]] = []
        for number, step in enumerate(steps):
            found = []
            for which, (side, value) in enumerate(((self.rows, step.x), (self.columns, step.y))):
                tile = self._tile(which, number, value.dtype, side)
                result += self._fill(tile, side, value, lets, loop.var, first, depth)
                found.append(tile)
            pairs.append((found[0], found[1]))
        row, column, k = self.names.var("row"), self.names.var("column"), self.names.var(loop.var.name)
        inner: Block = ()
        for step, (left, right) in zip(steps, pairs, strict=True):
            down, along = self.names.var("down"), self.names.var("along")
            x = Load(left, (k, _within(self.rows, row, down)))
            y = Load(right, (k, _within(self.columns, column, along)))
            old = step.store
            moved = self._moved(
                (replace(old, value=Fma(x, y, Load(old.buffer, old.index))),), (row, column, down, along)
            )
            inner += around([(down, self.rows.each), (along, self.columns.each)], "unroll", moved)
        body = (For(k, index(depth), "serial", inner),)
        return result + around([(row, self.rows.threads), (column, self.columns.threads)], "thread", body)

    def _tile(self, which: int, number: int, dtype: DType, side: Side) -> Buffer:
        """Shared memory for one operand of one step; a column more, so that threads meet different banks."""
        key = (which, number, dtype)
        if key not in self.tiles:
            name = self.names.fresh("left" if which == 0 else "right")
            self.tiles[key] = Buffer(name, dtype, (DEPTH, side.size + 1), "shared")
        return self.tiles[key]

    def _fill(
        self, tile: Buffer, side: Side, value: Expr, lets: tuple[Let, ...], summed: Var, first: Expr, depth: int
    ) -> Block:
        """An operand along one side of the tile, for so many steps; neighbouring threads read neighbouring elements."""
        needed = _needed(lets, (Let(Var("value", value.dtype), value),))
        known = Facts({}, {let.var.name: let.value for let in lets})
        reads = [load for expr in (value, *(let.value for let in needed)) for load in loads(expr)]
        along_sum = sum(stride_of(load.buffer, load.index, summed, known) in (0, 1) for load in reads)
        along_side = sum(stride_of(load.buffer, load.index, side.axis.var, known) in (0, 1) for load in reads)
        threads = self.rows.threads * self.columns.threads
        inner = min(depth if along_sum > along_side else side.size, threads)
        outer = min(max(threads // inner, 1), side.size if along_sum > along_side else depth)
        a, b, c, d = (self.names.var(name) for name in ("outer", "inner", "turn", "rest"))
        far, near = plus(times(c, outer), a), plus(times(d, inner), b)
        step, element = (near, far) if along_sum > along_side else (far, near)
        lengths = (depth, side.size) if along_sum > along_side else (side.size, depth)
        values = {summed.name: plus(first, step), side.axis.var.name: side.at(element)}
        body = fresh_copy(substitute((*needed, Store(tile, (step, element), value)), values), self.names)
        body = side.guarded(side.at(element), body)
        for at, length, size in ((near, lengths[0], inner), (far, lengths[1], outer)):
            if length % size:
                body = (If(Compare("lt", at, index(length)), body),)
        body = around([(c, -(-lengths[1] // outer)), (d, -(-lengths[0] // inner))], "serial", body)
        return around([(a, outer), (b, inner)], "thread", body)


def _within(side: Side, thread: Expr, number: Expr) -> Expr:
    """Element `number` of a thread: those of neighbouring threads are neighbours."""
    return plus(times(number, side.threads), thread) if side.each > 1 else thread


def _needed(lets: Sequence[Let], wanted: Sequence[Stmt]) -> tuple[Let, ...]:
    """The `Let`s that statements need, in order."""
    own = {s.var.name for s in walk(tuple(wanted)) if isinstance(s, Let)}
    names = {name for s in walk(tuple(wanted)) for expr in expressions(s) for name in variables(expr)} - own
    found: list[Let] = []
    for let in reversed(lets):
        if let.var.name in names:
            names |= variables(let.value)
            found.append(let)
    return tuple(reversed(found))


def _in_order(statements: Block) -> Block:
    """Parallel loops inside a thread run in order."""
    result: list[Stmt] = []
    for statement in statements:
        match statement:
            case For(_, _, kind, body):
                result.append(replace(statement, kind="serial" if kind == "parallel" else kind, body=_in_order(body)))
            case If(_, then, orelse):
                result.append(replace(statement, then=_in_order(then), orelse=_in_order(orelse)))
            case _:
                result.append(statement)
    return tuple(result)
