"""The Plan: what a backend gets. Kernels, where every byte lies, and in which order things happen.

Memory is made of segments. `arena` is one block of scratch reused inside an entry; `state` persists between steps and
entries;
`constants` is read-only and shared by all entries; `input` i and `output` i are the caller's; `step` is one int64,
the number of the current step, kept by the driver. An address is `segment + offset + sum(counter * stride)` over the
counters of the enclosing loops.

Inside `run(entry, first, n)`, iteration t writes output i at `output + (t - first) * nbytes(i)`: outputs are stacked
along a new leading axis. That is the only difference between one call and n steps.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.records import dataclass
from graphc.plan.memory import ALIGNMENT as ALIGNMENT

if TYPE_CHECKING:  # a program from the cache has no kernels
    from graphc.kernel.ir import Kernel

Segment = Literal["arena", "state", "constants", "input", "output", "step"]


@dataclass(frozen=True, slots=True)
class Ref:
    """An address. `slot` numbers inputs and outputs; `strides` are bytes per counter of the enclosing loops,
    outermost first.
    """

    segment: Segment
    offset: int
    nbytes: int
    slot: int = 0
    strides: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """Run a kernel; `args` match its parameters. `scratch` are its arena allocations, in order of appearance.

    Kernels of one name have one structure in the whole plan.
    """

    kernel: "Kernel"
    args: tuple[Ref, ...]
    scratch: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """Move `source.nbytes` bytes; the two ranges do not overlap."""

    source: Ref
    target: Ref


@dataclass(frozen=True, slots=True)
class Repeat:
    """Run `body` `count` times; the counter takes part in the addresses inside.

    With `limit` only as many times as the int64 there says (0 if it is negative, `count` if it is larger): the counter
    takes the first of its values, with `last` the last ones.
    """

    count: int
    body: "Block"
    limit: Ref | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class While:
    """Run `cond`, then `body`, until `cond` has left a zero in the byte at `flag`. A counter of the runs of `body`
    takes
    part in the addresses inside; the number of them is written to the int64 at `count`.

    A `cond` that asks for more than `bound` runs is an error, which names `source`.
    """

    cond: "Block"
    flag: Ref
    body: "Block"
    bound: int | None = None
    count: Ref | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    """Run the block whose number is the int32 at `index`: the nearest one there is."""

    index: Ref
    blocks: "tuple[Block, ...]"


Instruction = Launch | Copy | Repeat | While | Branch


def counters(repeat: Repeat, limit: int | None = None) -> range:
    """The values of the counter; `limit` is what the int64 at `repeat.limit` is."""
    if limit is None:
        return range(repeat.count)
    made = min(max(limit, 0), repeat.count)
    return range(repeat.count - made, repeat.count) if repeat.last else range(made)


def chosen(branch: Branch, index: int) -> "Block":
    """The block that runs; `index` is what the int32 at `branch.index` is."""
    return branch.blocks[min(max(index, 0), len(branch.blocks) - 1)]


def walk_instructions(block: "Block") -> "Iterator[Instruction]":
    """Every instruction of a block and of the blocks inside, in order."""
    stack = list(reversed(block.instructions))
    while stack:
        instruction = stack.pop()
        yield instruction
        inside = [inner for each in inner_blocks(instruction) for inner in each.instructions]
        stack += reversed(inside)


def exceeded(loop: While) -> str:
    """What is said of a loop that would not end within its bound."""
    place = f" ({loop.source})" if loop.source else ""
    return f"while_loop: more iterations than bound={loop.bound}; declare a larger bound{place}"


def inner_blocks(instruction: Instruction) -> "tuple[Block, ...]":
    """The blocks inside an instruction, in order."""
    match instruction:
        case Repeat():
            return (instruction.body,)
        case While():
            return (instruction.cond, instruction.body)
        case Branch():
            return instruction.blocks
        case Launch() | Copy():
            return ()


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions in order."""

    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor that crosses the border of the plan."""

    name: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StateSlot:
    """A named state buffer at a fixed offset of the state segment."""

    slot: Slot
    offset: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One buffer of an entry for the memory report: live from instruction `first` to `last`, both inclusive."""

    label: str
    source: str
    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One function of the plan."""

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    block: Block
    arena_bytes: int
    lifetimes: tuple[Lifetime, ...]
    lower_bound_bytes: int  # largest sum of live bytes over the order of this plan


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole program. `constant_data` is (offset, array) pairs inside the constants segment."""

    state: tuple[StateSlot, ...]
    state_bytes: int
    constants: tuple[tuple[int, np.ndarray], ...]
    constant_bytes: int
    entries: dict[str, Entry]

    @property
    def arena_bytes(self) -> int:
        """One arena serves all entries."""
        return max((entry.arena_bytes for entry in self.entries.values()), default=0)
