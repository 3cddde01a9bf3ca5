"""Matrix products of graphc beside NumPy and PyTorch, with the fraction of the machine's peak in the same run.

    python -m benchmarks.contraction --threads 1,2 --json

One record per shape, transposition, number of threads and system. `us_per_product` is of ours in a native loop, as in
training, and of a peer with the result written to an array that is there; `us_per_call` is of a call from Python that
returns a new array.
"""

import argparse
import sys
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks import machine, peak, report
from benchmarks.measure import Samples, System, Worker, WorkerError, interleave, prepare_all, running
from benchmarks.serve import Case, Prepare, Request, serve

SHAPES = ("256x256x256", "512x512x512", "1024x768x768", "64x512x784", "2048x384x1536", "128x10x512", "32x128x64")
SHAPES += ("65x65x65", "127x127x127")
TRANSPOSITIONS = ("nn", "nt", "tn", "tt")  # t: the operand is stored the other way round
SYSTEMS = {
    "graphc": System("graphc", "benchmarks.contraction", "graphc"),
    "numpy": System("numpy", "benchmarks.contraction", "numpy"),
    "torch": System("torch", "benchmarks.contraction", "torch", ("torch",)),
}
BLOCK_SECONDS = 0.05
LOOP, CALL = "loop", "call"


def main() -> None:
    """Read the command line, measure, report."""
    options = arguments()
    output = report.Output("contraction", options)
    for threads in options.threads:
        try:
            output.add(measure(threads, options))
        except WorkerError as error:
            sys.exit(str(error))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("contraction", __doc__.splitlines()[0])
    parser.add_argument("--peers", type=peers, default=peers("numpy,torch"), help="of numpy, torch")
    parser.add_argument("--shapes", type=shapes, default=list(SHAPES), help="rows x columns x summed, with commas")
    parser.add_argument("--transpositions", type=report.names, default=list(TRANSPOSITIONS), help="of nn,nt,tn,tt")
    default = sorted({1, machine.available_cores()})
    parser.add_argument("--threads", type=report.numbers, default=default, help="one or several")
    options = parser.parse_args()
    if options.quick and options.shapes == list(SHAPES):
        options.shapes = ["65x65x65", "32x128x64"]
    if not set(options.transpositions) <= set(TRANSPOSITIONS):
        parser.error(f"--transpositions: use {', '.join(TRANSPOSITIONS)}")
    return options


