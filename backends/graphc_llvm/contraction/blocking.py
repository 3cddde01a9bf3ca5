"""How a contraction is shared out: chunks of rows x columns for threads, panels and tiles inside of them.

A chunk packs what its tiles read several times, then goes down its rows tile by tile and, for each, along its panels:
the rows of a tile stay in the first cache, the panels in the second. The shape of chunks follows from an estimate of
the time that the slowest thread takes.
"""

from dataclasses import dataclass

from graphc_llvm.contraction.recognise import Contraction, Operand
from graphc_llvm.contraction.roles import STORE_NS, TRANSPOSE_NS, Roles, lane_ns
from graphc_llvm.contraction.tiles import Columns, Machine, best_vectors, columns, most_rows, strips, sweep_ns

SMALL_NS = 4_000.0  # less work than this is not worth sharing
CHUNK_OVERHEAD_NS = 100.0
PANEL_BYTES = 1 << 22  # of packed columns in one chunk
IN_PLACE = 1.2  # columns read where they lie: more lines and pages per step
RAGGED = 0.05  # a last block of other height costs code, and time
FEW_TILES = 3  # down the rows: columns that lie well are packed from here on


@dataclass(frozen=True, slots=True)
class Blocking:
    """`rows` in blocks of `block_rows`, full panels in blocks of `block_panels`; what is packed."""

    columns: Columns
    block_rows: int
    row_blocks: int
    block_panels: int
    panel_blocks: int
    most_rows: int
    pack_columns: bool
    pack_rows: bool
    small: bool


def choose_blocking(found: Contraction, roles: Roles, machine: Machine) -> Blocking:
    """The blocking whose slowest thread is estimated to be done first."""
    rows, extent = roles.rows, roles.lane.extent
    vectors = best_vectors(rows, extent, machine)
    cut = columns(extent, vectors, machine.lanes)
    repeats = 1
    for axis in roles.rest:
        repeats *= axis.extent
    most = most_rows(vectors, machine)
    estimate = _Estimate(found, roles, machine, cut, most)
    whole = estimate.chunk(rows, cut.full, cut.tail)
    small = whole * repeats < SMALL_NS
    best = (1, max(cut.full, 1))
    if not small:
        best = min(
            ((blocks, panels) for blocks in _row_blocks(rows, most) for panels in _divisors(cut.full)),
            key=lambda shape: estimate.makespan(shape[0], shape[1], rows, repeats),
        )
    row_blocks, panels = best
    block_rows = -(-rows // row_blocks)
    return Blocking(
        cut,
        block_rows,
        -(-rows // block_rows),
        panels,
        cut.full // panels if cut.full else 0,
        most,
        estimate.packs_columns(block_rows),
        estimate.packs_rows(panels * cut.vectors * machine.lanes),
        small,
    )


def _row_blocks(rows: int, most: int) -> list[int]:
    """Numbers of blocks worth trying: blocks of several tiles, equal ones first."""
    limit = max(rows // most, 1)
    return [n for n in range(1, min(limit, 64) + 1) if n <= 8 or rows % n == 0]


def _divisors(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0] or [1]


@dataclass(frozen=True, slots=True)
class _Estimate:
    found: Contraction
    roles: Roles
    machine: Machine
    cut: Columns
    most: int

    def packs_columns(self, rows: int) -> bool:
        """Whether panels are packed for chunks of that many rows."""
        found, roles = self.found, self.roles
        tiles = sum(strip.count for strip in strips(rows, self.most))
        for each in found.sums:
            operand = roles.lane_operand(each)
            loops = each.extents(operand)
            if not loops or roles.lane.var.name not in operand.uses or self._crosses(operand):
                return False
            if self._bytes(1) > PANEL_BYTES:
                return False
            in_place = operand.is_plain and operand.moves_by(roles.lane.var.name, found.known)
            if in_place and tiles < FEW_TILES:
                return False
        return True

    def _crosses(self, operand: Operand) -> bool:
        row = self.roles.row
        return row is not None and row.var.name in operand.uses

    def packs_rows(self, width: int) -> bool:
        """Whether the rows of a tile are packed for chunks of that many columns."""
        found, roles = self.found, self.roles
        if roles.row is None:
            return False
        for each in found.sums:
            operand = roles.row_operand(each)
            loops = each.extents(operand)
            if not loops or roles.row.var.name not in operand.uses or roles.lane.var.name in operand.uses:
                return False
            if operand.is_plain and operand.moves_by(loops[-1][0], found.known):
                return False
            if operand.is_plain and width < 2 * self.machine.lanes:
                return False
        return True

    def _bytes(self, panels: int) -> int:
        size = self.found.sums[0].store.buffer.dtype.itemsize
        longest = max(each.length for each in self.found.sums)
        return panels * self.cut.vectors * self.machine.lanes * longest * size

    def chunk(self, rows: int, panels: int, tail: int) -> float:
        """Nanoseconds of one chunk."""
        found, roles, machine = self.found, self.roles, self.machine
        width = panels * self.cut.vectors * machine.lanes + tail
        compute = sweep_ns(rows, width, self.cut.vectors, machine)
        packing = 0.0
        if self.packs_columns(rows):
            packing += width * lane_ns(found, found.sums[0], roles)
            if len(machine.caches) > 1 and self._bytes(panels) > machine.caches[1] * 0.6:
                compute *= 1.1
        else:
            compute *= IN_PLACE
        if self.packs_rows(width):
            packing += rows * TRANSPOSE_NS
        return found.length * (compute + packing) + rows * width * STORE_NS * len(found.stores) + CHUNK_OVERHEAD_NS

    def makespan(self, row_blocks: int, panels: int, rows: int, repeats: int) -> float:
        """Nanoseconds until the slowest thread is done."""
        cores = self.machine.cores
        block = -(-rows // row_blocks)
        number = -(-rows // block) * repeats
        full = self.chunk(block, panels, 0) if self.cut.full else 0.0
        columns_of = self.cut.full // panels
        tail = self.chunk(block, 0, self.cut.tail) if self.cut.tail else 0.0
        total = number * (columns_of * full + tail)
        count = number * columns_of if full else number
        uneven = (-(-count // cores) - count / cores) * (full or tail)
        ragged = RAGGED * total if rows % block else 0.0
        return total / cores + uneven + 0.1 * max(full, tail) + ragged
