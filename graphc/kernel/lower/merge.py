"""Take dims together: the body of a fusion over fewer, longer dims.

In: the body of a fusion. Out: the same function with every tensor reshaped: dims of extent 1 dropped, and dims that
follow each other in every value made one. Row-major order is kept, so memory is the same and only the shapes of
inputs and outputs differ. Loops over merged dims need no index arithmetic, and what is contiguous shows.

    f32[8,4,16] y = add(x, broadcast(b))   over dims (0, 1, 2), b along 2
    f32[32,16] y = add(x, broadcast(b))    over dims (0 1, 2)
"""

from collections.abc import Iterable
from dataclasses import replace

from graphc.core.records import dataclass
from graphc.graph.dims import DimClasses, Slot, classes_of
from graphc.graph.ir import Attrs, Graph, Node, Value
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.movement import (
    AxesAttrs,
    AxisAttrs,
    BroadcastAttrs,
    PadAttrs,
    ShapeAttrs,
    SliceAttrs,
    TransposeAttrs,
)
from graphc.graph.ops.reduction import ArgAttrs
from graphc.graph.ops.sliding import WindowsAttrs
from graphc.graph.ops.sorting import SortAttrs, TopAttrs
from graphc.graph.ops.source import ConstantAttrs, IotaAttrs
from graphc.graph.ops.windows import DimsAttrs

Groups = tuple[tuple[int, ...], ...]  # old dims of each new dim


@dataclass(frozen=True, slots=True)
class _Merger:
    classes: DimClasses
    after: dict[Slot, Slot]  # the class that always follows a class

    def groups(self, value: Value) -> Groups:
        """Which dims of a value become one, in order."""
        found: list[list[int]] = []
        for dim, extent in enumerate(value.shape):
            if extent == 1 and not self.classes.is_special(value, dim):
                continue
            if found and self.after.get(self.classes.root(value, found[-1][-1])) == self.classes.root(value, dim):
                found[-1].append(dim)
            else:
                found.append([dim])
        return tuple(map(tuple, found))

    def shape(self, value: Value) -> tuple[int, ...]:
        return tuple(_product(value.shape[d] for d in dims) for dims in self.groups(value))


def _product(extents: Iterable[int]) -> int:
    total = 1
    for extent in extents:
        total *= extent
    return total


def _followers(graph: Graph, classes: DimClasses) -> dict[Slot, Slot]:
    """For each class the one class that follows it wherever either occurs."""
    values = [*graph.inputs, *(v for node in graph.nodes for v in node.results)]
    after: dict[Slot, Slot | None] = {}
    before: dict[Slot, Slot | None] = {}
    never: set[Slot] = set(classes.special)
    for value in values:
        dims = [d for d, extent in enumerate(value.shape) if extent != 1 or classes.is_special(value, d)]
        roots = [classes.root(value, d) for d in dims]
        never.update(root for root in roots if roots.count(root) > 1)
        for position, root in enumerate(roots):
            upper = roots[position - 1] if position else None
            lower = roots[position + 1] if position + 1 < len(roots) else None
            if before.setdefault(root, upper) != upper:
                before[root] = None
            if after.setdefault(root, lower) != lower:
                after[root] = None
    return {
        root: lower
        for root, lower in after.items()
        if lower is not None and root not in never and lower not in never and before.get(lower) == root
    }


def merge_dims(graph: Graph, together: bool = False) -> Graph:
    """The graph over merged dims; the same object when nothing can be merged.

    together: the outputs have one shape, but for dims of extent 1, and keep having one: one loop nest writes them.
    """
    classes = classes_of(graph)
    if together:
        classes.join_all(graph.outputs)
    for node in graph.nodes:
        if node.op.name == "dot_general":
            _separate_dot(classes, node)
    after = _followers(graph, classes)
    for node in graph.nodes:
        _separate(classes, node, after)
    merger = _Merger(classes, after)
    values = [*graph.inputs, *(v for node in graph.nodes for v in node.results)]
    if all(len(merger.groups(v)) == v.type.rank for v in values):
        return graph
    mapping = {v: Value(v.type.with_shape(merger.shape(v)), v.name) for v in values}
    nodes = tuple(
        Node(
            node.op,
            tuple(mapping[v] for v in node.operands),
            _attrs(merger, node, mapping),
            tuple(mapping[v] for v in node.results),
            node.loc,
        )
        for node in graph.nodes
    )
    inputs = tuple(mapping[v] for v in graph.inputs)
    return Graph(graph.name, inputs, nodes, tuple(mapping[v] for v in graph.outputs))


