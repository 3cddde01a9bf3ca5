"""Arrays compared bit by bit."""

from collections.abc import Sequence

import numpy as np

from graphc.core import dtypes


def same_bits(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    """Equal types and bits; any NaN equals any NaN."""
    return len(a) == len(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and bool(np.all((_bits(x) == _bits(y)) | ((x != x) & (y != y))))
        for x, y in zip(a, b, strict=True)
    )


def _bits(x: np.ndarray) -> np.ndarray:
    if not dtypes.holds_floats(x):
        return x
    return np.array(x, order="C").view(f"u{x.dtype.itemsize}")
