"""From loop programs to a `Plan`: every byte gets its place.

In: one `LoopProgram` per entry with the slots at its border, and the state layout they share. Out: a `Plan` that
`graphc.plan.verify` accepts. Guaranteed: entries agree on where state and constants lie, equal constants are stored
once, and the order of calls is kept (calls whose results nobody reads too).

The stages: `liveness` (who touches which bytes when), `place` (which memory), `copies` (what is left to copy at the
end), `memory` (offsets in the arena).
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from graphc.core.errors import VerifyError
from graphc.core.records import dataclass
from graphc.kernel.ir import Alloc, Buffer, Kernel
from graphc.kernel.program import LoopProgram, Tensor
from graphc.plan.copies import Move, Spot, final_moves, spot
from graphc.plan.ir import Block, Copy, Entry, Instruction, Launch, Lifetime, Plan, Ref, Slot, StateSlot
from graphc.plan.liveness import Accesses, accesses, describe
from graphc.plan.memory import Interval, align, lower_bound, pack
from graphc.plan.place import Placement, place


def build(
    programs: Sequence[LoopProgram],
    state: Sequence[Slot],
    inputs: Sequence[Sequence[Slot]],
    outputs: Sequence[Sequence[Slot]],
) -> Plan:
    """Plan the memory of all entries. `inputs[i]` and `outputs[i]` are the slots at the border of `programs[i]`.

    Raises `VerifyError` when a program is malformed (see `graphc.plan.liveness`) or does not fit its slots.
    """
    layout, state_bytes = _state_layout(state)
    pool = _ConstantPool()
    entries: dict[str, Entry] = {}
    for program, ins, outs in zip(programs, inputs, outputs, strict=True):
        if program.name in entries:
            raise VerifyError(f"two entries are called {program.name}")
        _check_slots(program, state, ins, outs)
        constants = {slot: pool.add(program.constants[slot]) for slot in _constants_used(program)}
        entries[program.name] = _entry(program, layout, constants, tuple(ins), tuple(outs))
    return Plan(layout, state_bytes, tuple(pool.items), pool.nbytes, entries)


def arena_needs(program: LoopProgram) -> list[Interval]:
    """What the arena has to hold for an entry, and when: calls are numbered in order, then copies at the end."""
    found = accesses(program)
    placement = place(program, found)
    return [need.interval for need in _needs(program, found, placement, final_moves(program, found, placement))]


def arena_allocs(kernel: Kernel) -> tuple[Buffer, ...]:
    """The scratch a kernel asks of the plan: top-level allocations in the arena, in order of appearance."""
    return tuple(s.buffer for s in kernel.body if isinstance(s, Alloc) and s.buffer.space == "arena")


# ---------------------------------------------------------------------------------------------- state and constants


def _state_layout(state: Sequence[Slot]) -> tuple[tuple[StateSlot, ...], int]:
    """The slots one after the other, each aligned."""
    layout: list[StateSlot] = []
    offset = 0
    for slot in state:
        layout.append(StateSlot(slot, offset))
        offset += align(slot.nbytes)
    return tuple(layout), offset


class _ConstantPool:
    """Constants of all entries, equal bytes stored once."""

    def __init__(self) -> None:
        self.items: list[tuple[int, np.ndarray]] = []
        self.nbytes = 0
        self._offsets: dict[bytes, int] = {}

    def add(self, array: np.ndarray) -> int:
        """The offset of the array's bytes in the constants segment."""
        key = hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).digest()
        if key not in self._offsets:
            self._offsets[key] = self.nbytes
            self.items.append((self.nbytes, array))
            self.nbytes += align(array.nbytes)
        return self._offsets[key]


def _constants_used(program: LoopProgram) -> list[int]:
    return sorted({t.slot for t in program.tensors.values() if t.role == "constant" and t.view_of is None})


# ---------------------------------------------------------------------------------------------------- slots fit


def _check_slots(program: LoopProgram, state: Sequence[Slot], ins: Sequence[Slot], outs: Sequence[Slot]) -> None:
    """Tensors at the border have the sizes of their slots."""
    if len(ins) != len(program.inputs) or len(outs) != len(program.outputs):
        raise VerifyError(
            f"{program.name}: {len(program.inputs)} inputs and {len(program.outputs)} outputs "
            f"for {len(ins)} and {len(outs)} slots"
        )
    sizes = {
        "input": [slot.nbytes for slot in ins],
        "state": [slot.nbytes for slot in state],
        "constant": [array.nbytes for array in program.constants],
        "step": [8],
    }
    for tensor in program.tensors.values():
        if tensor.view_of is None and tensor.role != "temporary":
            slot = 0 if tensor.role == "step" else tensor.slot
            _check_size(program, tensor, slot, sizes[tensor.role])
    returned = [slot.nbytes for slot in outs]
    for number, tensor_id in enumerate(program.outputs):
        if tensor_id in program.tensors:
            _check_size(program, program.tensors[tensor_id], number, returned)
    for slot, tensor_id in program.state_updates:
        if tensor_id in program.tensors:
            _check_size(program, program.tensors[tensor_id], slot, sizes["state"])


