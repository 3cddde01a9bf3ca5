"""Steps whose index depends on data: gather, scatters, slices whose place is computed."""

from graphc.graph.ir import TensorType, Value
from graphc.graph.ops import indexing, windows
from tests.random_graphs.grower import Grower, Maker

_WINDOWS = (windows.dynamic_slice, windows.dynamic_update_slice)


def _gather_attrs(g: Grower, x: Value) -> tuple[indexing.GatherAttrs, Value]:
    """An axis, batch dims before it, and indices."""
    axis = g.below(x.type.rank)
    batch = g.below(axis + 1) if g.chance(0.5) else 0
    shape = (*x.shape[:batch], *((), (2,), (3,))[g.below(3)])
    return indexing.GatherAttrs(axis, batch), g.of_type(TensorType(shape, g.index_kind()))


def _gather(g: Grower) -> None:
    x = g.pick(lambda v: v.type.rank > 0 and v.type.size > 0)
    attrs, indices = _gather_attrs(g, x)
    g.add(indexing.gather, x, indices, attrs=attrs)


def _scatter(g: Grower) -> None:
    op = g.one_of(indexing.SCATTERS)
    x = g.pick_for(op, lambda v: v.type.rank > 0)
    attrs, indices = _gather_attrs(g, x)
    updates = g.of_type(x.type.with_shape(indexing.gathered_shape(x.shape, indices.shape, attrs)))
    g.add(op, x, indices, updates, attrs=attrs)


def _window(g: Grower) -> None:
    op = g.one_of(_WINDOWS)
    x = g.pick(lambda v: v.type.rank > 0)
    dims = tuple(d for d in range(x.type.rank) if g.chance(0.5))
    sizes = tuple(g.below(x.shape[d] + 1) for d in dims)
    kind = g.index_kind()
    starts = [g.of_type(TensorType((), kind)) for _ in dims]
    if op is windows.dynamic_slice:
        g.add(op, x, *starts, attrs=windows.WindowAttrs(dims, sizes))
        return
    shape = list(x.shape)
    for dim, size in zip(dims, sizes, strict=True):
        shape[dim] = size
    update = g.of_type(x.type.with_shape(tuple(shape)))
    g.add(op, x, update, *starts, attrs=windows.DimsAttrs(dims))


MAKERS = {
    "gather": Maker(_gather, (indexing.gather,)),
    "scatter": Maker(_scatter, indexing.SCATTERS),
    "window": Maker(_window, _WINDOWS),
}
