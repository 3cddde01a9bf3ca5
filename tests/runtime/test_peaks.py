"""The limits of the machine: that the kernels do what they are counted for, and what is remembered."""

from __future__ import annotations

import json
import platform

import pytest

from graphc.core.dtypes import bfloat16, float32, float64
from graphc.kernel.verify import verify
from graphc.runtime import peaks
from graphc.runtime.discovery import find_backend
from graphc.runtime.peaks import Machine, Probe


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Every measurement is counted and finds the number of the measurement."""
    calls: list[list[str]] = []

    def measure(probes):
        calls.append([probe.name for probe in probes])
        return dict.fromkeys(calls[-1], float(len(calls)))

    monkeypatch.setattr(peaks, "measure", measure)
    monkeypatch.setattr(peaks, "fma_probe", lambda m, dtype: Probe(f"fma {dtype.name}", lambda: 1.0, 1, print))
    monkeypatch.setattr(peaks, "stream_probe", lambda m, nbytes: Probe(f"stream {nbytes}", lambda: 1.0, 1, print))
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    return calls


def assembly_of(kernel):
    backend = find_backend("cpu")
    executable = backend.load(peaks._plan(backend.schedule(kernel).kernel), 1)
    return "\n".join(text.text for text in executable.texts()["asm"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 assembly")
@pytest.mark.parametrize("dtype", [float32, float64])
def test_the_peak_computes_every_chain(dtype):
    """LLVM must not find out that chains are equal: the peak would be several times too high."""
    lanes = peaks.CHUNKS * find_backend("cpu").target().vector_bits // (8 * dtype.itemsize)
    assembly = assembly_of(peaks.fma_kernel(lanes, dtype))
    assert assembly.count("vfmadd") == peaks.ACCUMULATORS * peaks.UNROLLED


@pytest.mark.skipif("avx512bf16" not in str(find_backend("cpu").target().features), reason="needs the instruction")
def test_the_peak_of_pairs_computes_every_chain():
    assembly = assembly_of(peaks.pair_kernel(peaks.CHUNKS * find_backend("cpu").target().vector_bits // 32))
    assert assembly.count("vdpbf16ps") == peaks.ACCUMULATORS * peaks.UNROLLED


def test_the_kernels_are_correct():
    for kernel in (
        peaks.fma_kernel(160),
        peaks.pair_kernel(160),
        peaks.fma_kernel(80, float64),
        peaks.stream_kernel((2, 300), 5),
    ):
        verify(kernel)
        verify(find_backend("cpu").schedule(kernel).kernel)
    machine = Machine(find_backend("cpu"), 2)
    probes = [peaks.fma_probe(machine, dtype) for dtype in (float32, float64, bfloat16)]
    for probe in (peaks.stream_probe(machine, 10_000), *probes):
        assert probe.amount > 10_000_000
        assert probe.run() > 0


def test_what_is_known_is_not_measured_again(measured, tmp_path):
    backend = find_backend("cpu")
    first = peaks.peaks(Machine(backend, 2), 1_000_000)
    assert measured == [["fma float32", "stream 1048576"]]
    assert peaks.peaks(Machine(backend, 2), 1_050_000) == first
    assert len(measured) == 1
    other = peaks.peaks(Machine(backend, 2), 10_000_000, (float32, float64))
    assert measured[1] == ["fma float64", f"stream {peaks.nearest_size(10_000_000)}"]
    assert dict(other.flops_per_second) == {"float32": 1.0, "float64": 2.0}
    peaks.peaks(Machine(backend, 1), 1_000_000)
    assert len(measured) == 3
    assert peaks.peaks(Machine(backend, 2), 1_000_000) == first
    (file,) = tmp_path.iterdir()
    assert len(json.loads(file.read_text())) == 2


def test_measuring_again_forgets_what_was_known(measured):
    backend = find_backend("cpu")
    peaks.peaks(Machine(backend, 2), 1_000_000)
    peaks.peaks(Machine(backend, 1), 1_000_000)
    assert peaks.peaks(Machine(backend, 2), 9_000_000, remeasure=True).bytes_per_second == 3.0
    assert peaks.peaks(Machine(backend, 2), 1_000_000).bytes_per_second == 4.0
    assert peaks.peaks(Machine(backend, 1), 1_000_000).bytes_per_second == 2.0  # other threads stay


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"x": 1}', '{"KEY": {"fma float32": "fast", "stream 1048576": -1.0}}']
)
def test_a_damaged_file_knows_nothing(measured, tmp_path, text):
    backend = find_backend("cpu")
    peaks.peaks(Machine(backend, 2), 1_000_000)
    (file,) = tmp_path.iterdir()
    (key,) = json.loads(file.read_text())
    file.write_text(text.replace("KEY", key))
    assert peaks.peaks(Machine(backend, 2), 1_000_000).bytes_per_second == 2.0
    assert key in json.loads(file.read_text())


def test_without_a_cache_everything_is_measured(measured, monkeypatch):
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    peaks.peaks(Machine(find_backend("cpu"), 2), 1_000_000)
    peaks.peaks(Machine(find_backend("cpu"), 2), 1_000_000)
    assert len(measured) == 2


def test_the_best_round_counts_and_rounds_go_on_while_it_gets_better():
    seconds = iter([1.0, 0.5, 0.5, 0.25, *[0.5] * 100])
    ran = []

    def run():
        ran.append(next(seconds))
        return ran[-1]

    assert peaks.measure([Probe("p", run, 100, print)], rounds=3) == {"p": 400.0}
    assert len(ran) == 7


def test_the_least_time_is_of_the_tighter_limit():
    limits = peaks.Peaks(2, {"float32": 100.0, "float64": 50.0}, 10.0, 1000)
    assert limits.least_seconds(200, 10) == 2.0
    assert limits.least_seconds(200, 10, "float64") == 4.0
    assert limits.least_seconds(1, 100) == 10.0
