"""From loop programs to a `Plan`: every byte gets its place.

In: one `LoopProgram` per entry with the slots at its border, and the state layout they share. Out: a `Plan` that
`graphc.plan.verify` accepts. Guaranteed: entries agree on where state and constants lie, equal constants are stored
once, and the order of calls is kept (calls whose results nobody reads too).

The stages: `liveness` (who touches which bytes when), `place` (which memory), `copies` (what is left to copy at the
end), `memory` (offsets in the arena), `instructions` (addresses). The programs in loops and branches go through the
same stages first: the memory of each is scratch of the call that holds it.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from graphc.core.errors import VerifyError
from graphc.kernel.program import KernelCall, LoopProgram, Tensor
from graphc.plan.copies import Move, final_moves
from graphc.plan.instructions import Frame, Layout, Need, inner_bytes, instructions, may_alternate
from graphc.plan.instructions import arena_allocs as arena_allocs
from graphc.plan.ir import Block, Entry, Lifetime, Plan, Ref, Slot, StateSlot
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
        entries[program.name] = _entry(program, layout, pool, tuple(ins), tuple(outs))
    return Plan(layout, state_bytes, tuple(pool.items), pool.nbytes, entries)


def arena_needs(program: LoopProgram) -> list[Interval]:
    """What the arena has to hold for an entry, and when: calls are numbered in order, then copies at the end."""
    return [need.interval for need in lay(program).needs]


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
        self._known: dict[int, int] = {}  # by identity: programs keep their arrays

    def add(self, array: np.ndarray) -> int:
        """The offset of the array's bytes in the constants segment."""
        if id(array) not in self._known:
            self._known[id(array)] = self._place(array)
        return self._known[id(array)]

    def _place(self, array: np.ndarray) -> int:
        key = hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).digest()
        if key not in self._offsets:
            self._offsets[key] = self.nbytes
            self.items.append((self.nbytes, array))
            self.nbytes += align(array.nbytes)
        return self._offsets[key]


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


def lay(program: LoopProgram, alternates: bool = False) -> Layout:
    """Lay out the memory of a program and of the programs in it. alternates: it is the body of a loop that does."""
    inside = {
        n: tuple(lay(inner, may_alternate(call)) for inner in call.programs)
        for n, call in enumerate(program.calls)
        if call.programs
    }
    found = accesses(program)
    placement = place(program, found, alternates)
    moves = final_moves(program, found, placement)
    needs = (
        *_temporaries(program, found, placement, moves),
        *_staging(program, moves),
        *_scratch(program, inside),
    )
    packing = pack([need.interval for need in needs])
    offsets = {need.key: offset for need, offset in zip(needs, packing.offsets, strict=True)}
    return Layout(program, found, placement, moves, needs, offsets, packing.peak, inside)


def _entry(
    program: LoopProgram,
    layout: tuple[StateSlot, ...],
    pool: "_ConstantPool",
    ins: tuple[Slot, ...],
    outs: tuple[Slot, ...],
) -> Entry:
    laid = lay(program)
    frame = Frame(
        [Ref("state", slot.offset, slot.slot.nbytes) for slot in layout],
        [Ref("input", 0, slot.nbytes, k) for k, slot in enumerate(ins)],
        [Ref("output", 0, slot.nbytes, k) for k, slot in enumerate(outs)],
    )
    for array in program.constants:
        pool.add(array)
    groups = instructions(laid, frame, pool.add)
    starts = [sum(len(group) for group in groups[:number]) for number in range(len(groups) + 1)]
    rows = tuple(
        Lifetime(
            row.label,
            row.source,
            laid.offsets[need.key],
            row.nbytes,
            starts[row.first],
            max(starts[row.last + 1] - 1, starts[row.first]),
        )
        for need in laid.needs
        for row in need.rows
    )
    block = Block(tuple(instruction for group in groups for instruction in group))
    bound = lower_bound([need.interval for need in laid.needs])
    return Entry(program.name, ins, outs, block, laid.nbytes, rows, bound)


def _temporaries(program: LoopProgram, found: Accesses, placement: Placement, moves: tuple[Move, ...]) -> list[Need]:
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
    needs: list[Need] = []
    for name, chain in chains.items():
        end = max(found.last(name), moved.get(name, -1))
        rows: list[Lifetime] = []
        for owner in sorted(chain, key=found.first):
            tensor = program.tensors[owner]
            last = begin[owner] - 1 if owner in begin else end
            rows.append(Lifetime(tensor.label, tensor.source, 0, tensor.nbytes, found.first(owner), last))
        interval = Interval(rows[0].first, end, program.tensors[name].nbytes)
        needs.append(Need(("tensor", name, 0), interval, tuple(rows)))
    return needs


def _staging(program: LoopProgram, moves: tuple[Move, ...]) -> list[Need]:
    """Staging buffers live from the move that fills them to the move that empties them."""
    filled: dict[int, int] = {}
    needs: list[Need] = []
    for k, move in enumerate(moves):
        number = len(program.calls) + k
        if move.target.segment == "arena":
            filled[move.target.slot] = number
        elif move.source.segment == "arena" and move.source.slot in filled:
            first, nbytes = filled[move.source.slot], move.source.nbytes
            row = Lifetime("staging", "", 0, nbytes, first, number)
            needs.append(Need(("tensor", move.source.slot, 0), Interval(first, number, nbytes), (row,)))
    return needs


def _scratch(program: LoopProgram, inside: "dict[int, tuple[Layout, ...]]") -> list[Need]:
    """Scratch of a call lives for it only."""
    needs: list[Need] = []
    for number, call in enumerate(program.calls):
        if isinstance(call, KernelCall):
            for k, buffer in enumerate(arena_allocs(call.kernel)):
                label = f"scratch {buffer.name} of {call.kernel.name}"
                row = Lifetime(label, ", ".join(call.kernel.sources), 0, buffer.nbytes, number, number)
                needs.append(Need(("scratch", number, k), Interval(number, number, buffer.nbytes), (row,)))
        elif nbytes := inner_bytes(call, inside[number]):
            row = Lifetime(f"inside of {call.name}", call.source, 0, nbytes, number, number)
            needs.append(Need(("scratch", number, 0), Interval(number, number, nbytes), (row,)))
    return needs
