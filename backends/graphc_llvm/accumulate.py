"""`Accumulate`, written with the other operations: load the targets, combine, store them back in the active lanes."""

from graphc.kernel.ir import Binary, BinaryOp, Buffer, Combine, Compare, CompareOp, Expr, Load, Select, Unary
from graphc_llvm.expressions import Scope

Target = tuple[Buffer, tuple[Expr, ...]]

_SINGLE: dict[Combine, BinaryOp] = {
    "add": "add",
    "mul": "mul",
    "min": "min",
    "max": "max",
    "and": "and",
    "or": "or",
}
_BETTER: dict[Combine, CompareOp] = {"argmax": "gt", "argmin": "lt"}


def combine(scope: Scope, targets: tuple[Target, ...], values: tuple[Expr, ...], name: Combine) -> None:
    """Emit `targets = name(targets, values)`. Every new value is computed before the first is stored."""
    old = tuple(Load(buffer, index) for buffer, index in targets)
    if name in _SINGLE:
        new: tuple[Expr, ...] = (Binary(_SINGLE[name], old[0], values[0]),)
    else:
        replace = replaces(old[0], old[1], values[0], values[1], _BETTER[name])
        new = tuple(Select(replace, fresh, kept) for fresh, kept in zip(values, old, strict=True))
    results = [scope.evaluate(expr) for expr in new]
    for (buffer, index), result in zip(targets, results, strict=True):
        scope.store(buffer, index, result)


def replaces(old: Expr, old_index: Expr, new: Expr, new_index: Expr, better: CompareOp) -> Expr:
    """Whether the pair (new, new_index) takes the place of the old one: better, or equal and earlier; NaN is best."""
    earlier = Compare("lt", new_index, old_index)
    wins = _or(Compare(better, new, old), _and(Compare("eq", new, old), earlier))
    if not new.dtype.is_float:
        return wins
    old_nan, new_nan = Compare("ne", old, old), Compare("ne", new, new)
    return _or(_and(Unary("not", old_nan), _or(new_nan, wins)), _and(_and(old_nan, new_nan), earlier))


def _and(x: Expr, y: Expr) -> Expr:
    return Binary("and", x, y)


def _or(x: Expr, y: Expr) -> Expr:
    return Binary("or", x, y)
