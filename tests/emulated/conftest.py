"""What tests of the emulated path share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graphc.runtime import discovery
from tests.emulated.backend import EmulatedBackend, backend
from tests.emulated.device import EmulatedDevice


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedBackend]:
    """The backend of the name "emulated", found as if it were installed."""
    known = dict(discovery._found("graphc.backends"))
    known |= {"emulated": "tests.emulated.backend:backend", "gpu": "graphc_cupy:backend"}
    monkeypatch.setattr(discovery, "_found", lambda group: known)
    discovery.find_backend.cache_clear()
    backend.device = EmulatedDevice(backend.device.order)  # none that an earlier test has broken
    yield backend
    discovery.find_backend.cache_clear()
