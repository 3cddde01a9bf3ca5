"""Steps that move elements."""

from graphc.graph.ir import TensorType
from graphc.graph.ops import custom, movement
from tests.random_graphs.grower import Grower, Maker


def _reshape(g: Grower) -> None:
    x = g.pick()
    extents = list(x.shape)
    g.rng.shuffle(extents)
    if len(extents) > 1 and g.chance(0.5):
        extents = [extents[0] * extents[1], *extents[2:]]
    if g.chance(0.3):
        extents.insert(g.below(len(extents) + 1), 1)
    g.add(movement.reshape, x, attrs=movement.ShapeAttrs(tuple(extents)))


def _transpose(g: Grower) -> None:
    x = g.pick()
    g.add(movement.transpose, x, attrs=movement.TransposeAttrs(tuple(int(d) for d in g.rng.permutation(x.type.rank))))


def _broadcast(g: Grower) -> None:
    x = g.pick(lambda v: v.type.rank <= 3 and v.type.size <= g.small)
    shape, dims = [], []
    for extent in x.shape:
        if g.chance(0.3):
            shape.append(2)
        dims.append(len(shape))
        shape.append(3 if extent == 1 and g.chance(0.5) else extent)
    if g.chance(0.3):
        shape.append(2)
    g.add(movement.broadcast, x, attrs=movement.BroadcastAttrs(tuple(shape), tuple(dims)))


def _slice(g: Grower) -> None:
    x = g.pick()
    start = tuple(g.below(e + 1) if g.chance(0.4) else 0 for e in x.shape)
    stop = tuple(a + g.below(e - a + 1) if g.chance(0.4) else e for a, e in zip(start, x.shape, strict=True))
    step = tuple(1 + g.below(3) if g.chance(0.3) else 1 for _ in x.shape)
    g.add(movement.slice_, x, attrs=movement.SliceAttrs(start, stop, step))


def _pad(g: Grower) -> None:
    x = g.pick(lambda v: v.type.size <= g.small)
    low, high, interior = (tuple(g.below(2) for _ in x.shape) for _ in range(3))
    g.add(movement.pad, x, g.of_type(TensorType((), x.dtype)), attrs=movement.PadAttrs(low, high, interior))


def _concatenate(g: Grower) -> None:
    x = g.pick(lambda v: v.type.rank > 0)
    axis = g.below(x.type.rank)
    others = [v for v in g.pool if v.dtype == x.dtype and v.type.rank == x.type.rank]
    fitting = [v for v in others if v.shape[:axis] + v.shape[axis + 1 :] == x.shape[:axis] + x.shape[axis + 1 :]]
    parts = [fitting[g.below(len(fitting))] for _ in range(1 + g.below(2))]
    joined = g.add(movement.concatenate, x, *parts, attrs=movement.AxisAttrs(axis))
    if g.chance(0.4):  # and take one part out again
        start, stop = [0] * x.type.rank, list(joined.shape)
        start[axis] = x.shape[axis] if g.chance(0.5) else 0
        stop[axis] = start[axis] + (parts[0] if start[axis] else x).shape[axis]
        attrs = movement.SliceAttrs(tuple(start), tuple(stop), (1,) * x.type.rank)
        g.add(movement.slice_, joined, attrs=attrs)


def some_axes(g: Grower, rank: int) -> movement.AxesAttrs:
    return movement.AxesAttrs(tuple(d for d in range(rank) if g.chance(0.5)))


def _reverse(g: Grower) -> None:
    x = g.pick()
    g.add(movement.reverse, x, attrs=some_axes(g, x.type.rank))


def _barrier(g: Grower) -> None:
    g.add(custom.barrier, *(g.pick() for _ in range(1 + g.below(3))))


MAKERS = {
    "reshape": Maker(_reshape, (movement.reshape,)),
    "transpose": Maker(_transpose, (movement.transpose,)),
    "broadcast": Maker(_broadcast, (movement.broadcast,)),
    "slice": Maker(_slice, (movement.slice_,)),
    "pad": Maker(_pad, (movement.pad,)),
    "concatenate": Maker(_concatenate, (movement.concatenate,)),
    "reverse": Maker(_reverse, (movement.reverse,)),
    "barrier": Maker(_barrier, (custom.barrier,)),
}
