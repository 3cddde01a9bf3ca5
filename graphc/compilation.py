"""`compile_program`: from a program of traced graphs to something that runs.

A program that was compiled before, by this process or another, is loaded from the cache (`graphc.stored`); otherwise
`graphc.compiler` compiles it, which is imported then. Either way a `Compilation` is what people look into: for a
program from the cache the stages are run when somebody asks for one of them.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Literal

from graphc.core import config
from graphc.core.collector import paused
from graphc.core.errors import ArgumentError, BackendError, MemoryBudgetError, UnsupportedError, VerifyError
from graphc.core.records import dataclass
from graphc.graph.ir import Graph
from graphc.graph.program import GraphBackend, GraphProgram
from graphc.plan.ir import Plan
from graphc.runtime.discovery import find_backend
from graphc.runtime.protocol import Backend, EagerBackend, Executable, PreciseBackend, missing_members
from graphc.stored import Store, describe, store_of

if TYPE_CHECKING:
    from graphc.kernel.program import LoopProgram
    from graphc.passes.sanitize import Checked

VERIFY = ("", "passes", "full")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything a caller can choose about a compilation; checked by `check_options`."""

    backend: str = ""
    device: int | None = None
    memory: int | None = None  # bytes
    precision: str = "float32"
    threads: int | None = None
    sanitize: bool = False
    verify: Literal["", "passes", "full"] = ""
    tune: bool = False


@dataclass(slots=True)
class Timing:
    """Seconds of one stage or pass of one compilation."""

    stage: str
    seconds: float
    detail: str = ""


@dataclass(slots=True)
class Stages:
    """What each stage made of every entry."""

    optimized: dict[str, Graph] = field(default_factory=dict)
    fused: dict[str, Graph] = field(default_factory=dict)
    loops: "dict[str, LoopProgram]" = field(default_factory=dict)
    checks: "dict[str, Checked]" = field(default_factory=dict)  # of sanitized programs: `optimized` and what it checks
    plan: Plan | None = None


@dataclass(slots=True)
class Compilation:
    """A loaded program with what every stage made of it. `cached` describes the plan of one from the cache."""

    program: GraphProgram
    options: Options
    backend: Backend | GraphBackend
    flags: Mapping[str, str] = field(default_factory=config.snapshot)
    executable: Executable | None = None
    timings: list[Timing] = field(default_factory=list)
    cached: Mapping[str, object] | None = None
    _stages: Stages | None = None

    @contextmanager
    def timed(self, stage: str, detail: str = "") -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings.append(Timing(stage, time.perf_counter() - start, detail))

    @property
    def stages(self) -> Stages:
        """All stages up to the plan. Of a program from the cache they are run when they are first asked for."""
        if self._stages is None:
            self._stages = self._run_stages()
        return self._stages

    @property
    def optimized(self) -> dict[str, Graph]:
        """Entries after the passes."""
        return self.stages.optimized

    @property
    def fused(self) -> dict[str, Graph]:
        """Entries with a `fusion` node per kernel."""
        return self.stages.fused

    @property
    def loops(self) -> "dict[str, LoopProgram]":
        """Entries as scheduled kernels over tensors; empty on a backend that runs graphs."""
        return self.stages.loops

    @property
    def plan(self) -> Plan | None:
        """None on a backend that runs graphs."""
        return self.stages.plan

    def use(self, stages: Stages) -> Stages:
        """Take what `graphc.compiler` made."""
        self._stages = stages
        return stages

    def whole_plan(self) -> Plan:
        """The plan of a backend that has one."""
        assert self.plan is not None
        return self.plan

    def _run_stages(self) -> Stages:
        """The stages with the flags of the compilation. Raises `VerifyError` when they do not make the cached plan."""
        from graphc.compiler import run_stages

        again = Compilation(self.program, self.options, self.backend, self.flags)
        with config.using(self.flags):
            stages = run_stages(again)
        if self.cached is not None and stages.plan is not None and describe(stages.plan) != self.cached:
            raise VerifyError(
                "this program was found in the cache, and compiling it again makes another plan; "
                f"remove {config.cache_folder()} or set GRAPHC_CACHE=off"
            )
        return stages


def compile_program(program: GraphProgram, options: Options) -> Compilation:
    """Find the program in the cache, or compile it and keep it there.

    Raises what `check_options` raises, or `MemoryBudgetError`.
    """
    with paused():
        return _compile_program(program, options)


def _compile_program(program: GraphProgram, options: Options) -> Compilation:
    backend = check_options(options)
    if not options.sanitize:
        return _compiled(Compilation(program, options, backend))
    from graphc.sanitized import extended, sanitized  # not needed by other programs

    result = _compiled(Compilation(extended(program), options, backend))
    assert result.executable is not None
    result.executable = sanitized(result.executable, result.program, lambda: result.stages.checks)
    return result


