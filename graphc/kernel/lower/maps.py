"""Maps: every output element on its own. One perfect nest of parallel loops, loads and arithmetic, then the stores."""

from graphc.graph.ir import Graph
from graphc.kernel.ir import Kernel
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Expr, Index, delinear, linear
from graphc.kernel.lower.merge import merge_dims


def lower_map(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body without reductions and contractions, whose outputs have equally many elements."""
    together = len({v.shape for v in original.outputs}) == 1
    builder = KernelBuilder(merge_dims(original, together), original, memory)
    emitter = builder.emitter
    shape = builder.body.outputs[0].shape
    counters = [emitter.fresh("i") for _ in shape]
    emitter.open()
    emitter.floor = 1
    idx: Index = tuple(counters)
    places = [idx if v.shape == shape else delinear(linear(idx, shape), v.shape) for v in builder.body.outputs]
    values: list[Expr] = [emitter.pull(v, place) for v, place in zip(builder.body.outputs, places, strict=True)]
    for position, (place, value) in enumerate(zip(places, values, strict=True)):
        builder.store(position, place, value)
    emitter.close_phase(counters, shape)
    return builder.finish(name)
