"""Addresses: from programs whose memory is laid out to instructions.

In: a `Layout`, and a `Frame`, which says where the memory lies that its slots stand for. Out: the instructions of each
call, then those of the copies at the end. The frame of a body is made of the addresses that its loop has around it: a
carry stays where its last value belongs, a capture is the same in all iterations, rows move with the counter. A carry
that may not be overwritten has a second place, and iterations take turns: one reads the first and writes the second,
the next one the other way round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

import numpy as np

from graphc.core.records import dataclass
from graphc.kernel.ir import Alloc, Buffer, Kernel
from graphc.kernel.program import BranchCall, Call, KernelCall, LoopCall, LoopProgram
from graphc.kernel.structure import is_copy
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

    @property
    def others(self) -> dict[int, int]:
        """The states that have two places, and their bytes."""
        homes = ((self.placement.homes[owner], owner) for owner in self.found.writes)
        return {home.slot: self.program.tensors[owner].nbytes for home, owner in homes if home.segment == "other"}


MOST_CALLS = 64  # in the body of a loop whose instructions are written twice


def may_alternate(call: Call) -> bool:
    """Whether iterations of a loop may take turns with the places of carries: it is known how many there are."""
    if not isinstance(call, LoopCall) or call.cond is not None or call.limited or (call.count or 0) < 2:
        return False
    return len(call.body.calls) <= MOST_CALLS and all(isinstance(inner, KernelCall) for inner in call.body.calls)


def arena_allocs(kernel: Kernel) -> tuple[Buffer, ...]:
    """The scratch a kernel asks of the plan: top-level allocations in the arena, in order of appearance."""
    return tuple(s.buffer for s in kernel.body if isinstance(s, Alloc) and s.buffer.space == "arena")


def inner_bytes(call: Call, inside: Sequence[Layout]) -> int:
    """The scratch of a loop or branch: its programs run one after the other. Behind it lie the second places of
    carries, or the flag of a condition.
    """
    nbytes = align(max((laid.nbytes for laid in inside), default=0))
    nbytes += sum(align(other) for laid in inside for other in laid.others.values())
    return nbytes + ALIGNMENT if _has_flag(call) else nbytes


def _has_flag(call: Call) -> bool:
    return isinstance(call, LoopCall) and call.cond is not None


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the slots of a program lie; its arena begins `arena` bytes behind that of the entry. `depth`: how many
    loops are around it. `other`: the second places of states that have two.
    """

    state: Sequence[Ref]
    inputs: Sequence[Ref]
    outputs: Sequence[Ref]
    arena: int = 0
    depth: int = 0
    other: Mapping[int, Ref] = field(default_factory=dict)


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
            case "other":
                return _part(self.frame.other[at.slot], at.start, at.nbytes)
            case "input":
                return _part(self.frame.inputs[at.slot], at.start, at.nbytes)
            case "output":
                return _part(self.frame.outputs[at.slot], at.start, at.nbytes)
            case "step":
                return Ref("step", at.start, at.nbytes)

    def _call(self, number: int, call: Call) -> list[Instruction]:
        args = [self._ref(spot(self.laid.found, self.laid.placement, tensor)) for tensor in call.args]
        match call:
            case KernelCall() if args and all(arg == args[0] for arg in args) and is_copy(call.kernel):
                return [Repeat(0, Block(()))]  # in place: nothing to do, at a moment of its own
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
        inits = [args[k] for k in parts.inits]
        if call.count == 0 and call.cond is None:
            return _copies(inits, finals) or [Repeat(0, Block(()))]  # at least one: moments are numbers of instructions
        inside, scratch = self.laid.inside[number], self._scratch(number)
        if inside[0].others:
            return self._in_turns(call, args, inside, scratch)
        before = _copies(inits, finals)
        captures = [args[k] for k in parts.captures]
        body = self._body(call, args, inside[0], Frame(finals, (), (), scratch))
        if call.cond is None:
            assert call.count is not None
            limit = args[parts.limit.start] if call.limited else None
            return [*before, Repeat(call.count, body, limit, call.limited and call.reverse)]
        flag = Ref("arena", scratch + inner_bytes(call, inside) - ALIGNMENT, 1)
        cond = self._block(inside[1], Frame(finals, captures, [flag], scratch, self.frame.depth + 1))
        count = args[-1] if parts.counts else None
        return [*before, While(cond, flag, body, call.count, count, call.source)]

    def _in_turns(
        self, call: LoopCall, args: Sequence[Ref], inside: Sequence[Layout], scratch: int
    ) -> list[Instruction]:
        """Two iterations at a time. The last one leaves the carries where they belong; where their number is odd the
        first one is done before, and reads the other places.
        """
        assert call.count is not None
        finals = [args[k] for k in call.parts.finals]
        second = list(finals)
        offset = scratch + align(max(laid.nbytes for laid in inside))
        for slot, nbytes in inside[0].others.items():
            second[slot] = Ref("arena", offset, nbytes)
            offset += align(nbytes)

        def turn(first: Sequence[Ref], then: Sequence[Ref], skip: int, step: int) -> tuple[Instruction, ...]:
            frame = Frame(first, (), (), scratch, other={slot: then[slot] for slot in inside[0].others})
            return self._body(call, args, inside[0], frame, skip, step).instructions

        odd = call.count % 2
        result = _copies([args[k] for k in call.parts.inits], second if odd else finals)
        if odd:
            result.append(Repeat(1, Block(turn(second, finals, 0, 1))))
        pair = (*turn(finals, second, odd, 2), *turn(second, finals, odd + 1, 2))
        return [*result, Repeat(call.count // 2, Block(pair))]

    def _body(
        self, call: LoopCall, args: Sequence[Ref], laid: Layout, frame: Frame, skip: int = 0, step: int = 1
    ) -> Block:
        """The instructions of an iteration; `frame` says where the carries lie. The loop begins with row `skip`, and
        takes each `step`th one.
        """
        parts = call.parts
        rows = {k: self._row(call, args[k], call.params[k].buffer.nbytes, skip, step) for k in (*parts.xs, *parts.ys)}
        inputs = [*(args[k] for k in parts.captures), *(rows[k] for k in parts.xs)]
        outputs = [rows[k] for k in parts.ys]
        return self._block(laid, replace(frame, inputs=inputs, outputs=outputs, depth=self.frame.depth + 1))

    def _row(self, call: LoopCall, whole: Ref, nbytes: int, skip: int, step: int) -> Ref:
        """The row of this iteration."""
        assert call.count is not None
        row = nbytes // max(call.count, 1)
        first, stride = (nbytes - row, -row) if call.reverse else (0, row)
        strides = (*whole.strides, *([0] * (self.frame.depth - len(whole.strides))), step * stride)
        return replace(whole, offset=whole.offset + first + skip * stride, nbytes=row, strides=strides)

    def _branch(self, number: int, call: BranchCall, args: Sequence[Ref]) -> Branch:
        count = len(call.programs[0].inputs)
        inputs, outputs = args[1 : 1 + count], args[1 + count :]
        frame = Frame((), inputs, outputs, self._scratch(number), self.frame.depth)
        return Branch(args[0], tuple(self._block(laid, frame) for laid in self.laid.inside[number]))


def _copies(sources: Sequence[Ref], targets: Sequence[Ref]) -> list[Instruction]:
    pairs = zip(sources, targets, strict=True)
    return [Copy(source, target) for source, target in pairs if source != target and target.nbytes]


def _part(whole: Ref, start: int, nbytes: int) -> Ref:
    return replace(whole, offset=whole.offset + start, nbytes=nbytes)
