"""Where in a loop padding decides nothing: there it is neither tested nor masked.

`for i in 0..n: y[i] = select(i >= 1 & i < n - 1, x[clamp(i - 1)], 0)` is three loops: the first element, those for
which the condition always holds, and the last one.

In: a counter, its extent, the body of its loop, and what is known of the other counters. Out: the range in which all
conditions of selects that compare it hold, as far as that follows from ranges, and the body for it.
"""

from graphc.core.dtypes import int64
from graphc.core.records import dataclass
from graphc.kernel.affine import Affine, Facts, Interval, affine, interval, loads, normal
from graphc.kernel.ir import Compare, Expr, Let, Select, Stmt, Store, Var, operands
from graphc.kernel.schedule.simplify import simplify_block
from graphc.kernel.schedule.traverse import expressions


@dataclass(frozen=True, slots=True)
class Interior:
    """`body` for begin <= counter < end."""

    begin: int
    end: int
    body: tuple[Stmt, ...]


def interior(var: Var, extent: int, body: tuple[Stmt, ...], known: Facts, least: int) -> Interior | None:
    """The part of a loop without padding; None where there is no padding, or less than `least` is left."""
    if not all(isinstance(statement, Let | Store) for statement in body):
        return None
    begin, end = 0, extent
    for statement in body:
        for expr in expressions(statement):
            if isinstance(expr, Select):
                for above in _not_negative(expr.cond):
                    factor = above.coefficient(var)
                    low = interval(above - affine([(var, factor)]), known).low
                    if low is not None and factor > 0:
                        begin = max(begin, -(low // factor))
                    elif low is not None and factor < 0:
                        end = min(end, low // -factor + 1)
    if (begin, end) == (0, extent) or end - begin < least:
        return None
    return Interior(begin, end, simplify_block(body, known.with_range(var, Interval(begin, end - 1))))


def _not_negative(cond: Expr) -> list[Affine]:
    """Sums that are not negative where a condition holds."""
    if isinstance(cond, Compare):
        if cond.lhs.dtype is not int64 or loads(cond):
            return []
        apart, one = normal(cond.lhs) - normal(cond.rhs), Affine((), 1)
        sums = {"ge": apart, "gt": apart - one, "le": apart.scale(-1), "lt": apart.scale(-1) - one}
        return [sums[cond.op]] if cond.op in sums else []
    return [each for operand in operands(cond) for each in _not_negative(operand)] if cond.dtype.is_bool else []
