"""The kernels of a plan."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from graphc.core.errors import BackendError
from graphc.kernel.ir import Kernel
from graphc.kernel.structure import Structures
from graphc.plan.ir import Block, Launch, Plan, walk_instructions

Emitted = TypeVar("Emitted")


def launches(block: Block) -> Iterator[Launch]:
    """Every launch of a block and the blocks inside it, in order."""
    return (each for each in walk_instructions(block) if isinstance(each, Launch))


def emit_each(plan: Plan, emit: Callable[[Kernel], Emitted]) -> Mapping[str, tuple[Kernel, Emitted]]:
    """By name, each kernel and what `emit` made of it: once for all that compute the same.

    Raises `BackendError` when two different kernels have one name.
    """
    structures = Structures()
    emitted: dict[int, Emitted] = {}  # by structure
    kernels: dict[str, tuple[Kernel, Emitted]] = {}
    for entry in plan.entries.values():
        for launch in launches(entry.block):
            number = structures.of(launch.kernel)
            if number not in emitted:
                emitted[number] = emit(launch.kernel)
            known = kernels.setdefault(launch.kernel.name, (launch.kernel, emitted[number]))
            if known[1] is not emitted[number]:
                raise BackendError(f"two different kernels are called {launch.kernel.name}")
    return kernels
