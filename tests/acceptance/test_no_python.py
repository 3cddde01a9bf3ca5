"""No Python in the loop: a native run makes no Python call per step, and needs no interpreter lock between steps."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from graphc import train
from tests.acceptance import jobs

POLL = 0.1  # seconds between looks at a running program


def calls_of(job: train.Job, steps: int) -> tuple[int, float]:
    """Python and C calls made by a native run, in this thread and those started since profiling began; seconds."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        begun = time.perf_counter()
        job.run("train", job.step, steps)
        seconds = time.perf_counter() - begun
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return count, seconds


@pytest.mark.parametrize("threads", [1, 2])
def test_no_call_on_account_of_the_steps(threads: int) -> None:
    job = jobs.job(threads=threads)
    calls_of(job, 1)  # whatever is done once
    few, _ = calls_of(job, 1)
    many, seconds = calls_of(job, 1000)
    assert few > 0
    # A run may come up for a look at the clock ten times a second; nothing else may depend on the number of steps.
    assert many - few <= 40 * int(seconds / POLL), (few, many, seconds)


def test_a_call_per_step_would_be_seen() -> None:
    job = jobs.job()
    few = sum(calls_of(job, 1)[0] for _ in range(10))
    many = sum(calls_of(job, 1)[0] for _ in range(60))
    assert many >= few + 50


@contextmanager
def busy(work: object) -> Iterator[None]:
    """Another thread that does `work` over and over."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [work() for _ in iter(stop.is_set, True)])  # type: ignore[operator]
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def hold_the_lock() -> None:
    """About 20 ms in one C call that does not give up the interpreter lock, then a breath."""
    pow(7, 150_000)
    time.sleep(0.002)


def without_the_lock() -> None:
    """The same load on the machine, without the lock."""
    import hashlib

    hashlib.sha256(BLOCK).digest()
    time.sleep(0.002)


BLOCK = bytes(12_000_000)


def test_a_thread_that_holds_the_interpreter_lock_does_not_slow_it() -> None:
    """With a lock per step, 1,000 steps would take 1,000 bursts; as it is they take a few, whatever their number.

    The bound: both loads use the same share of the machine, so the ratio would be 1; a burst or two per look at the
    clock (every 0.1 s) and a noisy machine are allowed for by the factor 3 and 10 bursts. A lock per step would be
    hundreds of times slower.
    """
    job = jobs.job(threads=1)
    job.fit(steps=10, progress=False)
    begun = time.perf_counter()
    hold_the_lock()
    burst = time.perf_counter() - begun

    def median() -> float:
        samples = []
        for _ in range(5):
            begun = time.perf_counter()
            job.fit(steps=1000, progress=False)
            samples.append(time.perf_counter() - begun)
        return statistics.median(samples)

    with busy(without_the_lock):
        free = median()
    with busy(hold_the_lock):
        held = median()
    assert held <= 3 * free + 10 * burst, (free, held, burst)
    assert 3 * free + 10 * burst < 1000 * burst / 2  # or the test could not fail
