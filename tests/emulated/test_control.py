"""Loops and branches on the emulated device: the bits of the cpu backend, captured where nothing depends on data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler
from tests.samples import SAMPLES, Sample, graph_of

pytestmark = needs_compiler
OPS = ("scan", "while", "branch")


@pytest.mark.parametrize("op", OPS)
def test_samples_have_the_bits_of_the_cpu(emulated: EmulatedBackend, op: str) -> None:
    samples: list[Sample] = [sample for sample in SAMPLES if sample.op == op]
    inputs = [x for sample in samples for x in sample.inputs]
    wanted = gc.compile(graph_of(*samples), backend="cpu")(*inputs)
    found = gc.compile(graph_of(*samples), backend="emulated")(*inputs)
    assert isinstance(wanted, tuple) and isinstance(found, tuple)
    for a, b in zip(found, wanted, strict=True):
        assert np.array_equal(a, b)


def rnn(w: gc.api.Array, x: gc.api.Array) -> gc.api.Array:
    h, _ = gc.scan(lambda h, row: (gnp.tanh(w @ h + row), None), gnp.zeros(3, "float32"), x)
    return gnp.sum(h * h)


def test_a_scan_is_captured_and_recorded(emulated: EmulatedBackend) -> None:
    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)

    def step(w: gc.api.Array, x: gc.api.Array, _: object) -> object:
        value, gradient = gc.value_and_grad(rnn)(w, x)
        return w - 0.1 * gradient, value

    losses = {}
    for backend in ("cpu", "emulated"):
        program = gc.program(np.eye(3, dtype=np.float32), {"train": step}, {"train": x}, backend=backend)
        losses[backend] = program.run("train", x, n=7)[1]
    assert np.array_equal(losses["cpu"], losses["emulated"])
    assert "begin_capture" in emulated.device.log


def newton(a: gc.api.Array, bound: int | None) -> gc.api.Array:
    return gc.while_loop(lambda x: abs(x * x - a) > 1e-9, lambda x: 0.5 * (x + a / x), 1.0 + 0.0 * a, bound)


def test_a_while_asks_the_device(emulated: EmulatedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    a = np.array([2.0, 3.0, 5.0])
    gradient = gc.grad(lambda a: gnp.sum(gnp.stack([newton(a[k], 40) for k in range(3)])))
    wanted = gc.compile(gradient, a, backend="cpu")(a)
    for _ in range(2):  # the second one comes from the cache
        exe = gc.compile(gradient, a, backend="emulated")
        assert np.array_equal(exe(a), wanted)
    executable = exe._executable  # type: ignore[attr-defined]
    calls = executable.profile(exe.name, [a], 0, 2).calls
    assert calls.max() > 3, "bodies run several times"
    assert np.array_equal(calls[:, 0], calls[:, 1])
    with pytest.raises(gc.api.BoundError, match=r"bound=2.*test_control.py"):
        gc.compile(lambda a: newton(a, 2), a[0], backend="emulated")(a[0])
    assert "begin_capture" not in emulated.device.log