def _compiled(result: Compilation) -> Compilation:
    """Found in the cache, or compiled and kept there."""
    program, options = result.program, result.options
    start = time.perf_counter()
    store = None if _verifies(result) else store_of(result.backend, program, _choices(options), result.flags)
    if store is not None and _found(result, store, start):
        return result
    if store is not None:
        result.timings.append(Timing("cache: miss", time.perf_counter() - start))
    loader = result.backend.begin() if isinstance(result.backend, EagerBackend) else None  # what takes long comes first
    from graphc.compiler import compile_stages  # not needed by programs from the cache

    compile_stages(result, loader)
    if store is not None and result.executable is not None:
        with result.timed("cache: keep"):
            store.keep(result.whole_plan(), result.executable)
    return result


def _verifies(compilation: Compilation) -> bool:
    """Whether passes are to be checked while they run: then they have to run."""
    return bool(compilation.options.verify or config.get("GRAPHC_VERIFY"))


def _choices(options: Options) -> dict[str, object]:
    """The options that may change what is compiled; `memory` is a limit on the result."""
    return {name: value for name, value in asdict(options).items() if name not in ("memory", "verify")}


def _found(compilation: Compilation, store: Store, start: float) -> bool:
    """Load the program from the cache, if it is there."""
    options = compilation.options
    found = store.load(
        lambda layout, scratch: check_memory(layout, scratch, options.memory),
        compilation.whole_plan,
        options.threads,
        options.device,
    )
    if found is None:
        return False
    compilation.executable = checked_executable(compilation.backend, found.executable)
    compilation.cached = found.description
    compilation.timings.append(Timing("cache: hit", time.perf_counter() - start, store.key[:12]))
    return True


def check_options(options: Options) -> Backend | GraphBackend:
    """The backend, once every option is known to make sense. Raises `ArgumentError`, `BackendError`,
    `UnsupportedError`.
    """
    if not isinstance(options.sanitize, bool):
        raise ArgumentError(f"sanitize={options.sanitize!r}: use True or False")
    if options.tune:
        raise UnsupportedError("tune=True is not available in this version: schedules come from the cost model alone")
    if options.verify not in VERIFY:
        raise ArgumentError(f"verify={options.verify!r}: use None, 'passes' or 'full'")
    if config.get("GRAPHC_VERIFY") not in VERIFY:
        raise ArgumentError(
            f"environment variable GRAPHC_VERIFY is {config.get('GRAPHC_VERIFY')!r}: use passes or full"
        )
    is_number = isinstance(options.threads, int) and not isinstance(options.threads, bool)
    if options.threads is not None and not (is_number and 1 <= options.threads <= 1024):
        raise ArgumentError(f"threads={options.threads!r}: use None or a number from 1 to 1024")
    is_number = isinstance(options.device, int) and not isinstance(options.device, bool)
    if options.device is not None and not (is_number and options.device >= 0):
        raise ArgumentError(
            f"device={options.device!r}: use None or the number of a device, as gc.devices() lists them"
        )
    backend = find_backend(options.backend or config.get("GRAPHC_BACKEND"))
    if not isinstance(backend, Backend | GraphBackend):
        lacks = ", ".join(missing_members(backend, Backend))
        raise BackendError(f"backend {options.backend!r} lacks {lacks} of graphc.runtime.protocol.Backend")
    if options.precision != "float32":
        backend = _with_precision(backend, options.precision)
    if isinstance(backend, GraphBackend):
        _check_runs_graphs(backend, options)
    return backend


def _with_precision(backend: Backend | GraphBackend, precision: str) -> Backend:
    """A backend that gives up exact bits for speed, where it has a way to."""
    if not isinstance(backend, PreciseBackend):
        raise UnsupportedError(
            f"precision={precision!r}: the {backend.name} backend has only 'float32', dtypes exactly as written"
        )
    return backend.with_precision(precision)


def _check_runs_graphs(backend: GraphBackend, options: Options) -> None:
    """A backend that interprets graphs has one thread, one device and plans no memory."""
    if options.threads not in (None, 1):
        raise UnsupportedError(f"threads={options.threads}: the {backend.name} backend runs on one thread")
    if options.device not in (None, 0):
        raise UnsupportedError(f"device={options.device}: the {backend.name} backend has one device, number 0")
    if options.memory is not None:
        raise UnsupportedError(
            f"memory={options.memory}: the {backend.name} backend plans no memory; use backend='cpu'"
        )


def checked_executable(backend: Backend | GraphBackend, loaded: object) -> Executable:
    """What a backend loaded, if it has all members of `Executable`; else raises `BackendError`."""
    if not isinstance(loaded, Executable):
        lacks = ", ".join(missing_members(loaded, Executable))
        raise BackendError(f"what backend {backend.name!r} loaded lacks {lacks} of graphc.runtime.protocol.Executable")
    return loaded


def check_memory(plan: Plan, scratch: int, limit: int | None) -> None:
    """Raise `MemoryBudgetError` when state, constants, arena and scratch together exceed `limit` bytes."""
    needed = plan.arena_bytes + plan.state_bytes + plan.constant_bytes + scratch
    if limit is None or needed <= limit:
        return
    raise MemoryBudgetError(
        f"the plan needs {needed:,} bytes (arena {plan.arena_bytes:,}, state {plan.state_bytes:,}, "
        f"constants {plan.constant_bytes:,}, scratch {scratch:,}) and memory={limit:,} bytes allows less; "
        "use a smaller batch or allow more"
    )
