"""A Plan becomes LLVM modules: one per distinct phase, and one for what calls them: a launcher per kernel, a driver per
entry.

A phase is named by what it computes, so that equal phases, of any kernel of any program, are compiled once and found in
the cache again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import field

from graphc.core.records import dataclass
from graphc.kernel.ir import Kernel
from graphc.plan.ir import Plan
from graphc.plan.kernels import emit_each, launches
from graphc_llvm.builder import Helper
from graphc_llvm.call_code import call_text
from graphc_llvm.codegen import Begun, Module
from graphc_llvm.driver import Stamps, bounded, entry_text, launch_text, run_text
from graphc_llvm.durations import nanoseconds
from graphc_llvm.jobs import KernelFunction
from graphc_llvm.kernels import PHASE_SIGNATURE, Compiled, Phase, compile_kernel


@dataclass(frozen=True, slots=True)
class ProgramText:
    """`runs` and `calls` map entry names to functions (see `driver`), `kernels` kernel names to theirs."""

    modules: tuple[Module, ...]
    runs: Mapping[str, str]
    calls: Mapping[str, str]
    kernels: Mapping[str, tuple[Kernel, KernelFunction]]
    stamps: Mapping[str, Stamps]  # by entry, of the timed version

    @property
    def text(self) -> str:
        """All modules, one after the other."""
        return "\n".join(module.text for module in self.modules)

    @property
    def scratch_bytes(self) -> int:
        """Heap scratch of one thread."""
        return max((function.compiled.scratch_bytes for _, function in self.kernels.values()), default=0)


@dataclass(slots=True)
class Ahead:
    """Kernels of a plan to come: their text is written, and goes through LLVM in the background."""

    begun: Begun
    _texts: dict[int, tuple[Kernel, Compiled]] = field(default_factory=dict)  # by identity of the body

    def add(self, kernel: Kernel) -> None:
        """Begin with a kernel. Raises `BackendError` when it cannot be emitted."""
        compiled = compile_kernel(kernel)
        self._texts[id(kernel.body)] = kernel, compiled  # the kernel keeps its body's identity from being used again
        for phase in compiled.phases:
            self.begun.add(phase_module(phase, phase_name(phase)))
            for helper in phase.helpers:
                self.begun.add(helper_module(helper))

    def compiled(self, kernel: Kernel) -> Compiled:
        """The text of a kernel, which may be new."""
        found = self._texts.get(id(kernel.body))
        if found is None or [p.buffer for p in found[0].params] != [p.buffer for p in kernel.params]:
            return compile_kernel(kernel)
        return found[1]


def program_text(plan: Plan, timed: bool = False, ahead: Ahead | None = None) -> ProgramText:
    """Emit everything a plan needs. Raises `BackendError` when two different kernels have one name.

    The timed version has the same kernels, and reads the clock around each instruction of an entry. `ahead`: the
    kernels whose text is known.
    """
    phases: dict[str, Module] = {}  # by name
    helpers: dict[str, Module] = {}
    parts: list[str] = []

    def emit(kernel: Kernel) -> KernelFunction:
        function = _emit(kernel, _text_of(kernel, ahead), len(parts), phases, parts)
        helpers.update({each.name: helper_module(each) for p in function.compiled.phases for each in p.helpers})
        return function

    kernels = emit_each(plan, emit)
    functions = {  # by identity of the launch
        id(launch): kernels[launch.kernel.name][1]
        for entry in plan.entries.values()
        for launch in launches(entry.block)
    }
    declarations = {PHASE_SIGNATURE.format(define="declare", name=name) for name in phases}
    runs: dict[str, str] = {}
    calls: dict[str, str] = {}
    stamps = {name: Stamps() for name in plan.entries} if timed else {}
    may_abandon = not plan.state_bytes
    loops = {id(loop): loop_number for loop_number, loop in enumerate(bounded(plan.entries.values()))}
    for number, entry in enumerate(plan.entries.values()):
        name = f"entry_{number}"
        runs[entry.name], calls[entry.name] = f"run_{number}", f"call_{number}"
        parts.append(entry_text(name, entry, functions, declarations, may_abandon, loops, stamps.get(entry.name)))
        parts.append(run_text(runs[entry.name], name))
        parts.append(call_text(calls[entry.name], name, entry, nanoseconds(entry.block, functions), may_abandon))
    driver = Module("\n\n".join(parts), tuple(sorted(declarations)), plain=True)
    return ProgramText((*helpers.values(), *phases.values(), driver), runs, calls, kernels, stamps)


def _emit(
    kernel: Kernel, compiled: Compiled, number: int, phases: dict[str, Module], parts: list[str]
) -> KernelFunction:
    """Add the phases that are new, and the launcher."""
    names = []
    for phase in compiled.phases:
        name = phase_name(phase)
        if name not in phases:
            phases[name] = phase_module(phase, name)
        names.append(name)
    function = KernelFunction(kernel, f"kernel_{number}", tuple(names), compiled)
    parts.append(launch_text(function))
    return function


def _text_of(kernel: Kernel, ahead: Ahead | None) -> Compiled:
    return compile_kernel(kernel) if ahead is None else ahead.compiled(kernel)


def phase_name(phase: Phase) -> str:
    """A name that only phases of the same text have."""
    return f"phase_{hashlib.sha256(phase.body.encode()).hexdigest()[:20]}"


def phase_module(phase: Phase, name: str) -> Module:
    """A module of one function."""
    return Module(PHASE_SIGNATURE.format(define="define", name=name) + phase.body, phase.declarations)


def helper_module(helper: Helper) -> Module:
    """A module of one function that phases of any kernel call."""
    return Module(helper.text, helper.declarations, shared=True)
