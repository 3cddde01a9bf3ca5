"""Reductions over rows of many lengths: in teams, and long ones in blocks; bits are the interpreter's."""

from __future__ import annotations

import numpy as np
import pytest

import graphc.numpy as gnp
from graphc_cupy.phases import phases
from graphc_cupy.recipes import schedule
from tests.emulated.kernels import Cases, needs_compiler
from tests.emulated.test_contractions import Function, array, kernel_of


def softmax(x):  # type: ignore[no-untyped-def]
    e = gnp.exp(x - gnp.max(x, axis=1, keepdims=True))
    return e / gnp.sum(e, axis=1, keepdims=True)


def norm(x):  # type: ignore[no-untyped-def]
    centred = x - gnp.mean(x, axis=1, keepdims=True)
    return centred / gnp.sqrt(gnp.mean(centred * centred, axis=1, keepdims=True) + 1e-5)


CASES: dict[str, tuple[Function, tuple[np.ndarray, ...]]] = {
    **{f"softmax {n}": (softmax, (array(70, n),)) for n in (1, 3, 16, 37, 1024, 1500)},
    **{f"norm {n}": (norm, (array(70, n),)) for n in (2, 300, 4096, 5001)},
    "long softmax": (softmax, (array(65, 10_000),)),
    "argmax": (lambda x: gnp.argmax(x, axis=1), (array(64, 6000),)),
    "columns": (lambda x: gnp.sum(x, axis=0), (array(3000, 40),)),
    "float64": (norm, (array(64, 5000, dtype="float64"),)),
    "all": (gnp.sum, (array(7, 9000),)),
}


def cases() -> Cases:
    found = Cases()
    for function, arrays in CASES.values():
        found.add(*kernel_of(function, *arrays))
    return found


@needs_compiler
def test_rows_have_the_interpreters_bits() -> None:
    cases().check()


@pytest.mark.parametrize(("name", "barrier"), [("softmax 37", "__syncwarp"), ("norm 5001", "__syncthreads")])
def test_how_threads_share_a_row(name: str, barrier: str) -> None:
    function, arrays = CASES[name]
    (phase,) = phases(schedule(kernel_of(function, *arrays)[0]).kernel)
    assert barrier in phase.text
    assert "__shfl_down_sync" in phase.text
