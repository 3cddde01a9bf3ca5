"""Aligned blocks of memory owned by NumPy, where arrays lie, and memory of large results used again.

A fresh large block costs more than many a program: the kernel hands it out page by page, zeroed, at the first touch. So
the blocks of large results are kept, a bounded number of bytes in all, and one that nobody refers to any more is the
next result of that size. Who still holds an array, or a view of it, keeps its block.
"""

import contextlib
import ctypes
import mmap
import sys
import threading
from collections.abc import Callable
from functools import partial

import numpy as np

from graphc.plan.ir import ALIGNMENT

_HEADER = object.__basicsize__  # NumPy's array object begins with the object header, then the data pointer
LARGE = 256 * 1024  # bytes of a result from which on its block is kept
KEPT = 128 * 1024 * 1024  # bytes of kept blocks, in use or not
_MOST_KEPT = 32  # blocks


def _documented(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _direct(array: np.ndarray) -> int:
    return ctypes.c_size_t.from_address(id(array) + _HEADER).value


def _agree() -> bool:
    probe = np.zeros(4, np.uint8)
    return all(_direct(view) == _documented(view) for view in (probe, probe[1:], probe[3:]))


# The documented way takes 2 us per array, as long as a small program; the direct one is used where it is seen to agree.
address = _direct if sys.implementation.name == "cpython" and _agree() else _documented


HUGE_PAGE = 2 << 20  # bytes; an update of a slab walks seven arrays, more pages than the processor's tables hold


def aligned(nbytes: int) -> np.ndarray:
    """`nbytes` zero bytes that start at a multiple of the plan's alignment; large blocks lie in huge pages."""
    is_large = nbytes >= HUGE_PAGE // 2 and hasattr(mmap, "MADV_HUGEPAGE")
    alignment = HUGE_PAGE if is_large else ALIGNMENT
    block = _in_huge_pages(nbytes + alignment) if is_large else np.zeros(nbytes + alignment, np.uint8)
    start = -_documented(block) % alignment
    return block[start : start + nbytes]


def _in_huge_pages(nbytes: int) -> np.ndarray:
    """Zero bytes for which the system is asked for huge pages; it may give small ones. Only what is touched is used."""
    block = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a system without them
        block.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(block, np.uint8)


def maker(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Callable[[], np.ndarray]:
    """A function that returns memory for one more result, uninitialised; large ones are aligned."""
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if nbytes < LARGE or not _COUNTS_ARE_EXACT:
        return partial(np.empty, shape, dtype)
    return partial(_recycled, shape, dtype, nbytes + ALIGNMENT)


_blocks: list[np.ndarray] = []  # kept, the one used longest ago first
_guard = threading.Lock()
_COUNTS_ARE_EXACT = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()


def _idle_count() -> int:
    """References to an object that only a list refers to, as `getrefcount` tells."""
    only = [object()]
    return sys.getrefcount(only[0])


_IDLE = _idle_count()


def _recycled(shape: tuple[int, ...], dtype: np.dtype[np.generic], nbytes: int) -> np.ndarray:
    # Who finds the lock taken does without: it may be the same thread, in the handler of a signal.
    if not _guard.acquire(blocking=False):
        return _within(np.empty(nbytes, np.uint8), shape, dtype)
    try:
        for k in range(len(_blocks)):
            if _blocks[k].nbytes == nbytes and sys.getrefcount(_blocks[k]) == _IDLE:
                _blocks.append(_blocks.pop(k))
                return _within(_blocks[-1], shape, dtype)
        fresh = np.empty(nbytes, np.uint8)
        if nbytes <= KEPT:
            _blocks.append(fresh)
        while len(_blocks) > _MOST_KEPT or sum(block.nbytes for block in _blocks) > KEPT:
            del _blocks[0]
        return _within(fresh, shape, dtype)
    finally:
        _guard.release()


def _within(block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> np.ndarray:
    """An array inside the block, which it refers to."""
    return np.ndarray(shape, dtype, block, -_documented(block) % ALIGNMENT)
