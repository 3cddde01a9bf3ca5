"""The native loop over steps, one function per entry: `i64 (ptr record, i64 first, i64 start, i64 n, i64 budget)`.

It runs iterations start..n-1 of the steps first, first + 1, ...; iteration t writes its number `first + t` into the
step slot, executes the block, and writes output i at `output + t * nbytes(i)`. It returns the iterations finished when
all are, or when `budget` nanoseconds have passed: then the caller looks at signals and calls again. So a run of any
length enters Python ten times a second, not once per step. A program without state may be given up between two jobs, or
in a long loop, when a signal's handler raised: then it returns `ABANDONED`. When a loop would not end within its bound
it returns `EXCEEDED` less the number of the loop (`bounded`).

Around it are the two functions Python calls: `run`, with the addresses of tables of inputs and outputs, and `call`
(`call_code.call_text`). Both take the record first and return `IS_BUSY` when somebody else has it.

A second version of an entry reads the clock around each batch of launches (`Stamps`), for profiles only.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field
from itertools import groupby

from graphc.core.records import dataclass
from graphc.plan.build import arena_allocs
from graphc.plan.ir import Block, Branch, Copy, Entry, Instruction, Launch, Ref, Repeat, While, walk_instructions
from graphc_llvm.builder import Builder
from graphc_llvm.durations import most, nanoseconds
from graphc_llvm.jobs import SHARE_NS, Batch, Job, KernelFunction, batches
from graphc_llvm.record import EXCEEDED, IS_BUSY, RECORD

ABANDONED = -2
LOOK_NS = 1e6  # of iterations of a loop between two looks at whether to give up
MOST_UNSEEN = 1 << 12  # iterations between two looks


def launch_text(function: KernelFunction) -> str:
    """`void name(ptr record, ptr args)`: the phases of a kernel in order, for timing it alone."""
    b = Builder(set())
    jobs = _Jobs(b, function.name, "%args", field_of(b, "parallel"), field_of(b, "scratch"), None)
    launch = _alone(function)
    for batch in batches([launch], {id(launch): function}, ()):
        for job in batch.jobs:
            jobs.emit(job)
    b.do("ret void")
    return "\n".join([*jobs.tables, b.text(f"define void @{function.name}(ptr %record, ptr %args) #0")])


def _alone(function: KernelFunction) -> Launch:
    """A launch of a kernel whose every buffer lies elsewhere."""
    kernel = function.kernel
    buffers = [param.buffer for param in kernel.params]
    args = tuple(Ref("input", 0, max(buffer.nbytes, 1), number) for number, buffer in enumerate(buffers))
    allocs = arena_allocs(kernel)
    scratch = tuple(Ref("input", 0, max(a.nbytes, 1), len(args) + number) for number, a in enumerate(allocs))
    return Launch(kernel, args, scratch)


def field_of(b: Builder, name: str, kind: str = "ptr") -> str:
    """Load a word of the record."""
    return b.emit(f"load {kind}, ptr {b.pointer('%record', str(RECORD[name]))}, align 8")


@dataclass(slots=True)
class _Jobs:
    """Emits jobs. `tables` are the constants they need, `abandoned` the label to go to when a job was given up."""

    b: Builder
    name: str
    args: str
    parallel: str
    scratch: str
    abandoned: str | None
    tables: list[str] = field(default_factory=list)

    def emit(self, job: Job) -> None:
        """Run a job whose addresses are in the table."""
        if job.shared or (self.abandoned is not None and job.ns >= SHARE_NS):
            self._share(job)
            return
        for task in job.tasks:
            args = self.b.pointer(self.args, str(8 * task.args))
            self.b.do(f"call void @{task.function}(ptr {args}, i64 0, i64 {task.extent}, ptr {self.scratch})")

    def _share(self, job: Job) -> None:
        rows, units = [], 0
        for task in job.tasks:
            units += task.units
            words = f"i64 {8 * task.args}, i64 {max(task.extent, 1)}, i64 {task.grain}, i64 {units}"
            rows.append(f"{{ ptr, i64, i64, i64, i64 }} {{ ptr @{task.function}, {words} }}")
        table = f"@{self.name}_job_{len(self.tables)}"
        kind = f"[{len(rows)} x {{ ptr, i64, i64, i64, i64 }}]"
        self.tables.append(f"{table} = internal constant {kind} [{', '.join(rows)}]")
        given = f"ptr %record, ptr {table}, ptr {self.args}, i64 {units}, i64 {int(job.ns)}"
        if self.abandoned is None:
            self.b.do(f"call i1 {self.parallel}({given})")
            return
        finished, following = self.b.emit(f"call i1 {self.parallel}({given})"), self.b.fresh("finished")
        self.b.branch_if(finished, following, self.abandoned)
        self.b.start(following)


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
    """Emits the block of one entry. `counters` are those of the enclosing loops, `counts` how far they go."""

    b: Builder
    entry: Entry
    bases: Mapping[str, str]
    functions: Mapping[int, KernelFunction]  # by identity of the launch
    jobs: _Jobs
    iteration: str
    bounded: Mapping[int, int]  # numbers of loops that have a bound, by identity
    counters: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    clock: "_Clock | None" = None
    words: int = 1  # the largest table of addresses

    def block(self, block: Block) -> None:
        for is_launch, group in groupby(block.instructions, lambda instruction: isinstance(instruction, Launch)):
            if is_launch:
                for batch in batches([x for x in group if isinstance(x, Launch)], self.functions, self.counts):
                    with self._timed(*batch.launches):
                        self._batch(batch)
                continue
            for instruction in group:
                self.instruction(instruction)

    def instruction(self, instruction: Instruction) -> None:
        match instruction:
            case Launch():
                raise AssertionError("launches are emitted in batches")
            case Copy(source, target):
                with self._timed(instruction):
                    self._copy(source, target)
            case Repeat():
                self._repeat(instruction)
            case While():
                self._while(instruction)
            case Branch():
                self._branch(instruction)

    def _timed(self, *instructions: Launch | Copy) -> AbstractContextManager[None]:
        """The timed version adds to the row of these instructions what is emitted inside."""
        return nullcontext() if self.clock is None else self.clock.around(instructions)

    def _batch(self, batch: Batch) -> None:
        self.words = max(self.words, batch.words)
        for job in batch.jobs:
            for task in job.tasks:
                if task.opens:
                    self._write_addresses(task.launch, task.args)
            self.jobs.emit(job)

    def _write_addresses(self, launch: Launch, first: int) -> None:
        for position, ref in enumerate((*launch.args, *launch.scratch), first):
            slot = self.b.pointer(self.jobs.args, str(8 * position))
            self.b.do(f"store ptr {self.address(ref)}, ptr {slot}, align 8")

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

    def _repeat(self, repeat: Repeat) -> None:
        if repeat.count <= 0:
            return
        b = self.b
        start, stop, after = "0", str(repeat.count), b.fresh("after")
        if repeat.limit is not None:
            made = b.emit(f"load i64, ptr {self.address(repeat.limit)}, align 8")
            made = b.call("llvm.smin.i64", "i64", [("i64", made), ("i64", stop)])
            made = b.call("llvm.smax.i64", "i64", [("i64", made), ("i64", "0")])
            if repeat.last:
                start = b.emit(f"sub i64 {stop}, {made}")
            else:
                stop = made
            some = b.fresh("some")
            b.branch_if(b.emit(f"icmp sgt i64 {made}, 0"), some, after)
            b.start(some)
        with self._counted(start, repeat.count) as (loop, following):
            self.block(repeat.body)
            self._look_at_signals(nanoseconds(repeat.body, self.functions), repeat.count)
            b.do(f"{following} = add nsw i64 {self.counters[-1]}, 1")
            b.branch_if(b.emit(f"icmp slt i64 {following}, {stop}"), loop, after)
        b.start(after)

    def _look_at_signals(self, ns: float, count: int) -> None:
        """At the end of an iteration of about `ns` nanoseconds: give up when a signal asks for it."""
        if self.jobs.abandoned is None or ns * count < LOOK_NS:
            return  # jobs and outer loops look often enough
        b = self.b
        every = 1 << max(min(int(LOOK_NS / max(ns, 1.0)), MOST_UNSEEN).bit_length() - 1, 0)
        look, following = b.fresh("look"), b.fresh("seen")
        unseen = b.emit(f"and i64 {self.counters[-1]}, {every - 1}")
        b.branch_if(b.emit(f"icmp eq i64 {unseen}, {every - 1}"), look, following)
        b.start(look)
        function = field_of(b, "interrupted")
        b.branch_if(b.emit(f"call i1 {function}(ptr %record)"), self.jobs.abandoned, following)
        b.start(following)

    @contextmanager
    def _counted(self, start: str, count: int) -> Iterator[tuple[str, str]]:
        """A loop whose counter begins at `start`; yields its label and the register of the counter's next value."""
        b = self.b
        before, loop = b.block, b.fresh("loop")
        counter, following = "%" + b.fresh("c"), "%" + b.fresh("c")
        b.branch(loop)
        b.start(loop)
        phi_at = len(b.lines)
        b.lines.append("")
        self.counters.append(counter)
        self.counts.append(count)
        yield loop, following
        b.lines[phi_at] = f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{b.block} ]"
        self.counters.pop()
        self.counts.pop()

    def _while(self, loop: While) -> None:
        b = self.b
        after, run = b.fresh("after"), b.fresh("run")
        with self._counted("0", 1 if loop.bound is None else loop.bound) as (label, following):
            counter = self.counters[-1]
            self.block(loop.cond)
            flag = b.emit(f"load i8, ptr {self.address(loop.flag)}, align 1")
            b.branch_if(b.emit(f"icmp ne i8 {flag}, 0"), run, after)
            b.start(run)
            if loop.bound is not None:
                further, beyond = b.fresh("further"), b.fresh("beyond")
                b.branch_if(b.emit(f"icmp slt i64 {counter}, {loop.bound}"), further, beyond)
                b.start(beyond)
                b.do(f"ret i64 {EXCEEDED - self.bounded[id(loop)]}")
                b.start(further)
            self.block(loop.body)
            self._look_at_signals(
                nanoseconds(loop.cond, self.functions) + nanoseconds(loop.body, self.functions), most(loop)
            )
            b.do(f"{following} = add nsw i64 {counter}, 1")
            b.branch(label)
        b.start(after)
        if loop.count is not None:
            b.do(f"store i64 {counter}, ptr {self.address(loop.count)}, align 8")

    def _branch(self, branch: Branch) -> None:
        b = self.b
        labels, join = [b.fresh("branch") for _ in branch.blocks], b.fresh("join")
        index = b.emit(f"load i32, ptr {self.address(branch.index)}, align 4")
        index = b.call("llvm.smax.i32", "i32", [("i32", index), ("i32", "0")])
        cases = " ".join(f"i32 {number}, label %{label}" for number, label in enumerate(labels[:-1]))
        b.do(f"switch i32 {index}, label %{labels[-1]} [ {cases} ]")
        for label, block in zip(labels, branch.blocks, strict=True):
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
    name: str,
    entry: Entry,
    functions: Mapping[int, KernelFunction],
    declarations: set[str],
    may_abandon: bool,
    bounded: Mapping[int, int],
    stamps: Stamps | None = None,
) -> str:
    """The loop over steps of one entry. `functions`: the kernel of each launch, by the identity of the launch;
    `bounded`: the number of each loop that has a bound, likewise.

    With `stamps` it is the timed version, and `stamps` says afterwards what it measures.
    """
    b = Builder(declarations)
    bases = {s: field_of(b, s) for s in ("arena", "state", "constants", "step")}
    bases |= {"input": field_of(b, "inputs"), "output": field_of(b, "outputs")}
    clock = field_of(b, "clock")
    jobs = _Jobs(
        b, name, "%args", field_of(b, "parallel"), field_of(b, "scratch"), "abandoned" if may_abandon else None
    )
    timer = None if stamps is None else _Clock(b, clock, field_of(b, "stamps"), "%t", stamps)
    emitter = _EntryEmitter(b, entry, bases, functions, jobs, "%t", bounded, clock=timer)
    deadline = b.emit(f"add i64 {b.emit(f'call i64 {clock}()')}, %budget")
    b.branch("step")
    b.start("step")
    phi_at = len(b.lines)
    b.lines.append("")
    number = b.emit("add i64 %first, %t")
    b.do(f"store i64 {number}, ptr {bases['step']}, align 8")
    if timer is not None:
        timer.nothing()
    emitter.block(entry.block)
    b.do("%t.next = add nsw i64 %t, 1")
    b.branch_if(b.emit("icmp sge i64 %t.next, %n"), "leave", "time")
    b.start("time")
    late = b.emit(f"icmp sge i64 {b.emit(f'call i64 {clock}()')}, {deadline}")
    b.branch_if(late, "leave", "step")
    b.lines[phi_at] = "  %t = phi i64 [ %start, %body ], [ %t.next, %time ]"
    b.start("leave")
    b.do("ret i64 %t.next")
    if may_abandon:
        b.start("abandoned")
        b.do(f"ret i64 {ABANDONED}")
    b.slots.append(f"  %args = alloca [{emitter.words} x ptr], align 64")
    body = b.text(f"define internal i64 @{name}(ptr %record, i64 %first, i64 %start, i64 %n, i64 %budget) #0")
    return "\n".join([*jobs.tables, body])


