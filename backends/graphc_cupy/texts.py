"""The generated code of each kernel as text for people: CUDA and PTX."""

import re
from collections.abc import Callable, Mapping, Sequence

from graphc.kernel.ir import Kernel
from graphc.runtime.protocol import KernelText
from graphc_cupy.phases import LibraryCall, Phase
from graphc_cupy.program import Program, ours


def texts(program: Program, assembly: Callable[[str], str]) -> Mapping[str, Sequence[KernelText]]:
    """Every kernel of a program at the stages "cuda" (as emitted) and "ptx"."""
    functions = split_ptx(assembly(program.source))
    return {
        "cuda": [_cuda(kernel, phases) for kernel, phases in program.kernels.values()],
        "ptx": [_ptx(kernel, phases, functions) for kernel, phases in program.kernels.values()],
    }


def _cuda(kernel: Kernel, phases: Sequence[Phase | LibraryCall]) -> KernelText:
    lines: list[str] = []
    carried: dict[int, str] = {}
    labels = {param.buffer.name: param.source for param in kernel.params}
    for phase in phases:
        if isinstance(phase, LibraryCall):
            lines.append(f"// {kernel.name}: {phase.text}")
            continue
        lines.append(f"// {kernel.name}: {phase.blocks} x {phase.threads} threads, {phase.shared_bytes} bytes shared")
        carried |= {len(lines) + line: labels[buffer] for line, buffer in phase.notes.items() if labels.get(buffer)}
        lines += phase.text.split("\n")
    return KernelText(kernel.name, "\n".join(lines), carried)


def _ptx(kernel: Kernel, phases: Sequence[Phase | LibraryCall], functions: Mapping[str, str]) -> KernelText:
    lines: list[str] = []
    carried: dict[int, str] = {}
    for name in dict.fromkeys(phase.name for phase in ours(phases)):
        carried[len(lines) + 1] = ", ".join(kernel.sources)
        lines += functions.get(name, "").split("\n")
    return KernelText(kernel.name, "\n".join(lines), carried)


def split_ptx(text: str) -> dict[str, str]:
    """The lines of each function, by name: from its `.entry` to the brace that closes it."""
    functions: dict[str, str] = {}
    name = ""
    lines: list[str] = []
    for line in text.split("\n"):
        entry = re.search(r"\.entry (\w+)\(", line)
        if entry:
            name, lines = entry[1], []
        if name:
            lines.append(line)
        if name and line == "}":
            functions[name] = "\n".join(lines)
            name = ""
    return functions
