"""What is packed alike in all iterations is packed once, in front of the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy
from graphc.core.errors import BoundError

gc: Any = graphc  # what is traced has no types
gnp: Any = graphc.numpy
H, B, T = 1024, 512, 3
RNG = np.random.default_rng(2)
W = (RNG.normal(size=(H, H)) / 32).astype(np.float32)
X = RNG.normal(size=(B, H)).astype(np.float32)
pytestmark = pytest.mark.cpu


def step(w: Any, h: Any) -> Any:
    return gnp.tanh(h @ w)


def by_steps(count: int) -> np.ndarray:
    one = gc.compile(step, W, X, backend="cpu")
    h = X
    for _ in range(count):
        h = np.asarray(one(W, h))
    return h


def lines(exe: Any) -> list[str]:
    return [line for line in exe.text("plan").splitlines() if "pack" in line or "repeat" in line or "while" in line]


def in_front(exe: Any) -> bool:
    """Whether every pack is called at the top, in front of the loop that reads it."""
    found = lines(exe)
    packs = [k for k, line in enumerate(found) if "-> packed=" in line]
    loops = [k for k, line in enumerate(found) if "repeat" in line or "while" in line]
    return bool(packs) and max(packs) < min(loops)


def test_captures_constants_and_loops_in_loops() -> None:
    def looped(w: Any, h: Any) -> Any:
        return gc.fori_loop(0, T, lambda _, h: step(w, h), h)

    def nested(w: Any, h: Any) -> Any:
        return gc.fori_loop(0, T, lambda _, h: gc.fori_loop(0, 2, lambda _, h: step(w, h), h), h)

    programs: list[tuple[Any, tuple[Any, ...], int]] = [
        (looped, (W, X), T),
        (lambda h: looped(W, h), (X,), T),
        (nested, (W, X), 2 * T),
    ]
    for fn, args, count in programs:
        exe = gc.compile(fn, *args, backend="cpu")
        assert in_front(exe), lines(exe)
        np.testing.assert_array_equal(exe(*args), by_steps(count))


def test_loops_that_end_by_a_condition() -> None:
    def counted(w: Any, h: Any, n: Any) -> Any:
        return gc.while_loop(lambda p: p[0] < n, lambda p: (p[0] + 1, step(w, p[1])), (np.array(0), h), bound=4)[1]

    exe = gc.compile(counted, W, X, np.array(T), backend="cpu")
    assert in_front(exe), lines(exe)
    np.testing.assert_array_equal(exe(W, X, np.array(T)), by_steps(T))
    np.testing.assert_array_equal(exe(W, X, np.array(0)), X)
    with pytest.raises(BoundError):
        exe(W, X, np.array(5))


def test_what_changes_is_packed_in_the_loop() -> None:
    """The weight is a carry."""

    def changed(w: Any, h: Any) -> Any:
        return gc.fori_loop(0, T, lambda _, p: (p[0] * 0.5, step(p[0], p[1])), (w, h))[1]

    exe = gc.compile(changed, W, X, backend="cpu")
    assert not in_front(exe) and any("-> packed=" in line for line in lines(exe))
    h = X
    for k in range(T):
        h = np.asarray(gc.compile(step, W, X, backend="cpu")(W * np.float32(0.5**k), h))
    np.testing.assert_array_equal(exe(W, X), h)


def test_rows_of_xs_are_no_captures() -> None:
    def scanned(w: Any, ws: Any, h: Any) -> Any:
        return gc.scan(lambda h, w_t: (step(w_t, step(w, h)), None), h, ws)[0]

    ws = np.stack([W, W.T, -W])
    exe = gc.compile(scanned, W, ws, X, backend="cpu")
    found = lines(exe)
    at = next(k for k, line in enumerate(found) if "repeat" in line)
    assert sum("-> packed=" in line for line in found[:at]) == 1
    assert sum("-> packed=" in line for line in found[at:]) == 1
    one = gc.compile(step, W, X, backend="cpu")
    h = X
    for w in ws:
        h = np.asarray(one(w, np.asarray(one(W, h))))
    np.testing.assert_array_equal(exe(W, ws, X), h)
