"""A loaded plan: its memory, its code, and the calls into it.

All memory is allocated when the plan is loaded, except the outputs that are returned. Callers take turns on it natively
(`turns_code.gc_begin`): a program with state, or with a large arena, serves one call at a time and others wait; others
get an arena of their own for as many calls as come at once. Executables with the same number of threads share workers.
"""

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphc.core.errors import ArgumentError, BackendError, BoundError
from graphc.core.records import dataclass
from graphc.plan.ir import Entry, Plan, Slot, exceeded
from graphc.runtime.protocol import Direct, KernelText, LaunchTimes, Progress
from graphc_llvm import codegen, host
from graphc_llvm.arrays import LAYOUT_IS_KNOWN, MOST_ARRAYS, native_call
from graphc_llvm.code import Code, text_digest
from graphc_llvm.context import Context, Shared
from graphc_llvm.memory import address, aligned, maker
from graphc_llvm.pool import Pool, default_threads
from graphc_llvm.record import EXCEEDED, IS_BUSY

if TYPE_CHECKING:  # a program from the cache runs without the emitter
    from graphc_llvm.program import Ahead, ProgramText

POLL_SECONDS = 0.1
SMALL_BYTES = 4 * 1024 * 1024  # of arena and scratch: calls that come at once each get their own
MOST_CONTEXTS = 16

