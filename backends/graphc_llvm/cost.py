"""A rough static cost of loop-IR statements, in nanoseconds of one core. It decides chunk sizes, never results."""

from graphc.kernel.independence import expressions
from graphc.kernel.ir import Binary, CallLibrary, Const, Expr, For, If, Load, Stmt, Unary, While, operands

UNKNOWN_EXTENT = 16  # of a loop whose extent depends on outer counters
LIBRARY_NS = 10.0  # of a function of a library, for each element it gets
_LANES_PER_NS = 16.0  # how many lanes of a vector loop cost as much as one scalar iteration
_SLOW = {"div": 2.0, "rem": 4.0, "sqrt": 2.0}


def cost(statements: tuple[Stmt, ...]) -> float:
    """Nanoseconds to run the statements once."""
    return sum(_cost(statement) for statement in statements)


def _cost(statement: Stmt) -> float:
    own = sum(_expr_cost(expr) for expr in expressions(statement)) + 0.1
    if isinstance(statement, If):
        return own + max(cost(statement.then), cost(statement.orelse))
    if isinstance(statement, While):
        return own + min(statement.bound, UNKNOWN_EXTENT) * cost(statement.body)
    if isinstance(statement, CallLibrary):
        return own + LIBRARY_NS * sum(buffer.size for buffer in statement.buffers)
    if not isinstance(statement, For):
        return own
    extent = float(statement.extent.value) if isinstance(statement.extent, Const) else UNKNOWN_EXTENT
    if statement.kind == "vector":
        extent = max(extent / _LANES_PER_NS, 1.0)
    return own + extent * cost(statement.body)


def _expr_cost(expr: Expr) -> float:
    total = 0.0
    stack = [expr]
    while stack:
        node = stack.pop()
        if isinstance(node, Load):
            total += 0.3
            continue  # its index costs next to nothing beside the load
        if isinstance(node, Binary | Unary):
            total += 0.15 * _SLOW.get(node.op, 1.0)
        elif not isinstance(node, Const):
            total += 0.15
        stack += operands(node)
    return total
