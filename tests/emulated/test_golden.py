"""What is emitted, as text to read: a product in tiles with what follows it, and rows in teams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc.numpy as gnp
from graphc_cupy.phases import phases
from graphc_cupy.recipes import schedule
from tests.emulated.test_contractions import Function, array, kernel_of


def normalised(x):  # type: ignore[no-untyped-def]
    shifted = x - gnp.max(x, axis=1, keepdims=True)
    return shifted / gnp.sum(shifted, axis=1, keepdims=True)


CASES: dict[str, tuple[Function, tuple[np.ndarray, ...]]] = {
    "product": (lambda x, w, b: gnp.maximum(x @ w + b, 0.0), (array(40, 20), array(20, 24), array(24))),
    "rows": (normalised, (array(40, 20),)),
}


@pytest.mark.parametrize("name", list(CASES))
def test_cuda(name: str, golden: Callable[[str, str], None]) -> None:
    function, arrays = CASES[name]
    found = phases(schedule(kernel_of(function, *arrays)[0]).kernel)
    golden(f"cuda/{name}", "\n".join(phase.text for phase in found))
