"""The tables of docs/edge_cases.md, and `sanitize=True`, on the emulated device."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler
from tests.test_edge_cases import SECTIONS, check

pytestmark = needs_compiler


@pytest.mark.parametrize("section", SECTIONS)
def test_edge_cases(emulated: EmulatedBackend, section: str) -> None:
    check(section, "emulated")


def test_a_sanitized_run_stops_before_the_step(emulated: EmulatedBackend) -> None:
    def step(w: gc.api.Array, table: gc.api.Array, number: gc.api.Array) -> object:
        w = w - 0.25 * gc.grad(lambda w: gnp.sum(gnp.sqrt(w)))(w)
        return w, table[number // 2].sum()

    program = gc.program(np.full(3, 4, np.float32), {"train": step}, backend="emulated", sanitize=True)
    with pytest.raises(gc.IndexRangeError, match=r"step 6: indexing axis 0: index 3 of i64\[\] .* before step 6"):
        program.run("train", np.ones((3, 2), np.float32), n=50)
    usual = gc.program(np.full(3, 4, np.float32), {"train": step}, backend="cpu")
    usual.run("train", np.ones((3, 2), np.float32), n=6)
    assert np.array_equal(np.asarray(program.state), np.asarray(usual.state))
    program.state = np.array([4, 0, 4], np.float32)
    with pytest.raises(gc.NonFiniteError, match=r"step 0: div of .* and 0 made Inf at \[1\] .*backward"):
        program.call("train", np.ones((3, 2), np.float32))
