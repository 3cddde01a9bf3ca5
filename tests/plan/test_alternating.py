"""Carries that may not be overwritten in place have two places, which iterations write in turn: nothing is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy

gc: Any = graphc  # what is traced has no types
gnp: Any = graphc.numpy
N = 1500
X = np.linspace(-1, 1, N).astype(np.float32)
W = np.linspace(0.1, 0.9, 9 * N).reshape(9, N).astype(np.float32)


def step(x: Any, w: Any) -> Any:
    """Reads neighbours, so that it may not write where it reads."""
    return gnp.roll(x, 1) * w + gnp.roll(x, -1) * 0.5


def by_steps(count: int, reverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    one = gc.compile(step, X, W[0], backend="cpu")
    x, rows = X, np.zeros((count, N), np.float32)
    for t in reversed(range(count)) if reverse else range(count):
        rows[t] = x
        x = np.asarray(one(x, W[t]))
    return x, rows


def inside(exe: Any) -> list[str]:
    """The instructions of loops."""
    return [line for line in exe.text("plan").splitlines() if line.startswith("          ")]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("count", [2, 3, 8, 9])
def test_nothing_is_copied_in_the_loop(count: int, reverse: bool) -> None:
    def looped(x: Any, ws: Any) -> Any:
        return gc.scan(lambda x, w: (step(x, w), None), x, ws, reverse=reverse)[0]

    exe = gc.compile(looped, X, W[:count], backend="cpu", verify="passes")
    assert inside(exe) and not any("copy" in line for line in inside(exe))
    wanted = by_steps(count, reverse)[0]
    np.testing.assert_array_equal(exe(X, W[:count]), wanted)
    np.testing.assert_array_equal(exe(X, W[:count]), wanted)  # nothing is left of the first call


@pytest.mark.parametrize("count", [4, 5])
def test_old_values_as_rows_and_other_carries(count: int) -> None:
    """The old value is a row of results too; a second carry is overwritten in place, a third is the old first."""

    def turn(carry: Any, w: Any) -> Any:
        x, total, before = carry
        return (step(x, w), total + x + before, x), x

    def looped(x: Any, ws: Any) -> Any:
        return gc.scan(turn, (x, gnp.zeros_like(x), x * 0), ws)

    exe = gc.compile(looped, X, W[:count], backend="cpu")
    (x, total, before), rows = exe(X, W[:count])
    last, wanted = by_steps(count)
    np.testing.assert_array_equal(rows, wanted)
    np.testing.assert_array_equal(x, last)
    np.testing.assert_array_equal(before, wanted[-1])
    added, earlier = np.zeros_like(X), np.zeros_like(X)
    for row in wanted:
        added = added + row + earlier
        earlier = row
    np.testing.assert_array_equal(total, added)


def test_exchanged_carries_and_loops_in_loops() -> None:
    def turn(carry: Any, w: Any) -> Any:
        a, b = carry
        return (step(b, w), a), None

    def looped(x: Any, ws: Any) -> Any:
        def again(carry: Any, _: Any) -> Any:
            return gc.scan(turn, carry, ws)[0], None

        return gc.scan(again, (x, x * 2), None, length=3)[0]

    exe = gc.compile(looped, X, W, backend="cpu")
    one = gc.compile(step, X, W[0], backend="cpu")
    a, b = X, X * np.float32(2)
    for w in [*W, *W, *W]:
        a, b = np.asarray(one(b, w)), a
    for got, wanted in zip(exe(X, W), (a, b), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_small_carries_and_loops_of_unknown_length_are_copied() -> None:
    def looped(x: Any) -> Any:
        return gc.fori_loop(0, 4, lambda _, x: gnp.roll(x, 1) + x, x)

    small = gc.compile(looped, X[:64], backend="cpu")
    assert any("copy" in line for line in inside(small))

    def until(x: Any) -> Any:
        return gc.while_loop(lambda x: gnp.sum(x * x) < 1e6, lambda x: gnp.roll(x, 1) + x, x)

    exe = gc.compile(until, X, backend="cpu")
    one, x = gc.compile(lambda x: gnp.roll(x, 1) + x, X, backend="cpu"), X
    while float(gc.jit(lambda x: gnp.sum(x * x))(x)) < 1e6:
        x = np.asarray(one(x))
    np.testing.assert_array_equal(exe(X), x)


def test_gradients() -> None:
    def looped(x: Any, ws: Any) -> Any:
        return gnp.sum(gc.scan(lambda x, w: (gnp.tanh(step(x, w)), None), x, ws)[0] ** 2)

    def written_out(x: Any, ws: Any) -> Any:
        for t in range(5):
            x = gnp.tanh(step(x, ws[t]))
        return gnp.sum(x**2)

    for got, wanted in zip(gc.grad(looped, (0, 1))(X, W[:5]), gc.grad(written_out, (0, 1))(X, W[:5]), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)
