"""Random numbers on a device: the cpu's bits, and one evaluation of Philox for the four words it gives."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import random
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler
from tests.random.test_random import DRAWS, KEY

pytestmark = needs_compiler


@pytest.mark.parametrize(("shape", "threads"), [((1024,), 256), ((3, 64), 48), ((1021,), 256), ((3, 62), 47)])
def test_four_neighbours_share_an_evaluation(emulated: EmulatedBackend, shape: tuple[int, ...], threads: int) -> None:
    key = np.asarray(random.key(7))
    ours, cpus = (
        gc.compile(lambda k: random.uniform(k, shape), key, backend=backend) for backend in ("emulated", "cpu")
    )
    np.testing.assert_array_equal(ours(key), cpus(key))
    (kernel,) = [line for line in ours.text("cuda").splitlines() if line.startswith("// ")]
    blocks, each = (int(word) for word in kernel.split(":")[1].split(" threads")[0].split(" x "))
    assert blocks * each in range(threads, threads + each)


@pytest.mark.parametrize("name", DRAWS)
def test_every_draw_has_the_bits_of_the_host(name: str, emulated: EmulatedBackend) -> None:
    drawn = gc.compile(DRAWS[name], KEY, backend="emulated")(KEY)
    assert np.asarray(drawn).tobytes() == np.asarray(DRAWS[name](KEY)).tobytes()
