"""Loop-IR statements to CUDA C++: one function per phase.

What a team does together is done by all its threads alike, but for stores to memory that others see, which its first
thread makes. Where a thread could see what another one of its team wrote, or overwrite what another one has yet to
read, there is a barrier between the two statements (`Pending` keeps count); around a loop the end of its body counts
as coming before its beginning.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import assert_never

from graphc.core.errors import BackendError
from graphc.kernel.affine import loads
from graphc.kernel.combine import combined
from graphc.kernel.independence import expressions
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Buffer,
    CallLibrary,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
    walk,
)
from graphc_cupy.expressions import LIMIT, Place, Scope
from graphc_cupy.spelling import identifier, kind_of, memory
from graphc_cupy.teams import ALL, EVERYONE, Layout, distance, extent_of, holder, iterations, leaf_nest

ALIGNMENT = 16  # of shared scratch
SHORT = 16  # iterations of a loop that the compiler may write out as a whole
UNROLLED = 4  # iterations of a longer one that it may write out; by itself it takes hundreds, and minutes over them


@dataclass(slots=True)
class Pending:
    """What threads of a team may have read and written since they last waited for each other."""

    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)

    def conflicts(self, reads: set[str], writes: set[str]) -> bool:
        return bool(writes & (self.reads | self.writes) or reads & self.writes)

    def add(self, reads: set[str], writes: set[str]) -> None:
        self.reads |= reads
        self.writes |= writes

    def copy(self) -> "Pending":
        return Pending(set(self.reads), set(self.writes))


@dataclass(frozen=True, slots=True)
class Team:
    """The threads that do a statement together: how many, which one this is, and how they wait for each other."""

    size: int
    rank: str
    barrier: str
    mask: str
    copies: int = 1  # of its shared scratch in a block
    number: str = "0"


BLOCK = Team(1, "gc_thread", "__syncthreads();", "0xffffffffu")


class StatementEmitter:
    """Emits the body of one phase.

    visible: names of the buffers that all threads see from the start. memory: by name, a buffer that may lie in the
    same memory, and stands for both.
    """

    def __init__(self, scope: Scope, layout: Layout, visible: Sequence[str], memory: Mapping[str, str]) -> None:
        self.scope = scope
        self.layout = layout
        self.visible = set(visible)
        self.memory = memory
        self.lines: list[str] = []
        self.notes: dict[int, str] = {}  # line -> the buffer it stores to
        self.shared_bytes = 0
        self.depth = 1
        rank = BLOCK.rank if layout.threads > 1 else "0"
        self.team: Team | None = replace(BLOCK, size=layout.threads, rank=rank)
        self.pending = Pending()
        self.fetches = 0

    # -------------------------------------------------------------------------------------------------------- text

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    @contextmanager
    def braces(self, head: str) -> Iterator[None]:
        """Lines between braces."""
        self.line(f"{head} {{".lstrip())
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")

    # -------------------------------------------------------------------------------------------------- statements

    def block(self, statements: tuple[Stmt, ...]) -> None:
        """Statements in order."""
        for number, statement in enumerate(statements):
            match statement:
                case Let(var, value):
                    self.before(statement)
                    text = self.together(value)
                    self.line(f"const {kind_of(var.dtype)} {self.name(var)} = {text};")
                case Store(buffer, index, value):
                    self.before(statement)
                    self.fetch_together((*index, value))
                    self.assign([(buffer, index, value)])
                case Accumulate():
                    self.before(statement)
                    self.accumulate(statement)
                case Alloc(buffer):
                    self.allocate(buffer, statements[number + 1 :])
                case If():
                    self.before(statement, alone=True)
                    self.conditional(statement)
                case While():
                    self.repeated(partial(self.loop_while, statement))
                case For(_, _, "thread"):
                    self.thread_loop(statement)
                case For():
                    self.before(statement, alone=True)
                    self.repeated(partial(self.counted, statement))
                case CallLibrary():
                    raise BackendError(f"gpu backend: {statement.function} is a function of the host")
                case Prefetch():
                    continue  # a hint; here other threads work while one waits
                case _:
                    assert_never(statement)

    def name(self, var: Var) -> str:
        self.scope.names[var.name] = identifier(var.name)
        return self.scope.names[var.name]

    def count(self, loop: For) -> str:
        """The declaration of a counter: of 32 bits where its extent is known."""
        if not isinstance(loop.extent, Const) or int(loop.extent.value) >= LIMIT:
            return f"i64 {self.name(loop.var)}"
        self.scope.counters[loop.var.name] = int(loop.extent.value)
        return f"int {self.name(loop.var)}"

    def assign(self, targets: list[tuple[Buffer, tuple[Expr, ...], Expr]]) -> None:
        """Store values, all of which are computed before the first is stored."""
        texts = [(buffer, self.scope.element(buffer, index), self.scope.stored(v)) for buffer, index, v in targets]
        once = self.team is not None and self.team.size > 1 and any(b.name in self.visible for b, _, _ in texts)
        if len(texts) > 1:
            self.line("{")
            self.depth += 1
            for number, (buffer, _, value) in enumerate(texts):
                self.line(f"const {memory(buffer.dtype)} gc_new{number} = {value};")
            texts = [(buffer, place, f"gc_new{number}") for number, (buffer, place, _) in enumerate(texts)]
        for buffer, place, value in texts:
            guard = f"if ({self.team.rank} == 0) " if self.team is not None and once else ""
            self.line(f"{guard}{place} = {value};")
            self.notes[len(self.lines)] = buffer.name
        if len(texts) > 1:
            self.depth -= 1
            self.line("}")
        self.forget()

    def accumulate(self, statement: Accumulate) -> None:
        """`targets = combine(targets, values)`."""
        old = tuple(Load(buffer, index) for buffer, index in statement.targets)
        self.fetch_together((*old, *statement.values))
        new = combined(statement.combine, old, statement.values)
        self.assign([(buffer, index, value) for (buffer, index), value in zip(statement.targets, new, strict=True)])

    def allocate(self, buffer: Buffer, rest: tuple[Stmt, ...]) -> None:
        """Scratch of a thread, a team or the block."""
        alone = self.team is None or self.team.size == 1
        held = EVERYONE if self.team is None or alone else holder(buffer, rest, self.team.size)
        if held is ALL:
            self.share(buffer, max(buffer.size, 1))
            return
        shape = buffer.shape[held.dims :]
        count = max(prod(shape), 1)
        name = identifier(buffer.name)
        self.scope.places[buffer.name] = Place(name, is_scalar=not shape, held=held.dims)
        self.line(f"{memory(buffer.dtype)} {name}{f'[{count}]' if shape else ''};")

    def share(self, buffer: Buffer, count: int) -> None:
        """An array in shared memory, one for each team."""
        if buffer.space != "shared":
            raise BackendError(f"{buffer.name}: {buffer.space} scratch is handed from thread to thread")
        assert self.team is not None
        kind, start = memory(buffer.dtype), self.shared_bytes
        self.shared_bytes += -(-count * buffer.dtype.itemsize * self.team.copies // ALIGNMENT) * ALIGNMENT
        own = f" + {self.team.number} * {count}" if self.team.copies > 1 else ""
        name = identifier(buffer.name)
        self.line(f"{kind} *const {name} = ({kind} *)(gc_shared + {start}){own};")
        self.scope.places[buffer.name] = Place(name)
        self.visible.add(buffer.name)

    # ---------------------------------------------------------------------------------------------------- barriers

    def before(self, statement: Stmt, alone: bool = False) -> None:
        """Wait where the statement (`alone`: what it holds itself) meets what other threads did or have yet to do."""
        if self.team is None or self.team.size == 1:
            return
        reads, writes = touched((statement,), alone)
        reads, writes = ({self.memory.get(name, name) for name in names & self.visible} for names in (reads, writes))
        if self.pending.conflicts(reads, writes):
            self.line(self.team.barrier)
            self.pending = Pending()
        self.pending.add(reads, writes)

    def repeated(self, emit: Callable[[], None]) -> None:
        """A loop: what the end of its body leaves pending is pending at its beginning."""
        if self.team is not None and self.team.size > 1:
            kept = len(self.lines), self.shared_bytes, self.fetches, dict(self.notes)
            start = self.pending.copy()
            emit()
            del self.lines[kept[0] :]
            self.shared_bytes, self.fetches, self.notes = kept[1:]
            self.pending.add(start.reads, start.writes)
        start = self.pending.copy()
        emit()
        self.pending.add(start.reads, start.writes)

    # ------------------------------------------------------------------------------------------- loops, conditions

    def conditional(self, statement: If) -> None:
        start = self.pending.copy()
        with self.braces(f"if ({self.together(statement.cond)})"):
            self.block(statement.then)
        after, self.pending = self.pending, start
        if statement.orelse:
            with self.braces("else"):
                self.block(statement.orelse)
        self.pending.add(after.reads, after.writes)

    def counted(self, loop: For) -> None:
        """A loop that every thread runs in order."""
        if loop.kind == "vector":
            raise BackendError(f"loop {loop.var.name}: lanes of a vector do not exist here")
        extent, counter = self.together(loop.extent, self.scope.place), self.count(loop)
        name = self.scope.names[loop.var.name]
        if loop.kind == "unroll":
            self.line("#pragma unroll")
        elif isinstance(loop.extent, Const) and loop.extent.value > SHORT:
            has_loops = any(isinstance(statement, For) for statement in walk(loop.body))
            self.line(f"#pragma unroll {1 if has_loops else UNROLLED}")
        with self.braces(f"for ({counter} = 0; {name} < {extent}; ++{name})"):
            self.block(loop.body)

    def loop_while(self, loop: While) -> None:
        turn = f"gc_turn{self.depth}"
        with self.braces(f"for (i64 {turn} = 0; {turn} < {loop.bound}; ++{turn})"):
            self.before(loop, alone=True)
            self.line(f"if (!({self.together(loop.cond)})) break;")
            self.block(loop.body)

    def thread_loop(self, loop: For) -> None:
        """Iterations for the threads, or the teams, of a block."""
        if self.team is None:
            raise BackendError(f"thread loop {loop.var.name} is inside another one's thread")
        self.before(loop)
        nest, team = leaf_nest(loop), self.team
        if not nest:
            self.teams(loop, team)
            return
        total = iterations(nest)
        if not total:
            return
        if len(nest) == 1:
            self.fetch_across(loop, team)
        with self.braces("" if total == team.size else f"if ({team.rank} < {total})"):
            self.counters(nest, team.rank, total)
            self.team = None
            self.block(nest[-1].body)
            self.team = team
        self.forget()

    def counters(self, nest: Sequence[For], number: str, total: int) -> None:
        """The counters of a nest whose iterations are numbered in order."""
        rest = total
        for loop in nest:
            extent = extent_of(loop)
            rest //= max(extent, 1)
            text = number if rest == 1 else f"{number} / {rest}"
            if loop is not nest[0]:
                text = f"{text} % {extent}"
            self.line(f"const {self.count(loop)} = {text};")

    def teams(self, loop: For, team: Team) -> None:
        """Iterations for teams."""
        if team.number != "0":
            raise BackendError(f"thread loop {loop.var.name}: teams do not nest")
        width = self.layout.width
        teams = self.layout.threads // width
        pending, self.pending = self.pending, Pending()
        extent = extent_of(loop)
        with self.braces("" if extent == teams else f"if (gc_team < {extent})"):
            self.line(f"const {self.count(loop)} = gc_team;")
            self.team = Team(width, "gc_lane", "__syncwarp(gc_mask);", "gc_mask", teams, "gc_team")
            self.block(loop.body)
        self.team, self.pending = team, pending

    # ------------------------------------------------------------------------------------- what other threads hold

    def together(self, value: Expr, spell: Callable[[Expr], str] | None = None) -> str:
        """A value that all threads of a team compute alike, or a thread for itself."""
        self.fetch_together((value,))
        text = (spell or self.scope.value)(value)
        self.forget()
        return text

    def forget(self) -> None:
        """What other threads held is known no longer, but for what was read in front of a thread loop."""
        if self.team is not None:
            self.scope.fetched.clear()

    def fetch_together(self, values: tuple[Expr, ...]) -> None:
        """Elements that one thread of the team holds and all of them want."""
        if self.team is None:
            return
        for load in dict.fromkeys(load for value in values for load in loads(value)):
            if self._is_distributed(load):
                self._fetch(load, f"__shfl_sync({self.team.mask}, {{}}, {self.scope.place(load.index[0])}, {{}})")

    def fetch_across(self, loop: For, team: Team) -> None:
        """Elements of other threads that the threads of a loop want."""
        for load in dict.fromkeys(load for s in walk(loop.body) for e in expressions(s) for load in loads(e)):
            if self._is_distributed(load) and load.index[0] != loop.var:
                ahead = distance(load.index[0], loop.var)
                if isinstance(load.index[0], Const):
                    self._fetch(load, f"__shfl_sync({team.mask}, {{}}, {load.index[0].value}, {{}})")
                else:
                    self._fetch(load, f"__shfl_down_sync({team.mask}, {{}}, {ahead}, {{}})")

    def _is_distributed(self, load: Load) -> bool:
        place = self.scope.places.get(load.buffer.name)
        return place is not None and place.held == 1

    def _fetch(self, load: Load, call: str) -> None:
        assert self.team is not None
        name, held = f"gc_other{self.fetches}", self.scope.places[load.buffer.name].text
        self.fetches += 1
        self.line(f"const {memory(load.dtype)} {name} = {call.format(held, min(self.team.size, 32))};")
        self.scope.fetched[load] = f"({name} != 0)" if load.dtype.is_bool else name


# ------------------------------------------------------------------------------------------------------------ details


def touched(statements: tuple[Stmt, ...], alone: bool = False) -> tuple[set[str], set[str]]:
    """Names of the buffers read and written."""
    reads: set[str] = set()
    writes: set[str] = set()
    for statement in statements if alone else walk(statements):
        reads |= {load.buffer.name for expr in expressions(statement) for load in loads(expr)}
        if isinstance(statement, Store):
            writes.add(statement.buffer.name)
        elif isinstance(statement, Accumulate):
            found = {buffer.name for buffer, _ in statement.targets}
            reads, writes = reads | found, writes | found
    return reads, writes
