"""Whose turn it is: threads that call one program go one after the other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from graphc.core.errors import ArgumentError


class Turn:
    """A lock that is no riddle to a thread which has it already: a signal handler that calls what it interrupts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():
            raise ArgumentError(
                "a signal handler calls a program in the middle of a call of it, by the same thread; "
                "on a GPU a program has memory for one call at a time"
            )
        self._lock.acquire()
        self._owner = threading.get_ident()

    def __exit__(self, *exception: object) -> None:
        self._owner = None
        self._lock.release()

    @contextmanager
    def left_to_others(self) -> Iterator[None]:
        """Meanwhile this thread and others may take their turns."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()
