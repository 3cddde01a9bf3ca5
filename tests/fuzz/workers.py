"""Processes that do the fuzzer's tasks. One that ends, or does not, is something found too."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from tests.fuzz.tasks import Outcome, Task, do, keep

_STUCK = 300  # seconds after which a task does not end


def _work(pipe: Connection) -> None:
    """What a process does: tasks, one after the other."""
    while True:
        task = pipe.recv()
        if task is None:
            return
        pipe.send(do(task))


class Worker:
    """A process, and the task it is at."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.began = 0.0
        self.pipe, other = multiprocessing.get_context("spawn").Pipe()
        self.process: BaseProcess = multiprocessing.get_context("spawn").Process(target=_work, args=(other,))
        self.process.start()
        other.close()

    def give(self, task: Task) -> None:
        self.task, self.began = task, time.monotonic()
        self.pipe.send(task)

    def answer(self) -> Outcome | None:
        """What came of the task; None while it is under way. A process that ended, or does not, is a difference."""
        assert self.task is not None
        if self.pipe.poll():
            try:
                found: Outcome = self.pipe.recv()
            except EOFError:
                return self._lost("the process ended")
            return found
        if time.monotonic() - self.began > _STUCK:
            self.process.kill()
            return self._lost(f"no end after {_STUCK} s")
        return None

    def _lost(self, what: str) -> Outcome:
        assert self.task is not None
        return Outcome([], [f"{keep('cpu', self.task, self.task.case())}: {what} ({self.task})"], 0.0)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
