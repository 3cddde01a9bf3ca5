"""Work that needs no interpreter, on threads of its own, while the caller goes on in Python.

LLVM runs with the interpreter's lock released. So that a thread gets the lock back soon between two calls of LLVM, the
interpreter switches threads more often while there is work.
"""

import atexit
import itertools
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import field

from graphc.core import config
from graphc.core.records import dataclass

IDLE_SECONDS = 0.2  # how long a thread waits for more before it ends
SWITCH_SECONDS = 0.0002


@dataclass(slots=True)
class Pending:
    """A result that is being made."""

    make: Callable[[], bytes]
    _done: threading.Event = field(default_factory=threading.Event)
    _result: bytes = b""
    _error: BaseException | None = None

    def run(self) -> None:
        """Make the result, or note what went wrong."""
        try:
            self._result = self.make()
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self) -> bytes:
        """Wait for the result. Raises what making it raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


class Background:
    """As many threads as there are cores, each started when there is work for it; they end when there is none."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)
        atexit.register(self._leave)

    def _renew(self) -> None:
        """After a fork: the threads stayed in the parent, with what they had not done."""
        self._guard = threading.Lock()
        # What is large comes first: at the end all threads are done at about the same time.
        self._work: queue.PriorityQueue[tuple[int, int, Pending]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads: set[threading.Thread] = set()
        self._busy = 0  # threads that are not waiting for work
        self._interval = 0.0
        self._leaving = False

    def _leave(self) -> None:
        """At exit: no thread may be inside LLVM when the process ends."""
        with self._guard:
            self._leaving = True
            threads = list(self._threads)
        for _ in threads:
            self._work.put((0, next(self._numbers), Pending(bytes)))
        for thread in threads:
            thread.join()

    def submit(self, make: Callable[[], bytes], size: int = 0) -> Pending:
        """Run `make` soon: what is larger is begun before, and what is as large in the order of submission."""
        pending = Pending(make)
        with self._guard:
            self._work.put((-size, next(self._numbers), pending))
            waiting = len(self._threads) - self._busy
            if self._work.qsize() > waiting and len(self._threads) < config.available_cores():
                self._start()
        return pending

    def _start(self) -> None:
        if not self._threads:
            self._interval = sys.getswitchinterval()
            sys.setswitchinterval(min(SWITCH_SECONDS, self._interval))
        thread = threading.Thread(target=self._serve, name="graphc compiles", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        while True:
            try:
                *_, pending = self._work.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._guard:
                    if self._work.empty():
                        self._end()
                        return
                continue
            if self._leaving:
                return
            with self._guard:
                self._busy += 1
            pending.run()
            with self._guard:
                self._busy -= 1

    def _end(self) -> None:
        self._threads.discard(threading.current_thread())
        if not self._threads:
            sys.setswitchinterval(self._interval)
