"""A Plan becomes one LLVM module: kernels deduplicated by structure, a launcher per kernel, a driver per entry."""

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.core.errors import BackendError
from graphc.kernel.ir import Kernel
from graphc.plan.ir import Plan
from graphc_llvm.driver import Stamps, all_launches, entry_text, launch_text
from graphc_llvm.kernels import PHASE_SIGNATURE, Compiled, compile_kernel

ATTRIBUTES = 'attributes #0 = { nounwind "min-legal-vector-width"="512" "prefer-vector-width"="512" }'


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """One distinct kernel of the module."""

    name: str  # of its launcher
    phases: tuple[str, ...]
    compiled: Compiled


@dataclass(frozen=True, slots=True)
class ModuleText:
    """`text` is the whole module; `entries` maps entry names to functions, `kernels` kernel names to theirs."""

    text: str
    entries: Mapping[str, str]
    kernels: Mapping[str, tuple[Kernel, KernelFunction]]
    stamps: Mapping[str, Stamps]  # by entry, of the timed version

    @property
    def scratch_bytes(self) -> int:
        """Heap scratch of one thread."""
        return max((function.compiled.scratch_bytes for _, function in self.kernels.values()), default=0)


def module_text(plan: Plan, timed: bool = False) -> ModuleText:
    """Emit everything a plan needs. Raises `BackendError` when two different kernels have one name.

    The timed version has the same kernels, and reads the clock around each instruction of an entry.
    """
    declarations: set[str] = set()
    known: dict[object, KernelFunction] = {}  # by structure
    kernels: dict[str, tuple[Kernel, KernelFunction]] = {}
    phases: dict[str, str] = {}  # body -> name: equal phases are emitted once
    parts: list[str] = []
    launchers: dict[int, str] = {}  # by identity: hashing a kernel takes as long as it is large
    for entry in plan.entries.values():
        for launch in all_launches(entry.block):
            structure = launch.kernel.structure
            if structure not in known:
                known[structure] = _emit(compile_kernel(launch.kernel, declarations), len(known), phases, parts)
            function = known[structure]
            if kernels.setdefault(launch.kernel.name, (launch.kernel, function))[1] is not function:
                raise BackendError(f"two different kernels are called {launch.kernel.name}")
            launchers[id(launch)] = function.name
    entries: dict[str, str] = {}
    stamps = {name: Stamps() for name in plan.entries} if timed else {}
    for number, entry in enumerate(plan.entries.values()):
        entries[entry.name] = f"entry_{number}"
        parts.append(entry_text(entries[entry.name], entry, launchers, declarations, stamps.get(entry.name)))
    text = "\n\n".join([*parts, "\n".join(sorted(declarations)), ATTRIBUTES, ""])
    return ModuleText(text, entries, kernels, stamps)


def _emit(compiled: Compiled, number: int, phases: dict[str, str], parts: list[str]) -> KernelFunction:
    names = []
    for phase in compiled.phases:
        if phase.body not in phases:
            phases[phase.body] = f"phase_{len(phases)}"
            parts.append(PHASE_SIGNATURE.format(name=phases[phase.body]) + phase.body)
        names.append(phases[phase.body])
    name = f"kernel_{number}"
    parts.append(launch_text(name, names, compiled))
    return KernelFunction(name, tuple(names), compiled)
