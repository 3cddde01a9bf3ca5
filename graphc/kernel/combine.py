"""What `Accumulate` does, written with the other operations, for whoever has no combine of its own."""

from graphc.kernel.ir import Binary, BinaryOp, Combine, Compare, CompareOp, Expr, Select, Unary

_SINGLE: dict[Combine, BinaryOp] = {
    "add": "add",
    "mul": "mul",
    "min": "min",
    "max": "max",
    "and": "and",
    "or": "or",
}
_BETTER: dict[Combine, CompareOp] = {"argmax": "gt", "argmin": "lt"}


def combined(how: Combine, old: tuple[Expr, ...], new: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The new targets, given what is in them and what is combined with it.

    >>> from graphc.kernel.ir import index
    >>> from graphc.kernel.printer import print_expr
    >>> [print_expr(e) for e in combined("argmax", (index(3), index(0)), (index(4), index(1)))]
    ['select((4 > 3) | (4 == 3) & (1 < 0), 4, 3)', 'select((4 > 3) | (4 == 3) & (1 < 0), 1, 0)']
    """
    if how in _SINGLE:
        return (Binary(_SINGLE[how], old[0], new[0]),)
    replace = replaces(old[0], old[1], new[0], new[1], _BETTER[how])
    return tuple(Select(replace, fresh, kept) for fresh, kept in zip(new, old, strict=True))


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
