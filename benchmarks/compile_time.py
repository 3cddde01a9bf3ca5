"""Time until something runs: import, first step cold and warm, and compile time against the size of the graph.

    python -m benchmarks.compile_time --json

Records of four kinds: `import`; `first_step` (ours with its stages, and peers); `nodes` (ours for graphs of 10 to
10,000 nodes with its stages; `exponent` is the slope of log time against log nodes from the size before: 1 is linear,
less means that what is the same for all sizes still dominates). `nodes` counts those of the optimised graph.
`length` (a scan and its gradient of 10 to 100,000 iterations: times to compile do not depend on it; `iteration_us` is
the time of a call per iteration of the two loops, whose bodies do next to nothing).
Every number is of fresh processes, `cold` without and `warm` with compiled code on disk.
"""

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import machine, report
from benchmarks.measure import Start, System, environment, note, started
from benchmarks.problems import PROBLEMS
from benchmarks.serve import Case, Prepare, Request, serve
from benchmarks.train_step import OURS, peers, workloads
from benchmarks.workloads import stage_seconds

LENGTHS = (10, 1000, 100_000)
SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)
COMPILER = System("graphc", "benchmarks.compile_time", "graphc")
IMPORTED = ("graphc", "numpy", "torch", "jax")


def main() -> None:
    """Read the command line, measure, report."""
    options = arguments()
    output = report.Output("compile_time", options)
    repeats = 1 if options.quick else options.starts
    imported = IMPORTED[:2] if options.quick else IMPORTED
    output.add([record for name in imported if (record := import_time(name, repeats))])
    for workload in options.workload:
        output.add(first_steps(workload, repeats, options))
    for family in options.families:
        output.add(sizes(family, repeats, options))
    for length in options.lengths:
        output.add(scan_length(length, repeats, options))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("compile_time", __doc__.splitlines()[0])
    parser.add_argument("--workload", type=workloads, default=list(PROBLEMS), help=f"of {', '.join(PROBLEMS)}")
    parser.add_argument("--peers", type=peers, default=peers("jax"), help="as for benchmarks.train_step")
    parser.add_argument("--nodes", type=report.numbers, default=list(SIZES), help="sizes of graphs")
    parser.add_argument("--lengths", type=report.numbers, default=list(LENGTHS), help="iterations of a scan")
    parser.add_argument("--families", type=report.names, default=list(FAMILIES), help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--threads", type=report.at_least_one, default=machine.available_cores())
    parser.add_argument("--starts", type=report.at_least_one, default=3, help="fresh processes for each number")
    options = parser.parse_args()
    if not set(options.families) <= set(FAMILIES):
        parser.error(f"--families: use {', '.join(FAMILIES)}")
    if options.quick and options.nodes == list(SIZES):
        options.nodes = [10, 100]
    if options.quick:
        options.pause = 0.0
    return options


def import_time(name: str, repeats: int) -> report.Record | None:
    """Seconds of an import in a fresh process, after one that fills the system's caches."""
    code = f"import time; start = time.perf_counter(); import {name}; print(time.perf_counter() - start)"
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats + 1):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, env=environment(1, Path(folder))
            )
            if done.returncode:
                note(f"import {name} is left out: {done.stderr.strip().splitlines()[-1]}")
                return None
            if number:
                seconds.append(float(done.stdout))
    return {"kind": "import", "system": name, "seconds": statistics.median(seconds)}


def first_steps(workload: str, repeats: int, options: argparse.Namespace) -> list[report.Record]:
    """From the start of compilation to the end of the first training step."""
    systems = [OURS, *options.peers]
    with started(systems, options.threads, repeats, workload, options.pause, workload=workload) as starts:
        return [
            {
                "kind": "first_step",
                "workload": workload,
                "system": start.worker.name,
                "cold_s": start.median("cold"),
                "warm_s": start.median("warm"),
                **stages(start),
            }
            for start in starts
        ]


def sizes(family: str, repeats: int, options: argparse.Namespace) -> list[report.Record]:
    """One family of graphs at all sizes."""
    records: list[report.Record] = []
    for wanted in sorted(options.nodes):
        name = f"{family} {wanted}"
        with started([COMPILER], options.threads, repeats, name, 0.0, family=family, nodes=wanted) as starts:
            for start in starts:
                records.append(size(family, start, records[-1] if records else None))
    return records


