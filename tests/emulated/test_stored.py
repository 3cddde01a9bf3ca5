"""Programs of a device on disk: a second process compiles nothing, and nothing is taken for what it is not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import BackendError
from graphc.plan.ir import Ref
from graphc.runtime.protocol import CachingBackend
from graphc_cupy import cupy_device, executable, nvrtc
from graphc_cupy.backend import GpuBackend
from graphc_cupy.code import Code
from graphc_cupy.executable import GpuExecutable
from graphc_cupy.program import Choice, Loop, Move, Row, Run
from tests.acceptance.jobs import job, state_sha256
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
CODE = Code(
    b"\x7fELF and so on",
    {"f": 48, "g": 0},
    {
        "train": (
            Row(None, (Run("f", 3, 128, 48, (Ref("arena", 0, 64), Ref("input", 8, 4, 2))),)),
            Row(None, ()),
            Row(None, (Move(Ref("arena", 0, 64), Ref("state", 64, 64)), Run("g", 1, 1, 0, (Ref("arena", 0, 64),)))),
        ),
        "loops": (
            Loop(7, (Row(None, (Run("f", 1, 1, 0, (Ref("arena", 0, 64, 0, (0, -8)),)),)),), Ref("arena", 64, 8), True),
            Loop(None, (), None, False, (Row(None, ()),), Ref("arena", 128, 1), None, 3),
            Choice(Ref("input", 0, 4), ((), (Loop(2, ()),))),
        ),
        "nothing": (),
    },
)


def trained() -> tuple[str, GpuExecutable]:
    """A job after some steps: its state, and what ran it."""
    found = job(backend="emulated")
    found.run("train", 0, 5)
    executable = found.program._executable
    assert isinstance(executable, GpuExecutable)
    return state_sha256(found), executable


def fail(*args: object) -> object:
    raise AssertionError("nothing is to be compiled")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    monkeypatch.delenv("GRAPHC_VERIFY")  # a program that is verified is compiled
    return tmp_path


@needs_compiler
def test_nothing_is_compiled_again(emulated: EmulatedBackend, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = trained()
    monkeypatch.setattr(emulated.device, "compile", fail)
    monkeypatch.setattr(executable, "program_of", fail)
    second, _ = trained()
    assert first == second


@needs_compiler
def test_what_is_looked_at_is_made_again(emulated: EmulatedBackend, folder: Path) -> None:
    def texts() -> tuple[str, int]:
        exe = gc.compile(lambda x: (x @ x.T).sum(0), X, backend="emulated")
        np.testing.assert_allclose(exe(X), (X @ X.T).sum(0), rtol=1e-6)
        device = exe._executable
        assert isinstance(device, GpuExecutable)
        return exe.text("cuda"), len(device.profile(exe.name, [X], 0, 1).rows)

    first = texts()
    emulated.device.log.clear()
    assert texts() == first
    assert "compile" not in emulated.device.log


@needs_compiler
def test_another_machine_compiles_again(
    emulated: EmulatedBackend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    monkeypatch.setattr(emulated, "fingerprint", lambda threads=None, device=None: "another")
    emulated.device.log.clear()
    trained()
    assert "compile" in emulated.device.log


@needs_compiler
def test_code_that_a_device_refuses_is_compiled_again(
    emulated: EmulatedBackend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = trained()

    def refused(*args: object) -> object:
        raise BackendError("not for this card")

    monkeypatch.setattr(emulated, "restore", refused)
    with pytest.warns(RuntimeWarning, match="does not load, compiling again: not for this card"):
        second, _ = trained()
    assert first == second


def test_code_comes_back_from_bytes() -> None:
    assert Code.from_bytes(CODE.to_bytes()) == CODE


@pytest.mark.parametrize("cut", [0, 4, 8, 30, -1])
def test_code_that_is_not_whole_is_refused(cut: int) -> None:
    with pytest.raises(BackendError, match="saved code"):
        Code.from_bytes(CODE.to_bytes()[:cut])


def test_the_fingerprint_tells_cards_drivers_and_compilers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    of_card = sys.modules[GpuBackend.__module__]
    card = SimpleNamespace(description="A card, 80 GiB, sm_90")
    monkeypatch.setattr(of_card, "_card", lambda number: card)
    monkeypatch.setattr(cupy_device, "driver_version", lambda: 13000)
    monkeypatch.setattr(nvrtc, "versions", lambda: "NVRTC 13.0 CuPy 14")
    backend = GpuBackend()
    assert isinstance(backend, CachingBackend)
    found = {backend.fingerprint()}
    card.description = "Another card, 80 GiB, sm_90"
    found.add(backend.fingerprint())
    monkeypatch.setattr(cupy_device, "driver_version", lambda: 13010)
    found.add(backend.fingerprint())
    monkeypatch.setattr(nvrtc, "versions", lambda: "NVRTC 13.1 CuPy 14")
    found.add(backend.fingerprint())
    monkeypatch.setattr(of_card, "OPTIONS", ("--std=c++20",))
    found.add(backend.fingerprint())
    assert None not in found
    assert len(found) == 5
    with pytest.raises(BackendError, match="no threads to choose"):
        backend.fingerprint(threads=2)
