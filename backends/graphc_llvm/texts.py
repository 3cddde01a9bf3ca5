"""The generated code of each kernel as text for people: LLVM and assembly."""

from collections.abc import Iterator, Mapping, Sequence

from graphc.runtime.protocol import KernelText
from graphc.runtime.texts import as_compiled, as_emitted, split_listing
from graphc_llvm import codegen
from graphc_llvm.host import Host
from graphc_llvm.jobs import KernelFunction
from graphc_llvm.kernels import PHASE_SIGNATURE
from graphc_llvm.program import ProgramText


def texts(program: ProgramText, target: Host) -> Mapping[str, Sequence[KernelText]]:
    """Every kernel of a program at the stages "llvm" (as emitted) and "asm"."""
    functions: dict[str, str] = {}
    for module in program.modules:
        # LLVM starts a function at its label and ends it with `.Lfunc_endN:`.
        listing = codegen.assembly(module, target)
        functions |= split_listing(listing, r"_?(phase_\w+):", r"\.?Lfunc_end\d+:", keeps_last=False)
    found = list(program.kernels.values())
    return {
        "llvm": [as_emitted(kernel, _llvm(function)) for kernel, function in found],
        "asm": [as_compiled(kernel, function.phases, functions) for kernel, function in found],
    }


def _llvm(function: KernelFunction) -> Iterator[tuple[str, Mapping[int, str]]]:
    for name, phase in zip(function.phases, function.compiled.phases, strict=True):
        yield PHASE_SIGNATURE.format(define="define", name=name) + phase.body, phase.notes
