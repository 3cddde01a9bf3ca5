"""`pad`: elements added around an array, constant, taken from the array, or computed from it. Negative widths crop."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, ShapeError, TraceError, UnsupportedError
from graphc.core.records import dataclass
from graphc.graph.ops import elementwise
from graphc.numpy.creation import indices_along
from graphc.numpy.sorting import median as _median
from graphc.tracing.array import indexing, movement, reduction
from graphc.tracing.bind import as_array, bind1, dtype_of, same_kind, scalar_array, to_dtype
from graphc.tracing.context import Array, ArrayLike, Scalar, TracedValue, with_line
from graphc.tracing.spec import DEFAULT_FLOAT, static_size

Widths = int | tuple[int, int] | Sequence[int | tuple[int, int]]
Ends = Scalar | Sequence[Scalar] | Sequence[Sequence[Scalar]]


def pad(
    x: ArrayLike,
    pad_width: Widths,
    mode: str = "constant",
    constant_values: Ends = 0,
    *,
    end_values: Ends = 0,
    reflect_type: str = "even",
    stat_length: int | None = None,
) -> Array:
    """`pad_width` is (before, after) for every dim, one pair for all dims, or one int for all; a negative width takes
    elements away. Values are given in the same ways.

    Modes: "constant" (`constant_values`), "empty" (zeros), "edge" (the outermost element), "linear_ramp" (from it to
    `end_values`), "reflect" (mirrored, the outermost element once), "symmetric" (mirrored, twice), "wrap" (from the
    other end); "maximum", "minimum", "mean", "median" (of the axis, or of the `stat_length` elements on that side).
    reflect_type="odd" mirrors at the value of the outermost element too.

    >>> import graphc.numpy as gnp
    >>> gnp.pad([1, 2, 3], (2, 1), mode="reflect").tolist()
    [3, 2, 1, 2, 3, 2]
    >>> gnp.pad([1, 2, 3], (1, -1)).tolist()
    [0, 1, 2]
    """
    array = as_array(x)
    if mode not in (*_SIDES, *_MIRRORS):
        known = ", ".join((*_SIDES, *_MIRRORS))
        raise UnsupportedError(with_line(f"pad: mode {mode!r} is not one of {known}"))
    if reflect_type not in ("even", "odd"):
        raise ArgumentError(with_line(f"pad: reflect_type is 'even' or 'odd', got {reflect_type!r}"))
    rank = len(array.shape)
    widths = [(_width(before), _width(after)) for before, after in _pairs(pad_width, rank)]
    ends = _pairs(constant_values if mode == "constant" else end_values, rank)
    if mode in ("constant", "linear_ramp"):
        _check_ends(array, "constant_values" if mode == "constant" else "end_values", ends)
    array = _cropped(array, widths)
    sides = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "constant" and len({end for pair in ends for end in pair}) <= 1:
        return movement.pad_constant(array, [a for a, _ in sides], [b for _, b in sides], ends[0][0] if ends else 0)
    for axis, pair in enumerate(sides):
        if not any(pair):
            continue
        extent = array.shape[axis]
        if extent < 1 and mode not in ("constant", "empty"):
            raise ShapeError(with_line(f"pad: {mode} by {pair} is more than axis {axis} of {list(array.shape)} has"))
        if mode in _MIRRORS:
            array = _mirrored(_MIRRORS[mode], array, axis, pair, mode, odd=reflect_type == "odd" and mode != "wrap")
            continue
        stat = extent if stat_length is None else min(stat_length, extent)
        given = [_Side(array, axis, width, i == 0, ends[axis][i], stat) for i, width in enumerate(pair)]
        parts = [_SIDES[mode](side) if side.width else None for side in given]
        array = movement.concatenate([p for p in (parts[0], array, parts[1]) if p is not None], axis)
    return array


def _width(given: object) -> int:
    return static_size("pad", "a width", given)


def _check_ends(x: Array, argument: str, ends: Sequence[tuple[object, object]]) -> None:
    """Raises `DTypeError` for values that the array's dtype would change."""
    for end in (end for pair in ends for end in pair):
        if isinstance(end, TracedValue):
            raise TraceError(with_line(f"pad: {argument} are Python numbers, a traced value has no number yet"))
        same_kind(f"pad: {argument}", end, dtype_of(x))  # type: ignore[arg-type]


def _pairs(given: object, rank: int) -> list[tuple[int, int]]:
    """One pair of numbers per dim."""
    if isinstance(given, np.ndarray) and given.ndim == 0:
        given = given[()]
    if not isinstance(given, (tuple, list, np.ndarray)):
        return [(given, given)] * rank  # type: ignore[list-item]
    listed = [tuple(item) if isinstance(item, (tuple, list, np.ndarray)) else (item,) for item in given]
    if all(len(item) == 1 for item in listed) and len(listed) == 2:
        return [(listed[0][0], listed[1][0])] * rank
    pairs = [(item[0], item[-1]) for item in listed]
    pairs = pairs * rank if len(pairs) == 1 else pairs
    if len(pairs) != rank:
        raise ShapeError(with_line(f"pad: widths for {len(pairs)} dims, the array has {rank}"))
    return pairs


