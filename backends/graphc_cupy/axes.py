"""Loops around what a schedule writes."""

from collections.abc import Sequence

from graphc.kernel.ir import LoopKind, Var, index
from graphc.kernel.schedule import nests
from graphc.kernel.schedule.edit import Block, substitute


def around(counters: Sequence[tuple[Var, int]], kind: LoopKind, body: Block) -> Block:
    """A nest of loops, outermost first; one turn of a loop in order needs no loop."""
    if kind not in ("serial", "unroll"):
        return nests.around(counters, kind, body)
    once = {var.name: index(0) for var, extent in counters if extent == 1}
    return nests.around([each for each in counters if each[1] != 1], kind, substitute(body, once))
