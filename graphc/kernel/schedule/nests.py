"""Nests of loops: taken apart, and put together."""

from collections.abc import Sequence

from graphc.core.records import dataclass
from graphc.kernel.ir import Const, For, LoopKind, Stmt, Var, index


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
