"""The pipeline: from a program of traced graphs to something that runs. `compile_stages` is all of it.

trace and differentiate happen before (they make the graphs); here: optimise, fuse, lower, schedule, plan, emit. Every
stage can be stopped at and printed: `Compilation.stages`. Programs from the cache come without all this
(`graphc.compilation`).
"""

from collections.abc import Sequence
from dataclasses import field, replace

from graphc.compilation import Compilation, Stages, Timing, check_memory, checked_executable
from graphc.core import config
from graphc.core.records import dataclass
from graphc.graph.ir import Graph
from graphc.graph.program import EntryGraph, GraphBackend, GraphProgram
from graphc.graph.verify import verify
from graphc.kernel.affine import loads
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Kernel, Prefetch, walk
from graphc.kernel.lower import lower_graph
from graphc.kernel.program import KernelCall, LoopProgram, Pack, Scheduled, Tensor
from graphc.kernel.structure import Structures
from graphc.kernel.verify import verify as verify_kernel
from graphc.passes.compare import check_same_numbers
from graphc.passes.partition import partition
from graphc.passes.pipeline import pipeline, run_passes
from graphc.plan.build import build
from graphc.plan.ir import Plan, Slot
from graphc.plan.packs import share_packs
from graphc.plan.verify import verify as verify_plan
from graphc.runtime.protocol import Backend, Executable, Loader
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
    if isinstance(result.backend, GraphBackend):
        return stages
    with result.timed("fuse"):
        for name, graph in stages.optimized.items():
            stages.fused[name] = _checked(partition(graph), result)
    with result.timed("lower"):
        for name, graph in stages.fused.items():
            stages.loops[name] = _lower(name, graph, program.entries[name], len(program.state))
    with result.timed("schedule"):
        schedules = _Schedules(result.backend, bool(result.options.verify or config.get("GRAPHC_VERIFY")), loader)
        for name, loops in stages.loops.items():
            stages.loops[name] = share_packs(*_scheduled(loops, schedules))
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


@dataclass(slots=True)
class _Schedules:
    """Schedules kernels, each structure once, and gives different kernels of different entries different names."""

    backend: Backend
    check: bool
    loader: Loader | None = None
    structures: Structures = field(default_factory=Structures)
    known: dict[int, Scheduled] = field(default_factory=dict)
    kept: dict[int, tuple[int, ...]] = field(default_factory=dict)  # parameters that scheduled kernels still have
    packs: dict[int, Kernel] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)
    names: dict[tuple[str, int], str] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)  # the last number behind each name

    def of(self, kernel: Kernel) -> tuple[Scheduled, tuple[int, ...]]:
        """The schedule, without parameters that only its packs read, and the places of those that it still has."""
        structure = self.structures.of(kernel)
        if structure not in self.known:
            self.known[structure] = self._new(structure, kernel)
        found = self.known[structure]
        sources = [param.source for param in kernel.params]
        packed = [" ".join(("packed", *(sources[place] for place in pack.reads))).rstrip() for pack in found.packs]
        kept = self.kept[structure]
        told = [*(sources[place] for place in kept), *packed]
        scheduled = Scheduled(
            _told(found.kernel, self._name(kernel.name, structure), told, kernel.sources),
            tuple(
                replace(
                    pack,
                    kernel=_told(
                        pack.kernel, pack.kernel.name, [*(sources[p] for p in pack.reads), label], kernel.sources
                    ),
                )
                for pack, label in zip(found.packs, packed, strict=True)
            ),
        )
        return scheduled, kept

    def _new(self, structure: int, kernel: Kernel) -> Scheduled:
        """The schedule of a structure that is new. Packs of equal structure are one kernel."""
        found = self.backend.schedule(kernel)
        if self.check:
            verify_kernel(kernel)
        packs: list[Pack] = []
        for pack in found.packs:
            packing = self.structures.of(pack.kernel)
            if packing not in self.packs:
                self.packs[packing] = replace(pack.kernel, name=self._name(pack.kernel.name, packing))
                self._add(self.packs[packing])
            packs.append(replace(pack, kernel=self.packs[packing]))
        reader, self.kept[structure] = _without_packed(found.kernel, len(kernel.params))
        self._add(reader)
        return Scheduled(reader, tuple(packs))

    def _add(self, kernel: Kernel) -> None:
        if self.check:
            verify_kernel(kernel)
        if self.loader is not None:
            self.loader.add(kernel)

    def _name(self, name: str, structure: int) -> str:
        if (name, structure) not in self.names:
            number = self.tried.get(name, 0)
            unused = f"{name}_{number}" if number else name
            while self.named.setdefault(unused, structure) != structure:
                number += 1
                unused = f"{name}_{number}"
            self.tried[name], self.names[name, structure] = number, unused
        return self.names[name, structure]


def _without_packed(kernel: Kernel, count: int) -> tuple[Kernel, tuple[int, ...]]:
    """The kernel without those of its first `count` parameters that its packs alone read, and the places of the others.

    An operand that is packed may then be overwritten by what is computed from it.
    """
    if len(kernel.params) == count:
        return kernel, tuple(range(count))
    statements = list(walk(kernel.body))
    used = {load.buffer.name for s in statements for e in expressions(s) for load in loads(e)}
    used |= {s.buffer.name for s in statements if isinstance(s, Prefetch)}
    names = [param.buffer.name for param in kernel.params]
    kept = tuple(n for n, param in enumerate(kernel.params[:count]) if param.mode != "in" or names[n] in used)
    there = {names[n] for n in kept}
    params = (*(kernel.params[n] for n in kept), *kernel.params[count:])
    params = tuple(replace(p, aliases_ok=tuple(a for a in p.aliases_ok if a in there)) for p in params)
    return replace(kernel, params=params), kept


def _told(kernel: Kernel, name: str, params: Sequence[str], sources: tuple[str, ...]) -> Kernel:
    """The kernel with what is for people."""
    told = tuple(replace(param, source=source) for param, source in zip(kernel.params, params, strict=True))
    return replace(kernel, name=name, params=told, sources=sources)


def _scheduled(loops: LoopProgram, schedules: _Schedules) -> tuple[LoopProgram, frozenset[int]]:
    """An entry of scheduled kernels, each called after its packs; and the tensors that those write."""
    tensors, calls = dict(loops.tensors), list[KernelCall]()
    before = max(tensors, default=-1)
    for call in loops.calls:
        found, kept = schedules.of(call.kernel)
        packed: list[int] = []
        for pack in found.packs:
            *_, param = pack.kernel.params
            number, buffer = before + len(tensors) - len(loops.tensors) + 1, param.buffer
            label = f"packed {buffer.dtype.short}[{','.join(map(str, buffer.shape))}]"
            tensors[number] = Tensor(number, buffer.nbytes, label=label, source=", ".join(pack.kernel.sources))
            calls.append(KernelCall(pack.kernel, (*(call.args[place] for place in pack.reads), number)))
            packed.append(number)
        calls.append(KernelCall(found.kernel, (*(call.args[place] for place in kept), *packed)))
    return replace(loops, tensors=tensors, calls=tuple(calls)), frozenset(tensors.keys() - loops.tensors.keys())


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
