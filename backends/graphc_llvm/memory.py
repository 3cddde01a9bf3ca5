"""Aligned blocks of memory owned by NumPy, and where arrays lie."""

import contextlib
import ctypes
import mmap
import sys

import numpy as np

from graphc.plan.ir import ALIGNMENT

_HEADER = object.__basicsize__  # NumPy's array object begins with the object header, then the data pointer


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
