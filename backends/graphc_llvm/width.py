"""How many vectors a loop body is worth taking at once: operations of different vectors do not wait for each other."""

from graphc.core.dtypes import bool_
from graphc.kernel.affine import variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Accumulate, Alloc, For, Let, Stmt, Store, walk
from graphc.kernel.schedule.nests import extent_of
from graphc_llvm import host

MOST_VECTORS = 4
MOST_STATEMENTS = 320  # of all vectors together: code that is long takes long to compile
FEWEST_STRIPS = 4
CONSTANTS = 8  # registers left for what does not change


def vectors_at_once(body: tuple[Stmt, ...], lanes: int, extent: int) -> int:
    """4, 2 or 1 for straight code and for sums over private accumulators, in long loops.

    Straight code takes as many as the registers hold of what is alive at any point. Sums read neighbours of a row,
    which lie in the same lines and pages; their accumulators may lie in the first cache.
    """
    bits = host.host().vector_bits
    registers = 32 if bits in (512, 128) else 16
    straight = all(isinstance(statement, Let | Store) for statement in body)
    if not straight and not all(isinstance(s, Let | Store | Accumulate | Alloc | For) for s in walk(body)):
        return 1
    each = _most_alive(body) * max(lanes * 32 // bits, 1) if straight else 0
    length = _length(body)
    vectors = MOST_VECTORS
    while vectors > 1 and (
        extent < (FEWEST_STRIPS if straight else 1) * vectors * lanes
        or vectors * each + CONSTANTS > registers
        or vectors * length > MOST_STATEMENTS
    ):
        vectors //= 2
    return vectors


def _length(body: tuple[Stmt, ...]) -> int:
    """Statements as they are emitted."""
    total = 0
    for statement in body:
        if not isinstance(statement, For):
            total += 1
            continue
        copies = (extent_of(statement) or 1) if statement.kind == "unroll" else 1
        total += copies * _length(statement.body)
    return total


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
