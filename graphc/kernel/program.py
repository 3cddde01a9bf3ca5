"""A program over buffers, before memory is planned: what lowering hands to the planner.

`Tensors` are numbered; a tensor is storage of its own, a view into another tensor, or a slot given from outside
(input, state, constant). Calls run in order. A call runs a kernel, a loop or one of several branches; the bodies of
loops and branches are programs of their own, and what they do to the tensors around them is told by parameters, as it
is of a kernel.
"""

from collections.abc import Iterator
from dataclasses import field
from itertools import pairwise
from typing import Literal

import numpy as np

from graphc.core.records import dataclass
from graphc.kernel.ir import Kernel, Param

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

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def params(self) -> tuple[Param, ...]:
        return self.kernel.params

    @property
    def programs(self) -> "tuple[LoopProgram, ...]":
        """The programs inside."""
        return ()


@dataclass(frozen=True, slots=True)
class LoopCall:
    """A loop around a program.

    `body`: state slot k is carry k, which it replaces; its inputs are the captures, then a row of each x; its outputs a
    row of each y. `cond`, where a condition ends the loop: the same state, the captures as inputs, one output of one
    byte.

    Parameters, in order: the number of iterations (int64), where the loop is `limited`; captures; the carries' first
    values; xs; the carries' last values, which may take the place of the first; ys; the number of iterations made
    (int64), where the loop has a condition and a bound. `count`: the most iterations there are, None for any number.
    Iteration t reads and writes row t, or row `count - 1 - t` where the loop runs in reverse.
    """

    name: str
    body: "LoopProgram"
    cond: "LoopProgram | None"
    num_captures: int
    num_carries: int
    count: int | None
    reverse: bool
    limited: bool
    params: tuple[Param, ...]
    args: tuple[int, ...]
    source: str = ""

    @property
    def programs(self) -> "tuple[LoopProgram, ...]":
        """The programs inside."""
        return (self.body,) if self.cond is None else (self.body, self.cond)

    @property
    def parts(self) -> "LoopParts":
        """What each argument is."""
        first = int(self.limited)
        num_xs = len(self.body.inputs) - self.num_captures
        sizes = [first, self.num_captures, self.num_carries, num_xs, self.num_carries, len(self.body.outputs)]
        starts = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
        limit, captures, inits, xs, finals, ys = (range(*pair) for pair in pairwise(starts))
        return LoopParts(limit, captures, inits, xs, finals, ys, len(self.args) > starts[-1])


@dataclass(frozen=True, slots=True)
class LoopParts:
    """Positions among the arguments of a loop. `counts`: whether the last one is the number of iterations made."""

    limit: range
    captures: range
    inits: range
    xs: range
    finals: range
    ys: range
    counts: bool


@dataclass(frozen=True, slots=True)
class BranchCall:
    """One of several programs: that whose number (int32) is the first argument, or the nearest one there is.

    The other parameters are the inputs of the programs, then their outputs.
    """

    name: str
    programs: "tuple[LoopProgram, ...]"
    params: tuple[Param, ...]
    args: tuple[int, ...]
    source: str = ""


Call = KernelCall | LoopCall | BranchCall


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
    several calls may read what is packed once; one whose operand is the same in all iterations of a loop around the
    call is called in front of the loop.
    """

    kernel: Kernel
    packs: tuple[Pack, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopProgram:
    """One entry, or the inside of a loop or branch: calls in order over tensors.

    outputs: tensor ids returned to the caller, in order. state_updates: (state slot, tensor id of its new value);
    slots not listed keep their value. An output or new state value may be any tensor (also an input or another state).
    """

    name: str
    tensors: dict[int, Tensor]
    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    state_updates: tuple[tuple[int, int], ...] = ()
    constants: tuple[np.ndarray, ...] = field(default=())

    def kernel_calls(self) -> Iterator[KernelCall]:
        """Every call of a kernel, those inside loops and branches too, in order."""
        return (call for call, _ in self.counted_calls())

    def counted_calls(self) -> "Iterator[tuple[KernelCall, int]]":
        """Every call of a kernel, and how often loops run it; once where that depends on data."""
        stack: list[tuple[Call, int]] = [(call, 1) for call in reversed(self.calls)]
        while stack:
            call, times = stack.pop()
            if isinstance(call, KernelCall):
                yield call, times
            if isinstance(call, LoopCall) and call.cond is None:
                times *= call.count or 0
            for program in reversed(call.programs):
                stack += [(inner, times) for inner in reversed(program.calls)]
