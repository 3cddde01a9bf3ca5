"""The generated code of each kernel as text for people: CUDA and PTX."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from graphc.kernel.ir import Kernel
from graphc.runtime.protocol import KernelText
from graphc.runtime.texts import as_compiled, as_emitted, split_listing
from graphc_cupy.phases import LibraryCall, Phase
from graphc_cupy.program import Program, ours


def texts(program: Program, assembly: Callable[[str], str]) -> Mapping[str, Sequence[KernelText]]:
    """Every kernel of a program at the stages "cuda" (as emitted) and "ptx"."""
    functions = split_listing(assembly(program.source), r".*\.entry (\w+)\(", r"}$", keeps_last=True)
    found = list(program.kernels.values())
    return {
        "cuda": [as_emitted(kernel, _cuda(kernel, phases)) for kernel, phases in found],
        "ptx": [as_compiled(kernel, (phase.name for phase in ours(phases)), functions) for kernel, phases in found],
    }


def _cuda(kernel: Kernel, phases: Sequence[Phase | LibraryCall]) -> Iterator[tuple[str, Mapping[int, str]]]:
    """Each phase under a line that says how it is launched, or who computes it."""
    for phase in phases:
        if isinstance(phase, LibraryCall):
            yield f"// {kernel.name}: {phase.text}", {}
            continue
        launched = f"{phase.blocks} x {phase.threads} threads, {phase.shared_bytes} bytes shared"
        notes = {line + 1: buffer for line, buffer in phase.notes.items()}
        yield f"// {kernel.name}: {launched}\n{phase.text}", notes
