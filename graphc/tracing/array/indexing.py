"""`x[...]` and `take`: NumPy's indexing by ints, slices, None, Ellipsis and integer arrays.

Ints and slices are static and become slices of the graph; integer arrays (traced or not) become gathers. Boolean masks
have a result whose shape depends on data, which a static graph cannot hold.
"""

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, IndexRangeError, ShapeError, TraceError
from graphc.core.records import dataclass
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops.elementwise import WithinAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.source import IotaAttrs, iota
from graphc.tracing.array import movement
from graphc.tracing.array.movement import normal_axis, reshape, static_slice
from graphc.tracing.bind import as_array, bind1, broadcast_shape, broadcast_to, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, bind_nodes, is_sanitizing, is_tracing, with_line
from graphc.tracing.spec import is_int

Index: TypeAlias = object


@dataclass(frozen=True, slots=True)
class At:
    """One element of an axis."""

    axis: int
    position: int


@dataclass(frozen=True, slots=True)
class Range:
    """A slice of an axis with a positive step, reversed afterwards if `flipped`."""

    axis: int
    start: int
    stop: int
    step: int
    flipped: bool

    @property
    def length(self) -> int:
        return -(-(self.stop - self.start) // self.step)


@dataclass(frozen=True, slots=True)
class New:
    """A new axis of extent 1."""


@dataclass(frozen=True, slots=True)
class Gather:
    """An axis indexed by an array."""

    axis: int
    indices: Array


Entry: TypeAlias = At | Range | New | Gather


def parse(shape: tuple[int, ...], index: Index) -> list[Entry]:
    items = list(index) if isinstance(index, tuple) else [index]
    consumed = sum(1 for item in items if item is not None and item is not Ellipsis)
    if consumed > len(shape):
        raise ShapeError(with_line(f"index: {consumed} indices for an array of rank {len(shape)}"))
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ShapeError(with_line("index: only one Ellipsis is allowed"))
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (len(shape) - consumed)
    entries: list[Entry] = []
    axis = 0
    for item in items:
        if item is None:
            entries.append(New())
            continue
        entries.append(_entry(shape, axis, item))
        axis += 1
    return entries


def _entry(shape: tuple[int, ...], axis: int, item: object) -> Entry:
    extent = shape[axis]
    if isinstance(item, slice):
        return _range(axis, extent, item)
    if isinstance(item, (bool, np.bool_)):
        raise _mask_error()
    if isinstance(item, (int, np.integer)):
        if not -extent <= item < extent:
            raise ShapeError(with_line(f"index: {item} is outside axis {axis} of {list(shape)}"))
        return At(axis, int(item) % extent)
    if isinstance(item, (TracedValue, np.ndarray, list)):
        return _gather_entry(axis, extent, item)  # type: ignore[arg-type]
    raise TraceError(with_line(f"index: a {type(item).__name__} cannot index an array: {item!r:.60}"))


def as_mask(index: Index) -> Array | None:
    """The boolean array an index is; None when it is something else."""
    if isinstance(index, list):
        index = np.asarray(index) if index else None
    if isinstance(index, (TracedValue, np.ndarray)) and dtype_of(index).is_bool:  # type: ignore[arg-type]
        return index  # type: ignore[return-value]
    return None


def _mask_error() -> TraceError:
    return TraceError(
        with_line(
            "index: a boolean mask selects a number of elements that is not known while tracing; "
            "write gnp.where(mask, x, other), or multiply by the mask"
        )
    )


def _range(axis: int, extent: int, item: slice) -> Range:
    for bound in (item.start, item.stop, item.step):
        if isinstance(bound, TracedValue):
            raise TraceError(
                with_line(
                    "index: the bounds of a slice must be Python ints, a traced value has no number yet; "
                    "write gnp.dynamic_slice(x, starts, sizes), or gnp.take(x, start + gnp.arange(length), axis), "
                    "for a window that moves"
                )
            )
        if bound is not None and not is_int(bound):
            raise TraceError(with_line(f"index: the bounds and the step of a slice are ints, got {bound!r:.60}"))
    if item.step == 0:
        raise ArgumentError(with_line("index: the step of a slice is 0"))
    start, stop, step = item.indices(extent)
    positions = range(start, stop, step)
    if not positions:
        return Range(axis, 0, 0, 1, False)
    if step > 0:
        return Range(axis, positions[0], positions[-1] + 1, step, False)
    return Range(axis, positions[-1], positions[0] + 1, -step, True)


def _gather_entry(axis: int, extent: int, item: ArrayLike) -> Gather:
    if isinstance(item, list) and not item:
        item = np.zeros(0, np.int64)
    indices = as_array(item)
    if dtype_of(indices).is_bool:
        raise _mask_error()
    if not dtype_of(indices).is_integer:
        raise TraceError(with_line(f"index: an array of {dtype_of(indices)} cannot index; cast with .astype('int32')"))
    return Gather(axis, from_front(indices, extent, axis))


def checked_index(indices: Array, low: int, high: int, what: str, ignored: int | None = None) -> Array:
    """The indices as they are, which `sanitize=True` expects in [low, high); `what` is said of others but `ignored`.

    >>> checked_index(np.array([0, 2]), 0, 3, "place").tolist()
    [0, 2]
    """
    if not is_sanitizing() or not indices.size:
        return indices
    if ignored is not None and _fits(ignored, indices):
        is_ignored = bind1(elementwise.eq, indices, ignored)
        checked = checked_index(bind1(elementwise.select, is_ignored, low, indices), low, high, what)
        return bind1(elementwise.select, is_ignored, indices, checked)
    if isinstance(indices, TracedValue):
        return bind1(elementwise.within, indices, attrs=WithinAttrs(low, high, what))
    outside = (indices < low) | (indices >= high)
    if outside.any():
        found = int(indices[outside].flat[0])
        raise IndexRangeError(with_line(f"sanitize: {what}: {found} is outside {low}..{high - 1}"))
    return indices


def _fits(value: int, array: Array) -> bool:
    limits = np.iinfo(dtype_of(array).name)
    return int(limits.min) <= value <= int(limits.max)


def from_front(indices: Array, extent: int, axis: int) -> Array:
    """Indices with negative ones counted from the end; constants are checked, traced ones are not (they clamp)."""
    if isinstance(indices, TracedValue):
        indices = checked_index(indices, -extent, extent, f"indexing axis {axis}")
        if dtype_of(indices).kind == "uint":
            return indices
        negative = bind1(elementwise.lt, indices, 0)
        return bind1(elementwise.select, negative, bind1(elementwise.add, indices, extent), indices)
    if indices.size and not (-extent <= int(indices.min()) and int(indices.max()) < extent):
        raise ShapeError(with_line(f"index: an index is outside axis {axis} of extent {extent}"))
    return np.where(indices < 0, indices.astype(np.int64) + extent, indices.astype(np.int64))


def getitem(x: ArrayLike, index: Index) -> Array:
    """`x[index]` with NumPy's meaning."""
    array = as_array(x)
    entries = parse(array.shape, index)
    if any(isinstance(entry, Gather) for entry in entries):
        return _advanced(array, entries)
    return reshape(sliced(array, entries), _result_shape(entries, ()))


def sliced(x: Array, entries: Sequence[Entry]) -> Array:
    """`x` with ranges taken and single positions kept as dims of extent 1; gathered axes are untouched."""
    start, stop, step = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    flipped: list[int] = []
    for entry in entries:
        if isinstance(entry, At):
            start[entry.axis], stop[entry.axis] = entry.position, entry.position + 1
        elif isinstance(entry, Range):
            start[entry.axis], stop[entry.axis], step[entry.axis] = entry.start, entry.stop, entry.step
            flipped += [entry.axis] * entry.flipped
    return movement.reverse(static_slice(x, start, stop, step), flipped)


def _result_shape(entries: Sequence[Entry], gathered: tuple[int, ...]) -> tuple[int, ...]:
    """Dims of the result; the dims of the gathered block stand where its first entry is."""
    shape: list[int] = []
    placed = False
    for entry in entries:
        if isinstance(entry, Range):
            shape.append(entry.length)
        elif isinstance(entry, New):
            shape.append(1)
        elif gathered and not placed and isinstance(entry, (Gather, At)):
            shape += gathered
            placed = True
    return tuple(shape)


@dataclass(frozen=True, slots=True)
class Picks:
    """Indexing with arrays as one gather: the axes they index are moved together and merged into one.

    block: the dims the arrays broadcast to; ints join them as 0-d arrays. sliced: `x` of which the ranges are taken.
    """

    entries: list[Entry]
    block: tuple[int, ...]
    permutation: tuple[int, ...]  # of the dims of sliced
    before: int  # dims in front of the merged one
    picked: list[Gather]
    together: bool  # nothing stands between the arrays

    def merged(self, sliced: Array) -> Array:
        """The array whose axis `before` is indexed."""
        ordered = movement.transpose(sliced, self.permutation)
        end = self.before + len(self.picked)
        extents = ordered.shape[self.before : end]
        return reshape(ordered, (*ordered.shape[: self.before], prod(extents), *ordered.shape[end:]))

    def unmerged(self, merged: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `merged`; shape: of sliced."""
        ordered = reshape(merged, tuple(shape[d] for d in self.permutation))
        return movement.transpose(ordered, tuple(self.permutation.index(d) for d in range(len(shape))))

    def extents(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(shape[entry.axis] for entry in self.picked)

    @property
    def ranges(self) -> list[Entry]:
        return [entry for entry in self.entries if isinstance(entry, Range)]


def picks(entries: list[Entry]) -> Picks:
    """What indexing with these entries gathers; one of them is an array."""
    places = [i for i, entry in enumerate(entries) if isinstance(entry, (Gather, At))]
    picked = [_as_gather(entries[i]) for i in places]
    block = broadcast_shape("index", [entry.indices.shape for entry in picked])
    together = places == list(range(places[0], places[-1] + 1))
    before = sum(1 for entry in entries[: places[0]] if isinstance(entry, Range)) if together else 0
    axes = [entry.axis for entry in picked]
    others = [entry.axis for entry in entries if isinstance(entry, Range)]
    return Picks(entries, block, (*others[:before], *axes, *others[before:]), before, picked, together)


def _advanced(x: Array, entries: list[Entry]) -> Array:
    """Indexing with arrays."""
    found = picks(entries)
    merged = found.merged(sliced(x, found.ranges))
    linear = _linear([entry.indices for entry in found.picked], found.extents(x.shape))
    attrs = GatherAttrs(found.before)
    result = bind1(indexing.gather, merged, broadcast_to(linear, found.block), attrs=attrs)
    return reshape(result, advanced_shape(entries, found.block, found.together))


def advanced_shape(entries: Sequence[Entry], block: tuple[int, ...], together: bool) -> tuple[int, ...]:
    if not together:  # NumPy puts the gathered dims first when something stands between the arrays
        return (*block, *_result_shape(entries, ()))
    return _result_shape(entries, block) if block else _result_shape(entries, ())


def _as_gather(entry: Entry) -> Gather:
    if isinstance(entry, At):
        return Gather(entry.axis, np.array(entry.position, np.int64))
    assert isinstance(entry, Gather)
    return entry


def _linear(indices: Sequence[Array], extents: Sequence[int]) -> Array:
    """Row-major position from one index per axis; each is clamped to its own axis first."""
    if len(indices) == 1:
        return indices[0]
    total: Array | None = None
    for index, extent in zip(indices, extents, strict=True):
        wide = to_dtype(index, dtypes.int64)
        inside = bind1(elementwise.max_, bind1(elementwise.min_, wide, max(extent - 1, 0)), 0)
        total = inside if total is None else bind1(elementwise.add, bind1(elementwise.mul, total, extent), inside)
    assert total is not None
    return total


def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None, mode: str = "wrap_negative") -> Array:
    """Elements of `x` along `axis` (of the flattened `x` without one) at integer positions."""
    array = as_array(x)
    if axis is None:
        array, axis = reshape(array, -1), 0
    position = normal_axis("take", axis, len(array.shape))
    if mode != "clip":
        where = _gather_entry(position, array.shape[position], indices).indices
    else:
        where = as_array(indices)
        if is_sanitizing():  # gather clamps by itself; here that is meant
            last = min(max(array.shape[position] - 1, 0), int(np.iinfo(dtype_of(where).name).max))
            where = bind1(elementwise.max_, bind1(elementwise.min_, where, last), 0)
    return bind1(indexing.gather, array, where, attrs=GatherAttrs(position))


def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int) -> Array:
    """`result[i, j, ...] = x[i, indices[i, j, ...], ...]`: one index per result element."""
    array, where = as_array(x), as_array(indices)
    rank = len(array.shape)
    position = normal_axis("take_along_axis", axis, rank)
    if len(where.shape) != rank:
        raise ShapeError(with_line(f"take_along_axis: indices have rank {len(where.shape)}, the array {rank}"))
    others = broadcast_shape("take_along_axis", [_without(array.shape, position), _without(where.shape, position)])
    chosen = _gather_entry(position, array.shape[position], where).indices
    last = (*(d for d in range(rank) if d != position), position)
    source = broadcast_to(movement.transpose(array, last), (*others, array.shape[position]))
    picked = broadcast_to(movement.transpose(chosen, last), (*others, where.shape[position]))
    found = bind1(indexing.gather, source, picked, attrs=GatherAttrs(rank - 1, rank - 1))
    return movement.transpose(found, tuple(last.index(d) for d in range(rank)))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def coordinates(shape: tuple[int, ...], axis: int) -> Array:
    """Each element's own index along an axis (int64); made by the program while tracing, not stored in it."""
    attrs = IotaAttrs(shape, dtypes.int64, axis)
    return bind_nodes(iota, (), attrs)[0] if is_tracing() else bind1(iota, attrs=attrs)