def run_text(name: str, entry: str) -> str:
    """`i64 name(ptr record, ptr inputs, ptr outputs, i64 first, i64 start, i64 n, i64 budget)`."""
    b = Builder(set())
    began = b.emit(f"call i1 {field_of(b, 'begin')}(ptr %record, i1 false, i1 false)")
    b.branch_if(began, "ours", "theirs")
    b.start("ours")
    for table in ("inputs", "outputs"):
        b.do(f"store ptr %{table}, ptr {b.pointer('%record', str(RECORD[table]))}, align 8")
    done = b.emit(f"call i64 @{entry}(ptr %record, i64 %first, i64 %start, i64 %n, i64 %budget)")
    b.do(f"call void {field_of(b, 'end')}(ptr %record)")
    b.do(f"ret i64 {done}")
    b.start("theirs")
    b.do(f"ret i64 {IS_BUSY}")
    tables = "ptr %inputs, ptr %outputs"
    return b.text(f"define i64 @{name}(ptr %record, {tables}, i64 %first, i64 %start, i64 %n, i64 %budget) #0")


def bounded(entries: Iterable[Entry]) -> list[While]:
    """The loops that have a bound; `EXCEEDED - i` is what a function returns when number i would exceed it."""
    every = (instruction for entry in entries for instruction in walk_instructions(entry.block))
    return [each for each in every if isinstance(each, While) and each.bound is not None]
