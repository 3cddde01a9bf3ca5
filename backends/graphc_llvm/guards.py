"""Under which conditions a value is used: in other lanes it may be anything.

In: statements in order. Out: for each name the conditions of the selects that every use of it is a side of, directly or
in a value that is itself used so. A load of which the index is clamped into bounds needs no clamp in lanes where these
conditions say that it is in bounds, and is not needed in the others.
"""

from collections.abc import Sequence

from graphc.core.dtypes import int64
from graphc.core.records import dataclass
from graphc.kernel.affine import Interval
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Binary, Const, Expr, Let, Load, Select, Stmt, Var, index, operands, walk

Guards = tuple[
    tuple[Expr, bool], ...
]  # conditions, and whether they hold; in order, so that a program is the same text


@dataclass(frozen=True, slots=True)
class Clamped:
    """An index `inside`, but not below `low` and not above `high` (None: it is not anyway), plus `offset`."""

    inside: Expr
    low: int | None
    high: int | None
    offset: int = 0

    @property
    def free(self) -> Expr:
        """The index without the clamp."""
        return Binary("add", self.inside, index(self.offset)) if self.offset else self.inside

    def allows(self, found: Interval) -> bool:
        """Whether what lies in that interval is in bounds."""
        low = self.low is None or (found.low is not None and found.low >= self.low)
        return low and (self.high is None or (found.high is not None and found.high <= self.high))


def clamped(expr: Expr) -> Clamped | None:
    """What is known of an index that is clamped into bounds."""
    if expr.dtype is not int64:
        return None
    match expr:
        case Binary("max", Binary("min", inside, Const(last)), Const(first)):
            return Clamped(inside, int(first), int(last))
        case Binary("max", inside, Const(first)):
            return Clamped(inside, int(first), None)
        case Binary("min", inside, Const(last)):
            return Clamped(inside, None, int(last))
        case Binary("add", inner, Const(offset)) if (found := clamped(inner)) is not None:
            return Clamped(found.inside, found.low, found.high, found.offset + int(offset))
    return None


def has_clamp(expr: Expr) -> bool:
    """Whether some load of an expression is clamped into bounds."""
    stack = [expr]
    while stack:
        current = stack.pop()
        if isinstance(current, Load) and any(clamped(each) is not None for each in current.index):
            return True
        stack += operands(current)
    return False


def with_guard(guards: Guards, cond: Expr, holds: bool) -> Guards:
    """Those and one more."""
    return guards if (cond, holds) in guards else (*guards, (cond, holds))


def conditions_of_use(statements: Sequence[Stmt]) -> dict[str, Guards]:
    """The conditions by name."""
    found: dict[str, Guards] = {}
    for statement in reversed(statements):
        if isinstance(statement, Let):
            _visit(statement.value, found.get(statement.var.name, ()), found)
            continue
        for inner in walk((statement,)):
            for expr in expressions(inner):
                _visit(expr, (), found)
    return found


def _visit(expr: Expr, guards: Guards, found: dict[str, Guards]) -> None:
    stack = [(expr, guards)]
    while stack:
        current, here = stack.pop()
        if isinstance(current, Var):
            found[current.name] = tuple(guard for guard in found.get(current.name, here) if guard in here)
        elif isinstance(current, Select):
            stack.append((current.cond, here))
            stack.append((current.on_true, with_guard(here, current.cond, True)))
            stack.append((current.on_false, with_guard(here, current.cond, False)))
        else:
            stack += [(operand, here) for operand in operands(current)]
