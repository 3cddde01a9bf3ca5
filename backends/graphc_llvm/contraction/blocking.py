"""How a contraction is shared out: chunks of rows x columns for threads, panels and tiles inside of them.

A chunk packs what its tiles read several times, then goes down its rows tile by tile and, for each, along its panels:
the rows of a tile stay in the first cache, the panels in the second. The shape of chunks follows from an estimate of
the time that the slowest thread takes.
"""

from dataclasses import field
from math import gcd

from graphc.core.records import dataclass
from graphc.kernel.schedule.contractions import Contraction, Operand
from graphc_llvm.contraction.ahead import NEAR
from graphc_llvm.contraction.roles import (
    COPY_NS,
    ROWS_NS,
    STORE_NS,
    Roles,
    lane_ns,
    reads_squares,
    rows_lie_well,
    stride_bytes,
)
from graphc_llvm.contraction.tiles import Columns, Machine, best_vectors, columns, most_rows, strips, sweep_ns

SMALL_NS = 4_000.0  # less work than this is not worth sharing
CHUNK_OVERHEAD_NS = 100.0
SHARE_NS = 2_000.0  # a phase more, and panels come from the cache of all cores
READ_NS, SHARED_NS = 0.07, 0.02  # to bring one element of columns from a farther cache, where it lies and packed
ROW_READ_NS = 0.015  # to bring one element of rows from a farther cache
FAR_NS = 0.3  # to pack one element of rows, tile by tile, when a step of the sum is a page on
ROWS_NEAR, PANELS_NEAR = 0.8, 0.6  # parts of the second cache
PANEL_BYTES = 1 << 22  # of packed columns in one chunk
FARTHER = ((1.0, 1.1), (0.6, 1.03))  # panels of a chunk that fill so much of the second cache do not stay there
IN_PLACE = 1.05  # columns read where they lie: more lines and pages per step
RAGGED = 0.05  # a last block of other height costs code, and time
PAGE_BYTES = 4096  # steps of the sum that many bytes apart, or a part of it, meet in the same places of a cache
SHORT_BYTES, SHORT = 256, 1.5  # runs of columns that are copied from one step of the sum; shorter ones cost so much
COLLIDING = 0.75  # part of the lines of a set that rows may take
FEW_TILES = 8  # down the rows: columns that lie well are packed from here on


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
    share_columns: bool  # packed once, before all chunks
    pack_rows: bool
    share_rows: bool  # packed once, before all chunks
    rows_together: bool  # those of a chunk at once, not tile by tile
    panels_outside: bool  # down the rows for each panel: what is packed of the rows stays near, and panels do not
    small: bool
    squares: bool  # columns lie along the sum and are read in squares of registers, not packed


