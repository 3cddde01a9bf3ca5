"""The copies at the end of an entry: outputs and new state values that could not be written where they belong.

In: a `LoopProgram` and its `Placement`. Out: moves between spots (addresses before the arena is packed) in an order in
which no move overwrites what a later one still reads. Outputs come first: they may be old state values. A new state
value that is the old value of another state is moved before that other state is overwritten; where states exchange
their values in a cycle, one of them is kept in a staging buffer of the arena.
"""

from dataclasses import replace

from graphc.core.records import dataclass
from graphc.kernel.program import LoopProgram
from graphc.plan.liveness import Accesses
from graphc.plan.place import Memory, Placement


@dataclass(frozen=True, slots=True)
class Spot:
    """An address before the arena is packed. `slot` numbers states, constants, inputs and outputs; in the arena it
    names the buffer, negative for staging buffers.
    """

    segment: Memory
    slot: int
    start: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Move:
    """Copy the bytes at `source` to `target`, of the same size."""

    source: Spot
    target: Spot


def spot(found: Accesses, placement: Placement, tensor_id: int) -> Spot:
    """Where a tensor lies."""
    where = found.ranges[tensor_id]
    home = placement.homes[where.owner]
    return Spot(home.segment, home.slot, where.start, where.nbytes)


def final_moves(program: LoopProgram, found: Accesses, placement: Placement) -> tuple[Move, ...]:
    """The moves that are needed, in order."""
    outputs: list[Move] = []
    for number, tensor_id in enumerate(program.outputs):
        source = spot(found, placement, tensor_id)
        outputs.append(Move(source, Spot("output", number, 0, source.nbytes)))
    states: list[Move] = []
    for slot, tensor_id in sorted(program.state_updates):
        source = spot(found, placement, tensor_id)
        if source.segment != "other" or source.slot != slot:  # else it lies where the next iteration reads it
            states.append(Move(source, Spot("state", slot, 0, source.nbytes)))
    return (*_needed(outputs), *order_moves(_needed(states)))


def _needed(moves: list[Move]) -> list[Move]:
    return [move for move in moves if move.source != move.target and move.source.nbytes]


def order_moves(moves: list[Move]) -> list[Move]:
    """State moves in an order that reads every state before it is overwritten, staged where there is none."""
    pending = list(moves)
    ordered: list[Move] = []
    staged = 0
    while pending:
        ready = next((move for move in pending if not _readers(pending, move)), None)
        if ready is not None:
            ordered.append(ready)
            pending.remove(ready)
            continue
        # only cycles are left: each target is read by exactly one other move
        reader = _readers(pending, pending[0])[0]
        staged += 1
        staging = Spot("arena", -staged, 0, reader.source.nbytes)
        ordered.append(Move(reader.source, staging))
        pending[pending.index(reader)] = replace(reader, source=staging)
    return ordered


def _readers(pending: list[Move], move: Move) -> list[Move]:
    """The other moves that read the state this one overwrites."""
    target = move.target
    return [
        other
        for other in pending
        if other is not move and other.source.segment == "state" and other.source.slot == target.slot
    ]
