"""Sorts by digits and by parts of a row, whose stores meet nowhere though no index shows it: bits are the interpreter's
in every order of threads.
"""

from __future__ import annotations

import numpy as np
import pytest

from graphc.kernel.lower import sorting
from tests.emulated.kernels import Cases, needs_compiler
from tests.kernel.lower.test_sorting import CASES, WAYS, kernel_of, sample_of


@needs_compiler
@pytest.mark.parametrize("way", ["digits", "parts"])
def test_ways_have_the_interpreters_bits(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WAYS[way].items():
        monkeypatch.setattr(sorting, name, value)
    cases = Cases()
    for case in (CASES[0], CASES[8]):
        sample = sample_of(*case)
        cases.add(kernel_of(sample), [np.ascontiguousarray(sample.inputs[0])])
    cases.check()
