"""A whole backend in a hundred lines, written as somebody else would: it interprets a plan, kernel by kernel.

ARCHITECTURE.md ("Add a backend") shows how it is installed; test_external.py installs and runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from graphc.core.errors import BackendError, BoundError
from graphc.kernel.interpret import run
from graphc.kernel.ir import Kernel
from graphc.kernel.program import Scheduled
from graphc.plan.ir import Block, Branch, Copy, Launch, Plan, Ref, Repeat, While, chosen, exceeded
from graphc.plan.ir import counters as turns
from graphc.runtime.protocol import KernelText, Progress, Target

Poll = Callable[[Progress, Sequence[np.ndarray]], bool]
Slots = dict[str, list[np.ndarray]]


class LoopsExecutable:
    """Implements `graphc.runtime.protocol.Executable`: every segment is an array of bytes, a `Ref` a slice of it."""

    scratch_bytes = 0

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        sizes = {"arena": plan.arena_bytes, "state": plan.state_bytes, "constants": plan.constant_bytes, "step": 8}
        self._segments = {name: np.zeros(size, np.uint8) for name, size in sizes.items()}
        for offset, array in plan.constants:
            self._segments["constants"][offset : offset + array.nbytes] = _bytes(array)

    def call(self, entry: str, inputs: Sequence[np.ndarray], step: int = 0) -> list[np.ndarray]:
        item = self._plan.entries[entry]
        outputs = [np.zeros(slot.shape, slot.dtype.numpy) for slot in item.outputs]
        self._segments["step"][:] = _bytes(np.array([step], np.int64))
        self._block(item.block, {"input": [*map(_bytes, inputs)], "output": [*map(_bytes, outputs)]}, ())
        return outputs

    def run(
        self, entry: str, inputs: Sequence[np.ndarray], first: int, n: int, poll: Poll | None = None
    ) -> tuple[int, list[np.ndarray]]:
        stacked = [np.zeros((n, *slot.shape), slot.dtype.numpy) for slot in self._plan.entries[entry].outputs]
        for done in range(n):
            for column, value in zip(stacked, self.call(entry, inputs, first + done)):
                column[done] = value
            if poll is not None and poll(Progress(first, done + 1), stacked):
                return done + 1, stacked
        return n, stacked

    def state(self) -> list[np.ndarray]:
        memory = self._segments["state"]
        return [
            memory[s.offset : s.offset + s.slot.nbytes].view(s.slot.dtype.numpy).reshape(s.slot.shape)
            for s in self._plan.state
        ]

    def texts(self) -> Mapping[str, Sequence[KernelText]]:
        return {}

    def _block(self, block: Block, slots: Slots, counters: tuple[int, ...]) -> None:
        for instruction in block.instructions:
            match instruction:
                case Launch(kernel, args):  # its scratch is allocated by the interpreter
                    arrays = [self._at(ref, slots, counters) for ref in args]
                    typed = [a.view(p.buffer.dtype.numpy) for a, p in zip(arrays, kernel.params)]
                    run(kernel, [a.reshape(p.buffer.shape) for a, p in zip(typed, kernel.params)])
                case Copy(source, target):
                    self._at(target, slots, counters)[:] = self._at(source, slots, counters)
                case Repeat(limit=limit):
                    made = None if limit is None else self._at(limit, slots, counters).view(np.int64)[0]
                    for counter in turns(instruction, made):
                        self._block(instruction.body, slots, (*counters, counter))
                case While():
                    self._while(instruction, slots, counters)
                case Branch(index):
                    self._block(
                        chosen(instruction, self._at(index, slots, counters).view(np.int32)[0]), slots, counters
                    )

    def _while(self, loop: While, slots: Slots, counters: tuple[int, ...]) -> None:
        counter = 0
        self._block(loop.cond, slots, (*counters, counter))
        while self._at(loop.flag, slots, counters)[0]:
            if counter == loop.bound:
                raise BoundError(exceeded(loop))
            self._block(loop.body, slots, (*counters, counter))
            counter += 1
            self._block(loop.cond, slots, (*counters, counter))
        if loop.count is not None:
            self._at(loop.count, slots, counters).view(np.int64)[0] = counter

    def _at(self, ref: Ref, slots: Slots, counters: tuple[int, ...]) -> np.ndarray:
        memory = slots[ref.segment][ref.slot] if ref.segment in slots else self._segments[ref.segment]
        start = ref.offset + sum(counter * stride for counter, stride in zip(counters, ref.strides))
        return memory[start : start + ref.nbytes]


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).reshape(-1).view(np.uint8)


class LoopsBackend:
    """Implements `graphc.runtime.protocol.Backend`."""

    name = "loops"
    consumes: Literal["plan"] = "plan"

    def target(self, device: int | None = None) -> Target:
        return Target("loop interpreter", vector_bits=32, cores=1, cache_bytes=())

    def schedule(self, kernel: Kernel) -> Scheduled:
        return Scheduled(kernel)

    def load(self, plan: Plan, threads: int | None = None, device: int | None = None) -> LoopsExecutable:
        if threads not in (None, 1) or device not in (None, 0):
            raise BackendError(f"threads={threads}, device={device}: the loops backend has one of each")
        return LoopsExecutable(plan)

    def doctor(self) -> list[tuple[str, bool, str]]:
        return [("loop interpreter", True, "always available")]


backend = LoopsBackend()
