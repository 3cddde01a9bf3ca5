"""Maps: every output element on its own. One perfect nest of parallel loops, loads and arithmetic, then the stores."""

from collections.abc import Sequence

from graphc.core.errors import UnsupportedError
from graphc.graph.ir import Graph
from graphc.kernel.ir import Kernel, Var, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Expr, Index
from graphc.kernel.lower.merge import merge_dims


def lower_map(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body without reductions and contractions.

    Raises `UnsupportedError` when its outputs differ in shape by more than dims of extent 1.
    """
    if len({_wide(v.shape) for v in original.outputs}) != 1:
        shapes = ", ".join(str(v.type) for v in original.outputs)
        raise UnsupportedError(f"{name}: {shapes} are not made by one loop nest ({original.nodes[-1].loc})")
    builder = KernelBuilder(merge_dims(original, together=True), original, memory)
    emitter = builder.emitter
    shape = builder.body.outputs[0].shape
    counters = [emitter.fresh("i") for _ in shape]
    emitter.open()
    emitter.floor = 1
    places = [_place(v.shape, shape, counters) for v in builder.body.outputs]
    values: list[Expr] = [emitter.pull(v, place) for v, place in zip(builder.body.outputs, places, strict=True)]
    for position, (place, value) in enumerate(zip(places, values, strict=True)):
        builder.store(position, place, value)
    emitter.close_phase(counters, shape)
    return builder.finish(name)


def _wide(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


def _place(shape: Sequence[int], loops: Sequence[int], counters: Sequence[Var]) -> Index:
    """The element of a tensor that the loops stand at: each dim has the loop of its own, so no two iterations meet."""
    if shape == loops:
        return tuple(counters)
    wide = iter([counter for counter, extent in zip(counters, loops, strict=True) if extent != 1])
    return tuple(index(0) if extent == 1 else next(wide) for extent in shape)
