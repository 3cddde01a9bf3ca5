"""Unroll-and-jam: the leaf of a contraction for a whole register tile at once.

Scratch of the leaf gets one copy per (row, vector); each group of simple statements is repeated for all of them inside
the leaf's own loops. So every element keeps its operations and their order, and a sum runs in registers: an
accumulator that lies in an array is brought to a register around its innermost loop.
"""

from collections.abc import Sequence
from dataclasses import replace

from graphc.core.records import dataclass
from graphc.kernel.ir import (
    Alloc,
    Buffer,
    Compare,
    DotPair,
    Expr,
    Fma,
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
from graphc.kernel.schedule.nests import extent_of
from graphc.kernel.schedule.rewrite import Substitution, loop, plus, times
from graphc.kernel.schedule.traverse import expressions, needed
from graphc_llvm.axes import Axis
from graphc_llvm.contraction.ahead import Ahead
from graphc_llvm.contraction.tiles import Tile

# Stand in for the place in the tile (not in the output) where packed operands are indexed.
ROW_PLACE, LANE_PLACE = Var("@row"), Var("@lane")
MULTIPLY_ADDS = 12  # of one iteration of the innermost loop; shorter ones are unrolled
MOST_UNROLLED = 8


@dataclass(frozen=True, slots=True)
class Jam:
    """One tile of `leaf`, whose first element is at (row, column)."""

    leaf: tuple[Stmt, ...]
    row_axis: Axis | None
    lane_axis: Axis
    tile: Tile
    row: Expr
    column: Expr
    masked: bool  # some lanes of the last vector do not exist
    along_sum: bool = False  # the lanes' operand lies along the sum: it is read in squares of lanes and steps
    ahead: tuple[Ahead, ...] = ()  # what of the next tile down is asked for meanwhile
    rows_inside: bool = False  # memory lies along the rows: it is read and written in squares of rows and lanes

    def tile_block(self, outer: Substitution) -> tuple[Stmt, ...]:
        """The statements of the tile."""
        lane = outer.names.var("lane")
        return (loop(lane, self.tile.lanes, "vector", _Body(self, lane).block(self.leaf, outer, {})),)


@dataclass(frozen=True, slots=True)
class _Body:
    jam: Jam
    lane: Var

    def block(self, statements: tuple[Stmt, ...], outer: Substitution, lets: dict[str, Let]) -> tuple[Stmt, ...]:
        result: list[Stmt] = []
        group: list[Stmt] = []
        lets = dict(lets)

        def flush() -> None:
            if any(not isinstance(s, Let) for s in group):
                result.extend(self._everywhere(tuple(group), outer, lets))
            lets.update({s.var.name: s for s in group if isinstance(s, Let)})
            group.clear()

        for statement in statements:
            if isinstance(statement, Alloc):
                flush()
                moved, outer = self._private(statement.buffer, statement.buffer.shape, outer)
                result.append(Alloc(moved))
            elif isinstance(statement, For):
                flush()
                result += self._loop(statement, outer, lets)
            else:
                group.append(statement)
        flush()
        return tuple(result)

    def _private(self, buffer: Buffer, shape: tuple[int, ...], outer: Substitution) -> tuple[Buffer, Substitution]:
        """A buffer with one copy per (row, vector), and the substitution that knows it."""
        tile = self.jam.tile
        moved = Buffer(outer.names.fresh(buffer.name), buffer.dtype, (tile.rows, tile.vectors, *shape), buffer.space)
        return moved, outer.holding(buffer.name, moved)

    def _loop(self, statement: For, outer: Substitution, lets: dict[str, Let]) -> tuple[Stmt, ...]:
        match statement.body:
            case (*before, Store(target, at, Fma() | DotPair() as step) as store) if _are_lets(before):
                if not target.shape:
                    return self._summed(statement, outer, lets)
                # The accumulator lies in an array: a register takes its place during the loop.
                acc = Buffer(outer.names.fresh("sum"), target.dtype, (), "register")
                moved, inside = self._private(acc, (), outer)
                first, last = Store(acc, (), Load(target, at)), Store(target, at, Load(acc, ()))
                body = (*before, replace(store, buffer=acc, index=(), value=replace(step, c=Load(acc, ()))))
                return (
                    Alloc(moved),
                    *self._everywhere((first,), inside, lets),
                    *self._summed(replace(statement, body=body), inside, lets),
                    *self._everywhere((last,), inside, lets),
                )
        counter = outer.names.var(statement.var.name)
        inner = self.block(statement.body, outer.binding({statement.var.name: counter}), lets)
        return (For(counter, outer.expr(statement.extent), "serial", inner),)

    def _summed(self, statement: For, outer: Substitution, lets: dict[str, Let]) -> tuple[Stmt, ...]:
        """An innermost summed loop, unrolled where a step is too short to hide the loop itself."""
        names, extent, tile = outer.names, extent_of(statement), self.jam.tile
        steps = min(-(-MULTIPLY_ADDS // (tile.rows * tile.vectors)), MOST_UNROLLED)
        if self.jam.along_sum:
            steps = 1 << (tile.lanes - 1).bit_length()

        def body(position: Expr) -> tuple[Stmt, ...]:
            inside = self.block(statement.body, outer.binding({statement.var.name: position}), lets)
            return (*self._asked(statement.var.name, position, outer), *inside)

        if extent is None or steps == 1 or extent < 2 * steps:
            counter = names.var(statement.var.name)
            return (For(counter, outer.expr(statement.extent), "serial", body(counter)),)
        counter, step = names.var(statement.var.name), names.var("step")
        whole, rest = divmod(extent, steps)
        inner = loop(step, steps, "unroll", body(plus(times(counter, steps), step)))
        result: tuple[Stmt, ...] = (loop(counter, whole, "serial", (inner,)),)
        if rest:
            last = names.var(statement.var.name)
            result += (
                loop(last, rest, "unroll" if self.jam.along_sum else "serial", body(plus(last, index(whole * steps)))),
            )
        return result

    def _asked(self, counter: str, position: Expr, outer: Substitution) -> tuple[Stmt, ...]:
        """What a step of the innermost summed loop asks for."""
        jam = self.jam
        following = plus(jam.row, index(jam.tile.rows))
        wanted = (each for each in jam.ahead if each.counter == counter)
        return tuple(s for each in wanted for s in each.at(position, following, jam.tile.rows, outer))

    def _everywhere(self, group: tuple[Stmt, ...], outer: Substitution, lets: dict[str, Let]) -> tuple[Stmt, ...]:
        """The group for all rows and vectors; the last vector under a mask when not all of its lanes exist."""
        tile = self.jam.tile
        group = needed(group, lets) + group
        masked = self.jam.masked and self._by_lane(group, outer)
        whole = tile.vectors - 1 if masked else tile.vectors
        result: tuple[Stmt, ...] = ()
        if self.jam.along_sum and _multiplies(group):
            # All that reads a square is in one block, so that the square is read once.
            for n in range(tile.rows):
                result += self._at(index(n), index(0), outer).block(group)
            return result
        if whole and self.jam.rows_inside and self._by_lane(group, outer):
            return self._by_squares(group, outer)
        if whole == tile.rows == 1:
            result += self._at(index(0), index(0), outer).block(group)
        elif whole:
            r, v = outer.names.var("r"), outer.names.var("v")
            body = self._at(r, v, outer).block(group)
            result += (loop(r, tile.rows, "unroll", (loop(v, whole, "unroll", body),)),)
        if masked:
            r = outer.names.var("r")
            body = self._at(r, index(whole), outer).block(group)
            exists = Compare("lt", self.lane, index(tile.last))
            result += (loop(r, tile.rows, "unroll", (If(exists, body),)),)
        return result

    def _by_squares(self, group: tuple[Stmt, ...], outer: Substitution) -> tuple[Stmt, ...]:
        """The group vector by vector, the rows inside, as many at a time as a vector has lanes."""
        tile, result = self.jam.tile, []
        for begin in range(0, tile.rows, tile.lanes):
            r, v = outer.names.var("r"), outer.names.var("v")
            body = self._at(plus(r, index(begin)), v, outer).block(group)
            rows = loop(r, min(tile.lanes, tile.rows - begin), "unroll", body)
            result.append(loop(v, tile.vectors, "unroll", (rows,)))
        return tuple(result)

    def _at(self, r: Expr, v: Expr, outer: Substitution) -> Substitution:
        jam = self.jam
        place = plus(times(v, jam.tile.lanes), self.lane)
        values: dict[str, Expr] = {jam.lane_axis.var.name: plus(jam.column, place), LANE_PLACE.name: place}
        values[ROW_PLACE.name] = r
        if jam.row_axis is not None:
            values[jam.row_axis.var.name] = plus(jam.row, r)
        moved = {name: (buffer, (r, v)) for name, (buffer, prefix) in outer.buffers.items()}
        return replace(outer.binding(values), buffers=moved)

    def _by_lane(self, group: tuple[Stmt, ...], outer: Substitution) -> bool:
        """Whether the group touches memory at a column of the output."""
        lane = self.jam.lane_axis.var.name
        return any(isinstance(e, Var) and e.name == lane for s in walk(group) for e in expressions(s))


def _multiplies(group: tuple[Stmt, ...]) -> bool:
    return any(isinstance(s, Store) and isinstance(s.value, Fma | DotPair) for s in group)


def _are_lets(statements: Sequence[Stmt]) -> bool:
    return all(isinstance(s, Let) for s in statements)
