"""What people look at of programs with loops and branches: profiles, costs, memory, texts; programs from the cache."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp

W = np.linspace(-1, 1, 9).reshape(3, 3)
X = np.linspace(0, 1, 21).reshape(7, 3)


def loss(w: Any, x: Any) -> Any:
    h, ys = gc.scan(lambda h, row: (gnp.tanh(w @ h + row), gnp.sin(h)), gnp.zeros(3, "float64"), x)
    h = gc.while_loop(lambda h: gnp.sum(h * h) > 1e-3, lambda h: h / 2, h, bound=30)
    return gc.cond(h[0] > 0, lambda h: gnp.sum(h), lambda h: -gnp.sum(h), h) + gnp.sum(ys)


def test_programs_from_the_cache_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    monkeypatch.delenv("GRAPHC_VERIFY", raising=False)
    found = []
    for _ in range(2):
        exe = gc.compile(gc.value_and_grad(loss), W, X)
        found.append((exe(W, X), exe.text("plan"), exe.text("loop"), str(exe.memory)))
    assert exe.compilation.cached is not None
    assert found[0][1:] == found[1][1:]
    for a, b in zip(found[0][0], found[1][0], strict=True):
        assert np.array_equal(a, b)


def test_an_error_of_a_program_from_the_cache_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    monkeypatch.delenv("GRAPHC_VERIFY", raising=False)
    for _ in range(2):
        exe = gc.compile(lambda x: gc.while_loop(lambda x: x > 0, lambda x: x - 1, x, bound=3), np.float64(9))
        with pytest.raises(gc.api.BoundError, match=r"bound=3.*test_loops.py:\d+"):
            exe(np.float64(9))
    assert exe.compilation.cached is not None


def test_bits_do_not_depend_on_threads() -> None:
    w, x = np.linspace(-1, 1, 200 * 200).reshape(200, 200), np.linspace(0, 1, 200 * 30).reshape(5, 200, 6)

    def fn(w: Any, x: Any) -> Any:
        return gc.scan(lambda h, row: (gnp.tanh(w @ h / 100 + row), gnp.sum(h)), gnp.zeros((200, 6), "float64"), x)

    found = [gc.compile(gc.grad(lambda w: gnp.sum(fn(w, x)[0])), w, threads=threads)(w) for threads in (1, 2, 3)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_bodies_count_as_often_as_they_run() -> None:
    def flops(length: int) -> int:
        exe = gc.compile(
            lambda x: gc.scan(lambda c, row: (c * 2 + row, None), gnp.zeros(3, "float64"), x),
            gc.spec((length, 3), "float64"),
        )
        assert exe.cost.flops == sum(kernel.flops for kernel in exe.cost.kernels)
        return exe.cost.flops

    assert flops(50) - flops(10) == 40 * 6


def test_a_profile_shows_what_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.execution.profiling.SECONDS", 1e-3)
    exe = gc.compile(loss, W, X)
    executable = exe._executable
    times = executable.profile(exe.name, [W, X], 0, 2)  # type: ignore[attr-defined]
    assert 7 in times.calls[:, 0]
    assert np.array_equal(times.calls[:, 0], times.calls[:, 1])


def test_a_run_of_steps_loops_inside_each() -> None:
    def step(state: Any, x: Any, number: Any) -> Any:
        total = gc.scan(lambda c, row: (c + row, None), state, x)[0]
        return total, gc.cond(number % 2 == 0, lambda t: t, lambda t: -t, total)

    program = gc.program(np.zeros(3), {"step": step}, {"step": X})
    _, seen = program.run("step", X, n=4)
    wanted = np.stack([(k + 1) * X.sum(axis=0) * (1 if k % 2 == 0 else -1) for k in range(4)])
    np.testing.assert_allclose(seen, wanted)


def test_empty_carries_are_carried() -> None:
    def fn(x: Any) -> Any:
        first = gnp.sin(x[:, :0])
        return gc.scan(lambda c, row: ((c[0] + 1, c[1] + row), None), (first, gnp.exp(x[0])), x)[0]

    empty, total = gc.compile(fn, X)(X)
    assert empty.shape == (7, 0)
    np.testing.assert_allclose(total, np.exp(X[0]) + X.sum(axis=0))
