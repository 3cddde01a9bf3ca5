"""The README's table of measurements, between its two markers, from the files of results.

    python -m benchmarks.readme_table

Rewrites README.md; a test compares it with the results. Without results there is nothing between the markers.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.check import RESULTS
from benchmarks.gates import OURS
from benchmarks.machine import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SYSTEMS = {"graphc": "graphc", "jax": "JAX", "torch-compile": "torch.compile", "torch-eager": "PyTorch"}
PRODUCTS = {"graphc": "graphc", "numpy": "NumPy", "torch": "PyTorch"}
SHOWN = ("512x512x512", "128x512x784", "8x1024x4096", "127x127x127", "32x128x64")


def main() -> None:
    """Rewrite the table."""
    text = README.read_text(encoding="utf-8")
    written = replaced(text, between(results()))
    README.write_text(written, encoding="utf-8")
    print(f"{README.name}: {'the same' if written == text else 'rewritten'}")


def results(folder: Path = RESULTS) -> list[report.Record]:
    """The records of all files but those measured with flags; empty when there are none."""
    return report.as_usual([record for path in sorted(folder.glob("*.jsonl")) for record in report.read(path)])


def replaced(text: str, table: str) -> str:
    """The document with another table. Exits when it has no place for one."""
    begin, end = text.find(BEGIN), text.find(END)
    if not 0 <= begin < end:
        sys.exit(f"the README lacks {BEGIN} and {END}")
    return text[: begin + len(BEGIN)] + table + text[end:]


def between(records: Sequence[report.Record]) -> str:
    """What stands between the markers."""
    steps = report.most_threads([r for r in records if r["benchmark"] == "train_step"])
    products = report.most_threads([r for r in records if r["benchmark"] == "contraction"])
    products = [r for r in products if (r["dtype"], r["transposition"]) == ("float32", "nn")]
    parts = []
    if steps:
        parts += [on(steps, "Training steps"), step_table(steps), "![time per training step](docs/train_step.svg)"]
    if products:
        parts += [on(products, "Matrix products, float32"), product_table(products)]
        parts += ["![matrix products](docs/contraction.svg)"]
    return "\n" + "".join(f"\n{part}\n" for part in parts) + "\n" if parts else "\n"


def on(records: Sequence[report.Record], what: str) -> str:
    """A sentence that names machine and versions."""
    facts: dict[str, object] = records[0]["machine"]  # type: ignore[assignment]
    versions: dict[str, str] = facts["versions"]  # type: ignore[assignment]
    named = {"torch": "PyTorch", "jax": "JAX", "numpy": "NumPy"}
    peers = ", ".join(f"{shown} {versions[name]}" for name, shown in named.items() if name in versions)
    return f"{what} on {facts['cpu']}, {records[0]['threads']} threads; {peers}."


def step_table(records: Sequence[report.Record]) -> str:
    """A row per workload: milliseconds of each system, and ours over the best peer's."""
    systems = [system for system in SYSTEMS if any(r["system"] == system for r in records)]
    rows = [["ms per step", *(SYSTEMS[system] for system in systems), "ours / best peer", "first step, s"]]
    for workload in dict.fromkeys(str(r["workload"]) for r in records):
        by_system = {str(r["system"]): r for r in records if r["workload"] == workload}
        times = [_cell(by_system.get(system, {}).get("ms_per_step")) for system in systems]
        ours = by_system.get(OURS, {})
        rows.append([workload, *times, _cell(ours.get("ratio_to_best_peer")), _cell(ours.get("first_step_s"))])
    return markdown(rows)


def product_table(records: Sequence[report.Record]) -> str:
    """A row per shape: GFLOP/s of each system, and the fraction of the peak that ours is."""
    systems = [system for system in PRODUCTS if any(r["system"] == system for r in records)]
    rows = [["GFLOP/s", *(PRODUCTS[system] for system in systems), "ours / peak"]]
    for shape in (shape for shape in SHOWN if any(r["shape"] == shape for r in records)):
        by_system = {str(r["system"]): r for r in records if r["shape"] == shape}
        rates = [_cell(by_system.get(system, {}).get("gflops")) for system in systems]
        rows.append([shape, *rates, _cell(by_system.get(OURS, {}).get("fraction_of_peak"), "{:.0%}")])
    return markdown(rows)


def _cell(value: object, form: str = "{:.3g}") -> str:
    return form.format(value) if isinstance(value, int | float) else ""


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head, numbers are on the right.

    >>> print(markdown([["a", "b"], ["x", "1"]]))
    | a | b |
    |---|--:|
    | x | 1 |
    """
    head, *body = rows
    rule = "|---|" + "--:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in body)])


if __name__ == "__main__":
    main()
