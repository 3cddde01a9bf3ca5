"""Packing as a kernel of its own.

In: panels that several chunks of a contraction read, and the kernel they are packed for. Out: a `Pack`. Its names
follow from what it computes alone, so that packing the same operand for two kernels is the same kernel.
"""

from dataclasses import replace

from graphc.kernel.ir import Kernel, Load, Param, walk
from graphc.kernel.program import Pack
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.rewrite import Substitution
from graphc.kernel.schedule.traverse import expressions
from graphc_llvm.contraction.packing import Packed


def as_pack(kernel: Kernel, packed: Packed) -> Pack:
    """The kernel that fills `packed`, which reads only parameters that `kernel` never writes."""
    places = {param.buffer.name: place for place, param in enumerate(kernel.params)}
    loads = (e.buffer.name for s in walk(packed.fill) for e in expressions(s) if isinstance(e, Load))
    reads = tuple(places[name] for name in dict.fromkeys(loads))
    outer = Substitution(_Plain())
    params: list[Param] = []
    for number, place in enumerate(reads):
        old = kernel.params[place].buffer
        params.append(Param(replace(old, name=f"x{number}"), "in"))
        outer = outer.holding(old.name, params[-1].buffer)
    target = replace(packed.buffer, name="packed")
    body = outer.holding(packed.buffer.name, target).block(packed.fill)
    return Pack(Kernel("pack", (*params, Param(target, "out")), body, 0, kernel.sources), reads)


class _Plain(Names):
    """Names that do not depend on the names before."""

    def fresh(self, like: str) -> str:
        """`i`, `i_2`, `i_3`, ..."""
        return super().fresh("i")
