"""The worker's side of a measurement: a process that holds prepared cases and times one block when it is told to.

Each line of standard input is a JSON request, each line of standard output its JSON answer. What anything else prints
goes to standard error.

A system is a loader: `load(threads) -> prepare`, which imports what it needs, and `prepare(case) -> Case`, which
compiles, makes the first step, and reports facts about the case (numbers for the record).
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

Request = dict[str, object]


@dataclass(frozen=True, slots=True)
class Case:
    """Something to time: `run(n)` makes n steps and returns when they are finished."""

    run: Callable[[int], object]
    facts: Mapping[str, object]


Prepare = Callable[[Request], Case]
Loader = Callable[[int], Prepare]

UNCOUNTED = 8  # a block of steps is timed after an eighth of it


class Server:
    """Answers requests: prepare, time, memory."""

    def __init__(self, load: Loader, threads: int) -> None:
        start = time.perf_counter()
        self._prepare = load(threads)
        self.import_seconds = time.perf_counter() - start
        self._cases: dict[str, Case] = {}
        self._steps: dict[tuple[str, float], int] = {}

    def answer(self, request: Request) -> Request:
        """One answer to one request."""
        match request["do"]:
            case "prepare":
                self._cases[str(request["name"])] = found = self._prepare(request)
                return dict(found.facts)
            case "time":
                return self._time(str(request["name"]), float(str(request["seconds"])))
            case "memory":
                return {"peak_rss_mb": peak_rss_mb()}
        raise ValueError(f"unknown request {request['do']!r}")

    def _time(self, name: str, seconds: float) -> Request:
        """Seconds per step of a block of about `seconds`; how many steps that is was found out the first time.

        Some steps come first and are not counted: another system had the caches, and the clock was slow meanwhile.
        """
        run = self._cases[name].run
        key = (name, seconds)
        if key not in self._steps:
            self._steps[key] = steps_in(run, seconds)
        steps = self._steps[key]
        run(-(-steps // UNCOUNTED))
        return {"seconds": timed(run, steps) / steps, "steps": steps}


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """Calls it that often."""

    def run(steps: int) -> None:
        for _ in range(steps):
            call()

    return run


def timed(run: Callable[[int], object], steps: int) -> float:
    """Seconds of `steps` steps."""
    start = time.perf_counter()
    run(steps)
    return time.perf_counter() - start


def steps_in(run: Callable[[int], object], seconds: float) -> int:
    """How many steps take about that long; one when no time is given."""
    steps, elapsed = 1, timed(run, 1)
    while elapsed < seconds / 4:
        steps *= 4
        elapsed = timed(run, steps)
    return max(round(steps * seconds / max(elapsed, 1e-9)), 1)


def peak_rss_mb() -> float:
    """Most memory this process was resident with. Of the program itself: getrusage would count the parent's too."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024, 1)
    except (OSError, StopIteration):
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def use_cores(threads: int) -> None:
    """Stay on as many cores as there are threads: some systems cannot be told otherwise how many to use."""
    if hasattr(os, "sched_setaffinity") and threads < len(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(loaders: Mapping[str, Loader], argv: Sequence[str] | None = None) -> None:
    """Be a worker: `--worker NAME --threads N`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", choices=sorted(loaders), required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args(argv)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    use_cores(options.threads)
    server = Server(loaders[options.worker], options.threads)
    _send(channel, {"import_s": server.import_seconds})
    for line in sys.stdin:
        try:
            _send(channel, server.answer(json.loads(line)))
        except Exception as error:  # the measurement decides what becomes of it
            traceback.print_exc()
            _send(channel, {"error": f"{type(error).__name__}: {error}"[:400]})


def _send(channel: TextIO, answer: Request) -> None:
    channel.write(json.dumps(answer) + "\n")
    channel.flush()
