"""Rewriting kernels: map expressions and statements, substitute variables, replace one statement.

Everything is pure: statements in, new statements out. Names that statements define stay: copies are made by `rewrite`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import assert_never

from graphc.core.errors import ScheduleError
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Bitcast,
    Buffer,
    CallLibrary,
    Cast,
    Compare,
    Const,
    DotPair,
    Expr,
    Fma,
    For,
    If,
    Kernel,
    Let,
    Load,
    Prefetch,
    Select,
    Stmt,
    Store,
    Unary,
    Var,
    While,
    walk,
)

Block = tuple[Stmt, ...]


class Names:
    """The names taken in a kernel; `fresh` makes and takes another."""

    def __init__(self, kernel: Kernel | None = None) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # the last number tried for each base
        if kernel is not None:
            self._taken |= {param.buffer.name for param in kernel.params}
            self.take(kernel.body)

    def take(self, statements: Block) -> None:
        """Mark every name defined in `statements` as used."""
        for statement in walk(statements):
            if isinstance(statement, For | Let):
                self._taken.add(statement.var.name)
            elif isinstance(statement, Alloc):
                self._taken.add(statement.buffer.name)

    def fresh(self, like: str) -> str:
        """The same name if it is free, else it with another number: `i`, `i_2`, `i_3`, ..."""
        name = like
        base, _, digits = like.rpartition("_")
        base = base if base and digits.isdigit() else like
        while name in self._taken:
            self._numbers[base] = self._numbers.get(base, 1) + 1
            name = f"{base}_{self._numbers[base]}"
        self._taken.add(name)
        return name

    def var(self, like: str) -> Var:
        """A fresh loop counter."""
        return Var(self.fresh(like))


# ---------------------------------------------------------------------------------------------------- expressions


def map_operands(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The same operation on changed operands: indices for a load, nothing for a constant or a variable."""
    match expr:
        case Const() | Var():
            return expr
        case Load(buffer, idx):
            return Load(buffer, tuple(change(i) for i in idx))
        case Unary(op, x):
            return Unary(op, change(x))
        case Binary(op, lhs, rhs):
            return Binary(op, change(lhs), change(rhs))
        case Compare(op_, lhs, rhs):
            return Compare(op_, change(lhs), change(rhs))
        case Select(cond, a, b):
            return Select(change(cond), change(a), change(b))
        case Cast(x, dtype):
            return Cast(change(x), dtype)
        case Bitcast(x, dtype):
            return Bitcast(change(x), dtype)
        case Fma(a, b, c):
            return Fma(change(a), change(b), change(c))
        case DotPair(a, b, c):
            return DotPair(change(a), change(b), change(c))
        case _:
            assert_never(expr)


def map_expr(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """Rebuild an expression bottom up, `change` applied to every node."""

    def node(e: Expr) -> Expr:
        return change(map_operands(e, node))

    return node(expr)


def map_block(
    statements: Block,
    expr: Callable[[Expr], Expr],
    access: Callable[[Buffer, tuple[Expr, ...]], tuple[Buffer, tuple[Expr, ...]]] = lambda b, i: (b, i),
) -> Block:
    """Rebuild statements: `expr` maps whole expressions, `access` targets of stores and what is allocated."""
    result: list[Stmt] = []
    for statement in statements:
        match statement:
            case For(v, extent, kind, body):
                result.append(For(v, expr(extent), kind, map_block(body, expr, access)))
            case Let(v, value):
                result.append(Let(v, expr(value)))
            case Store(buffer, idx, value, distinct):
                place = access(buffer, tuple(expr(i) for i in idx))
                result.append(Store(*place, expr(value), distinct))
            case Accumulate(targets, values, combine):
                places = tuple(access(b, tuple(expr(i) for i in idx)) for b, idx in targets)
                result.append(Accumulate(places, tuple(expr(v) for v in values), combine))
            case If(cond, then, orelse):
                then, orelse = (map_block(part, expr, access) for part in (then, orelse))
                result.append(If(expr(cond), then, orelse))
            case While(cond, bound, body):
                result.append(While(expr(cond), bound, map_block(body, expr, access)))
            case Alloc(buffer):
                result.append(Alloc(access(buffer, ())[0]))
            case Prefetch(buffer, idx):
                result.append(Prefetch(*access(buffer, tuple(expr(i) for i in idx))))
            case CallLibrary(function, buffers):
                result.append(CallLibrary(function, tuple(access(buffer, ())[0] for buffer in buffers)))
    return tuple(result)


def map_accesses(
    statements: Block, place: Callable[[Buffer, tuple[Expr, ...]], tuple[Buffer, tuple[Expr, ...]]]
) -> Block:
    """Have every load and store go elsewhere: `place` gets the buffer and the indices, whose own loads have moved."""

    def node(expr: Expr) -> Expr:
        return Load(*place(expr.buffer, expr.index)) if isinstance(expr, Load) else expr

    return map_block(statements, lambda e: map_expr(e, node), place)


def substitute_expr(expr: Expr, values: Mapping[str, Expr]) -> Expr:
    """Replace variables by name."""
    return map_expr(expr, lambda e: values.get(e.name, e) if isinstance(e, Var) else e)


def substitute(statements: Block, values: Mapping[str, Expr]) -> Block:
    """Replace variables by name in statements that move, so that names they define stay. Copies: `rewrite`."""
    return map_block(statements, lambda e: substitute_expr(e, values))


def with_buffers(statements: Block, moved: Mapping[str, Buffer]) -> Block:
    """Put other buffers of the same shape in the place of some, by name: scratch in another space, for example."""
    return map_accesses(statements, lambda buffer, idx: (moved.get(buffer.name, buffer), idx))


# ---------------------------------------------------------------------------------------------------------- kernels


def find_loop(kernel: Kernel, name: str) -> For:
    """The loop whose counter is `name`."""
    for statement in walk(kernel.body):
        if isinstance(statement, For) and statement.var.name == name:
            return statement
    raise ScheduleError(f"kernel {kernel.name} has no loop {name}")


def replace_statement(statements: Block, old: Stmt, new: Block) -> Block:
    """Put `new` where the statement `old` (found by identity) stands."""
    result: list[Stmt] = []
    for statement in statements:
        if statement is old:
            result += new
            continue
        match statement:
            case For() | While():
                body = replace_statement(statement.body, old, new)
                result.append(statement if body is statement.body else replace(statement, body=body))
            case If(_, then, orelse):
                then, orelse = replace_statement(then, old, new), replace_statement(orelse, old, new)
                same = then is statement.then and orelse is statement.orelse
                result.append(statement if same else replace(statement, then=then, orelse=orelse))
            case _:
                result.append(statement)
    unchanged = len(result) == len(statements) and all(a is b for a, b in zip(result, statements))
    return statements if unchanged else tuple(result)


def edit(kernel: Kernel, name: str, step: Callable[[For], For | Block]) -> Kernel:
    """Apply a schedule step to the loop whose counter is `name`."""
    loop = find_loop(kernel, name)
    new = step(loop)
    return replace(kernel, body=replace_statement(kernel.body, loop, new if isinstance(new, tuple) else (new,)))
