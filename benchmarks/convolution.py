"""Convolutions of ResNet-18 in graphc beside PyTorch, with the fraction of the machine's peak in the same run.

    python -m benchmarks.convolution --batches 1,8 --json

One record per batch, shape, pass (forward, input: the gradient by the input, weight: by the weight), number of threads
and system. The bound is the peak of fused multiply-adds: each shape does hundreds of them for a byte it has to move.
Ours run in a native loop, as in training; PyTorch eagerly.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks import machine, peak, report
from benchmarks.measure import Samples, System, Worker, WorkerError, interleave, prepare_all, running
from benchmarks.serve import Case, Prepare, Request, repeated, serve

# input channels x extent x output channels x kernel / stride
SHAPES = ("3x224x64x7/2", "64x56x64x3/1", "128x28x128x3/1", "256x14x256x3/1", "512x7x512x3/1")
SHAPES += ("64x56x128x3/2", "128x28x256x3/2", "256x14x512x3/2", "64x56x128x1/2", "128x28x256x1/2", "256x14x512x1/2")
SHAPES += ("64x56x64x1/1", "256x14x256x1/1")
PASSES = ("forward", "input", "weight")
SYSTEMS = {
    "graphc": System("graphc", "benchmarks.convolution", "graphc"),
    "torch": System("torch", "benchmarks.convolution", "torch", ("torch",)),
}
BLOCK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution; padded by half a kernel."""

    batch: int
    shape: str
    way: str

    @property
    def case(self) -> str:
        """The name of the case."""
        return f"{self.batch} {self.shape} {self.way}"

    @property
    def flops(self) -> int:
        """Operations: holes of a stride are not multiplied with."""
        inputs, extent, outputs, kernel, stride = extents(self.shape)
        places = (extent + 2 * (kernel // 2) - kernel) // stride + 1
        return 2 * self.batch * places**2 * inputs * outputs * kernel**2


def main() -> None:
    """Read the command line, measure, report."""
    options = arguments()
    output = report.Output("convolution", options)
    for threads in options.threads:
        try:
            output.add(measure(threads, options))
        except WorkerError as error:
            sys.exit(str(error))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("convolution", __doc__.splitlines()[0])
    parser.add_argument("--peers", type=peers, default=peers("torch"), help="torch, or nothing")
    parser.add_argument("--shapes", type=shapes, help="inputs x extent x outputs x kernel / stride, with commas")
    parser.add_argument("--batches", type=report.numbers, default=[1, 8], help="one or several")
    parser.add_argument("--passes", type=report.names, default=list(PASSES), help=f"of {','.join(PASSES)}")
    default = sorted({1, machine.available_cores()})
    parser.add_argument("--threads", type=report.numbers, default=default, help="one or several")
    options = parser.parse_args()
    if options.quick and options.shapes is None:
        options.shapes, options.batches = ["8x6x16x3/1", "8x6x16x3/2"], [1]
    if not set(options.passes) <= set(PASSES):
        parser.error(f"--passes: use {', '.join(PASSES)}")
    return options


def peers(text: str) -> list[System]:
    """Systems by name."""
    unknown = [name for name in report.names(text) if name not in SYSTEMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there is torch")
    return [SYSTEMS[name] for name in report.names(text)]


def shapes(text: str) -> list[str]:
    """Shapes such as 64x56x128x3/2."""
    for shape in report.names(text):
        extents(shape)
    return report.names(text)


def extents(shape: str) -> tuple[int, int, int, int, int]:
    """Input channels, extent, output channels, kernel, stride.

    >>> extents("64x56x128x3/2")
    (64, 56, 128, 3, 2)
    """
    try:
        sizes, _, stride = shape.partition("/")
        inputs, extent, outputs, kernel = (report.at_least_one(part) for part in sizes.split("x"))
        return inputs, extent, outputs, kernel, report.at_least_one(stride)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shape} is not of the form 64x56x128x3/2") from None


def measure(threads: int, options: argparse.Namespace) -> list[report.Record]:
    """All convolutions on one number of threads. In a round each system goes through all of them."""
    systems = [SYSTEMS["graphc"], *options.peers]
    wanted = [
        Convolution(batch, shape, way)
        for batch in options.batches
        for shape in options.shapes or SHAPES
        for way in options.passes
    ]
    with running(systems, threads) as workers, running([peak.PEAK], threads) as limits:
        if not limits:
            raise WorkerError("the peak cannot be measured; see the notes above")
        (limit,) = limits
        peak.prepare_peaks(limit)
        for each in wanted:
            prepare_all(workers, each.case, batch=each.batch, shape=each.shape, way=each.way)
        samples = interleave([*workers, limit], report.timing(options, BLOCK_SECONDS))
        if (limit.name, peak.fma_name()) not in samples:
            raise WorkerError("the peak was not measured")
        rate = peak.rate(limit, samples, peak.fma_name())
        return [
            record(each, threads, worker, workers, samples, rate)
            for each in wanted
            for worker in workers
            if (worker.name, each.case) in samples
        ]


def record(
    each: Convolution,
    threads: int,
    worker: Worker,
    workers: list[Worker],
    samples: Mapping[tuple[str, str], Samples],
    rate: float,
) -> report.Record:
    """One convolution of one system."""
    seconds = samples[worker.name, each.case].median
    others = [
        samples[w.name, each.case].median for w in workers if w.name != "graphc" and (w.name, each.case) in samples
    ]
    return {
        "batch": each.batch,
        "shape": each.shape,
        "pass": each.way,
        "threads": threads,
        "system": worker.name,
        "us_per_convolution": seconds * 1e6,
        "gflops": each.flops / seconds / 1e9,
        "fraction_of_peak": each.flops / seconds / rate,
        "ratio_to_best_peer": seconds / min(others) if others else None,
        "fma_peak": rate,
    }


# --------------------------------------------------------------------------------------------------- the systems


def operands(case: Request) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Input, weight, cotangent of the result, stride and padding."""
    inputs, extent, outputs, kernel, stride = extents(str(case["shape"]))
    batch, padding = int(str(case["batch"])), kernel // 2
    places = (extent + 2 * padding - kernel) // stride + 1
    rng = np.random.default_rng(inputs + extent + outputs)
    x = rng.standard_normal((batch, inputs, extent, extent), dtype=np.float32)
    weight = rng.standard_normal((outputs, inputs, kernel, kernel), dtype=np.float32)
    return x, weight, rng.standard_normal((batch, outputs, places, places), dtype=np.float32), stride, padding


def graphc_convolutions(threads: int) -> Prepare:
    """Ours: a native loop that keeps the result in place."""
    import graphc as gc
    from graphc.nn import functional as F

    def prepare(case: Request) -> Case:
        x, weight, ct, stride, padding = operands(case)

        def conv(x, weight):
            return F.conv2d(x, weight, stride=stride, padding=padding)

        ways = {
            "forward": lambda x, weight, ct: conv(x, weight),
            "input": lambda x, weight, ct: gc.vjp(lambda x: conv(x, weight), x)[1](ct)[0],
            "weight": lambda x, weight, ct: gc.vjp(lambda weight: conv(x, weight), weight)[1](ct)[0],
        }
        way = ways[str(case["way"])]
        out = {"forward": ct, "input": x, "weight": weight}[str(case["way"])]
        program = gc.program(
            {"out": np.zeros_like(out)},
            {"loop": lambda state, batch, step: ({"out": way(*batch)}, ())},
            {"loop": (x, weight, ct)},
            threads=threads,
        )
        program.run("loop", (x, weight, ct), n=1)
        return Case(lambda steps: program.run("loop", (x, weight, ct), n=steps), {})

    return prepare


def torch_convolutions(threads: int) -> Prepare:
    """PyTorch, eager."""
    import torch

    torch.set_num_threads(threads)

    def prepare(case: Request) -> Case:
        *arrays, stride, padding = operands(case)
        x, weight, ct = (torch.from_numpy(each) for each in arrays)
        options = {"stride": stride, "padding": padding}
        ways = {
            "forward": lambda: torch.nn.functional.conv2d(x, weight, **options),
            "input": lambda: torch.nn.grad.conv2d_input(x.shape, weight, ct, **options),
            "weight": lambda: torch.nn.grad.conv2d_weight(x, weight.shape, ct, **options),
        }
        return Case(repeated(ways[str(case["way"])]), {})

    return prepare


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"graphc": graphc_convolutions, "torch": torch_convolutions})
    else:
        main()
