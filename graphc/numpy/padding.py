"""`pad`: elements added around an array, constant or taken from its edges."""

from collections.abc import Callable, Sequence

from graphc.core.errors import ArgumentError, ShapeError, UnsupportedError
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array
from graphc.tracing.context import Array, ArrayLike, Scalar, with_line

Widths = int | tuple[int, int] | Sequence[int | tuple[int, int]]


def pad(x: ArrayLike, pad_width: Widths, mode: str = "constant", constant_values: Scalar = 0) -> Array:
    """`pad_width` is (before, after) for every dim, one pair for all dims, or one int for all.

    Modes: "constant" (`constant_values`), "edge" (the outermost element), "reflect" (mirrored, the outermost element
    once), "symmetric" (mirrored, twice), "wrap" (from the other end).

    >>> import graphc.numpy as gnp
    >>> gnp.pad([1, 2, 3], (2, 1), mode="reflect").tolist()
    [3, 2, 1, 2, 3, 2]
    """
    array = as_array(x)
    widths = _widths(pad_width, len(array.shape))
    if mode == "constant":
        return movement.pad_constant(array, [a for a, _ in widths], [b for _, b in widths], constant_values)
    if mode not in _SIDES:
        known = ", ".join(("constant", *_SIDES))
        raise UnsupportedError(with_line(f"pad: mode {mode!r} is not one of {known}"))
    for axis, (before, after) in enumerate(widths):
        array = _padded(mode, array, axis, before, after)
    return array


def _widths(given: Widths, rank: int) -> list[tuple[int, int]]:
    if isinstance(given, int):
        pairs = [(given, given)] * rank
    else:
        listed = [item if isinstance(item, (tuple, list)) else (item,) for item in given]
        if all(len(item) == 1 for item in listed) and len(listed) == 2:
            pairs = [(int(listed[0][0]), int(listed[1][0]))] * rank
        else:
            pairs = [(int(item[0]), int(item[-1])) for item in listed]
            pairs = pairs * rank if len(pairs) == 1 else pairs
    if len(pairs) != rank:
        raise ShapeError(with_line(f"pad: widths for {len(pairs)} dims, the array has {rank}"))
    if any(min(pair) < 0 for pair in pairs):
        raise ArgumentError(with_line(f"pad: widths must not be negative, got {given}"))
    return pairs


def _padded(mode: str, x: Array, axis: int, before: int, after: int) -> Array:
    if before == after == 0:
        return x
    extent, smallest = x.shape[axis], 1 + (mode == "reflect")
    if extent < 1 or (mode != "edge" and max(before, after) > extent - smallest + 1):
        raise ShapeError(
            with_line(f"pad: {mode} by ({before}, {after}) is more than axis {axis} of {list(x.shape)} has")
        )
    side = _SIDES[mode]
    parts = [side(x, axis, before, True)] if before else []
    parts.append(x)
    parts += [side(x, axis, after, False)] if after else []
    return movement.concatenate(parts, axis)


def _edge(x: Array, axis: int, width: int, front: bool) -> Array:
    at = 0 if front else x.shape[axis] - 1
    shape = tuple(width if d == axis else extent for d, extent in enumerate(x.shape))
    return movement.broadcast_to(movement.slice_axis(x, axis, at, at + 1), shape)


def _mirrored(skip: int) -> Callable[[Array, int, int, bool], Array]:
    def side(x: Array, axis: int, width: int, front: bool) -> Array:
        extent = x.shape[axis]
        low = skip if front else extent - skip - width
        return movement.reverse(movement.slice_axis(x, axis, low, low + width), (axis,))

    return side


def _wrapped(x: Array, axis: int, width: int, front: bool) -> Array:
    extent = x.shape[axis]
    low = extent - width if front else 0
    return movement.slice_axis(x, axis, low, low + width)


_SIDES: dict[str, Callable[[Array, int, int, bool], Array]] = {
    "edge": _edge,
    "reflect": _mirrored(1),
    "symmetric": _mirrored(0),
    "wrap": _wrapped,
}
