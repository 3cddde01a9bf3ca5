"""The verifier of plans.

`verify(plan)` raises `VerifyError` unless all of this holds:

1. State slots and constants are aligned, lie inside their segments and do not overlap.
2. Every `Ref` lies inside its segment at every value of the counters of the enclosing loops: input, output and state
refs
   inside one slot, constant refs inside one constant. It has at most one stride per counter.
3. The lifetimes of an entry are aligned, lie inside its arena, and those live at the same instruction do not overlap.
4. Every arena ref lies inside a lifetime that is live at its instruction.
5. Launch args match the kernel's params in number and size, scratch its arena allocations.
6. Inputs, constants and the step are never written.
7. In a launch a written arg shares no byte with another one, nor with scratch; but an "out" arg may lie exactly on an
   "in" arg that it names in `aliases_ok`.
8. The two ranges of a copy have the same size and do not overlap.
9. The index of a branch is 4 bytes, and it has a block; the flag of a `While` is one byte, its count 8, as is the limit
   of a `Repeat`; no count or bound is negative; every output that is not empty is written.

Instructions are numbered by their position at the top level of the entry; a nested one has the number of the one around
it. What a plan cannot show is which value a byte should hold: that the producer of a value was not
overwritten before its reader follows from 3 and 4 together with the right lifetimes.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from graphc.core.errors import VerifyError
from graphc.core.records import dataclass
from graphc.plan.build import arena_allocs
from graphc.plan.ir import (
    ALIGNMENT,
    Block,
    Branch,
    Copy,
    Entry,
    Instruction,
    Launch,
    Lifetime,
    Plan,
    Ref,
    Repeat,
    While,
    inner_blocks,
)


def verify(plan: Plan) -> None:
    """Check the invariants in this module's docstring."""
    state = [(slot.offset, slot.slot.nbytes, f"state {slot.slot.name}") for slot in plan.state]
    constants = [(offset, array.nbytes, f"constant {k}") for k, (offset, array) in enumerate(plan.constants)]
    _check_layout(state, plan.state_bytes)
    _check_layout(constants, plan.constant_bytes)
    for entry in plan.entries.values():
        _check_lifetimes(entry)
        _EntryVerifier(entry, _places(plan, entry)).run()


def _check_layout(parts: Sequence[tuple[int, int, str]], segment_bytes: int) -> None:
    stop = 0
    for offset, nbytes, name in sorted(parts):
        if offset % ALIGNMENT:
            raise VerifyError(f"{name} at {offset} is not aligned to {ALIGNMENT} bytes")
        if offset < stop or offset + nbytes > segment_bytes:
            raise VerifyError(f"{name} at {offset} overlaps another one or ends outside its segment")
        stop = offset + nbytes


def _check_lifetimes(entry: Entry) -> None:
    for row in entry.lifetimes:
        if row.offset % ALIGNMENT:
            raise VerifyError(f"{entry.name}: {row.label} at {row.offset} is not aligned to {ALIGNMENT} bytes")
        if row.offset < 0 or row.offset + row.nbytes > entry.arena_bytes:
            raise VerifyError(f"{entry.name}: {row.label} at {row.offset} lies outside the arena")
    rows = sorted(entry.lifetimes, key=lambda row: row.offset)
    starts = np.array([row.offset for row in rows], np.int64)
    first = np.array([row.first for row in rows], np.int64)
    last = np.array([row.last for row in rows], np.int64)
    for k, row in enumerate(rows):
        end = int(starts.searchsorted(row.offset + row.nbytes))
        clash = (first[k + 1 : end] <= row.last) & (last[k + 1 : end] >= row.first)
        sizes = np.array([other.nbytes for other in rows[k + 1 : end]], np.int64)
        if (clash & (sizes > 0)).any():
            other = rows[k + 1 + int((clash & (sizes > 0)).argmax())]
            raise VerifyError(f"{entry.name}: {_row(row)} and {_row(other)} overlap while both are live")


def _row(row: Lifetime) -> str:
    return f"{row.label or 'a buffer'} [{row.offset}:{row.offset + row.nbytes}, live {row.first}..{row.last}]"


@dataclass(frozen=True, slots=True)
class _Counted:
    """An instruction with its number at the top level and how far the counters of the loops around it go."""

    number: int
    counts: tuple[int, ...]
    instruction: Instruction


