"""A program of graphs, run by the interpreter. State lives in NumPy arrays that keep their addresses."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphc.graph.interpreter import interpret
from graphc.graph.program import GraphProgram, zero_state
from graphc.runtime.protocol import KernelText, Progress

_POLL_SECONDS = 0.1


class ReferenceExecutable:
    """Implements `graphc.runtime.protocol.Executable`."""

    def __init__(self, program: GraphProgram) -> None:
        self._program = program
        self._state = zero_state(program)

    @property
    def scratch_bytes(self) -> int:
        return 0

    def call(self, entry: str, inputs: Sequence[np.ndarray], step: int = 0) -> list[np.ndarray]:
        item = self._program.entries[entry]
        arguments = [*self._state, *inputs]
        if item.takes_step:
            arguments.append(np.array(step, np.int64))
        results = interpret(item.graph, arguments)
        count = len(self._state)
        outputs = [np.array(value) for value in results[count:]]  # copies: an output may be a view of the state
        fresh = [np.array(value) for value in results[:count]]
        for target, value in zip(self._state, fresh, strict=True):
            target[...] = value
        return outputs

    def run(
        self,
        entry: str,
        inputs: Sequence[np.ndarray],
        first: int,
        n: int,
        poll: Callable[[Progress, Sequence[np.ndarray]], bool] | None = None,
    ) -> tuple[int, list[np.ndarray]]:
        types = self._program.entries[entry].graph.output_types[len(self._state) :]
        stacked = [np.zeros((n, *type.shape), type.dtype.numpy) for type in types]
        polled = time.monotonic()
        for done in range(n):
            for column, value in zip(stacked, self.call(entry, inputs, first + done), strict=True):
                column[done] = value
            if poll is None or time.monotonic() - polled < _POLL_SECONDS:
                continue
            polled = time.monotonic()
            if poll(Progress(first, done + 1), stacked):
                return done + 1, stacked
        return n, stacked

    def state(self) -> list[np.ndarray]:
        return list(self._state)

    def texts(self) -> Mapping[str, Sequence[KernelText]]:
        return {}
