"""Walks over statements and their expressions."""

from collections.abc import Iterator
from typing import assert_never

from graphc.kernel.ir import Accumulate, Alloc, Expr, For, If, Let, Load, Stmt, Store, While, operands, walk


def roots(statement: Stmt) -> tuple[Expr, ...]:
    """The expressions a statement evaluates itself, without those of the statements inside it."""
    match statement:
        case For(_, extent, _, _):
            return (extent,)
        case Let(_, value):
            return (value,)
        case Store(_, index, value):
            return (*index, value)
        case Accumulate(targets, values, _):
            return tuple(expr for _, index in targets for expr in index) + values
        case If(cond, _, _) | While(cond, _, _):
            return (cond,)
        case Alloc():
            return ()
        case _:
            assert_never(statement)


def expressions(statement: Stmt) -> Iterator[Expr]:
    """Every expression node of one statement, outer before inner."""
    stack = list(roots(statement))
    while stack:
        expr = stack.pop()
        yield expr
        stack += operands(expr)


def buffers_of(statements: tuple[Stmt, ...]) -> set[str]:
    """Names of all buffers read or written."""
    names: set[str] = set()
    for statement in walk(statements):
        names |= {expr.buffer.name for expr in expressions(statement) if isinstance(expr, Load)}
        if isinstance(statement, Store):
            names.add(statement.buffer.name)
        elif isinstance(statement, Accumulate):
            names |= {buffer.name for buffer, _ in statement.targets}
    return names
