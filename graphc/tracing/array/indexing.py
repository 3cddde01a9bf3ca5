"""`x[...]`, `take` and `x.at[...]`: NumPy's indexing by ints, slices, None, Ellipsis and integer arrays.

Ints and slices are static and become slices of the graph; integer arrays (traced or not) become gathers. Boolean masks
have a result whose shape depends on data, which a static graph cannot hold.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ShapeError, TraceError, UnsupportedError
from graphc.core.records import dataclass
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops.movement import AxisAttrs
from graphc.graph.ops.source import IotaAttrs, iota
from graphc.tracing.array import movement
from graphc.tracing.array.movement import normal_axis, reshape, slice_axis, static_slice
from graphc.tracing.bind import as_array, bind1, broadcast_shape, broadcast_to, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, bind_nodes, is_tracing, with_line

Index: TypeAlias = object


@dataclass(frozen=True, slots=True)
class _At:
    """One element of an axis."""

    axis: int
    position: int


@dataclass(frozen=True, slots=True)
class _Range:
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
class _New:
    """A new axis of extent 1."""


@dataclass(frozen=True, slots=True)
class _Gather:
    """An axis indexed by an array."""

    axis: int
    indices: Array


_Entry: TypeAlias = _At | _Range | _New | _Gather


def _parse(shape: tuple[int, ...], index: Index) -> list[_Entry]:
    items = list(index) if isinstance(index, tuple) else [index]
    consumed = sum(1 for item in items if item is not None and item is not Ellipsis)
    if consumed > len(shape):
        raise ShapeError(with_line(f"index: {consumed} indices for an array of rank {len(shape)}"))
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ShapeError(with_line("index: only one Ellipsis is allowed"))
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (len(shape) - consumed)
    entries: list[_Entry] = []
    axis = 0
    for item in items:
        if item is None:
            entries.append(_New())
            continue
        entries.append(_entry(shape, axis, item))
        axis += 1
    return entries


def _entry(shape: tuple[int, ...], axis: int, item: object) -> _Entry:
    extent = shape[axis]
    if isinstance(item, slice):
        return _range(axis, extent, item)
    if isinstance(item, (bool, np.bool_)):
        raise _mask_error()
    if isinstance(item, (int, np.integer)):
        if not -extent <= item < extent:
            raise ShapeError(with_line(f"index: {item} is outside axis {axis} of {list(shape)}"))
        return _At(axis, int(item) % extent)
    if isinstance(item, (TracedValue, np.ndarray, list)):
        return _gather_entry(axis, extent, item)  # type: ignore[arg-type]
    raise TraceError(with_line(f"index: a {type(item).__name__} cannot index an array: {item!r:.60}"))


def _mask_error() -> TraceError:
    return TraceError(
        with_line(
            "index: a boolean mask selects a number of elements that is not known while tracing; "
            "write gnp.where(mask, x, other), or multiply by the mask"
        )
    )


def _range(axis: int, extent: int, item: slice) -> _Range:
    for bound in (item.start, item.stop, item.step):
        if isinstance(bound, TracedValue):
            raise TraceError(
                with_line(
                    "index: the bounds of a slice must be Python ints, a traced value has no number yet; "
                    "write gnp.take(x, start + gnp.arange(length), axis) for a window that moves"
                )
            )
    start, stop, step = item.indices(extent)
    positions = range(start, stop, step)
    if not positions:
        return _Range(axis, 0, 0, 1, False)
    if step > 0:
        return _Range(axis, positions[0], positions[-1] + 1, step, False)
    return _Range(axis, positions[-1], positions[0] + 1, -step, True)


def _gather_entry(axis: int, extent: int, item: ArrayLike) -> _Gather:
    if isinstance(item, list) and not item:
        item = np.zeros(0, np.int64)
    indices = as_array(item)
    if dtype_of(indices).is_bool:
        raise _mask_error()
    if not dtype_of(indices).is_integer:
        raise TraceError(with_line(f"index: an array of {dtype_of(indices)} cannot index; cast with .astype('int32')"))
    return _Gather(axis, from_front(indices, extent, axis))


def from_front(indices: Array, extent: int, axis: int) -> Array:
    """Indices with negative ones counted from the end; constants are checked, traced ones are not (they clamp)."""
    if isinstance(indices, TracedValue):
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
    entries = _parse(array.shape, index)
    if any(isinstance(entry, _Gather) for entry in entries):
        return _advanced(array, entries)
    return reshape(_sliced(array, entries), _result_shape(entries, ()))


def _sliced(x: Array, entries: Sequence[_Entry]) -> Array:
    """`x` with ranges taken and single positions kept as dims of extent 1; gathered axes are untouched."""
    start, stop, step = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    flipped: list[int] = []
    for entry in entries:
        if isinstance(entry, _At):
            start[entry.axis], stop[entry.axis] = entry.position, entry.position + 1
        elif isinstance(entry, _Range):
            start[entry.axis], stop[entry.axis], step[entry.axis] = entry.start, entry.stop, entry.step
            flipped += [entry.axis] * entry.flipped
    return movement.reverse(static_slice(x, start, stop, step), flipped)


def _result_shape(entries: Sequence[_Entry], gathered: tuple[int, ...]) -> tuple[int, ...]:
    """Dims of the result; the dims of the gathered block stand where its first entry is."""
    shape: list[int] = []
    placed = False
    for entry in entries:
        if isinstance(entry, _Range):
            shape.append(entry.length)
        elif isinstance(entry, _New):
            shape.append(1)
        elif gathered and not placed and isinstance(entry, (_Gather, _At)):
            shape += gathered
            placed = True
    return tuple(shape)


def _advanced(x: Array, entries: list[_Entry]) -> Array:
    """Indexing with arrays: ints join them as 0-d arrays, and the axes they index are merged into one gather."""
    places = [i for i, entry in enumerate(entries) if isinstance(entry, (_Gather, _At))]
    picked = [_as_gather(entries[i]) for i in places]
    rest = [entry for entry in entries if isinstance(entry, _Range)]
    block = broadcast_shape("index", [entry.indices.shape for entry in picked])
    sliced = _sliced(x, rest)
    together = places == list(range(places[0], places[-1] + 1))
    before = sum(1 for entry in entries[: places[0]] if isinstance(entry, _Range)) if together else 0
    axes = [entry.axis for entry in picked]
    others = [entry.axis for entry in rest]
    ordered = movement.transpose(sliced, (*others[:before], *axes, *others[before:]))
    extents = ordered.shape[before : before + len(axes)]
    merged = reshape(ordered, (*ordered.shape[:before], prod(extents), *ordered.shape[before + len(axes) :]))
    linear = _linear([entry.indices for entry in picked], extents)
    result = bind1(indexing.gather, merged, broadcast_to(linear, block), attrs=AxisAttrs(before))
    return reshape(result, _advanced_shape(entries, block, together))


def _advanced_shape(entries: Sequence[_Entry], block: tuple[int, ...], together: bool) -> tuple[int, ...]:
    if not together:  # NumPy puts the gathered dims first when something stands between the arrays
        return (*block, *_result_shape(entries, ()))
    return _result_shape(entries, block) if block else _result_shape(entries, ())


def _as_gather(entry: _Entry) -> _Gather:
    if isinstance(entry, _At):
        return _Gather(entry.axis, np.array(entry.position, np.int64))
    assert isinstance(entry, _Gather)
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
    entry = _gather_entry(position, array.shape[position], indices) if mode != "clip" else None
    where = entry.indices if entry else as_array(indices)
    return bind1(indexing.gather, array, where, attrs=AxisAttrs(position))


def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int) -> Array:
    """`result[i, j, ...] = x[i, indices[i, j, ...], ...]`: one index per result element."""
    array, where = as_array(x), as_array(indices)
    rank = len(array.shape)
    position = normal_axis("take_along_axis", axis, rank)
    if len(where.shape) != rank:
        raise ShapeError(with_line(f"take_along_axis: indices have rank {len(where.shape)}, the array {rank}"))
    shape = list(broadcast_shape("take_along_axis", [_without(array.shape, position), _without(where.shape, position)]))
    source = broadcast_to(array, (*shape[:position], array.shape[position], *shape[position:]))
    target = (*shape[:position], where.shape[position], *shape[position:])
    chosen = broadcast_to(_gather_entry(position, array.shape[position], where).indices, target)
    parts = [chosen if d == position else _coordinates(target, d) for d in range(rank)]
    return bind1(indexing.gather, reshape(source, -1), _linear(parts, source.shape), attrs=AxisAttrs(0))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _coordinates(shape: tuple[int, ...], axis: int) -> Array:
    """Each element's own index along an axis (int64); made by the program while tracing, not stored in it."""
    attrs = IotaAttrs(shape, dtypes.int64, axis)
    return bind_nodes(iota, (), attrs)[0] if is_tracing() else bind1(iota, attrs=attrs)


