"""An entry on the device: its memory, and its step captured once and replayed.

Three things are captured when they are first needed: one step, for a call; one step that also records its outputs in
the next row of the record and counts itself; and several of these, so that small programs are not held up by the host
queueing them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc.plan.ir import Entry
from graphc_cupy.device import Device, Event, Function, Graph
from graphc_cupy.memory import EntryMemory, Segments, address, as_bytes, undisturbed
from graphc_cupy.program import Move, Row, Run
from graphc_cupy.source import BYTES_PER_THREAD, COUNT, RECORD, RECORD_THREADS

MOST_QUEUED = 256  # launches of one captured graph
MOST_STEPS = 32
RECORD_BYTES = 16 * 1024 * 1024  # of one half of the record, at most


@dataclass(slots=True)
class Steps:
    """One entry, ready to run. `unit`: how many steps the larger graph has."""

    device: Device
    functions: Mapping[str, Function]
    segments: Segments
    entry: Entry
    rows: tuple[Row, ...]
    unit: int
    half: int  # rows of one half of the record
    memory: EntryMemory
    host: tuple[np.ndarray, ...]  # where records are read back to, both halves
    graphs: dict[str, Graph] = field(default_factory=dict)
    given: int = 0  # how often inputs were given
    _held: list[np.ndarray] = field(default_factory=list)
    _counters: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64))  # of each half; on their way

    @staticmethod
    def prepare(
        device: Device,
        functions: Mapping[str, Function],
        segments: Segments,
        entry: Entry,
        rows: tuple[Row, ...],
    ) -> "Steps":
        """Allocate what the entry needs."""
        count = sum(len(row.queued) for row in rows) + len(entry.outputs) + 1
        unit = max(1, min(MOST_STEPS, MOST_QUEUED // count))
        widest = sum(slot.nbytes for slot in entry.outputs)
        half = max(1, min(8 * unit, RECORD_BYTES // max(widest, 1)))
        memory = EntryMemory.allocate(entry, device, 2 * half)
        host = tuple(device.pinned(slot.nbytes * 2 * half) for slot in entry.outputs)
        return Steps(device, functions, segments, entry, rows, min(unit, half), half, memory, host)

    # ------------------------------------------------------------------------------------------------------ border

    def give(self, inputs: Sequence[np.ndarray]) -> None:
        """Queue the inputs. They are held until the next ones."""
        self._held = [as_bytes(array) for array in inputs]
        self.given += 1
        for target, source in zip(self.memory.inputs, self._held, strict=True):
            if source.nbytes:
                self.device.upload(target, source)

    def begin(self, step: int, half: int) -> None:
        """Queue the number of the next step, and that it is recorded in the first row of a half."""
        counters = self._counters[half]
        counters[:] = step, half * self.half
        self.device.upload(self.segments.step, as_bytes(counters))

    def take(self, outputs: Sequence[np.ndarray]) -> None:
        """Queue reading the outputs of a call."""
        for target, source in zip(outputs, self.memory.outputs, strict=True):
            if target.nbytes:
                self.device.download(target.reshape(-1).view(np.uint8), source)

    def read_back(self, half: int, rows: int) -> None:
        """Queue reading the first rows of one half of the record."""
        for slot, record, host in zip(self.entry.outputs, self.memory.records, self.host, strict=True):
            start, nbytes = half * self.half * slot.nbytes, rows * slot.nbytes
            if nbytes:
                self.device.download(host[start : start + nbytes], record + start)

    def deliver(self, half: int, rows: int, outputs: Sequence[np.ndarray], done: int) -> None:
        """Move what was read back to rows `done` and on of the results."""
        for slot, host, output in zip(self.entry.outputs, self.host, outputs, strict=True):
            start, nbytes = half * self.half * slot.nbytes, rows * slot.nbytes
            output[done : done + rows].reshape(-1).view(np.uint8)[:] = host[start : start + nbytes]

    # ----------------------------------------------------------------------------------------------------- queueing

    def call(self) -> None:
        """Queue one step whose outputs are not recorded."""
        self._replay("call", 1, False)

    def timed(self) -> list[tuple[Event, Event]]:
        """Queue one recorded step as it is, with a mark before and behind each row."""
        marks = []
        for row in self.rows:
            before = self.device.record()
            self._queue(row)
            marks.append((before, self.device.record()))
        self._count()
        return marks

    def record(self, steps: int) -> None:
        """Queue so many steps."""
        for _ in range(steps // self.unit):
            self._replay("several", self.unit, True)
        for _ in range(steps % self.unit):
            self._replay("one", 1, True)

    def _replay(self, name: str, steps: int, recorded: bool) -> None:
        if name not in self.graphs:
            with undisturbed():
                self.graphs[name] = self._captured(steps, recorded)
        self.device.replay(self.graphs[name])

    def _captured(self, steps: int, recorded: bool) -> Graph:
        self.device.begin_capture()
        try:
            for _ in range(steps):
                self._step()
                if recorded:
                    self._count()
        finally:
            graph = self.device.end_capture()  # after a mistake too: the device shall be of use to others
        return graph

    def _step(self) -> None:
        for row in self.rows:
            self._queue(row)

    def _queue(self, row: Row) -> None:
        for each in row.queued:
            match each:
                case Run(phase, args):
                    words = [address(ref, self.segments, self.memory) for ref in args]
                    function = self.functions[phase.name]
                    self.device.launch(function, phase.blocks, phase.threads, phase.shared_bytes, words)
                case Move(source, target):
                    to, of = (address(ref, self.segments, self.memory) for ref in (target, source))
                    self.device.copy(to, of, source.nbytes)

    def _count(self) -> None:
        step, row = self.segments.step, self.segments.step + 8
        for slot, output, record in zip(self.entry.outputs, self.memory.outputs, self.memory.records, strict=True):
            if slot.nbytes:
                blocks = -(-slot.nbytes // (BYTES_PER_THREAD * RECORD_THREADS))
                words = (record, output, row, slot.nbytes)
                self.device.launch(self.functions[RECORD], blocks, RECORD_THREADS, 0, words)
        self.device.launch(self.functions[COUNT], 1, 1, 0, (step, row))
