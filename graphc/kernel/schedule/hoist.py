"""Values that a loop computes again and again move out of it.

Guaranteed: each value is computed by the same expression from memory that holds the same, so no bit changes.
"""

from collections.abc import Callable
from dataclasses import replace

from graphc.kernel.affine import loads, variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import (
    INDEPENDENT,
    Accumulate,
    Alloc,
    Buffer,
    CallLibrary,
    Const,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    While,
    index,
    walk,
)
from graphc.kernel.schedule.edit import Block, Names
from graphc.kernel.schedule.rewrite import Substitution


def hoist(statements: Block) -> Block:
    """Every `Let` in front of the loops around it that it does not depend on, but for loops that are shared out.

    Loops that may run no iteration keep their loads.
    """
    result: list[Stmt] = []
    for statement in statements:
        match statement:
            case For(var, extent, kind, body):
                body = hoist(body)
                if kind not in INDEPENDENT:
                    runs = isinstance(extent, Const) and int(extent.value) > 0
                    moved, body = invariant({var.name}, body, may_load=runs)
                    result += moved
                result.append(replace(statement, body=body))
            case While(_, _, body):
                result.append(replace(statement, body=hoist(body)))
            case If(_, then, orelse):
                result.append(replace(statement, then=hoist(then), orelse=hoist(orelse)))
            case _:
                result.append(statement)
    return tuple(result)


def invariant(counters: set[str], body: Block, may_load: bool = True) -> tuple[tuple[Let, ...], Block]:
    """The `Let`s of a loop's body that are the same in every iteration, and the rest of the body."""
    inner = set(counters)
    changing: set[str] = set()
    for statement in walk(body):
        match statement:
            case For() | Let():
                inner.add(statement.var.name)
            case Alloc(buffer) | Store(buffer, _, _):
                changing.add(buffer.name)
            case Accumulate(targets, _, _):
                changing |= {buffer.name for buffer, _ in targets}
            case CallLibrary(_, buffers):
                changing |= {buffer.name for buffer in buffers}
            case _:
                continue
    moved: list[Let] = []
    rest: list[Stmt] = []
    for statement in body:
        if isinstance(statement, Let) and inner.isdisjoint(variables(statement.value)):
            read = loads(statement.value)
            if not read or (may_load and all(load.buffer.name not in changing for load in read)):
                inner.remove(statement.var.name)
                moved.append(statement)
                continue
        rest.append(statement)
    return tuple(moved), tuple(rest)


def precompute(loop: For, names: Names, is_dear: Callable[[Block], bool]) -> tuple[Block, For]:
    """What all iterations of a nest of parallel loops compute alike, computed once, if `is_dear` says so.

    Returns what goes in front, the allocation of scratch for these values and a phase that fills it, and the nest,
    which reads it.
    """
    nest = [loop]
    while len(nest[-1].body) == 1 and isinstance(inner := nest[-1].body[0], For) and inner.kind == "parallel":
        nest.append(inner)
    if any(not isinstance(each.extent, Const) or int(each.extent.value) < 1 for each in nest):
        return (), loop
    lets, rest = invariant({each.var.name for each in nest}, nest[-1].body)
    if not is_dear(lets):
        return (), loop
    wanted = {name for s in walk(rest) for e in expressions(s) for name in variables(e)}
    handed_over = [let for let in lets if let.var.name in wanted and not _is_load(let)]
    buffers = [Buffer(names.fresh("once"), let.var.dtype, (), "arena") for let in handed_over]
    stores = tuple(Store(buffer, (), let.var) for buffer, let in zip(buffers, handed_over))
    once = Substitution(names).block((For(names.var("once"), index(1), "serial", (*lets, *stores)),))
    reads = [Let(let.var, Load(buffer, ())) for buffer, let in zip(buffers, handed_over)]
    plain = [let for let in lets if let.var.name in wanted and _is_load(let)]
    body: Block = (*plain, *reads, *rest)
    for each in reversed(nest):
        loop = replace(each, body=body)
        body = (loop,)
    return (*(Alloc(buffer) for buffer in buffers), *once), loop


def _is_load(let: Let) -> bool:
    """Whether a value is one load that needs no other value."""
    return isinstance(let.value, Load) and not variables(let.value)
