"""What is written wherever windows slide over a value without holes: its padding, its windows, its taps.

Shared by the pass that writes windows out and by the derivative rules of windows.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from graphc.graph.compose import Compose, Scalar
from graphc.graph.ir import Value
from graphc.graph.ops import movement
from graphc.graph.ops import sliding as ops
from graphc.graph.ops.sliding import Sliding, WindowsAttrs


def padded(c: Compose, x: Value, dims: Sequence[int], sliding: Sequence[Sliding], fill: Scalar) -> Value:
    """x with the padding of its dims, holes filled: elements added, or cut where it is negative."""
    if any(each.base > 1 for each in sliding):
        interior = [0] * x.type.rank
        for dim, each in zip(dims, sliding, strict=True):
            interior[dim] = each.base - 1
        none = (0,) * x.type.rank
        x = c.pad(x, c.scalar(fill, x.dtype), none, none, tuple(interior))
    start, stop = [0] * x.type.rank, list(x.shape)
    low, high = [0] * x.type.rank, [0] * x.type.rank
    for dim, each in zip(dims, sliding, strict=True):
        start[dim] = min(max(-each.low, 0), x.shape[dim])
        stop[dim] = max(x.shape[dim] - max(-each.high, 0), start[dim])
        low[dim], high[dim] = max(each.low, 0), max(each.high, 0)
    x = c.slice(x, tuple(start), tuple(stop), (1,) * x.type.rank)
    return c.pad(x, c.scalar(fill, x.dtype), tuple(low), tuple(high)) if any((*low, *high)) else x


def windows(
    c: Compose,
    x: Value,
    dims: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    flipped: bool = False,
) -> Value:
    """`windows` along `dims`, which increase. flipped: the last element of each window comes first."""
    if not dims:
        return x
    found = c(ops.windows, x, attrs=WindowsAttrs(tuple(dims), tuple(size), tuple(stride), tuple(dilation)))
    return c.reverse(found, tuple(range(x.type.rank, found.type.rank))) if flipped else found


def taps(c: Compose, x: Value, dims: Sequence[int], sliding: Sequence[Sliding]) -> Iterator[Value]:
    """For each tap, in row-major order, the element that every window has there. x is padded; no window is empty."""
    for numbers in product(*(range(each.size) for each in sliding)):
        start, stop, step = [0] * x.type.rank, list(x.shape), [1] * x.type.rank
        for dim, each, number in zip(dims, sliding, numbers, strict=True):
            start[dim] = number * each.dilation
            stop[dim] = start[dim] + (each.places - 1) * each.stride + 1
            step[dim] = each.stride
        attrs = movement.SliceAttrs(tuple(start), tuple(stop), tuple(step))
        yield c(movement.slice_, x, attrs=attrs)
