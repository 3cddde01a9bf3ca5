"""Addresses: from programs whose memory is laid out to instructions.

In: a `Layout`, and a `Frame`, which says where the memory lies that its slots stand for. Out: the instructions of each
call, then those of the copies at the end. The frame of a body is made of the addresses that its loop has around it: a
carry stays where its last value belongs, a capture is the same in all iterations, rows move with the counter.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from graphc.core.records import dataclass
from graphc.kernel.ir import Alloc, Buffer, Kernel
from graphc.kernel.program import BranchCall, Call, KernelCall, LoopCall, LoopProgram
from graphc.plan.copies import Move, Spot, spot
from graphc.plan.ir import ALIGNMENT, Block, Branch, Copy, Instruction, Launch, Lifetime, Ref, Repeat, While
from graphc.plan.liveness import Accesses
from graphc.plan.memory import Interval, align
from graphc.plan.place import Placement


@dataclass(frozen=True, slots=True)
class Need:
    """Arena memory that is needed for a while. `key` names it: a temporary, a staging buffer or a call's scratch."""

    key: tuple[str, int, int]
    interval: Interval
    rows: tuple[Lifetime, ...]  # for people, offsets still relative to the start of the memory


@dataclass(frozen=True, slots=True)
class Layout:
    """A program whose memory is laid out: `offsets` of its needs in `nbytes` of memory. `inside`: the programs in its
    loops and branches, by the number of the call; the memory of each is a part of the call's scratch.
    """

    program: LoopProgram
    found: Accesses
    placement: Placement
    moves: tuple[Move, ...]
    needs: tuple[Need, ...]
    offsets: dict[tuple[str, int, int], int]
    nbytes: int
    inside: "dict[int, tuple[Layout, ...]]"


def arena_allocs(kernel: Kernel) -> tuple[Buffer, ...]:
    """The scratch a kernel asks of the plan: top-level allocations in the arena, in order of appearance."""
    return tuple(s.buffer for s in kernel.body if isinstance(s, Alloc) and s.buffer.space == "arena")


def inner_bytes(call: Call, inside: Sequence[Layout]) -> int:
    """The scratch of a loop or branch: its programs run one after the other. The flag of a condition lies behind."""
    nbytes = align(max((laid.nbytes for laid in inside), default=0))
    return nbytes + ALIGNMENT if _has_flag(call) else nbytes


def _has_flag(call: Call) -> bool:
    return isinstance(call, LoopCall) and call.cond is not None


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the slots of a program lie; its arena begins `arena` bytes behind that of the entry. `depth`: how many
    loops
    are around it.
    """

    state: Sequence[Ref]
    inputs: Sequence[Ref]
    outputs: Sequence[Ref]
    arena: int = 0
    depth: int = 0


Pool = Callable[[np.ndarray], int]  # where the bytes of a constant lie in the constants segment


def instructions(laid: Layout, frame: Frame, pool: Pool) -> list[list[Instruction]]:
    """The instructions of each call of a program in order, then of each copy at its end."""
    return _Addresses(laid, frame, pool).run()


@dataclass(frozen=True, slots=True)
class _Addresses:
    laid: Layout
    frame: Frame
    pool: Pool

    def run(self) -> list[list[Instruction]]:
        groups = [self._call(number, call) for number, call in enumerate(self.laid.program.calls)]
        moves: list[Instruction] = [Copy(self._ref(m.source), self._ref(m.target)) for m in self.laid.moves]
        return [*groups, *([move] for move in moves)]

    def _ref(self, at: Spot) -> Ref:
        match at.segment:
            case "arena":
                offset = self.laid.offsets.get(("tensor", at.slot, 0), 0)  # an empty tensor needs no memory
                return Ref("arena", self.frame.arena + offset + at.start, at.nbytes)
            case "constants":
                return Ref("constants", self.pool(self.laid.program.constants[at.slot]) + at.start, at.nbytes)
            case "state":
                return _part(self.frame.state[at.slot], at.start, at.nbytes)
            case "input":
                return _part(self.frame.inputs[at.slot], at.start, at.nbytes)
            case "output":
                return _part(self.frame.outputs[at.slot], at.start, at.nbytes)
            case "step":
                return Ref("step", at.start, at.nbytes)

    def _call(self, number: int, call: Call) -> list[Instruction]:
        args = [self._ref(spot(self.laid.found, self.laid.placement, tensor)) for tensor in call.args]
        match call:
            case KernelCall():
                scratch = tuple(
                    Ref("arena", self._scratch(number, k), buffer.nbytes)
                    for k, buffer in enumerate(arena_allocs(call.kernel))
                )
                return [Launch(call.kernel, tuple(args), scratch)]
            case LoopCall():
                return self._loop(number, call, args)
            case BranchCall():
                return [self._branch(number, call, args)]

    def _scratch(self, number: int, k: int = 0) -> int:
        return self.frame.arena + self.laid.offsets.get(("scratch", number, k), 0)

    # ------------------------------------------------------------------------------------------------------- inside

    def _block(self, laid: Layout, frame: Frame) -> Block:
        return Block(tuple(each for group in instructions(laid, frame, self.pool) for each in group))

    def _loop(self, number: int, call: LoopCall, args: Sequence[Ref]) -> list[Instruction]:
        parts = call.parts
        finals = [args[k] for k in parts.finals]
        pairs = zip((args[k] for k in parts.inits), finals, strict=True)
        before: list[Instruction] = [Copy(init, final) for init, final in pairs if init != final and final.nbytes]
        if call.count == 0 and call.cond is None:
            return before or [Repeat(0, Block(()))]  # at least one: moments are numbers of instructions
        inside, scratch = self.laid.inside[number], self._scratch(number)
        captures = [args[k] for k in parts.captures]
        xs = [self._row(call, args[k], call.params[k].buffer.nbytes) for k in parts.xs]
        ys = [self._row(call, args[k], call.params[k].buffer.nbytes) for k in parts.ys]
        depth = self.frame.depth + 1
        body = self._block(inside[0], Frame(finals, [*captures, *xs], ys, scratch, depth))
        if call.cond is None:
            assert call.count is not None
            limit = args[parts.limit.start] if call.limited else None
            return [*before, Repeat(call.count, body, limit, call.limited and call.reverse)]
        flag = Ref("arena", scratch + inner_bytes(call, inside) - ALIGNMENT, 1)
        cond = self._block(inside[1], Frame(finals, captures, [flag], scratch, depth))
        count = args[-1] if parts.counts else None
        return [*before, While(cond, flag, body, call.count, count, call.source)]

    def _row(self, call: LoopCall, whole: Ref, nbytes: int) -> Ref:
        """The row of this iteration."""
        assert call.count is not None
        row = nbytes // max(call.count, 1)
        first, stride = (nbytes - row, -row) if call.reverse else (0, row)
        strides = (*whole.strides, *([0] * (self.frame.depth - len(whole.strides))), stride)
        return replace(whole, offset=whole.offset + first, nbytes=row, strides=strides)

    def _branch(self, number: int, call: BranchCall, args: Sequence[Ref]) -> Branch:
        count = len(call.programs[0].inputs)
        inputs, outputs = args[1 : 1 + count], args[1 + count :]
        frame = Frame((), inputs, outputs, self._scratch(number), self.frame.depth)
        return Branch(args[0], tuple(self._block(laid, frame) for laid in self.laid.inside[number]))


def _part(whole: Ref, start: int, nbytes: int) -> Ref:
    return replace(whole, offset=whole.offset + start, nbytes=nbytes)
