"""Four times as many nodes take four times as many steps to compile. Steps are calls of functions, not seconds."""

import sys

import numpy as np
import pytest

import graphc as gc
from benchmarks.compile_time import FAMILIES


def calls_to_compile(family: str, nodes: int) -> int:
    """Calls of functions on this thread."""
    fn, args = FAMILIES[family](nodes)
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        gc.compile(fn, *args)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("family, nodes", [("chain", 260), ("layers", 210)])
def test_steps_grow_no_faster_than_nodes(family: str, nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    calls_to_compile(family, 20)  # what is done once per process
    small, large = calls_to_compile(family, nodes), calls_to_compile(family, 4 * nodes)
    assert large < 4.4 * small, (small, large)


def test_a_network_of_equal_layers_has_no_more_kernels_to_schedule_when_it_is_deeper() -> None:
    from graphc_llvm import backend

    seen: list[int] = []
    schedule = type(backend).schedule

    def counted(self, kernel):
        seen.append(1)
        return schedule(self, kernel)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHC_CACHE", "off")
        patch.setattr(type(backend), "schedule", counted)
        counts = []
        for nodes in (84, 168):
            fn, args = FAMILIES["layers"](nodes)
            seen.clear()
            assert np.isfinite(np.asarray(gc.compile(fn, *args)(*args)[0])).all()
            counts.append(len(seen))
    assert counts[0] == counts[1] < 12
