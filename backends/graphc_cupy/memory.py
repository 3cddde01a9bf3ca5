"""Where everything lies on the device.

The plan's segments are one allocation. Inputs, outputs and the record of outputs of an entry are another one, made when
the entry is first used: fixed addresses, so that a captured step stays true.
"""

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from graphc.plan.ir import ALIGNMENT, Entry, Plan, Ref, Slot
from graphc_cupy.device import Device

GRANULE = max(ALIGNMENT, 256)  # CUDA's own allocations begin at multiples of 256 bytes


class Bump:
    """Places in one block of memory, one after the other."""

    def __init__(self) -> None:
        self.nbytes = 0

    def take(self, nbytes: int) -> int:
        """The offset of the next place."""
        offset = self.nbytes
        self.nbytes += -(-nbytes // GRANULE) * GRANULE
        return offset


@dataclass(frozen=True, slots=True)
class Segments:
    """Addresses of the plan's segments."""

    block: int
    arena: int
    state: int
    constants: int
    step: int  # the number of the step, and behind it the row of the record it is written to

    @staticmethod
    def allocate(plan: Plan, device: Device) -> "Segments":
        """One allocation for all of them; constants are put in their places."""
        offsets, nbytes = Segments.places(plan)
        block = device.allocate(nbytes)
        found = Segments(block, *(block + offset for offset in offsets))
        for offset, array in plan.constants:
            if array.nbytes:
                device.upload(found.constants + offset, as_bytes(array))
        device.synchronize()
        return found

    @staticmethod
    def places(plan: Plan) -> tuple[list[int], int]:
        """Where each begins, and the bytes of all."""
        places = Bump()
        sizes = (plan.arena_bytes, plan.state_bytes, plan.constant_bytes, 16)
        return [places.take(nbytes) for nbytes in sizes], places.nbytes


@dataclass(frozen=True, slots=True)
class EntryMemory:
    """Addresses of what crosses the border of an entry. A record is `rows` outputs one after the other."""

    block: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    records: tuple[int, ...]
    rows: int

    @staticmethod
    def allocate(entry: Entry, device: Device, rows: int) -> "EntryMemory":
        """One allocation for all of them."""
        groups, nbytes = EntryMemory.places(entry, rows)
        block = device.allocate(nbytes)
        inputs, outputs, records = (tuple(block + offset for offset in group) for group in groups)
        return EntryMemory(block, inputs, outputs, records, rows)

    @staticmethod
    def places(entry: Entry, rows: int) -> tuple[tuple[list[int], list[int], list[int]], int]:
        """Where inputs, outputs and records begin, and the bytes of all."""
        places = Bump()

        def several(slots: Sequence[Slot], count: int) -> list[int]:
            return [places.take(slot.nbytes * count) for slot in slots]

        groups = several(entry.inputs, 1), several(entry.outputs, 1), several(entry.outputs, rows)
        return groups, max(places.nbytes, GRANULE)


def address(ref: Ref, segments: Segments, entry: EntryMemory, counters: Sequence[int] = ()) -> int:
    """Where a `Ref` points to at some values of the counters of the loops around it."""
    return _start(ref, segments, entry) + sum(c * stride for c, stride in zip(counters, ref.strides))


def _start(ref: Ref, segments: Segments, entry: EntryMemory) -> int:
    match ref.segment:
        case "input":
            return entry.inputs[ref.slot] + ref.offset
        case "output":
            return entry.outputs[ref.slot] + ref.offset
        case "arena":
            return segments.arena + ref.offset
        case "state":
            return segments.state + ref.offset
        case "constants":
            return segments.constants + ref.offset
        case "step":
            return segments.step + ref.offset


_guard = threading.Lock()
_captures = 0  # under way
_later: list[Callable[[], None]] = []  # to be done when none is


def when_undisturbed(action: Callable[[], None]) -> None:
    """Wait, or give memory back: now or, since it would disturb captures under way, when they have ended."""
    with _guard:
        if _captures:
            _later.append(action)
            return
    action()


@contextmanager
def undisturbed() -> Iterator[None]:
    """While a step is captured: no memory is given back, by this thread or another, and nothing is collected."""
    global _captures
    collects = gc.isenabled()
    gc.disable()  # destructors of others may ask the device for something too
    with _guard:
        _captures += 1
    try:
        yield
    finally:
        with _guard:
            _captures -= 1
            waiting = [] if _captures else _later[:]
            del _later[: len(waiting)]
        if collects:
            gc.enable()
    for action in waiting:
        action()


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, in order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
