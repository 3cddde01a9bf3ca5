"""How the dims of the values of a graph run together.

Comes in: a graph (usually the body of a fusion). Goes out: a class for every (value, dim), such that dims of one class
have one extent and element [.., i, ..] of one value is made from elements [.., i, ..] of the others along them.
Dims that an op cuts, shifts, looks up or makes up on its own (slice, pad, concatenate, reverse, gather, iota, ...)
begin a class of their own and are marked *special*.

Read by the partition (what can share a loop) and by lowering (which loop runs along which dim).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.contraction import DotAttrs, free_dims
from graphc.graph.ops.cumulative import CUMULATIVE, CumulativeAttrs
from graphc.graph.ops.indexing import SCATTER_NAMES, GatherAttrs
from graphc.graph.ops.movement import AxesAttrs, AxisAttrs, BroadcastAttrs, PadAttrs, SliceAttrs, TransposeAttrs
from graphc.graph.ops.reduction import ArgAttrs
from graphc.graph.ops.sliding import WindowsAttrs
from graphc.graph.ops.sorting import SORTING, SortAttrs, TopAttrs
from graphc.graph.ops.source import IotaAttrs
from graphc.graph.ops.windows import DimsAttrs

Slot = tuple[Value, int]


def matching_dims(left: tuple[int, ...], right: tuple[int, ...]) -> list[tuple[range, range]]:
    """Cut two shapes of equal size into the finest runs of dims with equal products, in order.

    >>> matching_dims((2, 3, 4), (6, 4))
    [(range(0, 2), range(0, 1)), (range(2, 3), range(1, 2))]
    """
    runs: list[tuple[range, range]] = []
    i = j = 0
    while i < len(left) or j < len(right):
        start_i, start_j, a, b = i, j, 1, 1
        if i < len(left):
            a, i = left[i], i + 1
        if j < len(right):
            b, j = right[j], j + 1
        while a != b and (i < len(left) or j < len(right)):
            if i < len(left) and (a < b or j == len(right)):
                a, i = a * left[i], i + 1
            else:
                b, j = b * right[j], j + 1
        runs.append((range(start_i, i), range(start_j, j)))
    return runs


@dataclass(slots=True)
class DimClasses:
    """The classes, as a union-find forest over (value, dim)."""

    parent: dict[Slot, Slot] = field(default_factory=dict)
    special: set[Slot] = field(default_factory=set)  # roots; use `is_special`

    def root(self, value: Value, dim: int) -> Slot:
        """The representative of the class of a dim."""
        slot = (value, dim)
        while (up := self.parent.get(slot, slot)) != slot:
            self.parent[slot] = self.parent.get(up, up)
            slot = up
        return slot

    def join(self, a: Slot, b: Slot) -> None:
        left, right = self.root(*a), self.root(*b)
        if left == right:
            return
        self.parent[right] = left
        if right in self.special:
            self.special.discard(right)
            self.special.add(left)

    def join_all(self, values: Sequence[Value]) -> None:
        """Values of one shape, but for dims of extent 1, run along each other: one loop nest makes them."""
        slots = [[(value, dim) for dim, extent in enumerate(value.shape) if extent != 1] for value in values]
        for other in slots[1:]:
            for a, b in zip(slots[0], other, strict=True):
                self.join(a, b)

    def mark(self, value: Value, dims: Iterable[int]) -> None:
        """These dims are handled one by one by some op."""
        self.special.update(self.root(value, dim) for dim in dims)

    def is_special(self, value: Value, dim: int) -> bool:
        return self.root(value, dim) in self.special

    def of(self, value: Value) -> tuple[Slot, ...]:
        """The classes of all dims of a value."""
        return tuple(self.root(value, dim) for dim in range(value.type.rank))

    def wide(self, value: Value) -> tuple[Slot, ...]:
        """The classes of the dims whose extent is not 1."""
        return tuple(self.root(value, dim) for dim, extent in enumerate(value.shape) if extent != 1)


def dim_classes(nodes: Iterable[Node]) -> DimClasses:
    """The dim classes of a set of nodes, in any order."""
    classes = DimClasses()
    for node in nodes:
        rule = _same if node.op.kind == "elementwise" else _RULES.get(node.op.name, _opaque)
        rule(classes, node)
    return classes


def classes_of(graph: Graph) -> DimClasses:
    """The dim classes of a graph."""
    return dim_classes(graph.nodes)


def _along(classes: DimClasses, a: Value, b: Value, pairs: Iterable[tuple[int, int]]) -> None:
    for i, j in pairs:
        classes.join((a, i), (b, j))


def _same(classes: DimClasses, node: Node) -> None:
    for operand in node.operands:
        _along(classes, node.result, operand, ((d, d) for d in range(operand.type.rank)))


def _opaque(classes: DimClasses, node: Node) -> None:
    for value in (*node.operands, *node.results):
        classes.mark(value, range(value.type.rank))


def _reshape(classes: DimClasses, node: Node) -> None:
    (x,) = node.operands
    y = node.result
    for left, right in matching_dims(x.shape, y.shape):
        i = [d for d in left if x.shape[d] != 1]
        j = [d for d in right if y.shape[d] != 1]
        if [x.shape[d] for d in i] == [y.shape[d] for d in j]:
            _along(classes, x, y, zip(i, j, strict=True))
            continue
        classes.mark(x, i)
        classes.mark(y, j)


def _transpose(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, TransposeAttrs)
    _along(classes, node.result, node.operands[0], enumerate(node.attrs.permutation))


def _broadcast(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, BroadcastAttrs)
    (x,) = node.operands
    pairs = ((d, i) for i, d in enumerate(node.attrs.dims) if x.shape[i] == node.result.shape[d])
    _along(classes, node.result, x, pairs)


def _partly(classes: DimClasses, node: Node, x: Value, touched: Iterable[int]) -> None:
    """Dims outside of `touched` run along; the others are handled one by one."""
    dims = set(touched)
    _along(classes, node.result, x, ((d, d) for d in range(x.type.rank) if d not in dims))
    classes.mark(x, dims)
    classes.mark(node.result, dims)


def _slice(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, SliceAttrs)
    x = node.operands[0]
    bounds = zip(node.attrs.start, node.attrs.stop, node.attrs.step, x.shape, strict=True)
    _partly(classes, node, x, [d for d, (a, b, s, e) in enumerate(bounds) if (a, b, s) != (0, e, 1)])


def _pad(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, PadAttrs)
    widths = zip(node.attrs.low, node.attrs.high, node.attrs.interior, strict=True)
    _partly(classes, node, node.operands[0], [d for d, row in enumerate(widths) if any(row)])


def _windows(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, WindowsAttrs)
    (x,) = node.operands
    _partly(classes, node, x, node.attrs.dims)
    classes.mark(node.result, range(x.type.rank, node.result.type.rank))


def _concatenate(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, AxisAttrs)
    for operand in node.operands:
        _partly(classes, node, operand, [node.attrs.axis])


def _reverse(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, AxesAttrs)
    _partly(classes, node, node.operands[0], node.attrs.axes)


def _iota(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, IotaAttrs)
    classes.mark(node.result, [node.attrs.axis])


def _gather(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, GatherAttrs)
    x, indices = node.operands
    axis, batch = node.attrs.axis, node.attrs.batch_dims
    rank = indices.type.rank - batch
    _along(classes, node.result, x, ((d, d) for d in range(axis)))
    _along(classes, node.result, indices, ((d, d) for d in range(batch)))
    _along(classes, node.result, indices, ((axis + d, batch + d) for d in range(rank)))
    _along(classes, node.result, x, ((d + rank - 1, d) for d in range(axis + 1, x.type.rank)))
    classes.mark(x, [axis])


def _scatter(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, GatherAttrs)
    x, indices, updates = node.operands
    axis, batch = node.attrs.axis, node.attrs.batch_dims
    rank = indices.type.rank - batch
    outer = [d for d in range(x.type.rank) if d != axis]
    _along(classes, node.result, x, ((d, d) for d in outer))
    _along(classes, updates, x, ((d if d < axis else d + rank - 1, d) for d in outer))
    _along(classes, updates, indices, ((d, d) for d in range(batch)))
    _along(classes, updates, indices, ((axis + d, batch + d) for d in range(rank)))
    classes.mark(x, [axis])
    classes.mark(node.result, [axis])


def _dynamic_slice(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, DimsAttrs)
    _partly(classes, node, node.operands[0], node.attrs.dims)


def _dynamic_update(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, DimsAttrs)
    _along(classes, node.result, node.operands[0], ((d, d) for d in range(node.result.type.rank)))
    _partly(classes, node, node.operands[1], node.attrs.dims)


def _cumulative(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, CumulativeAttrs)
    for operand in node.operands:
        _partly(classes, node, operand, [node.attrs.axis])


def _sort(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, SortAttrs | TopAttrs)
    _partly(classes, node, node.operands[0], [node.attrs.axis])


def _shuffle(classes: DimClasses, node: Node) -> None:
    indices, keys = node.operands
    _along(classes, node.result, indices, ((d, d) for d in range(indices.type.rank)))
    rows = keys.type.rank - 2
    _along(classes, node.result, keys, ((d, d) for d in range(rows)))
    classes.mark(keys, (rows, rows + 1))


def _random_bits(classes: DimClasses, node: Node) -> None:
    (key,) = node.operands
    rows = key.type.rank - 1
    _along(classes, node.result, key, ((d, d) for d in range(rows)))
    classes.mark(key, [rows])  # the result is numbered row by row: its dims may be taken together


def _reduce(classes: DimClasses, node: Node) -> None:
    (x,) = node.operands
    if isinstance(node.attrs, ArgAttrs):
        axes: tuple[int, ...] = (node.attrs.axis,)
        classes.mark(x, axes)
    else:
        assert isinstance(node.attrs, AxesAttrs)
        axes = node.attrs.axes
    _along(classes, node.result, x, enumerate(free_dims(x.type.rank, axes)))


def _dot(classes: DimClasses, node: Node) -> None:
    assert isinstance(node.attrs, DotAttrs)
    lhs, rhs = node.operands
    a = node.attrs
    lhs_free = free_dims(lhs.type.rank, a.lhs_contract, a.lhs_batch)
    rhs_free = free_dims(rhs.type.rank, a.rhs_contract, a.rhs_batch)
    batch = len(a.lhs_batch)
    _along(classes, lhs, rhs, zip(a.lhs_contract, a.rhs_contract, strict=True))
    _along(classes, node.result, lhs, enumerate((*a.lhs_batch, *lhs_free)))
    _along(classes, node.result, rhs, enumerate(a.rhs_batch))
    _along(classes, node.result, rhs, ((batch + len(lhs_free) + i, d) for i, d in enumerate(rhs_free)))


def _constant(classes: DimClasses, node: Node) -> None:
    """A splat: one value everywhere."""


_RULES: dict[str, Callable[[DimClasses, Node], None]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "windows": _windows,
    "concatenate": _concatenate,
    "reverse": _reverse,
    "iota": _iota,
    "constant": _constant,
    "gather": _gather,
    **dict.fromkeys(SCATTER_NAMES, _scatter),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    **{op.name: _cumulative for op in CUMULATIVE},
    **{op.name: _sort for op in SORTING},
    "shuffle_index": _shuffle,
    "random_bits": _random_bits,
    "dot_general": _dot,
    **dict.fromkeys(("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "argmax", "argmin"), _reduce),
}
