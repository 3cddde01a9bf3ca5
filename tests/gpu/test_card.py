"""On a card: bits are the interpreter's and the cpu backend's, and a captured step is what runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.core.dtypes import bfloat16, float64
from graphc.kernel.ir import Kernel
from graphc.plan.build import arena_allocs
from graphc.runtime import peaks
from graphc.runtime.discovery import find_backend
from graphc_cupy import nvrtc
from graphc_cupy.backend import GpuBackend
from graphc_cupy.cupy_device import CupyDevice
from graphc_cupy.device import Function
from graphc_cupy.phases import phases
from tests.acceptance.jobs import job, state_sha256
from tests.emulated import test_contractions, test_driver, test_library, test_resident, test_samples
from tests.emulated.kernels import Arrays, Cases, interpreted, same_bits

OTHERS = [
    "tests/random",
    "tests/acceptance/test_agreement.py",
    "tests/execution/test_calls.py",
    "tests/train/test_fit.py",
]


class Card:
    """Runs kernels on buffers of their own, one after the other."""

    def __init__(self, device: CupyDevice, cases: Cases) -> None:
        self.device = device
        self.emitted = [phases(kernel) for _, kernel, _ in cases.cases]
        shared = {phase.name: phase.shared_bytes for found in self.emitted for phase in found}
        self.functions: dict[str, Function] = dict(device.load(device.compile(cases.source, list(shared)), shared))

    def run(self, number: int, kernel: Kernel, inputs: Arrays) -> Arrays:
        given = iter(inputs)
        host = [
            np.array(next(given), order="C") if p.mode == "in" else np.zeros(p.buffer.shape, p.buffer.dtype.numpy)
            for p in kernel.params
        ]
        sizes = [*(array.nbytes for array in host), *(buffer.nbytes for buffer in arena_allocs(kernel))]
        places = [self.device.allocate(max(nbytes, 256)) for nbytes in sizes]
        for place, array in zip(places, host):
            if array.nbytes:
                self.device.upload(place, array.reshape(-1).view(np.uint8))
        for phase in self.emitted[number]:
            words = [places[k] for k in phase.args]
            self.device.launch(self.functions[phase.name], phase.blocks, phase.threads, phase.shared_bytes, words)
        for place, array in zip(places, host):
            if array.nbytes:
                self.device.download(array.reshape(-1).view(np.uint8), place)
        self.device.synchronize()
        for place in places:
            self.device.release(place)
        return [array for array, param in zip(host, kernel.params) if param.mode != "in"]


def check(device: CupyDevice, cases: Cases) -> None:
    card = Card(device, cases)
    for number, (meaning, kernel, inputs) in enumerate(cases.cases):
        for got, want in zip(card.run(number, kernel, inputs), interpreted(meaning, inputs), strict=True):
            assert same_bits(got, want), f"{kernel.name}: card\n{got}\ninterpreted\n{want}"


@pytest.mark.parametrize("part", range(test_samples.PARTS))
def test_samples_on_the_card(card: CupyDevice, part: int) -> None:
    check(card, test_samples.cases_of(part))


@pytest.mark.parametrize("enough", [264, 1])
def test_contractions_on_the_card(card: CupyDevice, enough: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc_cupy.contraction.ENOUGH_BLOCKS", enough)
    check(card, test_contractions.cases())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_on_the_card(card: CupyDevice, optimizer: str) -> None:
    digests = []
    for backend in ("cpu", "gpu"):
        each = job(optimizer=optimizer, backend=backend)
        each.fit(epochs=17)
        digests.append(state_sha256(each))
    assert digests[0] == digests[1]


def test_runs_and_calls(card: CupyDevice) -> None:
    ours, theirs = test_driver.program("gpu"), test_driver.program("cpu")
    for first, n in ((0, 1), (1, 7), (8, 300), (308, 3)):
        (done, got), (also, want) = (each.run("go", test_driver.BATCH, first=first, n=n) for each in (ours, theirs))
        assert done == also == n
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ours.state["x"], theirs.state["x"])


def test_it_is_listed(card: CupyDevice) -> None:
    assert any(line.startswith("gpu") for line in gc.devices())


def test_arrays_on_the_card_stay_there(card: CupyDevice) -> None:
    import cupy

    x, y = test_resident.X, test_resident.Y
    wanted = gc.compile(test_resident.function, x, y, backend="cpu")(x, y)
    exe = gc.compile(test_resident.function, x, y, backend="gpu")
    for _ in range(4):
        found = exe(cupy.asarray(x) * 1, cupy.asarray(y) * 1)
        for got, want in zip(found, wanted, strict=True):  # type: ignore[call-overload]
            assert isinstance(got, cupy.ndarray)
            np.testing.assert_array_equal((got + 0).get(), want)
    strided = cupy.asarray(np.ascontiguousarray(x.T)).T
    np.testing.assert_array_equal(exe(strided, cupy.asarray(y))[0].get(), wanted[0])  # type: ignore[index]


def test_profile(card: CupyDevice) -> None:
    x = np.ones((300, 200), np.float32)
    report = gc.compile(lambda x: (x @ x.T).sum(0), x, backend="gpu").profile(x, repeats=3, remeasure=True)
    assert report.rows
    assert all(row.seconds > 0 for row in report)
    assert min(*report.peaks.flops_per_second.values(), report.peaks.bytes_per_second) > 1e10


@pytest.mark.parametrize("dtype", [float64, bfloat16])
def test_limits_of_other_dtypes(card: CupyDevice, dtype: gc.DType) -> None:
    backend = find_backend("gpu")
    assert isinstance(backend, GpuBackend)
    assert peaks.fma_probe(peaks.Machine(backend), dtype).run() > 0


def test_a_program_from_the_disk(card: CupyDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    monkeypatch.delenv("GRAPHC_VERIFY")
    digests = []
    for _ in range(2):
        each = job(backend="gpu")
        each.run("train", 0, 5)
        digests.append(state_sha256(each))
        monkeypatch.setattr(nvrtc, "cubin", None)  # the second one calls no compiler
    assert digests[0] == digests[1]


@pytest.mark.parametrize("precision", ["library", "tf32"])
@pytest.mark.parametrize("name", test_library.CASES)
def test_products_by_a_library(card: CupyDevice, name: str, precision: str) -> None:
    function, arrays = test_library.CASES[name]
    exe = gc.compile(function, *arrays, backend="gpu", precision=precision)
    found = [np.asarray(exe(*arrays), np.float64) for _ in range(3)]
    wanted = np.asarray(gc.compile(function, *arrays, backend="cpu")(*arrays), np.float64)
    small = 1e-2 if "float16" in name or precision == "tf32" else 1e-4
    for got in found:
        np.testing.assert_array_equal(got, found[0])  # the same algorithm each time
        np.testing.assert_allclose(got, wanted, rtol=small, atol=small * float(np.abs(wanted).max()))


def test_others_tests(card: CupyDevice) -> None:
    """What takes a backend and asks for the cpu gets this card."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not slow", "-p", "no:cacheprovider"]
    given = ["--in-place-of-cpu", "graphc_cupy:backend", *OTHERS]
    done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-4000:]
