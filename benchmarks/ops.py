"""Elementwise operations, reductions, random numbers and optimiser updates beside NumPy and PyTorch.

    python -m benchmarks.ops --threads 1,2 --json

One record per operation, size, number of threads and system. The sizes are such that one array lies in the second-level
cache, in the third, and in memory. Ours runs in a native loop, as in training; peers write to arrays that are there.
"""

import argparse
import sys
from collections.abc import Mapping

from benchmarks import machine, peak, report
from benchmarks.measure import Samples, System, Worker, WorkerError, interleave, prepare_all, running
from benchmarks.operations import (
    COLUMNS,
    OPERATIONS,
    graphc_operations,
    numpy_operations,
    torch_operations,
)
from benchmarks.serve import serve

ELEMENTS = (1 << 16, 1 << 20, 1 << 24)
SYSTEMS = {
    "graphc": System("graphc", "benchmarks.ops", "graphc"),
    "numpy": System("numpy", "benchmarks.ops", "numpy"),
    "torch": System("torch", "benchmarks.ops", "torch", ("torch",)),
}
BLOCK_SECONDS = 0.05


def main() -> None:
    """Read the command line, measure, report."""
    options = arguments()
    output = report.Output("ops", options)
    for threads in options.threads:
        for elements in options.elements:
            try:
                output.add(measure(threads, elements, options))
            except WorkerError as error:
                sys.exit(str(error))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("ops", __doc__.splitlines()[0])
    parser.add_argument("--peers", type=report.names, default=["numpy", "torch"], help="of numpy, torch")
    parser.add_argument("--operations", type=report.names, default=list(OPERATIONS), help=f"of {', '.join(OPERATIONS)}")
    parser.add_argument("--elements", type=report.numbers, default=list(ELEMENTS), help="sizes, with commas")
    default = sorted({1, machine.available_cores()})
    parser.add_argument("--threads", type=report.numbers, default=default, help="one or several")
    options = parser.parse_args()
    if options.quick and options.elements == list(ELEMENTS):
        options.elements = [8 * COLUMNS]
    for given, known in ((options.peers, SYSTEMS), (options.operations, OPERATIONS)):
        if not set(given) <= set(known):
            parser.error(f"unknown: {', '.join(sorted(set(given) - set(known)))}; there are {', '.join(known)}")
    if any(elements % COLUMNS for elements in options.elements):
        parser.error(f"--elements: arrays have rows of {COLUMNS}")
    return options


def measure(threads: int, elements: int, options: argparse.Namespace) -> list[report.Record]:
    """All operations on arrays of one size. In a round each system goes through all of them."""
    systems = [SYSTEMS["graphc"], *(SYSTEMS[name] for name in options.peers)]
    with running(systems, threads) as workers, running([peak.PEAK], threads) as limits:
        if not limits:
            raise WorkerError("the bandwidth cannot be measured; see the notes above")
        (limit,) = limits
        peak.prepare_peaks(limit, sorted({_bytes(name, elements) for name in options.operations}))
        for name in options.operations:
            prepare_all(workers, name, operation=name, elements=elements)
        samples = interleave([*workers, limit], report.timing(options, BLOCK_SECONDS))
        return [
            record(name, elements, threads, worker, workers, samples, limit)
            for name in options.operations
            for worker in workers
            if (worker.name, name) in samples
        ]


def _bytes(name: str, elements: int) -> int:
    """What an operation moves at least."""
    return OPERATIONS[name].arrays * elements * 4


def record(
    name: str,
    elements: int,
    threads: int,
    worker: Worker,
    workers: list[Worker],
    samples: Mapping[tuple[str, str], Samples],
    limit: Worker,
) -> report.Record:
    """One operation of one system."""
    seconds = samples[worker.name, name].median
    others = [samples[w.name, name].median for w in workers if w.name != "graphc" and (w.name, name) in samples]
    moved = _bytes(name, elements)
    stream = peak.stream_name(moved)
    known = (limit.name, stream) in samples
    bandwidth = peak.rate(limit, dict(samples), stream) if known else None
    return {
        "operation": name,
        "elements": elements,
        "threads": threads,
        "system": worker.name,
        "us": seconds * 1e6,
        "elements_per_ns": elements / seconds / 1e9,
        "gb_per_s": moved / seconds / 1e9,
        "fraction_of_bandwidth": moved / seconds / bandwidth if bandwidth else None,
        "ratio_to_best_peer": seconds / min(others) if others else None,
        "bandwidth": bandwidth,
    }


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"graphc": graphc_operations, "numpy": numpy_operations, "torch": torch_operations})
    else:
        main()