def _walk(block: Block) -> Iterator[_Counted]:
    """Every instruction, nested ones too."""
    stack = [_Counted(k, (), instruction) for k, instruction in reversed(list(enumerate(block.instructions)))]
    while stack:
        here = stack.pop()
        yield here
        counts = (*here.counts, *inner_count(here.instruction))
        inside = [inner for block in inner_blocks(here.instruction) for inner in block.instructions]
        stack += [_Counted(here.number, counts, inner) for inner in reversed(inside)]


def inner_count(instruction: Instruction) -> tuple[int, ...]:
    """The values that the counter of a loop takes; none for what is no loop."""
    match instruction:
        case Repeat(count):
            return (count,)
        case While():
            return (1 if instruction.bound is None else instruction.bound,)  # without a bound nothing moves
        case _:
            return ()


class _Places:
    """Ranges of a segment that a ref may lie in, each for the instructions first to last."""

    def __init__(self, rows: Sequence[tuple[int, int, int, int]]) -> None:
        self._columns = np.array(rows, np.int64).reshape(-1, 4).T

    def hold(self, number: int, start: int, stop: int) -> bool:
        """Whether one of them holds [start, stop) at the instruction."""
        offset, nbytes, first, last = self._columns
        inside = (offset <= start) & (stop <= offset + nbytes)
        return bool((inside & (first <= number) & (number <= last)).any())


def _places(plan: Plan, entry: Entry) -> dict[tuple[str, int], _Places]:
    """By segment and slot."""
    end = len(entry.block.instructions)

    def always(ranges: Sequence[tuple[int, int]]) -> _Places:
        return _Places([(offset, nbytes, 0, end) for offset, nbytes in ranges])

    places = {
        ("arena", 0): _Places([(row.offset, row.nbytes, row.first, row.last) for row in entry.lifetimes]),
        ("state", 0): always([(slot.offset, slot.slot.nbytes) for slot in plan.state]),
        ("constants", 0): always([(offset, array.nbytes) for offset, array in plan.constants]),
        ("step", 0): always([(0, 8)]),
    }
    places |= {("input", k): always([(0, slot.nbytes)]) for k, slot in enumerate(entry.inputs)}
    return places | {("output", k): always([(0, slot.nbytes)]) for k, slot in enumerate(entry.outputs)}


@dataclass(frozen=True, slots=True)
class _EntryVerifier:
    entry: Entry
    places: dict[tuple[str, int], _Places]

    def run(self) -> None:
        written: set[int] = set()
        for here in _walk(self.entry.block):
            for ref in _reads(here.instruction):
                self._check_ref(here, ref)
            for ref in _writes(here.instruction):
                self._check_ref(here, ref)
                if ref.segment in ("input", "constants", "step"):
                    raise self._error(here, f"writes {show(ref)}, which is read-only")
                if ref.segment == "output":
                    written.add(ref.slot)
            match here.instruction:
                case Launch():
                    self._check_launch(here, here.instruction)
                case Copy(source, target):
                    self._check_copy(here, source, target)
                case Branch(index, blocks):
                    self._check_size(here, "index", index, 4)
                    if not blocks:
                        raise self._error(here, "a branch without blocks")
                case Repeat(count, _, limit):
                    self._check_size(here, "limit", limit, 8)
                    if count < 0:
                        raise self._error(here, f"repeats {count} times")
                case While(_, flag, _, bound, made):
                    self._check_size(here, "flag", flag, 1)
                    self._check_size(here, "count", made, 8)
                    if bound is not None and bound < 0:
                        raise self._error(here, f"repeats at most {bound} times")
        for slot, output in enumerate(self.entry.outputs):
            if output.nbytes and slot not in written:
                raise VerifyError(f"{self.entry.name}: output {slot} ({output.name}) is never written")

    def _error(self, here: _Counted, message: str) -> VerifyError:
        name = here.instruction.kernel.name if isinstance(here.instruction, Launch) else "plan"
        return VerifyError(f"{self.entry.name}: instruction {here.number} ({name}): {message}")

    def _check_size(self, here: _Counted, what: str, ref: Ref | None, nbytes: int) -> None:
        if ref is not None and ref.nbytes != nbytes:
            raise self._error(here, f"the {what} {show(ref)} has not {nbytes} bytes")

    def _check_ref(self, here: _Counted, ref: Ref) -> None:
        if ref.nbytes < 0 or len(ref.strides) > len(here.counts):
            raise self._error(here, f"{show(ref)} has a negative size or a stride without a counter")
        if ref.nbytes == 0:
            return
        start, stop = sweep(ref, here.counts)
        places = self.places.get((ref.segment, ref.slot if ref.segment in ("input", "output") else 0))
        if places is None or not places.hold(here.number, start, stop):
            raise self._error(here, f"{show(ref)} lies in no live buffer, slot or constant")

    def _check_launch(self, here: _Counted, launch: Launch) -> None:
        params, allocs = launch.kernel.params, arena_allocs(launch.kernel)
        if len(launch.args) != len(params) or len(launch.scratch) != len(allocs):
            raise self._error(here, "another number of args or scratch than the kernel has params or allocations")
        wanted = [(param.buffer, ref) for param, ref in zip(params, launch.args, strict=True)]
        wanted += zip(allocs, launch.scratch, strict=True)
        for buffer, ref in wanted:
            if buffer.nbytes != ref.nbytes:
                raise self._error(here, f"{buffer.name} has {buffer.nbytes} bytes, {show(ref)} {ref.nbytes}")
        for k, ref in enumerate(launch.scratch):
            if ref.segment != "arena":
                raise self._error(here, f"scratch {show(ref)} is not in the arena")
            for other in (*launch.args, *launch.scratch[:k]):
                if overlap(ref, other, here.counts):
                    raise self._error(here, f"scratch {show(ref)} overlaps {show(other)}")
        for k, a in enumerate(launch.args):
            for j, b in enumerate(launch.args[:k]):
                if overlap(a, b, here.counts) and not _may_share(launch, j, k):
                    raise self._error(
                        here, f"{params[j].buffer.name}={show(b)} overlaps {params[k].buffer.name}={show(a)}"
                    )

    def _check_copy(self, here: _Counted, source: Ref, target: Ref) -> None:
        if source.nbytes != target.nbytes:
            raise self._error(here, f"copies {show(source)} to {show(target)}, which has another size")
        if overlap(source, target, here.counts):
            raise self._error(here, f"copies {show(source)} to {show(target)}, which overlaps it")


