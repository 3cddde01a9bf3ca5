"""scatter_add: every row of the target is owned by one iteration, which adds its updates in index order.

A row is one element of all dims but the axis; rows run in parallel, the indices of one row in order. Rows are split
further over blocks of the axis when there are few of them: an iteration then looks at all indices and takes its own.
"""

from graphc.graph.ir import Graph, Node
from graphc.graph.ops.movement import AxisAttrs
from graphc.kernel.ir import Accumulate, Binary, Cast, Compare, Expr, If, Kernel, index
from graphc.kernel.lower.build import KernelBuilder
from graphc.kernel.lower.expr import Index, const
from graphc.core.dtypes import int64


def lower_scatter(original: Graph, name: str) -> Kernel:
    """The kernel of a body that is one scatter_add; its operands may be computed on the way in."""
    builder = KernelBuilder(original, original)
    emitter = builder.emitter
    node: Node = next(n for n in original.nodes if n.op.name == "scatter_add")
    assert isinstance(node.attrs, AxisAttrs)
    x, indices, updates = node.operands
    axis, rank = node.attrs.axis, indices.type.rank
    target = builder.outputs[0]
    outer = [d for d in range(x.type.rank) if d != axis]
    counters = [emitter.fresh("i") for _ in outer]
    emitter.open()
    emitter.floor = 1
    before, after = tuple(counters[:axis]), tuple(counters[axis:])

    row = emitter.fresh("a")
    emitter.open()
    builder.store(0, (*before, row, *after), emitter.pull(x, (*before, row, *after)))
    emitter.close_nest([(row, x.shape[axis], "serial")])
    emitter.stage += 1

    steps = [emitter.fresh("u") for _ in range(rank)]
    emitter.open()
    position = emitter.pull(indices, tuple(steps))
    emitter.open()
    at = emitter.let(position if position.dtype is int64 else Cast(position, int64), "at")
    update = emitter.pull(updates, (*before, *steps, *after))
    place: Index = (*before, at, *after)
    emitter.append(Accumulate(((target, place),), (update,), "add"))
    inside = emitter.close()
    emitter.append(If(_inside(position, x.shape[axis]), inside))
    emitter.close_nest([(s, e, "serial") for s, e in zip(steps, indices.shape, strict=True)])
    emitter.close_phase(counters, [x.shape[d] for d in outer])
    return builder.finish(name)


def _inside(position: Expr, extent: int) -> Expr:
    """`0 <= position < extent`, exact for every integer dtype."""
    dtype = position.dtype
    largest = (1 << (dtype.bits - (dtype.kind == "int"))) - 1
    upper = Compare("lt", position, const(extent, dtype)) if extent <= largest else Compare("eq", index(0), index(0))
    if dtype.kind == "uint":
        return upper
    return Binary("and", Compare("ge", position, const(0, dtype)), upper)


