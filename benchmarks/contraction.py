"""Matrix products of graphc beside NumPy and PyTorch, with the fraction of the machine's peak in the same run.

    python -m benchmarks.contraction --threads 1,2 --json

One record per dtype, shape, transposition, number of threads and system. `us_per_product` is of ours in a native loop,
as in training, and of a peer with the result written to an array that is there; `us_per_call` is of a call from Python
that returns a new array (float32, nothing transposed).
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import machine, peak, report
from benchmarks.measure import Samples, System, Worker, WorkerError, interleave, prepare_all, running
from benchmarks.serve import Case, Prepare, Request, repeated, serve

SHAPES = ("256x256x256", "512x512x512", "1024x768x768", "2048x384x1536")  # square and large
SHAPES += ("64x512x784", "128x512x784", "128x512x512", "512x784x128", "128x10x512", "32x128x64")  # layers
SHAPES += ("1x1024x4096", "8x1024x4096", "32x1024x4096")  # few rows
SHAPES += ("65x65x65", "127x127x127")  # odd
LARGE_SHAPES = ("512x512x512", "1024x768x768", "2048x384x1536")  # of the other dtypes
DTYPES = ("float32", "float64", "bfloat16")
TOLERANCE = {"float32": 1e-5, "float64": 1e-13, "bfloat16": 1e-2}  # of the error per term
TRANSPOSITIONS = ("nn", "nt", "tn", "tt")  # t: the operand is stored the other way round
SYSTEMS = {
    "graphc": System("graphc", "benchmarks.contraction", "graphc"),
    "numpy": System("numpy", "benchmarks.contraction", "numpy"),  # has no bfloat16
    "torch": System("torch", "benchmarks.contraction", "torch", ("torch",)),
}
BLOCK_SECONDS = 0.02
LOOP, CALL = "loop", "call"


@dataclass(frozen=True, slots=True)
class Product:
    """One product to measure. Shapes are rows x columns x summed."""

    dtype: str
    shape: str
    transposition: str

    @property
    def ways(self) -> tuple[str, ...]:
        """Calls cost the same whatever is multiplied: one kind shows it."""
        return (LOOP, CALL) if (self.dtype, self.transposition) == ("float32", "nn") else (LOOP,)

    def case(self, way: str) -> str:
        """The name of the case."""
        return f"{self.dtype} {self.shape} {self.transposition} {way}"


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
    parser.add_argument("--shapes", type=shapes, help="rows x columns x summed, with commas")
    parser.add_argument("--dtypes", type=report.names, default=list(DTYPES), help=f"of {','.join(DTYPES)}")
    parser.add_argument("--transpositions", type=report.names, default=list(TRANSPOSITIONS), help="of nn,nt,tn,tt")
    default = sorted({1, machine.available_cores()})
    parser.add_argument("--threads", type=report.numbers, default=default, help="one or several")
    options = parser.parse_args()
    if options.quick and options.shapes is None:
        options.shapes = ["65x65x65", "32x128x64"]
    if not set(options.dtypes) <= set(DTYPES):
        parser.error(f"--dtypes: use {', '.join(DTYPES)}")
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


def products(options: argparse.Namespace) -> list[Product]:
    """What was asked for. Of dtypes other than float32 only large shapes, unless shapes were given."""
    return [
        Product(dtype, shape, transposition)
        for dtype in options.dtypes
        for shape in options.shapes or (SHAPES if dtype == "float32" else LARGE_SHAPES)
        for transposition in options.transpositions
    ]


def measure(threads: int, options: argparse.Namespace) -> list[report.Record]:
    """All products on one number of threads. In a round each system goes through all of them."""
    systems = [SYSTEMS["graphc"], *options.peers]
    wanted = products(options)
    with running(systems, threads) as workers, running([peak.PEAK], threads) as limits:
        if not limits:
            raise WorkerError("the peak cannot be measured; see the notes above")
        (limit,) = limits
        peaks = {name: peak.fma_name(name) for name in dict.fromkeys(["float32", *options.dtypes])}
        peak.prepare_peaks(limit, dtypes=list(peaks))
        for product in wanted:
            for way in product.ways:
                prepare(workers, product, way)
        samples = interleave([*workers, limit], report.timing(options, BLOCK_SECONDS))
        rates = {name: peak.rate(limit, samples, case) for name, case in peaks.items() if (limit.name, case) in samples}
        if len(rates) < len(peaks):
            raise WorkerError("the peaks were not measured")
        return [
            record(product, threads, worker, workers, samples, rates[product.dtype])
            for product in wanted
            for worker in workers
            if all((worker.name, product.case(way)) in samples for way in product.ways)
        ]


def prepare(workers: list[Worker], product: Product, way: str) -> None:
    """Make a product ready in every system that has its dtype."""
    able = [worker for worker in workers if (worker.name, product.dtype) != ("numpy", "bfloat16")]
    facts = {"dtype": product.dtype, "shape": product.shape, "transposition": product.transposition, "way": way}
    prepare_all(able, product.case(way), **facts)


def record(
    product: Product,
    threads: int,
    worker: Worker,
    workers: list[Worker],
    samples: Mapping[tuple[str, str], Samples],
    rate: float,
) -> report.Record:
    """One product of one system."""
    rows, columns, summed = extents(product.shape)
    flops = 2 * rows * columns * summed
    seconds: dict[str, float] = {}
    ratios: dict[str, float | None] = dict.fromkeys((LOOP, CALL))
    for way in product.ways:
        case = product.case(way)
        others = [samples[w.name, case].median for w in workers if w.name != "graphc" and (w.name, case) in samples]
        seconds[way] = samples[worker.name, case].median
        ratios[way] = seconds[way] / min(others) if others else None
    in_float32 = samples.get(("graphc", replace(product, dtype="float32").case(LOOP)))
    return {
        "dtype": product.dtype,
        "shape": product.shape,
        "transposition": product.transposition,
        "threads": threads,
        "system": worker.name,
        "us_per_product": seconds[LOOP] * 1e6,
        "gflops": flops / seconds[LOOP] / 1e9,
        "fraction_of_peak": flops / seconds[LOOP] / rate,
        "ratio_to_best_peer": ratios[LOOP],
        "ratio_to_float32": seconds[LOOP] / in_float32.median if in_float32 else None,
        "us_per_call": seconds[CALL] * 1e6 if CALL in seconds else None,
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
    dtype = numpy_dtype(str(case["dtype"]))
    return a.astype(dtype), b.astype(dtype)


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """NumPy's dtype; of bfloat16 that of ml_dtypes."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def views(transposition: str, a, b):
    """The operands as they are multiplied."""
    return (a if transposition[0] == "n" else a.T), (b if transposition[1] == "n" else b.T)


def checked(result: np.ndarray, transposition: str, a: np.ndarray, b: np.ndarray) -> Mapping[str, object]:
    """The error against a float64 product, of which there must be little. Raises `AssertionError`."""
    left, right = views(transposition, a.astype(np.float64), b.astype(np.float64))
    error = float(np.max(np.abs(result.astype(np.float64) - left @ right)) / a.shape[transposition[0] == "n"])
    if not error < TOLERANCE[a.dtype.name]:
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
            {"out": np.zeros((rows, columns), a.dtype)},
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
        own = getattr(torch, str(case["dtype"]))
        wide = np.float64 if own is torch.float64 else np.float32  # NumPy's bfloat16 is unknown to torch
        left, right = views(way, *(torch.from_numpy(each.astype(wide)).to(own) for each in (a, b)))
        out = torch.mm(left, right)
        facts = checked(out.double().numpy(), way, a, b)
        if case["way"] == CALL:
            return Case(repeated(lambda: torch.mm(left, right)), facts)
        return Case(repeated(lambda: torch.mm(left, right, out=out)), facts)

    return prepare


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"graphc": graphc_products, "numpy": numpy_products, "torch": torch_products})
    else:
        main()
