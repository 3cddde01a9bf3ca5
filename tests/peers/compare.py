"""Whether a result agrees with another library's."""

from __future__ import annotations

import numpy as np

from graphc.core import dtypes
from tests.peers.exceptions import ULP, skipped
from tests.samples import Sample, ulp_distance


def assert_agrees(peer: str, sample: Sample, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Shape, dtype, values within the bounds of the sample and of the library, signs of zeros, and NaN."""
    assert theirs.shape == ours.shape
    assert theirs.dtype == ours.dtype
    leave = skipped(peer, sample, theirs, ours)
    ours, theirs = np.where(leave, np.zeros_like(ours), ours), np.where(leave, np.zeros_like(ours), theirs)
    if sample.rtol and ours.size:
        wide = np.complex128 if ours.dtype.kind == "c" else np.float64
        left, right = ours.astype(wide), theirs.astype(wide)
        scale = float(np.max(np.abs(right[np.isfinite(right)]), initial=1e-30))
        np.testing.assert_array_equal(np.isfinite(left), np.isfinite(right))
        np.testing.assert_allclose(left, right, rtol=0, atol=2 * sample.rtol * scale)
        return
    distance = ulp_distance(ours, theirs)
    assert distance <= sample.ulp + ULP.get((peer, sample.op), 0), f"{distance} ulp\n ours {ours}\ntheirs {theirs}"
    for a, b in _parts(ours, theirs):
        odd = (a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))
        assert not odd.any(), f"zeros of another sign at {np.argwhere(odd)[:5].tolist()}"


def _parts(ours: np.ndarray, theirs: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    if ours.dtype.kind == "c":
        return [(ours.real, theirs.real), (ours.imag, theirs.imag)]
    return [(ours, theirs)] if dtypes.dtype(ours.dtype).is_float else []
