"""What is made of results: the check of the figures, the README's table, the pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import check, gates, plot, readme_table
from benchmarks.contraction import LARGE_SHAPES, SHAPES
from tests.conftest import ROOT

MACHINE = {"cpu": "a <processor>", "cores": 2, "commit": "abc", "versions": {"torch": "2", "jax": "0.1"}}
Record = dict[str, object]


def contraction(shape: str, way: str, threads: int, system: str = "graphc", dtype: str = "float32") -> Record:
    ours = system == "graphc"
    return {
        "benchmark": "contraction",
        "dtype": dtype,
        "shape": shape,
        "transposition": way,
        "threads": threads,
        "system": system,
        "gflops": 400.0 if ours else 200.0,
        "fraction_of_peak": 0.95 if ours else 0.5,
        "ratio_to_best_peer": 0.5 if ours else 1.0,
        "ratio_to_float32": 0.6 if dtype == "bfloat16" else 1.0,
        "machine": MACHINE,
    }


def train_step(workload: str, system: str, ms: float) -> Record:
    ours = system == "graphc"
    return {
        "benchmark": "train_step",
        "workload": workload,
        "system": system,
        "threads": 2,
        "ms_per_step": ms,
        "ratio_to_best_peer": 0.3 if ours else 1.0,
        "first_step_s": 0.4,
        "warm_first_step_s": 0.1,
        "roofline_fraction": 0.7 if ours else None,
        "arena_to_lower_bound": 1.0 if ours else None,
        "busy_slowdown": 2.0 if ours else 9.0,
        "machine": MACHINE,
    }


def complete() -> list[Record]:
    """Records in which every figure holds."""
    records = [
        contraction(shape, way, threads, system)
        for shape in SHAPES
        for way in ("nn", "nt", "tn", "tt")
        for threads in (1, 2)
        for system in ("graphc", "torch")
    ]
    records += [contraction(shape, "nn", 2, dtype="bfloat16") for shape in LARGE_SHAPES]
    for workload, ms in (("mlp_tiny", 0.006), ("mlp_mnist", 0.8)):
        records += [train_step(workload, "graphc", ms), train_step(workload, "jax", 3 * ms)]
    facts = {"machine": MACHINE, "system": "graphc"}
    records.append({"benchmark": "compile_time", "kind": "import", "seconds": 0.2, **facts})
    records += [
        {"benchmark": "compile_time", "kind": "nodes", "family": "chain", "nodes": n, "exponent_cold": e, **facts}
        for n, e in ((10, None), (1000, 2.0), (10_000, 1.0))
    ]
    records += [
        {"benchmark": "compile_time", "kind": "length", "length": n, "cold_s": 0.5, "iteration_us": us, **facts}
        for n, us in ((10, 2.0), (1000, 0.1), (100_000, 0.01))
    ]
    records.append({"benchmark": "call_overhead", "arrays": "numpy", "us_per_call": 2.5, **facts})
    return records


def write(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def run(module: str, *args: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "frontends"), str(ROOT / "backends")])
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_complete_records_hold(tmp_path: Path) -> None:
    done = run("check", write(tmp_path / "all.jsonl", complete()))
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "a <processor>, 2 cores, commit abc"
    assert len(lines) == 1 + len(gates.GATES) + 1
    assert lines[-1] == f"{len(gates.GATES)} of {len(gates.GATES)} hold"


# One field of our records spoilt, and the gates that then fail.
SPOILT = [
    ("contraction", {"shape": "512x512x512", "transposition": "nt", "threads": 1}, {"fraction_of_peak": 0.89}, 1),
    ("contraction", {"shape": "512x512x512", "transposition": "nt", "threads": 2}, {"fraction_of_peak": 0.85}, 1),
    ("contraction", {"shape": "256x256x256", "transposition": "tn", "threads": 1}, {"fraction_of_peak": 0.84}, 1),
    ("contraction", {"shape": "2048x384x1536", "transposition": "tt", "threads": 2}, {"fraction_of_peak": 0.77}, 1),
    ("contraction", {"shape": "128x512x784", "threads": 2}, {"fraction_of_peak": 0.7}, 1),
    ("contraction", {"shape": "32x128x64", "transposition": "tn"}, {"ratio_to_best_peer": 1.0}, 1),
    ("contraction", {"dtype": "bfloat16", "shape": "512x512x512"}, {"ratio_to_float32": 0.63}, 1),
    ("contraction", {"dtype": "bfloat16"}, {"dtype": "float64"}, 1),
    ("train_step", {"workload": "mlp_mnist"}, {"ratio_to_best_peer": 0.73}, 1),
    ("train_step", {"workload": "mlp_tiny"}, {"ratio_to_best_peer": 0.34}, 1),
    ("train_step", {"workload": "mlp_mnist"}, {"roofline_fraction": 0.6}, 1),
    ("train_step", {"workload": "mlp_tiny"}, {"first_step_s": 0.41}, 1),
    ("train_step", {"workload": "mlp_tiny"}, {"warm_first_step_s": 0.14}, 1),
    ("train_step", {"workload": "mlp_tiny"}, {"arena_to_lower_bound": 1.2}, 1),
    ("train_step", {"workload": "mlp_tiny"}, {"busy_slowdown": 2.3}, 1),
    ("train_step", {}, {"busy_slowdown": None}, 1),
    ("compile_time", {"kind": "import"}, {"seconds": 0.3}, 1),
    ("compile_time", {"nodes": 10_000}, {"exponent_cold": 1.3}, 1),
    ("compile_time", {"length": 100_000}, {"cold_s": 0.7}, 1),
    ("compile_time", {"length": 1000}, {"iteration_us": 0.6}, 1),
    ("call_overhead", {}, {"us_per_call": 3.1}, 1),
    ("contraction", {}, {"benchmark": "other"}, 7),
]


@pytest.mark.parametrize(("benchmark", "where", "spoilt", "failing"), SPOILT)
def test_a_figure_that_does_not_hold_is_a_no(benchmark: str, where: Record, spoilt: Record, failing: int) -> None:
    records = complete()
    for record in records:
        matches = record["benchmark"] == benchmark and record["system"] == "graphc"
        if matches and all(record.get(key) == value for key, value in where.items()):
            record.update(spoilt)
    verdicts = [check.verdict(gate, records) for gate in gates.GATES]
    assert len(verdicts) - verdicts.count("yes") == failing


def test_the_status_tells_of_a_no_and_of_what_was_not_measured(tmp_path: Path) -> None:
    records = [train_step("mlp_mnist", "graphc", 0.8) | {"ratio_to_best_peer": 0.9}]
    done = run("check", write(tmp_path / "some.jsonl", records), "--all")
    assert done.returncode == 1
    row = next(line for line in done.stdout.splitlines() if line.startswith("mlp_mnist: step time"))
    assert row.split()[-5:] == ["at", "most", "0.72", "0.9", "NO", "mlp_mnist"][-5:]
    assert "not measured" in done.stdout
    quick = run("check", write(tmp_path / "quick.jsonl", [records[0] | {"quick": True}]))
    assert quick.returncode == 1 and "mean nothing" in quick.stderr


def test_every_gate_says_which_figure_is_worst() -> None:
    for gate in gates.GATES:
        figures = list(gate.measure(complete()))
        worst = gate.worst(figures)
        assert all(gate.holds(figure) for figure in figures) == gate.holds(worst)


# ------------------------------------------------------------------------------------------------ README and pictures


def test_the_readme_shows_the_results_that_are_there() -> None:
    text = readme_table.README.read_text(encoding="utf-8")
    table = readme_table.between(readme_table.results())
    assert readme_table.replaced(text, table) == text, "run python -m benchmarks.readme_table"


def test_the_pictures_show_the_results_that_are_there() -> None:
    for name, text in plot.pictures(readme_table.results()).items():
        found = ROOT / "docs" / name
        written = found.read_text(encoding="utf-8") if found.exists() else ""
        assert written == text, "run python -m benchmarks.plot benchmarks/results/*.jsonl --out docs"


def test_records_measured_with_flags_are_of_another_machine(tmp_path: Path) -> None:
    flagged = [record | {"machine": MACHINE | {"flags": {"GRAPHC_CPU": "x86-64-v3"}}} for record in complete()]
    write(tmp_path / "avx2.jsonl", flagged)
    assert readme_table.results(tmp_path) == []
    write(tmp_path / "here.jsonl", complete())
    assert readme_table.results(tmp_path) == complete()


def test_the_table_has_a_row_per_workload_and_shape() -> None:
    table = readme_table.between(complete())
    assert "| ms per step | graphc | JAX | ours / best peer | first step, s |" in table
    assert "| mlp_mnist | 0.8 | 2.4 | 0.3 | 0.4 |" in table
    assert "| 512x512x512 | 400 | 200 | 95% |" in table
    assert "a <processor>, 2 threads; PyTorch 2, JAX 0.1" in table
    begun = f"x{readme_table.BEGIN}old{readme_table.END}y"
    assert readme_table.replaced(begun, "new") == f"x{readme_table.BEGIN}new{readme_table.END}y"
    with pytest.raises(SystemExit, match="lacks"):
        readme_table.replaced("no markers", "new")


def test_pictures_draw_what_was_measured(tmp_path: Path) -> None:
    done = run("plot", write(tmp_path / "all.jsonl", complete()), "--out", tmp_path / "docs")
    assert done.returncode == 0, done.stderr
    texts = {path.name: path.read_text() for path in (tmp_path / "docs").iterdir()}
    assert texts == plot.pictures(complete())
    steps, products = (ElementTree.fromstring(texts[name]) for name in ("train_step.svg", "contraction.svg"))
    assert bars(steps) == [(1 / 3, "graphc"), (1.0, "jax")] * 2
    assert bars(products) == [(0.95, "graphc"), (0.5, "torch")] * len(SHAPES)
    assert "prefers-color-scheme:dark" in texts["train_step.svg"]


@pytest.mark.parametrize(
    ("ms", "label"),
    [(0.00941, "9.41 us"), (0.27512, "275 us"), (0.9999, "1 ms"), (15.37, "15.4 ms"), (999.7, "1 s"), (2345, "2.34 s")],
)
def test_times_fit_over_their_bars(ms: float, label: str) -> None:
    assert plot._time(ms) == label
    assert len(label) * 6 <= plot.LABELLED


def bars(picture: ElementTree.Element) -> list[tuple[float, str]]:
    """Height as a share of the axis, and system, of every bar."""
    found = []
    for rectangle in picture.iter("{http://www.w3.org/2000/svg}rect"):
        title = rectangle.find("{http://www.w3.org/2000/svg}title")
        if title is not None:
            height = float(rectangle.attrib["height"]) / plot.HEIGHT
            found.append((pytest.approx(height, abs=1e-3), str(title.text).partition(":")[0]))
    return found
