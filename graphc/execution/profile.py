"""What a profile says: time and roofline fraction of every kernel of a step, as rows, text and data.

Made by `graphc.execution.profiling`, which is imported when something is profiled.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

from graphc.core.errors import ArgumentError
from graphc.core.records import dataclass

if TYPE_CHECKING:
    from graphc.runtime.peaks import Peaks

MOST_STEPS = 2000  # in a row
LONGEST_NAME = 48  # of a kernel in the text: several that run as one have a long one

SortKey = Literal["time", "calls", "flops", "bytes", "gflops", "gbytes", "roofline", "excess", "order"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)


@dataclass(frozen=True, slots=True)
class KernelProfile:
    """One kernel in one step: all its calls together. Kernels that run as one are one row.

    position: of its first call among all instructions. calls: of an average step.
    least_seconds: the larger of flops over the machine's peak and bytes over its bandwidth, summed over the calls.
    """

    kernel: str
    position: int
    calls: float
    seconds: float
    share: float
    flops: int
    bytes: int
    least_seconds: float
    sources: tuple[str, ...]

    @property
    def gflops(self) -> float:
        """Thousand million float operations per second."""
        return self.flops / self.seconds / 1e9 if self.seconds > 0 else 0.0

    @property
    def gbytes(self) -> float:
        """Thousand million bytes per second."""
        return self.bytes / self.seconds / 1e9 if self.seconds > 0 else 0.0

    @property
    def roofline(self) -> float:
        """How near it is to the machine's limit: 1 is as fast as can be."""
        return self.least_seconds / self.seconds if self.seconds > 0 else 0.0

    @property
    def excess_seconds(self) -> float:
        """What there is to gain."""
        return self.seconds - self.least_seconds

    def to_dict(self) -> dict[str, object]:
        """Everything, for JSON."""
        return {
            "kernel": self.kernel,
            "position": self.position,
            "calls": self.calls,
            "seconds": self.seconds,
            "share": self.share,
            "flops": self.flops,
            "bytes": self.bytes,
            "gflops": self.gflops,
            "gbytes": self.gbytes,
            "least_seconds": self.least_seconds,
            "roofline": self.roofline,
            "sources": list(self.sources),
        }


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """One step of an entry, kernel by kernel. Iterates over its rows, those that take longest first.

    step_seconds: median time of a step, without the call from Python. kernels_seconds: the sum of the rows.
    between_seconds: the rest, what lies between the kernels; it can be a little below zero, for the two are measured in
    different runs. roofline: the time the machine would need at best over the time of the step.
    """

    entry: str
    rows: tuple[KernelProfile, ...]
    step_seconds: float
    steps: int
    peaks: "Peaks"

    def __iter__(self) -> Iterator[KernelProfile]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def kernels_seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    @property
    def between_seconds(self) -> float:
        return self.step_seconds - self.kernels_seconds

    @property
    def flops(self) -> int:
        return sum(row.flops for row in self.rows)

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def least_seconds(self) -> float:
        return sum(row.least_seconds for row in self.rows)

    @property
    def roofline(self) -> float:
        return self.least_seconds / self.step_seconds

    def sorted(self, key: SortKey) -> "ProfileReport":
        """The same with the rows in another order: largest first, or as the program runs them ("order")."""
        if key not in SORT_KEYS:
            raise ArgumentError(f"profile: sort={key!r}: use {', '.join(SORT_KEYS)}")
        return replace(self, rows=tuple(sorted(self.rows, key=_SORTED_BY[key], reverse=True)))

    def to_dict(self) -> dict[str, object]:
        """Everything, for JSON."""
        return {
            "entry": self.entry,
            "step_seconds": self.step_seconds,
            "kernels_seconds": self.kernels_seconds,
            "between_seconds": self.between_seconds,
            "least_seconds": self.least_seconds,
            "roofline": self.roofline,
            "flops": self.flops,
            "bytes": self.bytes,
            "steps": self.steps,
            "threads": self.peaks.threads,
            "flops_per_second": dict(self.peaks.flops_per_second),
            "bytes_per_second": self.peaks.bytes_per_second,
            "working_set": self.peaks.working_set,
            "kernels": [row.to_dict() for row in self.rows],
        }

    def text(self, top: int | None = None) -> str:
        """A table of the first `top` rows, or of all."""
        shown = self.rows[:top]
        cells = [_HEADER, *(_cells(row) for row in shown)]
        if len(shown) < len(self.rows):
            cells.append(self._summed(f"{len(self.rows) - len(shown)} more", self.rows[len(shown) :]))
        cells.append(self._summed("all kernels", self.rows))
        between, share = self.between_seconds, self.between_seconds / self.step_seconds
        cells.append(("between them", "", f"{between * 1e6:,.1f}", f"{share:.1%}", *[""] * 4))
        widths = [max(len(row[i]) for row in cells) for i in range(len(_HEADER))]
        rates = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s {name}" for name, rate in self.peaks.flops_per_second.items())
        threads = "" if self.peaks.threads is None else f" on {self.peaks.threads} threads"
        lines = [
            f"{self.entry}: {self.step_seconds * 1e6:,.1f} us per step, roofline {self.roofline:.0%}",
            f"limits{threads}: {rates}, {self.peaks.bytes_per_second / 1e9:,.0f} GB/s "
            f"in {self.peaks.working_set / 1e6:,.3g} MB",
        ]
        return "\n".join(lines + [_line(row, widths) for row in cells])

    def __str__(self) -> str:
        return self.text()

    def _summed(self, name: str, rows: Sequence[KernelProfile]) -> tuple[str, ...]:
        seconds, least = sum(row.seconds for row in rows), sum(row.least_seconds for row in rows)
        flops, moved = sum(row.flops for row in rows), sum(row.bytes for row in rows)
        calls = sum(row.calls for row in rows)
        return _cells(KernelProfile(name, 0, calls, seconds, seconds / self.step_seconds, flops, moved, least, ()))


_SORTED_BY: Mapping[SortKey, Callable[[KernelProfile], float]] = {
    "time": lambda row: row.seconds,
    "calls": lambda row: row.calls,
    "flops": lambda row: row.flops,
    "bytes": lambda row: row.bytes,
    "gflops": lambda row: row.gflops,
    "gbytes": lambda row: row.gbytes,
    "roofline": lambda row: row.roofline,
    "excess": lambda row: row.excess_seconds,
    "order": lambda row: -row.position,
}
_HEADER = ("kernel", "calls", "us", "share", "GFLOP/s", "GB/s", "roofline", "source")


def _cells(row: KernelProfile) -> tuple[str, ...]:
    calls = f"{row.calls:.3g}"
    numbers = (f"{row.seconds * 1e6:,.1f}", f"{row.share:.1%}", f"{row.gflops:,.1f}", f"{row.gbytes:,.1f}")
    name = row.kernel if len(row.kernel) <= LONGEST_NAME else row.kernel[: LONGEST_NAME - 3] + "..."
    return (name, calls, *numbers, f"{row.roofline:.0%}", ", ".join(row.sources[:3]))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = (
        cell.rjust(w) if 0 < i < len(cells) - 1 else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths))
    )
    return "  ".join([first, *numbers, last]).rstrip()
