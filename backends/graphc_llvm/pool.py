"""Worker threads: Python threads that stand in one native function, with the interpreter's lock released.

`Pool.get(n)` gives the pool of n threads of this process (the caller is one of them); programs with the same number
share it. Who calls while another caller's job is on does its own job alone (`pool_code`). Workers end when the last
program that uses the pool is gone, or at exit; after a fork the child starts its own.
"""

import ctypes
import os
import threading
import weakref
from functools import cache

import numpy as np

from graphc.core import config
from graphc_llvm import codegen
from graphc_llvm.memory import address, aligned
from graphc_llvm.pool_code import FIELDS, POOL_BYTES

SPIN_NS = 50_000  # before a worker sleeps: longer than the serial part between two kernels of a step
PATIENCE_NS = 20_000  # before the caller sleeps until the last unit is done: longer than a unit
CROWDED = 40  # how many times less that is with more threads than cores: who spins is in the way

_WORKER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
_WAKE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_PAUSES = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)

_guard = threading.Lock()
_pools: "weakref.WeakValueDictionary[int, Pool]" = weakref.WeakValueDictionary()


def default_threads() -> int:
    """`GRAPHC_THREADS`, or one thread per core this process may use."""
    return config.get_int("GRAPHC_THREADS") or config.available_cores()


class Pool:
    """`threads` threads, the caller included. Native code takes `pointer`; 0 means that there are no workers."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._block = aligned(POOL_BYTES)
        self._owner = os.getpid()
        self.pointer = address(self._block) if threads > 1 else 0
        crowded = threads > config.available_cores()
        share = CROWDED if crowded else 1
        words = {"spins": _pauses(SPIN_NS // share), "patience": _pauses(PATIENCE_NS // share)}
        words |= {"threads": threads, "apart": not crowded}
        for name, word in words.items():
            self._block[FIELDS[name] : FIELDS[name] + 8].view(np.int64)[0] = word
        self._workers = [_start(self._block, number) for number in range(1, threads)]
        self._stop = weakref.finalize(self, _stop, self._block, self._workers, self._owner)

    @staticmethod
    def get(threads: int) -> "Pool":
        """The shared pool of that many threads."""
        with _guard:
            pool = _pools.get(threads)
            if pool is None:
                pool = _pools[threads] = Pool(threads)
            return pool


@cache
def _pauses(nanoseconds: int) -> int:
    """How many pauses take that long: a pause is 10 to 140 cycles by processor."""
    measure = _PAUSES(codegen.runtime().addresses["gc_pauses"])
    probe = 500
    took = max(min(int(measure(probe)) for _ in range(5)), 1)
    return max(nanoseconds * probe // took, 1)


def _start(block: np.ndarray, number: int) -> threading.Thread:
    enter = _WORKER(codegen.runtime().addresses["gc_worker"])
    # The block is an argument so that it lives as long as the thread stands in native code.
    thread = threading.Thread(
        target=lambda memory: enter(address(memory), number), args=(block,), name=f"graphc-{number}", daemon=True
    )
    thread.start()
    return thread


def _stop(block: np.ndarray, workers: list[threading.Thread], owner: int) -> None:
    """Ask the workers to leave and wait until they have."""
    if owner != os.getpid() or not workers:
        return  # a forked child has none of them
    block[FIELDS["stop"] : FIELDS["stop"] + 4].view(np.int32)[0] = 1
    _WAKE(codegen.runtime().addresses["gc_wake"])(address(block))
    for worker in workers:
        if worker is not threading.current_thread():
            worker.join()


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
