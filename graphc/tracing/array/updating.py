"""`x.at[...]`: copies of `x` with some elements changed.

Ints and slices are static: the new elements are joined with what is kept. One traced int on one axis is chosen by
comparing coordinates, arrays of integers become a scatter, a boolean mask a select. An integer outside of its axis
changes nothing; of several updates of one element the last one stays, or all are combined in index order.
"""

from collections.abc import Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Op
from graphc.graph.ops import elementwise, indexing
from graphc.graph.ops.indexing import GatherAttrs
from graphc.tracing.array import movement
from graphc.tracing.array.indexing import (
    At,
    Entry,
    Gather,
    Index,
    New,
    Range,
    advanced_shape,
    as_mask,
    coordinates,
    getitem,
    parse,
    picks,
    sliced,
)
from graphc.tracing.array.movement import reshape, slice_axis
from graphc.tracing.bind import bind1, broadcast_shape, broadcast_to, dtype_of, same_kind, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of old elements: elementwise, given old and new ones, and as a scatter."""

    name: str
    scatter: Op
    elementwise: Op | None  # None: the new ones

    def of(self, old: Array, new: ArrayLike) -> Array:
        if self.elementwise is None:
            return same_kind(self.name, new, dtype_of(old))
        return bind1(self.elementwise, old, same_kind(self.name, new, dtype_of(old)))


SET = Change("at[...].set", indexing.scatter, None)
ADD = Change("at[...].add", indexing.scatter_add, elementwise.add)
MULTIPLY = Change("at[...].multiply", indexing.scatter_mul, elementwise.mul)
MIN = Change("at[...].min", indexing.scatter_min, elementwise.min_)
MAX = Change("at[...].max", indexing.scatter_max, elementwise.max_)


def update(x: Array, index: Index, values: ArrayLike, change: Change) -> Array:
    """A copy of `x` whose elements at `index` are changed by `values`, which broadcast to the shape of `x[index]`."""
    mask = as_mask(index)
    if mask is not None:
        return _masked(x, mask, values, change)
    entries = parse(x.shape, index)
    arrays = [entry for entry in entries if isinstance(entry, Gather)]
    if not arrays:
        return _static(x, index, entries, values, change)
    if len(arrays) == 1 and arrays[0].indices.shape == () and _is_alone(x, entries):
        return _chosen(x, arrays[0], values, change)
    return _scattered(x, entries, values, change)


def _fits(change: Change, values: Array, shape: tuple[int, ...], what: str) -> None:
    if broadcast_shape(change.name, (values.shape, shape)) != shape:
        raise ShapeError(with_line(f"{change.name}: values of shape {list(values.shape)} do not fit {what}"))


def _masked(x: Array, mask: Array, values: ArrayLike, change: Change) -> Array:
    """Where a mask over the first dims is true: one set of values for all those places."""
    rank = len(mask.shape)
    if mask.shape != x.shape[:rank]:
        raise ShapeError(
            with_line(f"{change.name}: a mask of shape {list(mask.shape)} does not fit an array of {list(x.shape)}")
        )
    rest = x.shape[rank:]
    new = same_kind(change.name, values, dtype_of(x))
    if len(new.shape) == len(rest) + 1 and new.shape[0] == 1:
        new = reshape(new, new.shape[1:])
    _fits(change, new, rest, "a mask, whose places all get the same")
    chosen = reshape(mask, (*mask.shape, *(1 for _ in rest)))
    return bind1(elementwise.select, chosen, change.of(x, new), x)


def _static(x: Array, index: Index, entries: Sequence[Entry], values: ArrayLike, change: Change) -> Array:
    old = getitem(x, index)
    new = change.of(old, values)
    _fits(change, new, old.shape, str(list(old.shape)))
    window = [entry for entry in entries if not isinstance(entry, New)]
    kept = tuple(1 if isinstance(e, At) else e.length for e in window if isinstance(e, (At, Range)))
    block = reshape(broadcast_to(new, old.shape), kept)
    flips = [e.axis for e in window if isinstance(e, Range) and e.flipped]
    return _replace(x, movement.reverse(block, flips), _windows(window))


def _windows(entries: Sequence[Entry]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for entry in entries:
        if isinstance(entry, At):
            found.append((entry.position, entry.position + 1, 1))
        elif isinstance(entry, Range):
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
        place = coordinates(x.shape, axis)
        offset = bind1(elementwise.sub, place, start)
        fits = bind1(elementwise.eq, bind1(elementwise.rem, offset, step), 0)
        fits = bind1(elementwise.and_, fits, bind1(elementwise.ge, offset, 0))
        fits = bind1(elementwise.and_, fits, bind1(elementwise.lt, place, stop))
        inside = bind1(elementwise.and_, inside, fits)
    return bind1(elementwise.select, inside, padded, x)


def _is_whole(x: Array, entry: Entry) -> bool:
    return isinstance(entry, Range) and (entry.length, entry.flipped) == (x.shape[entry.axis], False)


def _is_alone(x: Array, entries: Sequence[Entry]) -> bool:
    """Whether one axis is indexed by an array and all others are taken whole."""
    return sum(isinstance(e, Gather) for e in entries) == 1 and all(
        isinstance(e, Gather) or _is_whole(x, e) for e in entries
    )


def _chosen(x: Array, entry: Gather, values: ArrayLike, change: Change) -> Array:
    """One traced int on one axis: chosen where the coordinate equals it."""
    axis, position = entry.axis, entry.indices
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    new = same_kind(change.name, values, dtype_of(x))
    _fits(change, new, shape, str(list(shape)))
    row = reshape(broadcast_to(new, shape), (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    here = bind1(elementwise.eq, coordinates(x.shape, axis), to_dtype(position, dtypes.int64))
    return bind1(elementwise.select, here, change.of(x, broadcast_to(row, x.shape)), x)


def _scattered(x: Array, entries: list[Entry], values: ArrayLike, change: Change) -> Array:
    found = picks(entries)
    window = sliced(x, found.ranges)
    merged = found.merged(window)
    result = advanced_shape(entries, found.block, found.together)
    new = same_kind(change.name, values, dtype_of(x))
    _fits(change, new, result, str(list(result)))
    shape = (*merged.shape[: found.before], *found.block, *merged.shape[found.before + 1 :])
    updates = reshape(broadcast_to(new, result), shape)
    place = broadcast_to(_place([entry.indices for entry in found.picked], found.extents(x.shape)), found.block)
    changed = bind1(change.scatter, merged, place, updates, attrs=GatherAttrs(found.before))
    block = found.unmerged(changed, window.shape)
    flips = [e.axis for e in found.ranges if isinstance(e, Range) and e.flipped]
    taken = {e.axis: (e.start, e.stop, e.step) for e in found.ranges if isinstance(e, Range)}
    return _replace(x, movement.reverse(block, flips), [taken.get(d, (0, e, 1)) for d, e in enumerate(x.shape)])


def _place(indices: Sequence[Array], extents: Sequence[int]) -> Array:
    """Row-major position from one index per axis; -1 where one of them is outside of its axis."""
    if len(indices) == 1:
        return indices[0]
    total: Array = np.array(0)
    inside: Array = np.array(True)
    for index, extent in zip(indices, extents, strict=True):
        wide = to_dtype(index, dtypes.int64)
        fits = bind1(elementwise.and_, bind1(elementwise.ge, wide, 0), bind1(elementwise.lt, wide, extent))
        inside = bind1(elementwise.and_, inside, fits)
        total = bind1(elementwise.add, bind1(elementwise.mul, total, extent), wide)
    return bind1(elementwise.select, inside, total, -1)
