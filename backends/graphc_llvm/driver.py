"""The native loop over steps, one function per entry: `i64 (ptr record, i64 first, i64 start, i64 n, i64 budget)`.

It runs iterations start..n-1 of the steps first, first + 1, ...; iteration t writes its number `first + t` into the
step slot, executes the block, writes output i at `output + t * nbytes(i)`, and sets `done` to t + 1. It returns the
iterations finished when all are, when `stop` is set, or when `budget` nanoseconds have passed: then the caller looks at
signals and calls again. So a run of any length enters Python ten times a second, not once per step.

The record is an array of int64 words: see `RECORD`.

A second version of an entry reads the clock around each instruction (`Stamps`), for profiles only.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphc.plan.ir import Block, Branch, Copy, Entry, Instruction, Launch, Ref, Repeat
from graphc_llvm.builder import Builder

if TYPE_CHECKING:  # a program from the cache runs without the emitter of kernels
    from graphc_llvm.kernels import Compiled

_WORDS = (
    *("arena", "state", "constants", "step"),  # addresses of the segments
    *("inputs", "outputs"),  # addresses of tables of addresses
    *("pool", "scratch", "stride"),  # the thread pool; heap scratch of thread 0 and how far the next thread's is
    *("parallel", "clock"),  # functions of the runtime
    *("done", "stop"),  # steps finished; not zero: stop after this step
    "stamps",  # what the timed version writes: see `Stamps`
)
RECORD: Mapping[str, int] = {name: 8 * word for word, name in enumerate(_WORDS)}
RECORD_WORDS = 16


def launch_text(name: str, phases: Sequence[str], compiled: "Compiled", attributes: str = "#0") -> str:
    """`void name(ptr record, ptr args)`: the phases of a kernel in order."""
    b = Builder(set())
    field = _Reader(b)
    scratch = field("scratch", "ptr")
    shared = [field(*pair) for pair in (("pool", "ptr"), ("stride", "i64"), ("parallel", "ptr"))]
    for phase, function in zip(compiled.phases, phases, strict=True):
        if phase.extent > phase.grain:
            pool, stride, parallel = shared
            work = f"ptr @{function}, ptr %args, i64 {phase.extent}, i64 {phase.grain}"
            b.do(f"call void {parallel}(ptr {pool}, {work}, ptr {scratch}, i64 {stride})")
        else:
            b.do(f"call void @{function}(ptr %args, i64 0, i64 {phase.extent}, ptr {scratch})")
    b.do("ret void")
    return b.text(f"define void @{name}(ptr %record, ptr %args) {attributes}")


class _Reader:
    """Loads a word of the record."""

    def __init__(self, b: Builder) -> None:
        self._b = b

    def __call__(self, name: str, kind: str) -> str:
        at = self._b.pointer("%record", str(RECORD[name]))
        return self._b.emit(f"load {kind}, ptr {at}, align 8")


@dataclass(slots=True)
class Stamps:
    """What the timed version of an entry measures, known once its text is written.

    Iteration t of n adds to two int64 at `stamps + 16 * (row * n + t)`: how often the row ran, and its nanoseconds from
    one look at the clock to the next. Row 0 has nothing between its two looks: what looking costs. Row i + 1 is
    `rows[i]`: the instructions that run as one.
    """

    rows: list[tuple[Launch | Copy, ...]] = field(default_factory=list)


@dataclass(slots=True)
class _EntryEmitter:
    """Emits the block of one entry. `counters` are the enclosing `Repeat` counters."""

    b: Builder
    entry: Entry
    bases: Mapping[str, str]
    launchers: Mapping[int, str]  # by identity of the launch
    args: str
    iteration: str
    counters: list[str]
    clock: "_Clock | None" = None

    def block(self, block: Block) -> None:
        for instruction in block.instructions:
            self.instruction(instruction)

    def instruction(self, instruction: Instruction) -> None:
        match instruction:
            case Launch():
                with self._timed(instruction):
                    self._launch(instruction)
            case Copy(source, target):
                with self._timed(instruction):
                    self._copy(source, target)
            case Repeat(count, body):
                self._repeat(count, body)
            case Branch():
                self._branch(instruction)

    def _timed(self, *instructions: Launch | Copy) -> AbstractContextManager[None]:
        """The timed version adds to the row of these instructions what is emitted inside."""
        return nullcontext() if self.clock is None else self.clock.around(instructions)

    def _launch(self, launch: Launch) -> None:
        for position, ref in enumerate((*launch.args, *launch.scratch)):
            slot = self.b.pointer(self.args, str(8 * position))
            self.b.do(f"store ptr {self.address(ref)}, ptr {slot}, align 8")
        self.b.do(f"call void @{self.launchers[id(launch)]}(ptr %record, ptr {self.args})")

    def address(self, ref: Ref) -> str:
        """The address of a reference in this iteration."""
        b = self.b
        base, offset = self.bases[ref.segment], str(ref.offset)
        if ref.segment in ("input", "output"):
            base = b.emit(f"load ptr, ptr {b.pointer(base, str(8 * ref.slot))}, align 8")
        if ref.segment == "output":
            stride = self.entry.outputs[ref.slot].nbytes
            moved = b.emit(f"mul i64 {self.iteration}, {stride}")
            offset = b.emit(f"add i64 {moved}, {offset}")
        for counter, stride in zip(self.counters, ref.strides):
            if stride:
                moved = b.emit(f"mul i64 {counter}, {stride}")
                offset = b.emit(f"add i64 {moved}, {offset}")
        return b.pointer(base, offset)

    def _copy(self, source: Ref, target: Ref) -> None:
        arguments = [("ptr", self.address(target)), ("ptr", self.address(source))]
        self.b.call("llvm.memcpy.p0.p0.i64", "void", [*arguments, ("i64", str(source.nbytes)), ("i1", "false")])

    def _repeat(self, count: int, body: Block) -> None:
        if count <= 0:
            return
        b = self.b
        before, loop, after = b.block, b.fresh("repeat"), b.fresh("after")
        counter, following = "%" + b.fresh("c"), "%" + b.fresh("c")
        b.branch(loop)
        b.start(loop)
        phi_at = len(b.lines)
        b.lines.append("")
        self.counters.append(counter)
        self.block(body)
        self.counters.pop()
        b.lines[phi_at] = f"  {counter} = phi i64 [ 0, %{before} ], [ {following}, %{b.block} ]"
        b.do(f"{following} = add nsw i64 {counter}, 1")
        b.branch_if(b.emit(f"icmp slt i64 {following}, {count}"), loop, after)
        b.start(after)

    def _branch(self, branch: Branch) -> None:
        b = self.b
        then, orelse, join = b.fresh("then"), b.fresh("else"), b.fresh("join")
        flag = b.emit(f"load i8, ptr {self.address(branch.flag)}, align 1")
        b.branch_if(b.emit(f"icmp ne i8 {flag}, 0"), then, orelse)
        for label, block in ((then, branch.then), (orelse, branch.orelse)):
            b.start(label)
            self.block(block)
            b.branch(join)
        b.start(join)


@dataclass(slots=True)
class _Clock:
    """Emits looks at the clock and what is added to `Stamps`."""

    b: Builder
    function: str
    base: str
    iteration: str
    stamps: Stamps

    @contextmanager
    def around(self, instructions: tuple[Launch | Copy, ...]) -> Iterator[None]:
        """A new row of these instructions, which are emitted inside."""
        self.stamps.rows.append(instructions)
        with self._row(len(self.stamps.rows)):
            yield

    def nothing(self) -> None:
        """Row 0."""
        with self._row(0):
            return

    @contextmanager
    def _row(self, row: int) -> Iterator[None]:
        b = self.b
        before = b.emit(f"call i64 {self.function}()")
        yield
        passed = b.emit(f"sub i64 {b.emit(f'call i64 {self.function}()')}, {before}")
        cells = b.emit(f"add i64 {b.emit(f'mul i64 %n, {row}')}, {self.iteration}")
        offset = b.emit(f"mul i64 {cells}, 16")
        for what, at in (("1", 0), (passed, 8)):
            cell = b.pointer(b.pointer(self.base, offset), str(at))
            total = b.emit(f"add i64 {b.emit(f'load i64, ptr {cell}, align 8')}, {what}")
            b.do(f"store i64 {total}, ptr {cell}, align 8")


def entry_text(
    name: str, entry: Entry, launchers: Mapping[int, str], declarations: set[str], stamps: Stamps | None = None
) -> str:
    """The loop over steps of one entry. `launchers`: the function of each launch, by the identity of the launch.

    With `stamps` it is the timed version, and `stamps` says afterwards what it measures.
    """
    b = Builder(declarations)
    field = _Reader(b)
    bases = {s: field(s, "ptr") for s in ("arena", "state", "constants", "step")}
    bases |= {"input": field("inputs", "ptr"), "output": field("outputs", "ptr")}
    clock = field("clock", "ptr")
    args = b.slot("ptr", max((len(x.args) + len(x.scratch) for x in all_launches(entry.block)), default=1))
    deadline = b.emit(f"add i64 {b.emit(f'call i64 {clock}()')}, %budget")
    b.branch("step")
    b.start("step")
    phi_at = len(b.lines)
    b.lines.append("")
    number = b.emit("add i64 %first, %t")
    b.do(f"store i64 {number}, ptr {bases['step']}, align 8")
    timer = None if stamps is None else _Clock(b, clock, field("stamps", "ptr"), "%t", stamps)
    if timer is not None:
        timer.nothing()
    _EntryEmitter(b, entry, bases, launchers, args, "%t", [], timer).block(entry.block)
    b.do("%t.next = add nsw i64 %t, 1")
    b.do(f"store atomic i64 %t.next, ptr {b.pointer('%record', str(RECORD['done']))} release, align 8")
    stop = b.emit(f"load atomic i64, ptr {b.pointer('%record', str(RECORD['stop']))} acquire, align 8")
    finished, stopped = b.emit("icmp sge i64 %t.next, %n"), b.emit(f"icmp ne i64 {stop}, 0")
    b.branch_if(b.emit(f"or i1 {finished}, {stopped}"), "leave", "time")
    b.start("time")
    late = b.emit(f"icmp sge i64 {b.emit(f'call i64 {clock}()')}, {deadline}")
    b.branch_if(late, "leave", "step")
    b.lines[phi_at] = "  %t = phi i64 [ %start, %body ], [ %t.next, %time ]"
    b.start("leave")
    b.do("ret i64 %t.next")
    return b.text(f"define i64 @{name}(ptr %record, i64 %first, i64 %start, i64 %n, i64 %budget) #0")


def all_launches(block: Block) -> list[Launch]:
    """Every launch of a block and the blocks inside it, in order."""
    found: list[Launch] = []
    for instruction in block.instructions:
        match instruction:
            case Launch():
                found.append(instruction)
            case Repeat(_, body):
                found += all_launches(body)
            case Branch(_, then, orelse):
                found += all_launches(then) + all_launches(orelse)
            case Copy():
                continue
    return found
