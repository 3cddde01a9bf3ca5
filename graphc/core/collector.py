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
    """No collection inside the block; afterwards everything is as it was, and what was made there counts as old.

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
                _make_old()
                gc.enable()


def _make_old() -> None:
    """Spare the next collection of young objects all that there are. They are garbage to a full one, as ever."""
    if gc.get_freeze_count() == 0:  # else somebody has frozen objects, which are to stay so
        gc.freeze()
        gc.unfreeze()