def scan_length(length: int, repeats: int, options: argparse.Namespace) -> list[report.Record]:
    """A scan of so many iterations, with its gradient."""
    name = f"scan of {length}"
    with started([COMPILER], options.threads, repeats, name, 0.0, family="scan", nodes=length) as starts:
        return [
            {
                "kind": "length",
                "length": length,
                "cold_s": start.median("cold"),
                "warm_s": start.median("warm"),
                "iteration_us": statistics.median(float(str(f["call_s"])) for f in start.warm) / (2 * length) * 1e6,
            }
            for start in starts
        ]


def size(family: str, start: Start, smaller: Mapping[str, object] | None) -> report.Record:
    """One size of a family."""
    facts = start.cold[-1]
    nodes, cold, warm = int(str(facts["nodes"])), start.median("cold"), start.median("warm")
    exponents: report.Record = {"exponent_cold": None, "exponent_warm": None}
    if smaller is not None and nodes > int(str(smaller["nodes"])):
        grown = math.log(nodes / int(str(smaller["nodes"])))
        exponents = {
            "exponent_cold": math.log(cold / float(str(smaller["cold_s"]))) / grown,
            "exponent_warm": math.log(warm / float(str(smaller["warm_s"]))) / grown,
        }
    return {
        "kind": "nodes",
        "family": family,
        "nodes": nodes,
        "kernels": facts["kernels"],
        "cold_s": cold,
        "warm_s": warm,
        "cold_us_per_node": cold / nodes * 1e6,
        "warm_us_per_node": warm / nodes * 1e6,
        **exponents,
        **stages(start),
    }


def stages(start: Start) -> report.Record:
    """Median seconds per stage, where the system tells them."""
    result: report.Record = {}
    for which in ("cold", "warm"):
        told: list[Mapping[str, float]] = [f["stages"] for f in getattr(start, which) if "stages" in f]
        if told:
            result[f"{which}_stages"] = {
                stage: float(f"{statistics.median(each.get(stage, 0.0) for each in told):.5g}") for stage in told[0]
            }
    return result


# ------------------------------------------------------------------------------------------------------ the graphs


def chain(nodes: int) -> tuple[Callable[..., object], Sequence[np.ndarray]]:
    """Elementwise operations, one after the other."""
    import graphc.numpy as gnp

    def fn(x):
        for number in range(nodes):
            x = (gnp.tanh, gnp.abs, lambda v: v * 1.5, lambda v: v + 0.25, gnp.sqrt)[number % 5](x)
        return x

    return fn, [np.ones((16, 64), np.float32)]


def layers(nodes: int) -> tuple[Callable[..., object], Sequence[np.ndarray]]:
    """Loss and gradients of a deep network of equal layers, each with weights of its own."""
    import graphc as gc
    import graphc.numpy as gnp

    depth = max(nodes // NODES_PER_LAYER, 1)

    def loss(weights, biases, x):
        for weight, bias in zip(weights, biases):
            x = gnp.tanh(x @ weight + bias)
        return (x * x).sum()

    weights = [np.eye(16, dtype=np.float32)] * depth
    biases = [np.zeros(16, np.float32)] * depth
    return gc.value_and_grad(loss, argnums=(0, 1)), [weights, biases, np.ones((8, 16), np.float32)]


def scan(length: int) -> tuple[Callable[..., object], Sequence[np.ndarray]]:
    """Loss and gradient of a recurrence of one number: two loops that do next to nothing in an iteration."""
    import graphc as gc

    def loss(decay, x):
        return gc.scan(lambda h, x: (h * decay + x, None), decay, x)[0]

    return gc.value_and_grad(loss), [np.float32(0.5), np.ones(length, np.float32)]


NODES_PER_LAYER = 14
FAMILIES = {"chain": chain, "layers": layers}
LOADED = {**FAMILIES, "scan": scan}


def load(threads: int) -> Prepare:
    """Import graphc."""
    import graphc as gc

    def prepare(case: Request) -> Case:
        fn, args = LOADED[str(case["family"])](int(str(case["nodes"])))
        start = time.perf_counter()
        compiled = gc.compile(fn, *args, threads=threads)
        compiled(*args)
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        compiled(*args)
        facts = {
            "first_step_s": seconds,
            "call_s": time.perf_counter() - start,
            "nodes": sum(len(graph.nodes) for graph in compiled.compilation.optimized.values()),
            "kernels": len(compiled.cost.kernels),
            "stages": stage_seconds(compiled.timings),
        }
        return Case(lambda steps: [compiled(*args) for _ in range(steps)], facts)

    return prepare


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"graphc": load})
    else:
        main()
