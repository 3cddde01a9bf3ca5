"""The Plan: what a backend gets. Kernels, where every byte lies, and in which order things happen.

Memory is made of segments. `arena` is one block of scratch reused inside an entry; `state` persists between steps and
entries;
`constants` is read-only and shared by all entries; `input` i and `output` i are the caller's; `step` is one int64,
the number of the current
step, kept by the driver. An address is `segment + offset + sum(counter * stride)` over the enclosing `Repeat` counters.

Inside `run(entry, first, n)`, iteration t writes output i at `output + (t - first) * nbytes(i)`: outputs are stacked
along a new leading axis. That is the only difference between one call and n steps.
"""

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
    """An address. `slot` numbers inputs and outputs; `strides` are bytes per enclosing `Repeat` counter, outermost
    first.
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
    """Run `body` `count` times; the counter takes part in the addresses inside."""

    count: int
    body: "Block"


@dataclass(frozen=True, slots=True)
class Branch:
    """Run `then` when the one-byte flag at `flag` is not zero, else `orelse`."""

    flag: Ref
    then: "Block"
    orelse: "Block"


Instruction = Launch | Copy | Repeat | Branch


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
