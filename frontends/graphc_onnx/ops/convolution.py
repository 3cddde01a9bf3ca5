"""Convolutions and their transposes, of floats and of quantised integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, ShapeError
from graphc_onnx.ops.common import Ints, cast, dtype_of, only
from graphc_onnx.ops.quantisation import quantise
from graphc_onnx.ops.windows import AUTO_PADS, windows_of
from graphc_onnx.table import Row


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
    steps, spreads = [each.stride for each in windows], [each.dilation for each in windows]
    widths = [(each.low, each.high) for each in windows]
    return _with_bias(gnp.conv(x, w, steps, widths, spreads, group), b)


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
    reach = [(size - 1) * spread for size, spread in zip(sizes, spreads, strict=True)]
    widths = [(r - low, r - high + extra) for r, (low, high), extra in zip(reach, cut, more, strict=True)]
    return _with_bias(gnp.conv(x, weights, 1, widths, spreads, group, input_dilation=steps), b)


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
