"""The two protocols a backend implements. The core names no backend; they are found by entry point.

A backend package exposes `backend`, an object with the members of `Backend`. A backend that executes graphs directly
(the reference oracle) sets `consumes = "graph"` and is described by `graphc.graph.program.GraphBackend` instead.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from graphc.core.records import dataclass
from graphc.plan.ir import Copy, Launch, Plan
from graphc.runtime.device_arrays import DeviceArray

if TYPE_CHECKING:
    from graphc.kernel.ir import Kernel
    from graphc.kernel.program import Scheduled


@dataclass(frozen=True, slots=True)
class Target:
    """What schedules need to know about the machine."""

    name: str
    vector_bits: int
    cores: int
    cache_bytes: tuple[int, ...]  # per level, innermost first
    features: tuple[str, ...] = ()
    rows_per_core: int = 1  # independent rows of elements that a core works on at the same time


@dataclass(frozen=True, slots=True)
class KernelText:
    """Text of one kernel at one stage; `lines` maps 1-based line numbers to the value or source line they carry."""

    kernel: str
    text: str
    lines: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of a native run that is under way."""

    first: int
    done: int  # steps finished since `first`


@runtime_checkable
class Executable(Protocol):
    """A loaded program. Arrays are C-contiguous NumPy arrays of exactly the slot's shape and dtype."""

    @property
    def scratch_bytes(self) -> int:
        """Bytes kept besides the plan's segments: packing buffers of all threads, copies of inputs on a device."""
        ...

    def call(self, entry: str, inputs: Sequence[np.ndarray], step: int = 0) -> list[np.ndarray]:
        """Run one entry once; state entries advance the state. Returns fresh output arrays."""
        ...

    def run(
        self,
        entry: str,
        inputs: Sequence[np.ndarray],
        first: int,
        n: int,
        poll: Callable[[Progress, Sequence[np.ndarray]], bool] | None = None,
    ) -> tuple[int, list[np.ndarray]]:
        """Run steps first .. first+n-1 without entering Python.

        Returns the number of steps done and the outputs stacked along a new leading axis of length n, zero for steps
        not done. `poll` is called from the calling thread about ten times a second with the progress and the output
        arrays so far; it may call entries of this executable, and returning True asks the run to stop after the
        current step. KeyboardInterrupt stops it likewise and is re-raised once the step is finished, with the state
        whole.
        """
        ...

    def state(self) -> list[np.ndarray]:
        """Views of the state slots, in order: writing to them changes the state that the next step sees, and while they
        are held they show what steps did to it. Of the state itself where the host can see it.
        """
        ...

    def texts(self) -> Mapping[str, Sequence[KernelText]]:
        """Stages this backend adds (for example "llvm", "asm")."""
        ...


@dataclass(frozen=True, slots=True)
class LaunchTimes:
    """What an instrumented run measured, step by step.

    `rows`: instructions of the entry in order, those that run as one together. `calls`, `seconds`: how often each row
    ran in each step and how long in all, [rows, steps], without what reading the clock takes.
    """

    rows: tuple[tuple[Launch | Copy, ...], ...]
    calls: np.ndarray
    seconds: np.ndarray


class Direct(Protocol):
    """An entry as a function of a step and arrays, for calls that should cost little.

    Returns the outputs, or None when nothing ran because an argument is not exactly what the entry takes: then
    `Executable.call` says why, or converts.
    """

    def __call__(self, step: int, /, *inputs: object) -> list[np.ndarray] | None: ...


@runtime_checkable
class DirectCalls(Protocol):
    """What an `Executable` has besides when it takes arguments of any type and looks at them itself."""

    def direct(self, entry: str) -> Direct:
        """The function of an entry."""
        ...


@runtime_checkable
class ResidentCalls(Protocol):
    """What an `Executable` has besides when it takes arrays in the memory of its GPU where they lie."""

    def view(self, array: object, name: str) -> DeviceArray:
        """Where an array on a GPU lies, ordered behind what its owner has under way.

        Raises `ArgumentError` naming the argument when that is not the memory of this program's GPU.
        """
        ...

    def call_resident(self, entry: str, inputs: Sequence[np.ndarray | DeviceArray], step: int = 0) -> list[object]:
        """Queue one entry once, behind the caller's work and before what the caller does next.

        Returns fresh arrays on the GPU, and does not wait for them.
        """
        ...

    def run(
        self,
        entry: str,
        inputs: Sequence[np.ndarray | DeviceArray],
        first: int,
        n: int,
        poll: Callable[[Progress, Sequence[np.ndarray]], bool] | None = None,
    ) -> tuple[int, list[np.ndarray]]:
        """What `Executable.run` does; inputs on the GPU are read once, when the run begins."""
        ...


