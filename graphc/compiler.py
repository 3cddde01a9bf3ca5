"""The pipeline: from a program of traced graphs to something that runs. `compile_stages` is all of it.

trace and differentiate happen before (they make the graphs); here: optimise, fuse, lower, schedule, plan, emit. Every
stage can be stopped at and printed: `Compilation.stages`. Programs from the cache come without all this
(`graphc.compilation`).
"""

from graphc.compilation import Compilation, Stages, Timing, check_memory, checked_executable
from graphc.core import config
from graphc.graph.ir import Graph
from graphc.graph.program import EntryGraph, GraphBackend, GraphProgram
from graphc.graph.verify import verify
from graphc.kernel.lower import lower_graph
from graphc.kernel.program import LoopProgram
from graphc.passes.compare import check_same_numbers
from graphc.passes.partition import partition
from graphc.passes.pipeline import pipeline, run_passes
from graphc.passes.sanitize import with_checks
from graphc.plan.build import build
from graphc.plan.ir import Plan, Slot
from graphc.plan.verify import verify as verify_plan
from graphc.runtime.protocol import Executable, Loader
from graphc.scheduling import Schedules
from graphc.stored import slots


def compile_stages(result: Compilation, loader: Loader | None = None) -> None:
    """Optimise, fuse, lower, schedule, plan and load, by the loader that the backend began with if it is an
    `EagerBackend`. Raises `MemoryBudgetError`.
    """
    stages = result.use(run_stages(result, loader))
    if isinstance(result.backend, GraphBackend):
        with result.timed("load"):
            result.executable = _load_graphs(result.backend, result)
        return
    assert stages.plan is not None
    options = result.options
    check_memory(stages.plan, 0, options.memory)  # before anything is allocated
    with result.timed("emit"):
        load = result.backend.load if loader is None else loader.load
        result.executable = checked_executable(result.backend, load(stages.plan, options.threads, options.device))
    check_memory(stages.plan, result.executable.scratch_bytes, options.memory)


def run_stages(result: Compilation, loader: Loader | None = None) -> Stages:
    """Everything up to the plan; up to the optimised graphs for a backend that runs graphs.

    `loader` gets every kernel as soon as it is scheduled.
    """
    program, stages = result.program, Stages()
    with result.timed("optimize"):
        for name, entry in program.entries.items():
            stages.optimized[name] = optimize(entry.graph, result)
    if result.options.sanitize:
        with result.timed("sanitize"):
            _check_all(result, stages)
    if isinstance(result.backend, GraphBackend):
        return stages
    with result.timed("fuse"):
        for name, graph in stages.optimized.items():
            stages.fused[name] = _checked(partition(graph), result)
    with result.timed("lower"):
        for name, graph in stages.fused.items():
            stages.loops[name] = _lower(name, graph, program.entries[name], len(program.state))
    with result.timed("schedule"):
        schedules = Schedules(result.backend, bool(result.options.verify or config.get("GRAPHC_VERIFY")), loader)
        for name, loops in stages.loops.items():
            stages.loops[name] = schedules.entry(loops)
    with result.timed("plan"):
        stages.plan = _plan(result, stages)
    return stages


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


def _check_all(result: Compilation, stages: Stages) -> None:
    """Put the checks of `sanitize=True` into every entry."""
    for name, graph in stages.optimized.items():
        checked = stages.checks[name] = with_checks(graph, len(result.program.state))
        stages.optimized[name] = _checked(checked.graph, result)


def _load_graphs(backend: GraphBackend, compilation: Compilation) -> Executable:
    program = compilation.program
    entries = {
        name: EntryGraph(compilation.optimized[name], entry.num_inputs, entry.takes_step, entry.output_names)
        for name, entry in program.entries.items()
    }
    return checked_executable(backend, backend.load_graphs(GraphProgram(program.state, entries)))


def _lower(name: str, graph: Graph, entry: EntryGraph, state_inputs: int) -> LoopProgram:
    return lower_graph(
        graph, name=name, state_inputs=state_inputs, num_inputs=entry.num_inputs, takes_step=entry.takes_step
    )


def _plan(compilation: Compilation, stages: Stages) -> Plan:
    program = compilation.program
    state = [Slot(name, type.dtype, type.shape) for name, type in program.state]
    borders = {name: slots(program, name) for name in program.entries}
    plan = build(
        list(stages.loops.values()),
        state=state,
        inputs=[borders[loops.name][0] for loops in stages.loops.values()],
        outputs=[borders[loops.name][1] for loops in stages.loops.values()],
    )
    if compilation.options.verify or config.get("GRAPHC_VERIFY"):
        verify_plan(plan)
    return plan
