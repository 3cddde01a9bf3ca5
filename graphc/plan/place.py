"""Which memory each tensor of a loop program lives in, before the arena is packed.

In: a `LoopProgram` and its `Accesses`. Out: a `Placement`. Temporaries live in the arena, but for three cases in which
a copy, or memory, is saved:

- state: the new value of a state slot is written straight into that slot. Legal when no byte of it is written before
  the last read of the old byte there (a read by the same call counts as earlier only where `aliases_ok` allows it),
  and when the old value is neither an output nor the new value of another slot
- in place: the result of a call takes over the memory of an argument of the same size that is read for the last time
  by that call, where `aliases_ok` allows it
- output: a temporary that is an output is written straight into the caller's memory, together with the temporaries
  whose memory it takes over

In the body of a loop that alternates, a carry that may not be overwritten has two places: an iteration reads one and
writes the other.
"""

from typing import Literal

from graphc.core.records import dataclass
from graphc.kernel.program import LoopProgram
from graphc.plan.ir import Segment
from graphc.plan.liveness import Access, Accesses, Range, sharing_allowed

Memory = Segment | Literal["other"]
LARGE = 4096  # bytes: smaller carries are copied


@dataclass(frozen=True, slots=True)
class Home:
    """The memory an owner lives in. `slot` numbers states, constants, inputs and outputs; in the arena it is the
    tensor the memory is named after. other: the second place of a state.
    """

    segment: Memory
    slot: int


@dataclass(frozen=True, slots=True)
class Placement:
    """`homes` by owner; `taken_from`: owner -> the owner whose memory it takes over in place."""

    homes: dict[int, Home]
    taken_from: dict[int, int]


_OUTSIDE: dict[str, Segment] = {"input": "input", "constant": "constants", "state": "state", "step": "step"}


def place(program: LoopProgram, found: Accesses, alternates: bool = False) -> Placement:
    """Decide for every owner. State comes before in place: writing state in place saves a copy, not only memory.

    alternates: whether states may have two places.
    """
    homes: dict[int, Home] = {}
    for owner in {where.owner for where in found.ranges.values()}:
        tensor = program.tensors[owner]
        if tensor.role != "temporary":
            homes[owner] = Home(_OUTSIDE[tensor.role], max(tensor.slot, 0))
    kept = needed_at_end(program, found)
    for slot, tensor_id in program.state_updates:
        where = found.ranges[tensor_id]
        if where.owner in homes or not _is_whole(program, where):
            continue
        if found.state_owner.get(slot) not in kept and may_overwrite(found, slot, where.owner):
            homes[where.owner] = Home("state", slot)
        elif alternates and where.nbytes >= LARGE:
            homes[where.owner] = Home("other", slot)
    taken_from = _take_over(program, found, homes, kept)
    for number, tensor_id in enumerate(program.outputs):
        owner = found.ranges[tensor_id].owner
        if owner not in homes and _is_whole(program, found.ranges[tensor_id]):
            homes[owner] = Home("output", number)
    return Placement(_spread(found, homes, taken_from), taken_from)


def needed_at_end(program: LoopProgram, found: Accesses) -> set[int]:
    """Owners that are, or hold, an output or a new state value."""
    ids = [*program.outputs, *(tensor_id for _, tensor_id in program.state_updates)]
    return {found.ranges[tensor_id].owner for tensor_id in ids}


def _is_whole(program: LoopProgram, where: Range) -> bool:
    return where.nbytes == program.tensors[where.owner].nbytes


# ----------------------------------------------------------------------------------------------------------- state


def may_overwrite(found: Accesses, slot: int, owner: int) -> bool:
    """Whether no call reads the old value of state `slot` after the new value `owner` was written over it."""
    old = found.state_owner.get(slot)
    reads = [] if old is None else found.reads.get(old, [])
    return not any(_clobbers(write, read) for write in found.writes.get(owner, []) for read in reads)


def _clobbers(write: Access, read: Access) -> bool:
    """Whether a write at the place of the old value destroys bytes that the read still needs."""
    if read.call < write.call or read.range.stop <= write.range.start or write.range.stop <= read.range.start:
        return False
    exactly = (read.range.start, read.range.stop) == (write.range.start, write.range.stop)
    return not (read.call == write.call and exactly and sharing_allowed(write, read))


# -------------------------------------------------------------------------------------------------------- in place


def _take_over(program: LoopProgram, found: Accesses, homes: dict[int, Home], kept: set[int]) -> dict[int, int]:
    """For each owner the first argument, in `aliases_ok` order, whose memory it may take over."""
    taken_from: dict[int, int] = {}
    taken: set[int] = set()
    for call in found.calls:
        for out in call:
            owner = out.range.owner
            if out.param.mode != "out" or owner in homes or found.first(owner) != out.call:
                continue
            if not _is_whole(program, out.range) or _others(call, out):
                continue
            for argument in _named(call, out):
                victim = argument.range.owner
                free = victim not in homes and victim not in kept and victim not in taken
                free = free and victim in found.writes  # nothing writes what is empty
                if free and found.last(victim) == out.call and _may_replace(program, call, out, victim):
                    taken_from[owner] = victim
                    taken.add(victim)
                    break
    return taken_from


def _named(call: tuple[Access, ...], out: Access) -> list[Access]:
    """The arguments `out` may replace, in the order it names them."""
    by_name = {access.param.buffer.name: access for access in call if access.param.mode == "in"}
    return [by_name[name] for name in out.param.aliases_ok if name in by_name]


def _others(call: tuple[Access, ...], out: Access) -> bool:
    """Whether another parameter of the call touches the same owner."""
    return sum(access.range.owner == out.range.owner for access in call) > 1


def _may_replace(program: LoopProgram, call: tuple[Access, ...], out: Access, victim: int) -> bool:
    """Whether every parameter on the victim is all of it, of the same size, and may share memory with `out`."""
    uses = [access for access in call if access.range.owner == victim]
    size = program.tensors[out.range.owner].nbytes
    return all(sharing_allowed(out, use) and _is_whole(program, use.range) and use.range.nbytes == size for use in uses)


# --------------------------------------------------------------------------------------------------- shared memory


def _spread(found: Accesses, homes: dict[int, Home], taken_from: dict[int, int]) -> dict[int, Home]:
    """Give every temporary a home: a chain of owners that share memory lives where its last member does."""
    owners = {where.owner for where in found.ranges.values()}
    spread: dict[int, Home] = {}
    for last in owners - set(taken_from.values()):
        home = homes.get(last, Home("arena", last))
        member: int | None = last
        while member is not None:
            spread[member] = home
            member = taken_from.get(member)
    return spread
