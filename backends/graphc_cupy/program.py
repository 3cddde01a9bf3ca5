"""A Plan becomes one CUDA source, and for each entry the list of things to queue.

Addresses are still `Ref`s; `Queued` names what happens in order, with `Repeat`s written out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from graphc.core.errors import BackendError
from graphc.kernel.ir import Kernel
from graphc.plan.ir import Block, Branch, Copy, Entry, Launch, Plan, Ref, Repeat
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
    """What one instruction of the plan queues, once."""

    instruction: Launch | Copy
    queued: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """`kernels`: by name, the kernel and its phases. `entries`: what to queue for one step, in order."""

    source: str
    kernels: Mapping[str, tuple[Kernel, tuple[Phase | LibraryCall, ...]]]
    entries: Mapping[str, tuple[Row, ...]]

    @property
    def shared_bytes(self) -> dict[str, int]:
        """The shared memory of every function."""
        return {phase.name: phase.shared_bytes for _, found in self.kernels.values() for phase in ours(found)}


def program_of(plan: Plan, library: Compute | None = None) -> Program:
    """Emit everything a plan needs. Raises `BackendError` when two different kernels have one name."""
    kernels = emit_each(plan, lambda kernel: phases(kernel, library))
    entries = {name: tuple(_rows(entry, kernels)) for name, entry in plan.entries.items()}
    return Program(source_of(phase for _, found in kernels.values() for phase in ours(found)), kernels, entries)


def ours(found: Iterable[Phase | LibraryCall]) -> Iterator[Phase]:
    """Those that are functions of the source."""
    return (each for each in found if isinstance(each, Phase))


def _rows(entry: Entry, kernels: Mapping[str, tuple[Kernel, tuple[Phase | LibraryCall, ...]]]) -> Iterator[Row]:
    def block(instructions: Block, counters: tuple[int, ...]) -> Iterator[Row]:
        for instruction in instructions.instructions:
            match instruction:
                case Launch(kernel, args, scratch):
                    refs = tuple(_fixed(ref, counters) for ref in (*args, *scratch))
                    found = (_run(phase, refs) for phase in kernels[kernel.name][1])
                    yield Row(instruction, tuple(found))
                case Copy(source, target):
                    move = Move(_fixed(source, counters), _fixed(target, counters))
                    yield Row(instruction, (move,) if source.nbytes else ())
                case Repeat(count, body):
                    for counter in range(count):
                        yield from block(body, (*counters, counter))
                case Branch():
                    raise BackendError(f"gpu backend, {entry.name}: a branch cannot be part of a captured step yet")

    return block(entry.block, ())


def _run(phase: Phase | LibraryCall, refs: tuple[Ref, ...]) -> Run | Multiply:
    if isinstance(phase, LibraryCall):
        return Multiply(phase.matmul, tuple(refs[k] for k in phase.args), phase.offsets)
    return Run(phase.name, phase.blocks, phase.threads, phase.shared_bytes, tuple(refs[k] for k in phase.args))


def _fixed(ref: Ref, counters: tuple[int, ...]) -> Ref:
    """The address at some values of the enclosing counters."""
    offset = ref.offset + sum(counter * stride for counter, stride in zip(counters, ref.strides))
    return Ref(ref.segment, offset, ref.nbytes, ref.slot)
