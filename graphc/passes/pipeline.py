"""The order of the passes on tensor graphs, and the loop that runs them."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from graphc.graph.ir import Graph
from graphc.passes.blocks import Blocks
from graphc.passes.canonicalise import Canonicalise
from graphc.passes.complexes import Complexes
from graphc.passes.control import SimplifyControl
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.distribute import Distribute
from graphc.passes.fold import Fold
from graphc.passes.hoist import Hoist
from graphc.passes.inline import Inline
from graphc.passes.matvec import Matvec
from graphc.passes.simplify import Simplify
from graphc.passes.stabilise import Stabilise
from graphc.passes.windows import Windows


class Pass(Protocol):
    """Graph to graph; returns the same object when nothing changed."""

    @property
    def name(self) -> str: ...

    def run(self, graph: Graph) -> Graph: ...


# called after each pass: name, graph before, graph after, seconds
Observer = Callable[[str, Graph, Graph, float], None]

PIPELINE: tuple[Pass, ...] = (
    Complexes(),  # before all rules, which then see floats
    Dce(),  # early, so that nothing is spent on what is not used: differentiation leaves some
    Canonicalise(),  # before inlining: callees are rewritten once, however often they are called
    Simplify(),
    Dce(),  # unused results of a callee, seen before its body is copied
    Inline(),
    SimplifyControl(),  # after inlining: a carry that goes through a call is seen to stay as it is
    Complexes(),  # again: the rows of loops that were opened are moved
    Cse(),  # before stabilise: its patterns compare operands by identity
    Canonicalise(),  # again, now across what were function borders
    Fold(),
    Simplify(),  # after fold: it looks for constants
    Cse(),
    Windows(),  # after cse: equal convolutions are one; before matvec: what it writes are products
    Blocks(),  # after cse: equal factors are one; before matvec: what it writes are products
    Stabilise(),  # late: it recognises canonical forms only, and folding must not hide exp(x) / sum(exp(x))
    Matvec(),  # after stabilise, which would look into the products
    Distribute(),  # after matvec: products with a vector are none for it, so that bits stay
    Canonicalise(),  # what these three wrote
    Fold(),
    Simplify(),
    Cse(),
    Hoist(),  # late: what the others make smaller need not move
    Cse(),  # what moved out may be there already
    Dce(),
)


def pipeline(stabilise: bool = True) -> tuple[Pass, ...]:
    """The passes in order; without `Stabilise` fragile forms stay as written."""
    return tuple(p for p in PIPELINE if stabilise or not isinstance(p, Stabilise))


def run_passes(graph: Graph, passes: Sequence[Pass], observer: Observer | None = None) -> Graph:
    """Run passes in order. The observer sees every one, also those that changed nothing (before is after)."""
    for each in passes:
        start = time.perf_counter()
        after = each.run(graph)
        seconds = time.perf_counter() - start
        if observer is not None:
            observer(each.name, graph, after, seconds)
        graph = after
    return graph
