"""What runs here is compiled for cards first: a kernel that only this machine's compiler takes does not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphc.core.errors import BackendError
from graphc_cupy import nvrtc
from graphc_cupy.source import source_of
from tests.emulated import toolchain
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler, needs_nvrtc

pytestmark = [needs_compiler, needs_nvrtc]
COUNTS = 'extern "C" __global__ void counts(i64 *n) {{\n  *n = {};\n}}\n'


@pytest.fixture(autouse=True)
def nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.build(source_of([]), ["gc_count"])  # what all libraries share stays where it is
    monkeypatch.setattr(toolchain, "folder", lambda: tmp_path)


def test_what_cards_cannot_run_does_not_run_here(emulated: EmulatedBackend) -> None:
    text = source_of([]) + COUNTS.format('(i64)strlen("ab")')
    with pytest.raises(BackendError, match=r"NVRTC cannot compile a kernel[\s\S]*strlen"):
        emulated.device.compile(text, ["counts"])


def test_every_kernel_that_is_named_is_compiled() -> None:
    text = source_of([]) + COUNTS.format("2")
    toolchain.compile_for_cards(text, ["counts", "gc_record"])
    with pytest.raises(AssertionError, match=r"sm_80: no code for \['count'\]"):
        toolchain.compile_for_cards(text + "\n", ["counts", "count"])


def test_for_every_family_of_cards_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    compiled = nvrtc.compiled
    monkeypatch.setattr(nvrtc, "compiled", lambda source, arch: asked.append(arch) or compiled(source, arch))
    for _ in range(2):
        toolchain.build(source_of([]), ["gc_count"])
    assert asked == ["sm_80", "sm_90"]
