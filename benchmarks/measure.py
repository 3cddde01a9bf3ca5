"""How everything is timed: each system in a process of its own, one block at a time, in interleaved rounds.

In: systems (a module that serves one, see `benchmarks.serve`) and cases. Out: medians over rounds. Guaranteed: only one
system works at any moment, a pause lies between two systems (BLAS workers spin on for up to 0.2 s), and every round
has another order, so that no system always follows the same neighbour.
"""

import compileall
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.machine import IGNORED_FLAGS, ROOT

Facts = dict[str, object]
THREAD_FLAGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Where each system keeps compiled code, so that a cold start and a warm one can be told apart.
CACHE_FLAGS = ("GRAPHC_CACHE", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
CACHE_SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


class WorkerError(Exception):
    """A system could not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class System:
    """Something to be measured: `python -m module --worker worker`; `needs` are the packages it imports.

    slow_start: it compiles for so long that it is started afresh less often than the others. settings: of its
    environment.
    """

    name: str
    module: str
    worker: str
    needs: tuple[str, ...] = ()
    slow_start: bool = False
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """Settings of the interleaved rounds."""

    rounds: int = 7
    block_seconds: float = 0.3
    pause: float = 0.25


@dataclass(slots=True)
class Samples:
    """Seconds per step, one of each round."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def milliseconds(self) -> Facts:
        """The median and its range, for a record."""
        low, high = min(self.seconds), max(self.seconds)
        return {"ms_per_step": self.median * 1e3, "ms_lowest": low * 1e3, "ms_highest": high * 1e3}


class Worker:
    """A running system."""

    def __init__(self, system: System, threads: int, cache: Path) -> None:
        self.name = system.name
        self.cases: dict[str, Facts] = {}
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", system.module, "--worker", system.worker, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**environment(threads, cache), **dict(system.settings)},
        )
        try:
            self.import_seconds = float(str(self._receive()["import_s"]))
        except WorkerError:
            self.close()
            raise

    def prepare(self, name: str, **case: object) -> Facts:
        """Compile a case and make its first step; returns what the system says about it."""
        self.cases[name] = self._ask(do="prepare", name=name, **case)
        return self.cases[name]

    def time(self, name: str, seconds: float) -> float:
        """Seconds per step, over a block of about `seconds`."""
        return float(str(self._ask(do="time", name=name, seconds=seconds)["seconds"]))

    def peak_rss_mb(self) -> float:
        """Most memory it was resident with so far."""
        return float(str(self._ask(do="memory")["peak_rss_mb"]))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._process.poll() is None:
            self._process.stdin.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _ask(self, **request: object) -> Facts:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"{self.name}: {self._last_words()}") from None
        return self._receive()

    def _receive(self) -> Facts:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise WorkerError(f"{self.name}: {self._last_words()}")
        answer: Facts = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"ended with status {self._process.returncode}: {lines[-1] if lines else 'it said nothing'}"


