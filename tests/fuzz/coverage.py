"""Which primitives the fuzzer met, on which dtypes, in which ways; and which of these cells there are.

A cell is (primitive, dtype, way). It exists when the primitive's tables say so: its type rule takes values of the
dtype; for vjp and jvp they and the result are inexact and the primitive has a derivative; for vmap it has operands and
a batching rule. A node counts for a cell when it took part in a comparison: it leads to an output that was compared,
and tangents (a batch dim, what changes from iteration to iteration) pass through it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache

from graphc.core import dtypes
from graphc.graph.ir import Graph, Node, Op, Value, regions
from graphc.graph.ops.structural import fusion
from graphc.graph.prune import dependents, live_nodes
from graphc.graph.registry import all_ops
from graphc.transform.autodiff.rows import NoDerivative, Zero
from graphc.transform.autodiff.table import ROWS as DERIVATIVES
from graphc.transform.batching.rows import NoBatching
from graphc.transform.batching.table import ROWS as BATCHING
from tests.accepted import accepted, results, value_at, with_dtype

Cell = tuple[str, str, str]
WAYS = ("forward", "vjp", "jvp", "vmap", "scan")
DERIVED = ("vjp", "jvp")


def exists(op: Op, dtype: dtypes.DType, way: str) -> bool:
    """Whether there is such a cell."""
    if dtype not in accepted(op):
        return False
    if way in DERIVED:
        row = DERIVATIVES[op]
        made = results(op, dtype) or ()
        has_tangent = dtype.is_inexact and bool(with_dtype(op, dtype)) and any(t.dtype.is_inexact for t in made)
        return has_tangent and not isinstance(row, NoDerivative)
    if way == "vmap":
        return bool(with_dtype(op, dtype)) and not isinstance(BATCHING[op], NoBatching)
    return True


@cache
def cells() -> frozenset[Cell]:
    """All cells there are."""
    return frozenset(
        (op.name, dtype.short, way)
        for op in all_ops()
        for dtype in dtypes.EVERY
        for way in WAYS
        if exists(op, dtype, way)
    )


def met(graph: Graph, way: str, inputs: Collection[Value], outputs: Collection[Value]) -> list[Cell]:
    """The cells that the nodes of a graph count for, when it runs this way.

    inputs: where tangents come from and arrive, what is batched, what changes from iteration to iteration; all of them
    for the way forward. outputs: what was compared.
    """
    nodes = [node for node in graph.nodes if node.op is not fusion]
    moved = _moved_by_tangents(nodes, inputs, outputs) if way in DERIVED else _moved(nodes, way, inputs, outputs)
    found = ((node.op.name, dtype.short, way) for node, values in moved for dtype in _dtypes(node, values))
    return [cell for cell in found if cell in cells()]


def fused(graph: Graph, way: str) -> list[Cell]:
    """The cells of what partition made: no other graph has such nodes."""
    return [
        (node.op.name, dtype.short, way)
        for node in _with_regions(graph)
        if node.op is fusion
        for dtype in {v.dtype for v in node.operands}
    ]


def _with_regions(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for region in () if node.op is fusion else regions(node):
            yield from _with_regions(region)


def _dtypes(node: Node, moving: Callable[[Value], bool]) -> set[dtypes.DType]:
    """The dtypes a node counts for: that of its values; one that holds graphs counts for all it passes on."""
    if not node.operands:
        return {v.dtype for v in node.results}
    if node.op.kind == "structural":
        return {v.dtype for v in node.operands if moving(v)} or {v.dtype for v in node.results}
    return {node.operands[value_at(node.op)].dtype}


Moved = Iterable[tuple[Node, Callable[[Value], bool]]]


def _moved(nodes: list[Node], way: str, inputs: Collection[Value], outputs: Collection[Value]) -> Moved:
    """Nodes that matter, and their operands that do."""
    moving = dependents(nodes, inputs)
    for node in live_nodes(nodes, outputs):
        if way == "forward" or not node.operands or not moving.isdisjoint(node.operands):
            yield node, (lambda v: True) if way == "forward" else moving.__contains__


def _moved_by_tangents(nodes: list[Node], inputs: Collection[Value], outputs: Collection[Value]) -> Moved:
    """Nodes between inputs and outputs with tangents."""
    active = set(inputs)
    for node in nodes:
        if not isinstance(DERIVATIVES[node.op], Zero) and not active.isdisjoint(node.operands):
            active.update(v for v in node.results if v.dtype.is_inexact)
    useful = {v for v in outputs if v.dtype.is_inexact}
    live = set(live_nodes(nodes, outputs))
    for node in reversed(nodes):
        if active.isdisjoint(node.operands):
            continue
        if isinstance(DERIVATIVES[node.op], Zero):
            if node in live:
                yield node, active.__contains__
        elif not useful.isdisjoint(node.results):
            useful.update(v for v in node.operands if v.dtype.is_inexact)
            yield node, active.__contains__


def table(counts: Mapping[Cell, int], whole: bool = True) -> list[str]:
    """One line per primitive, one column per dtype: the counts of all ways there are, or the smallest of them."""
    columns = [dtype.short for dtype in dtypes.EVERY]
    rows: list[list[str]] = [["", *columns]]
    for name in sorted({op.name for op in all_ops()}):
        texts = []
        for column in columns:
            found = [str(counts.get((name, column, way), 0)) for way in WAYS if (name, column, way) in cells()]
            texts.append("/".join(found) if whole else min(found, key=int, default=""))
        rows.append([name, *(text or "." for text in texts)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(columns) + 1)]
    return [
        " ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def smallest(counts: Mapping[Cell, int]) -> dict[str, int]:
    """The smallest count of each way."""
    return {way: min(counts.get(cell, 0) for cell in cells() if cell[2] == way) for way in WAYS}
