"""A contraction as loops over chunks, panels and register tiles."""

from dataclasses import dataclass, replace

from graphc.kernel.ir import Compare, DotPair, Expr, Fma, For, If, Let, LoopKind, Stmt, index
from graphc.kernel.schedule.edit import Names
from graphc_llvm.axes import lanes_for
from graphc_llvm.contraction.blocking import Blocking, choose_blocking
from graphc_llvm.contraction.jam import Jam
from graphc_llvm.contraction.packing import PANEL, Packed, pack_columns, pack_rows, replaced
from graphc_llvm.contraction.recognise import Contraction, Operand, Sum
from graphc_llvm.contraction.roles import Roles, choose_roles, stores_along_rows
from graphc_llvm.contraction.tiles import Tile, machine, strips
from graphc_llvm.rewrite import Substitution, around, loop, plus, times


def schedule_contraction(found: Contraction, names: Names) -> tuple[Stmt, ...]:
    """The whole nest: one phase."""
    lanes = lanes_for(found.leaf)
    host = machine(lanes, found.sums[0].store.buffer.dtype.itemsize)
    roles = choose_roles(found, host)
    blocking = choose_blocking(found, roles, host)
    rest = tuple((names.var(axis.var.name), axis.extent) for axis in roles.rest)
    outer = Substitution(names, {axis.var.name: var for axis, (var, _) in zip(roles.rest, rest)})
    writer = _Writer(found, roles, blocking, lanes, outer)
    kind: LoopKind = "serial" if blocking.small else "parallel"
    across = blocking.panel_blocks + (blocking.columns.tail > 0 and blocking.panel_blocks != 1)
    down, along = (names.var("rows"), blocking.row_blocks), (names.var("columns"), across)
    row: Expr = times(down[0], blocking.block_rows) if down[1] > 1 else index(0)
    column: Expr = times(along[0], writer.block_width) if along[1] > 1 else index(0)
    nest = (*rest, *(each for each in (down, along) if each[1] > 1))
    body = writer.row_blocks(row, column)
    return around(nest, kind, body)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes chunks."""

    found: Contraction
    roles: Roles
    blocking: Blocking
    lanes: int
    outer: Substitution

    @property
    def block_width(self) -> int:
        return self.blocking.block_panels * self.blocking.columns.vectors * self.lanes

    @property
    def rows_inside(self) -> bool:
        return stores_along_rows(self.found, self.roles)

    def _lanes_of(self, group: "_Panels") -> int:
        """Lanes of the vectors of a panel: of a narrow one those that exist, unless packing fills the others up."""
        filled = self.blocking.pack_columns and not self.rows_inside
        return self.lanes if filled else min(self.lanes, group.last)

    def row_blocks(self, row: Expr, column: Expr) -> tuple[Stmt, ...]:
        """The chunk at (row, column): the last block of rows may be shorter."""
        blocking = self.blocking
        last = self.roles.rows - (blocking.row_blocks - 1) * blocking.block_rows
        shorter = self.column_blocks(last, row, column)
        if last == blocking.block_rows:
            return shorter
        whole = self.column_blocks(blocking.block_rows, row, column)
        within = Compare("le", row, index(self.roles.rows - last - blocking.block_rows))
        return (If(within, whole, shorter),)

    def column_blocks(self, rows: int, row: Expr, column: Expr) -> tuple[Stmt, ...]:
        """The chunk of that many rows: what fills no panel is a block of its own where there are several."""
        cut, blocks = self.blocking.columns, self.blocking.panel_blocks
        if blocks <= 1:
            return self.chunk(rows, cut.full, cut.tail, row, column)
        whole = self.chunk(rows, self.blocking.block_panels, 0, row, column)
        if not cut.tail:
            return whole
        within = Compare("le", column, index((blocks - 1) * self.block_width))
        return (If(within, whole, self.chunk(rows, 0, cut.tail, row, column)),)

    def chunk(self, rows: int, panels: int, tail: int, row: Expr, column: Expr) -> tuple[Stmt, ...]:
        """Pack, then all tiles of `rows` rows, `panels` full panels and `tail` columns."""
        groups: list[_Panels] = []
        after = plus(column, index(panels * self.blocking.columns.vectors * self.lanes))
        if panels:
            groups.append(_Panels(self.blocking.columns.vectors, self.lanes, panels, column))
        if tail and self.blocking.pack_columns and not self.rows_inside:
            vectors = -(-tail // self.lanes)
            groups.append(_Panels(vectors, tail - (vectors - 1) * self.lanes, 1, after))
        elif tail:
            whole, rest = divmod(tail, self.lanes)
            if whole:
                groups.append(_Panels(whole, self.lanes, 1, after))
            if rest:
                groups.append(_Panels(1, rest, 1, plus(after, index(whole * self.lanes))))
        statements: list[Stmt] = []
        packed = [self._pack_columns(group, statements) for group in groups]
        for strip in strips(rows, self.blocking.most_rows):
            number = self.outer.names.var("strip")
            first = plus(row, plus(times(number, strip.rows), index(strip.begin)))
            body = self._tiles(strip.rows, first, groups, packed)
            statements.append(loop(number, strip.count, "serial", body))
        return tuple(statements)

    def _pack_columns(self, group: "_Panels", statements: list[Stmt]) -> tuple[Packed | None, ...]:
        if not self.blocking.pack_columns:
            return (None,) * len(self.found.sums)
        tile = Tile(1, group.vectors, self._lanes_of(group), group.last)
        result = []
        for each in self.found.sums:
            operand = self.roles.lane_operand(each)
            packed = pack_columns(
                self.found, each, operand, self.roles.lane, tile, group.count, group.column, self.outer
            )
            statements += packed.statements
            result.append(packed)
        return tuple(result)

    def _tiles(
        self, rows: int, first: Expr, groups: "list[_Panels]", packed: list[tuple[Packed | None, ...]]
    ) -> tuple[Stmt, ...]:
        """One strip of rows over all panels."""
        result: list[Stmt] = []
        row_packs: tuple[Packed | None, ...] = (None,) * len(self.found.sums)
        if self.blocking.pack_rows:
            row_packs = tuple(self._pack_rows(each, rows, first, result) for each in self.found.sums)
        for group, columns in zip(groups, packed):
            panel = self.outer.names.var("panel")
            tile = Tile(rows, group.vectors, self._lanes_of(group), group.last)
            column = plus(group.column, times(panel, group.vectors * self.lanes))
            leaf = self._leaf(columns, row_packs)
            masked = tile.last < tile.lanes
            jam = Jam(leaf, self.roles.row, self.roles.lane, tile, first, index(0), column, masked, self.rows_inside)
            outer = self.outer.binding({PANEL.name: panel})
            result.append(loop(panel, group.count, "serial", jam.tile_block(outer)))
        return tuple(result)

    def _pack_rows(self, each: Sum, rows: int, first: Expr, result: list[Stmt]) -> Packed:
        assert self.roles.row is not None
        operand = self.roles.row_operand(each)
        packed = pack_rows(self.found, each, operand, self.roles.row, rows, first, self.outer, self.lanes)
        result += packed.statements
        return packed

    def _leaf(self, columns: tuple[Packed | None, ...], rows: tuple[Packed | None, ...]) -> tuple[Stmt, ...]:
        """The leaf, reading what is packed where it is packed."""
        changes: dict[int, For] = {}
        for each, lane_pack, row_pack in zip(self.found.sums, columns, rows):
            lane_operand = self.roles.lane_operand(each)
            by_lane = lane_pack.load if lane_pack else lane_operand.value
            by_row = row_pack.load if row_pack else self.roles.row_operand(each).value
            x, y = (by_lane, by_row) if lane_operand is each.x else (by_row, by_lane)
            old = each.store.value
            assert isinstance(old, Fma | DotPair)
            store = replace(each.store, value=replace(old, a=x, b=y))
            inner = each.loops[-1]
            kept = tuple(
                s for s in inner.body[:-1] if isinstance(s, Let) and _reads(s, each, lane_pack, row_pack, self.roles)
            )
            changes[id(inner)] = replace(inner, body=(*kept, store))
        return replaced(self.found.leaf, changes)


def _reads(let: Let, each: Sum, lane_pack: Packed | None, row_pack: Packed | None, roles: Roles) -> bool:
    """Whether an operand that is not packed needs the `Let`."""
    unpacked: list[Operand] = []
    if lane_pack is None:
        unpacked.append(roles.lane_operand(each))
    if row_pack is None:
        unpacked.append(roles.row_operand(each))
    return any(let.var.name in operand.uses for operand in unpacked)


@dataclass(frozen=True, slots=True)
class _Panels:
    """`count` panels of equal width from `column` on; the last vector of each has `last` columns."""

    vectors: int
    last: int
    count: int
    column: Expr
