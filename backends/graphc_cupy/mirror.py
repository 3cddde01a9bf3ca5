"""The state as arrays of the host, kept equal to the state on the device.

`views` are of one block of host memory. What is written to them reaches the device before the next step; what steps
change reaches them after each call as long as somebody holds them. Without, nothing is copied.
"""

import sys

import numpy as np

from graphc.plan.ir import Plan
from graphc_cupy.device import Device


class Mirror:
    """Host memory in front of a segment of the device."""

    def __init__(self, plan: Plan, device: Device, address: int) -> None:
        self._plan = plan
        self._device = device
        self._address = address
        self._host = np.zeros(plan.state_bytes, np.uint8)
        self._known = self._host.copy()  # what the device has, as far as the host has seen it
        self._idle = sys.getrefcount(self._host)
        self._is_stale = False  # whether the device has newer values
        self._may_differ = True  # whether the host may have newer ones
        self._is_seen = False  # whether the device was given what is known

    def views(self) -> list[np.ndarray]:
        """The slots, in order."""
        self._fetch()
        self._may_differ = True
        return [
            self._host[s.offset : s.offset + s.slot.nbytes].view(s.slot.dtype.numpy).reshape(s.slot.shape)
            for s in self._plan.state
        ]

    def before(self) -> None:
        """Bring the device up to date: steps follow."""
        if self._plan.state_bytes and self._may_differ:
            if not self._is_seen or not np.array_equal(self._host, self._known):
                self._is_seen = False  # until it is on its way: an exception may come between
                self._known[:] = self._host
                self._device.upload(self._address, self._known)
                self._is_seen = True
            self._may_differ = self._is_held
        self._is_stale = bool(self._plan.state_bytes)  # from now on, whether or not the steps end well

    def after(self) -> None:
        """Steps are done."""
        if self._is_held:
            self._fetch()

    @property
    def _is_held(self) -> bool:
        """Whether somebody has views: they refer to the block."""
        return sys.getrefcount(self._host) > self._idle

    def _fetch(self) -> None:
        if not self._is_stale:
            return
        self._device.download(self._known, self._address)
        self._device.synchronize()
        self._host[:] = self._known
        self._is_stale = False
