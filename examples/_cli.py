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
from typing import TYPE_CHECKING

import numpy as np

import graphc as gc
from graphc.api import UnsupportedError
from graphc.train import History, Job

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    parser.add_argument("--backend", default="cpu", help="where to run: cpu, gpu or reference (default cpu)")
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


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one run leaves for the report. `first_step_s` is from the start of compilation to the end of step one."""

    arrays: Mapping[str, np.ndarray]
    losses: np.ndarray
    peak_bytes: int | None
    first_step_s: float
    seconds: float  # of the steps after the first
    steps: int

    @property
    def ms_per_step(self) -> float:
        """Milliseconds per step, without compilation and the first step."""
        return 1e3 * self.seconds / max(self.steps - 1, 1)


@dataclass(slots=True, kw_only=True)
class Run(Measured):
    """One training run with its job and its history."""

    job: Job
    history: History


def train_run(
    make: Callable[[], Job], steps: int, fit: Callable[[Job, int], History] = lambda job, steps: job.fit(steps=steps)
) -> Run:
    """Compile with `make`, make one step, and let `fit(job, steps)` make the others."""
    begun = time.perf_counter()
    job = make()
    history = job.fit(steps=1, progress=False)
    first = time.perf_counter() - begun
    seconds = 0.0
    if steps > 1:
        history = fit(job, steps - 1)
        seconds = history.seconds
    return Run(
        arrays=job.model.state_dict(),
        losses=history.losses,
        peak_bytes=known_bytes(lambda: job.memory.peak_bytes),
        first_step_s=first,
        seconds=seconds,
        steps=job.step,
        job=job,
        history=history,
    )


class Meter:
    """Runs programs without a `Job` and keeps what they take and give; for examples made of several small ones."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.measured = Measured(arrays={}, losses=np.zeros(0), peak_bytes=None, first_step_s=0.0, seconds=0.0, steps=0)

    def train(self, name: str, start: object, step: Callable[..., object], data: object, steps: int) -> object:
        """Run `step(state, data, number) -> (state, loss)` natively `steps` times; returns the final state."""
        begun = time.perf_counter()
        program = gc.program(start, {"train": step}, backend=self.options.backend, threads=self.options.threads)
        program.run("train", data, n=1)
        compiled = time.perf_counter()
        _, losses = program.run("train", data, first=1, n=steps - 1)
        self._add(name, program.state, compiled - begun, time.perf_counter() - compiled, steps)
        self._peak(lambda: program.memory("train").peak_bytes)
        self.measured.losses = np.asarray(losses)
        return gc.pytree.tree_map(np.array, program.state)

    def call(self, name: str, fn: Callable[..., object], *args: object) -> object:
        """Compile `fn` for these arguments and call it once."""
        begun = time.perf_counter()
        compiled = gc.compile(fn, *args, backend=self.options.backend, threads=self.options.threads)
        result = compiled(*args)
        self._add(name, result, time.perf_counter() - begun, 0.0, 1)
        self._peak(lambda: compiled.memory.peak_bytes)
        return result

    def _add(self, name: str, result: object, first: float, rest: float, steps: int) -> None:
        leaves, tree = gc.pytree.flatten(result)
        named = zip(gc.pytree.leaf_names(tree, name), leaves, strict=True)
        self.measured.arrays = {**self.measured.arrays, **{key: np.array(leaf) for key, leaf in named}}
        self.measured.first_step_s = self.measured.first_step_s or first
        self.measured.seconds += rest
        self.measured.steps += steps

    def _peak(self, measure: Callable[[], int]) -> None:
        peak = known_bytes(measure)
        if peak is not None:
            self.measured.peak_bytes = max(peak, self.measured.peak_bytes or 0)


def sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """A digest of named arrays: equal when they are equal bit for bit."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def known_bytes(measure: Callable[[], int]) -> int | None:
    """Bytes of a program, or None on a backend that plans no memory."""
    try:
        return measure()
    except UnsupportedError:
        return None


def report(
    options: Options,
    runs: Sequence[Measured],
    metrics: Mapping[str, float],
    draw: Callable[[Figure], None] | None = None,
) -> None:
    """Print what was reached, the memory and the speed; then the plot and the JSON object where asked for.

    The plot shows the loss of every run, or what `draw` draws.
    """
    run = runs[0]
    for name, value in metrics.items():
        options.say(f"{name}: {value:.4g}")
    if run.peak_bytes is not None:
        options.say(f"peak memory of a step: {run.peak_bytes / 1e6:.2f} MB, known before the first one")
    if run.seconds:
        rate = 1e3 / run.ms_per_step
        options.say(
            f"{run.ms_per_step:.4f} ms per step ({rate:,.0f} steps/s), first step after {run.first_step_s:.2f} s"
        )
    if options.out is not None and (draw is not None or len(run.losses)):
        plot(options, draw or (lambda figure: draw_losses(figure, options, runs)))
    if options.json:
        print(json.dumps(summary(options, run, metrics)), flush=True)


def summary(options: Options, run: Measured, metrics: Mapping[str, float]) -> dict[str, object]:
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
        "peak_bytes": run.peak_bytes,
        "params_sha256": sha256(run.arrays),
    }


def plot(options: Options, draw: Callable[[Figure], None]) -> None:
    """Write DIR/<example>.png; says so when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        options.say("matplotlib is not installed: no plot (pip install 'graphc[examples]')")
        return
    assert options.out is not None
    options.out.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 4), layout="constrained")
    draw(figure)
    path = options.out / f"{options.example}.png"
    figure.savefig(path, dpi=120)
    options.say(f"wrote {path}")


def draw_losses(figure: Figure, options: Options, runs: Sequence[Measured]) -> None:
    """The loss of each step."""
    axes = figure.add_subplot()
    for number, run in enumerate(runs):
        axes.plot(run.losses, label=f"seed {options.seed + number}", linewidth=0.8)
    axes.set(xlabel="step", ylabel="loss", title=options.example, yscale="log")
    axes.legend()
