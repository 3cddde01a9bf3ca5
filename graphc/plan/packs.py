"""Packing once what several calls read packed in the same way.

In: a `LoopProgram` in which every packed operand has a call of its own, in front of its reader. Out: the same program
with fewer of these calls. Guaranteed: every call reads the same values, and the arena does not grow. What is shared
lives until its last reader, so it is shared only where there is room for it in between.
"""

from collections.abc import Container, Sequence
from dataclasses import replace

from graphc.core.records import dataclass
from graphc.kernel.program import Call, KernelCall, LoopProgram
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
