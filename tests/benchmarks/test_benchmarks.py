"""Each benchmark runs with --quick and reports every field it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measure, report, serve
from tests.conftest import ROOT

TRAIN_STEP = ["workload", "system", "threads", "ms_per_step", "first_step_s", "warm_first_step_s", "peak_rss_mb"]
TRAIN_STEP += ["planned_peak_bytes", "flops", "bytes", "roofline_fraction", "ratio_to_best_peer"]


def run(module: str, *args: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "frontends"), str(ROOT / "backends")])
    result = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result


def records(module: str, *args: str) -> list[dict]:
    found = [json.loads(line) for line in run(module, "--quick", "--json", *args).stdout.splitlines()]
    for record in found:
        assert record["benchmark"] == module
        assert record["quick"] is True
        assert record["machine"]["cpu"] and record["machine"]["cores"] >= 1
        assert record["machine"]["versions"]["numpy"]
    return found


def test_train_step_reports_every_field_and_writes_the_same_records(tmp_path: Path) -> None:
    out = tmp_path / "results" / "steps.jsonl"
    (ours,) = records("train_step", "--workload", "mlp_tiny", "--peers", "", "--threads", "1", "--out", str(out))
    assert set(TRAIN_STEP) <= set(ours)
    assert (ours["workload"], ours["system"], ours["threads"]) == ("mlp_tiny", "graphc", 1)
    assert ours["ratio_to_best_peer"] is None
    forward = 2 * 32 * (64 * 128 + 128 * 10)
    assert 2.2 * forward < ours["flops"] < 3.5 * forward  # backward is twice that, less the gradient of the input
    assert ours["planned_peak_bytes"] > 2 * 4 * (64 * 128 + 128 * 10)  # parameters and momentum at least
    least = max(ours["flops"] / ours["fma_peak"], ours["bytes"] / ours["bandwidth"])  # the sum over kernels is no less
    assert ours["roofline_fraction"] >= 0.9 * least / (ours["ms_per_step"] * 1e-3)
    assert {"trace", "fuse", "emit"} <= set(ours["stages"])
    assert [ours] == report.read(out)


@pytest.mark.slow
def test_train_step_compares_with_peers_that_compute_the_same() -> None:
    """The module itself fails when the losses of two systems differ."""
    pytest.importorskip("torch")
    found = records("train_step", "--workload", "mlp_tiny", "--peers", "torch-eager")
    assert [record["system"] for record in found] == ["graphc", "torch-eager"]
    ours, torch = found
    assert torch["ratio_to_best_peer"] == 1
    assert ours["ratio_to_best_peer"] == pytest.approx(ours["ms_per_step"] / torch["ms_per_step"], rel=1e-3)
    assert torch["peak_rss_mb"] > 50
    assert torch["flops"] is None


@pytest.mark.slow
def test_train_step_with_jax() -> None:
    pytest.importorskip("jax")
    pytest.importorskip("optax")
    found = records("train_step", "--workload", "mlp_mnist", "--peers", "jax")
    assert [record["system"] for record in found] == ["graphc", "jax"]


def test_contraction_checks_every_product() -> None:
    args = ["--shapes", "7x5x3,32x128x64", "--peers", "numpy", "--threads", "1"]
    found = records("contraction", *args)
    assert len(found) == 2 * 4 * 2
    for record in found:
        assert record["us_per_product"] > 0 and record["us_per_call"] > 0
        rows, columns, summed = map(int, record["shape"].split("x"))
        rate = 2 * rows * columns * summed / (record["us_per_product"] * 1e-6)
        assert record["gflops"] == pytest.approx(rate / 1e9, rel=1e-3)
        # No bound of 1: the peak of one round is too low when another process had the core meanwhile.
        assert record["fraction_of_peak"] == pytest.approx(rate / record["fma_peak"], rel=1e-3)


def test_ops_checks_results_and_counts_bytes() -> None:
    args = ["--operations", "add,column_sum,dropout,adam", "--peers", "numpy", "--threads", "1", "--elements", "2048"]
    found = records("ops", *args)
    assert [(r["operation"], r["system"]) for r in found] == [
        (name, system) for name in ("add", "column_sum", "dropout", "adam") for system in ("graphc", "numpy")
    ]
    for record in found:
        arrays = {"add": 3, "column_sum": 1, "dropout": 2, "adam": 7}[record["operation"]]
        assert record["gb_per_s"] == pytest.approx(arrays * 4 * 2048 / record["us"] / 1e3, rel=1e-3)
        assert record["elements_per_ns"] == pytest.approx(2048 / record["us"] / 1e3, rel=1e-3)


def test_call_overhead_names_systems_and_ways() -> None:
    found = records("call_overhead", "--peers", "numpy")
    assert [(r["system"], r["arrays"]) for r in found] == [("graphc", "numpy"), ("graphc", "numpy jit"), ("numpy",) * 2]
    assert all(record["us_per_call"] > 0 for record in found)


def test_compile_time_reports_import_first_step_and_sizes() -> None:
    found = records("compile_time", "--workload", "mlp_tiny", "--peers", "", "--nodes", "10,40", "--families", "layers")
    kinds = [record["kind"] for record in found]
    assert kinds == [*["import"] * kinds.count("import"), "first_step", "nodes", "nodes"]
    assert found[0]["system"] == "graphc"
    small, large = found[-2:]
    assert small["nodes"] < large["nodes"]
    assert large["exponent_cold"] is not None
    assert {"trace", "emit"} <= set(large["cold_stages"]) == set(large["warm_stages"])


def test_plot_draws_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    facts = {"cpu": "a processor"}
    rows = [
        {"benchmark": "train_step", "workload": "w", "system": s, "threads": 2, "ms_per_step": t, "machine": facts}
        for s, t in (("graphc", 1.5), ("jax", 3.0))
    ]
    results = tmp_path / "steps.jsonl"
    results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("plot", str(results), "--out", str(tmp_path / "steps.svg"))
    assert (tmp_path / "steps.svg").read_text().startswith("<?xml")


# ------------------------------------------------------------------------------------------------- the parts


def test_a_missing_peer_is_left_out_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    there = measure.System("numpy", "benchmarks.contraction", "numpy")
    absent = measure.System("absent", "benchmarks.contraction", "numpy", ("no_such_package",))
    assert measure.installed([there, absent]) == [there]
    assert "absent is left out: no_such_package not installed" in capsys.readouterr().err


def test_a_failing_worker_says_why(tmp_path: Path) -> None:
    with pytest.raises(measure.WorkerError, match="no_such_module"):
        measure.Worker(measure.System("bad", "benchmarks.no_such_module", "bad"), 1, tmp_path)


def test_a_block_takes_about_as_long_as_asked() -> None:
    made: list[int] = []
    assert serve.steps_in(made.append, 0.0) == 1
    steps = serve.steps_in(lambda n: made.extend(range(1000 * n)), 0.01)
    assert steps > 10