_RUN = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 4)
_WAIT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What calls of an entry need, looked up beforehand."""

    name: str
    run: Callable[..., int]
    call: Callable[..., int] | None  # with arrays as they are
    inputs: tuple[tuple[Slot, tuple[int, ...], np.dtype[np.generic]], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype[np.generic]], ...]
    makers: tuple[Callable[[], np.ndarray], ...]  # of outputs
    descriptors: np.ndarray  # of inputs


_alive: "weakref.WeakSet[CpuExecutable]" = weakref.WeakSet()


class CpuExecutable:
    """Implements `graphc.runtime.protocol.Executable`."""

    def __init__(
        self,
        plan: Plan,
        threads: int | None,
        code: Code | None = None,
        whole: Callable[[], Plan] | None = None,
        ahead: "Ahead | None" = None,
    ) -> None:
        """`code` was made from this plan earlier. Then `plan` may lack its instructions: `whole` makes it again.

        `ahead`: what of the kernels is being compiled already.
        """
        self._plan = plan
        self._whole = whole or (lambda: plan)
        self.threads = default_threads() if threads is None else threads
        if self.threads < 1:
            raise ArgumentError(f"threads must be at least 1, not {self.threads}")
        self._target = host.host()
        self._text: ProgramText | None = None
        self._expected_text = "" if code is None else code.text_digest
        self.code = self._compiled(ahead) if code is None else code
        self._library = codegen.link(self.code.objects, self.code.exports)
        self._entries = {entry.name: self._describe(entry) for entry in plan.entries.values()}
        self._pool, self._process = Pool.get(self.threads), os.getpid()
        self._shared = self._share()
        self._context = self._new_context()
        self._more: list[Context] = []
        self._guard = threading.Lock()
        self._wait_for = _WAIT(codegen.runtime().addresses["gc_wait"])
        self._timed: tuple[ProgramText, codegen.Library] | None = None
        self._profiling = threading.Lock()
        _alive.add(self)

    def _compiled(self, ahead: "Ahead | None") -> Code:
        """Code of the plan, new or of the same text compiled before."""
        from graphc_llvm.program import program_text

        program = self._text = program_text(self._plan, ahead=ahead)
        objects = (codegen.Begun(self._target) if ahead is None else ahead.begun).objects(program.modules)
        return Code(objects, program.runs, program.calls, program.scratch_bytes, text_digest(program.text))

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

    def _describe(self, entry: Entry) -> _Entry:
        run = _RUN(self._library.addresses[self.code.runs[entry.name]])
        count = len(entry.inputs) + len(entry.outputs)
        direct = LAYOUT_IS_KNOWN and count <= MOST_ARRAYS
        call = native_call(self._library.addresses[self.code.calls[entry.name]], count) if direct else None
        inputs = tuple((slot, slot.shape, slot.dtype.numpy) for slot in entry.inputs)
        outputs = tuple((slot.shape, slot.dtype.numpy) for slot in entry.outputs)
        makers = tuple(maker(shape, dtype) for shape, dtype in outputs)
        descriptors = np.array([id(dtype) for _, _, dtype in inputs] or [0], np.int64)
        return _Entry(entry.name, run, call, inputs, outputs, makers, descriptors)

    def _share(self) -> Shared:
        plan = self._plan
        constants = aligned(plan.constant_bytes)
        for offset, array in plan.constants:
            constants[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        constants.flags.writeable = False
        stride = -(-self.code.scratch_bytes // 64) * 64
        tables = max((len(slots) for e in plan.entries.values() for slots in (e.inputs, e.outputs)), default=0)
        return Shared(aligned(plan.state_bytes), constants, plan.arena_bytes, stride, self.threads, tables)

    def _new_context(self) -> Context:
        return Context(self._shared, self._pool.pointer)

    @property
    def scratch_bytes(self) -> int:
        """Packing and other worker scratch of all threads, in addition to the plan's segments."""
        return self._context.scratch.nbytes

    # ----------------------------------------------------------------------------------------------------- running

    def call(self, entry: str, inputs: Sequence[np.ndarray], step: int = 0) -> list[np.ndarray]:
        """Run one entry once."""
        described = self._entry(entry)
        outputs = self._call_arrays(described, step, inputs)
        if outputs is not None:
            return outputs
        addresses = _addresses(described, inputs)
        outputs = [make() for make in described.makers]
        self._turn(described.run, addresses, outputs, step, 0, 1, 0)
        return outputs

    def direct(self, entry: str) -> Direct:
        """See `graphc.runtime.protocol.DirectCalls`. The function keeps this executable alive."""
        described = self._entry(entry)
        call, makers, count = described.call, described.makers, len(described.inputs)
        if call is None or len(makers) != 1:
            return lambda step, *inputs: self._call_arrays(described, step, inputs)
        (make,) = makers
        record, descriptors, later = self._context.address, address(described.descriptors), self._call_busy
        exceeded = self._exceeded

        def one(step: int, *inputs: object) -> list[np.ndarray] | None:
            if len(inputs) != count:
                return None
            output = make()
            status = call(record, step, descriptors, *inputs, output)
            if not status:
                return [output]
            if status <= EXCEEDED:
                raise exceeded(status)
            return later(described, step, inputs, [output]) if status == IS_BUSY else None

        return one

    def _call_arrays(self, entry: _Entry, step: int, inputs: Sequence[object]) -> list[np.ndarray] | None:
        """Call with arguments as they are; None when nothing ran because one does not fit."""
        if entry.call is None or len(inputs) != len(entry.inputs):
            return None
        outputs = [make() for make in entry.makers]
        status = entry.call(self._context.address, step, address(entry.descriptors), *inputs, *outputs)
        if not status:
            return outputs
        if status <= EXCEEDED:
            raise self._exceeded(status)
        return self._call_busy(entry, step, inputs, outputs) if status == IS_BUSY else None

    def _exceeded(self, status: int) -> BoundError:
        """The error of a loop that would not end within its bound."""
        from graphc_llvm.driver import bounded

        return BoundError(exceeded(bounded(self._whole().entries.values())[EXCEEDED - status]))

    def _call_busy(
        self, entry: _Entry, step: int, inputs: Sequence[object], outputs: list[np.ndarray]
    ) -> list[np.ndarray] | None:
        """A call that found the record busy: on a record of its own if it may have one, else when it is its turn."""
        assert entry.call is not None
        while True:
            contexts = [self._context, *self._more]
            for context in contexts:
                status = entry.call(context.address, step, address(entry.descriptors), *inputs, *outputs)
                if status <= EXCEEDED:
                    raise self._exceeded(status)
                if status != IS_BUSY:
                    return None if status else outputs
            if self._process != os.getpid():
                self._renew()
            elif (not self._is_large and len(contexts) < MOST_CONTEXTS) or self._wait_for(self._context.address):
                self._more.append(self._new_context())

    @property
    def _is_large(self) -> bool:
        """Whether there is one context, because state or memory forbid more."""
        plan = self._plan
        return plan.state_bytes > 0 or plan.arena_bytes + self.scratch_bytes > SMALL_BYTES

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
        addresses = _addresses(described, inputs)
        # zeros: rows of steps that a stopped run does not reach must not be what lay in memory before
        outputs = [np.zeros((n, *shape), dtype) for shape, dtype in described.outputs]
        done = 0
        while done < n:
            # A KeyboardInterrupt is raised here, between two native calls: the step is finished, the state whole.
            done = self._turn(described.run, addresses, outputs, first, done, n, int(POLL_SECONDS * 1e9))
            if done < n and poll is not None and poll(Progress(first, done), outputs):
                break
            if done < n and self._context["waiters"]:
                time.sleep(0.001)  # who waits for a call between two steps gets its turn
        return done, outputs

    def _turn(
        self,
        function: Callable[..., int],
        inputs: np.ndarray,
        outputs: Sequence[np.ndarray],
        first: int,
        start: int,
        n: int,
        budget: int,
    ) -> int:
        """Run steps as soon as nobody else does; returns how many are finished."""
        table = np.array([address(array) for array in outputs] or [0], np.int64)
        while True:
            done = function(self._context.address, address(inputs), address(table), first, start, n, budget)
            if done <= EXCEEDED:
                raise self._exceeded(done)
            if done != IS_BUSY:
                return done
            if self._process != os.getpid():
                self._renew()
            else:
                self._wait_for(self._context.address)

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise ArgumentError(f"no entry {name!r}; this program has {', '.join(self._plan.entries)}")
        return self._entries[name]

    def _renew(self) -> None:
        """After a fork: new workers, because the old ones stayed in the parent."""
        with self._guard:
            if self._process == os.getpid():
                return
            self._pool = Pool.get(self.threads)
            self._context.renew(self._pool.pointer)
            self._process = os.getpid()

    def forked(self) -> None:
        """In a forked child, before anything else: the next call renews."""
        self._guard = threading.Lock()
        self._profiling = threading.Lock()
        self._more.clear()
        self._context.forked()

    def state(self) -> list[np.ndarray]:
        """Views of the state slots."""
        return [
            self._shared.state[s.offset : s.offset + s.slot.nbytes].view(s.slot.dtype.numpy).reshape(s.slot.shape)
            for s in self._plan.state
        ]

    # -------------------------------------------------------------------------------------------------- inspection

    def texts(self) -> Mapping[str, Sequence[KernelText]]:
        """The stages "llvm" and "asm" of every kernel."""
        from graphc_llvm.texts import texts

        return texts(self._program, self._target)

    def profile(self, entry: str, inputs: Sequence[np.ndarray], first: int, n: int) -> LaunchTimes:
        """Run n steps in a version of the program that reads the clock around each batch of launches."""
        described = self._entry(entry)
        program, library = self._timed_version()
        rows, function = program.stamps[entry].rows, _RUN(library.addresses[program.runs[entry]])
        stamps = np.zeros((1 + len(rows), n, 2), np.int64)
        outputs = [np.zeros((n, *shape), dtype) for shape, dtype in described.outputs]
        addresses = _addresses(described, inputs)
        done = 0
        with self._profiling:
            while done < n:
                self._context["stamps"] = address(stamps)
                done = self._turn(function, addresses, outputs, first, done, n, int(POLL_SECONDS * 1e9))
        calls, nanoseconds = stamps[1:, :, 0], stamps[1:, :, 1]
        clock = np.median(stamps[0, :, 1]) if n else 0.0
        return LaunchTimes(tuple(rows), calls, np.maximum(nanoseconds - calls * clock, 0) * 1e-9)

    def _timed_version(self) -> "tuple[ProgramText, codegen.Library]":
        """Made when first asked for."""
        if self._timed is None:
            from graphc_llvm.program import program_text

            program = program_text(self._whole(), timed=True)
            objects = codegen.Begun(self._target).objects(program.modules)
            self._timed = program, codegen.link(objects, list(program.runs.values()))
        return self._timed


def _addresses(entry: _Entry, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The table of input addresses, once every input is what the entry takes."""
    if len(inputs) != len(entry.inputs):
        raise ArgumentError(f"{entry.name}: takes {len(entry.inputs)} inputs, not {len(inputs)}")
    for array, (slot, shape, dtype) in zip(inputs, entry.inputs):
        flags = array.flags
        if array.shape != shape or array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
            raise BackendError(_misfit(entry.name, array, slot))
    return np.array([address(array) for array in inputs] or [0], np.int64)


def _misfit(entry: str, array: np.ndarray, slot: Slot) -> str:
    return (
        f"{entry}: input {slot.name} must be a C-contiguous {slot.dtype} array of shape {slot.shape}, "
        f"not {array.dtype} {array.shape} with strides {array.strides}"
    )


def _after_fork() -> None:
    for executable in list(_alive):
        executable.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
