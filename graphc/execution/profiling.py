"""Where the time of a step goes: every kernel of the running program, beside what the machine could do at best.

In: a loaded program and the inputs of an entry. Out: a `ProfileReport`. Kernels are timed natively, in order, on the
program's own data, each in the caches as its predecessor left them. The step as a whole is timed without that, in runs
that take turns with the timed ones. The state is put back afterwards.
"""

import time
from collections.abc import Sequence

import numpy as np

from graphc.compilation import Compilation
from graphc.core.dtypes import DType, bfloat16, float32, float64
from graphc.core.errors import ArgumentError, UnsupportedError
from graphc.core.records import dataclass
from graphc.execution.profile import MOST_STEPS, KernelProfile, ProfileReport
from graphc.graph.ir import TensorType
from graphc.kernel.ir import Kernel
from graphc.kernel.traffic import bytes_by_parameter
from graphc.plan.ir import Copy, Entry, Launch, Ref
from graphc.runtime.peaks import Machine, Peaks, peaks
from graphc.runtime.protocol import Backend, Executable, LaunchTimes, Profiler

ROUNDS = 7
SECONDS = 0.03  # of one round, when the caller does not say how many steps
MOST_OUTPUT_BYTES = 2**26  # of one round: outputs are stacked


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
    machine = Machine(backend, executable.threads, compilation.options.device)
    found = _report(entry, times, step_seconds, peaks(machine, working_set, dtypes, remeasure))
    if remeasure or not _is_above(found):
        return found
    return _report(entry, times, step_seconds, peaks(machine, working_set, dtypes, True))


def _report(entry: str, times: Sequence[LaunchTimes], step_seconds: float, limits: Peaks) -> ProfileReport:
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
    limits: Peaks,
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
    if isinstance(instruction, Copy):
        return 0, 2 * instruction.source.nbytes, float32
    kernel = instruction.kernel
    return kernel.flops, sum(bytes_by_parameter(kernel)), _float(kernel)


def _float(kernel: Kernel) -> DType:
    found = {param.buffer.dtype for param in kernel.params}
    return next((dtype for dtype in (float64, bfloat16) if dtype in found), float32)


def _working_set(entry: Entry, rows: Sequence[tuple[Launch | Copy, ...]]) -> int:
    """Bytes that a step touches: the arena, and of other memory what the instructions reach, each byte once."""
    reached: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for instruction in (instruction for row in rows for instruction in row):
        for ref, nbytes in _reached(instruction):
            if ref.segment != "arena":
                reached.setdefault((ref.segment, ref.slot), []).append((ref.offset, ref.offset + nbytes))
    return entry.arena_bytes + sum(map(_length, reached.values()))


def _reached(instruction: Launch | Copy) -> list[tuple[Ref, int]]:
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
