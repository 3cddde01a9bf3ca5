"""An entry on the device: its memory, and its step captured once and replayed.

Three things are captured when they are first needed: one step, for a call; one step that also records its outputs in
the next row of the record and counts itself; and several of these, so that small programs are not held up by the host
queueing them. A call on arrays that lie on the device already is captured when it comes back with the same addresses,
which it does in a loop: memory pools give back what was freed last.

A step whose loops or branches depend on data is not captured: the host reads what decides, and queues what follows.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any

import numpy as np

from graphc.core.digest import is_lasting
from graphc.core.errors import BoundError
from graphc.plan.ir import Entry, Ref
from graphc.runtime.device_arrays import DeviceArray
from graphc_cupy.device import Device, Event, Function, Graph
from graphc_cupy.memory import EntryMemory, Segments, address, as_bytes, undisturbed
from graphc_cupy.products import Matmul
from graphc_cupy.program import Choice, Item, Loop, Move, Multiply, Queued, Row, Run, launches_of, rows_of
from graphc_cupy.source import BYTES_PER_THREAD, COUNT, RECORD, RECORD_THREADS

MOST_QUEUED = 256  # launches of one captured graph of several steps
MOST_CAPTURED = 20_000  # launches of one captured graph of one step
MOST_STEPS = 32
MOST_ALIGNED = 16  # bytes: what a library asks for at most to read as fast as it can
MOST_PLACES = 8  # calls on arrays of others that are kept captured
RECORD_BYTES = 16 * 1024 * 1024  # of one half of the record, at most


_Marks = dict[int, list[tuple[Event, Event]]]  # by identity of a row


@dataclass(slots=True)
class Steps:
    """One entry, ready to run. `unit`: how many steps the larger graph has."""

    device: Device
    functions: Mapping[str, Function]
    segments: Segments
    entry: Entry
    items: tuple[Item, ...]
    exceeded: Callable[[int], BoundError]
    is_captured: bool
    unit: int
    half: int  # rows of one half of the record
    memory: EntryMemory
    host: tuple[np.ndarray, ...]  # where records are read back to, both halves
    graphs: dict[str, Graph] = field(default_factory=dict)
    products: dict[tuple[Matmul, int], Function] = field(default_factory=dict)  # by alignment too
    given: int = 0  # how often inputs were given
    _places: OrderedDict[EntryMemory, Graph | None] = field(default_factory=OrderedDict)  # None: not captured yet
    _lasting: dict[int, weakref.ref[np.ndarray]] = field(default_factory=dict)  # inputs that lie there unchanged
    _held: list[object] = field(default_factory=list)
    _counters: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64))  # of each half; on their way

    @staticmethod
    def prepare(
        device: Device,
        functions: Mapping[str, Function],
        segments: Segments,
        entry: Entry,
        items: tuple[Item, ...],
        exceeded: Callable[[int], BoundError],
    ) -> "Steps":
        """Allocate what the entry needs. `exceeded`: the error of the bounded loop of that number."""
        unit, half = _lengths(entry, items)
        memory = EntryMemory.allocate(entry, device, 2 * half)
        host = tuple(device.pinned(slot.nbytes * 2 * half) for slot in entry.outputs)
        return Steps(device, functions, segments, entry, items, exceeded, _is_captured(items), unit, half, memory, host)

    # ------------------------------------------------------------------------------------------------------ border

    def give(self, inputs: Sequence[np.ndarray | DeviceArray]) -> None:
        """Queue the inputs. They are held until the next ones."""
        self._held = []
        self.given += 1
        for number, (target, source) in enumerate(zip(self.memory.inputs, inputs, strict=True)):
            if isinstance(source, DeviceArray):
                self._lasting.pop(number, None)
                address, owner = self._place(source)
                self._held.append(owner)
                if source.nbytes:
                    self.device.copy(target, address, source.nbytes)
            elif source.nbytes:
                self._held.append(self._upload(number, source))

    def _upload(self, number: int, source: np.ndarray, later: bool = False) -> object:
        """Queue one input, unless it lies there already and cannot have changed. Returns what has to be kept.

        later: nobody waits, so that the caller may write to the array before it is read.
        """
        known = self._lasting.pop(number, lambda: None)()
        if known is not source:
            lasts = is_lasting(source)
            content = as_bytes(source)
            content = content.copy() if later and not lasts else content
            self.device.upload(self.memory.inputs[number], content)
            if not lasts:
                return content
        self._lasting[number] = weakref.ref(source)
        return source

    def _place(self, array: DeviceArray) -> tuple[int, object]:
        """Where its elements lie in the order of C, and what has to be kept until they are read."""
        if array.is_contiguous:
            return array.address, array.owner
        address, owner = self.device.gathered(array)
        return address, (owner, array.owner)

    def call_at(self, inputs: Sequence[np.ndarray | DeviceArray], outputs: Sequence[int], step: int) -> list[object]:
        """Queue one step that reads inputs where they lie and writes to these addresses.

        Returns what has to be kept until it is done.
        """
        held: list[object] = []
        addresses = []
        for number, (target, source) in enumerate(zip(self.memory.inputs, inputs, strict=True)):
            if isinstance(source, DeviceArray):
                target, owner = self._place(source)
                held.append(owner)
            elif source.nbytes:
                held.append(self._upload(number, source, later=True))
            addresses.append(target)
        counters = as_bytes(np.array((step, 0), np.int64))
        self.device.upload(self.segments.step, counters)
        memory = EntryMemory(0, tuple(addresses), tuple(outputs), (), 0)
        return [*held, counters, self._queue_at(memory)]

    def _queue_at(self, memory: EntryMemory) -> Graph | None:
        """Queue one step with its border in another place."""
        self._prepare(memory)
        if not self.is_captured:
            self._step(memory)
            return None
        is_known = memory in self._places
        graph = self._places.pop(memory, None)
        if is_known and graph is None:
            with undisturbed():
                graph = self._captured(1, False, memory)
        if graph is None:
            self._step(memory)
        else:
            self.device.replay(graph)
        self._places[memory] = graph
        if len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)
        return graph

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

    def timed(self) -> list[list[tuple[Event, Event]]]:
        """Queue one recorded step as it is; for each row, marks before and behind each time it is queued."""
        self._prepare(self.memory)
        marks: dict[int, list[tuple[Event, Event]]] = {id(row): [] for row in rows_of(self.items)}
        self._walk(self.items, self.memory, (), marks)
        self._count()
        return list(marks.values())

    def record(self, steps: int) -> None:
        """Queue so many steps."""
        for _ in range(steps // self.unit):
            self._replay("several", self.unit, True)
        for _ in range(steps % self.unit):
            self._replay("one", 1, True)

    def _replay(self, name: str, steps: int, recorded: bool) -> None:
        if not self.is_captured:
            self._prepare(self.memory)
            self._steps(steps, recorded, self.memory)
            return
        if name not in self.graphs:
            self._prepare(self.memory)
            with undisturbed():
                self.graphs[name] = self._captured(steps, recorded, self.memory)
        self.device.replay(self.graphs[name])

    def _captured(self, steps: int, recorded: bool, memory: EntryMemory) -> Graph:
        self.device.begin_capture()
        try:
            self._steps(steps, recorded, memory)
        finally:
            graph = self.device.end_capture()  # after a mistake too: the device shall be of use to others
        return graph

    def _steps(self, steps: int, recorded: bool, memory: EntryMemory) -> None:
        for _ in range(steps):
            self._step(memory)
            if recorded:
                self._count()

    def _step(self, memory: EntryMemory) -> None:
        self._walk(self.items, memory, (), None)

    def _walk(self, items: Sequence[Item], memory: EntryMemory, counters: Sequence[int], marks: _Marks | None) -> None:
        """Queue items at some values of the counters of the loops around them."""
        for item in items:
            match item:
                case Row(_, queued):
                    before = None if marks is None else self.device.record()
                    for each in queued:
                        self._queue(each, memory, counters)
                    if marks is not None and before is not None:
                        marks[id(item)].append((before, self.device.record()))
                case Loop():
                    self._loop(item, memory, counters, marks)
                case Choice(index, blocks):
                    number = self._read(index, memory, counters, np.int32)
                    self._walk(blocks[min(max(number, 0), len(blocks) - 1)], memory, counters, marks)

    def _loop(self, loop: Loop, memory: EntryMemory, counters: Sequence[int], marks: _Marks | None) -> None:
        if loop.flag is None:
            assert loop.count is not None
            made = loop.count
            if loop.limit is not None:
                made = min(max(self._read(loop.limit, memory, counters, np.int64), 0), made)
            start = loop.count - made if loop.last else 0
            for counter in range(start, start + made):
                self._walk(loop.body, memory, (*counters, counter), marks)
            return
        counter = 0
        while True:
            self._walk(loop.cond, memory, (*counters, counter), marks)
            if not self._read(loop.flag, memory, counters, np.int8):
                break
            if counter == loop.count:
                raise self.exceeded(loop.number)
            self._walk(loop.body, memory, (*counters, counter), marks)
            counter += 1
        if loop.made is not None:
            made_bytes = as_bytes(np.array(counter))
            self.device.upload(address(loop.made, self.segments, memory, counters), made_bytes)
            self.device.synchronize()

    def _read(self, ref: Ref, memory: EntryMemory, counters: Sequence[int], kind: type[np.signedinteger[Any]]) -> int:
        """An integer on the device, when everything queued so far is done."""
        found = np.zeros(1, kind)
        self.device.download(found.view(np.uint8), address(ref, self.segments, memory, counters))
        self.device.synchronize()
        return int(found[0])

    def _queue(self, queued: Queued, memory: EntryMemory, counters: Sequence[int]) -> None:
        match queued:
            case Multiply(matmul):
                places = self._matrices(queued, memory, counters)
                self.device.multiply(self.products[matmul, self._alignment(queued, memory)], *places)
            case Run(name, blocks, threads, shared_bytes, args):
                words = [address(ref, self.segments, memory, counters) for ref in args]
                self.device.launch(self.functions[name], blocks, threads, shared_bytes, words)
            case Move(source, target):
                to, of = (address(ref, self.segments, memory, counters) for ref in (target, source))
                self.device.copy(to, of, source.nbytes)

    def _prepare(self, memory: EntryMemory) -> None:
        """Have all products ready: what prepares them must not be captured."""
        for row in rows_of(self.items):
            for each in row.queued:
                if isinstance(each, Multiply):
                    key = each.matmul, self._alignment(each, memory)
                    if key not in self.products:
                        self.products[key] = self.device.product(*key)

    def _alignment(self, product: Multiply, memory: EntryMemory) -> int:
        """Bytes that the addresses of its matrices are multiples of, in all iterations of the loops around it."""
        strides = (stride for ref in product.args for stride in ref.strides)
        return gcd(MOST_ALIGNED, *self._matrices(product, memory, ()), *strides)

    def _matrices(self, product: Multiply, memory: EntryMemory, counters: Sequence[int]) -> tuple[int, int, int]:
        left, right, result = (
            address(ref, self.segments, memory, counters) + offset
            for ref, offset in zip(product.args, product.offsets, strict=True)
        )
        return left, right, result

    def _count(self) -> None:
        step, row = self.segments.step, self.segments.step + 8
        for slot, output, record in zip(self.entry.outputs, self.memory.outputs, self.memory.records, strict=True):
            if slot.nbytes:
                blocks = -(-slot.nbytes // (BYTES_PER_THREAD * RECORD_THREADS))
                words = (record, output, row, slot.nbytes)
                self.device.launch(self.functions[RECORD], blocks, RECORD_THREADS, 0, words)
        self.device.launch(self.functions[COUNT], 1, 1, 0, (step, row))


def device_bytes(entry: Entry, items: Sequence[Item]) -> int:
    """What an entry takes on the device when it is first used: inputs, outputs and their record."""
    _, half = _lengths(entry, items)
    _, nbytes = EntryMemory.places(entry, 2 * half)
    return nbytes


def uses_library(items: Sequence[Item]) -> bool:
    """Whether a library computes any of it."""
    return any(isinstance(each, Multiply) for row in rows_of(items) for each in row.queued)


def _is_captured(items: Sequence[Item]) -> bool:
    """Whether a step is queued as a whole: it is not too long, and nothing in it depends on data."""
    launches = launches_of(items)
    return launches is not None and launches <= MOST_CAPTURED


def _lengths(entry: Entry, items: Sequence[Item]) -> tuple[int, int]:
    """How many steps the larger graph has, and how many rows one half of the record."""
    launches = launches_of(items) if _is_captured(items) else MOST_QUEUED
    count = (launches or 0) + len(entry.outputs) + 1
    unit = max(1, min(MOST_STEPS, MOST_QUEUED // count))
    widest = sum(slot.nbytes for slot in entry.outputs)
    half = max(1, min(8 * unit, RECORD_BYTES // max(widest, 1)))
    return min(unit, half), half
