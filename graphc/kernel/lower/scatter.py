"""The scatters: every row of the target is owned by one iteration, which makes its updates in index order.

A row is one element of all dims but the axis; rows run in parallel, the indices of one row in order. A row of a half
type that is combined is kept in float32, and rounded when all updates are in.
"""

from collections.abc import Callable

from graphc.graph.ir import Graph, Node
from graphc.graph.ops.indexing import SCATTER_NAMES, GatherAttrs
from graphc.kernel.ir import Accumulate, Binary, Buffer, Combine, Compare, Expr, If, Kernel, Load, Store, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Index, computing, const, convert
from graphc.kernel.lower.movement import nearest

_COMBINE: dict[str, Combine | None] = {  # None: the last update stays
    "scatter": None,
    "scatter_add": "add",
    "scatter_mul": "mul",
    "scatter_min": "min",
    "scatter_max": "max",
}


def lower_scatter(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one scatter; its operands may be computed on the way in."""
    builder = KernelBuilder(original, original, memory)
    emitter = builder.emitter
    node: Node = next(n for n in original.nodes if n.op.name in SCATTER_NAMES)
    assert isinstance(node.attrs, GatherAttrs)
    x, indices, _ = node.operands
    axis = node.attrs.axis
    outer = [d for d in range(x.type.rank) if d != axis]
    counters = [emitter.fresh("i") for _ in outer]
    emitter.open()
    emitter.floor = 1
    before, after = tuple(counters[:axis]), tuple(counters[axis:])

    def place(row: Expr) -> Index:
        return (*before, row, *after)

    wide = computing(x.dtype) if _COMBINE[node.op.name] else x.dtype
    sums = emitter.buffer("sums", wide, (x.shape[axis],), "worker") if wide != x.dtype else None

    def target(row: Expr) -> tuple[Buffer, Index]:
        return (builder.outputs[0], place(row)) if sums is None else (sums, (row,))

    row = emitter.fresh("a")
    emitter.open()
    start = emitter.pull(x, place(row))
    if sums is None:
        builder.store(0, place(row), start)
    else:
        emitter.append(Store(*target(row), convert(start, wide)))
    emitter.close_nest([(row, x.shape[axis], "serial")])
    emitter.stage += 1

    if indices.type.size:
        _update(builder, node, before, after, target)
    if sums is not None:
        row = emitter.fresh("a")
        emitter.open()
        builder.store(0, place(row), convert(Load(*target(row)), x.dtype))
        emitter.close_nest([(row, x.shape[axis], "serial")])
    emitter.close_phase(counters, [x.shape[d] for d in outer])
    return builder.finish(name)


def _update(
    builder: KernelBuilder, node: Node, before: Index, after: Index, target: Callable[[Expr], tuple[Buffer, Index]]
) -> None:
    """Combine `target(index)` with the update of every index in order; those outside of the axis are dropped."""
    emitter = builder.emitter
    assert isinstance(node.attrs, GatherAttrs)
    x, indices, updates = node.operands
    extent, batch = x.shape[node.attrs.axis], node.attrs.batch_dims
    combine = _COMBINE[node.op.name]
    steps = [emitter.fresh("u") for _ in indices.shape[batch:]]
    emitter.open()
    position = emitter.pull(indices, (*before[:batch], *steps))
    emitter.open()
    at = emitter.let(nearest(position, extent), "at")  # clamped, so that it is in bounds as far as anyone sees
    update = emitter.pull(updates, (*before, *steps, *after))
    if combine is None:
        emitter.append(Store(*target(at), update))
    else:
        emitter.append(Accumulate((target(at),), (convert(update, computing(update.dtype)),), combine))
    inside = emitter.close()
    emitter.append(If(_inside(position, extent), inside))
    emitter.close_nest([(s, e, "serial") for s, e in zip(steps, indices.shape[batch:], strict=True)])


def _inside(position: Expr, extent: int) -> Expr:
    """`0 <= position < extent`, exact for every integer dtype."""
    dtype = position.dtype
    largest = (1 << (dtype.bits - (dtype.kind == "int"))) - 1
    upper = Compare("lt", position, const(extent, dtype)) if extent <= largest else Compare("eq", index(0), index(0))
    if dtype.kind == "uint":
        return upper
    return Binary("and", Compare("ge", position, const(0, dtype)), upper)
