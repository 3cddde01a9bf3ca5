"""The thread pool's native side: who moves where, and that nobody stays bound."""

import ctypes
import os
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

import graphc as gc
from graphc_llvm import codegen, pool
from graphc_llvm.pool_code import FIELDS, POOL_BYTES
from graphc_llvm.runtime_code import EXPORTS, runtime_text

linux = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs sched_getaffinity")


@linux
def test_threads_are_bound_to_no_processor() -> None:
    """To move off the caller's processor a worker changes what it may use, and changes it back."""
    call = gc.compile(lambda x: x @ x, gc.spec((300, 300)), threads=2)
    x = np.eye(300, dtype=np.float32)
    for _ in range(300):
        call(x)
    workers = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("graphc-")]
    assert workers
    for worker in workers:
        assert worker is not None
        for _ in range(1000):  # one that is moving just now is seen bound
            if os.sched_getaffinity(worker) == os.sched_getaffinity(0):
                break
            time.sleep(0.01)
        assert os.sched_getaffinity(worker) == os.sched_getaffinity(0)


@linux
def test_bound_to_one_processor_everything_still_runs() -> None:
    everything = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(everything)})
        call = gc.compile(lambda x: x @ x, gc.spec((301, 301)), threads=3)
        x = np.eye(301, dtype=np.float32)
        for _ in range(20):
            np.testing.assert_array_equal(call(x), x)
    finally:
        os.sched_setaffinity(0, everything)


def test_fields_do_not_overlap() -> None:
    places = sorted(FIELDS.values())
    assert all(b - a >= 4 for a, b in pairwise(places)) and places[-1] + 8 <= POOL_BYTES
    written_by = {"word": 0, "done": 1, "segments": 2, "wake": 3, "sleepers": 4, "stop": 5, "owner": 6}
    assert [FIELDS[name] // 128 for name in written_by] == list(written_by.values())


@pytest.mark.parametrize(
    ("machine", "system"),
    [("x86_64", "Linux"), ("aarch64", "Linux"), ("riscv64", "Linux"), ("arm64", "Darwin"), ("AMD64", "Windows")],
)
def test_the_text_of_other_systems_is_valid(machine: str, system: str) -> None:
    import llvmlite.binding as llvm

    text = runtime_text(machine, system)
    assert "$" not in text and "POOL(" not in text and "RECORD(" not in text
    if machine.lower() in ("x86_64", "amd64"):
        codegen.host.machine(codegen.host.host())
        module = llvm.parse_assembly(text)
        module.verify()
        assert {f.name for f in module.functions} >= set(EXPORTS)


def test_pauses_are_measured() -> None:
    assert pool._pauses(50_000) > pool._pauses(5_000) >= 1
    measure = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(codegen.runtime().addresses["gc_pauses"])
    assert measure(1000) > 0