def _separate_dot(classes: DimClasses, node: Node) -> None:
    """Contracted dims may be taken together only when they are listed in ascending order."""
    assert isinstance(node.attrs, DotAttrs)
    for value, dims in ((node.operands[0], node.attrs.lhs_contract), (node.operands[1], node.attrs.rhs_contract)):
        if list(dims) != sorted(dims):
            classes.mark(value, dims)


def _separate(classes: DimClasses, node: Node, after: dict[Slot, Slot]) -> None:
    """A merged dim is reduced as a whole or not at all."""
    if node.op.kind != "reduction":
        return
    (x,) = node.operands
    axes = (node.attrs.axis,) if isinstance(node.attrs, ArgAttrs) else getattr(node.attrs, "axes", ())
    for dim in range(x.type.rank):
        upper = classes.root(x, dim)
        for other in range(x.type.rank):
            if after.get(upper) == classes.root(x, other) and (dim in axes) != (other in axes):
                del after[upper]


def _renumbered(groups: Groups, dims: tuple[int, ...]) -> tuple[int, ...]:
    """New dims for old ones, in the order of the old ones."""
    where = {dim: new for new, old in enumerate(groups) for dim in old}
    return tuple(dict.fromkeys(where[d] for d in dims if d in where))


def _attrs(merger: _Merger, node: Node, mapping: dict[Value, Value]) -> Attrs:
    attrs = node.attrs
    result = merger.groups(node.result)
    shape = mapping[node.result].shape
    if isinstance(attrs, BroadcastAttrs):
        kept = merger.groups(node.operands[0])
        dims = tuple(attrs.dims[group[0]] for group in kept)
        return BroadcastAttrs(shape, tuple(next(i for i, g in enumerate(result) if d in g) for d in dims))
    if isinstance(attrs, ShapeAttrs):
        return ShapeAttrs(shape)
    if isinstance(attrs, IotaAttrs):
        return IotaAttrs(shape, attrs.dtype, _renumbered(result, (attrs.axis,))[0])
    if isinstance(attrs, ConstantAttrs):
        return ConstantAttrs(attrs.value.reshape(shape))
    if not node.operands:
        return attrs
    groups = merger.groups(node.operands[0])
    if isinstance(attrs, TransposeAttrs):
        return TransposeAttrs(_renumbered(groups, attrs.permutation))
    if isinstance(attrs, AxesAttrs):
        return AxesAttrs(tuple(sorted(_renumbered(groups, attrs.axes))))
    if isinstance(attrs, ArgAttrs):
        return ArgAttrs(_renumbered(groups, (attrs.axis,))[0])
    if isinstance(attrs, GatherAttrs):
        batch = sum(group[-1] < attrs.batch_dims for group in merger.groups(node.operands[1]))
        return GatherAttrs(_renumbered(groups, (attrs.axis,))[0], batch)
    if isinstance(attrs, CumulativeAttrs | SortAttrs | TopAttrs):
        return replace(attrs, axis=_renumbered(groups, (attrs.axis,))[0])
    if isinstance(attrs, DimsAttrs):
        return replace(attrs, dims=_renumbered(groups, attrs.dims))
    if isinstance(attrs, AxisAttrs):
        return AxisAttrs(_renumbered(groups, (attrs.axis,))[0])
    if isinstance(attrs, SliceAttrs):
        return _slice_attrs(attrs, node.operands[0], groups)
    if isinstance(attrs, PadAttrs):
        first = [group[0] if len(group) == 1 else None for group in groups]
        low, high, interior = (
            tuple(0 if d is None else widths[d] for d in first) for widths in (attrs.low, attrs.high, attrs.interior)
        )
        return PadAttrs(low, high, interior)
    if isinstance(attrs, WindowsAttrs):
        return replace(attrs, dims=_renumbered(groups, attrs.dims))
    if isinstance(attrs, DotAttrs):
        other = merger.groups(node.operands[1])
        return replace(
            attrs,
            lhs_contract=_renumbered(groups, attrs.lhs_contract),
            rhs_contract=_renumbered(other, attrs.rhs_contract),
            lhs_batch=_renumbered(groups, attrs.lhs_batch),
            rhs_batch=_renumbered(other, attrs.rhs_batch),
        )
    return attrs


def _slice_attrs(attrs: SliceAttrs, x: Value, groups: Groups) -> SliceAttrs:
    rows: list[tuple[int, int, int]] = []
    for group in groups:
        whole = (0, _product(x.shape[d] for d in group), 1)
        rows.append(whole if len(group) > 1 else (attrs.start[group[0]], attrs.stop[group[0]], attrs.step[group[0]]))
    return SliceAttrs(tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))
