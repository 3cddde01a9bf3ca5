"""How much memory a plan needs, when and for what: known before the first run.

In: a `Plan`. Out: a `MemoryReport`, which prints as a short table.
"""

from graphc.core.errors import ArgumentError
from graphc.core.records import dataclass
from graphc.plan.ir import Branch, Copy, Entry, Instruction, Launch, Lifetime, Plan, Repeat, While
from graphc.plan.memory import Interval, live_sums


@dataclass(frozen=True, slots=True)
class Moment:
    """An instruction of an entry: its number and the kernel it runs (or `copy`, `repeat`, `while`, `branch`)."""

    entry: str
    instruction: int
    kernel: str


@dataclass(frozen=True, slots=True)
class LiveTensor:
    """A buffer of the arena that is live at the moment of the peak, with the user's line it comes from."""

    label: str
    nbytes: int
    source: str


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Bytes a program needs besides its code. Outputs are those of one call; a run of n steps keeps n of them.

    `moment` is where the sum of live arena bytes is largest, `tensors` what is live there, largest first.
    `lower_bound_bytes` is that sum: no arena can be smaller for this order of instructions. `scratch_bytes` is what the
    backend keeps besides the plan: packing buffers of all threads; on a device, inputs and outputs of all entries.
    """

    arena_bytes: int
    state_bytes: int
    constant_bytes: int
    input_bytes: int
    output_bytes: int
    moment: Moment
    tensors: tuple[LiveTensor, ...]
    lower_bound_bytes: int
    scratch_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        kept = self.arena_bytes + self.scratch_bytes + self.state_bytes + self.constant_bytes
        return kept + self.input_bytes + self.output_bytes

    def __str__(self) -> str:
        rows = [
            ("peak", self.peak_bytes, ""),
            ("  state", self.state_bytes, ""),
            ("  constants", self.constant_bytes, ""),
            ("  inputs", self.input_bytes, ""),
            ("  outputs", self.output_bytes, ""),
            ("  arena", self.arena_bytes, f"lower bound {self.lower_bound_bytes:,}"),
            ("  scratch", self.scratch_bytes, ""),
        ]
        where = f"largest at instruction {self.moment.instruction} of {self.moment.entry}: {self.moment.kernel}"
        live = [(f"  {tensor.label}", tensor.nbytes, tensor.source) for tensor in self.tensors]
        width = max(len(name) for name, _, _ in rows + live)
        lines = [f"{name:<{width}}  {nbytes:>15,} B  {note}".rstrip() for name, nbytes, note in rows + live]
        return "\n".join([*lines[: len(rows)], where, *lines[len(rows) :]])


def memory_report(plan: Plan, entry: str | None = None, scratch_bytes: int = 0) -> MemoryReport:
    """Memory of one entry, or of the whole program.

    For the whole program the arena is the one all entries share, inputs and outputs those of the entry that has most
    of them, and the moment that of the entry with the largest arena. Raises `ArgumentError` for an unknown entry.
    """
    if entry is not None and entry not in plan.entries:
        raise ArgumentError(f"no entry {entry!r}; entries: {', '.join(plan.entries)}")
    if not plan.entries:
        raise ArgumentError("the plan has no entries")
    chosen = list(plan.entries.values()) if entry is None else [plan.entries[entry]]
    border = max(chosen, key=lambda one: _input_bytes(one) + _output_bytes(one))
    largest = max(chosen, key=lambda one: one.arena_bytes)
    number, live = _busiest(largest)
    return MemoryReport(
        arena_bytes=largest.arena_bytes,
        state_bytes=plan.state_bytes,
        constant_bytes=plan.constant_bytes,
        input_bytes=_input_bytes(border),
        output_bytes=_output_bytes(border),
        moment=Moment(largest.name, number, _name(largest, number)),
        tensors=tuple(LiveTensor(row.label, row.nbytes, row.source) for row in live),
        lower_bound_bytes=largest.lower_bound_bytes,
        scratch_bytes=scratch_bytes,
    )


def _input_bytes(entry: Entry) -> int:
    return sum(slot.nbytes for slot in entry.inputs)


def _output_bytes(entry: Entry) -> int:
    return sum(slot.nbytes for slot in entry.outputs)


def _busiest(entry: Entry) -> tuple[int, list[Lifetime]]:
    """The first instruction at which most bytes are live, and what is live then, largest first."""
    sums = live_sums([Interval(row.first, row.last, row.nbytes) for row in entry.lifetimes])
    number = max(sums, key=lambda row: row[1], default=(0, 0))[0]
    live = [row for row in entry.lifetimes if row.first <= number <= row.last]
    return number, sorted(live, key=lambda row: -row.nbytes)


def _name(entry: Entry, number: int) -> str:
    if number >= len(entry.block.instructions):
        return "nothing"
    instruction: Instruction = entry.block.instructions[number]
    match instruction:
        case Launch(kernel):
            return kernel.name
        case Copy():
            return "copy"
        case Repeat():
            return "repeat"
        case While():
            return "while"
        case Branch():
            return "branch"
