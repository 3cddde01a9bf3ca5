"""What a person with a card runs, on a card that is pretended: it works, and fails when it has to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.jobs import python
from tests.emulated.kernels import needs_compiler
from tests.emulated.pretend_card import WRONG

pytestmark = needs_compiler
NOT_PRETENDED = "not arrays_on_the_card and not profile and not limits"  # CuPy's own arrays, and speed


def run(path: Path, chosen: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """Some tests of tests/gpu, and the file they write."""
    given = ["-n", "0", "-p", "no:cacheprovider", "--gpu-result", path, "-k", chosen, "tests/gpu"]
    pretend = {"PYTEST_ADDOPTS": "-p tests.emulated.pretend_card", **environment}
    done = python("-m", "pytest", *given, timeout=900, **pretend)
    return done, json.loads(path.read_text(encoding="utf-8"))


def test_results_are_written_and_mismatches_fail(tmp_path: Path) -> None:
    for wrong in ("", "1"):
        done, found = run(tmp_path / "gpu.json", "listed or runs_and_calls", **{WRONG: wrong})
        assert done.returncode == found["exit_status"] == bool(wrong), done.stdout[-2000:]
        assert found["card"] == "emulated"
        assert found["driver"] == 13000
        assert set(found["versions"]) >= {"graphc", "cupy-cuda13x", "nvidia-cuda-nvrtc"}  # type: ignore[call-overload]
        outcomes = {name.rpartition("::")[2]: outcome for name, outcome in found["tests"].items()}  # type: ignore[attr-defined]
        assert outcomes == {"test_it_is_listed": "passed", "test_runs_and_calls": "failed" if wrong else "passed"}
        assert bool(found["failures"]) == bool(wrong)
        assert set(found["seconds"]) == set(found["tests"])  # type: ignore[call-overload]


@pytest.mark.slow
def test_all_of_it(tmp_path: Path) -> None:
    done, found = run(tmp_path / "gpu.json", NOT_PRETENDED)
    assert done.returncode == 0, done.stdout[-4000:]
    assert set(found["tests"].values()) == {"passed"}  # type: ignore[attr-defined]


def test_without_a_card_nothing_is_taken_for_a_success() -> None:
    """The first line of the target ends it."""
    code = "from benchmarks.train_step import card_facts; card_facts()"
    done = python("-c", f"from graphc_cupy import cupy_device; cupy_device.count = lambda: 0; {code}")
    assert done.returncode == 1
    assert "the gpu backend cannot run here" in done.stderr
