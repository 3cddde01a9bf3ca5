"""A bar chart of training steps for the README, from a file of records.

    python -m benchmarks.plot benchmarks/results/NAME.jsonl --out train_step.svg

One group per workload, one bar per system: time per step as a multiple of the best peer's, lower is better.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report

COLORS = {"graphc": "#c2410c", "jax": "#475569", "torch-compile": "#94a3b8", "torch-eager": "#cbd5e1"}
OTHER = "#a8a29e"


def main() -> None:
    """Read the command line, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="a file written with --out by benchmarks.train_step")
    parser.add_argument("--out", type=Path, required=True, help="the picture: .svg or .png")
    parser.add_argument("--threads", type=int, help="of the records to draw (default: the most there are)")
    options = parser.parse_args()
    records = [r for r in report.read(options.results) if r["benchmark"] == "train_step"]
    if not records:
        sys.exit(f"{options.results}: no records of train_step")
    threads = options.threads or max(int(str(record["threads"])) for record in records)
    draw([record for record in records if record["threads"] == threads], options.out)


def draw(records: Sequence[report.Record], path: Path) -> None:
    """One group of bars per workload; the time is written on each bar."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit("matplotlib is not installed: pip install matplotlib")
    if not records:
        sys.exit("no records of that number of threads")
    workloads = list(dict.fromkeys(str(record["workload"]) for record in records))
    systems = list(dict.fromkeys(str(record["system"]) for record in records))
    by_place = {(r["workload"], r["system"]): float(str(r["ms_per_step"])) for r in records}
    figure = Figure(figsize=(1.5 + 2.6 * len(workloads), 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(systems)
    for position, system in enumerate(systems):
        for group, workload in enumerate(workloads):
            milliseconds = by_place.get((workload, system))
            if milliseconds is None:
                continue
            height = milliseconds / reference(by_place, workload)
            bars = axes.bar(group + (position - (len(systems) - 1) / 2) * width, height, width * 0.92)
            bars[0].set(color=COLORS.get(system, OTHER), label=system if group == 0 else None)
            axes.bar_label(bars, [f"{milliseconds:.3g} ms"], fontsize=7, padding=2)
    axes.axhline(1, color="#78716c", linewidth=0.6, linestyle=":")
    axes.set_xticks(range(len(workloads)), workloads)
    axes.set_ylabel("time per training step, best peer = 1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    facts: dict[str, object] = records[0]["machine"]  # type: ignore[assignment]
    axes.set_title(f"{facts['cpu']}, {records[0]['threads']} threads; lower is better", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def reference(by_place: dict[tuple[object, object], float], workload: str) -> float:
    """The best peer's time, or ours where there is no peer."""
    times = {system: value for (of, system), value in by_place.items() if of == workload}
    return min((value for system, value in times.items() if system != "graphc"), default=times.get("graphc", 1.0))


if __name__ == "__main__":
    main()
