"""`python -m tests.fuzz`: random graphs until every primitive was met often enough on every dtype in every way.

Graphs are made for the cells that were met least; see `coverage` for what a cell is, `counts` for how runs go on from
each other. Prints the smallest counts and differences as it goes, in the end a table (all counts are in
build/fuzz.txt), the cells below the target, and one line of JSON. Exits with 1 when there were differences.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from tests.fuzz.counts import ROOT, Chooser, Counts
from tests.fuzz.coverage import cells, smallest, table
from tests.fuzz.tasks import Task
from tests.fuzz.workers import Worker


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", type=int, default=200, help="how often each cell is to be met")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long at most")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--size", type=int, default=24, help="steps of a graph")
    parser.add_argument("--seed", type=int, default=0, help="added to the number of each graph")
    parser.add_argument("--file", type=Path, default=ROOT / "build" / "fuzz.json", help="where counts are kept")
    parser.add_argument("--keep", action="store_true", help="go on from counts of other sources")
    parser.add_argument("--forget", nargs="*", default=[], help="primitives whose counts begin at zero")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, counts: Counts) -> float:
    """Give tasks to processes until the cells are full or the time is over; how many seconds that took."""
    chooser = Chooser(counts, options.target, np.random.default_rng(options.seed + counts.graphs))
    workers = [Worker() for _ in range(options.processes)]
    start = said = time.monotonic()
    while time.monotonic() - start < 60 * options.minutes:
        idle = [worker for worker in workers if worker.task is None]
        for worker in idle:
            wishes, ways = chooser.next(options.size)
            if wishes:
                number = counts.graphs
                worker.give(
                    Task(options.seed + number, wishes, ways, number % 5 == 4, number % 4 == 3, number % 10 == 0)
                )
                counts.graphs += 1
        busy = [worker for worker in workers if worker.task is not None]
        if not busy:
            break
        wait([worker.pipe for worker in busy], timeout=5)
        for k, worker in enumerate(workers):
            outcome = worker.answer() if worker.task is not None else None
            if outcome is None:
                continue
            assert worker.task is not None
            chooser.learn(worker.task.wishes, outcome.cells)
            counts.differences += len(outcome.differences)
            for text in outcome.differences:
                print(f"difference: {text}", flush=True)
            worker.task = None
            if not worker.process.is_alive():
                workers[k] = Worker()
        if time.monotonic() - said > 30:
            said = time.monotonic()
            _say(counts, options.target, said - start)
            counts.write(options.file)
    for worker in workers:
        worker.end()
    return time.monotonic() - start


def _say(counts: Counts, target: int, seconds: float) -> None:
    lack = sum(target - counts.cells[cell] for cell in counts.below(target))
    print(
        f"{seconds:6.0f} s, {counts.graphs} graphs, {counts.cells.total()} counts, {lack} lacking in "
        f"{len(counts.below(target))} cells, smallest {smallest(counts.cells)}, {counts.differences} differences",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    options = _options(arguments)
    os.environ.setdefault("GRAPHC_CACHE", "off")
    counts = Counts.read(options.file, options.keep, options.forget)
    print(f"seed {options.seed}, sources {counts.digest}, {counts.cells.total()} counts from before", flush=True)
    seconds = _run(options, counts)
    counts.write(options.file)
    options.file.with_suffix(".txt").write_text("\n".join(table(counts.cells)) + "\n", encoding="utf-8")
    print("smallest count of all ways, per primitive and dtype:")
    print("\n".join(table(counts.cells, whole=False)))
    below = counts.below(options.target)
    for op, dtype, way in below:
        print(f"below {options.target}: {op} {dtype} {way}: {counts.cells[op, dtype, way]}")
    if counts.earlier:
        print(f"{counts.earlier} counts are from other sources")
    result = {"target": options.target, "cells": len(cells()), "below": len(below)}
    result |= {"smallest": smallest(counts.cells), "graphs": counts.graphs, "differences": counts.differences}
    print(json.dumps(result | {"seconds": round(seconds), "sources": counts.digest}))
    return 1 if counts.differences else 0


if __name__ == "__main__":
    sys.exit(main())
