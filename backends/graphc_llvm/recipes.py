"""Schedules for the CPU: which loop goes to threads, which to vector lanes, which are tiled.

In: a kernel as lowering writes it, whose `parallel` loops are independent iterations and whose `serial` loops have an
order. Out: the same kernel with at most one parallel loop per phase (at the top), vector loops inside, contractions in
register tiles. Guaranteed: every element is computed by the same operations in the same order, so no bit changes.

What decides is how far each access moves when a counter grows by one: 0 or 1 element is cheap in vector lanes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from graphc.kernel.affine import NOTHING
from graphc.kernel.ir import CallLibrary, Expr, For, If, Kernel, LoopKind, Param, Stmt, Var, While, index, walk
from graphc.kernel.program import Scheduled
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.hoist import hoist, precompute
from graphc.kernel.schedule.nests import around, extent_of, in_order
from graphc.kernel.schedule.pieces import in_pieces, pieces_of_rows
from graphc.kernel.schedule.quotients import find_shared, shared_blocks
from graphc.kernel.schedule.rewrite import Substitution, loop, plus, times
from graphc.kernel.schedule.simplify import counter_range
from graphc.kernel.schedule.traverse import facts
from graphc_llvm.axes import Axis, inner_penalty, lanes_for, nest, penalty
from graphc_llvm.contraction import Packed, as_contraction, as_pack, paired, schedule_contraction
from graphc_llvm.cost import cost
from graphc_llvm.expanded import expanded
from graphc_llvm.interchange import Interchange
from graphc_llvm.interior import interior
from graphc_llvm.squares import in_squares
from graphc_llvm.streams import STEPS_OF_COLUMNS, STEPS_OF_ROWS, columns_in_step, rows_in_step, steps_together
from graphc_llvm.width import vectors_at_once

SMALL_NS = 12_000.0  # a phase with less work than this is not worth sharing
DEAR_NS = 15.0  # what all iterations compute alike is worth a phase of its own from here on
MOST_IN_PIECES = 0.8  # of the work of a nest may be left in its pieces, else they are not worth their code
MOST_UNROLLED = 32  # iterations of a loop inside lanes
SHORT_STRIPS = 4  # statements of all strips that are written out, so that their places in scratch are known
UNITS = 64  # iterations of the parallel loop that are enough for any number of threads


def schedule(kernel: Kernel) -> Scheduled:
    """The kernel arranged for this backend. Panels that several chunks of a contraction read are packed beforehand."""
    if any(isinstance(statement, CallLibrary) for statement in walk(kernel.body)):
        return Scheduled(kernel)  # a matrix after the other on each thread; what is around the calls is little work
    names = Names(kernel)
    read_only = frozenset(param.buffer.name for param in kernel.params if param.mode == "in")
    body: list[Stmt] = []
    packed: list[Packed] = []
    for statement in kernel.body:
        if isinstance(statement, For) and statement.kind == "parallel":
            body += _phase(statement, names, read_only, packed)
        else:
            body += _alone(vectorise_inside((statement,), names), names)
    params = (*kernel.params, *(Param(each.buffer, "in") for each in packed))
    return Scheduled(replace(kernel, params=params, body=tuple(body)), tuple(as_pack(kernel, each) for each in packed))


def _phase(statement: For, names: Names, read_only: frozenset[str], packed: list[Packed]) -> tuple[Stmt, ...]:
    """The phases of one nest. `packed` gets what has to be packed before the kernel runs."""
    whole = cost((statement,))
    pieces = in_pieces(statement, names)
    if cost(pieces) > whole * MOST_IN_PIECES:
        pieces = (statement,)
    small = min(whole, cost(pieces)) / 16 < SMALL_NS
    return tuple(phase for piece in pieces for phase in _piece(piece, small, names, read_only, packed))


def _piece(
    statement: For, small: bool, names: Names, read_only: frozenset[str], packed: list[Packed]
) -> tuple[Stmt, ...]:
    """The phases of one nest, or of a piece of it."""
    front: tuple[Stmt, ...] = ()
    if not small:
        front, statement = precompute(statement, names, lambda lets: cost(lets) > DEAR_NS)
    axes, leaf = nest(statement)
    if any(axis.extent == 0 for axis in axes):
        return ()
    found = as_contraction(axes, paired(leaf, read_only, names))
    if found is not None:
        packs, phases = schedule_contraction(found, names, read_only)
        packed += packs
        return front + phases
    axes, leaf = expanded(axes, leaf, names)
    pieces = pieces_of_rows(axes[-1], leaf, names) if len(axes) > 1 else ()
    if pieces:
        axes, leaf = axes[:-1], pieces
    best = min(axes, key=lambda axis: penalty(axis, leaf))
    if inner_penalty(leaf) < penalty(best, leaf) and not _has_short_rows(best, leaf):
        return front + _alone(_rows(axes, leaf, names, small), names)
    return front + _alone(_lanes(axes, best, leaf, names, small), names)


def _has_short_rows(rows: Axis, leaf: tuple[Stmt, ...]) -> bool:
    """Whether lanes are better spent on rows: each is at most a vector, so that a square of them fits registers."""
    loops = [s for s in walk(leaf) if isinstance(s, For)]
    if any(s.kind != "parallel" and isinstance(inner, For) for s in loops for inner in walk(s.body)):
        return False  # rows of several vectors, one after the other
    extents = [extent_of(s) for s in loops if s.kind == "parallel"]
    lanes = lanes_for(leaf)
    return rows.extent >= lanes and all(extent is not None and extent <= lanes for extent in extents)


def _alone(phases: tuple[Stmt, ...], names: Names) -> tuple[Stmt, ...]:
    """Phases with what does not change taken out of their loops. What it leaves at the top belongs to one phase."""
    result: list[Stmt] = []
    for phase in phases:
        moved = hoist((phase,))
        result += moved if len(moved) == 1 else (loop(names.var("once"), 1, "serial", moved),)
    return tuple(result)


def _rows(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...], names: Names, small: bool) -> tuple[Stmt, ...]:
    """Threads over the outer loops, lanes inside the rows. Long sums of several rows run in step."""
    kind: LoopKind = "serial" if small else "parallel"
    outer = [(a.var, a.extent) for a in axes]
    together = 1 if small else rows_in_step(axes, leaf)
    if together == 1:
        return around(outer, kind, vectorise_inside(leaf, names))
    body = steps_together(leaf, STEPS_OF_ROWS, names)

    def rows(begin: Expr, count: int) -> tuple[Stmt, ...]:
        def loops(number: Var, group: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
            return (loop(number, count, "unroll", Substitution(names).block(group)),)

        return vectorise_inside(Interchange(axes[-1].var, begin, count, loops, False, names).block(body), names)

    return _blocks(outer[:-1], axes[-1], together, rows, names)


def _lanes(axes: tuple[Axis, ...], along: Axis, leaf: tuple[Stmt, ...], names: Names, small: bool) -> tuple[Stmt, ...]:
    """Lanes along one of the outer loops, threads over the others and over blocks of it."""
    lanes = lanes_for(leaf)
    outer = tuple((a.var, a.extent) for a in axes if a is not along)
    rows = prod(extent for _, extent in outer)
    block = 0 if small else columns_in_step(along, leaf, rows)
    if block:
        body = steps_together(leaf, STEPS_OF_COLUMNS, names)

        def columns(begin: Expr, count: int) -> tuple[Stmt, ...]:
            def loops(number: Var, group: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
                return strips(number, count, index(0), lanes, group, names)

            return Interchange(along.var, begin, count, loops, True, names).block(body)

        return _blocks(outer, along, block, columns, names)
    body = in_order(leaf, MOST_UNROLLED)  # inside lanes: what short loops index stays in registers
    body = in_squares(body, along, facts(leaf))
    if small or rows >= UNITS or along.extent <= 2 * lanes:
        kind: LoopKind = "serial" if small else "parallel"
        return around(outer, kind, _padded_strips(axes, along, lanes, body, names))
    shared = find_shared(along.var, body)
    unit = lanes * (shared.k if shared is not None else vectors_at_once(body, lanes, along.extent))
    unit = unit if unit <= along.extent else lanes
    units = along.extent // unit
    block = units // _parts(units, -(-UNITS // rows)) * unit
    return _blocks(outer, along, block, lambda begin, count: strips(along.var, count, begin, lanes, body, names), names)


def _padded_strips(
    axes: tuple[Axis, ...], along: Axis, lanes: int, body: tuple[Stmt, ...], names: Names
) -> tuple[Stmt, ...]:
    """`strips` of the whole axis; where padding decides nothing, without it."""
    known = NOTHING
    for axis in axes:
        known = counter_range(axis.var, axis.extent, known)
    inner = interior(along.var, along.extent, body, known, 2 * lanes)
    if inner is None:
        return strips(along.var, along.extent, index(0), lanes, body, names)
    parts = ((0, inner.begin, body), (inner.begin, inner.end, inner.body), (inner.end, along.extent, body))
    result: tuple[Stmt, ...] = ()
    for begin, end, part in parts:
        if begin < end:
            result += strips(along.var, end - begin, index(begin), lanes, part, names)
    return result


def _blocks(
    outer: Sequence[tuple[Var, int]],
    along: Axis,
    block: int,
    inside: Callable[[Expr, int], tuple[Stmt, ...]],
    names: Names,
) -> tuple[Stmt, ...]:
    """Phases whose parallel iterations take `block` iterations of `along` each: `inside(begin, count)`."""
    whole, rest = divmod(along.extent, block)
    result: tuple[Stmt, ...] = ()
    if whole:
        number = names.var(along.var.name)
        result = around((*outer, (number, whole)), "parallel", inside(times(number, block), block))
    if rest:
        renamed = tuple((names.var(var.name), extent) for var, extent in outer)
        copy = Substitution(names, {old.name: new for (old, _), (new, _) in zip(outer, renamed)})
        result += around(renamed, "parallel" if renamed else "serial", copy.block(inside(index(whole * block), rest)))
    return result


def _parts(units: int, wanted: int) -> int:
    """In how many equal parts to cut so many units: about as many as wanted, and few units left over."""
    most = min(units, 2 * wanted)
    return min(range(min(units, wanted), most + 1), key=lambda parts: (units % parts, parts))


def strips(var: Var, extent: int, begin: Expr, lanes: int, body: tuple[Stmt, ...], names: Names) -> tuple[Stmt, ...]:
    """`body` for var in begin .. begin + extent, `lanes` at a time; what is left over is one shorter vector."""
    result: list[Stmt] = []
    shared = find_shared(var, body)
    if shared is not None and (count := extent // (lanes * shared.k)):
        blocks = shared_blocks(shared, var, begin, count, lanes, names)
        if blocks is not None:
            result += blocks
            done = count * lanes * shared.k
            begin, extent = plus(begin, index(done)), extent - done
    for width in dict.fromkeys((lanes * vectors_at_once(body, lanes, extent), lanes)):
        whole = extent // width
        if whole:
            strip, lane = names.var(var.name), names.var("lane")
            at = plus(plus(begin, times(strip, width) if whole > 1 else index(0)), lane)
            vector = loop(lane, width, "vector", Substitution(names, {var.name: at}).block(body))
            kind: LoopKind = "unroll" if whole * len(body) <= SHORT_STRIPS else "serial"
            result.append(loop(strip, whole, kind, (vector,)) if whole > 1 else vector)
            begin, extent = plus(begin, index(whole * width)), extent - whole * width
    if extent:
        lane = names.var("lane")
        result.append(loop(lane, extent, "vector", Substitution(names, {var.name: plus(begin, lane)}).block(body)))
    return tuple(result)


def vectorise_inside(statements: tuple[Stmt, ...], names: Names) -> tuple[Stmt, ...]:
    """The innermost parallel loops in lanes, those around them serial."""
    result: list[Stmt] = []
    for statement in statements:
        match statement:
            case For(var, _, kind, body):
                extent = extent_of(statement)
                inner = any(isinstance(s, For) and s.kind == "parallel" for s in walk(body))
                if kind != "parallel" or extent is None or inner:
                    kind = "serial" if kind == "parallel" else kind
                    result.append(replace(statement, kind=kind, body=vectorise_inside(body, names)))
                else:
                    result += strips(var, extent, index(0), lanes_for(body), body, names)
            case If(_, then, orelse):
                then, orelse = vectorise_inside(then, names), vectorise_inside(orelse, names)
                result.append(replace(statement, then=then, orelse=orelse))
            case While(_, _, body):
                result.append(replace(statement, body=vectorise_inside(body, names)))
            case _:
                result.append(statement)
    return tuple(result)
