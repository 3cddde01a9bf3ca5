"""Ctrl-C ends a long loop of the cpu backend, also one without an end, and the program is ready for the next call."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy

gc: Any = graphc  # what is traced has no types
gnp: Any = graphc.numpy
pytestmark = pytest.mark.cpu


def endless(x: Any, go: Any) -> Any:
    """While `go` is positive; it stays what it is."""
    return gc.while_loop(lambda p: p[1] > 0, lambda p: (gnp.sin(p[0]), p[1] * 1.0), (x, go))[0]


def counted(x: Any, times: Any) -> Any:
    return gc.fori_loop(0, times, lambda _, x: gnp.sin(x), x)


def of_known_length(x: Any, go: Any) -> Any:
    def rounds() -> Any:
        return gc.fori_loop(0, 10**12, lambda _, x: gnp.sin(x), x)

    return gc.cond(go > 0, rounds, lambda: gnp.sin(x))


def nested(x: Any, go: Any) -> Any:
    """The outer loop is long, the inner one short."""

    def turn(p: Any) -> Any:
        return gc.fori_loop(0, 5, lambda _, y: gnp.sin(y), p[0]), p[1] * 1.0

    return gc.while_loop(lambda p: p[1] > 0, turn, (x, go))[0]


def shared(x: Any, go: Any) -> Any:
    """Iterations that are worth several threads."""
    return gc.while_loop(lambda p: p[1] > 0, lambda p: (p[0] @ p[0] * 1e-3, p[1] * 1.0), (x, go))[0]


@pytest.mark.parametrize(
    ("fn", "start", "go", "stop"),
    [
        (endless, np.float32(0.5), np.float32(1), np.float32(0)),
        (counted, np.float32(0.5), np.array(10**12), np.array(0)),
        (of_known_length, np.float32(0.5), np.float32(1), np.float32(0)),
        (nested, np.float32(0.5), np.float32(1), np.float32(0)),
        (shared, np.eye(256, dtype=np.float32), np.float32(1), np.float32(0)),
    ],
)
def test_ctrl_c_ends_a_loop(fn: Any, start: Any, go: Any, stop: Any) -> None:
    exe = gc.compile(fn, start, go, backend="cpu", threads=2)
    wanted = exe(start, stop)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        exe(start, go)
    timer.join()
    np.testing.assert_array_equal(exe(start, stop), wanted)


def test_a_handler_that_does_not_raise_lets_the_loop_go_on() -> None:
    """A flag that a handler sets is not seen inside, but the handler runs while the loop does."""
    seen: list[int] = []

    def stop(number: int, frame: object) -> None:
        seen.append(number)
        if len(seen) == 2:
            raise KeyboardInterrupt

    exe = gc.compile(endless, np.float32(0.5), np.float32(1), backend="cpu")
    before = signal.signal(signal.SIGINT, stop)
    timers = [threading.Timer(t, lambda: os.kill(os.getpid(), signal.SIGINT)) for t in (0.2, 0.6)]
    try:
        for timer in timers:
            timer.start()
        with pytest.raises(KeyboardInterrupt):
            exe(np.float32(0.5), np.float32(1))
    finally:
        for timer in timers:
            timer.join()
        signal.signal(signal.SIGINT, before)
    assert len(seen) == 2
