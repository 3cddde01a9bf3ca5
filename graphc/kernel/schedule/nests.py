"""Nests of loops: taken apart, and put together."""

from collections.abc import Sequence
from dataclasses import replace

from graphc.core.records import dataclass
from graphc.kernel.ir import Const, For, If, LoopKind, Stmt, Var, While, index


@dataclass(frozen=True, slots=True)
class Axis:
    """One independent loop."""

    var: Var
    extent: int


def extent_of(statement: For) -> int | None:
    """The extent of a loop when it is constant."""
    return int(statement.extent.value) if isinstance(statement.extent, Const) else None


def nest(statement: For) -> tuple[tuple[Axis, ...], tuple[Stmt, ...]]:
    """The perfectly nested parallel loops of constant extent from here inwards, and the body of the last one."""
    axes: list[Axis] = []
    body: tuple[Stmt, ...] = (statement,)
    while len(body) == 1 and isinstance(body[0], For) and body[0].kind == "parallel":
        extent = extent_of(body[0])
        if extent is None:
            break
        axes.append(Axis(body[0].var, extent))
        body = body[0].body
    return tuple(axes), body


def around(outer: Sequence[tuple[Var, int]], kind: LoopKind, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Nested loops around a body, the last one innermost. A nest of parallel loops at the top is one phase."""
    for var, extent in reversed(outer):
        body = (For(var, index(extent), kind, body),)
    return body


def in_order(statements: tuple[Stmt, ...], most_unrolled: int) -> tuple[Stmt, ...]:
    """Parallel loops as one thread, or lane, runs them: those of at most so many iterations unrolled, others serial."""
    result: list[Stmt] = []
    for statement in statements:
        match statement:
            case For(_, _, kind, body):
                if kind == "parallel":
                    extent = extent_of(statement)
                    kind = "unroll" if extent is not None and extent <= most_unrolled else "serial"
                result.append(replace(statement, kind=kind, body=in_order(body, most_unrolled)))
            case If(_, then, orelse):
                then, orelse = in_order(then, most_unrolled), in_order(orelse, most_unrolled)
                result.append(replace(statement, then=then, orelse=orelse))
            case While(_, _, body):
                result.append(replace(statement, body=in_order(body, most_unrolled)))
            case _:
                result.append(statement)
    return tuple(result)