def peers(text: str) -> list[System]:
    """Systems by name."""
    unknown = [name for name in report.names(text) if name not in SYSTEMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are numpy, torch")
    return [SYSTEMS[name] for name in report.names(text)]


def shapes(text: str) -> list[str]:
    """Shapes such as 64x512x784."""
    for shape in report.names(text):
        extents(shape)
    return report.names(text)


def extents(shape: str) -> tuple[int, int, int]:
    """Rows, columns and the length of the sum.

    >>> extents("64x512x784")
    (64, 512, 784)
    """
    try:
        rows, columns, summed = (report.at_least_one(part) for part in shape.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shape} is not of the form 64x512x784") from None
    return rows, columns, summed


def measure(threads: int, options: argparse.Namespace) -> list[report.Record]:
    """All shapes on one number of threads. In a round each system goes through all of them."""
    systems = [SYSTEMS["graphc"], *options.peers]
    with running(systems, threads) as workers, running([peak.PEAK], threads) as limits:
        if not limits:
            raise WorkerError("the peak cannot be measured; see the notes above")
        (limit,) = limits
        peak.prepare_peaks(limit)
        for shape in options.shapes:
            for transposition in options.transpositions:
                for way in (LOOP, CALL):
                    name = f"{shape} {transposition} {way}"
                    prepare_all(workers, name, shape=shape, transposition=transposition, way=way)
        samples = interleave([*workers, limit], report.timing(options, BLOCK_SECONDS))
        if (limit.name, peak.fma_name()) not in samples:
            raise WorkerError("the peak was not measured")
        rate = peak.rate(limit, samples, peak.fma_name())
        return [
            record(shape, transposition, threads, worker, workers, samples, rate)
            for shape in options.shapes
            for transposition in options.transpositions
            for worker in workers
            if all((worker.name, f"{shape} {transposition} {way}") in samples for way in (LOOP, CALL))
        ]


def record(
    shape: str,
    transposition: str,
    threads: int,
    worker: Worker,
    workers: list[Worker],
    samples: Mapping[tuple[str, str], Samples],
    rate: float,
) -> report.Record:
    """One product of one system."""
    rows, columns, summed = extents(shape)
    flops = 2 * rows * columns * summed
    seconds: dict[str, float] = {}
    ratios: dict[str, float | None] = {}
    for way in (LOOP, CALL):
        case = f"{shape} {transposition} {way}"
        others = [samples[w.name, case].median for w in workers if w.name != "graphc" and (w.name, case) in samples]
        seconds[way] = samples[worker.name, case].median
        ratios[way] = seconds[way] / min(others) if others else None
    return {
        "shape": shape,
        "transposition": transposition,
        "threads": threads,
        "system": worker.name,
        "us_per_product": seconds[LOOP] * 1e6,
        "gflops": flops / seconds[LOOP] / 1e9,
        "fraction_of_peak": flops / seconds[LOOP] / rate,
        "ratio_to_best_peer": ratios[LOOP],
        "us_per_call": seconds[CALL] * 1e6,
        "call_ratio_to_best_peer": ratios[CALL],
        "fma_peak": rate,
    }


# --------------------------------------------------------------------------------------------------- the systems


def operands(case: Request) -> tuple[np.ndarray, np.ndarray]:
    """Left and right operand as they are stored."""
    rows, columns, summed = extents(str(case["shape"]))
    left, right = str(case["transposition"])
    rng = np.random.default_rng(rows + columns + summed)
    a = rng.standard_normal((rows, summed) if left == "n" else (summed, rows), dtype=np.float32)
    b = rng.standard_normal((summed, columns) if right == "n" else (columns, summed), dtype=np.float32)
    return a, b


def views(transposition: str, a, b):
    """The operands as they are multiplied."""
    return (a if transposition[0] == "n" else a.T), (b if transposition[1] == "n" else b.T)


def checked(result: object, transposition: str, a: np.ndarray, b: np.ndarray) -> Mapping[str, object]:
    """The error against a float64 product, of which there must be little. Raises `AssertionError`."""
    left, right = views(transposition, a.astype(np.float64), b.astype(np.float64))
    error = float(np.max(np.abs(np.asarray(result) - left @ right)) / a.shape[transposition[0] == "n"])
    if not error < 1e-5:
        raise AssertionError(f"the product is off by {error:g} per term")
    return {"error_per_term": error}


def graphc_products(threads: int) -> Prepare:
    """Ours: a native loop that keeps the result in place, or compiled calls."""
    import graphc as gc

    def prepare(case: Request) -> Case:
        a, b = operands(case)
        way = str(case["transposition"])

        def product(a, b):
            left, right = views(way, a, b)
            return left @ right

        if case["way"] == CALL:
            compiled = gc.compile(product, a, b, threads=threads)
            return Case(repeated(lambda: compiled(a, b)), checked(compiled(a, b), way, a, b))
        rows, columns, _ = extents(str(case["shape"]))
        program = gc.program(
            {"out": np.zeros((rows, columns), np.float32)},
            {LOOP: lambda state, batch, step: ({"out": product(*batch)}, ())},
            {LOOP: (a, b)},
            threads=threads,
        )
        program.run(LOOP, (a, b), n=1)
        return Case(lambda steps: program.run(LOOP, (a, b), n=steps), checked(program.state["out"], way, a, b))

    return prepare


def numpy_products(threads: int) -> Prepare:
    """NumPy, whose BLAS reads the number of threads from the environment."""

    def prepare(case: Request) -> Case:
        a, b = operands(case)
        way = str(case["transposition"])
        left, right = views(way, a, b)
        out = left @ right
        if case["way"] == CALL:
            return Case(repeated(lambda: left @ right), checked(out, way, a, b))
        return Case(repeated(lambda: np.matmul(left, right, out=out)), checked(out, way, a, b))

    return prepare


def torch_products(threads: int) -> Prepare:
    """PyTorch, eager."""
    import torch

    torch.set_num_threads(threads)

    def prepare(case: Request) -> Case:
        a, b = operands(case)
        way = str(case["transposition"])
        left, right = views(way, torch.from_numpy(a), torch.from_numpy(b))
        out = torch.mm(left, right)
        if case["way"] == CALL:
            return Case(repeated(lambda: torch.mm(left, right)), checked(out, way, a, b))
        return Case(repeated(lambda: torch.mm(left, right, out=out)), checked(out, way, a, b))

    return prepare


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """Calls it that often."""

    def run(steps: int) -> None:
        for _ in range(steps):
            call()

    return run


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"graphc": graphc_products, "numpy": numpy_products, "torch": torch_products})
    else:
        main()
