"""How the threads of a block are used: its size, the teams it is divided into, and who holds scratch.

A phase is a nest of block loops around a body. Statements of the body outside thread loops are done by the whole block
together. A perfect nest of thread loops gives every iteration one thread. A thread loop with other thread loops inside
gives every iteration a team: neighbouring threads, a power of two of them and at most a warp, so that a team waits for
its members without waiting for the block. Inside, the same rules hold for the team; teams do not nest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from graphc.core.errors import BackendError
from graphc.kernel.affine import NOTHING, loads, normal
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Accumulate, Buffer, Const, Expr, For, If, Stmt, Store, Var, While, walk

WARP = 32
MOST_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """`threads` of a block; `width` of a team, 0 when there are none."""

    threads: int
    width: int


def extent_of(loop: For) -> int:
    """The extent of a loop that is shared out, which is constant."""
    if not isinstance(loop.extent, Const):
        raise BackendError(f"the extent of the {loop.kind} loop {loop.var.name} is not constant")
    return int(loop.extent.value)


def has_threads(statements: tuple[Stmt, ...]) -> bool:
    """Whether there is a thread loop in some statements."""
    return any(isinstance(s, For) and s.kind == "thread" for s in walk(statements))


def leaf_nest(loop: For) -> tuple[For, ...]:
    """The perfect nest of thread loops from here inwards, one thread per iteration; empty for a loop of teams."""
    nest = [loop]
    while len(nest[-1].body) == 1 and isinstance(inner := nest[-1].body[0], For) and inner.kind == "thread":
        nest.append(inner)
    return () if has_threads(nest[-1].body) else tuple(nest)


def iterations(nest: Sequence[For]) -> int:
    """Of all loops of a nest."""
    return prod(map(extent_of, nest))


def _loops(statements: tuple[Stmt, ...]) -> Iterator[For]:
    """The outermost thread loops."""
    for statement in statements:
        match statement:
            case For(_, _, "thread"):
                yield statement
            case For() | While():
                yield from _loops(statement.body)
            case If(_, then, orelse):
                yield from _loops((*then, *orelse))


def layout(body: tuple[Stmt, ...]) -> Layout:
    """The threads a phase of this body needs."""
    alone, teams, inside = 1, 0, 1
    for loop in _loops(body):
        nest = leaf_nest(loop)
        if nest:
            alone = max(alone, iterations(nest))
            continue
        teams = max(teams, extent_of(loop))
        for inner in _loops(loop.body):
            members = leaf_nest(inner)
            if not members:
                raise BackendError(f"thread loop {inner.var.name}: teams do not nest")
            inside = max(inside, iterations(members))
    width = 1 << (inside - 1).bit_length() if teams else 0
    if width > WARP:
        raise BackendError(f"a team has at most {WARP} threads, not {width}")
    threads = max(alone, teams * width)
    threads = 1 if threads == 1 else -(-threads // WARP) * WARP
    if threads > MOST_THREADS:
        raise BackendError(f"a block has at most {MOST_THREADS} threads, not {threads}")
    return Layout(threads, width)


# ------------------------------------------------------------------------------------------------------------ scratch


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds scratch of a team that is no array in shared memory.

    everyone: every thread has the same copy. each: a thread has the elements whose first `dims` indices are its own
    numbers in the thread loops. all: it has to lie where all threads see it.
    """

    by: Literal["everyone", "each", "all"]
    dims: int = 0


EVERYONE, ALL = Holder("everyone"), Holder("all")


@dataclass(frozen=True, slots=True)
class TeamAccess:
    """An access in the body of a team.

    threads: the thread loops around it; empty when the team does it together, None when a smaller team does it.
    """

    index: tuple[Expr, ...]
    is_store: bool
    threads: tuple[For, ...] | None


def holder(buffer: Buffer, body: tuple[Stmt, ...], size: int) -> Holder:
    """Who holds scratch that a team of `size` threads allocates in `body`, going by how it is used there."""
    if buffer.space == "shared":
        return ALL
    found = list(_accesses(buffer, body))
    if all(access.threads == () for access in found if access.is_store):
        return EVERYONE
    dims = max(len(access.threads or ()) for access in found)
    if len(buffer.shape) < dims or prod(buffer.shape[:dims]) > size:
        return ALL
    if all(_is_own(access, buffer, dims) or _may_ask(access, buffer, size) for access in found):
        return Holder("each", dims)
    return ALL


def _is_own(access: TeamAccess, buffer: Buffer, dims: int) -> bool:
    """Whether every thread of the loops takes the element with its own numbers; loops of one shape number alike."""
    if not access.threads or access.index[:dims] != tuple(loop.var for loop in access.threads):
        return False
    return dims == 1 or tuple(map(extent_of, access.threads)) == buffer.shape[:dims]


def _may_ask(access: TeamAccess, buffer: Buffer, size: int) -> bool:
    """Whether threads of a warp can hand the element over: from a fixed thread, or one that is a fixed distance on."""
    if access.is_store or access.threads is None or len(buffer.shape) != 1 or size > WARP:
        return False
    if not access.threads:
        return isinstance(access.index[0], Const)
    return len(access.threads) == 1 and distance(access.index[0], access.threads[0].var) is not None


def distance(index: Expr, thread: Var) -> int | None:
    """How many threads further on an element lies; None when that is not one positive number."""
    ahead = normal(index, NOTHING) - normal(thread, NOTHING)
    return ahead.const if ahead.is_const and ahead.const > 0 else None


def _accesses(buffer: Buffer, statements: tuple[Stmt, ...]) -> Iterator[TeamAccess]:
    for statement in statements:
        yield from _own_accesses(buffer, statement, ())
        match statement:
            case For(_, _, "thread"):
                threads = leaf_nest(statement) or None
                for inner in walk(statement.body):
                    yield from _own_accesses(buffer, inner, threads)
            case For() | While():
                yield from _accesses(buffer, statement.body)
            case If(_, then, orelse):
                yield from _accesses(buffer, (*then, *orelse))


def _own_accesses(buffer: Buffer, statement: Stmt, threads: tuple[For, ...] | None) -> Iterator[TeamAccess]:
    for expr in expressions(statement):
        for load in loads(expr):
            if load.buffer.name == buffer.name:
                yield TeamAccess(load.index, False, threads)
    targets: tuple[tuple[Buffer, tuple[Expr, ...]], ...] = ()
    match statement:
        case Store(stored_to, at):
            targets = ((stored_to, at),)
        case Accumulate(several):
            targets = several
        case _:
            return
    for target, index in targets:
        if target.name == buffer.name:
            yield TeamAccess(index, True, threads)
