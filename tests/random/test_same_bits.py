"""Every draw has the same bits on every backend, with any number of threads, and in a batch of keys."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import random
from tests.random.test_random import DRAWS, KEY

KEYS = np.asarray(random.split(KEY, 3))


def bits(x: object) -> bytes:
    return np.asarray(x).tobytes()


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_backends(name: str, backend: str) -> None:
    assert bits(gc.compile(DRAWS[name], KEY, backend=backend)(KEY)) == bits(DRAWS[name](KEY))


@pytest.mark.cpu
@pytest.mark.parametrize("name", DRAWS)
def test_threads(name: str) -> None:
    one, three = (gc.compile(DRAWS[name], KEY, backend="cpu", threads=threads) for threads in (1, 3))
    assert bits(one(KEY)) == bits(three(KEY)) == bits(DRAWS[name](KEY))


@pytest.mark.parametrize("name", DRAWS)
def test_in_a_batch_of_keys(name: str) -> None:
    together = gc.compile(gc.vmap(DRAWS[name]), KEYS, backend="cpu")(KEYS)
    assert [bits(one) for one in np.asarray(together)] == [bits(DRAWS[name](key)) for key in KEYS]
