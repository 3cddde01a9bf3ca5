"""How large a register tile is, and how an output is cut into tiles.

A tile is `rows` x `vectors` accumulators, each a whole vector, that stay in registers over the sum. Per step of the sum
it reads one element per row and one vector per column of vectors, so a tile near square computes most per load.
"""

from functools import cache

from graphc.core.records import dataclass
from graphc_llvm import host

MOST_VECTORS = 4
WIDEST = 16  # vectors of a tile of one row
CYCLE_NS = 0.25


@dataclass(frozen=True, slots=True)
class Machine:
    """What the sizes depend on."""

    lanes: int  # of one vector of the loop IR
    pieces: int  # registers that such a vector takes
    registers: int
    cores: int
    caches: tuple[int, ...]  # bytes per level, innermost first: two at least


def machine(lanes: int, itemsize: int) -> Machine:
    """The host, for vectors of `lanes` elements."""
    found = host.host()
    target = host.target()
    pieces = max(lanes * itemsize * 8 // found.vector_bits, 1)
    return Machine(lanes, pieces, found.vector_registers, target.cores, target.cache_bytes)


@dataclass(frozen=True, slots=True)
class Strip:
    """`count` tiles of `rows` rows, from row `begin` on."""

    begin: int
    count: int
    rows: int


@dataclass(frozen=True, slots=True)
class Tile:
    """`rows` x `vectors` vectors of `lanes` elements; the last vector has `last` elements that exist."""

    rows: int
    vectors: int
    lanes: int
    last: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes

    @property
    def columns(self) -> int:
        """Columns that exist."""
        return self.width - self.lanes + self.last


@dataclass(frozen=True, slots=True)
class Columns:
    """`full` panels of `vectors` vectors, then one panel of what is left (`tail` columns, maybe none)."""

    vectors: int
    full: int
    tail: int


def most_rows(vectors: int, machine: Machine) -> int:
    """Rows of the tallest tile that stays in registers."""
    pieces = vectors * machine.pieces
    spare = 1 if pieces < machine.registers // 2 else 0
    return max((machine.registers - pieces - spare) // pieces, 1)


def square_rows(machine: Machine) -> int:
    """Rows of the tallest tile that stays in registers beside a square of lanes x lanes; one is always worth it."""
    return max(machine.registers // machine.pieces - machine.lanes - 4, 1)


def strips(rows: int, most: int) -> tuple[Strip, ...]:
    """Rows cut into tiles of nearly equal height: `most` at most, two heights that differ by one."""
    tiles = -(-rows // most)
    high = -(-rows // tiles)
    tall = rows - tiles * (high - 1)
    found = [Strip(0, tall, high), Strip(tall * high, tiles - tall, high - 1)]
    return tuple(strip for strip in found if strip.count and strip.rows)


def columns(extent: int, vectors: int, lanes: int) -> Columns:
    """Columns cut into panels."""
    full, tail = divmod(extent, vectors * lanes)
    return Columns(vectors, full, tail)


def step_ns(rows: int, vectors: int, machine: Machine) -> float:
    """One step of the sum in a tile: two multiply-adds and two loads per cycle, results after four cycles."""
    pieces = vectors * machine.pieces
    cycles = max(rows * pieces / 2, (rows + pieces) / 2, 4.0)
    return (cycles + 0.4) * CYCLE_NS


@cache
def sweep_ns(rows: int, extent: int, vectors: int, machine: Machine, filled: bool = True) -> float:
    """One step of the sum of all tiles of `rows` rows and `extent` columns.

    filled: vectors that are not full are filled up; else they are tiles of their own.
    """
    cut = columns(extent, vectors, machine.lanes)
    total = 0.0
    for strip in strips(rows, most_rows(vectors, machine)):
        total += strip.count * cut.full * step_ns(strip.rows, vectors, machine)
        whole, rest = divmod(cut.tail, machine.lanes)
        if filled and rest:
            whole, rest = whole + 1, 0
        if whole:
            total += strip.count * step_ns(strip.rows, whole, machine)
        if rest:
            total += strip.count * step_ns(strip.rows, 1, machine)
    return total


def best_vectors(rows: int, extent: int, machine: Machine) -> int:
    """How many vectors wide tiles of this output should be."""
    # Few rows read most of what they compute with: wide tiles read long runs.
    wide = min(WIDEST // rows, machine.registers // (2 * machine.pieces))
    most = min(max(MOST_VECTORS, wide), -(-extent // machine.lanes))
    return min(range(1, most + 1), key=lambda n: (sweep_ns(rows, extent, n, machine), abs(n - 2)))
