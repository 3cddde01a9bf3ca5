"""Nests of independent loops: taken apart, and put together again."""

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.kernel.ir import Const, For, LoopKind, Var, index
from graphc.kernel.schedule.edit import Block, substitute


@dataclass(frozen=True, slots=True)
class Axis:
    """One independent loop."""

    var: Var
    extent: int


def nest(statement: For) -> tuple[list[Axis], Block]:
    """The perfectly nested parallel loops from here inwards, and the body of the last one."""
    axes: list[Axis] = []
    body: Block = (statement,)
    while len(body) == 1 and isinstance(loop := body[0], For) and loop.kind == "parallel":
        if not isinstance(loop.extent, Const):
            break
        axes.append(Axis(loop.var, int(loop.extent.value)))
        body = loop.body
    return axes, body


def around(counters: Sequence[tuple[Var, int]], kind: LoopKind, body: Block) -> Block:
    """A nest of loops, outermost first; one turn of a loop in order needs no loop."""
    for var, extent in reversed(counters):
        if extent == 1 and kind in ("serial", "unroll"):
            body = substitute(body, {var.name: index(0)})
        else:
            body = (For(var, index(extent), kind, body),)
    return body
