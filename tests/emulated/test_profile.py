"""Profiles of programs on a device: the structure of reports, and limits measured with the backend's own kernels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.dtypes import bfloat16, float32, float64
from graphc.kernel.ir import For, walk
from graphc.plan.ir import Launch
from graphc.runtime import peaks
from graphc.runtime.peaks import Machine
from tests.acceptance.jobs import job, state_sha256
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler

pytestmark = needs_compiler

X = np.ones((40, 24), np.float32)


@pytest.fixture(autouse=True)
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured here says nothing about anything."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    monkeypatch.setattr(peaks, "ITERATIONS", 5)
    monkeypatch.setattr(peaks, "CHUNKS", 5)
    monkeypatch.setattr(peaks, "STREAMED_BYTES", 100_000)
    monkeypatch.setattr(peaks, "MOST_ROUNDS", 2)
    monkeypatch.setattr("graphc.execution.profiling.SECONDS", 1e-4)


@pytest.mark.parametrize("dtype", [float32, float64, bfloat16])
def test_chains_end_where_they_should(emulated: EmulatedBackend, dtype: gc.DType) -> None:
    probe = peaks.fma_probe(Machine(emulated), dtype)
    assert probe.run() > 0
    assert probe.amount > 0


def test_streams_end_where_they_should(emulated: EmulatedBackend) -> None:
    assert peaks.stream_probe(Machine(emulated), 100_000).run() > 0


def test_limits_are_measured_by_blocks_of_many_threads(emulated: EmulatedBackend) -> None:
    fma = emulated.schedule(peaks.fma_kernel(4096)).kernel
    (nest,) = [s for s in fma.body if isinstance(s, For)]
    kinds = [s.kind for s in walk((nest,)) if isinstance(s, For)]
    assert kinds[:2] == ["block", "thread"]
    stream = emulated.schedule(peaks.stream_kernel((64, 1000), 3)).kernel
    nests = [[s.kind for s in walk((nest,)) if isinstance(s, For)] for nest in stream.body if isinstance(nest, For)]
    assert nests[1] == ["block", "thread", "serial", "serial", "thread"]


def test_a_profile_has_a_row_for_each_kernel_beside_its_limits(emulated: EmulatedBackend, tmp_path: Path) -> None:
    def f(x: gnp.ndarray) -> tuple[gnp.ndarray, gnp.ndarray]:
        y = gnp.exp(x @ x.T)
        return y.sum(), y.max()

    exe = gc.compile(f, X, backend="emulated")
    report = exe.profile(X, repeats=3)
    assert exe.compilation.plan is not None
    launches = [i for i in exe.compilation.plan.entries["f"].block.instructions if isinstance(i, Launch)]
    assert sorted(row.kernel for row in report) == sorted({launch.kernel.name for launch in launches})
    assert report.steps == 3
    assert all(row.seconds > 0 for row in report)
    assert report.peaks.threads is None
    assert report.text().splitlines()[1].startswith("limits: ")
    (key,) = json.loads((tmp_path / "peaks.json").read_text())
    assert key.startswith("emulated on ")


def test_a_job_goes_on_as_if_it_had_not_been_profiled(emulated: EmulatedBackend) -> None:
    profiled, other = (job(backend="emulated") for _ in range(2))
    profiled.run("train", 0, 3)
    other.run("train", 0, 3)
    assert profiled.profile(repeats=2).steps == 2
    profiled.run("train", 3, 2)
    other.run("train", 3, 2)
    assert state_sha256(profiled) == state_sha256(other)
