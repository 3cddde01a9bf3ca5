"""Sums over more memory than the caches of a core hold: what is summed in step, so that memory sets the pace.

Columns: memory is fast in long runs, and the terms of one column lie far apart. Many columns are summed row by row,
their accumulators in the second cache, and several steps at once, so that these are read and written less often. On
columns of float32[4096, 1024] one thread went from 15 to 80 GB/s, nearly what it reads of one run.

Rows: the additions of one row wait for each other. Those of several rows do not.
"""

from dataclasses import replace
from math import prod

from graphc.kernel.affine import stride_of
from graphc.kernel.combine import combined
from graphc.kernel.ir import Accumulate, Alloc, Buffer, Expr, For, Let, Load, Stmt, Store, Var, index, walk
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.nests import extent_of
from graphc.kernel.schedule.rewrite import Substitution, loop, plus, times
from graphc.kernel.schedule.traverse import expressions, facts
from graphc_llvm import host
from graphc_llvm.axes import Axis, accesses
from graphc_llvm.interchange import can_interchange

ROWS_IN_STEP, STEPS_OF_ROWS = 8, 2  # two lines of each row at a time
STEPS_OF_COLUMNS = 8
RUN_BYTES = 4096  # of a row that is read at once
FAR_BYTES = 512  # from one step to the next: nearer ones are read in order as they are
NEAR = 1.0  # what takes less of the second cache stays there from one run to the next
SHARE_OF_FIRST = 0.75  # of the first cache that rows may take which are read again
SHARE = 0.25  # of the second cache that accumulators may take
FEWEST_BLOCKS = 16  # of rows that threads share
FEWEST_PARTS = 4  # of columns
FEWEST_COLUMNS = 128  # of a part
FEWEST_TERMS = 128  # of a sum, so that its scratch is not all the work
MOST_STATEMENTS = 24  # of a step: longer ones do not wait for memory
MOST_TOGETHER = 64  # statements of all steps together
MOST_OF_ROWS = 400  # statements of all rows together


