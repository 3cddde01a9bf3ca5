"""Pausing Python's cyclic garbage collector while very many objects are made that stay."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0  # blocks that are running, in all threads
_was_on = False  # before the first of them


@contextmanager
def paused() -> Iterator[None]:
    """No collection inside the block; afterwards everything is as it was.

    A collection looks at every object there is. While a program is compiled their number grows quickly, nothing of it
    is garbage, and a collection takes as long as several passes.
    """
    global _inside, _was_on
    with _lock:
        if not _inside:
            _was_on = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _was_on:
                gc.enable()
