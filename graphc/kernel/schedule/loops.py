"""Schedule steps on loops. Each checks that it keeps every bit of the result, then returns new statements.

A step that is not legal, or whose legality cannot be proven, raises `ScheduleError` naming the loop. Steps work on one
`For`; `graphc.kernel.schedule.edit` puts the result back into a kernel. New names come from a `Names`.
"""

from dataclasses import replace
from typing import Literal

from graphc.core.errors import ScheduleError
from graphc.kernel.affine import loads, variables
from graphc.kernel.independence import iterations_independent, may_meet
from graphc.kernel.ir import (
    INDEPENDENT,
    Alloc,
    Binary,
    Buffer,
    Compare,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    LoopKind,
    Space,
    Stmt,
    Var,
    index,
    walk,
)
from graphc.kernel.schedule.edit import Block, Names, map_accesses, substitute
from graphc.kernel.schedule.rewrite import Substitution
from graphc.kernel.schedule.traverse import expressions, stored_by

# ------------------------------------------------------------------------------------------------------ loop kinds


def parallelize(loop: For) -> For:
    """Let iterations run on any thread in any order."""
    return _independent_kind(loop, "parallel")


def bind(loop: For, kind: Literal["block", "thread"]) -> For:
    """Give every iteration a block of threads, or a thread (a team, if there are thread loops inside) of its block."""
    if kind == "thread" and any(isinstance(s, For) and s.kind in ("parallel", "vector") for s in walk(loop.body)):
        raise ScheduleError(f"thread {loop.var.name}: a loop inside is shared out in another way")
    return _independent_kind(loop, kind)


def vectorize(loop: For) -> For:
    """Run iterations in lockstep lanes."""
    if any(isinstance(s, For) and s.kind in INDEPENDENT for s in walk(loop.body)):
        raise ScheduleError(f"vectorize {loop.var.name}: a parallel loop is inside")
    return _independent_kind(loop, "vector")


def unroll(loop: For) -> For:
    """Ask for one copy of the body per iteration."""
    static_extent(loop)
    return replace(serialize(loop), kind="unroll")


def serialize(loop: For) -> For:
    """Run iterations in order."""
    if loop.kind == "vector" and not iterations_independent(loop):
        raise ScheduleError(f"serialize {loop.var.name}: lanes may use what other lanes stored")
    return replace(loop, kind="serial")


def _independent_kind(loop: For, kind: LoopKind) -> For:
    static_extent(loop)
    if loop.kind == kind:
        return loop
    if loop.kind not in INDEPENDENT and not iterations_independent(loop):
        raise ScheduleError(f"{kind} {loop.var.name}: iterations may touch the same element")
    return replace(loop, kind=kind)


def static_extent(loop: For) -> int:
    """The constant extent of a loop."""
    if not isinstance(loop.extent, Const):
        raise ScheduleError(f"loop {loop.var.name} has no constant extent")
    return int(loop.extent.value)


# ----------------------------------------------------------------------------------------------------- loop structure


def split(
    loop: For,
    factor: int,
    names: Names,
    tail: Literal["cut", "guard"] = "cut",
    inner_kind: LoopKind | None = None,
) -> tuple[For, ...]:
    """`for v in n` becomes `for v_o in n / factor: for v_i in factor`, v = v_o * factor + v_i.

    tail: what is left over is a loop of its own ("cut"), or the body is guarded by `v < n` ("guard"). The inner loop
    keeps the loop's kind, or takes `inner_kind`, which is checked like `parallelize`, `vectorize` and `unroll` do.
    """
    extent = static_extent(loop)
    if factor < 1:
        raise ScheduleError(f"split {loop.var.name}: the factor is {factor}")
    if loop.kind == "vector":
        raise ScheduleError(f"split {loop.var.name}: split before vectorising, lanes run in lockstep")
    whole, rest = divmod(extent, factor)
    outer, inner = Var(names.fresh(f"{loop.var.name}_o")), Var(names.fresh(f"{loop.var.name}_i"))
    counter = Binary("add", Binary("mul", outer, index(factor)), inner)
    body = substitute(loop.body, {loop.var.name: counter})
    if tail == "guard" and rest:
        body = (If(Compare("lt", counter, index(extent)), body),)
        return (_nest(loop, outer, whole + 1, inner, factor, body, inner_kind),)
    result = [_nest(loop, outer, whole, inner, factor, body, inner_kind)] if whole else []
    if rest:
        last = Var(names.fresh(f"{loop.var.name}_t"))
        shifted: Expr = Binary("add", index(whole * factor), last) if whole else last
        at_end = {loop.var.name: shifted}
        body = Substitution(names, at_end).block(loop.body) if whole else substitute(loop.body, at_end)
        result.append(_as_kind(For(last, index(rest), loop.kind, body), inner_kind))
    return tuple(result)


def _nest(loop: For, outer: Var, count: int, inner: Var, factor: int, body: Block, inner_kind: LoopKind | None) -> For:
    within = _as_kind(For(inner, index(factor), loop.kind, body), inner_kind)
    return For(outer, index(count), loop.kind, (within,))


def _as_kind(loop: For, kind: LoopKind | None) -> For:
    match kind:
        case None:
            return loop
        case "parallel":
            return parallelize(loop)
        case "block" | "thread":
            return bind(loop, kind)
        case "vector":
            return vectorize(loop)
        case "unroll":
            return unroll(loop)
        case "serial":
            return serialize(loop)


