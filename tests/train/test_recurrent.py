"""A model with a scan inside, trained natively: as its loop written out, and the same bits on any number of threads."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import nn, optim, train

RNG = np.random.default_rng(5)
X = RNG.normal(size=(48, 6, 3)).astype(np.float32)
Y = (X.sum(axis=(1, 2)) > 0).astype(np.int64)


class Recurrent(nn.Module):
    """The last state of h <- tanh(in(x_t) + rec(h)), classified."""

    def __init__(self, scanned: bool) -> None:
        super().__init__()
        self.scanned = scanned
        self.into = nn.Linear(3, 8, key=gc.random.key(1))
        self.again = nn.Linear(8, 8, key=gc.random.key(2))
        self.out = nn.Linear(8, 2, key=gc.random.key(3))

    def __call__(self, x: Any) -> Any:
        h = gnp.zeros((x.shape[0], 8), x.dtype)
        rows = gnp.moveaxis(x, 1, 0)

        def step(h: Any, row: Any) -> tuple[Any, None]:
            return gnp.tanh(self.into(row) + self.again(h)), None

        if self.scanned:
            h, _ = gc.scan(step, h, rows)
        else:
            for t in range(x.shape[1]):
                h, _ = step(h, rows[t])
        return self.out(h)


def job(scanned: bool, **options: Any) -> Any:
    return train.compile(
        Recurrent(scanned),
        loss="cross_entropy",
        optimizer=optim.adam(1e-2),
        data=gc.data.arrays(X, Y),
        batch_size=16,
        seed=3,
        **options,
    )


def test_a_scan_in_a_model_trains_as_its_loop_written_out() -> None:
    found, wanted = job(True), job(False)
    histories = [each.fit(epochs=3) for each in (found, wanted)]
    losses = [np.asarray(history["loss"], np.float64) for history in histories]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_threads(threads: int) -> None:
    one, other = job(True), job(True, threads=threads)
    for each in (one, other):
        each.fit(epochs=2)
    for a, b in zip(one.program._executable.state(), other.program._executable.state(), strict=True):
        assert np.array_equal(a, b)


def test_the_peak_is_known_and_grows_with_what_is_kept() -> None:
    def loss(w: Any, x: Any) -> Any:
        return gnp.sum(gc.scan(lambda h, row: (gnp.tanh(w @ h + row), None), gnp.zeros(64, "float32"), x)[0])

    peaks = []
    for length in (10, 1000):
        exe = gc.compile(gc.grad(loss), gc.spec((64, 64)), gc.spec((length, 64)))
        assert exe.memory.arena_bytes >= length * 64 * 4  # the states
        assert "scan" in str(exe.memory) or exe.memory.tensors
        peaks.append(exe.memory.arena_bytes)
    assert peaks[1] - peaks[0] <= 3 * 990 * 64 * 4
