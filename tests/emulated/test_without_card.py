"""What a machine without a card is told, and what works there all the same."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import BackendError
from graphc.inspect.cli import main
from graphc_cupy import cupy_device, nvrtc
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler, needs_nvrtc

without_card = pytest.mark.skipif(cupy_device.count() > 0, reason="there is a card")


@without_card
def test_the_error_says_what_is_missing(emulated: EmulatedBackend) -> None:
    with pytest.raises(BackendError, match=r"the gpu backend cannot run here: (no CUDA card|CuPy is not installed)"):
        gc.compile(gnp.tanh, gc.spec((3,)), backend="gpu")


def test_the_error_names_the_package(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r'CuPy is not installed; pip install "graphc\[gpu\]"'):
        gc.compile(gnp.tanh, gc.spec((3,)), backend="gpu")
    with pytest.raises(BackendError, match=r'needs CuPy and NVRTC: pip install "graphc\[gpu\]"'):
        nvrtc.cubin("", "sm_90")


@without_card
def test_doctor_says_missing_and_does_not_fail(
    emulated: EmulatedBackend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    rows = " ".join(out.split()).split("backend ")
    (row,) = [row for row in rows if row.startswith("gpu: card")]
    assert "missing" in row
    assert ("no CUDA card" in row and "cudaError" in row) or "CuPy is not installed" in row
    assert "gpu: gradient" not in out


@without_card
def test_devices_are_those_that_work(emulated: EmulatedBackend) -> None:
    lines = gc.devices()
    assert not any(line.startswith("gpu") for line in lines)
    assert [line for line in lines if line.startswith("emulated")] == ["emulated: emulated, 1 cores, 1024-bit vectors"]


@needs_nvrtc
def test_cupy_has_what_the_device_asks_it_for() -> None:
    import cupy

    for module, names in (
        (cupy.cuda.driver, "launchKernel funcGetAttribute funcSetAttribute CU_FUNC_ATTRIBUTE_NUM_REGS CUDADriverError"),
        (cupy.cuda.driver, "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"),
        (cupy.cuda.runtime, "memcpyAsync memsetAsync memGetInfo getDeviceProperties getDeviceCount driverGetVersion"),
        (cupy.cuda.runtime, "memcpyHostToDevice memcpyDeviceToHost memcpyDeviceToDevice CUDARuntimeError"),
        (cupy.cuda, "Memory alloc_pinned_memory get_elapsed_time Event Stream Device Graph"),
        (cupy.cuda, "MemoryPointer UnownedMemory ExternalStream get_current_stream"),
        (cupy.cuda.runtime, "pointerGetAttributes"),
        (cupy.cuda.Event, "done record synchronize"),
        (cupy, "ascontiguousarray empty ndarray"),
        (cupy.cuda.Stream, "begin_capture end_capture synchronize wait_event"),
        (cupy.cuda.Graph, "launch"),
        (cupy.cuda.function.Module, "load get_function"),
    ):
        for name in names.split():
            assert hasattr(module, name), f"{module} has no {name}"
    order = cupy.cuda.driver.launchKernel.__doc__.split("(")[1].split(",")
    assert [each.split()[-1].rstrip(")") for each in order] == [
        *("f", "grid_dim_x", "grid_dim_y", "grid_dim_z", "block_dim_x", "block_dim_y", "block_dim_z"),
        *("shared_mem_bytes", "stream", "kernel_params", "extra"),
    ]


def test_threads_cannot_be_chosen(emulated: EmulatedBackend) -> None:
    with pytest.raises(BackendError, match="no threads to choose"):
        gc.compile(gnp.tanh, gc.spec((3,)), backend="gpu", threads=2)


@needs_nvrtc
def test_a_kernel_that_does_not_compile_is_shown(emulated: EmulatedBackend) -> None:
    with pytest.raises(BackendError, match=r"NVRTC cannot compile a kernel[\s\S]*nonsense"):
        nvrtc.cubin("nonsense", "sm_90")


@needs_nvrtc
@needs_compiler
def test_texts(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated.device, "assembly", lambda source: nvrtc.ptx(source, "sm_80"), raising=False)
    exe = gc.compile(
        lambda x, w: gnp.tanh(x @ w).sum(0), np.ones((9, 4), "f4"), np.ones((4, 5), "f4"), backend="emulated"
    )
    cuda, ptx = exe.text("cuda"), exe.text("ptx")
    assert cuda.count("__global__") == ptx.count(".entry") >= 2
    assert "fma.rn.f32" in ptx
    assert ".ftz" not in ptx
    assert "approx" not in ptx