def _reads(instruction: Instruction) -> list[Ref]:
    match instruction:
        case Launch(kernel, args):
            return [ref for param, ref in zip(kernel.params, args, strict=False) if param.mode != "out"]
        case Copy(source):
            return [source]
        case Branch(index):
            return [index]
        case Repeat():
            return [] if instruction.limit is None else [instruction.limit]
        case While():
            return [instruction.flag]


def _writes(instruction: Instruction) -> list[Ref]:
    match instruction:
        case Launch(kernel, args, scratch):
            outs = [ref for param, ref in zip(kernel.params, args, strict=False) if param.mode != "in"]
            return [*outs, *scratch]
        case Copy(_, target):
            return [target]
        case While():
            return [] if instruction.count is None else [instruction.count]
        case Branch() | Repeat():
            return []


def _may_share(launch: Launch, j: int, k: int) -> bool:
    """Whether two overlapping args of a launch are allowed to."""
    params, args = launch.kernel.params, launch.args
    if params[j].mode == "in" and params[k].mode == "in":
        return True
    out, other = (k, j) if params[j].mode == "in" else (j, k)
    named = params[other].buffer.name in params[out].aliases_ok
    return params[out].mode == "out" and params[other].mode == "in" and named and args[out] == args[other]


def sweep(ref: Ref, counts: Sequence[int]) -> tuple[int, int]:
    """The bytes [start, stop) a ref touches over all values of the counters."""
    start = ref.offset + sum(min(0, (count - 1) * stride) for count, stride in zip(counts, ref.strides, strict=False))
    stop = ref.offset + sum(max(0, (count - 1) * stride) for count, stride in zip(counts, ref.strides, strict=False))
    return start, stop + ref.nbytes


def overlap(a: Ref, b: Ref, counts: Sequence[int]) -> bool:
    """Whether two refs may share a byte at the same values of the counters (exact when their strides are equal)."""
    if a.segment != b.segment or a.nbytes == 0 or b.nbytes == 0:
        return False
    if a.segment in ("input", "output") and a.slot != b.slot:
        return False
    if a.strides == b.strides:
        return a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes
    a_start, a_stop = sweep(a, counts)
    b_start, b_stop = sweep(b, counts)
    return a_start < b_stop and b_start < a_stop


def show(ref: Ref) -> str:
    """`arena[64:128]`; `input 0[0:16 + 16*i0]` inside a loop.

    >>> show(Ref("output", 0, 16, 2, (64, 4)))
    'output 2[0:16 + 64*i0 + 4*i1]'
    """
    slot = f" {ref.slot}" if ref.segment in ("input", "output") else ""
    strides = "".join(f" + {stride}*i{k}" for k, stride in enumerate(ref.strides) if stride)
    return f"{ref.segment}{slot}[{ref.offset}:{ref.offset + ref.nbytes}{strides}]"
