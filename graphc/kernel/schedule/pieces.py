"""Loops in pieces: where what is computed changes along a loop, each stretch becomes a loop of its own.

A concatenate, or a sum of padded parts, is written as selects by the counter, all sides of which are evaluated in all
iterations. Cut where a comparison changes, each piece computes its own side alone. Every element is still made by one
store of the same value, so no bit changes.
"""

from collections.abc import Iterator
from dataclasses import replace

from graphc.kernel.affine import Facts, normal
from graphc.kernel.ir import Binary, Compare, Const, For, Let, Select, Stmt, Store
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.nests import Axis, around, nest
from graphc.kernel.schedule.rewrite import Substitution, plus
from graphc.kernel.schedule.simplify import simplify_block
from graphc.kernel.schedule.traverse import expressions, facts, needed

SHORTEST = 8  # a piece is no shorter than the extent by this
MOST_PIECES = 8  # of a row


def in_pieces(statement: For, names: Names) -> tuple[For, ...]:
    """A nest of parallel loops around plain stores as several, one after the other; itself where nothing changes."""
    axes, leaf = nest(statement)
    if not all(isinstance(each, Let | Store) for each in leaf) or not any(
        isinstance(e, Select) for each in leaf for e in expressions(each)
    ):
        return (statement,)
    known = facts(leaf)
    for axis in axes:
        stops = _long({cut for each in leaf for cut in _cuts(each, axis, known)}, axis.extent)
        if len(stops) > 1:
            starts = (0, *stops[:-1])
            return tuple(_piece(axes, leaf, axis, *ends, names) for ends in zip(starts, stops, strict=True))
    return (statement,)


def pieces_of_rows(axis: Axis, leaf: tuple[Stmt, ...], names: Names) -> tuple[For, ...]:
    """Loops over one axis, however short, that together run plain stores for all of it; none where nothing changes.

    In lanes, a choice means that all sides are looked at, at places that are clamped and so are no runs of memory.
    """
    if not all(isinstance(each, Let | Store) for each in leaf):
        return ()
    known = facts(leaf)
    cuts = sorted({cut for each in leaf for cut in _cuts(each, axis, known) if 0 < cut < axis.extent})
    if not 1 <= len(cuts) < MOST_PIECES:
        return ()
    ends = zip((0, *cuts), (*cuts, axis.extent), strict=True)
    return tuple(_piece((axis,), leaf, axis, start, stop, names) for start, stop in ends)


def _cuts(statement: Stmt, axis: Axis, known: Facts) -> Iterator[int]:
    """The values of the counter from which on a comparison with a constant gives another answer."""
    for expr in expressions(statement):
        if not isinstance(expr, Compare) or not expr.lhs.dtype.is_integer:
            continue
        gap = normal(Binary("sub", expr.lhs, expr.rhs), known)
        if gap.terms == ((axis.var, 1),):
            yield -gap.const + (expr.op in ("le", "gt"))
        elif gap.terms == ((axis.var, -1),):
            yield gap.const + (expr.op in ("lt", "ge"))


def _long(cuts: set[int], extent: int) -> tuple[int, ...]:
    """Where pieces end that are long enough, the last one with the loop."""
    least = -(-extent // SHORTEST)
    stops: list[int] = []
    start = 0
    for cut in sorted(cut for cut in cuts if 0 < cut < extent):
        if cut - start >= least and extent - cut >= least:
            stops.append(cut)
            start = cut
    return (*stops, extent)


def _piece(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...], cut: Axis, start: int, stop: int, names: Names) -> For:
    counters = {axis.var.name: names.var(axis.var.name) for axis in axes}
    values = {
        name: plus(var, Const(start, var.dtype)) if name == cut.var.name else var for name, var in counters.items()
    }
    body = Substitution(names, values).block(leaf)
    extents = [(counters[axis.var.name], stop - start if axis is cut else axis.extent) for axis in axes]
    (whole,) = simplify_block(around(extents, "parallel", body))
    assert isinstance(whole, For)
    return _without_dead(whole)


def _without_dead(statement: For) -> For:
    """The nest without what no store needs."""
    inside = statement.body
    if len(inside) == 1 and isinstance(inside[0], For):
        return replace(statement, body=(_without_dead(inside[0]),))
    lets = {each.var.name: each for each in inside if isinstance(each, Let)}
    stores = tuple(each for each in inside if isinstance(each, Store))
    kept = {let.var.name for let in needed(stores, lets)}
    return replace(statement, body=tuple(s for s in inside if not isinstance(s, Let) or s.var.name in kept))
