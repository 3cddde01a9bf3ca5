"""Convolutions and their transposes, of floats and of quantised integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, ShapeError
from graphc_onnx.ops.common import Ints, cast, dtype_of, only, size
from graphc_onnx.ops.quantisation import quantise
from graphc_onnx.ops.windows import AUTO_PADS, Window, taps, windows_of
from graphc_onnx.table import Row


def _convolved(x: Array, w: Array, windows: Sequence[Window], group: int) -> Array:
    """x [N, C, *extents] with w [M, C / group, *sizes]: [N, M, *counts]."""
    batch, channels = x.shape[:2]
    filters = w.shape[0]
    if channels != w.shape[1] * group or filters % group:
        raise ShapeError(f"{channels} channels in {group} groups do not fit weights of shape {list(w.shape)}")
    counts = [window.count for window in windows]
    columns = gnp.reshape(taps(x, windows, 0), (batch, group, channels // group, -1, size(counts)))
    weights = gnp.reshape(w, (group, filters // group, channels // group, -1))
    return gnp.reshape(gnp.einsum("gmck,ngckp->ngmp", weights, columns), (batch, filters, *counts))


def _with_bias(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + gnp.reshape(bias, (-1, *(1,) * (len(x.shape) - 2)))


def _conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    sizes = w.shape[2:]
    if kernel_shape is not None and tuple(kernel_shape) != tuple(sizes):
        raise ShapeError(f"kernel_shape {list(kernel_shape)} is not that of the weights, {list(w.shape)}")
    windows = windows_of(x.shape[2:], sizes, strides, dilations, pads, auto_pad)
    return _with_bias(_convolved(x, w, windows, group), b)


def _dilated(x: Array, strides: Sequence[int]) -> Array:
    """Zeros between the elements along the spatial dims."""
    for dim, stride in enumerate(strides, start=2):
        if stride > 1:
            apart = gnp.pad(
                gnp.expand_dims(x, dim + 1), [(0, stride - 1 if d == dim + 1 else 0) for d in range(len(x.shape) + 1)]
            )
            extent = x.shape[dim]
            flat = gnp.reshape(apart, (*x.shape[:dim], extent * stride, *x.shape[dim + 1 :]))
            x = flat[(slice(None),) * dim + (slice(0, (extent - 1) * stride + 1),)]
    return x


def _transposed_pads(
    x: Array,
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Ints | None,
    output_padding: Sequence[int],
    output_shape: Ints | None,
    auto_pad: str,
) -> list[tuple[int, int]]:
    """What is cut off at both ends of each dim."""
    rank = len(sizes)
    if output_shape is None and not auto_pad.startswith("SAME"):
        around = pads if pads and auto_pad == "NOTSET" else (0,) * (2 * rank)
        return [(around[dim], around[dim + rank]) for dim in range(rank)]
    wanted = (
        tuple(output_shape)[-rank:] if output_shape else tuple(e * s for e, s in zip(x.shape[2:], strides, strict=True))
    )
    found = []
    for dim in range(rank):
        full = strides[dim] * (x.shape[dim + 2] - 1) + output_padding[dim] + (sizes[dim] - 1) * dilations[dim] + 1
        total = full - wanted[dim]  # negative: rows are added
        less, more = total // 2, total - total // 2
        found.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return found


def _conv_transpose(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The derivative of a convolution by its input: a convolution of x with holes, with weights turned around."""
    only("auto_pad", auto_pad, *AUTO_PADS)
    sizes = w.shape[2:]
    rank = len(sizes)
    steps, spreads = strides or (1,) * rank, dilations or (1,) * rank
    more = output_padding or (0,) * rank
    cut = _transposed_pads(x, sizes, steps, spreads, pads, more, output_shape, auto_pad)
    channels, each = w.shape[:2]
    grouped = gnp.reshape(w, (group, channels // group, each, *sizes))
    turned = gnp.flip(gnp.swapaxes(grouped, 1, 2), axis=tuple(range(3, 3 + rank)))
    weights = gnp.reshape(turned, (group * each, channels // group, *sizes))
    apart = _dilated(x, steps)
    windows = []
    for dim, (low, high) in enumerate(cut):
        reach = (sizes[dim] - 1) * spreads[dim]
        windows.append(Window(apart.shape[dim + 2], sizes[dim], 1, spreads[dim], reach - low, reach - high + more[dim]))
    outside = [(min(w.low, 0), min(w.high, 0)) for w in windows]
    if any(low or high for low, high in outside):
        kept = tuple(slice(-low, extent + high) for (low, high), extent in zip(outside, apart.shape[2:], strict=True))
        apart = apart[(slice(None), slice(None), *kept)]
        windows = [
            Window(e, w.size, 1, w.dilation, max(w.low, 0), max(w.high, 0))
            for e, w in zip(apart.shape[2:], windows, strict=True)
        ]
    return _with_bias(_convolved(apart, weights, windows, group), b)


# ----------------------------------------------------------------------------------------------------------- integers


def _centred(x: Array, zero: Array | None) -> Array:
    wide = cast(x, np.int32)
    if zero is None:
        return wide
    shape = (-1, *(1,) * (len(x.shape) - 1)) if len(zero.shape) == 1 and zero.shape[0] > 1 else ()
    return wide - gnp.reshape(cast(zero, np.int32), shape)


def _conv_integer(
    x: Array,
    w: Array,
    x_zero: Array | None = None,
    w_zero: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Padding is with the zero point, which is 0 when it has been subtracted."""
    return _conv(
        _centred(x, x_zero),
        _centred(w, w_zero),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )


def _quantised_conv(
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    if len(x_scale.shape) == 1 and x_scale.shape[0] > 1:
        raise ArgumentError("the scale of x is one number")
    total = _conv_integer(
        x,
        w,
        x_zero,
        w_zero,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    scale = gnp.ravel(x_scale) * gnp.ravel(w_scale)
    shape = (-1, *(1,) * (len(x.shape) - 2)) if scale.shape[0] > 1 else ()
    values = cast(_with_bias(total, b), dtype_of(scale)) * gnp.reshape(scale, shape)
    return quantise(values, gnp.reshape(y_scale, ()), gnp.reshape(y_zero, ()), dtype_of(y_zero))


ROWS = [
    Row("Conv", 1, _conv),
    Row("ConvTranspose", 1, _conv_transpose),
    Row("ConvInteger", 10, _conv_integer),
    Row("QLinearConv", 10, _quantised_conv),
]
