"""The generated code of each kernel as text for people: LLVM and assembly."""

import re
from collections.abc import Mapping, Sequence

from graphc.kernel.ir import Kernel
from graphc.runtime.protocol import KernelText
from graphc_llvm import codegen
from graphc_llvm.host import Host
from graphc_llvm.jobs import KernelFunction
from graphc_llvm.kernels import PHASE_SIGNATURE
from graphc_llvm.program import ProgramText


def texts(program: ProgramText, target: Host) -> Mapping[str, Sequence[KernelText]]:
    """Every kernel of a program at the stages "llvm" (as emitted) and "asm"."""
    functions: dict[str, str] = {}
    for module in program.modules:
        functions |= split_assembly(codegen.assembly(module, target))
    return {
        "llvm": [_llvm(kernel, function) for kernel, function in program.kernels.values()],
        "asm": [_assembly(kernel, function, functions) for kernel, function in program.kernels.values()],
    }


def _llvm(kernel: Kernel, function: KernelFunction) -> KernelText:
    lines: list[str] = []
    carried: dict[int, str] = {}
    labels = {param.buffer.name: param.source for param in kernel.params}
    for name, phase in zip(function.phases, function.compiled.phases, strict=True):
        carried |= {len(lines) + line: labels[buffer] for line, buffer in phase.notes.items() if labels.get(buffer)}
        lines += (PHASE_SIGNATURE.format(define="define", name=name) + phase.body).split("\n")
    return KernelText(kernel.name, "\n".join(lines), carried)


def _assembly(kernel: Kernel, function: KernelFunction, functions: Mapping[str, str]) -> KernelText:
    lines: list[str] = []
    carried: dict[int, str] = {}
    for name in dict.fromkeys(function.phases):
        carried[len(lines) + 1] = ", ".join(kernel.sources)
        lines += functions.get(name, "").split("\n")
    return KernelText(kernel.name, "\n".join(lines), carried)


def split_assembly(text: str) -> dict[str, str]:
    """The lines of each function, by name; LLVM starts one at its label and ends it with `.Lfunc_endN:`."""
    functions: dict[str, str] = {}
    name = ""
    lines: list[str] = []
    for line in text.split("\n"):
        label = re.match(r"_?(phase_\w+):", line)
        if label:
            name, lines = label[1], []
        if name:
            lines.append(line)
        if name and re.match(r"\.?Lfunc_end\d+:", line):
            functions[name] = "\n".join(lines[:-1])
            name = ""
    return functions