def rows_in_step(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...]) -> int:
    """How many rows, along the last axis, are summed together."""
    row = axes[-1]
    rows, length = prod(axis.extent for axis in axes), sum(1 for _ in walk(leaf))
    sums = sum(s.buffer.nbytes for s in walk(leaf) if isinstance(s, Alloc) and s.buffer.space == "register")
    registers = -(-sums * 8 // host.host().vector_bits)
    together = ROWS_IN_STEP
    while together > 1 and (
        together > min(row.extent, rows // FEWEST_BLOCKS)
        or together * length > MOST_OF_ROWS
        or together * registers > host.host().vector_registers // 2
    ):
        together //= 2
    if together <= 1 or not can_interchange(leaf):
        return 1
    touched = accesses(leaf)
    for load, _ in _summed(leaf):
        times = sum(touch.times for touch in touched if touch.buffer == load.buffer)
        if not _is_large(load.buffer) or _moves(load, row, leaf) in (0, None):
            continue
        if times * rows > load.buffer.size:  # what is read again had better come from the first cache
            fitting = int(SHARE_OF_FIRST * host.target().cache_bytes[0]) * rows // load.buffer.nbytes
            together = min(together, 1 << max(fitting.bit_length() - 1, 0))
        return together
    return 1


def columns_in_step(column: Axis, leaf: tuple[Stmt, ...], others: int) -> int:
    """How many columns are summed together; 0 where sums stay in registers. `others`: blocks there are anyway."""
    if not can_interchange(leaf):
        return 0
    far = [
        load
        for load, step in _summed(leaf)
        if _is_large(load.buffer)
        and _moves(load, column, leaf) == 1
        and (_moves(load, step, leaf) or 0) * load.dtype.itemsize >= FAR_BYTES
    ]
    scratch = sum(s.buffer.nbytes for s in walk(leaf) if isinstance(s, Alloc))
    if not far or not scratch:
        return 0
    most = min(RUN_BYTES // far[0].dtype.itemsize, int(SHARE * _second_cache()) // scratch)
    parts = max(-(-column.extent // max(most, 1)), -(-FEWEST_PARTS // others))
    block = -(-column.extent // parts // FEWEST_COLUMNS) * FEWEST_COLUMNS
    return min(block, column.extent) if min(most, column.extent) >= FEWEST_COLUMNS else 0


def steps_together(leaf: tuple[Stmt, ...], most: int, names: Names) -> tuple[Stmt, ...]:
    """The leaf with several steps of each sum at once, in order, where a lane meets nothing but its accumulators."""
    result: list[Stmt] = []
    for statement in leaf:
        if not isinstance(statement, For):
            result.append(statement)
        elif found := _together(statement, most, names):
            result += found
        else:
            result.append(replace(statement, body=steps_together(statement.body, most, names)))
    return tuple(result)


def _together(outer: For, most: int, names: Names) -> tuple[Stmt, ...]:
    """`for c: for l: acc[l] += x[c, l]`, where each l adds up several c at once, in order; empty for other loops."""
    extent = extent_of(outer)
    match outer.body:
        case (For(lane, _, "parallel", body) as inner,) if extent is not None and outer.kind == "serial":
            sums = [s for s in body if isinstance(s, Accumulate)]
        case _:
            return ()
    fitting = (n for n in (8, 4, 2) if n <= min(most, extent) and n * len(body) <= MOST_TOGETHER)
    steps = max(fitting, default=1)
    targets = [target for each in sums for target in each.targets]
    changed = {buffer.name for buffer, _ in targets}
    read = {e.buffer.name for s in body for e in expressions(s) if isinstance(e, Load)}
    if steps == 1 or any(at != (lane,) for _, at in targets) or len(changed) < len(targets) or changed & read:
        return ()
    if any(not isinstance(s, Let | Accumulate) for s in body):
        return ()
    held: dict[str, Expr] = {}
    straight: list[Stmt] = []
    for buffer, at in targets:
        held[buffer.name] = _named(Load(buffer, at), names, straight)
    counter = names.var(outer.var.name)
    for step in range(steps):
        here = Substitution(names, {outer.var.name: plus(times(counter, steps), index(step))})
        for statement in body:
            here, statement = here.step(statement)
            if not isinstance(statement, Accumulate):
                straight.append(statement)
                continue
            old = tuple(held[buffer.name] for buffer, _ in statement.targets)
            new = combined(statement.combine, old, statement.values)
            for (buffer, _), value in zip(statement.targets, new, strict=True):
                held[buffer.name] = _named(value, names, straight)
    straight += [Store(buffer, at, held[buffer.name]) for buffer, at in targets]
    whole, rest = divmod(extent, steps)
    found = loop(counter, whole, "serial", (replace(inner, body=tuple(straight)),))
    if not rest:
        return (found,)
    last = names.var(outer.var.name)
    at_end = Substitution(names, {outer.var.name: plus(last, index(whole * steps))})
    return (found, loop(last, rest, "serial", at_end.block((inner,))))


def _named(value: Expr, names: Names, into: list[Stmt]) -> Var:
    var = Var(names.fresh("sum"), value.dtype)
    into.append(Let(var, value))
    return var


def _moves(load: Load, axis: Axis, leaf: tuple[Stmt, ...]) -> int | None:
    return stride_of(load.buffer, load.index, axis.var, facts(leaf))


def _is_large(buffer: Buffer) -> bool:
    """Whether it does not stay in the caches of one core from one run to the next."""
    return buffer.space == "param" and buffer.nbytes >= NEAR * _second_cache()


def _second_cache() -> int:
    return host.target().cache_bytes[1]


def _summed(leaf: tuple[Stmt, ...], loops: tuple[Axis, ...] = ()) -> list[tuple[Load, Axis]]:
    """What the steps of sums load, and the innermost loop around it."""
    found: list[tuple[Load, Axis]] = []
    for statement in leaf:
        if isinstance(statement, For):
            found += _summed(statement.body, (*loops, Axis(statement.var, extent_of(statement) or 0)))
    if prod(axis.extent for axis in loops) < FEWEST_TERMS or len(leaf) > MOST_STATEMENTS:
        return found
    if not any(isinstance(statement, Accumulate) for statement in leaf):
        return found
    return found + [(e, loops[-1]) for s in leaf for e in expressions(s) if isinstance(e, Load)]
