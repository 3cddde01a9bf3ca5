"""Loop-IR expressions to LLVM instructions.

`Scope` is where an expression is read: the values of names, the addresses of buffers, the number of lanes and the
mask of active lanes (None: all). The mask is never empty: a masked block is entered only when some lane is active.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from graphc.core.dtypes import DType, bool_, int64
from graphc.core.errors import BackendError
from graphc.core.records import dataclass
from graphc.kernel import affine
from graphc.kernel.affine import Facts
from graphc.kernel.ir import (
    Binary,
    Bitcast,
    Buffer,
    Cast,
    Compare,
    Const,
    DotPair,
    Expr,
    Fma,
    Load,
    Select,
    Unary,
    Var,
    index,
)
from graphc_llvm import arithmetic, operations, spans
from graphc_llvm.builder import Builder
from graphc_llvm.guards import Guards, clamped, with_guard
from graphc_llvm.types import constant, memory, register, suffix, widen, wrap
from graphc_llvm.values import Linear, Sum, Value, emitted, linear, scaled, spread
from graphc_llvm.values import add as difference

LINE_BYTES, LINES_AHEAD = 64, 64  # lines prefetched at a time: more of them push each other out of the first cache
_TO_FIRST_CACHE = (("i32", "0"), ("i32", "3"), ("i32", "1"))
_TO_SECOND_CACHE = (("i32", "0"), ("i32", "2"), ("i32", "1"))
FAR, STEPS_AHEAD = 512, 12  # bytes from one iteration to the next that prefetching pays for, and how early it asks


@dataclass(frozen=True, slots=True)
class Place:
    """Where a buffer lies. `lanes` > 1: every element is a row of that many private copies, one per lane.

    `private`: elements (copies included) of scratch no other thread sees; 0 for memory that others see.
    """

    pointer: str
    lanes: int = 1
    private: int = 0


@dataclass(frozen=True, slots=True)
class Fetch:
    """A place for a prefetch, `step` bytes per iteration and `ahead` iterations at most ahead."""

    lines: list[str]
    step: int
    ahead: int
    nbytes: int  # that are read there, of one line


@dataclass(slots=True)
class Scope:
    """What names mean at the current point of a function. Names are unique in a kernel, so dictionaries suffice."""

    builder: Builder
    values: dict[str, Value | Linear] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    lanes: int = 1
    mask: str | None = None
    padding: str | None = None  # the mask of a vector loop whose extent is no power of two
    active: int = 1  # lanes of the vector loop that exist
    read: dict[Load, Value] = field(default_factory=dict)  # loads whose value is known at this point
    counter: str | None = None  # the register that counts the innermost loop
    lets: dict[str, Expr] = field(default_factory=dict)  # what conditions and indices are made of
    guards: dict[str, Guards] = field(default_factory=dict)  # the conditions under which what has a name is used
    conditions: Guards = ()  # under which what is being emitted is used
    fetched: dict[str, Fetch] = field(default_factory=dict)  # what is prefetched in it, by its address now
    # Where accesses lie, by buffer and identity of the index (which is kept): a constant and summands with factors.
    _sums: dict[tuple[str, int], tuple[tuple[Expr, ...], int, tuple[tuple[Expr, int], ...]]] = field(
        default_factory=dict
    )

    def evaluate(self, expr: Expr) -> Value:
        """Emit `expr`."""
        return emitted(self.builder, self.lazily(expr))

    def lazily(self, expr: Expr) -> Value | Linear:
        """Emit `expr`, but for sums of integers that an address may take as they are."""
        return _EMIT[type(expr)](self, expr)

    # ------------------------------------------------------------------------------------------------------ memory

    def offset(self, buffer: Buffer, index: tuple[Expr, ...]) -> Value | Linear:
        """The element number of `buffer[index]`, counting the private copies of other lanes."""
        copies = self.places[buffer.name].lanes
        # By identity, which the sum keeps from being used again: unrolled loops come here for each of their steps.
        known = self._sums.get((buffer.name, id(index)))
        if known is None:
            parts: list[tuple[Expr, int]] = []
            constant, stride = 0, copies
            for expr, extent in zip(reversed(index), reversed(buffer.shape), strict=True):
                constant += _collect(expr, stride, parts)
                stride *= extent
            known = self._sums[buffer.name, id(index)] = index, constant, tuple(parts)
        _, constant, summands = known
        whole = Sum(constant) if copies == 1 else Sum(constant, step=1, lanes=self.lanes)
        for expr, factor in summands:
            value = self.values[expr.name] if type(expr) is Var else self.lazily(expr)
            if type(value) is Linear:
                whole.add(value, factor)
            else:
                self._add_value(value, factor, whole)
        result: Value | Linear = whole.result()
        for value in whole.others:
            result = operations.binary(self.builder, "add", result, value)
        return result

    def _add_value(self, value: Value | Linear, factor: int, whole: Sum) -> None:
        """Add `factor` times an integer of any width."""
        if value.dtype is not int64:
            value = operations.convert(self.builder, arithmetic.cast, emitted(self.builder, value), int64)
        found = linear(value)
        if found is not None:
            whole.add(found, factor)
        else:
            whole.others.append(emitted(self.builder, operations.binary(self.builder, "mul", value, Linear(factor))))

    def lane_numbers(self) -> Linear:
        """0, 1, 2, ... over the lanes."""
        return Linear(0, (), 1, self.lanes)

    def address(self, buffer: Buffer, offset: Value | Linear) -> str:
        """The address of a uniform element, or of the first lane of a linear run."""
        b, element = self.builder, memory(buffer.dtype)
        pointer = self.places[buffer.name].pointer
        sum_ = offset if type(offset) is Linear else linear(offset)
        if sum_ is None:
            raise BackendError(f"{buffer.name}: one address for lanes that lie apart")
        if sum_.terms:
            key = (pointer, sum_.terms)
            base = b.known(key)
            if base is None:
                base = pointer
                for part in scaled(b, sum_.terms):
                    base = b.pure(f"getelementptr {element}, ptr {base}, i64 {part}", base, part)
                b.know(key, base)
            pointer = base
        constant = wrap(sum_.constant, 64)
        return b.near(f"getelementptr {element}, ptr {pointer}, i64 {constant}", pointer) if constant else pointer

    def addresses(self, buffer: Buffer, offset: Value | Linear) -> str:
        """One address per lane."""
        pointer = self.places[buffer.name].pointer
        positions = spread(self.builder, offset, self.lanes)
        kind = f"<{self.lanes} x i64>"
        return self.builder.emit(f"getelementptr {memory(buffer.dtype)}, ptr {pointer}, {kind} {positions}")

    def writable(self, buffer: Buffer, offset: Value | Linear) -> bool:
        """Whether the run of lanes from `offset` on may be read and written whole, masked lanes too.

        Plain accesses let LLVM keep the buffer in registers; masked ones do not.
        """
        place = self.places[buffer.name]
        if place.private == 0 or not isinstance(offset, Linear) or offset.step != 1:
            return False
        if place.lanes == self.lanes:
            return True
        start = offset.base.known
        return start is not None and 0 <= start <= place.private - self.lanes

    def active_lanes(self) -> str:
        """The mask as a register or constant."""
        return self.mask or "splat (i1 true)"

    def _load(self, buffer: Buffer, index: tuple[Expr, ...]) -> Value:
        if self.read and (known := self.read.get(Load(buffer, index))) is not None:
            return known
        if self.conditions and (value := self._guarded(Load(buffer, index))) is not None:
            return value
        offset = self.offset(buffer, index)
        element = memory(buffer.dtype)
        align = f"align {2 if buffer.is_view else buffer.dtype.itemsize}"
        if offset.uniform:
            return self._from_memory(buffer.dtype, self._read(buffer, offset, element, align), 1)
        lanes = self.lanes
        vector = widen(element, lanes)
        if offset.step == 1:
            self.prefetch(buffer, offset, FAR, STEPS_AHEAD)
        if offset.step == 1 and (self.mask is None or self.writable(buffer, offset)):
            return self._from_memory(buffer.dtype, self._read(buffer, offset, vector, align), lanes)
        if offset.step == 2 and self.mask is None and _is_half_of_pair(buffer, index):
            return self._from_memory(buffer.dtype, self._half_of_pairs(buffer, index, element, align), lanes)
        if isinstance(offset, Linear) and spans.is_short(offset.step) and self._reads_whole(buffer):
            return self._from_memory(buffer.dtype, self._span(buffer, offset, None), lanes)
        spelled = suffix(buffer.dtype, lanes, in_memory=True)
        rest = [(f"<{lanes} x i1>", self.active_lanes()), (vector, "zeroinitializer")]
        if offset.step == 1:
            where = (f"ptr {align}", self.address(buffer, offset))
            text = self.builder.call(f"llvm.masked.load.{spelled}.p0", vector, [where, *rest])
        else:
            where = (f"<{lanes} x ptr> {align}", self.addresses(buffer, offset))
            text = self.builder.call(f"llvm.masked.gather.{spelled}.v{lanes}p0", vector, [where, *rest])
        return self._from_memory(buffer.dtype, text, lanes)

    def _half_of_pairs(self, buffer: Buffer, idx: tuple[Expr, ...], element: str, align: str) -> str:
        """The elements of one kind of a run of pairs, which is read whole: the other kind is wanted as a rule, too."""
        whole = widen(element, 2 * self.lanes)
        pairs = self._read(buffer, self.offset(buffer, (*idx[:-1], index(0))), whole, align)
        (part,) = (expr.value for expr in idx[-1:] if isinstance(expr, Const))
        order = ", ".join(f"i32 {2 * lane + int(part)}" for lane in range(self.lanes))
        return self.builder.emit(f"shufflevector {whole} {pairs}, {whole} poison, <{self.lanes} x i32> <{order}>")

    def _reads_whole(self, buffer: Buffer) -> bool:
        """Whether all lanes read, and what lies between their elements is of the buffer."""
        return self.mask == self.padding and self.places[buffer.name].lanes == 1

    def _span(self, buffer: Buffer, offset: Linear, bounds: spans.Bounds | None) -> str:
        """Elements that lie near each other, by whole vectors. bounds: of the elements that may be read."""
        b, lanes, element, step = self.builder, self.lanes, memory(buffer.dtype), offset.step or 0
        align = f"align {2 if buffer.is_view else buffer.dtype.itemsize}"
        span = spans.span(step, self.active, lanes)
        low = min(step, 0) * (self.active - 1)
        vector, spelled = widen(element, lanes), suffix(buffer.dtype, lanes, in_memory=True)
        parts: list[str] = []
        for start in span.starts:
            at = Linear(offset.constant + low + start, offset.terms)
            count = min(span.length - start, lanes)
            mask = spans.first_lanes(count, lanes)
            if bounds is not None:
                mask = spans.in_bounds(b, bounds, low + start, count, lanes)
            if mask == spans.first_lanes(lanes, lanes):
                parts.append(self._read(buffer, at, vector, align))
                continue
            where = (f"ptr {align}", self.address(buffer, at))
            rest = [(f"<{lanes} x i1>", mask), (vector, "zeroinitializer")]
            parts.append(b.call(f"llvm.masked.load.{spelled}.p0", vector, [where, *rest]))
        return span.picked(b, element, parts)

    def _guarded(self, load: Load) -> Value | None:
        """A load that is used in lanes only in which its clamped index is in bounds; None: no better than others."""
        buffer = load.buffer
        if self.lanes == 1 or not self._reads_whole(buffer):
            return None
        plain: list[Expr] = []
        bounds: spans.Bounds | None = None
        step: int | None = None
        for expr in load.index:
            inside = clamped(expr)
            first = None if inside is None else self.lazily(inside.inside)
            if inside is None or first is None or first.uniform:
                plain.append(expr)
                continue
            if bounds is not None or not isinstance(first, Linear):
                return None
            known = Facts({}, self.lets)
            for cond, holds in self.conditions:
                known = known.with_guard(cond, holds)
            if not inside.allows(affine.bounds(inside.inside, known)):
                return None
            bounds, step = spans.Bounds(first, inside.low, inside.high), first.step
            plain.append(inside.free)
        if bounds is None:
            return None
        offset = self.offset(buffer, tuple(plain))
        if not isinstance(offset, Linear) or offset.step != step or not (step == 1 or spans.is_short(step)):
            return None
        return self._from_memory(buffer.dtype, self._span(buffer, offset, bounds), self.lanes)

    def _compare(self, compare: Compare) -> Value:
        """Numbers that grow from lane to lane are compared with those that do not in few bits."""
        lhs, rhs = self.lazily(compare.lhs), self.lazily(compare.rhs)
        if lhs.dtype is int64 and not (lhs.uniform and rhs.uniform):
            x, y = linear(lhs), linear(rhs)
            if x is not None and y is not None and all(spans.is_exact(self.builder, side) for side in (x, y)):
                apart = difference(x, y, -1)
                mask = spans.compared(self.builder, compare.op, apart, self.lanes) if apart.step else None
                if mask is not None:
                    return Value(bool_, mask, self.lanes)
        return operations.compare(self.builder, compare.op, emitted(self.builder, lhs), emitted(self.builder, rhs))

    def _select(self, select: Select) -> Value:
        """What is read for one side only may be out of bounds in the lanes of the other one."""
        cond = self.evaluate(select.cond)
        sides: list[Value] = []
        around = self.conditions
        for side, holds in ((select.on_true, True), (select.on_false, False)):
            self.conditions = with_guard(around, select.cond, holds)
            sides.append(self.evaluate(side))
        self.conditions = around
        return operations.select(self.builder, cond, *sides)

    def _read(self, buffer: Buffer, offset: Value | Linear, kind: str, align: str) -> str:
        """What lies at `offset`."""
        text = f"load {kind}, ptr {self.address(buffer, offset)}, {align}"
        if self._may_overlap(buffer, offset):
            return self.builder.emit(text)
        known = self._remembered(buffer)
        if text not in known:
            known[text] = (self.builder.emit(text),)
        return known[text][0]

    def remembered(self, buffer: Buffer, what: object, read: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """What is read of a buffer: once in a basic block, as long as nothing is stored that may lie there."""
        known, key = self._remembered(buffer), (buffer.name, what)
        if key not in known:
            known[key] = read()
        return known[key]

    def _remembered(self, buffer: Buffer) -> dict[object, tuple[str, ...]]:
        """Registers, by what was read or stored. Buffers with another dictionary never overlap; parameters may: an
        output can lie where an input does.
        """
        place, known = self.places[buffer.name], self.builder.remembered
        memory = place.pointer if place.private else ""
        if memory not in known:
            known[memory] = {}
        return known[memory]

    def _may_overlap(self, buffer: Buffer, offset: Value | Linear) -> bool:
        """Of private copies, rows at known places are the same or apart; others may be any of them."""
        return self.places[buffer.name].lanes > 1 and (not isinstance(offset, Linear) or bool(offset.terms))

    def forget(self, buffer: Buffer) -> None:
        """Something is stored to this buffer."""
        self._remembered(buffer).clear()

    def _write(self, buffer: Buffer, offset: Value | Linear, kind: str, text: str) -> None:
        """Store a register, and remember it."""
        where = f"ptr {self.address(buffer, offset)}, align {buffer.dtype.itemsize}"
        self.builder.do(f"store {kind} {text}, {where}")
        may_overlap = self._may_overlap(buffer, offset)
        if may_overlap or self.places[buffer.name].lanes == 1:
            self.forget(buffer)
        if not may_overlap:
            self._remembered(buffer)[f"load {kind}, {where}"] = (text,)

    def prefetch(self, buffer: Buffer, offset: Value | Linear, least: int, ahead: int) -> None:
        """Ask for what the innermost loop reads here `ahead` iterations later, if it moves by `least` bytes or more.

        The processor follows lines in order by itself, but not across pages. Beyond the buffer it does no harm.
        """
        if self.counter is None or not isinstance(offset, Linear) or self.places[buffer.name].private:
            return
        by = next((factor for name, factor in offset.terms if name == self.counter), 0)
        if abs(by) * buffer.dtype.itemsize < least:
            return
        where = self.address(buffer, offset)
        if where not in self.fetched:
            nbytes = min(self.lanes * buffer.dtype.itemsize, LINE_BYTES)
            fetch = self.fetched[where] = Fetch([], by * buffer.dtype.itemsize, ahead, nbytes)
            self.builder.lines.append(fetch.lines)

    def fetch_ahead(self) -> None:
        """At the end of the innermost loop: write its prefetches, all that early that together they are few lines."""
        b = self.builder
        lines = max(sum(fetch.nbytes for fetch in self.fetched.values()) // LINE_BYTES, 1)
        for where, fetch in self.fetched.items():
            ahead = max(min(fetch.ahead, LINES_AHEAD // lines), 1)
            later = "%" + b.fresh()
            fetch.lines.append(f"  {later} = getelementptr i8, ptr {where}, i64 {ahead * fetch.step}")
            fetch.lines.append(f"  {b.calling('llvm.prefetch.p0', 'void', [('ptr', later), *_TO_FIRST_CACHE])}")

    def prefetch_place(self, buffer: Buffer, index: tuple[Expr, ...]) -> None:
        """Bring the line of an element, that of the first lane, to the second cache."""
        offset = self.offset(buffer, index)
        if not self.places[buffer.name].private and linear(offset) is not None:
            where = ("ptr", self.address(buffer, offset))
            self.builder.call("llvm.prefetch.p0", "void", [where, *_TO_SECOND_CACHE])

    def _from_memory(self, dtype: DType, text: str, lanes: int) -> Value:
        if dtype.is_bool:
            kind = widen("i8", lanes)
            text = self.builder.emit(f"icmp ne {kind} {text}, {'0' if lanes == 1 else 'zeroinitializer'}")
        return Value(dtype, text, lanes)

    def store(self, buffer: Buffer, index: tuple[Expr, ...], value: Value) -> None:
        """Emit `buffer[index] = value` in the active lanes; where lanes meet, the last one stays."""
        offset = self.offset(buffer, index)
        b, element = self.builder, memory(buffer.dtype)
        align = f"align {buffer.dtype.itemsize}"
        if offset.uniform and value.uniform:
            self._write(buffer, offset, element, self.to_memory(value, 1))
            return
        lanes = self.lanes
        vector, text = widen(element, lanes), self.to_memory(value, lanes)
        if offset.uniform and self.mask is None:
            self._write(buffer, offset, element, b.emit(f"extractelement {vector} {text}, i64 {lanes - 1}"))
            return
        if self.mask is not None and isinstance(offset, Linear) and self.writable(buffer, offset):
            text = self._blend(buffer, offset, vector, text)
        elif offset.step == 1 and self.mask is not None and self._may_mask_store(buffer):
            self.forget(buffer)
            where, mask = (f"ptr {align}", self.address(buffer, offset)), (f"<{lanes} x i1>", self.mask)
            b.call(f"llvm.masked.store.{suffix(buffer.dtype, lanes, True)}.p0", "void", [(vector, text), where, mask])
            return
        if offset.step == 1 and (self.mask is None or self.writable(buffer, offset)):
            self._write(buffer, offset, vector, text)
            return
        self.forget(buffer)
        spelled, mask = suffix(buffer.dtype, lanes, in_memory=True), (f"<{lanes} x i1>", self.active_lanes())
        where = (f"<{lanes} x ptr> {align}", self.addresses(buffer, offset))
        b.call(f"llvm.masked.scatter.{spelled}.v{lanes}p0", "void", [(vector, text), where, mask])

    def _may_mask_store(self, buffer: Buffer) -> bool:
        """LLVM 22 stores a truncated vector under a mask of one lane too wide: it overwrites the element after it."""
        return buffer.dtype.bits >= 32 or self.mask == self.padding

    def store_interleaved(self, buffer: Buffer, offset: Value | Linear, values: Sequence[Value]) -> None:
        """Emit the stores of one value per element of a run: lane l of value number n goes to `offset + l * k + n`."""
        b, element, lanes = self.builder, memory(buffer.dtype), self.lanes
        parts, count = [spread(b, value, lanes) for value in values], lanes
        while len(parts) > 1:  # joined as they are; all elements then change places at once
            both = ", ".join(f"i32 {n}" for n in range(2 * count))
            kind = f"<{count} x {element}>"
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [b.emit(f"shufflevector {kind} {x}, {kind} {y}, <{2 * count} x i32> <{both}>") for x, y in pairs]
            count *= 2
        k, kind = len(values), f"<{count} x {element}>"
        order = ", ".join(f"i32 {n % k * lanes + n // k}" for n in range(count))
        text = b.emit(f"shufflevector {kind} {parts[0]}, {kind} poison, <{count} x i32> <{order}>")
        self.forget(buffer)
        pointer, align = self.address(buffer, offset), f"align {buffer.dtype.itemsize}"
        if self.active == lanes:
            b.do(f"store {kind} {text}, ptr {pointer}, {align}")
            return
        mask = (f"<{count} x i1>", spans.first_lanes(self.active * k, count))
        spelled = suffix(buffer.dtype, count, in_memory=True)
        b.call(f"llvm.masked.store.{spelled}.p0", "void", [(kind, text), (f"ptr {align}", pointer), mask])

    def _blend(self, buffer: Buffer, offset: Linear, vector: str, text: str) -> str:
        """`text` in the active lanes and what is there in the others."""
        if self.mask == self.padding and self.places[buffer.name].lanes == self.lanes:
            return text  # the copies of lanes that do not exist: nobody reads them
        old = self._read(buffer, offset, vector, f"align {buffer.dtype.itemsize}")
        return self.builder.emit(f"select <{self.lanes} x i1> {self.mask}, {vector} {text}, {vector} {old}")

    def to_memory(self, value: Value, lanes: int) -> str:
        text = spread(self.builder, value, lanes)
        if not value.dtype.is_bool:
            return text
        return self.builder.emit(f"zext {register(value.dtype, lanes)} {text} to {widen('i8', lanes)}")

    # ------------------------------------------------------------------------------------------------------- masks

    def both(self, mask: str | None, cond: str) -> str:
        """The lanes active in `mask` where `cond` holds."""
        return cond if mask is None else self.builder.emit(f"and <{self.lanes} x i1> {mask}, {cond}")

    def some(self, mask: str) -> str:
        """Whether any lane is active."""
        kind = f"<{self.lanes} x i1>"
        return self.builder.call(f"llvm.vector.reduce.or.v{self.lanes}i1", "i1", [(kind, mask)])


def _is_half_of_pair(buffer: Buffer, index: tuple[Expr, ...]) -> bool:
    """Whether an element is the first or second of the last dim, of extent 2; then the other one is in the buffer."""
    return buffer.shape[-1:] == (2,) and isinstance(index[-1], Const) and not buffer.dtype.is_bool


def _collect(expr: Expr, factor: int, parts: list[tuple[Expr, int]]) -> int:
    """`factor` times an index: the constant of it; the summands go to `parts`."""
    if type(expr) is Const and expr.dtype is int64:
        return int(expr.value) * factor
    if type(expr) is Binary and expr.op in ("add", "sub"):
        constant = _collect(expr.lhs, factor, parts)
        return constant + _collect(expr.rhs, factor if expr.op == "add" else -factor, parts)
    if type(expr) is Binary and expr.op == "mul" and type(expr.rhs) is Const:
        return _collect(expr.lhs, factor * int(expr.rhs.value), parts)
    parts.append((expr, factor))
    return 0


def _constant(scope: Scope, expr: Const) -> Value | Linear:
    return Linear(int(expr.value)) if expr.dtype is int64 else Value(expr.dtype, constant(expr.value, expr.dtype))


# A table by type, as every expression comes here.
_EMIT: Mapping[type, Callable[[Scope, Any], Value | Linear]] = {
    Const: _constant,
    Var: lambda scope, e: scope.values[e.name],
    Load: lambda scope, e: scope._load(e.buffer, e.index),
    Unary: lambda scope, e: operations.unary(scope.builder, e.op, scope.evaluate(e.x)),
    Binary: lambda scope, e: operations.binary(scope.builder, e.op, scope.lazily(e.lhs), scope.lazily(e.rhs)),
    Compare: lambda scope, e: scope._compare(e),
    Select: lambda scope, e: scope._select(e),
    Cast: lambda scope, e: operations.convert(scope.builder, arithmetic.cast, scope.evaluate(e.x), e.dtype),
    Bitcast: lambda scope, e: operations.convert(scope.builder, arithmetic.bitcast, scope.evaluate(e.x), e.dtype),
    Fma: lambda scope, e: operations.fma(scope.builder, scope.evaluate(e.a), scope.evaluate(e.b), scope.evaluate(e.c)),
    DotPair: lambda scope, e: operations.dot_pair(
        scope.builder, scope.evaluate(e.a), scope.evaluate(e.b), scope.evaluate(e.c)
    ),
}
