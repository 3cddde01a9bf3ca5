"""Whether the figures hold: reads result files and prints every promised figure with yes or no.

    python -m benchmarks.check benchmarks/results/*.jsonl

Without files: all in `benchmarks/results`, but for what was measured with flags such as GRAPHC_CPU. The status is 1
when a figure does not hold or was not measured.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.gates import GATES, Gate
from benchmarks.machine import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    """Read the command line, print, exit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="*", help="files written with --out (default: all results)")
    parser.add_argument("--all", action="store_true", help="every measured figure, not the worst of each row only")
    options = parser.parse_args()
    records = (
        read_all(options.results) if options.results else report.as_usual(read_all(sorted(RESULTS.glob("*.jsonl"))))
    )
    for line in machines(records):
        print(line)
    rows = [row for gate in GATES for row in lines(gate, records, options.all)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    failed = [gate for gate in GATES if verdict(gate, records) != "yes"]
    print(f"{len(GATES) - len(failed)} of {len(GATES)} hold")
    sys.exit(bool(failed))


def read_all(paths: Sequence[Path]) -> list[report.Record]:
    """The records of several files. Exits with a message when there are none, or when they mean nothing."""
    records = [record for path in paths for record in report.read(path)]
    if not records:
        sys.exit("no records: run the benchmarks with --out first")
    if any("quick" in record for record in records):
        sys.exit("records of --quick mean nothing")
    return records


def machines(records: Sequence[report.Record]) -> list[str]:
    """The machines the records are of: there should be one, and one commit."""
    found = []
    for record in records:
        facts: dict[str, object] = record["machine"]  # type: ignore[assignment]
        found.append(f"{facts['cpu']}, {facts['cores']} cores, commit {facts['commit']}")
    return list(dict.fromkeys(found))


def verdict(gate: Gate, records: Sequence[report.Record]) -> str:
    """yes, NO, or that nothing was measured."""
    figures = list(gate.measure(records))
    if not figures:
        return "not measured"
    return "yes" if all(map(gate.holds, figures)) else "NO"


def lines(gate: Gate, records: Sequence[report.Record], all_figures: bool) -> list[tuple[str, ...]]:
    """What is printed of a gate: figure, bound, measured, yes or no, where."""
    figures = list(gate.measure(records))
    bound = f"{gate.bound} {gate.limit:.3g}"
    if not figures:
        return [(gate.what, bound, "-", "not measured", "")]
    worst = gate.worst(figures)
    shown = sorted(figures, key=lambda figure: figure is not worst) if all_figures else [worst]
    rows = []
    for figure in shown:
        answer = "yes" if gate.holds(figure) else "NO"
        rows.append((gate.what, bound, f"{figure.value:.3g}", answer, figure.where))
    return rows


if __name__ == "__main__":
    main()
