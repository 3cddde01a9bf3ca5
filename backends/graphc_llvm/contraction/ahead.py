"""What the next tile down will read of its rows, asked for while a tile is computed.

Rows that lie in a far cache or in memory are many short runs, a page or more apart: the processor does not see them
coming. A tile takes as many steps as its rows have elements, so one line per step is more than enough. On
2048x384x1536 (rows in place, AVX-512) one thread went from 0.88 to 0.95 of the peak of multiply-adds.
"""

from graphc.core.records import dataclass
from graphc.kernel.affine import loads
from graphc.kernel.ir import Binary, Expr, Load, Prefetch, Stmt, Var, index
from graphc.kernel.schedule.contractions import Contraction, Sum
from graphc.kernel.schedule.rewrite import Substitution, plus
from graphc_llvm.contraction.roles import Roles
from graphc_llvm.contraction.tiles import Machine, Tile

NEAR = 0.5  # rows that take less of the second cache are there already
FEWEST_ROWS = 4  # of a tile: others have no time to spare
LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Ahead:
    """Where the rows of one sum lie: `load` in terms of the axis `row` and of `counter`, the innermost summed one, with
    which it moves on by one element.
    """

    load: Load
    row: Var
    counter: str

    def at(self, position: Expr, first: Expr, rows: int, outer: Substitution) -> tuple[Stmt, ...]:
        """What a step at `position` asks for: `rows` rows from `first` on are read next."""
        # As many steps as rows, or a few more, ask for a line of each row in turn.
        turn = min(1 << (rows - 1).bit_length(), LINE_BYTES // self.load.dtype.itemsize)
        place = Binary("and", position, index(turn - 1))
        there = outer.binding({self.counter: Binary("sub", position, place), self.row.name: plus(first, place)})
        return (Prefetch(*there.place(self.load.buffer, self.load.index)),)


def rows_ahead(found: Contraction, each: Sum, roles: Roles, tile: Tile, machine: Machine) -> Ahead | None:
    """How to ask for the rows of the next tile; None where it does not help."""
    operand, row = roles.row_operand(each), roles.row
    loops = each.extents(operand)
    if row is None or not loops or row.var.name not in operand.uses or not isinstance(operand.value, Load):
        return None
    load = operand.value
    if not operand.is_plain or any(loads(i) for i in load.index) or tile.rows < FEWEST_ROWS:
        return None
    nbytes = row.extent * each.length * load.dtype.itemsize
    if row.extent < 2 * tile.rows or nbytes < NEAR * machine.caches[1]:
        return None
    counter = loops[-1][0]
    # Rows that lie across the sum are packed many at a time: a line of each step, a page on, would push others out.
    return Ahead(load, row.var, counter) if operand.moves_by(counter, found.known) else None
