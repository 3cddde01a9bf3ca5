"""A loaded plan on a device: calls, and runs of many steps that are queued ahead of the host.

While the device works on one half of the record, the other half is read back: no step waits for the host to look at
its loss. The host is at most two halves behind, and a half is as many steps as take about `SLICE_SECONDS`, so that a
request to stop is honoured soon. When somebody polls, everything queued is finished first: what the poll sees is the
state after exactly the steps it is told of.

A call on arrays that lie on the device is only queued: behind the work of whoever made them, before what the caller
does next. Until it is done the arrays are kept.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from graphc.core.errors import ArgumentError, BoundError
from graphc.plan.ir import Plan, Slot, While, exceeded, walk_instructions
from graphc.runtime.device_arrays import DeviceArray, described
from graphc.runtime.protocol import KernelText, LaunchTimes, Progress
from graphc_cupy.code import Code
from graphc_cupy.cublaslt import WORKSPACE
from graphc_cupy.device import Device, Event
from graphc_cupy.memory import Segments, when_undisturbed
from graphc_cupy.mirror import Mirror
from graphc_cupy.products import Compute
from graphc_cupy.program import Program, program_of, rows_of
from graphc_cupy.source import COUNT, RECORD
from graphc_cupy.steps import Steps, device_bytes, uses_library
from graphc_cupy.texts import texts
from graphc_cupy.turn import Turn

POLL_SECONDS = 0.1
SLICE_SECONDS = 0.02
MOST_CALLS = 64  # queued and not known to be done

Poll = Callable[[Progress, Sequence[np.ndarray]], bool]


class GpuExecutable:
    """Implements `graphc.runtime.protocol.Executable`, `ResidentCalls` and `Profiler`."""

    threads = None  # there are none to choose the number of

    def __init__(
        self,
        plan: Plan,
        device: Device,
        code: Code | None = None,
        whole: Callable[[], Plan] | None = None,
        library: Compute | None = None,
    ) -> None:
        """`code` was made from this plan earlier. Then `plan` may lack its instructions: `whole` makes it again."""
        self._plan = plan
        self._whole = whole or (lambda: plan)
        self._library = library
        self._device = device
        self._program: Program | None = None
        self.code = self._compiled() if code is None else code
        self._functions = device.load(self.code.binary, {**self.code.shared_bytes, RECORD: 0, COUNT: 0})
        self._segments = Segments.allocate(plan, device)
        self._mirror = Mirror(plan, device, self._segments.state)
        self._entries: dict[str, Steps] = {}
        self._turn = Turn()
        self._blocks = [self._segments.block]
        self._calls: deque[tuple[Event, list[object]]] = deque()  # on their way, with what they need
        weakref.finalize(self, _end, device, self._calls, self._blocks)

    @property
    def scratch_bytes(self) -> int:
        """On the device, besides the plan's segments: what aligns them, inputs, outputs and records of all entries,
        and what a library works in. Entries that are never used do not take theirs.
        """
        plan, entries = self._plan, self.code.entries
        _, segments = Segments.places(plan)
        aligning = segments - plan.arena_bytes - plan.state_bytes - plan.constant_bytes
        borders = sum(device_bytes(entry, entries[name]) for name, entry in plan.entries.items())
        return aligning + borders + (WORKSPACE if any(map(uses_library, entries.values())) else 0)

    def _made(self) -> Program:
        """The program as it was emitted: of one from the disk only when somebody looks at it."""
        if self._program is None:
            self._program = program_of(self._whole(), self._library)
        return self._program

    def _compiled(self) -> Code:
        program = self._made()
        binary = self._device.compile(program.source, [*program.shared_bytes, RECORD, COUNT])
        return Code.of(program, binary)

    def _entry(self, name: str) -> Steps:
        if name not in self._plan.entries:
            raise ArgumentError(f"no entry {name!r}; this program has {', '.join(self._plan.entries)}")
        if name not in self._entries:
            entry, items = self._plan.entries[name], self.code.entries[name]
            exceeded = partial(self._exceeded, name)
            made = Steps.prepare(self._device, self._functions, self._segments, entry, items, exceeded)
            self._blocks.append(made.memory.block)
            self._entries[name] = made
        return self._entries[name]

    def _exceeded(self, entry: str, number: int) -> BoundError:
        """The error of a loop that would not end within its bound."""
        loops = [each for each in walk_instructions(self._whole().entries[entry].block) if isinstance(each, While)]
        return BoundError(exceeded([loop for loop in loops if loop.bound is not None][number]))

    def call(self, entry: str, inputs: Sequence[np.ndarray], step: int = 0) -> list[np.ndarray]:
        """Run one entry once."""
        with self._turn:
            steps = self._entry(entry)
            _check(entry, steps.entry.inputs, inputs)
            outputs = [np.empty(slot.shape, slot.dtype.numpy) for slot in steps.entry.outputs]
            with self._advancing():
                steps.give(inputs)
                steps.begin(step, 0)
                steps.call()
                steps.take(outputs)
            return outputs

    @contextmanager
    def _advancing(self) -> Iterator[None]:
        """Around what is queued: whatever ends it, Ctrl-C too, it is done then, and views of the state show it."""
        self._mirror.before()
        try:
            yield
        finally:
            try:
                self._device.synchronize()
            finally:
                self._mirror.after()

    def view(self, array: object, name: str) -> DeviceArray:
        """Where an array on a GPU lies; what is queued from now on waits for what its owner has under way."""
        found = described(array, name, self._device.stream)
        if found.nbytes:
            holder = self._device.holder(found.address)
            if holder != self._device.number:
                nowhere = "no memory of a GPU (it is the host's, or was given back)"
                where = nowhere if holder is None else f"the memory of device {holder}"
                raise ArgumentError(
                    f"argument {name}: it lies in {where}, the program is on device {self._device.number}"
                )
            if found.address % found.dtype.itemsize:
                raise ArgumentError(f"argument {name}: its address {found.address:#x} is odd for {found.dtype}")
        if found.stream is not None:
            self._device.follow(found.stream)
        return found

    def call_resident(self, entry: str, inputs: Sequence[np.ndarray | DeviceArray], step: int = 0) -> list[object]:
        """Queue one entry once; see the module."""
        with self._turn:
            steps = self._entry(entry)
            _check(entry, steps.entry.inputs, inputs)
            self._forget()
            self._mirror.before()
            fresh = [self._device.fresh(slot.shape, slot.dtype.numpy) for slot in steps.entry.outputs]
            outputs = [array for _, array in fresh]
            self._device.follow(None)  # memory of outputs may have been somebody's until now
            held = steps.call_at(inputs, [address for address, _ in fresh], step)
            self._calls.append((self._device.record(), [*held, *outputs]))
            streams = {array.stream for array in inputs if isinstance(array, DeviceArray)}
            for stream in {None, *streams}:
                self._device.lead(stream)
            self._mirror.after()
            return outputs

    def _forget(self) -> None:
        """Let go of what calls needed that are done."""
        while self._calls and (len(self._calls) > MOST_CALLS or self._device.is_reached(self._calls[0][0])):
            self._device.wait(self._calls.popleft()[0])

    def run(
        self, entry: str, inputs: Sequence[np.ndarray | DeviceArray], first: int, n: int, poll: Poll | None = None
    ) -> tuple[int, list[np.ndarray]]:
        """Run n steps; see the module for what the host does meanwhile."""
        if n < 0:
            raise ArgumentError(f"run: the number of steps must not be negative, not {n}")
        with self._turn:
            steps = self._entry(entry)
            _check(entry, steps.entry.inputs, inputs)
            outputs = [np.zeros((n, *slot.shape), slot.dtype.numpy) for slot in steps.entry.outputs]
            if not n:
                return 0, outputs
            if any(isinstance(array, DeviceArray) for array in inputs):
                self._device.follow(None)
            running = _Running(self._device, steps, outputs, first, n)
            with self._advancing():
                steps.give(inputs)
                running.go(None if poll is None else partial(self._polled, running, poll, inputs))
            return running.done, outputs

    def _polled(self, running: "_Running", poll: Poll, inputs: Sequence[np.ndarray | DeviceArray]) -> bool:
        """Ask whether to stop. The poll and other threads may call entries, this one too, and look at the state."""
        self._mirror.after()
        given = running.steps.given
        with self._turn.left_to_others():
            stops = poll(Progress(running.first, running.done), running.outputs)
        if stops:
            return True
        self._mirror.before()
        if running.steps.given != given:
            running.steps.give(inputs)
        return False

    def profile(self, entry: str, inputs: Sequence[np.ndarray], first: int, n: int) -> LaunchTimes:
        """Run n steps, not captured, with marks around every kernel."""
        with self._turn:
            steps = self._entry(entry)
            _check(entry, steps.entry.inputs, inputs)
            rows = tuple((row.instruction,) for row in rows_of(self._made().entries[entry]) if row.instruction)
            calls, seconds = np.zeros((len(rows), n), np.int64), np.zeros((len(rows), n))
            with self._advancing():
                steps.give(inputs)
                for step in range(n):
                    steps.begin(first + step, 0)
                    marks = steps.timed()
                    self._device.synchronize()
                    calls[:, step] = [len(each) for each in marks]
                    seconds[:, step] = [sum(self._device.seconds(*pair) for pair in each) for each in marks]
            return LaunchTimes(rows, calls, seconds)

    def state(self) -> list[np.ndarray]:
        """Views of host memory that is kept equal to the state on the device."""
        with self._turn:
            return self._mirror.views()

    def texts(self) -> Mapping[str, Sequence[KernelText]]:
        """The stages "cuda" and "ptx"."""
        return texts(self._made(), self._device.assembly)


class _Running:
    """One run under way. `queued` steps are on their way, of which `done` are known to be finished."""

    def __init__(self, device: Device, steps: Steps, outputs: list[np.ndarray], first: int, n: int) -> None:
        self.device = device
        self.steps = steps
        self.outputs = outputs
        self.first = first
        self.n = n
        self.queued = 0
        self.done = 0
        self.slice = 1  # steps queued at a time
        self.halves: list[tuple[Event, int, int]] = []  # on their way: the mark behind, which half, how many rows
        self.looked = 0.0

    def go(self, poll: Callable[[], bool] | None) -> None:
        """Queue all steps, and deliver what they recorded."""
        half, last = 0, time.perf_counter()
        polled = self.looked = last
        while self.done < self.n:
            if self.queued < self.n and len(self.halves) < 2:
                rows = min(self.slice, self.steps.half, self.n - self.queued)
                self._queue(half, rows)
                half = 1 - half
                continue
            self._finish()
            if poll is not None and self.done < self.n and time.perf_counter() - polled >= POLL_SECONDS:
                while self.halves:
                    self._finish()
                if self.done == self.n or poll():
                    return
                polled = self.looked = time.perf_counter()
                half = 0

    def _queue(self, half: int, rows: int) -> None:
        self.steps.begin(self.first + self.queued, half)
        self.steps.record(rows)
        self.steps.read_back(half, rows)
        self.halves.append((self.device.record(), half, rows))
        self.queued += rows

    def _finish(self) -> None:
        """Wait for the half that was queued first, and see how long its steps took."""
        event, half, rows = self.halves.pop(0)
        self.device.wait(event)
        self.steps.deliver(half, rows, self.outputs, self.done)
        self.done += rows
        now = time.perf_counter()
        each, self.looked = max(now - self.looked, 1e-9) / rows, now
        wanted = int(SLICE_SECONDS / each)
        self.slice = max(1, min(wanted, 2 * max(self.slice, self.steps.unit), self.steps.half))


def _end(device: Device, calls: deque[tuple[Event, list[object]]], blocks: Sequence[int]) -> None:
    """Give everything back when what is queued is done."""

    def now() -> None:
        while calls:
            device.wait(calls.popleft()[0])
        for block in blocks:
            device.release(block)

    when_undisturbed(now)


def _check(entry: str, slots: Sequence[Slot], inputs: Sequence[np.ndarray | DeviceArray]) -> None:
    """Raise `ArgumentError` unless every input is what the entry takes."""
    if len(inputs) != len(slots):
        raise ArgumentError(f"{entry}: takes {len(slots)} inputs, not {len(inputs)}")
    for array, slot in zip(inputs, slots):
        if array.shape != slot.shape or array.dtype != slot.dtype.numpy:
            found = f"{array.dtype}{list(array.shape)}"
            raise ArgumentError(f"{entry}: {slot.name} must be {slot.dtype.name}{list(slot.shape)}, not {found}")
