"""Loop-IR statements to LLVM control flow.

Loops are rotated (test at the bottom) with a phi for the counter. A `vector` loop becomes straight code over lanes: a
power of two of them, the surplus masked off. Loops of kind `parallel` below the top level run serially.
"""

from collections.abc import Callable, Mapping
from typing import Any

from graphc.core.dtypes import bool_, int64
from graphc.core.errors import BackendError
from graphc.core.records import dataclass
from graphc.kernel.affine import flat_index
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
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
)
from graphc_llvm.accumulate import combine
from graphc_llvm.expressions import Place, Scope
from graphc_llvm.guards import conditions_of_use, has_clamp
from graphc_llvm.runtime_code import LIBRARY_PREFIX
from graphc_llvm.transpose import store_rows, transposed_loads, transposed_stores
from graphc_llvm.types import memory
from graphc_llvm.values import Linear, Value, emitted, integer, spread

STACK_LIMIT = 16 * 1024  # bytes; larger worker scratch lies in the thread's heap scratch
MAX_LANES = 64


@dataclass(slots=True)
class Scratch:
    """Heap scratch of one thread: `pointer` is its start, `top` the bytes taken, `peak` the most ever taken."""

    pointer: str
    top: int = 0
    peak: int = 0

    def take(self, nbytes: int) -> int:
        """The offset of a fresh aligned block."""
        offset = self.top
        self.top += -(-nbytes // 64) * 64
        self.peak = max(self.peak, self.top)
        return offset


class StatementEmitter:
    """Emits statements into one function, and notes which lines store to which buffer."""

    def __init__(self, scope: Scope, scratch: Scratch) -> None:
        self.scope = scope
        self.b = scope.builder
        self.scratch = scratch

    def block(self, statements: tuple[Stmt, ...]) -> None:
        """Statements in order; scratch taken inside is given back at the end."""
        top = self.scratch.top
        position = 0
        if self.scope.lanes > 1 and any(type(s) is Let and has_clamp(s.value) for s in statements):
            self.scope.guards |= conditions_of_use(statements)
        while position < len(statements):
            statement, count = statements[position], 0
            if self.scope.lanes > 1 and type(statement) is Store:
                count = self._interleaved(statements[position : position + 4])
            if not count:
                _EMIT[type(statement)](self, statement)
            position += count or 1
        self.scratch.top = top

    def _interleaved(self, statements: tuple[Stmt, ...]) -> int:
        """Emit stores whose lanes interleave, `a[k * lane + 0] = x; a[k * lane + 1] = y; ...`, as one store of shuffled
        vectors. Returns how many stores that were.
        """
        first = statements[0]
        if not isinstance(first, Store) or len(statements) < 2 or not isinstance(statements[1], Store):
            return 0
        scope = self.scope
        if scope.mask != scope.padding or scope.places[first.buffer.name].lanes > 1 or first.buffer.dtype.is_bool:
            return 0
        offset = scope.offset(first.buffer, first.index)
        k = offset.step or 0
        group = statements[:k]
        if k not in (2, 4) or len(group) < k or not all(_follows(first, s, n) for n, s in enumerate(group)):
            return 0
        self.b.note(first.buffer.name)
        values = [scope.evaluate(s.value) for s in group if isinstance(s, Store)]
        scope.store_interleaved(first.buffer, offset, values)
        return k

    def _let(self, let: Let) -> None:
        if let.value.dtype is int64 or let.value.dtype is bool_:
            self.scope.lets[let.var.name] = let.value
        self.scope.conditions = self.scope.guards.get(let.var.name, ())
        self.scope.values[let.var.name] = self.scope.lazily(let.value)
        self.scope.conditions = ()

    def _store(self, store: Store) -> None:
        self.b.note(store.buffer.name)
        self.scope.store(store.buffer, store.index, self.scope.evaluate(store.value))

    def _accumulate(self, statement: Accumulate) -> None:
        self.b.note(statement.targets[0][0].name)
        combine(self.scope, statement.targets, statement.values, statement.combine)

    def _call_library(self, statement: CallLibrary) -> None:
        """The linker finds the function (`codegen.link`)."""
        pointers = [("ptr", self.scope.places[buffer.name].pointer) for buffer in statement.buffers]
        self.b.call(f"{LIBRARY_PREFIX}{statement.function}", "void", pointers)

    def allocate(self, buffer: Buffer) -> None:
        """A stack slot or heap scratch; inside a vector loop one copy per lane."""
        lanes = self.scope.lanes
        count = max(buffer.size, 1) * lanes
        nbytes = count * buffer.dtype.itemsize
        if nbytes > STACK_LIMIT:
            pointer = self.b.pointer(self.scratch.pointer, str(self.scratch.take(nbytes)))
        else:
            pointer = self.b.slot(memory(buffer.dtype), count)
        self.scope.places[buffer.name] = Place(pointer, lanes, count)

    # ------------------------------------------------------------------------------------------------------- loops

    def _for(self, loop: For) -> None:
        if loop.kind == "unroll":
            self._unrolled(loop, self._constant(loop.extent, "unroll"))
        elif loop.kind == "vector":
            self._vector(loop)
        else:
            self.counted(loop, integer(0), self.scope.evaluate(loop.extent))

    def _unrolled(self, loop: For, steps: int) -> None:
        """Every step; what is read along the steps and across the lanes is read beforehand, as rows."""
        scope = self.scope
        squares = transposed_loads(scope, loop, steps) if scope.lanes > 1 else {}
        delayed = transposed_stores(scope, loop, steps) if scope.lanes > 1 else []
        values: list[list[str]] = [[] for _ in delayed]
        body = tuple(s for s in loop.body if s not in delayed)
        before = scope.read
        for step in range(steps):
            scope.values[loop.var.name] = integer(step)
            if squares:
                scope.read = before | {load: rows[step] for load, rows in squares.items()}
            self.block(body)
            for store, of_steps in zip(delayed, values):
                of_steps.append(scope.to_memory(scope.evaluate(store.value), scope.lanes))
        scope.read = before
        for store, of_steps in zip(delayed, values):
            self.b.note(store.buffer.name)
            store_rows(scope, store, loop, of_steps)

    def _constant(self, extent: Expr, kind: str) -> int:
        value = self.scope.evaluate(extent).known
        if value is None:
            raise BackendError(f"a loop of kind {kind!r} needs a constant extent")
        return value

    def _vector(self, loop: For) -> None:
        extent = self._constant(loop.extent, "vector")
        if self.scope.lanes > 1:
            raise BackendError("vector loops do not nest")
        if extent == 0:
            return
        if extent > MAX_LANES:
            raise BackendError(f"a vector loop has at most {MAX_LANES} iterations, not {extent}")
        if extent == 1:
            self.scope.values[loop.var.name] = integer(0)
            self.block(loop.body)
            return
        lanes = 1 << (extent - 1).bit_length()
        self.scope.lanes, self.scope.active = lanes, extent
        if lanes != extent:
            bits = ", ".join(f"i1 {'true' if lane < extent else 'false'}" for lane in range(lanes))
            self.scope.mask = self.scope.padding = f"<{bits}>"
        self.scope.values[loop.var.name] = self.scope.lane_numbers()
        self.block(loop.body)
        self.scope.lanes, self.scope.active, self.scope.mask, self.scope.padding = 1, 1, None, None

    def counted(
        self, loop: For, begin: Value | Linear, end: Value | Linear, first: Callable[[], None] | None = None
    ) -> None:
        """Iterations `begin` to `end` of a loop, one after the other; `first` emits what each begins with."""
        if not end.uniform:
            self._ragged(loop, end)
            return
        if begin.known is not None and end.known is not None:
            if begin.known >= end.known:
                return
            if end.known - begin.known == 1:
                self.scope.values[loop.var.name] = begin
                self.block(loop.body)
                return
        start, stop = emitted(self.b, begin), emitted(self.b, end)
        if start.known is not None and stop.known is not None:
            self._rotated(loop, start, stop, None, first)
            return
        enter, leave = self.b.fresh("enter"), self.b.fresh("leave")
        self.b.branch_if(self.b.emit(f"icmp slt i64 {start.text}, {stop.text}"), enter, leave)
        self.b.start(enter)
        with self.b.branching():
            self._rotated(loop, start, stop, None, first)
        self.b.branch(leave)
        self.b.start(leave)

    def _rotated(
        self, loop: For, begin: Value, end: Value, lane_ends: str | None, first: Callable[[], None] | None = None
    ) -> None:
        """The loop itself, known to run at least once. `lane_ends`: lanes past their own end are masked off."""
        b, scope = self.b, self.scope
        before, body, after = b.block, b.fresh("loop"), b.fresh("after")
        with b.loop():
            b.branch(body)
            b.start(body)
            counter, following = b.counter(), b.counter()
            if isinstance(loop.extent, Const):
                b.bound(counter, int(loop.extent.value))
            phi_at = len(b.lines)
            b.lines.append("")  # the phi needs the label of the last block of the body
            scope.values[loop.var.name] = Linear(0, ((counter, 1),))
            mask, outer = scope.mask, (scope.counter, scope.fetched)
            scope.counter, scope.fetched = counter, {}
            if lane_ends is not None:
                kind = f"<{scope.lanes} x i64>"
                ahead = b.emit(f"icmp sgt {kind} {lane_ends}, {b.splat('i64', counter, scope.lanes)}")
                scope.mask = scope.both(mask, ahead)
            if first is not None:
                first()
            self.block(loop.body)
            scope.mask = mask
            scope.fetch_ahead()
            scope.counter, scope.fetched = outer
            b.lines[phi_at] = f"  {counter} = phi i64 [ {begin.text}, %{before} ], [ {following}, %{b.block} ]"
            b.do(f"{following} = add nsw i64 {counter}, 1")
            b.branch_if(b.emit(f"icmp slt i64 {following}, {end.text}"), body, after)
        b.start(after)

    def _ragged(self, loop: For, end: Value | Linear) -> None:
        """A loop whose extent differs between lanes runs to the longest; finished lanes are masked off."""
        b, scope, lanes = self.b, self.scope, self.scope.lanes
        kind = f"<{lanes} x i64>"
        ends = spread(b, end, lanes)
        if scope.mask is not None:
            ends = b.emit(f"select <{lanes} x i1> {scope.mask}, {kind} {ends}, {kind} zeroinitializer")
        longest = b.call(f"llvm.vector.reduce.smax.v{lanes}i64", "i64", [(kind, ends)])
        enter, leave = b.fresh("enter"), b.fresh("leave")
        b.branch_if(b.emit(f"icmp sgt i64 {longest}, 0"), enter, leave)
        b.start(enter)
        with b.branching():
            self._rotated(loop, Value(int64, "0"), Value(int64, longest), ends)
        b.branch(leave)
        b.start(leave)

    def _while(self, loop: While) -> None:
        b, scope, mask = self.b, self.scope, self.scope.mask
        if loop.bound <= 0:
            return
        before, head, body, leave = b.block, b.fresh("while"), b.fresh("body"), b.fresh("leave")
        with b.loop():
            b.branch(head)
            b.start(head)
            counter, following = b.counter(), b.counter()
            phi_at = len(b.lines)
            b.lines.append("")
            cond = scope.evaluate(loop.cond)
            go = cond.text
            if not cond.uniform:
                scope.mask = scope.both(mask, cond.text)
                go = scope.some(scope.mask)
            below = b.emit(f"icmp slt i64 {counter}, {loop.bound}")
            b.branch_if(b.emit(f"and i1 {go}, {below}"), body, leave)
            b.start(body)
            self.block(loop.body)
            scope.mask = mask
            b.lines[phi_at] = f"  {counter} = phi i64 [ 0, %{before} ], [ {following}, %{b.block} ]"
            b.do(f"{following} = add nsw i64 {counter}, 1")
            b.branch(head)
        b.start(leave)

    # -------------------------------------------------------------------------------------------------- conditions

    def _if(self, statement: If) -> None:
        cond = self.scope.evaluate(statement.cond)
        if cond.uniform:
            self._guarded(cond.text, statement.then, statement.orelse)
            return
        mask, kind = self.scope.mask, f"<{self.scope.lanes} x i1>"
        self._masked(self.scope.both(mask, cond.text), statement.then)
        if statement.orelse:
            inverse = self.b.emit(f"xor {kind} {cond.text}, splat (i1 true)")
            self._masked(self.scope.both(mask, inverse), statement.orelse)

    def _masked(self, mask: str, statements: tuple[Stmt, ...]) -> None:
        outer = self.scope.mask
        self.scope.mask = mask
        self._guarded(self.scope.some(mask), statements, ())
        self.scope.mask = outer

    def _guarded(self, cond: str, then: tuple[Stmt, ...], orelse: tuple[Stmt, ...]) -> None:
        b = self.b
        yes, no, join = b.fresh("then"), b.fresh("else"), b.fresh("join")
        b.branch_if(cond, yes, no if orelse else join)
        b.start(yes)
        with b.branching():
            self.block(then)
        b.branch(join)
        if orelse:
            b.start(no)
            with b.branching():
                self.block(orelse)
            b.branch(join)
        b.start(join)


def _follows(first: Store, statement: Stmt, distance: int) -> bool:
    """Whether a store goes to the place `distance` elements after that of `first`, and stores a named value."""
    if not isinstance(statement, Store) or statement.buffer != first.buffer:
        return False
    if not isinstance(statement.value, Var | Const):
        return False
    apart = flat_index(statement.buffer, statement.index) - flat_index(first.buffer, first.index)
    return apart.is_const and apart.const == distance


# A table by type, as every statement comes here.
_EMIT: Mapping[type, Callable[[StatementEmitter, Any], None]] = {
    Let: StatementEmitter._let,
    Store: StatementEmitter._store,
    Accumulate: StatementEmitter._accumulate,
    Alloc: lambda emitter, alloc: emitter.allocate(alloc.buffer),
    Prefetch: lambda emitter, prefetch: emitter.scope.prefetch_place(prefetch.buffer, prefetch.index),
    CallLibrary: StatementEmitter._call_library,
    If: StatementEmitter._if,
    While: StatementEmitter._while,
    For: StatementEmitter._for,
}
