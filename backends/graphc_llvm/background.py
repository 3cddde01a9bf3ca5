"""Work that needs no interpreter, on a thread of its own, while the caller goes on in Python.

LLVM runs with the interpreter's lock released. So that the thread gets the lock back soon between two calls of LLVM,
the interpreter switches threads more often while there is work.
"""

import atexit
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

IDLE_SECONDS = 0.2  # how long the thread waits for more before it ends
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
    """One thread, started when there is work; ends when there is none."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)
        atexit.register(self._leave)

    def _renew(self) -> None:
        """After a fork: the thread stayed in the parent, with what it had not done."""
        self._guard = threading.Lock()
        self._work: queue.SimpleQueue[Pending] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._interval = 0.0
        self._leaving = False

    def _leave(self) -> None:
        """At exit: no thread may be inside LLVM when the process ends."""
        self._leaving = True
        thread = self._thread
        if thread is not None:
            self._work.put(Pending(bytes))
            thread.join()

    def submit(self, make: Callable[[], bytes]) -> Pending:
        """Run `make` soon, after what was submitted before."""
        pending = Pending(make)
        with self._guard:
            self._work.put(pending)
            if self._thread is None:
                self._interval = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_SECONDS, self._interval))
                self._thread = threading.Thread(target=self._serve, name="graphc compiles", daemon=True)
                self._thread.start()
        return pending

    def _serve(self) -> None:
        while True:
            try:
                pending = self._work.get(timeout=IDLE_SECONDS)
                if self._leaving:
                    return
                pending.run()
            except queue.Empty:
                with self._guard:
                    if self._work.empty():
                        sys.setswitchinterval(self._interval)
                        self._thread = None
                        return
