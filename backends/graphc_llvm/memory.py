"""Aligned blocks of memory owned by NumPy."""

import numpy as np

from graphc.plan.ir import ALIGNMENT


def aligned(nbytes: int) -> np.ndarray:
    """`nbytes` zero bytes that start at a multiple of the plan's alignment."""
    block = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -address(block) % ALIGNMENT
    return block[start : start + nbytes]


def address(array: np.ndarray) -> int:
    """Where the first element lies."""
    return int(array.__array_interface__["data"][0])
