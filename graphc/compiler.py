"""The pipeline: from a program of traced graphs to something that runs. `compile_program` is all of it.

trace and differentiate happen before (they make the graphs); here: optimise, fuse, lower, schedule, plan, emit. Every
stage can be stopped at and printed: `Compilation.texts`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from graphc.core import config
from graphc.core.errors import ArgumentError, BackendError, MemoryBudgetError, UnsupportedError
from graphc.graph.ir import Graph
from graphc.graph.program import EntryGraph, GraphBackend, GraphProgram
from graphc.graph.verify import verify
from graphc.kernel.ir import Kernel
from graphc.kernel.lower import lower_graph
from graphc.kernel.program import KernelCall, LoopProgram
from graphc.kernel.verify import verify as verify_kernel
from graphc.passes.compare import check_same_numbers
from graphc.passes.partition import partition
from graphc.passes.pipeline import pipeline, run_passes
from graphc.plan.build import build
from graphc.plan.ir import Plan, Slot
from graphc.plan.verify import verify as verify_plan
from graphc.runtime.discovery import find_backend
from graphc.runtime.protocol import Backend, Executable, missing_members

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
class Compilation:
    """A loaded program with what every stage made of it."""

    program: GraphProgram
    options: Options
    backend: Backend | GraphBackend
    optimized: dict[str, Graph] = field(default_factory=dict)
    fused: dict[str, Graph] = field(default_factory=dict)
    loops: dict[str, LoopProgram] = field(default_factory=dict)
    plan: Plan | None = None
    executable: Executable | None = None
    timings: list[Timing] = field(default_factory=list)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings.append(Timing(stage, time.perf_counter() - start))


def compile_program(program: GraphProgram, options: Options) -> Compilation:
    """Optimise, fuse, lower, schedule, plan and load. Raises what `check_options` raises, or `MemoryBudgetError`."""
    result = Compilation(program, options, check_options(options))
    with result.timed("optimize"):
        for name, entry in program.entries.items():
            result.optimized[name] = optimize(entry.graph, result)
    if isinstance(result.backend, GraphBackend):
        with result.timed("load"):
            result.executable = _load_graphs(result.backend, result)
        return result
    with result.timed("fuse"):
        for name, graph in result.optimized.items():
            result.fused[name] = _checked(partition(graph), result)
    with result.timed("lower"):
        for name, graph in result.fused.items():
            result.loops[name] = _lower(name, graph, program.entries[name], len(program.state))
    with result.timed("schedule"):
        schedules = _Schedules(result.backend, bool(options.verify or config.get("GRAPHC_VERIFY")))
        for name, loops in result.loops.items():
            calls = tuple(KernelCall(schedules.of(call.kernel), call.args) for call in loops.calls)
            result.loops[name] = replace(loops, calls=calls)
    with result.timed("plan"):
        result.plan = _plan(result)
    check_memory(result.plan, 0, options.memory)  # before anything is allocated
    with result.timed("emit"):
        result.executable = _executable(
            result.backend, result.backend.load(result.plan, options.threads, options.device)
        )
    check_memory(result.plan, result.executable.scratch_bytes, options.memory)
    return result


def check_options(options: Options) -> Backend | GraphBackend:
    """The backend, once every option is known to make sense. Raises `ArgumentError`, `BackendError`,
    `UnsupportedError`.
    """
    if options.precision != "float32":
        raise UnsupportedError(
            f"precision={options.precision!r}: only 'float32' (dtypes exactly as written) is available"
        )
    if options.sanitize:
        raise UnsupportedError(
            "sanitize=True is not available in this version; use backend='reference' and NumPy checks"
        )
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
    backend = find_backend(options.backend or config.get("GRAPHC_BACKEND"))
    if not isinstance(backend, Backend | GraphBackend):
        lacks = ", ".join(missing_members(backend, Backend))
        raise BackendError(f"backend {options.backend!r} lacks {lacks} of graphc.runtime.protocol.Backend")
    if isinstance(backend, GraphBackend):
        _check_runs_graphs(backend, options)
    return backend


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


def optimize(graph: Graph, compilation: Compilation) -> Graph:
    """Run the pass pipeline, timing each pass and verifying after each when asked to."""

    def observe(name: str, before: Graph, after: Graph, seconds: float) -> None:
        compilation.timings.append(Timing(f"  {name}", seconds, f"{len(before.nodes)} -> {len(after.nodes)} nodes"))
        if after is before:
            return
        _checked(after, compilation)
        if "full" in (compilation.options.verify, config.get("GRAPHC_VERIFY")):
            check_same_numbers(name, before, after)

    return run_passes(graph, pipeline(stabilise=config.get("GRAPHC_STABILISE") != "0"), observe)


def _checked(graph: Graph, compilation: Compilation) -> Graph:
    if compilation.options.verify or config.get("GRAPHC_VERIFY"):
        verify(graph)
    return graph


def _load_graphs(backend: GraphBackend, compilation: Compilation) -> Executable:
    program = compilation.program
    entries = {
        name: EntryGraph(compilation.optimized[name], entry.num_inputs, entry.takes_step, entry.output_names)
        for name, entry in program.entries.items()
    }
    return _executable(backend, backend.load_graphs(GraphProgram(program.state, entries)))


def _executable(backend: Backend | GraphBackend, loaded: object) -> Executable:
    if not isinstance(loaded, Executable):
        lacks = ", ".join(missing_members(loaded, Executable))
        raise BackendError(f"what backend {backend.name!r} loaded lacks {lacks} of graphc.runtime.protocol.Executable")
    return loaded


def _lower(name: str, graph: Graph, entry: EntryGraph, state_inputs: int) -> LoopProgram:
    return lower_graph(
        graph, name=name, state_inputs=state_inputs, num_inputs=entry.num_inputs, takes_step=entry.takes_step
    )


@dataclass(slots=True)
class _Schedules:
    """Schedules kernels, each structure once, and gives different kernels of different entries different names."""

    backend: Backend
    check: bool
    known: dict[object, Kernel] = field(default_factory=dict)
    named: dict[str, object] = field(default_factory=dict)

    def of(self, kernel: Kernel) -> Kernel:
        structure = kernel.structure
        if structure not in self.known:
            self.known[structure] = self.backend.schedule(kernel)
            if self.check:
                verify_kernel(kernel)
                verify_kernel(self.known[structure])
        found = self.known[structure]
        sources = (param.source for param in kernel.params)
        params = tuple(replace(param, source=source) for param, source in zip(found.params, sources, strict=True))
        return replace(found, name=self._name(kernel.name, structure), params=params, sources=kernel.sources)

    def _name(self, name: str, structure: object) -> str:
        number = 1
        unused = name
        while self.named.setdefault(unused, structure) != structure:
            unused, number = f"{name}_{number}", number + 1
        return unused


def slots(program: GraphProgram, name: str) -> tuple[list[Slot], list[Slot]]:
    """Input and output slots of an entry, named for error messages."""
    entry = program.entries[name]
    graph = entry.graph
    state = len(program.state)
    inputs = [Slot(v.name, v.dtype, v.shape) for v in graph.inputs[state : state + entry.num_inputs]]
    names = entry.output_names or tuple(f"output{i}" for i in range(len(graph.outputs) - state))
    outputs = [Slot(n, v.dtype, v.shape) for n, v in zip(names, graph.outputs[state:], strict=True)]
    return inputs, outputs


def _plan(compilation: Compilation) -> Plan:
    program = compilation.program
    state = [Slot(name, type.dtype, type.shape) for name, type in program.state]
    borders = {name: slots(program, name) for name in program.entries}
    plan = build(
        list(compilation.loops.values()),
        state=state,
        inputs=[borders[loops.name][0] for loops in compilation.loops.values()],
        outputs=[borders[loops.name][1] for loops in compilation.loops.values()],
    )
    if compilation.options.verify or config.get("GRAPHC_VERIFY"):
        verify_plan(plan)
    return plan


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
