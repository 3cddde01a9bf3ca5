"""A Plan becomes one CUDA source, and for each entry the list of things to queue.

Addresses are still `Ref`s; `Queued` names what happens in order, inside `Loop`s and `Choice`s.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graphc.kernel.ir import Kernel
from graphc.plan.ir import Block, Branch, Copy, Entry, Instruction, Launch, Plan, Ref, Repeat, While, walk_instructions
from graphc.plan.kernels import emit_each
from graphc_cupy.phases import LibraryCall, Phase, phases
from graphc_cupy.products import Compute, Matmul
from graphc_cupy.source import source_of


@dataclass(frozen=True, slots=True)
class Run:
    """One launch of a function. `args` are the addresses it takes."""

    function: str
    blocks: int
    threads: int
    shared_bytes: int
    args: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Multiply:
    """One product by a library: of the matrices that begin `offsets` bytes behind these addresses."""

    matmul: Matmul
    args: tuple[Ref, ...]
    offsets: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Move:
    """One copy on the device."""

    source: Ref
    target: Ref


Queued = Run | Move | Multiply


@dataclass(frozen=True, slots=True)
class Row:
    """What one instruction of the plan queues. The instruction is unknown where the code comes from the disk."""

    instruction: Launch | Copy | None = field(compare=False)
    queued: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A `Repeat` or, with a `flag`, a `While`; see there. `number`: of the loops of the entry that have a bound."""

    count: int | None
    body: "tuple[Item, ...]"
    limit: Ref | None = None
    last: bool = False
    cond: "tuple[Item, ...]" = ()
    flag: Ref | None = None
    made: Ref | None = None
    number: int = -1


@dataclass(frozen=True, slots=True)
class Choice:
    """A `Branch`."""

    index: Ref
    blocks: "tuple[tuple[Item, ...], ...]"


Item = Row | Loop | Choice


def blocks_in(item: Item) -> "tuple[tuple[Item, ...], ...]":
    """What is inside of a loop or a choice, in the order of the plan."""
    match item:
        case Row():
            return ()
        case Loop():
            return (item.body,) if item.flag is None else (item.cond, item.body)
        case Choice():
            return item.blocks


def rows_of(items: Iterable[Item]) -> Iterator[Row]:
    """Every row, those inside too, in order."""
    for item in items:
        if isinstance(item, Row):
            yield item
        for block in blocks_in(item):
            yield from rows_of(block)


def launches_of(items: Iterable[Item]) -> int | None:
    """How many launches one step queues; None when that depends on data."""
    total = 0
    for item in items:
        if isinstance(item, Row):
            total += len(item.queued)
            continue
        if isinstance(item, Choice) or item.flag is not None or item.limit is not None or item.count is None:
            return None
        inside = launches_of(item.body)
        if inside is None:
            return None
        total += item.count * inside
    return total


@dataclass(frozen=True, slots=True)
class Program:
    """`kernels`: by name, the kernel and its phases. `entries`: what to queue for one step, in order."""

    source: str
    kernels: Mapping[str, tuple[Kernel, tuple[Phase | LibraryCall, ...]]]
    entries: Mapping[str, tuple[Item, ...]]

    @property
    def shared_bytes(self) -> dict[str, int]:
        """The shared memory of every function."""
        return {phase.name: phase.shared_bytes for _, found in self.kernels.values() for phase in ours(found)}


def program_of(plan: Plan, library: Compute | None = None) -> Program:
    """Emit everything a plan needs. Raises `BackendError` when two different kernels have one name."""
    kernels = emit_each(plan, lambda kernel: phases(kernel, library))
    entries = {name: _items(entry, kernels) for name, entry in plan.entries.items()}
    return Program(source_of(phase for _, found in kernels.values() for phase in ours(found)), kernels, entries)


def ours(found: Iterable[Phase | LibraryCall]) -> Iterator[Phase]:
    """Those that are functions of the source."""
    return (each for each in found if isinstance(each, Phase))


def _items(entry: Entry, kernels: Mapping[str, tuple[Kernel, tuple[Phase | LibraryCall, ...]]]) -> tuple[Item, ...]:
    bounded = (each for each in walk_instructions(entry.block) if isinstance(each, While) and each.bound is not None)
    numbers = {id(loop): number for number, loop in enumerate(bounded)}

    def block(inside: Block) -> tuple[Item, ...]:
        return tuple(item(each) for each in inside.instructions)

    def item(instruction: Instruction) -> Item:
        match instruction:
            case Launch(kernel, args, scratch):
                return Row(instruction, tuple(_run(phase, (*args, *scratch)) for phase in kernels[kernel.name][1]))
            case Copy(source, target):
                return Row(instruction, (Move(source, target),) if source.nbytes else ())
            case Repeat(count, body, limit, last):
                return Loop(count, block(body), limit, last)
            case While(cond, flag, body, bound, made):
                number = numbers.get(id(instruction), -1)
                return Loop(bound, block(body), None, False, block(cond), flag, made, number)
            case Branch(index, blocks):
                return Choice(index, tuple(block(each) for each in blocks))

    return block(entry.block)


def _run(phase: Phase | LibraryCall, refs: tuple[Ref, ...]) -> Run | Multiply:
    if isinstance(phase, LibraryCall):
        return Multiply(phase.matmul, tuple(refs[k] for k in phase.args), phase.offsets)
    return Run(phase.name, phase.blocks, phase.threads, phase.shared_bytes, tuple(refs[k] for k in phase.args))
