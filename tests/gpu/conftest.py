"""Where there is a card: the device of all these tests, and a file that says what ran on what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from graphc_cupy import cupy_device
from graphc_cupy.cupy_device import CupyDevice

RESULT = Path("build") / "gpu.json"
_outcomes: dict[str, str] = {}


@pytest.fixture(scope="session")
def card() -> Iterator[CupyDevice]:
    """Card 0; without one the tests are skipped."""
    if not cupy_device.count():
        pytest.skip("there is no CUDA card, or no driver for it")
    yield cupy_device.open_device(0)


@pytest.hookimpl
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.nodeid.startswith("tests/gpu/") and (report.when == "call" or report.outcome != "passed"):
        _outcomes[report.nodeid] = report.outcome


@pytest.hookimpl
def pytest_sessionfinish() -> None:
    if not cupy_device.count() or not _outcomes:
        return
    RESULT.parent.mkdir(exist_ok=True)
    found = {
        "card": cupy_device.open_device(0).description,
        "driver": cupy_device.driver_version(),
        "versions": {name: _version(name) for name in ("graphc", "cupy-cuda13x", "nvidia-cuda-nvrtc", "numpy")},
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "tests": _outcomes,
    }
    RESULT.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
