"""Packing once what several calls read packed in the same way, and what all iterations of a loop do.

In: a `LoopProgram` in which every packed operand has a call of its own, in front of its reader. Out: the same program
with fewer of these calls. Guaranteed: every call reads the same values. Of calls that follow each other the arena does
not grow: what is shared lives until its last reader, so it is shared only where there is room for it in between. What
is packed in front of a loop lives as long as the loop.
"""

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from graphc.core.dtypes import uint8
from graphc.core.records import dataclass
from graphc.kernel.ir import Buffer, Param
from graphc.kernel.program import Call, KernelCall, LoopCall, LoopProgram, Tensor
from graphc.plan.build import arena_needs
from graphc.plan.liveness import Accesses, accesses
from graphc.plan.memory import Interval, align, lower_bound, pack


def share_packs(program: LoopProgram, packed: frozenset[int]) -> LoopProgram:
    """`packed`: the tensors that packs write, each read by calls that come soon after."""
    alike: dict[object, list[int]] = {}  # numbers of calls
    for number, call in enumerate(program.calls):
        if _writes(call, packed):
            alike.setdefault(_key(call), []).append(number)
    repeated = [numbers for numbers in alike.values() if len(numbers) > 1]
    if not repeated:
        return program
    needs = arena_needs(program)
    found, room = accesses(program), _Room.of(needs)
    instead: dict[int, int] = {}  # tensors
    for numbers in repeated:
        first = numbers[0]
        end = found.last(program.calls[first].args[-1])
        for number in numbers[1:]:
            tensor = program.calls[number].args[-1]
            if _changed(program, found, first, number) or not room.take(
                end + 1, number, program.tensors[tensor].nbytes
            ):
                first = number
            else:
                instead[tensor] = program.calls[first].args[-1]
            end = found.last(tensor)
    shared = _without(program, instead)
    return shared if not instead or pack(arena_needs(shared)).peak <= pack(needs).peak else program


def _writes(call: Call, packed: Container[int]) -> bool:
    """Whether the call is a pack that writes one of these tensors; its reader has it as last argument too."""
    if not isinstance(call, KernelCall) or not call.args:
        return False
    return call.args[-1] in packed and call.params[-1].mode == "out"


def _key(call: Call) -> object:
    """What is equal for packs of equal results: kernels of one name have one structure."""
    return call.name, call.args[:-1]


def _changed(program: LoopProgram, found: Accesses, first: int, second: int) -> bool:
    """Whether an operand is written between two calls that pack it."""
    owners = {found.ranges[tensor].owner for tensor in program.calls[second].args[:-1]}
    return any(first < access.call < second for owner in owners for access in found.writes.get(owner, ()))


@dataclass(slots=True)
class _Room:
    """Bytes that are live at each call, and the most there may be."""

    live: list[int]
    most: int

    @staticmethod
    def of(needs: Sequence[Interval]) -> "_Room":
        live = [0] * (max((need.last for need in needs), default=0) + 1)
        for need in needs:
            for call in range(need.first, need.last + 1):
                live[call] += align(need.nbytes)
        return _Room(live, lower_bound(needs))

    def take(self, first: int, stop: int, nbytes: int) -> bool:
        """Take room at the calls first .. stop - 1, if they have it."""
        if any(live + align(nbytes) > self.most for live in self.live[first:stop]):
            return False
        for call in range(first, stop):
            self.live[call] += align(nbytes)
        return True


def _without(program: LoopProgram, instead: dict[int, int]) -> LoopProgram:
    """The program without the calls that write some tensors, and others read in their place."""
    calls = tuple(
        replace(call, args=tuple(instead.get(tensor, tensor) for tensor in call.args))
        for call in program.calls
        if not _writes(call, instead)
    )
    tensors = {number: tensor for number, tensor in program.tensors.items() if number not in instead}
    return replace(program, tensors=tensors, calls=calls)


