"""Code of kernels as text for people, as backends show it (`Executable.texts`).

In: what a backend emitted for each phase, or the listing that a compiler made of all functions. Out: `KernelText`s,
whose lines name the values that they store, or the lines of the user's program.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from graphc.runtime.protocol import KernelText

if TYPE_CHECKING:  # a program from the cache has no kernels
    from graphc.kernel.ir import Kernel


def as_emitted(kernel: "Kernel", phases: Iterable[tuple[str, Mapping[int, str]]]) -> KernelText:
    """The text of each phase, with the buffers that its lines (counted from 1) store to."""
    lines: list[str] = []
    carried: dict[int, str] = {}
    labels = {param.buffer.name: param.source for param in kernel.params}
    for text, notes in phases:
        carried |= {len(lines) + line: labels[buffer] for line, buffer in notes.items() if labels.get(buffer)}
        lines += text.split("\n")
    return KernelText(kernel.name, "\n".join(lines), carried)


def as_compiled(kernel: "Kernel", names: Iterable[str], functions: Mapping[str, str]) -> KernelText:
    """The functions of these names, each once; what a compiler left out is left out."""
    lines: list[str] = []
    carried: dict[int, str] = {}
    for name in dict.fromkeys(names):
        carried[len(lines) + 1] = ", ".join(kernel.sources)
        lines += functions.get(name, "").split("\n")
    return KernelText(kernel.name, "\n".join(lines), carried)


def split_listing(listing: str, first: str, last: str, keeps_last: bool) -> dict[str, str]:
    """The lines of each function, by name.

    first, last: patterns of the beginning of the lines between which a function stands; `first` has one group, its
    name. keeps_last: whether the last line belongs to it.
    """
    functions: dict[str, str] = {}
    name = ""
    lines: list[str] = []
    for line in listing.split("\n"):
        begun = re.match(first, line)
        if begun:
            name, lines = begun[1], []
        if name and re.match(last, line):
            functions[name] = "\n".join([*lines, line] if keeps_last else lines)
            name = ""
        if name:
            lines.append(line)
    return functions
