"""The command line all examples share, and how they report.

    python examples/digits_mlp.py --backend cpu --threads 2 --seed 0 --steps 500 --json --out results

With `--json` the last line printed is one JSON object: example, backend, threads, seed, steps, metrics, ms_per_step,
first_step_s, peak_bytes, params_sha256.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphc import nn
from graphc.api import UnsupportedError
from graphc.train import History, Job


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for. `steps` is None when the example decides; `quick` asks for a run of seconds."""

    example: str
    backend: str
    threads: int | None
    seed: int
    steps: int | None
    quick: bool
    json: bool
    out: Path | None

    def steps_or(self, usual: int, quick: int) -> int:
        """The number of steps to train."""
        if self.steps is not None:
            return self.steps
        return quick if self.quick else usual

    def say(self, text: str) -> None:
        """Print a line for people."""
        print(text, flush=True)


def parse(example: str, description: str) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=f"examples/{example}.py", description=description)
    parser.add_argument("--backend", default="cpu", help="where to run: cpu, reference, ... (default cpu)")
    parser.add_argument("--threads", type=_positive, help="threads of the cpu backend (default: one per core)")
    parser.add_argument("--seed", type=int, default=0, help="of initial weights, data order and random layers")
    parser.add_argument("--steps", type=_positive, help="training steps (default: what the example needs)")
    parser.add_argument("--quick", action="store_true", help="a short run that shows that everything works")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a plot of the loss there (needs matplotlib)")
    given = parser.parse_args()
    return Options(example, given.backend, given.threads, given.seed, given.steps, given.quick, given.json, given.out)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


@dataclass(slots=True)
class Run:
    """One training run: its job, its history, and the seconds from the start of compilation to the end of step one."""

    job: Job
    history: History
    first_step_s: float
    seconds: float
    steps: int

    @property
    def ms_per_step(self) -> float:
        """Milliseconds per step, without compilation and the first step."""
        return 1e3 * self.seconds / max(self.steps - 1, 1)


def train_run(
    make: Callable[[], Job], steps: int, fit: Callable[[Job, int], History] = lambda job, steps: job.fit(steps=steps)
) -> Run:
    """Compile with `make`, make one step, and let `fit(job, steps)` make the others."""
    begun = time.perf_counter()
    job = make()
    job.fit(steps=1, progress=False)
    first = time.perf_counter() - begun
    history = fit(job, steps - 1)
    return Run(job, history, first, history.seconds, history.steps + 1)


def parameters_sha256(model: nn.Module) -> str:
    """A digest of all parameters and buffers: equal when they are equal bit for bit."""
    digest = hashlib.sha256()
    for name, array in sorted(model.state_dict().items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def peak_bytes(job: Job) -> int | None:
    """Bytes of one training step, or None on a backend that plans no memory."""
    try:
        return job.memory.peak_bytes
    except UnsupportedError:
        return None


def report(options: Options, runs: Sequence[Run], metrics: Mapping[str, float]) -> None:
    """Print what was reached, the memory and the speed; then the plot and the JSON object where asked for."""
    run = runs[0]
    peak = peak_bytes(run.job)
    for name, value in metrics.items():
        options.say(f"{name}: {value:.4f}")
    if peak is not None:
        options.say(f"peak memory of a step: {peak / 1e6:.2f} MB, known before the first one")
    rate = 1e3 / max(run.ms_per_step, 1e-9)
    options.say(f"{run.ms_per_step:.4f} ms per step ({rate:,.0f} steps/s), first step after {run.first_step_s:.2f} s")
    if options.out is not None:
        plot(options, runs)
    if options.json:
        print(json.dumps(summary(options, run, peak, metrics)), flush=True)


def summary(options: Options, run: Run, peak: int | None, metrics: Mapping[str, float]) -> dict[str, object]:
    """The JSON object of `--json`."""
    return {
        "example": options.example,
        "backend": options.backend,
        "threads": options.threads,
        "seed": options.seed,
        "steps": run.steps,
        "metrics": {name: float(value) for name, value in metrics.items()},
        "ms_per_step": run.ms_per_step,
        "first_step_s": run.first_step_s,
        "peak_bytes": peak,
        "params_sha256": parameters_sha256(run.job.model),
    }


def plot(options: Options, runs: Sequence[Run]) -> None:
    """Write the loss of every run to DIR/<example>.png; says so when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        options.say("matplotlib is not installed: no plot (pip install 'graphc[examples]')")
        return
    assert options.out is not None
    options.out.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for number, run in enumerate(runs):
        axes.plot(run.history.losses, label=f"seed {options.seed + number}", linewidth=0.8)
    axes.set(xlabel="step", ylabel="loss", title=options.example, yscale="log")
    axes.legend()
    path = options.out / f"{options.example}.png"
    figure.savefig(path, dpi=120)
    options.say(f"wrote {path}")