def interchange(loop: For) -> For:
    """Swap a loop with the one that is its whole body. Legal when the iterations of one of them are independent."""
    inner = _only_loop(loop, "interchange")
    if loop.var.name in variables(inner.extent):
        raise ScheduleError(f"interchange {loop.var.name}: the extent of {inner.var.name} depends on it")
    swapped = replace(inner, body=(replace(loop, body=inner.body),))
    kinds = {loop.kind, inner.kind}
    in_lockstep = kinds in ({"vector", "serial"}, {"vector", "unroll"})  # one order of statements either way round
    if in_lockstep or loop.kind in INDEPENDENT:
        return swapped
    if not (iterations_independent(loop) or iterations_independent(swapped)):
        raise ScheduleError(f"interchange {loop.var.name}, {inner.var.name}: iterations of both depend on each other")
    return swapped


def reorder(loop: For, order: tuple[str, ...]) -> For:
    """Bring a perfect nest into the given order of counters by interchanges."""
    if not order:
        return loop
    nest = [loop]
    while nest[-1].var.name != order[0]:
        nest.append(_only_loop(nest[-1], "reorder"))
    for outer in reversed(nest[:-1]):
        moved = interchange(replace(outer, body=(nest[-1],)))
        nest[-1] = moved
    top = nest[-1]
    if len(order) == 1:
        return top
    return replace(top, body=(reorder(_only_loop(top, "reorder"), order[1:]),))


def fuse_loops(loop: For, names: Names) -> For:
    """Two perfectly nested loops of one kind as one loop over all pairs, in the same order."""
    inner = _only_loop(loop, "fuse")
    if loop.kind != inner.kind:
        raise ScheduleError(f"fuse {loop.var.name}, {inner.var.name}: kinds {loop.kind} and {inner.kind} differ")
    rows, columns = static_extent(loop), static_extent(inner)
    both = Var(names.fresh(f"{loop.var.name}_{inner.var.name}"))
    divisor = index(max(columns, 1))
    values: dict[str, Expr] = {
        loop.var.name: Binary("div", both, divisor),
        inner.var.name: Binary("rem", both, divisor),
    }
    return For(both, index(rows * columns), loop.kind, substitute(inner.body, values))


def fission(loop: For, at: int, names: Names) -> tuple[For, For]:
    """Two loops, over the first `at` statements and over the rest.

    `Let`s at the top of the first part are repeated in the second when their value is still the same there. A scratch
    buffer used on both sides must be expanded first (`expand_alloc`).
    """
    first, second = loop.body[:at], loop.body[at:]
    if not first or not second:
        raise ScheduleError(f"fission {loop.var.name}: one side is empty")
    if loop.kind not in INDEPENDENT and may_meet(loop, first, second):
        raise ScheduleError(f"fission {loop.var.name}: a later iteration's first part may touch what the second uses")
    used = _names_used(second)
    for statement in first:
        if isinstance(statement, Alloc) and statement.buffer.name in used:
            raise ScheduleError(f"fission {loop.var.name}: scratch {statement.buffer.name} is used on both sides")
    lets = _repeated_lets(loop, first, second)
    (copy,) = Substitution(names).block((replace(loop, body=(*lets, *second)),))
    assert isinstance(copy, For)
    return replace(loop, body=first), copy


def _repeated_lets(loop: For, first: Block, second: Block) -> Block:
    stored = stored_by((*first, *second))
    needed = _names_used(second)
    result: list[Stmt] = []
    for statement in reversed(first):
        if isinstance(statement, Let) and statement.var.name in needed:
            if any(load.buffer.name in stored for load in loads(statement.value)):
                raise ScheduleError(f"fission {loop.var.name}: {statement.var.name} reads memory the loop stores to")
            needed |= _names_used((statement,))
            result.append(statement)
    return tuple(reversed(result))


def expand_alloc(loop: For, name: str, space: Space | None = None) -> tuple[Alloc, For]:
    """Move scratch `name` out of the loop that allocates it, with a leading dimension per iteration."""
    extent = static_extent(loop)
    found = next((s for s in loop.body if isinstance(s, Alloc) and s.buffer.name == name), None)
    if found is None:
        raise ScheduleError(f"expand {name}: not allocated in the body of loop {loop.var.name}")
    old = found.buffer
    new = Buffer(old.name, old.dtype, (extent, *old.shape), space or old.space)

    def place(buffer: Buffer, idx: tuple[Expr, ...]) -> tuple[Buffer, tuple[Expr, ...]]:
        return (new, (loop.var, *idx)) if buffer == old else (buffer, idx)

    rest = tuple(s for s in loop.body if s is not found)
    return Alloc(new), replace(loop, body=map_accesses(rest, place))


# ------------------------------------------------------------------------------------------------------------ details


def _only_loop(loop: For, step: str) -> For:
    if len(loop.body) == 1 and isinstance(loop.body[0], For):
        return loop.body[0]
    raise ScheduleError(f"{step} {loop.var.name}: its body is not one loop")


def _names_used(statements: Block) -> set[str]:
    """Variables and buffers mentioned."""
    used: set[str] = set()
    for statement in walk(statements):
        for node in expressions(statement):
            if isinstance(node, Var):
                used.add(node.name)
            elif isinstance(node, Load):
                used.add(node.buffer.name)
    return used | stored_by(statements)
