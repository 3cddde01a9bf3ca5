"""A loaded plan: its memory, its code, and the calls into it.

All memory is allocated when the plan is loaded, except the outputs that are returned. One call runs at a time per
executable; executables with the same number of threads share their workers.
"""

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graphc.core.errors import ArgumentError, BackendError
from graphc.plan.ir import Entry, Plan, Slot
from graphc.runtime.protocol import KernelText, LaunchTimes, Progress
from graphc_llvm import codegen, host
from graphc_llvm.code import Code, text_digest
from graphc_llvm.driver import RECORD, RECORD_WORDS
from graphc_llvm.memory import address, aligned
from graphc_llvm.pool import Pool, default_threads

if TYPE_CHECKING:  # a program from the cache runs without the emitter
    from graphc_llvm.program import ProgramText

POLL_SECONDS = 0.1

_RUN = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, *[ctypes.c_int64] * 4)
_LAUNCH = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class _Call:
    """What one call of an entry needs, looked up beforehand."""

    name: str
    function: Callable[[int, int, int, int, int], int]
    inputs: tuple[tuple[Slot, tuple[int, ...], np.dtype[np.generic]], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype[np.generic]], ...]


_alive: "weakref.WeakSet[CpuExecutable]" = weakref.WeakSet()


class CpuExecutable:
    """Implements `graphc.runtime.protocol.Executable`."""

    def __init__(
        self, plan: Plan, threads: int | None, code: Code | None = None, whole: Callable[[], Plan] | None = None
    ) -> None:
        """`code` was made from this plan earlier. Then `plan` may lack its instructions: `whole` makes it again."""
        self._plan = plan
        self._whole = whole or (lambda: plan)
        self.threads = default_threads() if threads is None else threads
        if self.threads < 1:
            raise ArgumentError(f"threads must be at least 1, not {self.threads}")
        self._target = host.host()
        self._text: ProgramText | None = None
        self._expected_text = "" if code is None else code.text_digest
        self.code = self._compiled() if code is None else code
        self._library = codegen.link(self.code.objects, self.code.exports)
        self._calls = {entry.name: self._call(entry) for entry in plan.entries.values()}
        self._allocate()
        self._timed: tuple[ProgramText, codegen.Library] | None = None
        self._pool = Pool.get(self.threads)
        self._pool_process = os.getpid()
        self._lock = threading.RLock()
        _alive.add(self)

    def _compiled(self) -> Code:
        """Code of the plan, new or of the same text compiled before."""
        program = self._program
        objects = codegen.objects(program.modules, self._target)
        return Code(objects, program.entries, program.launchers, program.scratch_bytes, text_digest(program.text))

    @property
    def _program(self) -> "ProgramText":
        """The text of the program. Of one from the cache it is made when it is first asked for."""
        if self._text is None:
            from graphc_llvm.program import program_text

            program = program_text(self._whole())
            if self._expected_text not in ("", text_digest(program.text)):
                raise BackendError(
                    "cpu backend: the program was found in the cache, and its text made again is not what the code was "
                    "made from; compile with GRAPHC_CACHE=off to look inside"
                )
            self._text = program
        return self._text

    def _call(self, entry: Entry) -> _Call:
        function = _RUN(self._library.addresses[self.code.entries[entry.name]])
        inputs = tuple((slot, slot.shape, slot.dtype.numpy) for slot in entry.inputs)
        return _Call(entry.name, function, inputs, tuple((slot.shape, slot.dtype.numpy) for slot in entry.outputs))

    def _allocate(self) -> None:
        plan = self._plan
        self._arena, self._state = aligned(plan.arena_bytes), aligned(plan.state_bytes)
        self._constants = aligned(plan.constant_bytes)
        for offset, array in plan.constants:
            self._constants[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._constants.flags.writeable = False
        stride = -(-self.code.scratch_bytes // 64) * 64
        self._scratch = aligned(stride * self.threads)
        self._step = np.zeros(1, np.int64)
        most_inputs = max((len(entry.inputs) for entry in plan.entries.values()), default=0)
        most_outputs = max((len(entry.outputs) for entry in plan.entries.values()), default=0)
        self._inputs, self._outputs = np.zeros(most_inputs + 1, np.int64), np.zeros(most_outputs + 1, np.int64)
        self._record = aligned(8 * RECORD_WORDS).view(np.int64)
        self._record_address = address(self._record)
        self._at_pool, self._at_stop = RECORD["pool"] // 8, RECORD["stop"] // 8
        runtime = codegen.runtime().addresses
        words = {
            "arena": address(self._arena),
            "state": address(self._state),
            "constants": address(self._constants),
            "step": address(self._step),
            "inputs": address(self._inputs),
            "outputs": address(self._outputs),
            "scratch": address(self._scratch),
            "stride": stride,
            "parallel": runtime["gc_parallel"],
            "clock": runtime["gc_clock"],
        }
        for name, word in words.items():
            self._record[RECORD[name] // 8] = word

    @property
    def scratch_bytes(self) -> int:
        """Packing and other worker scratch of all threads, in addition to the plan's segments."""
        return self._scratch.nbytes

    # ----------------------------------------------------------------------------------------------------- running

    def call(self, entry: str, inputs: Sequence[np.ndarray], step: int = 0) -> list[np.ndarray]:
        """Run one entry once."""
        described = self._entry(entry)
        outputs = [np.empty(shape, dtype) for shape, dtype in described.outputs]
        with self._lock:
            self._prepare(described, inputs, outputs)
            self._enter(described, step, 0, 1, 0)
        return outputs

    def run(
        self,
        entry: str,
        inputs: Sequence[np.ndarray],
        first: int,
        n: int,
        poll: Callable[[Progress, Sequence[np.ndarray]], bool] | None = None,
    ) -> tuple[int, list[np.ndarray]]:
        """Run n steps; Python is entered about ten times a second, between two steps."""
        if n < 0:
            raise ArgumentError(f"run: the number of steps must not be negative, not {n}")
        described = self._entry(entry)
        # zeros: rows of steps that a stopped run does not reach must not be what lay in memory before
        outputs = [np.zeros((n, *shape), dtype) for shape, dtype in described.outputs]
        done = 0
        with self._lock:
            while done < n:
                self._prepare(described, inputs, outputs)  # each time: `poll` may have called an entry meanwhile
                # A KeyboardInterrupt is raised here, between two native calls: the step is finished, the state whole.
                done = self._enter(described, first, done, n, int(POLL_SECONDS * 1e9))
                if done < n and poll is not None and poll(Progress(first, done), outputs):
                    break
        return done, outputs

    def _entry(self, name: str) -> _Call:
        if name not in self._calls:
            raise ArgumentError(f"no entry {name!r}; this program has {', '.join(self._plan.entries)}")
        return self._calls[name]

    def _prepare(self, entry: _Call, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        if len(inputs) != len(entry.inputs):
            raise ArgumentError(f"{entry.name}: takes {len(entry.inputs)} inputs, not {len(inputs)}")
        for position, (array, (slot, shape, dtype)) in enumerate(zip(inputs, entry.inputs)):
            flags = array.flags
            if array.shape != shape or array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
                raise BackendError(_misfit(entry.name, array, slot))
            self._inputs[position] = address(array)
        for position, array in enumerate(outputs):
            self._outputs[position] = address(array)
        self._record[self._at_stop] = 0

    def _enter(self, entry: _Call, first: int, start: int, n: int, budget: int) -> int:
        pool = self._workers()
        with pool.lock:
            self._record[self._at_pool] = pool.pointer
            return int(entry.function(self._record_address, first, start, n, budget))

    def _workers(self) -> Pool:
        """The pool; a new one after a fork, because the workers stayed in the parent."""
        if self._pool_process != os.getpid():
            self._pool, self._pool_process = Pool.get(self.threads), os.getpid()
        return self._pool

    def state(self) -> list[np.ndarray]:
        """Views of the state slots."""
        return [
            self._state[s.offset : s.offset + s.slot.nbytes].view(s.slot.dtype.numpy).reshape(s.slot.shape)
            for s in self._plan.state
        ]

    # -------------------------------------------------------------------------------------------------- inspection

    def texts(self) -> Mapping[str, Sequence[KernelText]]:
        """The stages "llvm" and "asm" of every kernel."""
        from graphc_llvm.texts import texts

        return texts(self._program, self._target)

    def time(self, kernel: str, repeats: int) -> float:
        """Median seconds of one launch on buffers of its own, filled with zeros.

        Zeros take no slow path: times of data with denormals are longer. Indices of a gather are all 0, so its table is
        read from the cache.
        """
        from graphc.plan.build import arena_allocs

        if repeats < 1:
            raise ArgumentError(f"time: repeats must be at least 1, not {repeats}")
        if kernel not in self._program.kernels:
            raise ArgumentError(f"no kernel {kernel!r} in this program")
        found, launcher = self._program.kernels[kernel]
        function = _LAUNCH(self._library.addresses[launcher.name])
        buffers = [*(param.buffer for param in found.params), *arena_allocs(found)]
        blocks = [aligned(buffer.nbytes) for buffer in buffers]
        args = np.array([address(block) for block in blocks] or [0], np.int64)
        samples = []
        pool = self._workers()
        with self._lock, pool.lock:
            self._record[self._at_pool] = pool.pointer
            for _ in range(repeats):
                begin = time.perf_counter()
                function(self._record_address, address(args))
                samples.append(time.perf_counter() - begin)
        return float(np.median(samples))

    def profile(self, entry: str, inputs: Sequence[np.ndarray], first: int, n: int) -> LaunchTimes:
        """Run n steps in a version of the program that reads the clock around each instruction."""
        described = self._entry(entry)
        program, library = self._timed_version()
        rows, function = program.stamps[entry].rows, _RUN(library.addresses[program.entries[entry]])
        stamps = np.zeros((1 + len(rows), n, 2), np.int64)
        outputs = [np.zeros((n, *shape), dtype) for shape, dtype in described.outputs]
        done = 0
        with self._lock:
            self._record[RECORD["stamps"] // 8] = address(stamps)
            while done < n:
                self._prepare(described, inputs, outputs)
                done = self._enter(replace(described, function=function), first, done, n, int(POLL_SECONDS * 1e9))
        calls, nanoseconds = stamps[1:, :, 0], stamps[1:, :, 1]
        clock = np.median(stamps[0, :, 1]) if n else 0.0
        return LaunchTimes(tuple(rows), calls, np.maximum(nanoseconds - calls * clock, 0) * 1e-9)

    def _timed_version(self) -> "tuple[ProgramText, codegen.Library]":
        """Made when first asked for."""
        if self._timed is None:
            from graphc_llvm.program import program_text

            program = program_text(self._whole(), timed=True)
            objects = codegen.objects(program.modules, self._target)
            self._timed = program, codegen.link(objects, list(program.entries.values()))
        return self._timed

    def renew_lock(self) -> None:
        """After a fork: whoever held the lock stayed in the parent."""
        self._lock = threading.RLock()


def _misfit(entry: str, array: np.ndarray, slot: Slot) -> str:
    return (
        f"{entry}: input {slot.name} must be a C-contiguous {slot.dtype} array of shape {slot.shape}, "
        f"not {array.dtype} {array.shape} with strides {array.strides}"
    )


def _after_fork() -> None:
    for executable in list(_alive):
        executable.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