def _check_size(program: LoopProgram, tensor: Tensor, slot: int, sizes: Sequence[int]) -> None:
    if not 0 <= slot < len(sizes):
        raise VerifyError(f"{program.name}: there is no slot {slot} for {describe(tensor)}")
    if sizes[slot] != tensor.nbytes:
        raise VerifyError(f"{program.name}: {describe(tensor)} has {tensor.nbytes} bytes, its slot {sizes[slot]}")


# ----------------------------------------------------------------------------------------------------------- entry


@dataclass(frozen=True, slots=True)
class _Need:
    """Arena memory that is needed for a while. `key` names it: a temporary, a staging buffer or a kernel's scratch."""

    key: tuple[str, int, int]
    interval: Interval
    rows: tuple[Lifetime, ...]  # for people, offsets still relative to the start of the memory


def _entry(
    program: LoopProgram,
    layout: tuple[StateSlot, ...],
    constants: dict[int, int],
    ins: tuple[Slot, ...],
    outs: tuple[Slot, ...],
) -> Entry:
    found = accesses(program)
    placement = place(program, found)
    moves = final_moves(program, found, placement)
    needs = _needs(program, found, placement, moves)
    intervals = [need.interval for need in needs]
    packing = pack(intervals)
    base = {need.key: offset for need, offset in zip(needs, packing.offsets, strict=True)}

    def ref(at: Spot) -> Ref:
        match at.segment:
            case "arena":
                offset = base.get(("tensor", at.slot, 0), 0)  # an empty tensor needs no memory
                return Ref("arena", offset + at.start, at.nbytes)
            case "state":
                return Ref("state", layout[at.slot].offset + at.start, at.nbytes)
            case "constants":
                return Ref("constants", constants[at.slot] + at.start, at.nbytes)
            case "input" | "output" | "step":
                return Ref(at.segment, at.start, at.nbytes, at.slot)

    instructions: list[Instruction] = []
    for number, call in enumerate(program.calls):
        args = tuple(ref(spot(found, placement, tensor_id)) for tensor_id in call.args)
        scratch = tuple(
            Ref("arena", base[("scratch", number, k)], buffer.nbytes)
            for k, buffer in enumerate(arena_allocs(call.kernel))
        )
        instructions.append(Launch(call.kernel, args, scratch))
    instructions += [Copy(ref(move.source), ref(move.target)) for move in moves]
    rows = tuple(
        Lifetime(row.label, row.source, base[need.key], row.nbytes, row.first, row.last)
        for need in needs
        for row in need.rows
    )
    return Entry(program.name, ins, outs, Block(tuple(instructions)), packing.peak, rows, lower_bound(intervals))


def _needs(program: LoopProgram, found: Accesses, placement: Placement, moves: tuple[Move, ...]) -> tuple[_Need, ...]:
    return (*_temporaries(program, found, placement, moves), *_staging(program, moves), *_scratch(program))


def _temporaries(program: LoopProgram, found: Accesses, placement: Placement, moves: tuple[Move, ...]) -> list[_Need]:
    """One need per chain of temporaries that share memory in place.

    In the rows a tensor whose memory is taken over ends one instruction before its taker begins, so that no byte is
    counted twice.
    """
    chains: dict[int, list[int]] = {}
    for owner in found.writes:
        home = placement.homes[owner]
        if home.segment == "arena":
            chains.setdefault(home.slot, []).append(owner)
    moved = {move.source.slot: len(program.calls) + k for k, move in enumerate(moves) if move.source.segment == "arena"}
    begin = {victim: found.first(owner) for owner, victim in placement.taken_from.items()}
    needs: list[_Need] = []
    for name, chain in chains.items():
        end = max(found.last(name), moved.get(name, -1))
        rows: list[Lifetime] = []
        for owner in sorted(chain, key=found.first):
            tensor = program.tensors[owner]
            last = begin[owner] - 1 if owner in begin else end
            rows.append(Lifetime(tensor.label, tensor.source, 0, tensor.nbytes, found.first(owner), last))
        interval = Interval(rows[0].first, end, program.tensors[name].nbytes)
        needs.append(_Need(("tensor", name, 0), interval, tuple(rows)))
    return needs


def _staging(program: LoopProgram, moves: tuple[Move, ...]) -> list[_Need]:
    """Staging buffers live from the move that fills them to the move that empties them."""
    filled: dict[int, int] = {}
    needs: list[_Need] = []
    for k, move in enumerate(moves):
        number = len(program.calls) + k
        if move.target.segment == "arena":
            filled[move.target.slot] = number
        elif move.source.segment == "arena" and move.source.slot in filled:
            first, nbytes = filled[move.source.slot], move.source.nbytes
            row = Lifetime("staging", "", 0, nbytes, first, number)
            needs.append(_Need(("tensor", move.source.slot, 0), Interval(first, number, nbytes), (row,)))
    return needs


def _scratch(program: LoopProgram) -> list[_Need]:
    """Scratch of a kernel lives for its call only."""
    needs: list[_Need] = []
    for number, call in enumerate(program.calls):
        for k, buffer in enumerate(arena_allocs(call.kernel)):
            label = f"scratch {buffer.name} of {call.kernel.name}"
            row = Lifetime(label, ", ".join(call.kernel.sources), 0, buffer.nbytes, number, number)
            needs.append(_Need(("scratch", number, k), Interval(number, number, buffer.nbytes), (row,)))
    return needs
