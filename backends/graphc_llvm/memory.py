"""Aligned blocks of memory owned by NumPy, and where arrays lie."""

import ctypes
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


def aligned(nbytes: int) -> np.ndarray:
    """`nbytes` zero bytes that start at a multiple of the plan's alignment."""
    block = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -_documented(block) % ALIGNMENT
    return block[start : start + nbytes]
