"""A program over buffers, before memory is planned: what lowering hands to the planner.

`Tensors` are numbered; a tensor is storage of its own, a view into another tensor, or a slot given from outside
(input, state, constant). Steps run in order.
"""

from dataclasses import field
from typing import Literal

import numpy as np

from graphc.core.records import dataclass
from graphc.kernel.ir import Kernel

Role = Literal["temporary", "input", "constant", "state", "step"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of the program.

    role: temporary lives in the arena; input `slot` is the caller's memory, constant `slot` the plan's, state `slot`
    persists between steps; step is the int64 number of the current step, written by the driver. view_of/view_offset
    (bytes): this tensor is a contiguous part of another one and owns no memory.
    """

    id: int
    nbytes: int
    role: Role = "temporary"
    slot: int = -1
    view_of: int | None = None
    view_offset: int = 0
    label: str = ""  # "dot_general f32[128,512]"
    source: str = ""  # "train.py:31"


@dataclass(frozen=True, slots=True)
class KernelCall:
    """Launch `kernel` with one tensor per kernel parameter, in parameter order."""

    kernel: Kernel
    args: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """A kernel that evaluates an operand of another one into the order in which that one reads it.

    reads: the positions of the other kernel's parameters that its "in" parameters are, in order. Its last parameter,
    the only one that is no "in", is the packed buffer.
    """

    kernel: Kernel
    reads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A kernel arranged for a target, and what is packed for it first.

    The parameters of the kernel it was made from come first (the compiler drops those that only packs read); then one
    "in" parameter per pack, in order: the packed buffer. Every pack is called on its own before the kernel, so that
    several calls may read what is packed once; one whose operand is the same in all turns of a loop around the call
    could be called in front of the loop.
    """

    kernel: Kernel
    packs: tuple[Pack, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopProgram:
    """One entry: kernel calls in order over tensors.

    outputs: tensor ids returned to the caller, in order. state_updates: (state slot, tensor id of its new value);
    slots not listed keep their value. An output or new state value may be any tensor (also an input or another state).
    """

    name: str
    tensors: dict[int, Tensor]
    calls: tuple[KernelCall, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    state_updates: tuple[tuple[int, int], ...] = ()
    constants: tuple[np.ndarray, ...] = field(default=())
