"""Sorts by digits and by parts of a row, whose stores meet nowhere though no index shows it: bits are the interpreter's
in every order of threads.
"""

from __future__ import annotations

import numpy as np
import pytest

from graphc.kernel.lower import sorting
from graphc_cupy.phases import phases
from graphc_cupy.recipes import schedule
from tests.emulated.kernels import Cases, needs_compiler
from tests.kernel.lower.test_sorting import CASES, WAYS, kernel_of, sample_of


@needs_compiler
@pytest.mark.parametrize("way", ["digits", "parts", "network"])
def test_ways_have_the_interpreters_bits(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WAYS[way].items():
        monkeypatch.setattr(sorting, name, value)
    cases = Cases()
    for case in (CASES[0], CASES[8]):
        sample = sample_of(*case)
        cases.add(kernel_of(sample), [np.ascontiguousarray(sample.inputs[0])])
    cases.check()


def test_long_loops_are_not_written_out() -> None:
    """NVRTC took 69 seconds for a sort of 8-byte integers: it wrote out its loops over 256 counters."""
    sample = sample_of("sort", "int64", (300, 3), 0, True)
    text = "".join(phase.text for phase in phases(schedule(kernel_of(sample)).kernel))
    lines = [line.strip() for line in text.splitlines()]
    long = [k for k, line in enumerate(lines) if line.startswith("for (") and " < 256;" in line]
    assert long
    assert all(lines[k - 1] in ("#pragma unroll 1", "#pragma unroll 4") for k in long)
