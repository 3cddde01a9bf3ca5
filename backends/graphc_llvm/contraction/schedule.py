"""A contraction as loops over chunks, panels and register tiles."""

from dataclasses import field, replace

from graphc.core.records import dataclass
from graphc.kernel.ir import Binary, Compare, DotPair, Expr, Fma, For, If, Let, LoopKind, Stmt, Var, index
from graphc.kernel.schedule.contractions import Contraction, Operand, Sum
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.nests import around
from graphc.kernel.schedule.rewrite import Substitution, loop, plus, times
from graphc_llvm.axes import Axis, lanes_for
from graphc_llvm.contraction.ahead import Ahead, rows_ahead
from graphc_llvm.contraction.blocking import Blocking, choose_blocking
from graphc_llvm.contraction.jam import Jam
from graphc_llvm.contraction.packing import PANEL, STRIP, Packed, pack_columns, pack_rows, replaced
from graphc_llvm.contraction.roles import Roles, choose_roles, stores_along_rows
from graphc_llvm.contraction.tiles import Machine, Strip, Tile, machine, strips


def schedule_contraction(
    found: Contraction, names: Names, read_only: frozenset[str] = frozenset()
) -> tuple[tuple[Packed, ...], tuple[Stmt, ...]]:
    """What is packed by kernels of their own, and the whole nest: one phase, or more when it packs by itself.

    `read_only`: the parameters that the kernel never writes. What is made from them alone may be packed beforehand.
    """
    lanes = lanes_for(found.leaf)
    host = machine(lanes, found.sums[0].store.buffer.dtype.itemsize)
    roles = choose_roles(found, host)
    blocking = choose_blocking(found, roles, host)
    rest = tuple((names.var(axis.var.name), axis.extent) for axis in roles.rest)
    outer = Substitution(names, {axis.var.name: var for axis, (var, _) in zip(roles.rest, rest)})
    kind: LoopKind = "serial" if blocking.small else "parallel"
    across = blocking.panel_blocks + (blocking.columns.tail > 0 and blocking.panel_blocks != 1)
    down, along = (names.var("rows"), blocking.row_blocks), (names.var("columns"), across)
    row: Expr = times(down[0], blocking.block_rows) if down[1] > 1 else index(0)
    panel: Expr = times(along[0], blocking.block_panels) if along[1] > 1 else index(0)
    writer = _Writer(found, roles, blocking, host, lanes, outer, panel)
    column: Expr = times(along[0], writer.block_width) if along[1] > 1 else index(0)
    nest = (*rest, *(each for each in (down, along) if each[1] > 1))
    packs, front = writer.pack_shared(read_only)
    return packs, front + around(nest, kind, writer.row_blocks(row, column))


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes chunks."""

    found: Contraction
    roles: Roles
    blocking: Blocking
    host: Machine
    lanes: int
    outer: Substitution
    first_panel: Expr  # of the chunk
    shared: "dict[tuple[int, int], tuple[Packed, ...]]" = field(default_factory=dict)  # by the width of panels
    shared_rows: list[tuple[Packed, ...]] = field(default_factory=list)  # of each strip

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
        # Said twice, once in columns and once in panels: bounds of both are proved from it.
        by_column = Compare("le", column, index((blocks - 1) * self.block_width))
        by_panel = Compare("le", self.first_panel, index((blocks - 1) * self.blocking.block_panels))
        within = Binary("and", by_column, by_panel)
        return (If(within, whole, self.chunk(rows, 0, cut.tail, row, column)),)

    def pack_shared(self, read_only: frozenset[str]) -> tuple[tuple[Packed, ...], tuple[Stmt, ...]]:
        """What all chunks share packed by all threads, before them: by kernels of their own, or by phases in front."""
        cut = self.blocking.columns
        packs: list[Packed] = []
        result: list[Stmt] = []

        def ready(packed: tuple[Packed, ...]) -> tuple[Packed, ...]:
            if all(each.reads <= read_only for each in packed):
                packed = tuple(each.given() for each in packed)
                packs.extend(packed)
            else:
                result.extend(statement for each in packed for statement in each.statements)
            return packed

        if self.blocking.share_columns:
            for group in self._groups(cut.full, cut.tail, index(0)):
                self.shared[self._key(group)] = ready(self._packed_columns(group, self.roles.rest))
        if self.blocking.share_rows:
            down = strips(self.roles.rows, self.blocking.most_rows)
            rows = self._packed_rows([(strip, index(strip.begin)) for strip in down], self.roles.rest)
            self.shared_rows.extend(ready(packed) for packed in rows)
        return tuple(packs), tuple(result)

    def _key(self, group: "_Panels") -> tuple[int, int]:
        return group.vectors, group.last

    def _groups(self, panels: int, tail: int, column: Expr) -> "list[_Panels]":
        """Panels of equal width from `column` on: full ones, then what is left."""
        groups: list[_Panels] = []
        vectors = self.blocking.columns.vectors
        after = plus(column, index(panels * vectors * self.lanes))
        if panels:
            groups.append(_Panels(vectors, self.lanes, panels, column))
        if tail and self.blocking.pack_columns and not self.rows_inside:
            vectors = -(-tail // self.lanes)
            groups.append(_Panels(vectors, tail - (vectors - 1) * self.lanes, 1, after))
        elif tail:
            whole, rest = divmod(tail, self.lanes)
            if whole:
                groups.append(_Panels(whole, self.lanes, 1, after))
            if rest:
                groups.append(_Panels(1, rest, 1, plus(after, index(whole * self.lanes))))
        return groups

    def chunk(self, rows: int, panels: int, tail: int, row: Expr, column: Expr) -> tuple[Stmt, ...]:
        """Pack, then all tiles of `rows` rows, `panels` full panels and `tail` columns."""
        blocking = self.blocking
        groups = self._groups(panels, tail, column)
        nothing: tuple[Packed, ...] = ()
        statements: list[Stmt] = []
        packed: list[tuple[Packed, ...]] = []
        for group in groups:
            if blocking.share_columns:
                packed.append(self.shared[self._key(group)])
                continue
            packed.append(self._packed_columns(group, None) if blocking.pack_columns else nothing)
            for each in packed[-1]:
                statements += each.statements
        cut = strips(rows, blocking.most_rows)
        firsts = [plus(row, index(strip.begin)) for strip in cut]
        together = blocking.pack_rows and blocking.rows_together
        ready = [nothing for _ in cut]
        if blocking.share_rows:
            ready = self.shared_rows
        elif together:
            ready = self._packed_rows(list(zip(cut, firsts)))
            statements += [s for packs in zip(*ready) for each in packs for s in each.statements]
        names = self.outer.names
        if together and blocking.panels_outside:
            for group, columns in zip(groups, packed):
                panel = names.var("panel")
                down: list[Stmt] = []
                for strip, begin, pack in zip(cut, firsts, ready):
                    number = names.var("strip")
                    first = plus(begin, times(number, strip.rows))
                    tile = self._tile(panel, strip.rows, first, number, group, columns, pack)
                    down.append(loop(number, strip.count, "serial", tile))
                statements.append(loop(panel, group.count, "serial", tuple(down)))
            return tuple(statements)
        for strip, begin, pack in zip(cut, firsts, ready):
            number = names.var("strip")
            first = plus(begin, times(number, strip.rows))
            alone = nothing
            if blocking.pack_rows and not together:
                (alone,) = self._packed_rows([(Strip(0, 1, strip.rows), first)])
            body: list[Stmt] = [s for each in alone for s in each.statements]
            place = number if together else index(0)
            for group, columns in zip(groups, packed):
                panel = names.var("panel")
                tile = self._tile(panel, strip.rows, first, place, group, columns, pack or alone)
                body.append(loop(panel, group.count, "serial", tile))
            statements.append(loop(number, strip.count, "serial", tuple(body)))
        return tuple(statements)

    def _packed_columns(self, group: "_Panels", shared: tuple[Axis, ...] | None) -> tuple[Packed, ...]:
        tile = Tile(1, group.vectors, self._lanes_of(group), group.last)
        found, roles = self.found, self.roles
        return tuple(
            pack_columns(
                found, each, roles.lane_operand(each), roles.lane, tile, group.count, group.column, self.outer, shared
            )
            for each in found.sums
        )

    def _packed_rows(
        self, cut: list[tuple[Strip, Expr]], shared: tuple[Axis, ...] | None = None
    ) -> list[tuple[Packed, ...]]:
        """For each strip, given with its first row, what is packed for each sum."""
        row = self.roles.row
        assert row is not None
        each = (
            pack_rows(self.found, s, self.roles.row_operand(s), row, cut, self.outer, self.lanes, shared)
            for s in self.found.sums
        )
        return list(zip(*each))

    def _tile(
        self,
        panel: Var,
        rows: int,
        first: Expr,
        place: Expr,
        group: "_Panels",
        columns: tuple[Packed, ...],
        row_packs: tuple[Packed, ...],
    ) -> tuple[Stmt, ...]:
        """One tile."""
        tile = Tile(rows, group.vectors, self._lanes_of(group), group.last)
        width = group.vectors * self.lanes
        column = plus(group.column, times(panel, width))
        leaf = self._leaf(columns, row_packs)
        masked = tile.last < tile.lanes
        squares = self.blocking.squares
        ahead = () if self.blocking.rows_together and self.blocking.pack_rows else self._ahead(tile)
        jam = Jam(leaf, self.roles.row, self.roles.lane, tile, first, column, masked, squares, ahead, self.rows_inside)
        number: Expr = panel
        if self.blocking.share_columns and group.vectors == self.blocking.columns.vectors and group.last == self.lanes:
            number = plus(self.first_panel, panel)
        return jam.tile_block(self.outer.binding({PANEL.name: number, STRIP.name: place}))

    def _ahead(self, tile: Tile) -> tuple[Ahead, ...]:
        each = (rows_ahead(self.found, s, self.roles, tile, self.host) for s in self.found.sums)
        return tuple(found for found in each if found is not None)

    def _leaf(self, columns: tuple[Packed, ...], rows: tuple[Packed, ...]) -> tuple[Stmt, ...]:
        """The leaf, reading what is packed where it is packed."""
        changes: dict[int, For] = {}
        for number, each in enumerate(self.found.sums):
            lane_pack = columns[number] if columns else None
            row_pack = rows[number] if rows else None
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
