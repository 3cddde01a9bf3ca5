"""Copies of statements under a substitution: counters replaced, names made fresh, buffers moved.

Names are unique in a kernel, so every copy of a statement renames what it binds.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import assert_never

from graphc.core.dtypes import int64
from graphc.core.records import dataclass
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    BinaryOp,
    Buffer,
    CallLibrary,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    LoopKind,
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
    in_pairs,
    index,
)
from graphc.kernel.schedule.edit import Names, map_operands


@dataclass(frozen=True, slots=True)
class Substitution:
    """`values` by variable name; `buffers` by name: the new buffer and the indices put in front; `loads` as a whole."""

    names: Names
    values: Mapping[str, Expr] = field(default_factory=dict)
    buffers: Mapping[str, tuple[Buffer, tuple[Expr, ...]]] = field(default_factory=dict)
    loads: Mapping[Load, Expr] = field(default_factory=dict)

    def binding(self, values: Mapping[str, Expr]) -> "Substitution":
        """With more variables replaced."""
        return replace(self, values={**self.values, **values})

    def holding(self, name: str, buffer: Buffer, prefix: tuple[Expr, ...] = ()) -> "Substitution":
        """With one more buffer moved."""
        return replace(self, buffers={**self.buffers, name: (buffer, prefix)})

    # ------------------------------------------------------------------------------------------------- expressions

    def expr(self, expr: Expr) -> Expr:
        """The expression under the substitution."""
        match expr:
            case Var(name):
                return self.values.get(name, expr)
            case Load(buffer, idx):
                if expr in self.loads:
                    return self.expr(self.loads[expr])
                return Load(*self.place(buffer, idx))
            case Binary(op, lhs, rhs):
                return simple(op, self.expr(lhs), self.expr(rhs))
            case _:
                return map_operands(expr, self.expr)

    def place(self, buffer: Buffer, idx: tuple[Expr, ...]) -> tuple[Buffer, tuple[Expr, ...]]:
        """Where an element lies now."""
        moved, prefix = self.buffers.get(buffer.name, (buffer, ()))
        if buffer.is_view and not moved.is_view:
            moved = in_pairs(moved)
        return moved, prefix + tuple(self.expr(i) for i in idx)

    # -------------------------------------------------------------------------------------------------- statements

    def block(self, statements: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """A copy of a block that binds fresh names."""
        here = self
        copied: list[Stmt] = []
        for statement in statements:
            here, new = here.step(statement)
            copied.append(new)
        return tuple(copied)

    def step(self, statement: Stmt) -> tuple["Substitution", Stmt]:
        """One statement, and the substitution for those after it."""
        match statement:
            case Let(var, value):
                new = Var(self.names.fresh(var.name), var.dtype)
                return self.binding({var.name: new}), Let(new, self.expr(value))
            case Prefetch(buffer, idx):
                return self, Prefetch(*self.place(buffer, idx))
            case CallLibrary(function, buffers):
                return self, CallLibrary(function, tuple(self.place(buffer, ())[0] for buffer in buffers))
            case Alloc(buffer):
                moved = replace(buffer, name=self.names.fresh(buffer.name))
                return self.holding(buffer.name, moved), Alloc(moved)
            case For(var, extent, kind, body):
                counter = self.names.var(var.name)
                inner = self.binding({var.name: counter}).block(body)
                return self, For(counter, self.expr(extent), kind, inner)
            case Store(buffer, idx, value, distinct):
                return self, Store(*self.place(buffer, idx), self.expr(value), distinct)
            case Accumulate(targets, values, combine):
                moved_targets = tuple(self.place(*target) for target in targets)
                return self, Accumulate(moved_targets, tuple(self.expr(v) for v in values), combine)
            case If(cond, then, orelse):
                return self, If(self.expr(cond), self.block(then), self.block(orelse))
            case While(cond, bound, body):
                return self, While(self.expr(cond), bound, self.block(body))
            case _:
                assert_never(statement)


def simple(op: BinaryOp, lhs: Expr, rhs: Expr) -> Expr:
    """A binary operation, with the int64 identities that substitution leaves behind folded away."""
    if isinstance(rhs, Const) and rhs.dtype == int64:
        if isinstance(lhs, Const) and op in ("add", "sub", "mul"):
            x, y = int(lhs.value), int(rhs.value)
            return index({"add": x + y, "sub": x - y, "mul": x * y}[op])
        if (op in ("add", "sub") and rhs.value == 0) or (op in ("mul", "div") and rhs.value == 1):
            return lhs
        if op == "rem" and rhs.value == 1:
            return index(0)
    if isinstance(lhs, Const) and lhs.dtype == int64 and op == "add" and lhs.value == 0:
        return rhs
    return Binary(op, lhs, rhs)


def plus(x: Expr, y: Expr) -> Expr:
    return simple("add", x, y)


def times(x: Expr, factor: int) -> Expr:
    return simple("mul", x, index(factor))


def loop(var: Var, extent: int, kind: LoopKind, body: tuple[Stmt, ...]) -> For:
    """A loop of constant extent."""
    return For(var, index(extent), kind, body)
