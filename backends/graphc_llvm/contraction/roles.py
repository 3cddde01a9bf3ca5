"""Which axis of a contraction runs in vector lanes, which runs down the tile.

The lane operand is the multiplicand that depends on the lane axis; rows are an axis it does not depend on. Both ways
round are possible, and for outputs with few columns the other way is often better: whole vectors against scattered
stores. An estimate in nanoseconds decides.
"""

from graphc.core.records import dataclass
from graphc.kernel.affine import stride_of
from graphc.kernel.ir import Store, Var
from graphc.kernel.schedule.contractions import Contraction, Operand, Sum
from graphc_llvm.axes import Axis
from graphc_llvm.contraction.tiles import Machine, best_vectors, square_rows, sweep_ns

COPY_NS, TRANSPOSE_NS, GATHER_NS = 0.1, 0.12, 0.5  # to pack one element of four bytes
SQUARE_NS = 0.05  # to bring one element of a square of registers and transpose it
ROWS_NS = 0.12  # to pack one element of rows, all of a chunk together
PLACED_NS = 0.04  # to read one element of rows in place
NEAR_BYTES = 512  # rows that lie side by side are read in place up to this far from one step of the sum to the next
STORE_NS, SCATTER_NS = 0.03, 0.6  # to write one element of the output
FAR, FAR_CACHES = 2.0, 4  # columns of so many caches cost so much more than those that stay in one
COPIED_ROWS = 96  # columns that lie well are read where they lie for fewer rows
SQUARE_ROWS = 3  # fewest rows for which squares are worth it


@dataclass(frozen=True, slots=True)
class Roles:
    """The axes of the tile, and those around it."""

    lane: Axis
    row: Axis | None
    rest: tuple[Axis, ...]

    @property
    def rows(self) -> int:
        return self.row.extent if self.row is not None else 1

    def lane_operand(self, each: Sum) -> Operand:
        """The multiplicand that differs between lanes."""
        return each.y if self.lane.var.name in each.y.uses else each.x

    def row_operand(self, each: Sum) -> Operand:
        """The other one, as a rule the same in all lanes."""
        return each.x if self.lane.var.name in each.y.uses else each.y


def choose_roles(found: Contraction, machine: Machine) -> Roles:
    """The cheapest roles."""
    each = found.sums[0]
    candidates: list[Roles] = []
    for lane in found.axes:
        for moving, still in ((each.y, each.x), (each.x, each.y)):
            if lane.var.name not in moving.uses or lane.var.name in still.uses:
                continue
            rows = [axis for axis in found.axes if axis is not lane and axis.var.name not in moving.uses]
            rows.sort(key=lambda axis: (axis.var.name in still.uses, axis.extent))
            candidates.append(_roles(found, lane, rows[-1] if rows else None))
    if not candidates:
        candidates = [_roles(found, lane, None) for lane in found.axes]
    return min(candidates, key=lambda roles: _estimate(found, roles, machine))


def _roles(found: Contraction, lane: Axis, row: Axis | None) -> Roles:
    return Roles(lane, row, tuple(axis for axis in found.axes if axis not in (lane, row)))


def lane_ns(found: Contraction, each: Sum, roles: Roles) -> float:
    """To bring one element of the lane operand into vectors."""
    operand = roles.lane_operand(each)
    if operand.moves_by(roles.lane.var.name, found.known):
        return COPY_NS
    loops = each.extents(operand)
    return TRANSPOSE_NS if loops and operand.moves_by(loops[-1][0], found.known) else GATHER_NS


def lies_along_sum(found: Contraction, each: Sum, roles: Roles) -> bool:
    """Whether the lanes' operand is a load that moves on with the innermost sum, not with the lanes."""
    operand = roles.lane_operand(each)
    loops = each.extents(operand)
    along = operand.is_plain and loops and operand.moves_by(loops[-1][0], found.known)
    return bool(along) and not operand.moves_by(roles.lane.var.name, found.known)


def reads_squares(found: Contraction, roles: Roles, machine: Machine) -> bool:
    """Whether tiles read columns that lie along the sum in squares of registers, instead of having them packed."""
    return roles.rows <= square_rows(machine) and all(lies_along_sum(found, each, roles) for each in found.sums)


def _estimate(found: Contraction, roles: Roles, machine: Machine) -> float:
    """All tiles of one iteration of the rest, times the rest."""
    each, lanes, rows = found.sums[0], roles.lane.extent, roles.rows
    squares = reads_squares(found, roles, machine)
    vectors = 1 if squares else best_vectors(rows, lanes, machine)
    total = found.length * sweep_ns(rows, lanes, vectors, machine, not stores_along_rows(found, roles))
    bring = lane_ns(found, each, roles)
    if squares:
        total += found.length * lanes * SQUARE_NS
    elif bring > COPY_NS or rows > COPIED_ROWS:
        total += found.length * lanes * bring * (FAR if _is_far(found, lanes, machine) else 1.0)
    total += found.length * rows * _row_ns(found, each, roles)
    total += rows * lanes * sum(_store_ns(found, roles, store) for store in found.stores)
    for axis in roles.rest:
        total *= axis.extent
    return total


def _is_far(found: Contraction, lanes: int, machine: Machine) -> bool:
    """Whether that many packed columns leave the cache of a core, and come back from a farther one."""
    itemsize = found.sums[0].store.buffer.dtype.itemsize
    return found.length * lanes * itemsize > FAR_CACHES * machine.caches[1]


def _row_ns(found: Contraction, each: Sum, roles: Roles) -> float:
    """To bring one element of the row operand where it is broadcast from."""
    if roles.row is None or roles.row.var.name not in roles.row_operand(each).uses:
        return 0.0
    return PLACED_NS if rows_lie_well(found, each, roles) else ROWS_NS


def rows_lie_well(found: Contraction, each: Sum, roles: Roles) -> bool:
    """Whether rows of a tile are read where they lie: along the sum, or side by side with steps that are near."""
    operand, loops = roles.row_operand(each), each.extents(roles.row_operand(each))
    if roles.row is None or not operand.is_plain or not loops:
        return False
    step = loops[-1][0]
    if operand.moves_by(step, found.known):
        return True
    if len(operand.loads) > 1:  # elements that do not lie together are put together once, where they are packed
        return False
    return operand.moves_by(roles.row.var.name, found.known) and stride_bytes(found, operand, step) <= NEAR_BYTES


def stride_bytes(found: Contraction, operand: Operand, counter: str) -> int:
    """Bytes from one step of a sum to the next, where they are known."""
    steps = [stride_of(x.buffer, x.index, Var(counter), found.known) or 0 for x in operand.loads]
    return max((abs(step) * x.dtype.itemsize for step, x in zip(steps, operand.loads)), default=0)


def _store_ns(found: Contraction, roles: Roles, store: Store) -> float:
    """To write one element of the output."""
    if stride_of(store.buffer, store.index, roles.lane.var, found.known) == 1:
        return STORE_NS
    return STORE_NS + TRANSPOSE_NS if stores_along_rows(found, roles) else SCATTER_NS


def stores_along_rows(found: Contraction, roles: Roles) -> bool:
    """Whether all of the output lies along the rows of tiles, so that squares of it are transposed and written."""
    row = roles.row
    if row is None or row.extent < SQUARE_ROWS:
        return False
    return all(
        stride_of(s.buffer, s.index, row.var, found.known) == 1
        and stride_of(s.buffer, s.index, roles.lane.var, found.known) != 1
        for s in found.stores
    )