@runtime_checkable
class Profiler(Protocol):
    """What an `Executable` has besides when its backend can time the kernels of a running program."""

    @property
    def threads(self) -> int | None:
        """How many threads share the work; None where that cannot be chosen."""
        ...

    def profile(self, entry: str, inputs: Sequence[np.ndarray], first: int, n: int) -> LaunchTimes:
        """Run steps first .. first+n-1 as `run` does, with a look at the clock around each kernel."""
        ...


@runtime_checkable
class Backend(Protocol):
    """A place where plans run."""

    name: str
    consumes: Literal["plan"]

    def target(self, device: int | None = None) -> Target:
        """The machine found at run time. Raises `BackendError` when it has no such device, or lacks what it takes."""
        ...

    def schedule(self, kernel: "Kernel") -> "Scheduled":
        """The same meaning, arranged for the target: tiled, vectorised, made parallel.

        The parameters stay, and buffers that are packed beforehand come after them (`graphc.kernel.program.Pack`).
        Packs of equal structure that read the same tensors may be called once for several kernels. The schedule follows
        from `kernel.structure`: the compiler asks once for each structure.
        """
        ...

    def load(self, plan: Plan, threads: int | None = None, device: int | None = None) -> Executable:
        """Generate code and allocate memory. Raises `BackendError` when this machine cannot run it."""
        ...

    def doctor(self) -> Sequence[tuple[str, bool | None, str]]:
        """Checks for `graphc doctor`: (what, ok, detail). None in place of ok: missing, and most works without."""
        ...


@runtime_checkable
class PreciseBackend(Protocol):
    """What a `Backend` has besides when its users may give up exact bits for speed, by `precision=`."""

    def with_precision(self, precision: str) -> Backend:
        """This backend, computing so. Raises `UnsupportedError` naming those it has. "float32" is not asked for."""
        ...


class Loader(Protocol):
    """A program that is compiled while its kernels are still being scheduled."""

    def add(self, kernel: "Kernel") -> None:
        """A scheduled kernel, or pack, of the plan to come. Kernels of the plan share its body; names may differ."""
        ...

    def load(self, plan: "Plan", threads: int | None = None, device: int | None = None) -> Executable:
        """What `Backend.load` does."""
        ...


@runtime_checkable
class EagerBackend(Protocol):
    """What a `Backend` has besides when it can generate code for kernels before the plan is known."""

    def begin(self) -> Loader:
        """Begin with a program."""
        ...


@runtime_checkable
class CachingBackend(Protocol):
    """What a `Backend` has besides when its compiled programs may be kept on disk."""

    def fingerprint(self, threads: int | None = None, device: int | None = None) -> str | None:
        """All that compiled code depends on besides the program: the backend's own source, versions, the machine.

        None when that cannot be known; then nothing is kept.
        """
        ...

    def save(self, executable: Executable) -> bytes:
        """What `restore` needs. Nothing that has to be unpickled."""
        ...

    def restore(
        self,
        saved: bytes,
        layout: Plan,
        plan: Callable[[], Plan],
        threads: int | None = None,
        device: int | None = None,
    ) -> Executable:
        """The executable of a plan that was saved earlier, perhaps by another process of the same fingerprint.

        `layout` is the plan without instructions and lifetimes; `plan()` is all of it, which takes as long as compiling
        up to here: only for texts and measurements.
        """
        ...


def missing_members(thing: object, protocol: type) -> list[str]:
    """Names of a protocol that an object lacks; empty when it implements all of it.

    >>> missing_members(object(), Executable)
    ['call', 'run', 'scratch_bytes', 'state', 'texts']
    """
    names = {*vars(protocol), *protocol.__annotations__}
    return sorted(name for name in names if not name.startswith("_") and not hasattr(thing, name))
