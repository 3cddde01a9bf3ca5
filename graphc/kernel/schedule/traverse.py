"""Walks over statements and their expressions."""

from collections.abc import Iterator, Mapping

from graphc.kernel.affine import Facts
from graphc.kernel.independence import expressions as roots
from graphc.kernel.ir import Accumulate, CallLibrary, Expr, Let, Load, Stmt, Store, Var, operands, walk


def expressions(statement: Stmt) -> Iterator[Expr]:
    """Every expression node of one statement, outer before inner."""
    stack = list(roots(statement))
    while stack:
        expr = stack.pop()
        yield expr
        stack += operands(expr)


def facts(statements: tuple[Stmt, ...]) -> Facts:
    """The `Let`s of a block, for index analysis."""
    return Facts({}, {s.var.name: s.value for s in walk(statements) if isinstance(s, Let)})


def buffers_of(statements: tuple[Stmt, ...]) -> set[str]:
    """Names of all buffers read or written."""
    names: set[str] = set()
    for statement in walk(statements):
        names |= {expr.buffer.name for expr in expressions(statement) if isinstance(expr, Load)}
    return names | stored_by(statements)


def stored_by(statements: tuple[Stmt, ...]) -> set[str]:
    """Names of all buffers written."""
    names: set[str] = set()
    for statement in walk(statements):
        if isinstance(statement, Store):
            names.add(statement.buffer.name)
        elif isinstance(statement, Accumulate):
            names |= {buffer.name for buffer, _ in statement.targets}
        elif isinstance(statement, CallLibrary):
            names |= {buffer.name for buffer in statement.buffers}
    return names


def needed(group: tuple[Stmt, ...], lets: Mapping[str, Let]) -> tuple[Let, ...]:
    """Of earlier `Let`s by name, those that a group of statements reads and does not define itself, in order."""
    wanted = {s.var.name for s in walk(group) if isinstance(s, Let)}
    own = frozenset(wanted)
    stack = list(walk(group))
    while stack:
        for expr in expressions(stack.pop()):
            if isinstance(expr, Var) and expr.name in lets and expr.name not in wanted:
                wanted.add(expr.name)
                stack.append(lets[expr.name])
    return tuple(let for name, let in lets.items() if name in wanted - own)