def choose_blocking(found: Contraction, roles: Roles, machine: Machine) -> Blocking:
    """The blocking whose slowest thread is estimated to be done first."""
    rows, extent = roles.rows, roles.lane.extent
    squares = reads_squares(found, roles, machine)
    vectors = 1 if squares else best_vectors(rows, extent, machine)
    cut = columns(extent, vectors, machine.lanes)
    repeats = 1
    for axis in roles.rest:
        repeats *= axis.extent
    most = rows if squares else most_rows(vectors, machine)
    estimate = _Estimate(found, roles, machine, cut, most, squares)
    whole = estimate.chunk(rows, cut.full, cut.tail)
    small = whole * repeats < SMALL_NS
    best = (1, max(cut.full, 1), False)
    if not small:
        ways = (False, True) if estimate.packs_columns(rows) else (False,)
        best = min(
            ((b, p, s) for b in _row_blocks(rows, most) for p in _divisors(cut.full) for s in ways if b > 1 or not s),
            key=lambda shape: estimate.makespan(shape[0], shape[1], shape[2], rows, repeats),
        )
    row_blocks, panels, shared = best
    block_rows = -(-rows // row_blocks)
    packs = estimate.packs_columns(rows if shared else block_rows)
    chunks = repeats * (cut.full // panels + (cut.tail > 0 and cut.full != panels) if cut.full else 1)
    packs_rows = estimate.packs_rows(panels * cut.vectors * machine.lanes)
    return Blocking(
        cut,
        block_rows,
        -(-rows // block_rows),
        panels,
        cut.full // panels if cut.full else 0,
        most,
        packs,
        packs and shared,
        packs_rows,
        packs_rows and not small and row_blocks == 1 and estimate.shares_rows(chunks),
        estimate.near_rows(block_rows),
        estimate.near_rows(block_rows) and not estimate.near_panels(panels),
        small,
        squares,
    )


def _row_blocks(rows: int, most: int) -> list[int]:
    """Numbers of blocks worth trying: blocks of several tiles, equal ones first."""
    limit = max(rows // most, 1)
    return [n for n in range(1, min(limit, 64) + 1) if n <= 8 or rows % n == 0]


def _sets(stride: int) -> int:
    """Lines of a page of the first cache that runs so many bytes apart start in: a set is chosen by the place in it."""
    return max(PAGE_BYTES // gcd(stride, PAGE_BYTES), 1)


def _divisors(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0] or [1]


@dataclass(frozen=True, slots=True)
class _Estimate:
    found: Contraction
    roles: Roles
    machine: Machine
    cut: Columns
    most: int
    squares: bool
    _known: dict[str, int | None] = field(default_factory=dict, compare=False, repr=False)  # every shape asks again

    def packs_columns(self, rows: int) -> bool:
        """Whether panels are packed for chunks of that many rows."""
        least = self._fewest_tiles()
        return least is not None and sum(strip.count for strip in strips(rows, self.most)) >= least

    def _fewest_tiles(self) -> int | None:
        """Down the rows, for panels to be packed; None where they never are."""
        if "tiles" not in self._known:
            self._known["tiles"] = self._find_fewest_tiles()
        return self._known["tiles"]

    def _find_fewest_tiles(self) -> int | None:
        found, roles, least = self.found, self.roles, 0
        if self.squares:
            return None
        for each in found.sums:
            operand = roles.lane_operand(each)
            loops = each.extents(operand)
            if not loops or roles.lane.var.name not in operand.uses or self._crosses(operand):
                return None
            if self._bytes(1) > PANEL_BYTES:
                return None
            if operand.is_plain and operand.moves_by(roles.lane.var.name, found.known):
                least = max(least, 2 if self._collides(stride_bytes(found, operand, loops[-1][0])) else FEW_TILES)
        return least

    def _collides(self, stride: int) -> bool:
        """Whether steps of the sum so far apart share so few places in the second cache that they do not stay there."""
        return self.found.length * gcd(stride, PAGE_BYTES) > self.machine.caches[1]

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
            if rows_lie_well(found, each, roles) and not self._rows_collide(operand):
                return False
            if operand.is_plain and len(operand.loads) == 1 and width < 2 * self.machine.lanes:
                return False
        return True

    def shares_rows(self, chunks: int) -> bool:
        """Whether chunks that all have all rows would pack them so often that one phase more is cheaper."""
        if not self.near_rows(self.roles.rows):
            return False
        own = 1
        for axis in self.roles.rest:
            if any(axis.var.name in self.roles.row_operand(each).uses for each in self.found.sums):
                own *= axis.extent
        saved = self.found.length * self.roles.rows * (chunks - own) * ROWS_NS / self.machine.cores
        return saved > SHARE_NS

    def _rows_along_sum(self) -> bool:
        """Whether the rows of every sum lie along it: each is one run."""
        found, roles = self.found, self.roles
        pairs = [(roles.row_operand(each), each.extents(roles.row_operand(each))) for each in found.sums]
        return all(loops and operand.moves_by(loops[-1][0], found.known) for operand, loops in pairs)

    def _rows_collide(self, operand: Operand) -> bool:
        """Whether the rows of a tile, read where they lie, push each other out of the first cache: too many of their
        lines belong to the same few sets.
        """
        row = self.roles.row
        if row is None:
            return False
        stride = stride_bytes(self.found, operand, row.var.name)
        return stride > 0 and min(self.most, row.extent) > COLLIDING * (self.machine.caches[0] // PAGE_BYTES) * _sets(
            stride
        )

    def _bytes(self, panels: int) -> int:
        size = self.found.sums[0].store.buffer.dtype.itemsize
        longest = max(each.length for each in self.found.sums)
        return panels * self.cut.vectors * self.machine.lanes * longest * size

    def row_bytes(self, rows: int) -> int:
        """Bytes of that many packed rows."""
        return rows * max(each.length for each in self.found.sums) * self.found.sums[0].store.buffer.dtype.itemsize

    def near_rows(self, rows: int) -> bool:
        """Whether that many packed rows stay in the second cache beside a panel."""
        return self.row_bytes(rows) <= ROWS_NEAR * self.machine.caches[1]

    def near_panels(self, panels: int) -> bool:
        """Whether that many panels stay in the second cache."""
        return self._bytes(panels) <= PANELS_NEAR * self.machine.caches[1]

    def chunk(self, rows: int, panels: int, tail: int, shared: bool = False) -> float:
        """Nanoseconds of one chunk."""
        found, machine = self.found, self.machine
        width = panels * self.cut.vectors * machine.lanes + tail
        compute = sweep_ns(rows, width, self.cut.vectors, machine)
        packing = 0.0
        if shared or self.packs_columns(rows):
            packing += width * (SHARED_NS if shared else self._lane_ns(panels))
            filled = self._bytes(panels) / machine.caches[1]
            farther = next((cost for least, cost in FARTHER if filled > least), 1.0)
            if farther > 1 and self.packs_rows(width) and self.near_rows(rows):
                packing += width * SHARED_NS  # once for all rows
            else:
                compute *= farther
        else:
            compute *= IN_PLACE
            packing += width * READ_NS
        if self.packs_rows(width):
            packing += rows * (ROWS_NS if self.near_rows(rows) or self._rows_along_sum() else FAR_NS)
        if self.row_bytes(self.roles.rows) > NEAR * machine.caches[1]:
            packing += rows * ROW_READ_NS
        return found.length * (compute + packing) + rows * width * STORE_NS * len(found.stores) + CHUNK_OVERHEAD_NS

    def _lane_ns(self, panels: int) -> float:
        """To pack one element of columns, so many panels side by side: more where runs of memory are short."""
        cost = lane_ns(self.found, self.found.sums[0], self.roles)
        itemsize = self.found.sums[0].store.buffer.dtype.itemsize
        run = max(panels, 1) * self.cut.vectors * self.machine.lanes * itemsize
        return cost * SHORT if cost == COPY_NS and run < SHORT_BYTES else cost

    def makespan(self, row_blocks: int, panels: int, shared: bool, rows: int, repeats: int) -> float:
        """Nanoseconds until the slowest thread is done."""
        cores = self.machine.cores
        block = -(-rows // row_blocks)
        number = -(-rows // block) * repeats
        full = self.chunk(block, panels, 0, shared) if self.cut.full else 0.0
        columns_of = self.cut.full // panels
        tail = self.chunk(block, 0, self.cut.tail, shared) if self.cut.tail else 0.0
        total = number * (columns_of * full + tail)
        count = number * columns_of if full else number
        uneven = (-(-count // cores) - count / cores) * (full or tail)
        ragged = RAGGED * total if rows % block else 0.0
        front = 0.0
        if shared:
            columns = self.roles.lane.extent * repeats
            front = self.found.length * columns * self._lane_ns(1) / cores + SHARE_NS
        return front + total / cores + uneven + 0.1 * max(full, tail) + ragged
