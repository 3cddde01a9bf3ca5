"""Where the time of a step goes: every kernel of the running program, beside what the machine could do at best.

In: a loaded program and the inputs of an entry. Out: a `ProfileReport`. Kernels are timed natively, in order, on the
program's own data, each in the caches as its predecessor left them. The step as a whole is timed without that, in runs
that take turns with the timed ones. The state is put back afterwards.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from graphc.compilation import Compilation
from graphc.core.dtypes import DType, float32, float64
from graphc.core.errors import ArgumentError, UnsupportedError
from graphc.graph.ir import TensorType
from graphc.plan.ir import Copy, Entry, Launch, Ref
from graphc.runtime.protocol import Backend, Executable, LaunchTimes, Profiler

if TYPE_CHECKING:  # imported by what a program from the cache goes through
    from graphc.kernel.ir import Kernel
    from graphc.runtime.peaks import Peaks

ROUNDS = 7
SECONDS = 0.03  # of one round, when the caller does not say how many steps
MOST_STEPS = 2000  # of one round
MOST_OUTPUT_BYTES = 2**26  # of one round: outputs are stacked

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
        lines = [
            f"{self.entry}: {self.step_seconds * 1e6:,.1f} us per step, roofline {self.roofline:.0%}",
            f"limits on {self.peaks.threads} threads: {rates}, {self.peaks.bytes_per_second / 1e9:,.0f} GB/s "
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
    return (row.kernel, calls, *numbers, f"{row.roofline:.0%}", ", ".join(row.sources[:3]))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = (
        cell.rjust(w) if 0 < i < len(cells) - 1 else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths))
    )
    return "  ".join([first, *numbers, last]).rstrip()


# ------------------------------------------------------------------------------------------------------ measuring


def profile_entry(
    compilation: Compilation,
    entry: str,
    inputs: Sequence[np.ndarray],
    *,
    first: int = 0,
    repeats: int | None = None,
    longest: int = MOST_STEPS,
    advance: bool = False,
    remeasure: bool = False,
) -> ProfileReport:
    """Time an entry from step `first` on, at most `longest` steps in a row, `repeats` in all (default: 0.2 seconds).

    Every run starts from the state as it is, which is put back at the end; with `advance` the steps go on from each
    other, and the state stays where they lead. `remeasure`: measure the limits of the machine again. Raises
    `UnsupportedError` for a backend that cannot time the kernels of a running program.
    """
    from graphc.runtime.peaks import peaks

    if repeats is not None and repeats < 1:
        raise ArgumentError(f"profile: repeats must be at least 1, not {repeats}")
    executable, plan, backend = compilation.executable, compilation.plan, compilation.backend
    assert executable is not None
    if plan is None or not isinstance(backend, Backend) or not isinstance(executable, Profiler):
        raise UnsupportedError(f"the {backend.name} backend does not time kernels; use backend='cpu'")
    item = plan.entries[entry]
    longest = max(min(longest, MOST_OUTPUT_BYTES // max(sum(slot.nbytes for slot in item.outputs), 1)), 1)
    runs = _Runs(executable, executable, entry, inputs, first, advance, [np.array(a) for a in executable.state()])
    try:
        times, step_seconds = runs.measure(repeats, longest)
    finally:
        runs.restore()
    rows = times[0].rows
    dtypes = tuple(dict.fromkeys([float32, *(_float(launch.kernel) for row in rows for launch in _launches(row))]))
    working_set = _working_set(item, rows)
    found = _report(entry, times, step_seconds, peaks(backend, executable.threads, working_set, dtypes, remeasure))
    if remeasure or not _is_above(found):
        return found
    return _report(entry, times, step_seconds, peaks(backend, executable.threads, working_set, dtypes, True))


def _report(entry: str, times: Sequence[LaunchTimes], step_seconds: float, limits: "Peaks") -> ProfileReport:
    calls = np.concatenate([each.calls for each in times], axis=1)
    seconds = np.concatenate([each.seconds for each in times], axis=1)
    timed = [_row(i, row, calls[i], seconds[i], step_seconds, limits) for i, row in enumerate(times[0].rows)]
    merged = merge([row for row in timed if row.calls > 0])
    return ProfileReport(entry, merged, step_seconds, calls.shape[1], limits).sorted("time")


def _is_above(report: ProfileReport) -> bool:
    """A kernel computes faster than the peak: something else used the machine when that was measured."""
    return max((row.gflops for row in report), default=0.0) * 1e9 > 1.02 * max(report.peaks.flops_per_second.values())


@dataclass(slots=True)
class _Runs:
    """Runs of an entry, plain and timed in turns."""

    executable: Executable
    profiler: Profiler
    entry: str
    inputs: Sequence[np.ndarray]
    step: int
    advance: bool
    state: list[np.ndarray]

    def measure(self, repeats: int | None, longest: int) -> tuple[list[LaunchTimes], float]:
        """Times of the kernels, and the median time of a plain step."""
        self.timed(1)  # code and data are there before anything counts
        steps = 1
        for share in (1 / 30, 1 / 3, 1):  # the first runs are too short to be exact
            steps = min(max(round(share * SECONDS / max(self.plain(steps), 1e-9)), 1), longest)
        rounds = ROUNDS if repeats is None else min(ROUNDS, repeats)
        counts = [steps] * rounds if repeats is None else _shared(repeats, rounds, longest)
        times, plain = [], []
        for count in counts:
            plain.append(self.plain(steps))
            times.append(self.timed(count))
        return times, float(np.median(plain))

    def plain(self, steps: int) -> float:
        """Seconds of a step."""
        self.restore()
        start = time.perf_counter()
        self.executable.run(self.entry, self.inputs, self.step, steps)
        seconds = time.perf_counter() - start
        self._went(steps)
        return seconds / steps

    def timed(self, steps: int) -> LaunchTimes:
        self.restore()
        found = self.profiler.profile(self.entry, self.inputs, self.step, steps)
        self._went(steps)
        return found

    def restore(self) -> None:
        """The state as it was, unless it is to advance."""
        if self.advance:
            return
        for target, source in zip(self.executable.state(), self.state, strict=True):
            target[...] = source

    def _went(self, steps: int) -> None:
        if self.advance:
            self.step += steps


def _shared(repeats: int, rounds: int, longest: int) -> list[int]:
    """`repeats` steps in about so many runs, none longer than it may be.

    >>> _shared(20, 7, 100), _shared(20, 7, 2)
    ([3, 3, 3, 3, 3, 3, 2], [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    each = min(-(-repeats // rounds), longest)
    full, rest = divmod(repeats, each)
    return [each] * full + [rest] * (rest > 0)


def _row(
    position: int,
    instructions: tuple[Launch | Copy, ...],
    calls: np.ndarray,
    seconds: np.ndarray,
    step_seconds: float,
    limits: "Peaks",
) -> KernelProfile:
    """A row of an average step: what one pass over the instructions takes (the median), as often as it is made."""
    ran = calls > 0
    mean = float(calls.mean())
    one = float(np.median(seconds[ran] / calls[ran])) if ran.any() else 0.0
    flops, moved, least = 0, 0, 0.0
    for instruction in instructions:
        own_flops, own_moved, dtype = _work(instruction)
        flops, moved = flops + own_flops, moved + own_moved
        least += limits.least_seconds(own_flops, own_moved, dtype.name)
    name = " + ".join("copy" if isinstance(i, Copy) else i.kernel.name for i in instructions)
    sources = tuple(dict.fromkeys(line for launch in _launches(instructions) for line in launch.kernel.sources))
    total = one * mean
    work = (round(flops * mean), round(moved * mean), least * mean)
    return KernelProfile(name, position, mean, total, total / step_seconds, *work, sources)


def merge(rows: Sequence[KernelProfile]) -> tuple[KernelProfile, ...]:
    """Rows of one kernel become one: the places of the program it is called in."""
    found: dict[str, KernelProfile] = {}
    for row in rows:
        known = found.get(row.kernel)
        if known is None:
            found[row.kernel] = row
            continue
        found[row.kernel] = KernelProfile(
            row.kernel,
            known.position,
            known.calls + row.calls,
            known.seconds + row.seconds,
            known.share + row.share,
            known.flops + row.flops,
            known.bytes + row.bytes,
            known.least_seconds + row.least_seconds,
            tuple(dict.fromkeys([*known.sources, *row.sources])),
        )
    return tuple(found.values())


def _launches(instructions: tuple[Launch | Copy, ...]) -> list[Launch]:
    return [instruction for instruction in instructions if isinstance(instruction, Launch)]


def _work(instruction: Launch | Copy) -> tuple[int, int, DType]:
    """Flops and bytes of one instruction, and the dtype whose peak bounds it."""
    from graphc.kernel.traffic import bytes_by_parameter

    if isinstance(instruction, Copy):
        return 0, 2 * instruction.source.nbytes, float32
    kernel = instruction.kernel
    return kernel.flops, sum(bytes_by_parameter(kernel)), _float(kernel)


def _float(kernel: "Kernel") -> DType:
    return float64 if any(param.buffer.dtype is float64 for param in kernel.params) else float32


def _working_set(entry: Entry, rows: Sequence[tuple[Launch | Copy, ...]]) -> int:
    """Bytes that a step touches: the arena, and of other memory what the instructions reach, each byte once."""
    reached: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for instruction in (instruction for row in rows for instruction in row):
        for ref, nbytes in _reached(instruction):
            if ref.segment != "arena":
                reached.setdefault((ref.segment, ref.slot), []).append((ref.offset, ref.offset + nbytes))
    return entry.arena_bytes + sum(map(_length, reached.values()))


def _reached(instruction: Launch | Copy) -> list[tuple[Ref, int]]:
    from graphc.kernel.traffic import bytes_by_parameter

    if isinstance(instruction, Copy):
        return [(ref, ref.nbytes) for ref in (instruction.source, instruction.target)]
    return list(zip(instruction.args, bytes_by_parameter(instruction.kernel), strict=True))


def _length(intervals: list[tuple[int, int]]) -> int:
    """The length of their union.

    >>> _length([(0, 4), (8, 10), (2, 6)])
    8
    """
    total, end = 0, 0
    for start, stop in sorted(intervals):
        total += max(stop - max(start, end), 0)
        end = max(end, stop)
    return total


def made_up(types: Sequence[TensorType]) -> list[np.ndarray]:
    """Inputs where the caller has none: floats are standard normal, integers 0 and 1. The same each time."""
    rng = np.random.default_rng(0)
    arrays: list[np.ndarray] = []
    for type in types:
        draw = rng.standard_normal(type.shape) if type.dtype.is_float else rng.integers(0, 2, type.shape)
        arrays.append(np.asarray(draw, type.dtype.numpy))
    return arrays
