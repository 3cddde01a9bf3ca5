"""How many vectors a loop body is worth taking at once: operations of different vectors do not wait for each other."""

from graphc.core.dtypes import bool_
from graphc.kernel.affine import variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Let, Stmt, Store
from graphc_llvm import host

MOST_VECTORS = 4
MOST_STATEMENTS = 256  # of all vectors together: code that is long takes long to compile
FEWEST_STRIPS = 4
CONSTANTS = 8  # registers left for what does not change


def vectors_at_once(body: tuple[Stmt, ...], lanes: int, extent: int) -> int:
    """4, 2 or 1: as many as the registers hold of what is alive at any point, for straight code and long loops."""
    if not all(isinstance(statement, Let | Store) for statement in body):
        return 1
    bits = host.host().vector_bits
    registers = 32 if bits == 512 or bits == 128 else 16
    each = _most_alive(body) * max(lanes * 32 // bits, 1)
    vectors = MOST_VECTORS
    while vectors > 1 and (
        extent < FEWEST_STRIPS * vectors * lanes
        or vectors * each + CONSTANTS > registers
        or vectors * len(body) > MOST_STATEMENTS
    ):
        vectors //= 2
    return vectors


def _most_alive(body: tuple[Stmt, ...]) -> int:
    """The largest number of values that wait to be used at one point."""
    alive: set[str] = set()
    bound = {statement.var.name for statement in body if isinstance(statement, Let) and statement.var.dtype != bool_}
    most = 1
    for statement in reversed(body):
        if isinstance(statement, Let):
            alive.discard(statement.var.name)
        alive |= {name for expr in expressions(statement) for name in variables(expr)} & bound
        most = max(most, len(alive))
    return most
