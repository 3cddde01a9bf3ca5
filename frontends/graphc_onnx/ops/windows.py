"""How windows lie along the spatial dims: strides, dilations, pads, and the ways ONNX has to leave pads out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import graphc.numpy as gnp
from graphc.api import Array, ShapeError
from graphc_onnx.ops.common import Ints, only

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True)
class Window:
    """Windows along one dim: `size` taps, `dilation` apart, `stride` from window to window, over a padded extent."""

    extent: int
    size: int
    stride: int
    dilation: int
    low: int
    high: int

    @property
    def reach(self) -> int:
        """From the first tap of a window to behind its last."""
        return (self.size - 1) * self.dilation + 1

    @property
    def count(self) -> int:
        """Windows that fit."""
        count = (self.extent + self.low + self.high - self.reach) // self.stride + 1
        if count < 1:
            raise ShapeError(f"a window of {self.reach} does not fit {self.extent} elements")
        return count

    def rounded_up(self) -> Window:
        """With padding at the end for one window more, if that would begin before the padding there."""
        over = (self.extent + self.low + self.high - self.reach) % self.stride
        if not over or self.count * self.stride >= self.extent + self.low:
            return self
        return Window(self.extent, self.size, self.stride, self.dilation, self.low, self.high + self.stride - over)


def windows_of(
    extents: Sequence[int],
    sizes: Sequence[int],
    strides: Ints | None,
    dilations: Ints | None,
    pads: Ints | None,
    auto_pad: str,
) -> list[Window]:
    """The windows of each spatial dim."""
    rank = len(extents)
    only("auto_pad", auto_pad, *AUTO_PADS)
    steps, spreads, around = strides or (1,) * rank, dilations or (1,) * rank, pads or (0,) * (2 * rank)
    if not len(sizes) == len(steps) == len(spreads) == len(around) // 2 == rank:
        raise ShapeError(f"kernel, strides, dilations or pads are not of the {rank} spatial dims")
    found = []
    for dim, (extent, size, stride, dilation) in enumerate(zip(extents, sizes, steps, spreads, strict=True)):
        low, high = around[dim], around[dim + rank]
        if auto_pad.startswith("SAME"):
            total = max((-(-extent // stride) - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
            low, high = total // 2, total - total // 2
            if auto_pad == "SAME_LOWER":
                low, high = high, low
        elif auto_pad == "VALID":
            low = high = 0
        found.append(Window(extent, size, stride, dilation, low, high))
    return found


def _under(number: int, window: Window) -> slice:
    """What all windows have under a tap."""
    first = number * window.dilation
    return slice(first, first + (window.count - 1) * window.stride + 1, window.stride)


def reduced(x: Array, windows: Sequence[Window], reducer: str) -> Array:
    """x [N, C, *extents] to [N, C, *counts]: the sum ("sum") or the largest ("max") of the elements of each window."""
    return gnp.reduce_window(
        x,
        reducer,
        [window.size for window in windows],
        [window.stride for window in windows],
        [(window.low, window.high) for window in windows],
        [window.dilation for window in windows],
    )


def taps(x: Array, windows: Sequence[Window], fill: float) -> Array:
    """x [N, C, *extents] to [N, C, taps, *counts]: what each window has under each of its taps."""
    padded = gnp.pad(x, [(0, 0), (0, 0), *((w.low, w.high) for w in windows)], constant_values=fill)
    found = []
    for numbers in product(*(range(w.size) for w in windows)):
        index = (_under(number, window) for number, window in zip(numbers, windows, strict=True))
        found.append(padded[(slice(None), slice(None), *index)])
    return gnp.stack(found, axis=2)
