"""Schedules for a GPU: which loops go to blocks, which to threads of a block.

In: a kernel as lowering writes it, whose `parallel` loops are independent iterations. Out: the same kernel with block
and thread loops. Guaranteed: every element is computed by the same operations in the same order, so no bit changes.

What decides is which counter moves along memory: neighbouring threads read neighbouring elements at once. Where that is
one of the outer loops, each of its iterations is a thread. Where it is a loop inside the rows, each row gets a team.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphc.core.errors import UnsupportedError
from graphc.kernel.affine import stride_of
from graphc.kernel.independence import accesses, iterations_independent
from graphc.kernel.ir import (
    Alloc,
    Binary,
    CallLibrary,
    Compare,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Stmt,
    Var,
    While,
    index,
    walk,
)
from graphc.kernel.program import Scheduled
from graphc.kernel.schedule.edit import Block, Names, substitute, with_buffers
from graphc.kernel.schedule.nests import Axis, in_order, nest
from graphc.kernel.schedule.quotients import find_shared, neighbours
from graphc.kernel.schedule.simplify import simplify_block
from graphc.kernel.schedule.traverse import facts
from graphc_cupy.axes import around
from graphc_cupy.contraction import tiled
from graphc_cupy.library import by_library
from graphc_cupy.products import Compute, product_of
from graphc_cupy.teams import ALL, has_threads, holder

THREADS = 128  # of a block
TEAM = 16  # threads of a row: a reduction has so many lanes
MOST_SHARED = 48 * 1024  # bytes of a block
MOST_UNROLLED = 16  # iterations of a loop inside a thread: what it indexes is in registers
FEWEST_CHUNKS = 4  # of a row that is long enough for a block


def schedule(kernel: Kernel, library: Compute | None = None) -> Scheduled:
    """The kernel arranged for this backend. library: what it computes products in, where one is asked for."""
    called = next((s.function for s in walk(kernel.body) if isinstance(s, CallLibrary)), None)
    if called is not None:
        where = f" ({', '.join(kernel.sources)})" if kernel.sources else ""
        raise UnsupportedError(f"{kernel.name}: {called} of LAPACK runs on the cpu backend only{where}")
    names = Names(kernel)
    body: list[Stmt] = []
    for statement in kernel.body:
        if isinstance(statement, For) and statement.kind == "parallel" and isinstance(statement.extent, Const):
            body += _phases(statement, names, library)
        else:
            body.append(statement)
    return Scheduled(replace(kernel, body=simplify_block(tuple(body))))


def _phases(statement: For, names: Names, library: Compute | None) -> Block:
    """A phase, or those that it becomes when a library computes its product."""
    steps = None if library is None else by_library(statement, names, library)
    if library is None or steps is None:
        return _phase(statement, names)
    result: Block = ()
    for step in steps:
        if isinstance(step, For) and product_of(step, library) is None:
            result += _phase(step, names)
        else:
            result += (step,)
    return result


def _phase(statement: For, names: Names) -> Block:
    axes, leaf = nest(statement)
    if any(axis.extent == 0 for axis in axes):
        return ()
    found = tiled(axes, leaf, names)
    if found is not None:
        return found
    best = max(axes, key=lambda axis: (_along(axis.var, leaf), axis is axes[-1]))
    if _inside(leaf) > _along(best.var, leaf):
        rows = _rows(axes, leaf, names)
        if rows is not None:
            return rows
    others = [axis for axis in axes if axis is not best]
    best, leaf = _with_neighbours(best, leaf, names)
    return _flat([*others, best], in_order(leaf, MOST_UNROLLED), names)


# --------------------------------------------------------------------------------------------------------- which loop


def _along(var: Var, leaf: Block) -> float:
    """The part of all accesses to memory that move by at most one element when a counter does."""
    known = facts(leaf)
    found = list(accesses(leaf))
    near = sum(stride_of(access.buffer, access.idx, var, known) in (0, 1) for access in found)
    return near / max(len(found), 1)


def _inside(leaf: Block) -> float:
    """The same for the parallel loops inside the leaf, each with what it holds; 0 without any."""
    loops = [s for s in walk(leaf) if isinstance(s, For) and s.kind == "parallel"]
    shares = [_along(loop.var, loop.body) for loop in loops if list(accesses(loop.body))]
    if not any(_reads_memory(loop) for loop in loops) or not shares:
        return 0.0
    return sum(shares) / len(shares)


def _reads_memory(loop: For) -> bool:
    return any(access.buffer.space in ("param", "arena") for access in accesses(loop.body))


# -------------------------------------------------------------------------------------------------- a thread for each


def _with_neighbours(axis: Axis, leaf: Block, names: Names) -> tuple[Axis, Block]:
    """An axis and what each of its iterations does: all positions that share values, such as four random words."""
    found = find_shared(axis.var, leaf)
    if found is None:
        return axis, leaf
    quotient = names.var("quotient")
    body = neighbours(found, axis.var, axis.extent, quotient, names)
    return (axis, leaf) if body is None else (Axis(quotient, -(-axis.extent // found.k)), body)


def _flat(axes: Sequence[Axis], leaf: Block, names: Names) -> Block:
    """A thread for each iteration; those of the last axis are neighbours."""
    threads: list[tuple[Var, int]] = []
    blocks: list[tuple[Var, int]] = []
    guards: list[Expr] = []
    values: dict[str, Expr] = {}
    room = THREADS
    for axis in reversed(axes):
        within = min(axis.extent, room)
        room //= max(within, 1)
        if within == axis.extent:
            threads.insert(0, (axis.var, axis.extent))
            continue
        if within <= 1:
            room = 0
            blocks.insert(0, (axis.var, axis.extent))
            continue
        outer, inner = names.var(axis.var.name), names.var(axis.var.name)
        threads.insert(0, (inner, within))
        blocks.insert(0, (outer, -(-axis.extent // within)))
        values[axis.var.name] = Binary("add", Binary("mul", outer, index(within)), inner)
        if axis.extent % within:
            guards.append(Compare("lt", values[axis.var.name], index(axis.extent)))
    body = substitute(leaf, values)
    for guard in guards:
        body = (If(guard, body),)
    blocks = blocks or [(names.var("once"), 1)]
    return around(blocks, "block", around(threads, "thread", body))


# ----------------------------------------------------------------------------------------------------- a team for each


def _rows(axes: Sequence[Axis], leaf: Block, names: Names) -> Block | None:
    """A team for each row, or a block for each long one; None when the scratch does not fit shared memory."""
    if any(_has_chunks(s) for s in walk(leaf)):
        body = settled(_shared_out(leaf, names, THREADS), THREADS)
        if shared_bytes(body) <= MOST_SHARED:
            return around([(axis.var, axis.extent) for axis in axes], "block", body)
    axis = max(axes, key=lambda axis: axis.extent)
    body = settled(_shared_out(leaf, names, TEAM), TEAM)
    scratch = shared_bytes(body)
    if scratch > MOST_SHARED:
        return None
    teams = min(THREADS // TEAM, axis.extent, MOST_SHARED // max(scratch, 1))
    outer, team = names.var(axis.var.name), names.var(axis.var.name)
    row = Binary("add", Binary("mul", outer, index(teams)), team)
    body = substitute(body, {axis.var.name: row})
    if axis.extent % teams:
        body = (If(Compare("lt", row, index(axis.extent)), body),)
    blocks = [(outer, -(-axis.extent // teams)) if a is axis else (a.var, a.extent) for a in axes]
    return around(blocks, "block", (For(team, index(teams), "thread", body),))


def _has_chunks(statement: Stmt) -> bool:
    """Whether a statement is a loop over chunks of a row, which do not depend on each other."""
    if not isinstance(statement, For) or statement.kind != "serial" or not isinstance(statement.extent, Const):
        return False
    within = any(isinstance(s, For) and s.kind == "parallel" for s in walk(statement.body))
    return within and statement.extent.value >= FEWEST_CHUNKS and iterations_independent(statement)


def shared_bytes(body: Block) -> int:
    """Bytes of shared memory of a team; of a block, what its teams have is in it as often as there are teams."""
    total = 0
    for statement in walk(body):
        if isinstance(statement, Alloc) and statement.buffer.space == "shared":
            total += -(-statement.buffer.nbytes // 16) * 16
        if isinstance(statement, For) and statement.kind == "thread" and has_threads(statement.body):
            total += (THREADS // TEAM - 1) * shared_bytes(statement.body)
    return total


def _shared_out(statements: Block, names: Names, width: int) -> Block:
    """The innermost parallel loops for the `width` threads of a team or block, others in order.

    In a block, a loop over chunks has a team for each.
    """
    result: list[Stmt] = []
    for statement in statements:
        match statement:
            case For(var, Const(count), _, body) if width > TEAM and _has_chunks(statement):
                body = settled(_shared_out(body, names, TEAM), TEAM)
                result += _strips(var, int(count), body, names, width // TEAM)
            case For(var, extent, kind, body):
                inner = any(isinstance(s, For) and s.kind == "parallel" for s in walk(body))
                if kind != "parallel" or inner or not isinstance(extent, Const):
                    kind = "serial" if kind == "parallel" else kind
                    result.append(replace(statement, kind=kind, body=_shared_out(body, names, width)))
                else:
                    result += _strips(var, int(extent.value), body, names, width)
            case If(_, then, orelse):
                then, orelse = (_shared_out(part, names, width) for part in (then, orelse))
                result.append(replace(statement, then=then, orelse=orelse))
            case While(_, _, body):
                result.append(replace(statement, body=_shared_out(body, names, width)))
            case _:
                result.append(statement)
    return tuple(result)


def _strips(var: Var, extent: int, body: Block, names: Names, width: int) -> Block:
    """A loop in strips of as many iterations as there are threads, or teams, for them."""
    if extent <= width:
        return (For(var, index(extent), "thread", body),)
    strip, thread = names.var(var.name), names.var(var.name)
    place = Binary("add", Binary("mul", strip, index(width)), thread)
    body = substitute(body, {var.name: place})
    if extent % width:
        body = (If(Compare("lt", place, index(extent)), body),)
    return (For(strip, index(-(-extent // width)), "serial", (For(thread, index(width), "thread", body),)),)


def settled(body: Block, size: int) -> Block:
    """The body of a team of so many threads, with scratch that is handed from thread to thread in shared memory."""
    moved = {
        s.buffer.name: replace(s.buffer, space="shared")
        for block in _together(body)
        for position, s in enumerate(block)
        if isinstance(s, Alloc) and holder(s.buffer, block[position + 1 :], size) is ALL
    }
    return with_buffers(body, moved)


def _together(block: Block) -> Iterator[Block]:
    """The blocks of statements that a team does together."""
    yield block
    for statement in block:
        match statement:
            case For(_, _, kind, body) if kind != "thread":
                yield from _together(body)
            case While(_, _, body):
                yield from _together(body)
            case If(_, then, orelse):
                yield from _together(then)
                yield from _together(orelse)
