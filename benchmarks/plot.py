"""The README's pictures, drawn from files of records: training steps against peers, matrix products against the peak.

    python -m benchmarks.plot benchmarks/results/*.jsonl --out docs

Writes `train_step.svg` and `contraction.svg`, each if there are records for it. The same records make the same bytes.
Colours are readable on light and on dark ground, where text turns light.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks import report

COLORS = {"graphc": "#ea580c", "jax": "#3b82f6", "torch-compile": "#6b7280", "torch-eager": "#9ca3af"}
COLORS |= {"torch": "#6b7280", "numpy": "#3b82f6"}
OTHER = "#a8a29e"
BAR, GAP, HEIGHT, LEFT, TOP, BOTTOM = 17, 14, 190, 46, 40, 34
LABELLED = 44  # a bar with a label of seven letters
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#1f2328}.small{font-size:9px}line{stroke:#8c959f;stroke-width:.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One system's bar, as a height on the axis and what is written on it."""

    system: str
    value: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Groups of bars under names, over an axis from 0 to `most` with these ticks."""

    title: str
    groups: Sequence[tuple[str, Sequence[Bar]]]
    ticks: Sequence[float]
    most: float
    tick_format: str = "{:g}"


def main() -> None:
    """Read the command line, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+", help="files written with --out")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--threads", type=int, help="of the records to draw (default: the most there are)")
    options = parser.parse_args()
    records = report.as_usual([record for path in options.results for record in report.read(path)])
    found = pictures(records, options.threads)
    if not found:
        sys.exit("no records of train_step or contraction with that number of threads")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in found.items():
        (options.out / name).write_text(text, encoding="utf-8")
        print(f"wrote {options.out / name}")


def pictures(records: Sequence[report.Record], threads: int | None = None) -> dict[str, str]:
    """The SVG files by name."""
    charts = {"train_step.svg": train_steps, "contraction.svg": contractions}
    found = {}
    for name, chart in charts.items():
        own = report.most_threads([r for r in records if r["benchmark"] == name.partition(".")[0]], threads)
        if own:
            found[name] = svg(chart(own))
    return found


def train_steps(records: Sequence[report.Record]) -> Chart:
    """A group per workload: time as a multiple of the best peer's, the time itself over the bar."""
    workloads = list(dict.fromkeys(str(record["workload"]) for record in records))
    groups = []
    for workload in workloads:
        times = {str(r["system"]): float(str(r["ms_per_step"])) for r in records if r["workload"] == workload}
        best = min((time for system, time in times.items() if system != "graphc"), default=min(times.values()))
        bars = [Bar(system, time / best, _time(time)) for system, time in times.items()]
        groups.append((workload, bars))
    most = max(bar.value for _, bars in groups for bar in bars)
    ticks = [float(tick) for tick in range(0, int(most) + 2, max(round(most / 5), 1))]
    return Chart(f"time per training step, best peer = 1 ({machine(records)})", groups, ticks, max(most, 1.0))


def _time(ms: float) -> str:
    """Short enough to stand over a bar."""
    ms = float(f"{ms:.3g}")
    scale, unit = (1000, "us") if ms < 1 else (1, "ms") if ms < 1000 else (1e-3, "s")
    return f"{ms * scale:.3g} {unit}"


def contractions(records: Sequence[report.Record]) -> Chart:
    """A group per shape of float32 products without transposition: the fraction of the peak of multiply-adds."""
    plain = [r for r in records if (r["dtype"], r["transposition"]) == ("float32", "nn")]
    shapes = list(dict.fromkeys(str(record["shape"]) for record in plain))
    groups = [
        (shape, [Bar(str(r["system"]), float(str(r["fraction_of_peak"]))) for r in plain if r["shape"] == shape])
        for shape in shapes
    ]
    title = f"matrix products, float32: fraction of the machine's peak ({machine(records)})"
    return Chart(title, groups, (0, 0.25, 0.5, 0.75, 1), 1.0, "{:.0%}")


def machine(records: Sequence[report.Record]) -> str:
    """What it was measured on."""
    facts: dict[str, object] = records[0]["machine"]  # type: ignore[assignment]
    threads = int(str(records[0]["threads"]))
    return f"{facts['cpu']}, {threads} thread{'s' * (threads > 1)}"


def svg(chart: Chart) -> str:
    """The picture."""
    step = max(BAR, LABELLED if any(bar.label for _, bars in chart.groups for bar in bars) else BAR)
    is_wide = len(chart.groups) > 6
    letter, style = (5, "small") if is_wide else (6, "")
    widths = [max(step * len(bars), letter * len(name)) + GAP for name, bars in chart.groups]
    width, bottom = LEFT + sum(widths) + GAP, TOP + HEIGHT
    systems = list(dict.fromkeys(bar.system for _, bars in chart.groups for bar in bars))
    parts = [_text(8, 14, chart.title)]
    for tick in chart.ticks:
        y = bottom - HEIGHT * tick / chart.most
        if y >= TOP - 1:
            parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{width - 4}" y2="{y:.1f}"/>')
            parts.append(_text(LEFT - 5, y + 4, chart.tick_format.format(tick), "end"))
    left = float(LEFT + GAP)
    for (name, bars), group in zip(chart.groups, widths, strict=True):
        start = left + (group - GAP - step * len(bars)) / 2
        for number, bar in enumerate(bars):
            parts += _bar(bar, start + step * number, step, bottom, HEIGHT * min(bar.value / chart.most, 1))
        parts.append(_text(left + (group - GAP) / 2, bottom + 14, name, "middle", style))
        left += group
    x = float(LEFT)
    for system in systems:
        parts.append(f'<rect x="{x:.1f}" y="{bottom + 22}" width="9" height="9" fill="{COLORS.get(system, OTHER)}"/>')
        parts.append(_text(x + 13, bottom + 30, system))
        x += 30 + 6.5 * len(system)
    width = max(width, int(x), int(6.2 * len(chart.title)))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + BOTTOM}" width="{width}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _bar(bar: Bar, x: float, step: int, bottom: int, height: float) -> list[str]:
    inner = step - 3
    size = f'width="{inner}" height="{height:.1f}"'
    color = COLORS.get(bar.system, OTHER)
    told = f"<title>{escape(bar.system)}: {escape(bar.label or f'{bar.value:.2f}')}</title>"
    rows = [f'<rect x="{x:.1f}" y="{bottom - height:.1f}" {size} fill="{color}">{told}</rect>']
    if bar.label:
        rows.append(_text(x + inner / 2, bottom - height - 3, bar.label, "middle", "small"))
    return rows


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


if __name__ == "__main__":
    main()