# ----------------------------------------------------------------------------------------------- in front of a loop


@dataclass(slots=True)
class Outside:
    """The program around a loop in the making: what is added to it."""

    tensors: dict[int, Tensor]
    constants: list[np.ndarray]
    calls: list[Call]

    def add(self, tensor: Tensor) -> int:
        number = max(self.tensors, default=-1) + 1
        self.tensors[number] = replace(tensor, id=number)
        return number

    def constant(self, array: np.ndarray, tensor: Tensor) -> int:
        """The number of a constant that is in the loop; arrays are known by identity."""
        slot = next((k for k, known in enumerate(self.constants) if known is array), len(self.constants))
        if slot == len(self.constants):
            self.constants.append(array)
        return self.add(replace(tensor, slot=slot))


def pack_in_front(loop: LoopCall, packed: Container[int], outside: Outside) -> LoopCall:
    """The loop without packs of what is the same in all its iterations, which are called outside, in front of it.

    `packed`: the tensors of the body that packs write.
    """
    if loop.count is not None and loop.count <= 1:
        return loop
    body = loop.body
    moved: dict[int, int] = {}  # tensors of the body: those outside
    left: list[Call] = []
    for call in body.calls:
        if not _writes(call, packed) or not all(_is_fixed(loop, tensor) for tensor in call.args[:-1]):
            left.append(call)
            continue
        operands = [_seen_outside(loop, tensor, outside) for tensor in call.args[:-1]]
        made = outside.add(body.tensors[call.args[-1]])
        outside.calls.append(replace(call, args=(*operands, made)))
        moved[call.args[-1]] = made
    return _with_captures(replace(loop, body=replace(body, calls=tuple(left))), moved) if moved else loop


def _is_fixed(loop: LoopCall, tensor: int) -> bool:
    """Whether a tensor of the body is the same in all iterations."""
    found = loop.body.tensors[tensor]
    while found.view_of is not None:
        found = loop.body.tensors[found.view_of]
    return found.role == "constant" or (found.role == "input" and found.slot < loop.num_captures)


def _seen_outside(loop: LoopCall, tensor: int, outside: Outside) -> int:
    found = loop.body.tensors[tensor]
    if found.view_of is not None:
        return outside.add(replace(found, view_of=_seen_outside(loop, found.view_of, outside)))
    if found.role == "constant":
        return outside.constant(loop.body.constants[found.slot], found)
    return loop.args[loop.parts.captures[found.slot]]


def _with_captures(loop: LoopCall, moved: dict[int, int]) -> LoopCall:
    """The loop with tensors of its body as further captures."""
    count = loop.num_captures
    body = loop.body
    tensors = {
        number: replace(each, slot=each.slot + len(moved)) if each.role == "input" and each.slot >= count else each
        for number, each in body.tensors.items()
    }
    for slot, tensor in enumerate(moved, count):
        tensors[tensor] = replace(tensors[tensor], role="input", slot=slot)
    inside = replace(body, tensors=tensors, inputs=(*body.inputs[:count], *moved, *body.inputs[count:]))
    cond = loop.cond
    if cond is not None:  # it gets all captures, and reads none of these
        last = max(cond.tensors, default=-1) + 1
        added = {
            last + k: replace(body.tensors[tensor], id=last + k, role="input", slot=count + k)
            for k, tensor in enumerate(moved)
        }
        cond = replace(cond, tensors={**cond.tensors, **added}, inputs=(*cond.inputs, *added))
    stop = loop.parts.captures.stop
    params = [Param(Buffer(f"packed{n}", uint8, (body.tensors[n].nbytes,)), "in", body.tensors[n].label) for n in moved]
    return replace(
        loop,
        body=inside,
        cond=cond,
        num_captures=count + len(moved),
        params=(*loop.params[:stop], *params, *loop.params[stop:]),
        args=(*loop.args[:stop], *moved.values(), *loop.args[stop:]),
    )
