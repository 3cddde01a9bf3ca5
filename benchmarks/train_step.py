"""Training steps of graphc and of installed peers, in interleaved rounds of one run.

    python -m benchmarks.train_step --workload mlp_tiny,mlp_mnist --peers torch,jax --json
    python -m benchmarks.train_step --backend gpu --peers torch,jax

One record per workload, number of threads and system. What the fields mean: README.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import machine, peak, report
from benchmarks.measure import (
    Samples,
    Start,
    System,
    Worker,
    WorkerError,
    interleave_beside,
    note,
    running,
    started,
)
from benchmarks.problems import PROBLEMS

OURS = System("graphc", "benchmarks.workloads", "graphc")
PEERS = {
    "torch-eager": System("torch-eager", "benchmarks.peers.torch_step", "eager", ("torch",)),
    "torch-compile": System("torch-compile", "benchmarks.peers.torch_step", "compile", ("torch",), slow_start=True),
    "jax": System("jax", "benchmarks.peers.jax_step", "jax", ("jax", "jaxlib", "optax")),
}
# On a card too everybody computes products in float32: JAX would round operands to tf32 otherwise.
ON_A_CARD = (("JAX_PLATFORMS", "cuda"), ("JAX_DEFAULT_MATMUL_PRECISION", "highest"))
CARD_RESULTS = Path("build") / "gpu_train_step.jsonl"
GROUPS = {"torch": ("torch-eager", "torch-compile")}
SamplesOf = Mapping[tuple[str, str], Samples]  # by system and case
BLOCK_SECONDS = 0.5
SAME_LOSS = 1e-4  # relative: every system computes the same in another order of rounding


def main() -> None:
    """Read the command line, measure, report."""
    options = arguments()
    facts = card_facts() if options.backend == "gpu" else {}
    output = report.Output("train_step", options)
    if facts:
        output.describe(facts)
    failed = False
    for threads in options.threads:
        for workload in options.workload:
            try:
                output.add(measure(workload, threads, options))
            except WorkerError as error:
                note(str(error))
                failed = True
    sys.exit(failed)


def card_facts() -> report.Record:
    """The GPU; ends the program with a message when there is none."""
    from graphc.core.errors import BackendError

    try:
        return machine.card()
    except BackendError as error:
        sys.exit(str(error))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("train_step", __doc__.splitlines()[0])
    parser.add_argument("--workload", type=workloads, default=list(PROBLEMS), help=f"of {', '.join(PROBLEMS)}")
    parser.add_argument("--peers", type=peers, default=peers("torch,jax"), help=f"of {', '.join((*GROUPS, *PEERS))}")
    parser.add_argument("--threads", type=report.numbers, default=[machine.available_cores()], help="one or several")
    parser.add_argument("--starts", type=report.at_least_one, default=3, help="fresh processes for the first step")
    help = "the same of torch-compile, which takes half a minute each time"
    parser.add_argument("--slow-starts", type=report.at_least_one, default=1, help=help)
    help = "measure also beside so many processes that keep a core busy; 0: do not"
    parser.add_argument("--busy", type=int, default=1, help=help)
    parser.add_argument("--backend", choices=("cpu", "gpu"), default="cpu", help="where everybody computes")
    options = parser.parse_args()
    if options.backend == "gpu":
        options.peers = [replace(peer, settings=ON_A_CARD) for peer in options.peers]
        options.threads = [machine.available_cores()]  # of the host, which only queues
        options.busy = 0
        options.out = options.out or CARD_RESULTS
    return options


def workloads(text: str) -> list[str]:
    """Known problems."""
    return _known(report.names(text), PROBLEMS)


def peers(text: str) -> list[System]:
    """Systems by name; a group stands for its members."""
    found = [name for given in report.names(text) for name in GROUPS.get(given, (given,))]
    return [PEERS[name] for name in _known(found, PEERS)]


def _known(given: list[str], known: object) -> list[str]:
    unknown = [name for name in given if name not in known]  # type: ignore[operator]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")  # type: ignore[arg-type]
    return given


def measure(workload: str, threads: int, options: argparse.Namespace) -> list[report.Record]:
    """One workload on one number of threads: records of all systems, ours first."""
    systems = [OURS, *options.peers]
    repeats = 1 if options.quick else options.starts
    pause = 0.0 if options.quick else options.pause
    on_cpu = options.backend == "cpu"
    case = {"workload": workload, "backend": options.backend}
    with (
        started(systems, threads, repeats, workload, pause, options.slow_starts, **case) as starts,
        running([peak.PEAK] if on_cpu else [], threads) as limits,
    ):
        ours = next((start for start in starts if start.worker.name == OURS.name), None)
        if ours is None or (on_cpu and not limits):
            raise WorkerError(f"{OURS.name} does not run {workload}; see the notes above")
        check_same_losses(workload, starts)
        planned = int(str(ours.cold[-1]["planned_peak_bytes"]))
        for limit in limits:
            peak.prepare_peaks(limit, [planned])
        workers = [start.worker for start in starts]
        timing = report.timing(options, BLOCK_SECONDS)
        neighbours = [0, options.busy] if options.busy > 0 else [0]
        samples, *beside = interleave_beside(neighbours, [*workers, *limits], timing)
        wanted = [(OURS.name, workload), *((limit.name, peak.fma_name()) for limit in limits)]
        if any(key not in samples for key in wanted):
            raise WorkerError(f"{workload}: nothing was measured")
        best = min((found.median for (name, _), found in samples.items() if name in PEERS), default=None)
        return [
            {
                "workload": workload,
                "system": start.worker.name,
                "threads": threads,
                "backend": options.backend,
                **common(start, samples[start.worker.name, workload], best),
                **(costs(start, samples, limits, planned) if start is ours else UNKNOWN),
                **slowdown(samples, beside, (start.worker.name, workload), options.busy),
            }
            for start in starts
            if (start.worker.name, workload) in samples
        ]


def slowdown(samples: SamplesOf, beside: Sequence[SamplesOf], key: tuple[str, str], neighbours: int) -> report.Record:
    """How much slower the steps are beside busy processes; null when that was not measured."""
    busy = next((each[key].median for each in beside), None)
    return {
        "busy": neighbours,
        "busy_ms_per_step": None if busy is None else busy * 1e3,
        "busy_slowdown": None if busy is None else busy / samples[key].median,
    }


def check_same_losses(workload: str, starts: Sequence[Start]) -> None:
    """All systems must compute the same: the losses of the first steps. Raises `WorkerError` naming the one that
    differs.
    """
    expected = starts[0].cold[-1]["losses"]
    for start in starts[1:]:
        found = start.cold[-1]["losses"]
        if any(abs(a - b) > SAME_LOSS * abs(a) for a, b in zip(expected, found, strict=True)):  # type: ignore[call-overload]
            raise WorkerError(f"{workload}: {start.worker.name} has losses {found}, {starts[0].worker.name} {expected}")


def common(start: Start, samples: Samples, best: float | None) -> report.Record:
    """What can be measured of every system."""
    try:
        resident = start.worker.peak_rss_mb()
    except WorkerError as error:
        note(str(error))
        resident = None
    return {
        **samples.milliseconds(),
        "ratio_to_best_peer": samples.median / best if best is not None else None,
        "first_step_s": start.median("cold"),
        "warm_first_step_s": start.median("warm"),
        "starts": len(start.cold),
        "import_s": start.median("cold", "import_s"),
        "peak_rss_mb": resident,
    }


# What only our compiler knows.
UNKNOWN: report.Record = dict.fromkeys(
    ("planned_peak_bytes", "arena_to_lower_bound", "flops", "bytes", "roofline_fraction", "fma_peak", "bandwidth")
)


def costs(
    start: Start, samples: dict[tuple[str, str], Samples], limits: Sequence[Worker], planned: int
) -> report.Record:
    """Memory and work of our step, and how near it is to what the machine could do at best (on a card: not known)."""
    facts = start.cold[-1]
    known: report.Record = {
        "planned_peak_bytes": planned,
        "arena_to_lower_bound": facts["lower_bound_ratio"],
        "flops": facts["flops"],
        "bytes": facts["bytes"],
        "stages": facts["stages"],
    }
    if not limits:
        return {**UNKNOWN, **known}
    (limit,) = limits
    flops_rate, bytes_rate = (
        peak.rate(limit, samples, peak.fma_name()),
        peak.rate(limit, samples, peak.stream_name(planned)),
    )
    kernels: list[tuple[int, int]] = facts["kernels"]  # type: ignore[assignment]
    least = sum(max(flops / flops_rate, nbytes / bytes_rate) for flops, nbytes in kernels)
    (workload,) = start.worker.cases
    return {
        **UNKNOWN,
        **known,
        "roofline_fraction": least / samples[start.worker.name, workload].median,
        "fma_peak": flops_rate,
        "bandwidth": bytes_rate,
    }


if __name__ == "__main__":
    main()
