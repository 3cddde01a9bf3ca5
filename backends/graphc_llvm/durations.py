"""About how long the instructions of a plan take: what decides how often a program looks at signals, never a result."""

from collections.abc import Mapping

from graphc.plan.ir import Block, Branch, Copy, Launch, Repeat, While
from graphc_llvm.jobs import KernelFunction

# Of iterations, where the data decides it: there may be no end. A call that is short pays 0.1 us for that.
UNKNOWN_COUNT = 10_000_000
_COPIED_PER_NS = 10.0  # bytes


def nanoseconds(block: Block, functions: Mapping[int, KernelFunction]) -> float:
    """About how long a block takes on one thread."""
    total = 0.0
    for instruction in block.instructions:
        match instruction:
            case Launch():
                phases = functions[id(instruction)].compiled.phases
                total += sum(phase.ns * max(phase.extent, 1) for phase in phases)
            case Copy(source, _):
                total += source.nbytes / _COPIED_PER_NS
            case Repeat(count, body):
                total += count * nanoseconds(body, functions)
            case While(cond, _, body):
                total += most(instruction) * (nanoseconds(cond, functions) + nanoseconds(body, functions))
            case Branch(_, blocks):
                total += max(nanoseconds(inner, functions) for inner in blocks)
    return total


def most(loop: While) -> int:
    """The most iterations there may be."""
    return UNKNOWN_COUNT if loop.bound is None else loop.bound
