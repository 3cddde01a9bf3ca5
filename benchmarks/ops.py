"""Operations on arrays beside NumPy and PyTorch.

    python -m benchmarks.ops --threads 1,2 --json

One record per operation, size, number of threads and system. Elementwise operations, random numbers and optimiser
updates (`operations`) are measured at sizes such that one array lies in the second-level cache, in the third, and in
memory; reductions, indexing, sorting and movement (`array_operations`) on 10^6 elements, with the most threads. Ours
runs in a native loop, as in training; peers write to arrays that are there.

`--check` prints what is slower than a peer in the end; the status is 1 when anything is.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import machine, peak, report
from benchmarks.array_operations import array_operations, graphc_arrays, numpy_arrays, torch_arrays
from benchmarks.arrays.row import COUNT
from benchmarks.measure import Samples, System, Worker, WorkerError, interleave, prepare_all, running
from benchmarks.operations import (
    COLUMNS,
    OPERATIONS,
    graphc_operations,
    numpy_operations,
    torch_operations,
)
from benchmarks.serve import Case, Loader, Prepare, Request, serve

ELEMENTS = (1 << 16, 1 << 20, 1 << 24)
SYSTEMS = {
    "graphc": System("graphc", "benchmarks.ops", "graphc"),
    "numpy": System("numpy", "benchmarks.ops", "numpy"),
    "torch": System("torch", "benchmarks.ops", "torch", ("torch",)),
}
BLOCK_SECONDS = 0.05
ARRAYS_BLOCK_SECONDS = 0.02  # there are many of them
ALIKE = 1.05  # times that differ by less are the same


def main() -> None:
    """Read the command line, measure, report."""
    options = arguments()
    output = report.Output("ops", options)
    slower: list[str] = []
    try:
        for records in measured(options):
            output.add(records)
            slower += [line for record in records if (line := slower_than_a_peer(record))]
    except WorkerError as error:
        sys.exit(str(error))
    if options.check and slower:
        sys.exit("slower than a peer:\n" + "\n".join(slower))


def measured(options: argparse.Namespace) -> Iterator[list[report.Record]]:
    """The records, as they come."""
    elementwise = [name for name in options.operations if name in OPERATIONS]
    arrays = [name for name in options.operations if name not in OPERATIONS]
    for threads in options.threads if elementwise else []:
        for elements in options.elements:
            yield measure(threads, elements, elementwise, options)
    if arrays:
        yield measure_arrays(max(options.threads), arrays, options)


def slower_than_a_peer(record: report.Record) -> str:
    """A line about it; empty when it is not."""
    ratio = record["ratio_to_best_peer"]
    if record["system"] != "graphc" or not isinstance(ratio, float) or ratio <= ALIKE:
        return ""
    return f"{record['operation']}, {record['elements']} elements, {record['threads']} threads: {ratio:.2f}"


def arguments() -> argparse.Namespace:
    """The command line."""
    every = [*OPERATIONS, *array_operations()]
    parser = report.parser("ops", __doc__.splitlines()[0])
    parser.add_argument("--peers", type=report.names, default=["numpy", "torch"], help="of numpy, torch")
    parser.add_argument("--operations", type=report.names, default=every, help=f"of {', '.join(every)}")
    parser.add_argument("--check", action="store_true", help="say what is slower than a peer")
    parser.add_argument("--elements", type=report.numbers, default=list(ELEMENTS), help="sizes, with commas")
    default = sorted({1, machine.available_cores()})
    parser.add_argument("--threads", type=report.numbers, default=default, help="one or several")
    options = parser.parse_args()
    if options.quick and options.elements == list(ELEMENTS):
        options.elements = [8 * COLUMNS]
    for given, known in ((options.peers, SYSTEMS), (options.operations, every)):
        if not set(given) <= set(known):
            parser.error(f"unknown: {', '.join(sorted(set(given) - set(known)))}; there are {', '.join(known)}")
    if any(elements % COLUMNS for elements in options.elements):
        parser.error(f"--elements: arrays have rows of {COLUMNS}")
    return options


def measure(threads: int, elements: int, operations: Sequence[str], options: argparse.Namespace) -> list[report.Record]:
    """All operations on arrays of one size. In a round each system goes through all of them."""
    systems = [SYSTEMS["graphc"], *(SYSTEMS[name] for name in options.peers)]
    with running(systems, threads) as workers, running([peak.PEAK], threads) as limits:
        if not limits:
            raise WorkerError("the bandwidth cannot be measured; see the notes above")
        (limit,) = limits
        peak.prepare_peaks(limit, sorted({_bytes(name, elements) for name in operations}))
        for name in operations:
            prepare_all(workers, name, operation=name, elements=elements)
        samples = interleave([*workers, limit], report.timing(options, BLOCK_SECONDS))
        return [
            record(name, elements, threads, worker, workers, samples, limit)
            for name in operations
            for worker in workers
            if (worker.name, name) in samples
        ]


def measure_arrays(threads: int, operations: Sequence[str], options: argparse.Namespace) -> list[report.Record]:
    """The operations of `array_operations`."""
    systems = [SYSTEMS["graphc"], *(SYSTEMS[name] for name in options.peers)]
    with running(systems, threads) as workers:
        for name in operations:
            prepare_all(workers, name, operation=name)
        samples = interleave(workers, report.timing(options, ARRAYS_BLOCK_SECONDS))
        found: list[report.Record] = []
        for name in operations:
            times = {w.name: samples[w.name, name].median for w in workers if (w.name, name) in samples}
            others = [seconds for system, seconds in times.items() if system != "graphc"]
            sizes = [float(str(w.cases[name]["nbytes"])) for w in workers if "nbytes" in w.cases.get(name, {})]
            found += [
                {
                    "operation": name,
                    "elements": COUNT,
                    "threads": threads,
                    "system": system,
                    "us": seconds * 1e6,
                    "elements_per_ns": COUNT / seconds / 1e9,
                    "gb_per_s": sizes[0] / seconds / 1e9 if sizes else None,
                    "fraction_of_bandwidth": None,
                    "ratio_to_best_peer": seconds / min(others) if others else None,
                    "bandwidth": None,
                }
                for system, seconds in times.items()
            ]
        return found


def both(elementwise: Loader, arrays: Loader) -> Loader:
    """One worker for both tables."""

    def load(threads: int) -> Prepare:
        first, second = elementwise(threads), arrays(threads)

        def prepare(case: Request) -> Case:
            return first(case) if case["operation"] in OPERATIONS else second(case)

        return prepare

    return load


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
        serve(
            {
                "graphc": both(graphc_operations, graphc_arrays),
                "numpy": both(numpy_operations, numpy_arrays),
                "torch": both(torch_operations, torch_arrays),
            }
        )
    else:
        main()
