"""A Plan becomes one LLVM module: kernels deduplicated by structure, a launcher per kernel, a driver per entry."""

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.kernel.ir import Kernel
from graphc.plan.ir import Launch, Plan
from graphc_llvm.driver import all_launches, entry_text, launch_text
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
    """`text` is the whole module; `entries` maps entry names to functions, `kernels` kernels to theirs."""

    text: str
    entries: Mapping[str, str]
    kernels: Mapping[Kernel, KernelFunction]

    @property
    def scratch_bytes(self) -> int:
        """Heap scratch of one thread."""
        return max((function.compiled.scratch_bytes for function in self.kernels.values()), default=0)


def module_text(plan: Plan) -> ModuleText:
    """Emit everything a plan needs."""
    declarations: set[str] = set()
    kernels: dict[Kernel, KernelFunction] = {}
    known: dict[Compiled, KernelFunction] = {}
    phases: dict[str, str] = {}  # body -> name: equal phases are emitted once
    parts: list[str] = []
    launches: dict[Launch, str] = {}
    for entry in plan.entries.values():
        for launch in all_launches(entry.block):
            kernel = launch.kernel
            if kernel not in kernels:
                compiled = compile_kernel(kernel, declarations)
                if compiled not in known:
                    known[compiled] = _emit(compiled, len(known), phases, parts)
                kernels[kernel] = known[compiled]
            launches[launch] = kernels[kernel].name
    entries: dict[str, str] = {}
    for number, entry in enumerate(plan.entries.values()):
        entries[entry.name] = f"entry_{number}"
        parts.append(entry_text(entries[entry.name], entry, launches, declarations))
    return ModuleText("\n\n".join([*parts, "\n".join(sorted(declarations)), ATTRIBUTES, ""]), entries, kernels)


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