def _cropped(x: Array, widths: Sequence[tuple[int, int]]) -> Array:
    for axis, (before, after) in enumerate(widths):
        low, high = max(-before, 0), x.shape[axis] - max(-after, 0)
        if low > high:
            raise ShapeError(with_line(f"pad: ({before}, {after}) takes more than axis {axis} of {list(x.shape)} has"))
        x = movement.slice_axis(x, axis, low, high)
    return x


@dataclass(frozen=True, slots=True)
class _Side:
    """`width` elements to be made in front of an axis, or behind it."""

    x: Array
    axis: int
    width: int
    front: bool
    end: float
    stat: int  # elements a statistic looks at

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.width if d == self.axis else extent for d, extent in enumerate(self.x.shape))

    def nearest(self, count: int) -> Array:
        """The `count` elements on this side."""
        extent = self.x.shape[self.axis]
        low = 0 if self.front else extent - count
        return movement.slice_axis(self.x, self.axis, low, low + count)

    def full(self, value: Scalar) -> Array:
        return movement.broadcast_to(scalar_array(value, dtype_of(self.x)), self.shape)


def _statistic(find: Callable[[Array, int], Array]) -> Callable[[_Side], Array]:
    def side(given: _Side) -> Array:
        found = find(given.nearest(given.stat), given.axis)
        dtype = dtype_of(given.x)
        if dtype.is_integer and dtype_of(found).is_float:
            found = bind1(elementwise.round_, found)
        return movement.broadcast_to(to_dtype(found, dtype), given.shape)

    return side


def _ramp(side: _Side) -> Array:
    dtype = dtype_of(side.x)
    kind = dtype if dtype.is_float else DEFAULT_FLOAT if dtype.bits < 32 else dtypes.float64
    edge = movement.broadcast_to(to_dtype(side.nearest(1), kind), side.shape)
    steps = indices_along((side.width,), 0, kind)
    steps = movement.reshape(steps, tuple(side.width if d == side.axis else 1 for d in range(len(side.shape))))
    steps = movement.broadcast_to(steps if side.front else movement.reverse(steps, (side.axis,)), side.shape)
    rise = bind1(elementwise.div, bind1(elementwise.sub, edge, float(side.end)), float(side.width))
    values = bind1(elementwise.add, bind1(elementwise.mul, rise, steps), float(side.end))
    return to_dtype(values if dtype.is_float else bind1(elementwise.floor, values), dtype)


_SIDES: Mapping[str, Callable[[_Side], Array]] = {
    "constant": lambda side: side.full(side.end),
    "empty": lambda side: side.full(0),
    "edge": lambda side: movement.broadcast_to(side.nearest(1), side.shape),
    "linear_ramp": _ramp,
    "maximum": _statistic(lambda x, axis: reduction.max(x, axis, True)),
    "minimum": _statistic(lambda x, axis: reduction.min(x, axis, True)),
    "mean": _statistic(lambda x, axis: reduction.mean(x, axis, None, True)),
    "median": _statistic(lambda x, axis: _median(x, axis, True)),
}

# Modes that read the array backwards or from the other end: how many outermost elements they skip; None: "wrap".
_MIRRORS: Mapping[str, int | None] = {"reflect": 1, "symmetric": 0, "wrap": None}


def _mirrored(skip: int | None, x: Array, axis: int, widths: tuple[int, int], mode: str, odd: bool) -> Array:
    extent = x.shape[axis]
    if max(widths) > extent - (skip or 0):
        if odd:
            raise ShapeError(with_line(f"pad: {mode} by {widths} is more than axis {axis} of {list(x.shape)} has"))
        # several times to and fro: every element by its index
        return indexing.take(x, np.pad(np.arange(extent), widths, mode), axis)  # type: ignore[call-overload]
    parts: list[Array] = []
    for width, front in zip(widths, (True, False), strict=True):
        if skip is None:
            low = extent - width if front else 0
            part = movement.slice_axis(x, axis, low, low + width)
        else:
            low = skip if front else extent - skip - width
            part = movement.reverse(movement.slice_axis(x, axis, low, low + width), (axis,))
        if odd:
            at = 0 if front else extent - 1
            edge = movement.broadcast_to(movement.slice_axis(x, axis, at, at + 1), part.shape)
            part = bind1(elementwise.sub, bind1(elementwise.add, edge, edge), part)
        parts.append(part)
    return movement.concatenate([p for p in (parts[0], x, parts[1]) if p.shape[axis]], axis)
