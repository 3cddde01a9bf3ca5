"""Where there is a card: the device of all these tests, and a file that says what ran on what, and what failed how."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from graphc_cupy import cupy_device
from graphc_cupy.cupy_device import CupyDevice

MOST_OF_A_FAILURE = 4000  # characters
_outcomes: dict[str, str] = {}
_seconds: dict[str, float] = {}
_failures: dict[str, str] = {}


@pytest.fixture(scope="session")
def card() -> Iterator[CupyDevice]:
    """Card 0; without one the tests are skipped."""
    if not cupy_device.count():
        pytest.skip("there is no CUDA card, or no driver for it")
    yield cupy_device.open_device(0)


@pytest.hookimpl
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not report.nodeid.startswith("tests/gpu/"):
        return
    _seconds[report.nodeid] = round(_seconds.get(report.nodeid, 0.0) + report.duration, 3)
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome
    if report.failed:
        _failures[report.nodeid] = report.longreprtext[-MOST_OF_A_FAILURE:]


@pytest.hookimpl
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not cupy_device.count() or not _outcomes:
        return
    path = Path(session.config.getoption("--gpu-result"))
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "card": cupy_device.open_device(0).description,
        "driver": cupy_device.driver_version(),
        "versions": {name: _version(name) for name in ("graphc", "cupy-cuda13x", "nvidia-cuda-nvrtc", "numpy")},
        "system": platform.platform(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "exit_status": int(exitstatus),
        "tests": _outcomes,
        "seconds": _seconds,
        "failures": _failures,
    }
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