def environment(threads: int, cache: Path) -> dict[str, str]:
    """The environment of a worker: this checkout, that many threads, compiled code kept in `cache`."""
    compile_sources()
    inherited = {name: value for name, value in os.environ.items() if name not in IGNORED_FLAGS}
    path = [str(ROOT), str(ROOT / "frontends"), str(ROOT / "backends"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **inherited,
        **CACHE_SETTINGS,
        **{flag: str(cache / flag.lower()) for flag in CACHE_FLAGS},
        **dict.fromkeys(THREAD_FLAGS, str(threads)),
        "PYTHONPATH": os.pathsep.join(path),
    }


@functools.cache
def compile_sources() -> None:
    """Write the bytecode of our own files, as an installer does for those of every package (the peers' among them)."""
    for folder in ("graphc", "backends", "benchmarks"):
        compileall.compile_dir(ROOT / folder, quiet=2)


def note(text: str) -> None:
    """Tell people, without disturbing the records on standard output."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def installed(systems: Sequence[System]) -> list[System]:
    """The systems whose packages are there; a note says which are not."""
    found = []
    for system in systems:
        missing = [name for name in system.needs if find_spec(name) is None]
        if missing:
            note(f"{system.name} is left out: {', '.join(missing)} not installed")
        else:
            found.append(system)
    return found


@contextmanager
def running(systems: Sequence[System], threads: int) -> Iterator[list[Worker]]:
    """Workers of all systems that start; a note says which do not. They end with the block."""
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        try:
            for system in installed(systems):
                try:
                    workers.append(Worker(system, threads, Path(folder)))
                except WorkerError as error:
                    note(f"left out, {error}")
            yield workers
        finally:
            for worker in workers:
                worker.close()


def prepare_all(workers: Sequence[Worker], name: str, **case: object) -> None:
    """Prepare a case everywhere; where that fails a note says so and the system goes without the case."""
    for worker in workers:
        try:
            worker.prepare(name, **case)
        except WorkerError as error:
            note(f"{name} is left out, {error}")


def interleave(workers: Sequence[Worker], timing: Timing) -> dict[tuple[str, str], Samples]:
    """Time every prepared case of every worker, by (system, case)."""
    (samples,) = interleave_beside((0,), workers, timing)
    return samples


def interleave_beside(
    neighbours: Sequence[int], workers: Sequence[Worker], timing: Timing
) -> list[dict[tuple[str, str], Samples]]:
    """Time every prepared case of every worker beside so many busy processes, one result for each of these numbers.

    A round is one pass of each system over its cases beside each number of neighbours. A system that fails on the way
    is left out, with a note.
    """
    results: list[dict[tuple[str, str], Samples]] = [{} for _ in neighbours]
    left = list(workers)
    for number in range(timing.rounds):
        for count, samples in zip(neighbours, results, strict=True):
            with busy_neighbours(count):
                _round(rotated(left, number), timing, samples, left)
    there = {worker.name for worker in left}
    return [{key: found for key, found in samples.items() if key[0] in there} for samples in results]


def _round(
    workers: Sequence[Worker], timing: Timing, samples: dict[tuple[str, str], Samples], left: list[Worker]
) -> None:
    """One pass of each system over its cases; those that fail are taken from `left`."""
    for worker in workers:
        try:
            for case in worker.cases:
                seconds = worker.time(case, timing.block_seconds)
                samples.setdefault((worker.name, case), Samples()).seconds.append(seconds)
        except WorkerError as error:
            note(f"left out, {error}")
            left.remove(worker)
        time.sleep(timing.pause)


def rotated(workers: Sequence[Worker], number: int) -> list[Worker]:
    """Another order each round: another first system, and every other time backwards.

    >>> [rotated("abc", n) for n in range(4)]
    [['a', 'b', 'c'], ['a', 'c', 'b'], ['c', 'a', 'b'], ['c', 'b', 'a']]
    """
    if not workers:
        return []
    first = number % len(workers)
    turned = [*workers[first:], *workers[:first]]
    return turned[::-1] if number % 2 else turned


# ------------------------------------------------------------------------------------------------- the first step


@dataclass(slots=True)
class Start:
    """Fresh processes of one system: seconds to the first step, without and with a cache of compiled code.

    `worker` is the last one that started without, and still runs.
    """

    worker: Worker
    cold: list[Facts]
    warm: list[Facts]

    def median(self, which: str, key: str = "first_step_s") -> float:
        """The median of a number that the system reported at each start."""
        return statistics.median(float(str(facts[key])) for facts in getattr(self, which))


@contextmanager
def started(
    systems: Sequence[System],
    threads: int,
    repeats: int,
    name: str,
    pause: float = 0.25,
    slow_repeats: int = 1,
    **case: object,
) -> Iterator[list[Start]]:
    """Start every system `repeats` times cold, each followed by a warm start; keeps the last cold worker running.

    Systems with a slow start are started `slow_repeats` times.
    """
    starts: dict[str, Start] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        try:
            for number in range(repeats):
                for system in installed(systems) if number == 0 else [s for s in systems if s.name in starts]:
                    if system.slow_start and number >= slow_repeats:
                        continue
                    _start(system, threads, Path(folder) / f"{system.name}-{number}", starts, name, case)
                    time.sleep(pause)
            yield list(starts.values())
        finally:
            for start in starts.values():
                start.worker.close()


def _start(
    system: System, threads: int, cache: Path, starts: dict[str, Start], name: str, case: Mapping[str, object]
) -> None:
    """One cold start and one warm start after it."""
    workers: list[Worker] = []
    try:
        facts = []
        for _ in range(2):
            workers.append(Worker(system, threads, cache))
            facts.append({"import_s": workers[-1].import_seconds, **workers[-1].prepare(name, **case)})
    except WorkerError as error:
        note(f"{name} is left out, {error}")
        for worker in workers:
            worker.close()
        return
    cold, warm = workers
    warm.close()
    known = starts.get(system.name)
    if known is not None:
        known.worker.close()
    earlier = known or Start(cold, [], [])
    starts[system.name] = Start(cold, [*earlier.cold, facts[0]], [*earlier.warm, facts[1]])


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """As many other processes as that, each of which keeps a core busy."""
    program = "print(flush=True)\nwhile True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it is running now
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()
