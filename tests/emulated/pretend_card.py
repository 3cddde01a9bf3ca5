"""A plugin of pytest: `pytest -p tests.emulated.pretend_card tests/gpu` finds a card, which is the emulated device.

What this cannot stand in for is CuPy itself: tests that hand over its arrays, or say how fast a card is at least.
"""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest

from graphc_cupy import cupy_device, nvrtc
from tests.emulated.device import EmulatedDevice

WRONG = "GRAPHC_PRETEND_WRONG"  # set: one bit of what is read back is another


class PretendCard(EmulatedDevice):
    """What the backend asks of a card beyond what a device is."""

    processors = 132
    resident_threads = 2048
    cache_bytes = 50 << 20
    arch = "sm_90"

    def download(self, target: np.ndarray, source: int) -> None:
        super().download(target, source)
        if os.environ.get(WRONG):
            self._put("download", lambda: np.bitwise_xor(target[:1], 1, out=target[:1]))


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    card = functools.cache(lambda number: PretendCard(order=2))
    patch.setattr(cupy_device, "count", lambda: 1)
    patch.setattr(cupy_device, "open_device", card)
    patch.setattr(cupy_device, "driver_version", lambda: 13000)
    patch.setattr(nvrtc, "versions", lambda: "NVRTC 13.0 CuPy 14")