# x.at[index].set(v) and friends


def update(x: Array, index: Index, change: Callable[[Array], ArrayLike], name: str) -> Array:
    """A copy of `x` whose elements at `index` (ints, slices, or one traced int) are `change(old)`."""
    entries = _parse(x.shape, index)
    gathers = [entry for entry in entries if isinstance(entry, _Gather)]
    if gathers:
        return _update_dynamic(x, entries, gathers, change, name)
    old = getitem(x, index)
    new = as_array(change(old), dtype_of(x))
    if broadcast_shape(name, (new.shape, old.shape)) != old.shape:
        raise ShapeError(with_line(f"{name}: values of shape {list(new.shape)} do not fit {list(old.shape)}"))
    window = [entry for entry in entries if not isinstance(entry, _New)]
    kept = tuple(1 if isinstance(e, _At) else e.length for e in window if isinstance(e, (_At, _Range)))
    block = reshape(broadcast_to(new, old.shape), kept)
    flips = [e.axis for e in window if isinstance(e, _Range) and e.flipped]
    return _replace(x, movement.reverse(block, flips), _windows(window))


def _windows(entries: Sequence[_Entry]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for entry in entries:
        if isinstance(entry, _At):
            found.append((entry.position, entry.position + 1, 1))
        elif isinstance(entry, _Range):
            found.append((entry.start, entry.stop, entry.step))
    return found


def _replace(x: Array, block: Array, windows: Sequence[tuple[int, int, int]]) -> Array:
    """`x` with the window replaced, by joining what lies before it, the block, and what lies after, axis by axis."""
    if 0 in block.shape:
        return x
    axis = next((d for d, w in enumerate(windows) if w != (0, x.shape[d], 1)), None)
    if axis is None:
        return block
    start, stop, step = windows[axis]
    if step > 1:
        return _replace_strided(x, block, windows)
    rest = [(0, stop - start, 1) if d == axis else w for d, w in enumerate(windows)]
    covered = all(w == (0, x.shape[d], 1) for d, w in enumerate(windows) if d != axis)
    inner = block if covered else _replace(slice_axis(x, axis, start, stop), block, rest)
    before = [slice_axis(x, axis, 0, start)] if start > 0 else []
    after = [slice_axis(x, axis, stop, x.shape[axis])] if stop < x.shape[axis] else []
    return movement.concatenate([*before, inner, *after], axis)


def _replace_strided(x: Array, block: Array, windows: Sequence[tuple[int, int, int]]) -> Array:
    """A window with steps: the block is spread over `x`'s shape and chosen where the coordinates are in the window."""
    low = [start for start, _, _ in windows]
    between = [step - 1 for _, _, step in windows]
    spread = [extent + (extent - 1) * gap for extent, gap in zip(block.shape, between, strict=True)]
    high = [extent - a - b for extent, a, b in zip(x.shape, low, spread, strict=True)]
    padded = movement.pad_constant(block, low, high, interior=between)
    inside: Array = np.array(True)
    for axis, (start, stop, step) in enumerate(windows):
        place = _coordinates(x.shape, axis)
        offset = bind1(elementwise.sub, place, start)
        fits = bind1(elementwise.eq, bind1(elementwise.rem, offset, step), 0)
        fits = bind1(elementwise.and_, fits, bind1(elementwise.ge, offset, 0))
        fits = bind1(elementwise.and_, fits, bind1(elementwise.lt, place, stop))
        inside = bind1(elementwise.and_, inside, fits)
    return bind1(elementwise.select, inside, padded, x)


def _update_dynamic(
    x: Array,
    entries: Sequence[_Entry],
    gathers: Sequence[_Gather],
    change: Callable[[Array], ArrayLike],
    name: str,
) -> Array:
    """One traced int on one axis, everything else taken whole: chosen where the coordinate equals it."""
    whole = all(
        isinstance(e, _Gather) or (isinstance(e, _Range) and (e.length, e.flipped) == (x.shape[e.axis], False))
        for e in entries
    )
    if len(gathers) != 1 or gathers[0].indices.shape != () or not whole:
        raise UnsupportedError(
            with_line(f"{name}: takes ints, slices, or one integer on one axis; .add also takes an integer array")
        )
    axis, position = gathers[0].axis, gathers[0].indices
    old = bind1(indexing.gather, x, position, attrs=AxisAttrs(axis))
    new = broadcast_to(as_array(change(old), dtype_of(x)), old.shape)
    row = reshape(new, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    here = bind1(elementwise.eq, _coordinates(x.shape, axis), to_dtype(position, dtypes.int64))
    return bind1(elementwise.select, here, row, x)


def add_at(x: Array, index: Index, values: ArrayLike) -> Array:
    """`x` with `values` added at `index`; repeated indices of an integer array add up in index order."""
    entries = _parse(x.shape, index)
    arrays = [entry for entry in entries if isinstance(entry, _Gather) and entry.indices.shape != ()]
    whole = all(
        isinstance(e, _Gather) or (isinstance(e, _Range) and (e.length, e.flipped) == (x.shape[e.axis], False))
        for e in entries
    )
    if not (len(arrays) == 1 and whole and sum(isinstance(e, _Gather) for e in entries) == 1):
        return update(x, index, lambda old: bind1(elementwise.add, old, values), "at[...].add")
    axis, indices = arrays[0].axis, arrays[0].indices
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return bind1(
        indexing.scatter_add, x, indices, broadcast_to(as_array(values, dtype_of(x)), shape), attrs=AxisAttrs(axis)
    )
